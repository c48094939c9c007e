"""What the doctor says: one symptom after the other, each with the line that mends it."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Weight: TypeAlias = Literal["ok", "note", "problem"]


class Symptom(NamedTuple):
    """Something that was looked at. A problem keeps metrics from being seen; a note may be intended."""

    weight: Weight
    subject: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        sign = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}[self.weight]
        remedy = f"\n           → {self.remedy}" if self.remedy else ""
        return f"{sign}  {self.subject}: {self.text}{remedy}"
