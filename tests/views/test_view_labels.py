"""Constant labels of a view: what a series says where none of its attributes does."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from exported import Application, selecting
from oracles import OPENMETRICS

from otel_prom_bridge import ConfigurationError, ExportView, Outcome, Tenants
from otel_prom_bridge.testing import MetricsProbe


def test_a_label_that_no_attribute_gives_has_its_default() -> None:
    """An attribute of the name wins; where there is none, or an empty one, the default stands."""
    application = Application(selecting("c", labels={"region": "eu", "zone": ""}))
    counter = application.meter.create_counter("c")
    for number, attributes in enumerate([{"region": "us"}, {}, {"region": ""}, {"zone": "1"}]):
        counter.add(2**number, attributes)
    lines = {line for line in application.text().splitlines() if not line.startswith("#")}
    assert lines == {
        'c_total{region="us",zone=""} 1',
        'c_total{region="eu",zone=""} 6',
        'c_total{region="eu",zone="1"} 8',
    }


def test_an_empty_default_is_shown() -> None:
    """An empty string rather than a missing label, in text and OpenMetrics, and one series still."""
    application = Application(selecting("c", labels={"region": ""}))
    application.meter.create_counter("c").add(1)
    assert 'c_total{region=""} 1\n' in application.text()
    assert 'c_total{region=""} 1\n' in application.text(OPENMETRICS)


def test_all_series_of_the_family_have_it() -> None:
    """The overflow's, a tenant's, and those of a histogram, too."""
    tenants = Tenants("t", {"acme": 1})
    application = Application(
        selecting("*", labels={"region": "eu"}), tenant=tenants, max_series_per_metric=1
    )
    histogram = application.meter.create_histogram("h", explicit_bucket_boundaries_advisory=[])
    for attributes in ({"k": "1"}, {"k": "2"}, {"t": "acme", "k": "1"}, {"t": "acme", "k": "2"}):
        histogram.record(1, attributes)
    assert application.values("h_count", "region") == {"eu": 4}
    assert len(application.labelled("h_count")) == 4


def test_renamed_and_computed_labels_come_first() -> None:
    """A default is for what a view's own label does not say, and for what it drops."""
    application = Application(
        selecting(
            "c",
            rename={"cloud.region": "region"},
            compute={"status": Outcome(), "tier": "tier.name"},
            drop=["secret", "tier.name"],
            labels={"region": "none", "status": "?", "tier": "free", "secret": "hidden"},
        )
    )
    counter = application.meter.create_counter("c")
    counter.add(1, {"cloud.region": "us", "tier.name": "gold", "secret": "x"})
    counter.add(2)
    lines = {line for line in application.text().splitlines() if not line.startswith("#")}
    assert lines == {
        'c_total{region="us",secret="hidden",status="success",tier="gold"} 1',
        'c_total{region="none",secret="hidden",status="success",tier="free"} 2',
    }


@pytest.mark.parametrize(
    ("strategy", "label"), [("UnderscoreEscapingWithSuffixes", "a_b"), ("NoTranslation", "a.b")]
)
def test_names_are_translated_as_attributes_are(strategy: str, label: str) -> None:
    """A default meets the attribute that becomes the same label."""
    application = Application(selecting("c", labels={"a.b": "x"}), translation_strategy=strategy)
    counter = application.meter.create_counter("c")
    counter.add(1)
    counter.add(2, {"a.b": "y"})
    accept = "text/plain; version=1.0.0; escaping=allow-utf-8"
    quoted = label if label == "a_b" else f'"{label}"'
    assert f'{quoted}="x"' in application.text(accept)
    assert f'{quoted}="y"' in application.text(accept)
    assert ";" not in application.text()


def test_a_resource_attribute_gives_a_value_too() -> None:
    """What every series has from its resource or scope is not joined with a default."""
    view = selecting("c", labels={"region": "none"})
    resource = {"region": "us"}
    with MetricsProbe(views=[view], resource=resource, resource_attribute_filter=lambda _: True) as probe:
        probe.meter().create_counter("c").add(1)
        assert probe.get_all_metrics() == {("c_total", (("region", "us"),)): 1}


def test_what_a_view_makes_of_an_attribute_takes_the_place_of_the_resources() -> None:
    """They are not joined; where the attribute is not there, the resource's stands."""
    view = selecting("c", rename={"a": "service.name"}, compute={"region": lambda given: given.get("r")})
    resource = {"service.name": "svc", "region": "us"}
    with MetricsProbe(views=[view], resource=resource, resource_attribute_filter=lambda _: True) as probe:
        counter = probe.meter().create_counter("c")
        counter.add(1, {"a": "x", "r": "eu"})
        counter.add(2)
        probe.assert_counter("c_total", 1, service_name="x", region="eu", r="eu")
        probe.assert_counter("c_total", 2, service_name="svc", region="us")


def test_series_that_become_one_add_up() -> None:
    """Who says what the default says is the same series as who says nothing."""
    application = Application(selecting("c", labels={"region": "eu"}))
    counter = application.meter.create_counter("c")
    counter.add(1)
    counter.add(2, {"region": "eu"})
    assert application.text().count("c_total{") == 1
    assert application.values("c_total", "region") == {"eu": 3}


def test_defaults_cost_no_series_and_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A label with one value multiplies by one."""
    with caplog.at_level(logging.WARNING):
        application = Application(
            selecting("c", keep=[], labels={"region": "eu"}, max_series=1), max_series_per_metric=1
        )
        counter = application.meter.create_counter("c")
        for number in range(3):
            counter.add(1, {"k": str(number)})
        (report,) = application.reader.cardinality()
    assert (report.series, report.maximum) == (1, 1 + 1)  # what the SDK could fold would be one, too
    assert caplog.records == []


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        (["a"], "a mapping by attribute key"),
        ({"": "a"}, "a mapping by attribute key"),
        ({1: "a"}, "a mapping by attribute key"),
        ({"le": "a"}, "a label other than 'le', which is reserved"),
        ({"otel.scope.name": "a"}, "a label other than 'otel.scope.name', which is reserved"),
        ({"__name__": "a"}, "a label other than '__name__', which is reserved"),
        ({"a": None}, "labels with values that are strings"),
        ({"a": 5}, "labels with values that are strings"),
        ({"a": "\ud800"}, "labels with values that are strings"),
    ],
    ids=str,
)
def test_labels_that_cannot_be_are_refused(given: Any, allowed: str) -> None:
    """As the targets of rename are, and their values must be strings."""
    with pytest.raises(ConfigurationError) as caught:
        ExportView(instrument_name="c", labels=given)
    assert caught.value.key == "ExportView('c', name='').labels"
    assert caught.value.value == given
    assert caught.value.expected == allowed
