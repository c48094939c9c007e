"""Profiles behind a hub: what several workers say of one thing is shown with the labels of the document."""

from __future__ import annotations

import pytest
from hubs import gauge, own, push, request_of, shown

from otel_prom_bridge.hub.hub import Hub
from otel_prom_bridge.profiles import BUILT_IN, Family, load_profile

# Gauges that instrument_process() and instrument_build() set; the others are the profiles' own.
OF_THE_PROCESS = {"process.uptime", "process.start_time", "build.info"}


def of_gauges() -> list[tuple[str, str, Family]]:
    """Profiles, instruments that are gauges, and the families that these are shown in."""
    return [
        (name, source.instrument, family)
        for name in BUILT_IN
        for profile in [load_profile(name)]
        for set_here in [{spec.name for spec in profile.own_instruments if spec.type == "gauge"}]
        for family in profile.families
        for source in family.sources
        if family.type == "gauge" and source.instrument in set_here | OF_THE_PROCESS
    ]


@pytest.mark.parametrize(
    ("profile", "instrument", "family"), [pytest.param(*it, id=f"{it[0]}-{it[1]}") for it in of_gauges()]
)
def test_gauges_have_no_label_for_the_worker(profile: str, instrument: str, family: Family) -> None:
    """Two workers that set one gauge make one series, with the labels of the family and no others."""
    hub = Hub({"views": load_profile(profile).views(), "self_metrics": False})
    assert family.labels is not None
    attributes = {label.attributes[0]: "x" for label in family.labels}
    for number, value in ((1, 5.0), (2, 7.0)):
        push(hub, request_of(gauge(instrument, value, **attributes)), **own(f"worker-{number}", 1))
    (series,) = shown(hub, family.name)
    assert {label for label, _ in series} == {label.name for label in family.labels}
    hub.shutdown()
