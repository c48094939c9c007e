"""One name per language model, however a provider, a gateway or a date spells it.

A name passes through a few steps, each of which takes something off; before the first one and after each, the
tables are asked, the application's before ours. So an alias may be given for what the application sends as
well as for what is left of it. What a model *is* (its size, its variant, its generation) stays; what a
deployment of it is (provider, region, date, revision, quantization, route) goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from otel_prom_bridge.rules import models
from otel_prom_bridge.rules.rule import checked_table

# Names are shorter; the paths and ARNs that they come in hardly ever are longer.
_LONGEST = 512

# The base of a fine-tune: "ft:gpt-4o-mini-2024-07-18:org::id" and, older, "davinci:ft-org-2023-04-05" at
# OpenAI, "gpt-4o-2024-08-06.ft-0e2f" at Azure.
_FINE_TUNE = re.compile(r"(?:^|[/:])ft:([^:/]+)|(?:^|/)([^:/]+)[.:]ft-")


@dataclass(frozen=True, slots=True, init=False)
class ModelName:
    """The canonical name of a language model. No bound: chain it with :class:`Allow` or :class:`First`.

    In lower case, without providers, regions, dates and revisions. ``claude-3-5-sonnet`` has dashes, as at
    Anthropic, ``llama-3.1`` a dot. An Ollama tag is part of the name except for its quantization
    (``llama3.1:8b-instruct-q4_0`` is ``llama-3.1-8b-instruct``). A fine-tune is ``ft:`` and its base: it has
    another price. Names of deployments (Azure, SageMaker, application inference profiles) say nothing of the
    model; ``aliases`` are for them, and win over everything else. Their values are shown as they are.

    >>> name = ModelName({"prod-chat": "gpt-4o"})
    >>> name("gpt-4o-2024-08-06"), name("us.anthropic.claude-3-5-sonnet-20240620-v1:0"), name("Prod-Chat")
    ('gpt-4o', 'claude-3-5-sonnet', 'gpt-4o')
    """

    aliases: Mapping[str, str] = field(hash=False)
    _names: Mapping[str, str] = field(repr=False, compare=False)

    def __init__(self, aliases: Mapping[str, str] = {}) -> None:
        checked = checked_table("ModelName.aliases", aliases, empty=True)
        object.__setattr__(self, "aliases", checked)
        folded = {name.strip().lower(): value for name, value in checked.items()}
        object.__setattr__(self, "_names", models.NAMES | folded)

    @property
    def max_values(self) -> None:
        """No bound of its own: applications make up names, and so do models."""
        return None

    def __call__(self, value: str) -> str:
        """The canonical name, or what can be said of a name that nobody knows."""
        name = value[-_LONGEST:].strip().lower()
        if name in self._names:
            return self._names[name]
        tuned = _FINE_TUNE.search(name)
        if tuned:
            return f"ft:{self._canonical(tuned[1] or tuned[2])}"
        return self._canonical(name) or name

    def _canonical(self, name: str) -> str:
        for step in _steps(name):
            if step in self._names:
                return self._names[step]
            name = step
        return name


def _steps(name: str) -> Iterator[str]:
    """The name as it is, and after each thing that was taken off."""
    yield name
    # Providers, accounts, projects, organizations, ARNs: the model comes last.
    name = name.rstrip("/").rpartition("/")[2]
    yield name
    provider, _, model = name.partition(":")
    if provider in models.PROVIDERS and model[:1].isalpha() and model not in models.TAGS:
        name = model
        yield name
    for prefix in (models.REGION, models.VENDOR):
        name = prefix.sub("", name)
        yield name
    for shorter in _cut(name):
        name = shorter
        yield name
    for pattern, replacement in models.SPELLINGS:
        name = pattern.sub(replacement, name)
    yield name


def _cut(name: str) -> Iterator[str]:
    """The name with one ending less each time."""
    endings = (models.ROUTE, models.PACKING, *models.VERSIONS)
    families = tuple(ending for start, ending in models.FAMILY_VERSIONS if name.startswith(start))
    shorter = True
    while shorter:
        shorter = False
        for ending in (*endings, *families):
            found = ending.search(name)
            # Something has to be left.
            if found and found.start():
                name, shorter = name[: found.start()], True
                yield name
