"""Rules for label values: small functions from a label's value to one of few values.

A rule bounds or cleans what a label says, even if nobody can edit the instrumentation. It is called with the
value as a string, and returns the value to show, or None to leave the label out. It is called once per new
attribute set, not per measurement and not per scrape. ``max_values`` says how many different results it can
have.
"""

from otel_prom_bridge.rules.chain import Chain
from otel_prom_bridge.rules.error_type import ErrorType
from otel_prom_bridge.rules.finish_reason import FinishReason
from otel_prom_bridge.rules.identifiers import is_identifier
from otel_prom_bridge.rules.model_name import ModelName
from otel_prom_bridge.rules.paths import PathTemplate
from otel_prom_bridge.rules.provider_name import ProviderName
from otel_prom_bridge.rules.redaction import Redact
from otel_prom_bridge.rules.rule import Rule
from otel_prom_bridge.rules.whole_values import (
    Allow,
    Extract,
    First,
    Forbid,
    StatusClass,
    Translate,
    Truncate,
)

__all__ = [
    "Rule",
    "Allow",
    "First",
    "Translate",
    "Extract",
    "StatusClass",
    "PathTemplate",
    "ModelName",
    "ProviderName",
    "ErrorType",
    "FinishReason",
    "Truncate",
    "Redact",
    "Forbid",
    "Chain",
    "is_identifier",
]
