"""Labels that say for whom something was recorded, of what the context said: teams, tenants, features.

An application names them, and where it takes them from is not known here: a header, or what a user typed. So
each has a number of values, and what looks like an id or a secret is none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from otel_prom_bridge.attribution import FromContext
from otel_prom_bridge.diagnostics import Findings
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.families import is_legacy_label
from otel_prom_bridge.rules import Redact, is_identifier
from otel_prom_bridge.rules.redaction import KINDS
from otel_prom_bridge.rules.rule import OTHER
from otel_prom_bridge.values.checks import Check, is_text, read_list
from otel_prom_bridge.views.bounds import CLIENT_VALUES, ClientValues
from otel_prom_bridge.views.ids import VALUES_LIKE_IDS, looks_like_id

# The name of the option, which is also the rule by which points are counted whose values are refused.
CONTEXT_LABELS = "context_labels"
LONGEST = 100
_REMEMBERED = 1000
_RESERVED = ("le", "quantile")


def _read(text: str) -> dict[str, str]:
    pairs = (item.partition("=") for item in read_list(text))
    return {label.strip(): key.strip() for label, _, key in pairs}


def _checked(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise TypeError
    for label, key in value.items():
        if not is_legacy_label(label) or label in _RESERVED or not (is_text(key) and key):
            raise ConfigurationError(f"[{label!r}]", key, CHECK.allowed)
        if is_identifier(key):
            expected = "a key of which there are few values: this one is that of an id"
            raise ConfigurationError(f"[{label!r}]", key, expected)
    return dict(value)


CHECK = Check(
    allowed="a mapping of labels (not 'le', 'quantile' or '__…') to the keys of what they say in the context,"
    " in baggage or among attributes",
    example="team=app.team,feature=app.feature",
    check=_checked,
    read=_read,
)


class ContextLabels:
    """The labels by what each is made of: ``{"team": "app.team"}``. A label has at most ``values`` values.

    All families share the values that they know, so that the fifty first teams are the same in each.
    """

    def __init__(self, labels: Mapping[str, str], *, values: int) -> None:
        self.labels = dict(labels)
        self.keys = frozenset(labels.values())
        self.values = values
        self.recorded = FromContext(labels)
        self._known = ClientValues(values)
        self._redact = Redact(kinds=KINDS if labels else ())
        self._judged: dict[str, str | None] = {}
        self._findings = Findings()

    def __bool__(self) -> bool:
        return bool(self.labels)

    def completes(self, instrument: str) -> bool:
        """Whether measurements of this instrument are completed by what their context says."""
        return bool(self.labels) and self.recorded.selects(instrument)

    @property
    def overflow_label(self) -> str | None:
        """The label that stays past a limit, so that what each team pays is right: the first one.

        Without a limit for its values there is none, as past a limit there must not be many series.
        """
        return next(iter(self.labels), None) if self.values else None

    @property
    def is_pressed(self) -> bool:
        """Whether a label had more values than it may."""
        return self._known.is_pressed

    def make_room(self, kept: Iterable[Mapping[str, object]]) -> bool:
        """Forget the values that no series has, of these attributes. True if others may come now."""
        found = self._known.keep(kept)
        self._known.is_pressed = not found
        return found

    def shown(self, label: str, value: str) -> tuple[str, str]:
        """What a label says of a value, and the rule by which that is ``other``; "" if it is not."""
        rule = self._judged.get(value, "")
        if rule == "":
            rule = self._refused(value)
            if len(self._judged) < _REMEMBERED:
                self._judged[value] = rule
        if rule is None and self.values and self._known.folded(label, value):
            self._report(label, CLIENT_VALUES)
            return OTHER, CONTEXT_LABELS
        if rule is None:
            return value, ""
        self._report(label, rule)
        return OTHER, rule

    def _report(self, label: str, rule: str) -> None:
        why = {
            VALUES_LIKE_IDS: "looks like an id; list it among the limits of the option `tenant` to keep it",
            CONTEXT_LABELS: "looks like a secret or personal data, or is longer than a name",
            CLIENT_VALUES: f"is one more than the {self.values} that max_client_values allows",
        }[rule]
        # The value itself may be a secret.
        self._findings.report((label, rule), "a value of the label %r is %r, as it %s", label, OTHER, why)

    def _refused(self, value: str) -> str | None:
        """The rule by which a value is no value of such a label, or None."""
        if len(value) > LONGEST or self._redact(value) != value:
            return CONTEXT_LABELS
        return VALUES_LIKE_IDS if looks_like_id(value) else None
