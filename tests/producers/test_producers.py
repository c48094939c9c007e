"""Every producer that we know of, in an environment of its own: what it did is what is shown, once.

It asks a server on loopback that writes down the tokens of each answer. So calls, tokens and costs are
compared with the truth, with both profiles, without and with metrics from spans. What is not right has its
reason in `producers.toml`, and so in docs/producers.md. The environments are installed once, below `.venvs`,
or where `PRODUCERS_ENVIRONMENTS` says.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from produced import ASPECTS, ROOT, Producer, Result, producers, run_all, table

EVERY = producers()


@pytest.fixture(scope="module")
def found() -> dict[str, list[Result] | str]:
    """What all of them showed, or why one could not be run."""
    return run_all()


@pytest.fixture
def results(producer: Producer, found: dict[str, list[Result] | str]) -> list[Result]:
    """What one of them showed."""
    result = found[producer.name]
    if isinstance(result, str):
        cannot = "cannot be installed" in result and not os.environ.get("CI")
        pytest.skip(result) if cannot else pytest.fail(result)
    return result


@pytest.mark.slow
@pytest.mark.timeout(900)  # the first one waits for the environments, and for all of them
@pytest.mark.parametrize("producer", EVERY, ids=[producer.name for producer in EVERY])
def test_what_it_did_is_shown_once(producer: Producer, results: list[Result]) -> None:
    """Exactly, with spans; never more than that; and for what is missing there is a reason."""
    for result in results:
        assert result.error == ""
        assert all(result.truth[aspect] for aspect in producer.does), result.truth
        verdicts = {aspect: result.verdict(aspect) for aspect in ASPECTS}
        numbers = f"{result.profile} {result.spans}: {result.numbers} of {result.truth}"
        assert "too much" not in verdicts.values(), numbers
        if result.spans == "on":
            wrong = {aspect for aspect, verdict in verdicts.items() if verdict in ("no", "partly")}
            assert wrong <= {*producer.why}, numbers
    spans = [result for result in results if result.spans == "on"]
    for aspect in producer.why:
        assert {result.verdict(aspect) for result in spans} != {"yes"}, f"{aspect} is right, and has a reason"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("producer", EVERY, ids=[producer.name for producer in EVERY])
def test_spans_add_nothing_to_what_is_right(producer: Producer, results: list[Result]) -> None:
    """What the metrics say exactly is the same with metrics from spans: nothing counts twice."""
    shown = {(result.profile, result.spans): result for result in results}
    for profile in ("semconv", "llmdevops"):
        for aspect in producer.does:
            if shown[profile, "off"].verdict(aspect) == "yes":
                assert shown[profile, "on"].verdict(aspect) == "yes", aspect


def test_the_page_is_of_these_producers() -> None:
    """docs/producers.md names each with the release that is pinned here."""
    page = Path(ROOT / "docs" / "producers.md").read_text()
    pins = {}
    for environment in table()["environments"].values():
        for requirement in environment["requires"]:
            name, _, release = requirement.partition("==")
            pins[name.partition("[")[0]] = release
    for producer in EVERY:
        assert f"| {producer.title} |" in page
        for package in producer.packages:
            assert f"`{package}` {pins[package]}" in page
        for aspect, why in producer.why.items():
            assert f"| {producer.title} | {aspect} | {why} |" in page
