"""The tables of a profile's file, as they are written: their keys, and which of them are required."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileTable:
    """The whole file, without ``extends``."""

    name: str
    description: str = ""
    namespace: str = ""
    fallback: bool = False
    labels: Mapping[str, Any] = field(default_factory=dict)
    buckets: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    families: Sequence[Any] = ()
    instruments: Sequence[Any] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    dashboard: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTable:
    """``[labels.model]``: what the label comes from, and the rules for what it says.

    ``label`` is what it is called, where that is not the table's own name.
    """

    label: str = ""
    description: str = ""
    attributes: Sequence[str] | None = None
    default: str = ""
    compute: Any = None
    rules: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTable:
    """``[[sources.calls]]``: an instrument, and which of its points.

    ``labels`` are what labels of the schema say of all of them; ``take`` and ``buckets`` are as in a family,
    for this source.
    """

    instrument: str
    type: str | None = None
    unit: str | None = None
    meter: str | None = None
    take: str | None = None
    scale: float | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyTable:
    """``[[families]]``: from ``keep`` on, the keys are those of a view.

    With ``stream``, an instrument's name, the family is named by translating that: by the reader's strategy
    and with its prefix. ``name`` is what comes out of it without these.
    """

    name: str
    type: str
    help: str
    source: Any
    labels: Sequence[str] | None = None
    stream: str = ""
    unit: str = ""
    present: Sequence[str] = ("current", "latest", "both")
    take: str = "value"
    buckets: Any = None
    where: Mapping[str, Any] = field(default_factory=dict)
    keep: Sequence[str] | None = None
    drop: Sequence[str] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    compute: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[str, Any] = field(default_factory=dict)
    max_series: int | None = None
    exemplars: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentTable:
    """``[[instruments]]``: an instrument of the profile's own."""

    name: str
    type: str
    unit: str = ""
    description: str = ""
    attributes: Sequence[str] = ()
    buckets: Any = None
