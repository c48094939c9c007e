"""One name per language model, however a provider, a gateway or a date spells it.

A name passes through a few steps, each of which takes something off; before the first one and after each,
tables are asked, the caller's before ours. So a name may be known for what the application sends as well as
for what is left of it. What a model *is* (its size, its variant, its generation) stays; what a deployment of
it is (provider, region, date, revision, quantization, route) goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from otel_prom_bridge.model_names import data

# Names are shorter; the paths and ARNs that they come in hardly ever are longer.
_LONGEST = 512

# The base of a fine-tune: "ft:gpt-4o-mini-2024-07-18:org::id" and, older, "davinci:ft-org-2023-04-05" at
# OpenAI, "gpt-4o-2024-08-06.ft-0e2f" at Azure.
_FINE_TUNE = re.compile(r"(?:^|[/:])ft:([^:/]+)|(?:^|/)([^:/]+)[.:]ft-")

_NOTHING: Mapping[str, str] = {}


def canonical(name: str, known: Mapping[str, str] = _NOTHING) -> str:
    """The canonical name, or what can be said of a name that nobody knows.

    ``known`` are names in lower case, and what is said of them instead.

    >>> canonical("us.anthropic.claude-3-5-sonnet-20240620-v1:0")
    'claude-3-5-sonnet'
    """
    *_, last = spellings(name, known)
    return last


def spellings(name: str, known: Mapping[str, str] = _NOTHING) -> Iterator[str]:
    """A name in lower case, what is left of it after each thing that was taken off, the canonical name last.

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
        # It has another price than its base, but there is not one model for each.
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
    """The name as it is, and after each thing that was taken off."""
    yield name
    # Providers, accounts, projects, organizations, ARNs: the model comes last.
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
    """The name with one ending less each time."""
    endings = (data.ROUTE, data.PACKING, *data.VERSIONS)
    families = tuple(ending for start, ending in data.FAMILY_VERSIONS if name.startswith(start))
    shorter = True
    while shorter:
        shorter = False
        for ending in (*endings, *families):
            found = ending.search(name)
            # Something has to be left.
            if found and found.start():
                name, shorter = name[: found.start()], True
                yield name
