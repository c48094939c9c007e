"""Views that show a stream under another instrument's name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from setups import Setup

from otel_prom_bridge import ConfigurationError, ExportView, TranslationStrategy
from otel_prom_bridge.profiles import load_profile

Make = Callable[..., Setup]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (TranslationStrategy.UNDERSCORE_ESCAPING_WITH_SUFFIXES, "shop_jobs_duration_seconds_count 1"),
        (TranslationStrategy.UNDERSCORE_ESCAPING_WITHOUT_SUFFIXES, "shop_jobs_duration_count 1"),
        (TranslationStrategy.NO_UTF8_ESCAPING_WITH_SUFFIXES, "shop_jobs_duration_seconds_count 1"),
    ],
)
def test_it_is_translated_as_instruments_are(
    bridge: Make, strategy: TranslationStrategy, expected: str
) -> None:
    """Its name gets the unit, the prefix and the characters that the reader's strategy says."""
    view = ExportView(instrument_name="old.duration", stream_name="jobs.duration")
    setup = bridge(fallback_views=[view], prefix="shop", translation_strategy=strategy)
    setup.meter.create_histogram("old.duration", unit="s").record(1)
    assert expected in setup.text()


def test_what_is_taken_is_a_counter(bridge: Make) -> None:
    """A count has no unit, a sum has that of what was observed, and both get `_total`."""
    views = [
        ExportView(instrument_name="d", take=take, stream_name=f"job.{take}") for take in ("count", "sum")
    ]
    setup = bridge(fallback_views=views)
    setup.meter.create_histogram("d", unit="s").record(2.5)
    text = setup.text()
    assert "\njob_count_total 1\n" in text
    assert "\njob_sum_seconds_total 2.5\n" in text


def test_not_beside_a_name() -> None:
    """A family has one name."""
    with pytest.raises(
        ConfigurationError, match=r"stream_name: 'a' is not allowed, expected a string, and none"
    ):
        ExportView(name="b", stream_name="a")


def test_the_default_profile_leaves_prefix_and_strategy_alone(bridge: Make) -> None:
    """The names of the conventions are translated as without it."""
    views = load_profile("semconv").views()
    options = {
        "prefix": "shop",
        "translation_strategy": TranslationStrategy.UNDERSCORE_ESCAPING_WITHOUT_SUFFIXES,
    }
    shown = []
    for fallback in ((), views):
        setup = bridge(fallback_views=fallback, **options)
        bounds = [0.01 * 2**step for step in range(14)]
        setup.meter.create_histogram(
            "gen_ai.client.operation.duration", unit="s", explicit_bucket_boundaries_advisory=bounds
        ).record(1, {"gen_ai.operation.name": "chat"})
        shown.append([line for line in setup.text().splitlines() if not line.startswith("#")])
    assert shown[0] == shown[1]
    assert any(line.startswith("shop_gen_ai_client_operation_duration_bucket{") for line in shown[0])


def test_counts_and_sums_are_no_one_family(bridge: Make) -> None:
    """Both are counters, and yet a count that is added to a sum means nothing: the second is not shown."""
    views = [
        ExportView(instrument_name="h1", take="count", stream_name="x"),
        ExportView(instrument_name="h2", take="sum", stream_name="x"),
    ]
    setup = bridge(fallback_views=views)
    setup.meter.create_histogram("h1").record(5)
    setup.meter.create_histogram("h2").record(500)
    assert "\nx_total 1\n" in setup.text()
    (conflict,) = setup.reader.conflicts()
    assert "'x_total' has the count of a histogram already, not a sum" in str(conflict)


def test_a_gauge_beside_what_adds_up_gives_way(bridge: Make) -> None:
    """Where both have equal labels the sum is shown, the overflow's too; each conflict is said once."""
    setup = bridge(fallback_views=[ExportView(instrument_name="a*", name="f", max_series=2)])
    level, gauge = setup.meter.create_up_down_counter("a1"), setup.meter.create_gauge("a2")
    level.add(3, {"k": "1"})
    gauge.set(5, {"k": "2"})
    assert setup.text().endswith('\nf{k="1"} 3\nf{k="2"} 5\n')  # apart, both are there
    assert setup.reader.conflicts() == []
    for count in (1, 2):
        gauge.set(100, {"k": "3"})
        level.add(1, {"k": "4"})
        assert f'\nf{{otel_metric_overflow="true"}} {count}\n' in setup.text()
    (conflict,) = setup.reader.conflicts()
    assert conflict.metric == "f"
    assert conflict.dropped == "gauge 'a2' of scope 'test'"
    assert "an up-down counter has the same labels" in conflict.reason


def test_counts_of_several_histograms_are_one_family_without_a_word(bridge: Make) -> None:
    """Nobody wrote the descriptions that they would differ by; a counter may add to them, too."""
    views = [
        ExportView(instrument_name="h*", name="f_total", take="count"),
        ExportView(instrument_name="c", name="f_total"),
    ]
    setup = bridge(fallback_views=views)
    for name in ("h1", "h2"):
        setup.meter.create_histogram(name).record(1)
    setup.meter.create_counter("c").add(1)
    assert "\nf_total 3\n" in setup.text()
    assert setup.reader.conflicts() == []


def test_units_that_meet_are_a_conflict_that_says_what_to_do(bridge: Make) -> None:
    """Without a unit of the view's own values are added as they are, and somebody has to know."""
    setup = bridge(fallback_views=[ExportView(instrument_name="h*", name="f")])
    for unit in ("s", "ms"):
        setup.meter.create_histogram(f"h{unit}", unit=unit).record(1)
    assert "\nf_sum 2\n" in setup.text()
    (conflict,) = setup.reader.conflicts()
    assert str(conflict) == (
        "metric 'f' does not show the unit 'milliseconds'; the first one is kept: 'seconds', and values are"
        " as recorded; an ExportView can show all in one unit, or rename one"
    )
