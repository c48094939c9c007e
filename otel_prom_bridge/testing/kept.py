"""Snapshots that are kept in files beside the tests, and compared with what there is now.

The file of ``test_orders`` in ``tests/test_shop.py`` is ``tests/__metrics__/test_shop/test_orders.txt``. What
differs from run to run is not kept: times, exemplars, and the values that ``ignore`` names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from otel_prom_bridge.snapshots import Snapshot
from otel_prom_bridge.snapshots.snapshot import SnapshotSource
from otel_prom_bridge.testing.probe import MetricsProbe
from otel_prom_bridge.values.patterns import glob

_FOLDER = "__metrics__"
_VOLATILE = {"created": None, "timestamp": None, "exemplar": None, "exemplars": ()}
_MOST = 20


class KeptSnapshots:
    """Compares metrics with those of the file of a test. ``mode`` is check, new or update."""

    def __init__(self, test: Path, name: str, *, mode: str) -> None:
        self._folder = test.parent / _FOLDER / test.stem
        self._name = re.sub(r"[^\w.\-]+", "-", name).strip("-")
        self._mode = mode
        self._number = 0

    def __call__(
        self,
        source: MetricsProbe | Snapshot | SnapshotSource,
        *,
        ignore: Sequence[str] = (),
        values: bool = True,
    ) -> None:
        """Fail if there are differences.

        ``ignore`` are names of families, with * and ?, that do not count. Without ``values`` only families,
        metadata and series do.
        """
        __tracebackhide__ = True
        ignored = glob(list(ignore)) if ignore else None
        now = _steady(_snapshot(source), ignored)
        path = self._next_path()
        if self._mode == "update" or (self._mode == "new" and not path.exists()):
            path.parent.mkdir(parents=True, exist_ok=True)
            now.save(path)
            return
        if not path.exists():
            raise AssertionError(f"no metrics are kept in {path}; pytest --metrics-snapshots=new keeps them")
        found = _steady(Snapshot.of(path), ignored).diff(now, compare_values=values)
        if found:
            lines = "\n".join(found.lines(most=_MOST))
            raise AssertionError(
                f"the metrics are others than those in {path}:\n{lines}\n"
                "if that is right, pytest --metrics-snapshots=update keeps them"
            )

    def _next_path(self) -> Path:
        self._number += 1
        number = f".{self._number}" if self._number > 1 else ""
        return self._folder / f"{self._name}{number}.txt"


def _snapshot(source: MetricsProbe | Snapshot | SnapshotSource) -> Snapshot:
    if isinstance(source, Snapshot):
        return source
    return source.snapshot() if isinstance(source, MetricsProbe) else Snapshot.of(source)


def _steady(snapshot: Snapshot, ignored: re.Pattern[str] | None) -> Snapshot:
    """The snapshot without what is another one in each run."""
    families = (item for item in snapshot.families if not (ignored and ignored.fullmatch(item.name)))
    return Snapshot.of_families(
        replace(item, points=tuple(map(_steady_point, item.points)), shows_created=False) for item in families
    )


def _steady_point(point: Any) -> Any:
    return point._replace(**{name: value for name, value in _VOLATILE.items() if name in point._fields})
