"""A rule that gives each language model one name, however a provider, a gateway or a date spells it."""

from __future__ import annotations

from otel_prom_bridge.model_names import canonical
from otel_prom_bridge.rules.aliases import Aliased


class ModelName(Aliased):
    """The canonical name of a language model. Chain it with :class:`Allow` or :class:`First` for a bound.

    The name is in lower case, without provider, region, date and revision. ``claude-3-5-sonnet`` has dashes,
    as Anthropic writes it, and ``llama-3.1`` has a dot. An Ollama tag is part of the name except for its
    quantization: ``llama3.1:8b-instruct-q4_0`` is ``llama-3.1-8b-instruct``. A fine-tune is ``ft:`` and its
    base, because it has another price. Names of deployments (Azure, SageMaker, application inference
    profiles) say nothing of the model. ``aliases`` is a mapping for them, which counts before everything
    else. Its values are shown as they are.

    >>> name = ModelName({"prod-chat": "gpt-4o"})
    >>> name("gpt-4o-2024-08-06"), name("us.anthropic.claude-3-5-sonnet-20240620-v1:0"), name("Prod-Chat")
    ('gpt-4o', 'claude-3-5-sonnet', 'gpt-4o')
    """

    __slots__ = ()

    def __call__(self, value: str) -> str:
        """The canonical name. Of an unknown name, what is left without provider, region and date."""
        return canonical(value, self._names)
