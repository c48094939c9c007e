"""One name per language model, however providers, gateways and dates spell it.

A name passes through a few steps, and each step takes something off. Before the first step and after each one
the name is looked up in tables, in the caller's first and then in ours. So a table may have a name as the
application sends it, and also what is left of it. Whatever says what a model is stays: its size, its variant
and its generation. Whatever says how it is deployed goes: provider, region, date, revision, quantization and
route.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from otel_prom_bridge.model_names import data

# Names are shorter than this, and the paths and ARNs that contain them are hardly ever longer.
_LONGEST = 512

# The base model of a fine-tuned one. OpenAI writes "ft:gpt-4o-mini-2024-07-18:org::id", and wrote
# "davinci:ft-org-2023-04-05" before. Azure writes "gpt-4o-2024-08-06.ft-0e2f".
_FINE_TUNE = re.compile(r"(?:^|[/:])ft:([^:/]+)|(?:^|/)([^:/]+)[.:]ft-")

_NOTHING: Mapping[str, str] = {}


def canonical(name: str, known: Mapping[str, str] = _NOTHING) -> str:
    """The canonical name of a model, or the best that can be said of a name that is not known.

    ``known`` maps names in lower case to what is said instead of them.

    >>> canonical("us.anthropic.claude-3-5-sonnet-20240620-v1:0")
    'claude-3-5-sonnet'
    """
    *_, last = spellings(name, known)
    return last


def spellings(name: str, known: Mapping[str, str] = _NOTHING) -> Iterator[str]:
    """The name in lower case, then what is left of it after each step. The canonical name comes last.

    >>> list(dict.fromkeys(spellings("azure/GPT-4o-2024-08-06")))
    ['azure/gpt-4o-2024-08-06', 'gpt-4o-2024-08-06', 'gpt-4o']
    """
    name = name[-_LONGEST:].strip().lower()
    yield name
    found = _told(name, known)
    tuned = _FINE_TUNE.search(name)
    if found is not None:
        yield found
    elif tuned:
        # A fine-tuned model has another price than its base model, but not each of them is a model of its
        # own.
        yield from (f"ft:{spelling}" for spelling in _shorter(tuned[1] or tuned[2], known))
    else:
        last = name
        for last in _shorter(name, known):
            yield last
        if not last:
            yield name


def _told(name: str, known: Mapping[str, str]) -> str | None:
    return known[name] if name in known else data.NAMES.get(name)


def _shorter(name: str, known: Mapping[str, str]) -> Iterator[str]:
    for step in _steps(name):
        yield step
        found = _told(step, known)
        if found is not None:
            yield found
            return


def _steps(name: str) -> Iterator[str]:
    """The name as it is, and what is left of it after each step."""
    yield name
    # In the paths of providers, accounts, projects and organizations, and in ARNs, the model comes last.
    name = name.rstrip("/").rpartition("/")[2]
    yield name
    provider, _, model = name.partition(":")
    if provider in data.PROVIDERS and model[:1].isalpha() and model not in data.TAGS:
        name = model
        yield name
    for prefix in (data.REGION, data.VENDOR):
        name = prefix.sub("", name)
        yield name
    for shorter in _cut(name):
        name = shorter
        yield name
    for pattern, replacement in data.SPELLINGS:
        name = pattern.sub(replacement, name)
    yield name


def _cut(name: str) -> Iterator[str]:
    """The name with one ending less each time, until no ending is left that can be cut."""
    endings = (data.ROUTE, data.PACKING, *data.VERSIONS)
    families = tuple(ending for start, ending in data.FAMILY_VERSIONS if name.startswith(start))
    shorter = True
    while shorter:
        shorter = False
        for ending in (*endings, *families):
            found = ending.search(name)
            # A match at the start would leave nothing of the name.
            if found and found.start():
                name, shorter = name[: found.start()], True
                yield name
