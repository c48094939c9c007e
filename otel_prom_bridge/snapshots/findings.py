"""What is wrong with an exposition, or could be better: one finding for each fault, with its line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

RULES = (
    *("syntax", "eof", "metadata", "type", "sample-name", "value", "duplicate", "interleaved", "collision"),
    *("buckets", "exemplar", "help", "naming", "unit", "label", "cardinality", "label-length", "timestamp"),
    *("content-type", "missing-metric", "missing-label", "missing-value"),
)
Severity: TypeAlias = Literal["error", "warning"]


class Finding(NamedTuple):
    """One fault. ``rule`` is its short name; ``line`` is 0 if it is not the fault of one line.

    An error is against the specification of the format, so a scraper may refuse the whole exposition. A
    warning is against a convention, or costs more than it needs to. ``hint`` is what mends it, if one line
    can say that.
    """

    severity: Severity
    rule: str
    metric: str
    message: str
    line: int = 0
    hint: str = ""

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        metric = f"{self.metric}: " if self.metric else ""
        hint = f"\n    {self.hint}" if self.hint else ""
        return f"{self.severity}: {place}{metric}{self.message} [{self.rule}]{hint}"


MOST = 20


class Faults:
    """Collects findings, at most so many of each rule: the hundredth of a kind tells nobody more."""

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._counts: dict[str, int] = {}
        self._found: list[Finding] = []

    def error(self, rule: str, metric: str, message: str, *, line: int = 0, hint: str = "") -> None:
        """Something that the specification forbids."""
        self.add(Finding("error", rule, metric, message, line, hint))

    def warning(self, rule: str, metric: str, message: str, *, line: int = 0, hint: str = "") -> None:
        """Something that a convention speaks against."""
        self.add(Finding("warning", rule, metric, message, line, hint))

    def add(self, finding: Finding) -> None:
        """Keep it, or only count it."""
        count = self._counts[finding.rule] = self._counts.get(finding.rule, 0) + 1
        if count <= self._most:
            self._found.append(finding)

    def extend(self, findings: Iterable[Finding]) -> None:
        """Add several."""
        for finding in findings:
            self.add(finding)

    def all(self) -> tuple[Finding, ...]:
        """All of them, errors first, each kind by line; and a line for each kind that has more."""
        more = [
            Finding(self._severity(rule), rule, "", f"and {count - self._most:,} more of this kind")
            for rule, count in self._counts.items()
            if count > self._most
        ]
        return tuple(sorted([*self._found, *more], key=_order))

    def _severity(self, rule: str) -> Severity:
        return next(finding.severity for finding in self._found if finding.rule == rule)


def _order(finding: Finding) -> tuple[bool, bool, int]:
    return finding.severity != "error", not finding.line, finding.line
