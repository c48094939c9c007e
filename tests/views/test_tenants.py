"""Tenants: each has places of its own, a flood of one costs no other any, and unknown ones are `other`."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable
from typing import Any

import pytest
from exported import Application, in_span
from hypothesis import given, settings
from hypothesis import strategies as st
from inside import places, state_of, store_of
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from oracles import OPENMETRICS, samples
from properties import examples
from setups import Setup

from otel_prom_bridge import ConfigurationError, ExportView, PrometheusMetricReader, Tenants
from otel_prom_bridge.rules import Forbid, Redact, Translate
from otel_prom_bridge.views.computations import FirstOf

Make = Callable[..., Setup]
TENANTS = Tenants("tenant.id", {"acme": 2, "globex": 3}, other_limit=1)
Labelled = dict[frozenset[tuple[str, str]], float]


def shown(setup: Setup | Application, name: str = "c_total") -> Labelled:
    """The values of a metric's samples by their labels."""
    exposition = setup.reader.expose(OPENMETRICS)
    return {
        labels: v for (n, labels), v in samples(exposition.content_type, exposition.body).items() if n == name
    }


def labels(**pairs: str) -> frozenset[tuple[str, str]]:
    """Labels as samples have them."""
    return frozenset(pairs.items())


REST = {"otel_metric_overflow": "true"}


def test_a_flood_of_one_leaves_the_others_alone(bridge: Make) -> None:
    """Each tenant has its own limit and its own overflow, with its label; so do the unknown ones together."""
    setup = bridge(tenant=TENANTS)
    counter = setup.meter.create_counter("c")
    counter.add(1, {"tenant.id": "globex", "k": "known"})
    setup.text()
    for number in range(5000):
        counter.add(1, {"tenant.id": "acme", "k": str(number)})
    counter.add(1, {"tenant.id": "globex", "k": "known"})
    counter.add(1, {"tenant.id": "globex", "k": "new"})
    for number in range(100):
        counter.add(1, {"tenant.id": f"stranger {number}", "k": "x"})
        counter.add(1, {"tenant.id": f"stranger {number}", "k": f"y{number}"})
        counter.add(1, {"k": f"nobody {number}"})
    found = shown(setup)
    nobody = {labels(k=f"nobody {number}"): 1.0 for number in range(100)}
    assert found == {
        labels(tenant_id="globex", k="known"): 2,
        labels(tenant_id="globex", k="new"): 1,
        labels(tenant_id="acme", k="0"): 1,
        labels(tenant_id="acme", k="1"): 1,
        labels(tenant_id="acme", **REST): 4998,
        labels(tenant_id="other", k="x"): 100,
        labels(tenant_id="other", **REST): 100,
        **nobody,
    }
    assert sum(found.values()) == 2 + 5000 + 1 + 300


def test_the_limit_of_a_tenant_is_for_all_metrics(bridge: Make) -> None:
    """A tenant's series of all kinds of metrics count together."""
    setup = bridge(tenant=TENANTS)
    acme = {"tenant.id": "acme"}
    setup.meter.create_counter("c").add(1, {**acme, "k": "1"})
    setup.meter.create_observable_up_down_counter("o", [lambda _: [Observation(1, acme)]])
    setup.text()
    setup.meter.create_histogram("h").record(1, acme)
    setup.text()
    assert shown(setup, "c_total") == {labels(tenant_id="acme", k="1"): 1}
    assert shown(setup, "o") == {labels(tenant_id="acme"): 1}
    assert shown(setup, "h_count") == {labels(tenant_id="acme", **REST): 1}


def test_places_that_a_tenant_gives_back(bridge: Make) -> None:
    """Asynchronous series that vanish leave their places to the tenant, and to no other."""
    setup = bridge(tenant=TENANTS)
    keys = ["1", "2", "3"]
    setup.meter.create_observable_up_down_counter(
        "o", [lambda _: [Observation(1, {"tenant.id": "acme", "k": key}) for key in keys]]
    )
    for _ in range(2):
        assert shown(setup, "o") == {
            labels(tenant_id="acme", k="1"): 1,
            labels(tenant_id="acme", k="2"): 1,
            labels(tenant_id="acme", **REST): 1,
        }
    keys.remove("1")
    assert set(shown(setup, "o")) == {labels(tenant_id="acme", k=key) for key in "23"}
    keys[:] = ["4", "5"]
    assert set(shown(setup, "o")) == {labels(tenant_id="acme", k=key) for key in "45"}
    keys.clear()
    assert shown(setup, "o") == {}
    assert set(places(store_of(setup.reader))) == {0}


def test_a_flood_of_one_takes_nothing_from_the_common_limits(bridge: Make) -> None:
    """Limits of metrics and of the bridge are for those who have none of their own."""
    tenants = Tenants("tenant.id", {"acme": 2000, "globex": 2000}, other_limit=1000)
    setup = bridge(tenant=tenants, max_series_per_metric=1000, max_series=1000)
    counter = setup.meter.create_counter("c")
    for number in range(1500):
        counter.add(1, {"tenant.id": "acme", "k": str(number)})
    setup.text()
    for tenant in ("globex", "?"):
        counter.add(1, {"tenant.id": tenant, "k": "0"})
    found = shown(setup)
    assert len(found) == 1502
    assert (found[labels(tenant_id="globex", k="0")], found[labels(tenant_id="other", k="0")]) == (1, 1)


def test_common_limits_hold_for_all_others(bridge: Make) -> None:
    """The bridge's limit bounds those who are not listed, and nobody else."""
    setup = bridge(tenant=TENANTS, max_series=1)
    for name in ("c", "d"):
        counter = setup.meter.create_counter(name)
        for tenant in ("acme", "globex", "?"):
            counter.add(1, {"tenant.id": tenant})
        setup.text()
    listed = {labels(tenant_id="acme"): 1, labels(tenant_id="globex"): 1}
    assert shown(setup) == {**listed, labels(tenant_id="other"): 1}
    assert shown(setup, "d_total") == {**listed, labels(tenant_id="other", **REST): 1}


@pytest.mark.parametrize(
    "view",
    [
        ExportView(drop=["tenant.id"]),
        ExportView(keep=["k"]),
        ExportView(rules={"tenant.id": Forbid()}),
    ],
)
def test_a_view_that_shows_no_tenants(view: ExportView) -> None:
    """Tenants that no label names are limited all the same, and share one overflow."""
    setup = Application(view, tenant=TENANTS)
    counter = setup.meter.create_counter("c")
    for tenant in ("acme", "globex"):
        for number in range(5):
            counter.add(1, {"tenant.id": tenant, "k": f"{tenant}{number}"})
    assert shown(setup) == {
        **{labels(k=f"acme{number}"): 1 for number in range(2)},
        **{labels(k=f"globex{number}"): 1 for number in range(3)},
        labels(**REST): 5,
    }


def test_a_view_that_renames_the_tenant() -> None:
    """The overflow has the tenant's label under the name that the view gives it."""
    setup = Application(ExportView(rename={"tenant.id": "customer"}), tenant=TENANTS)
    counter = setup.meter.create_counter("c")
    for number in range(5):
        counter.add(1, {"tenant.id": "acme", "k": str(number)})
        counter.add(1, {"tenant.id": "?", "k": "1"})
    assert shown(setup) == {
        labels(customer="acme", k="0"): 1,
        labels(customer="acme", k="1"): 1,
        labels(customer="acme", **REST): 3,
        labels(customer="other", k="1"): 5,
    }


def test_a_tenant_is_what_its_label_says(bridge: Make) -> None:
    """Numbers and booleans are tenants by their label's value."""
    setup = bridge(tenant=Tenants("tenant.id", {"7": 5, "true": 5}, other_limit=5))
    counter = setup.meter.create_counter("c")
    for value in (7, True, 8, 7.5):
        counter.add(1, {"tenant.id": value})
    assert shown(setup) == {
        labels(tenant_id="7"): 1,
        labels(tenant_id="true"): 1,
        labels(tenant_id="other"): 2,
    }


def test_unknown_tenants_are_counted_as_folded(bridge: Make) -> None:
    """Each point of a tenant that is not on the list is a fold, and each past a limit an overflow."""
    setup = bridge(tenant=TENANTS)
    counter = setup.meter.create_counter("c")
    for _ in range(2):
        for number in range(3):
            counter.add(1, {"tenant.id": f"stranger {number}", "k": str(number)})
        setup.provider.force_flush()
    state = state_of(setup.reader)
    assert dict(state.folded) == {("c_total", "tenant.id", "tenant"): 6}
    assert dict(state.overflowed) == {"c_total": 4}


@settings(max_examples=examples(100))
@given(
    st.lists(st.tuples(st.sampled_from(["acme", "globex", "x", "y", None]), st.integers(0, 7)), max_size=60),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_every_tenants_total_is_exact(
    recordings: list[tuple[str | None, int]], acme: int, others: int
) -> None:
    """The sum of a tenant's series is what was recorded for it, and no tenant has more than its limit."""
    tenants = Tenants("t", {"acme": acme, "globex": 2}, other_limit=others)
    reader = PrometheusMetricReader(
        registry=None,
        scope_info_enabled=False,
        tenant=tenants,
        self_metrics=False,
        disable_target_info=True,
    )
    provider = MeterProvider([reader], shutdown_on_exit=False)
    setup = Setup(reader, provider)
    counter = setup.meter.create_counter("c")
    expected: Tally[str | None] = Tally()
    for tenant, number in recordings:
        counter.add(1, {"k": str(number)} if tenant is None else {"k": str(number), "t": tenant})
        expected[tenant if tenant in (None, *tenants.limits) else "other"] += 1
    sums: Tally[str | None] = Tally()
    series: Tally[str | None] = Tally()
    for found, value in shown(setup).items():
        pairs = dict(found)
        sums[pairs.get("t")] += int(value)
        series[pairs.get("t")] += "otel_metric_overflow" not in pairs
    assert sums == expected
    assert series["acme"] <= acme
    assert series["globex"] <= 2
    assert series["other"] <= others
    provider.shutdown()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attribute": ""}, r"^tenant\.attribute: '' .*a string that is not empty"),
        ({"attribute": 5}, r"^tenant\.attribute: 5 .*a string that is not empty"),
        ({"limits": {}}, r"^tenant\.limits: \{\} .*a mapping of tenants"),
        ({"limits": ["acme"]}, r"^tenant\.limits: \['acme'\] .*a mapping of tenants"),
        ({"limits": {"acme": 0}}, r"^tenant\.limits\['acme'\]: 0 .*a whole number of at least 1"),
        ({"limits": {"acme": True}}, r"^tenant\.limits\['acme'\]: True .*a whole number of at least 1"),
        ({"limits": {"acme": 1.5}}, r"^tenant\.limits\['acme'\]: 1.5 .*a whole number of at least 1"),
        ({"other": None}, r"^tenant\.other: None .*a string"),
        ({"other_limit": 0}, r"^tenant\.other_limit: 0 .*a whole number of at least 1"),
    ],
)
def test_wrong_tenants_are_refused(options: dict[str, Any], message: str) -> None:
    """What cannot work is refused with its key, its value and what is allowed."""
    with pytest.raises(ConfigurationError, match=message):
        Tenants(**{"attribute": "t", "limits": {"acme": 5}, **options})


def test_no_tenants_but_tenants(bridge: Make) -> None:
    """The reader's option takes `Tenants` only."""
    with pytest.raises(ConfigurationError, match=r"^tenant: 5 .*expected"):
        bridge(tenant=5)


@pytest.mark.parametrize("rule", [Forbid(), Redact(), lambda value: None])
def test_a_hidden_tenant_is_hidden_everywhere(bridge: Make, rule: Any) -> None:
    """Rules have the last word, for labels, overflows, and exemplars; the limits hold all the same."""
    tenants = Tenants("customer.email", {"ada@example.com": 1})
    setup = bridge(
        tenant=tenants,
        fallback_views=[ExportView(instrument_name="c", rules={"customer.email": rule})],
        exemplar_filter=AlwaysOnExemplarFilter(),
    )
    counter = setup.meter.create_counter("c")
    for number in range(3):
        with in_span():
            counter.add(1, {"customer.email": "ada@example.com", "k": str(number)})
    text = setup.text(OPENMETRICS)
    assert "ada@" not in text
    assert text.count("\nc_total") == 2
    assert sum(shown(setup).values()) == 3


def test_a_tenants_label_meets_rules(bridge: Make) -> None:
    """The label is what the rules make of the listed tenant; computations see no other one either."""
    view = ExportView(
        instrument_name="c",
        rename={"tenant.id": "customer"},
        rules={"customer": Translate({"acme": "c1"}, other="rest")},
        compute={"again": FirstOf(["tenant.id"])},
        drop=["k"],
    )
    setup = bridge(tenant=Tenants("tenant.id", {"acme": 5}), fallback_views=[view])
    counter = setup.meter.create_counter("c")
    counter.add(1, {"tenant.id": "acme", "k": "1"})
    counter.add(2, {"tenant.id": "stranger", "k": "2"})
    assert shown(setup) == {
        labels(customer="c1", again="acme"): 1,
        labels(customer="rest", again="other"): 2,
    }
