"""Prices: tables, their errors, and what requests cost."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest
from genai_points import Recorded
from hypothesis import given
from hypothesis import strategies as st

from otel_prom_bridge import ConfigurationError
from otel_prom_bridge.genai import LLMRecorder, Price, PriceTable
from otel_prom_bridge.genai.emission import Usage

COST = "gen_ai.usage.cost"
UNPRICED = "gen_ai.client.unpriced_requests"
INFO = "gen_ai.client.price_table.info"

TABLE = """
date = 2026-01-31
version = "mine"
[models]
"gpt-4o" = { input = 2.50, output = 10, cached = 1.25 }
"claude-opus-4" = { input = 15, output = 75 }
"embed" = { input = 0.02 }
[aliases]
"house-model" = "gpt-4o"
"""


@pytest.fixture
def table() -> PriceTable:
    """A small table."""
    return PriceTable.parse(TABLE)


def ask(llm: LLMRecorder, model: str = "gpt-4o", **options: object) -> None:
    """Record a request of a million tokens, and a tenth of that for the answer."""
    tokens = {"input_tokens": 1_000_000, "output_tokens": 100_000, **options}
    llm.record_request(model=model, provider="openai", duration=1, **tokens)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "priced_as"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("house-model", "gpt-4o"),
        ("house-model-latest", "gpt-4o"),
        ("claude-opus-4-20250514", "claude-opus-4"),
        ("claude-opus-4@20250514", "claude-opus-4"),
        ("claude-opus-4-20250514-v1:0", "claude-opus-4"),
        ("us.anthropic.claude-opus-4-20250514-v1:0", "claude-opus-4"),
        ("openai/gpt-4o", "gpt-4o"),
        ("azure/gpt-4o-2024-08-06", "gpt-4o"),
        ("models/house-model", "gpt-4o"),
        ("GPT-4o", "gpt-4o"),
        ("openai/gpt-4o:free", None),
        ("ft:gpt-4o-2024-08-06:org::id", None),
        ("claude-opus-4-1", None),
        ("gpt-4o-mini", None),
        ("gpt-4", None),
        ("", None),
        (None, None),
    ],
)
def test_which_price_a_model_has(table: PriceTable, model: str | None, priced_as: str | None) -> None:
    """A release of a model has the model's price, another model has none."""
    assert table.price(model) == (table.models[priced_as] if priced_as else None)


@pytest.mark.parametrize(
    ("model", "cost"),
    [
        ("azure/gpt-4o-2024-05-13", 5),
        ("gpt-4o-2024-08-06", 2.5),
        ("openai/gpt-4o:free", 0),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", 3),
        ("anthropic/claude-3.5-sonnet", 3.5),
        ("ft:gpt-4o-2024-08-06:org::id", 3.75),
    ],
)
def test_the_most_exact_name_counts(model: str, cost: float) -> None:
    """A price for a release, a route or a spelling comes before the one for the model."""
    names = {
        "gpt-4o": 2.5,
        "gpt-4o-2024-05-13": 5,
        "gpt-4o:free": 0,
        "Claude-3-5-Sonnet": 3,
        "claude-3.5-sonnet": 3.5,
        "ft:gpt-4o": 3.75,
    }
    table = PriceTable("mine", {name: Price(price) for name, price in names.items()})
    assert table.price(model) == Price(cost)


@pytest.mark.parametrize(
    "model",
    [
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "openai/gpt-4o",
        "azure/gpt-4o-2024-08-06",
        "models/gemini-2.5-flash",
        "gemini-2.0-flash-001",
        "GPT-4o",
    ],
)
def test_how_providers_spell_models(model: str) -> None:
    """The table of the package has the prices of its models for every way to write them."""
    assert PriceTable.default().price(model) is not None


def test_what_a_request_costs(recorded: Recorded, table: PriceTable) -> None:
    """Cached tokens are taken out of the input; reasoning tokens are in the output already."""
    llm = LLMRecorder(recorded.provider, prices=table)
    ask(llm, cached_tokens=400_000, reasoning_tokens=90_000)
    (point,) = recorded.points(COST)
    assert point.value == pytest.approx(0.6 * 2.5 + 0.4 * 1.25 + 0.1 * 10)
    assert point.attributes["gen_ai.request.model"] == "gpt-4o"
    assert recorded.metrics()[COST].unit == "USD"
    assert recorded.points(UNPRICED) == []


def test_no_price_for_cached_tokens(recorded: Recorded, table: PriceTable) -> None:
    """Without a price of their own cached tokens cost what input costs."""
    ask(LLMRecorder(recorded.provider, prices=table), "claude-opus-4", cached_tokens=400_000)
    assert recorded.total(COST) == pytest.approx(15 + 7.5)


def test_the_answering_model_has_the_price(recorded: Recorded, table: PriceTable) -> None:
    """If what was asked for has no price, that of what has answered counts."""
    ask(LLMRecorder(recorded.provider, prices=table), "router", response_model="gpt-4o-2024-08-06")
    assert (recorded.total(COST), recorded.points(UNPRICED)) == (pytest.approx(3.5), [])


def test_requests_without_a_known_cost(recorded: Recorded, table: PriceTable) -> None:
    """An unknown model, or tokens that were not reported, are counted and not taken for free."""
    llm = LLMRecorder(recorded.provider, prices=table)
    ask(llm, "unheard-of")
    ask(llm, "gpt-4o", input_tokens=None, output_tokens=None)
    assert {point.attributes["gen_ai.request.model"]: point.value for point in recorded.points(UNPRICED)} == {
        "unheard-of": 1,
        "gpt-4o": 1,
    }
    assert recorded.points(COST) == []


@pytest.mark.parametrize("wrong", [-5, "many", True])
@pytest.mark.parametrize("kind", ["input_tokens", "output_tokens", "cached_tokens"])
def test_a_number_of_tokens_that_is_none(
    recorded: Recorded, table: PriceTable, kind: str, wrong: object
) -> None:
    """The rest is paid, and the request is among those whose cost is not known; a cost that is said is."""
    llm = LLMRecorder(recorded.provider, prices=table)
    ask(llm, **{kind: wrong})
    assert recorded.total(UNPRICED) == 1
    assert recorded.total(COST) > 0
    ask(llm, **{kind: wrong, "cost": 0.5})
    assert recorded.total(UNPRICED) == 1


def test_requests_that_cost_nothing(recorded: Recorded, table: PriceTable) -> None:
    """A failure without tokens and an operation that has none are neither priced nor unpriced."""
    llm = LLMRecorder(recorded.provider, prices=table)
    llm.record_request(model="x", provider="p", duration=1, error_type="timeout")
    llm.record_request(model="x", provider="p", duration=1, operation="search_memory")
    assert (recorded.points(COST), recorded.points(UNPRICED)) == ([], [])


@pytest.mark.parametrize("operation", ["responses", "Chat", "rerank", "search_memory"])
def test_operations_of_any_name(recorded: Recorded, table: PriceTable, operation: str) -> None:
    """Whatever it is called, what reports tokens has a cost, known or not."""
    llm = LLMRecorder(recorded.provider, prices=table)
    ask(llm, operation=operation)
    ask(llm, "unheard-of", operation=operation)
    assert (recorded.total(COST), recorded.total(UNPRICED)) == (pytest.approx(3.5), 1)


@pytest.mark.parametrize("operation", ["invoke_agent", "execute_tool", "invoke_workflow"])
def test_tokens_are_paid_for_once(recorded: Recorded, table: PriceTable, operation: str) -> None:
    """What an agent reports are the tokens of its calls, which have been counted."""
    ask(LLMRecorder(recorded.provider, prices=table), operation=operation)
    assert (recorded.points(COST), recorded.points(UNPRICED)) == ([], [])


def test_more_cached_tokens_than_input(
    recorded: Recorded,
    table: PriceTable,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Input that leaves out what was cached, as Anthropic's does, is cheap, and therefore said once."""
    llm = LLMRecorder(recorded.provider, prices=table)
    for _ in range(2):
        with llm.call(model="gpt-4o", provider="anthropic") as call:
            call.tokens(input=100, output=0, cached=10_000)
    ask(llm, cached_tokens=1_000_000)
    assert [record.getMessage() for record in caplog.records] == [
        "'gpt-4o': 10000 cached tokens are not among 100 of input, which have to include them"
    ]


def test_no_prices(recorded: Recorded) -> None:
    """Without a table there is nothing about costs."""
    ask(LLMRecorder(recorded.provider, prices=None))
    assert not {COST, UNPRICED, INFO} & set(recorded.metrics())


def test_new_prices(recorded: Recorded, table: PriceTable) -> None:
    """Another table changes what is added, not what was; the info says which one is in use."""
    llm = LLMRecorder(recorded.provider, prices=table)
    ask(llm)
    cheaper = PriceTable("cheaper", {"gpt-4o": Price(1, 0)})
    assert llm.prices is table
    llm.prices = cheaper
    ask(llm)
    assert recorded.total(COST) == pytest.approx(3.5 + 1)
    infos = {point.attributes["price_table.version"]: point.value for point in recorded.points(INFO)}
    assert infos == {"mine": 0, "cheaper": 1}
    assert recorded.points(INFO)[0].attributes["currency"] == "USD"
    llm.prices = None
    assert all(point.value == 0 for point in recorded.points(INFO))
    with pytest.raises(ConfigurationError, match="a PriceTable or None"):
        llm.prices = "prices.toml"  # type: ignore[assignment]


def test_new_prices_while_a_request_is_counted(
    recorded: Recorded, table: PriceTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread changes the table: this request has the old price, and none after it has."""
    llm = LLMRecorder(recorded.provider, prices=table)
    cheaper = PriceTable("cheaper", {"gpt-4o": Price(1, 0)})

    def changing(_: Usage) -> bool:
        if llm.prices is table:
            llm.prices = cheaper
        return True

    with monkeypatch.context() as patched:
        patched.setattr(Usage, "reported", property(changing))
        ask(llm)
    ask(llm)
    assert recorded.total(COST) == pytest.approx(3.5 + 1)


def test_a_table_that_somebody_else_still_uses(recorded: Recorded, table: PriceTable) -> None:
    """The info of a table is 0 when none of the recorders has it any more."""
    one, two = (LLMRecorder(recorded.provider, prices=table) for _ in range(2))
    LLMRecorder(Recorded().provider, prices=table)
    one.prices = None
    assert recorded.point(INFO).value == 1
    two.prices = None
    assert recorded.point(INFO).value == 0


def test_cache_writes_and_reasoning(recorded: Recorded) -> None:
    """They are among the input and the output, with prices of their own where the table has some."""
    table = PriceTable.parse(
        "date = 2026-01-31\n[models]\n"
        "a = { input = 10, output = 100, cached = 1, cache_write = 12, reasoning = 50 }\n"
        "b = { input = 10, output = 100 }\n"
    )
    llm = LLMRecorder(recorded.provider, prices=table)
    million = 1_000_000
    with llm.call(model="a", provider="x") as call:
        call.tokens(input=10 * million, cached=2 * million, cache_write=3 * million)
        call.tokens(output=4 * million, reasoning=million)
    llm.record_request(
        model="b",
        provider="x",
        duration=1,
        **{"input_tokens": 2 * million, "cache_write_tokens": million},
        **{"output_tokens": 2 * million, "reasoning_tokens": million},
    )
    costs = {point.attributes["gen_ai.request.model"]: point.value for point in recorded.points(COST)}
    assert costs == pytest.approx({"a": 5 * 10 + 2 * 1 + 3 * 12 + 3 * 100 + 1 * 50, "b": 2 * 10 + 2 * 100})
    written = recorded.points("gen_ai.client.inference.usage.cache_write.input_tokens")
    assert sorted(point.value for point in written) == [million, 3 * million]


def test_a_table_made_by_hand_is_looked_at() -> None:
    """What cannot be a table of prices is refused when it is made, and not when a request ends."""
    for make, key in (
        (lambda: PriceTable("v", {"m": {"input": 1}}), r"PriceTable.models\['m'\]"),  # type: ignore[dict-item]
        (lambda: PriceTable("v", [("m", Price(1))]), "PriceTable.models"),  # type: ignore[arg-type]
        (lambda: PriceTable("", {"m": Price(1)}), "PriceTable.version"),
        (lambda: PriceTable("v", {"m": Price(1)}, aliases={"a": "b"}), "PriceTable: aliases.a"),
        (lambda: Price(-1), "input"),
        (lambda: Price("1"), "input"),  # type: ignore[arg-type]
        (lambda: Price(1, float("nan")), "output"),
        (lambda: Price(1, reasoning=True), "reasoning"),
    ):
        with pytest.raises(ConfigurationError, match=f"^{key}: "):
            make()


counts = st.none() | st.integers(0, 10**9)
amounts = st.floats(0, 1000)


@given(
    st.builds(Price, amounts, amounts, *[st.none() | amounts] * 3),
    st.builds(Usage, *[counts] * 5),
)
def test_costs_never_fall(price: Price, usage: Usage) -> None:
    """No price and no usage, also an impossible one, has a negative cost."""
    assert price.cost(usage) >= 0


def test_the_default_table() -> None:
    """The table of the package has a date, and every model of it can be found under a dated name."""
    table = PriceTable.default()
    assert table is PriceTable.default()
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", table.date)
    data = tomllib.loads(resources.files("otel_prom_bridge.prices").joinpath("prices.toml").read_text())
    assert set(data["models"]) == set(table.models)
    for model, price in table.models.items():
        assert table.price(f"{model}-2025-01-01") == price
        assert price.cached is None or price.cached < price.input
        assert price.cache_write is None or price.cache_write > price.input
    assert table.price("openai/gpt-4o-2024-05-13") == Price(5, 15)
    assert table.price("claude-3-opus-20240229") == table.price("claude-3-opus")


def test_loading(tmp_path: Path) -> None:
    """A table is loaded from a file; the date is its version if it has none."""
    file = tmp_path / "prices.toml"
    file.write_text(TABLE.replace('version = "mine"', ""))
    table = PriceTable.load(file)
    assert (table.version, table.date, len(table.models)) == ("2026-01-31", "2026-01-31", 3)


def test_prices_of_long_calls() -> None:
    """All of a call has the price of the last number of tokens that its input is above."""
    table = PriceTable.parse(
        'date = 2026-01-31\n[models]\n"m" = { input = 1, output = 4, above = ['
        "{ tokens = 500, input = 3, output = 5 }, { tokens = 100, input = 2 }] }"
    )
    price = table.price("m")
    assert price == Price(1, 4, above=[(100, Price(2)), (500, Price(3, 5))])
    assert price is not None
    assert repr(price) != repr(Price(1, 4))
    paid = {tokens: price.cost(Usage(tokens, 10)) * 1e6 for tokens in (None, 0, 100, 101, 500, 501)}
    expected = {None: 40, 0: 40, 100: 140, 101: 202, 500: 1000, 501: 1553}
    assert paid == {tokens: pytest.approx(usd) for tokens, usd in expected.items()}
    with pytest.raises(ConfigurationError, match="above"):
        Price(1, above=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("date = 2026-01-31", "", "date: None is not allowed, expected a date like 2026-01-31"),
        ("date = 2026-01-31", 'date = "today"', "date: 'today' is not allowed"),
        ('version = "mine"', "version = 3", "version: 3 is not allowed, expected a string that is not empty"),
        ('version = "mine"', 'currency = "EUR"', "currency: 'EUR' is not allowed, expected \"USD\""),
        (
            'version = "mine"',
            "versoin = 1",
            "versoin: 1 is not allowed, expected one of the keys (did you mean 'version'?): version, date",
        ),
        ("input = 0.02", "input = -1", "models.embed.input: -1 is not allowed, expected USD per million"),
        ("input = 0.02", "input = nan", "models.embed.input: nan is not allowed"),
        ("input = 0.02", "input = true", "models.embed.input: True is not allowed"),
        ("input = 0.02", "output = 1", "models.embed.input: None is not allowed"),
        ("input = 0.02", "audio = 1", "models.embed.audio: 1 is not allowed, expected one of the keys"),
        ("input = 0.02", "input = 1, cache_write = -1", "models.embed.cache_write: -1 is not allowed"),
        (
            '"embed" =',
            "embed.3 =",
            "embed.3: {'input': 0.02} is not allowed, expected a number, or quotes",
        ),
        (
            '"house-model" =',
            "house.model =",
            "house: {'model': 'gpt-4o'} is not allowed, expected a name, or quotes",
        ),
        ("{ input = 0.02 }", "2", "models.embed: 2 is not allowed, expected a table"),
        (
            '"house-model" = "gpt-4o"',
            '"a" = "b"',
            "aliases.a: 'b' is not allowed, expected a model of the table",
        ),
        (
            '"house-model" = "gpt-4o"',
            '"a" = "gpt-5o"',
            "aliases.a: 'gpt-5o' is not allowed, expected a model of the table (did you mean 'gpt-4o'?)",
        ),
        (
            '"house-model" = "gpt-4o"',
            '"a" = ["gpt-4o"]',
            "aliases.a: ['gpt-4o'] is not allowed, expected a model of the table",
        ),
        ("input = 0.02", "input = 1, above = 3", "models.embed.above: 3 is not allowed, expected a list"),
        (
            "input = 0.02",
            "input = 1, above = { tokens = 5, input = 2 }",
            "models.embed.above: {'tokens': 5, 'input': 2} is not allowed, expected a list of tables",
        ),
        ("input = 0.02", "input = 1, above = [3]", "models.embed.above: [3] is not allowed, expected a list"),
        ("input = 0.02", "input = 1, above = [{ input = 2 }]", "models.embed.above: [(None, "),
        ("input = 0.02", "input = 1, above = [{ tokens = 1.5, input = 2 }]", "models.embed.above: [(1.5, "),
        ("input = 0.02", "input = 1, above = [{ tokens = 5 }]", "models.embed.above.input: None is not"),
        (
            "input = 0.02",
            "input = 1, above = [{ tokens = 5, input = 2, above = [{ tokens = 6, input = 3 }] }]",
            "models.embed.above: [(5, ",
        ),
        ("[aliases]", "[[", "expected TOML"),
        ('"embed" =', "gpt-4.1 = { input = 2 }\ngpt-4 =", "expected TOML, with quotes around a name"),
    ],
)
def test_wrong_tables(tmp_path: Path, old: str, new: str, message: str) -> None:
    """A wrong table says which key has which value, and what is allowed."""
    assert old in TABLE
    file = tmp_path / "prices.toml"
    file.write_text(TABLE.replace(old, new))
    with pytest.raises(ConfigurationError, match=re.escape(message)) as caught:
        PriceTable.load(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("text", ["models = 1\ndate = 2026-01-01", "date = 2026-01-01", "aliases = 1"])
def test_tables_without_models(text: str) -> None:
    """A table has to have models, and tables where tables belong."""
    with pytest.raises(ConfigurationError):
        PriceTable.parse(text)


def test_no_file(tmp_path: Path) -> None:
    """A file that cannot be read is said to be one."""
    with pytest.raises(ConfigurationError, match="a file that can be read"):
        PriceTable.load(tmp_path / "none.toml")


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), True, "12", [1], object()])
def test_what_is_no_number_of_tokens_was_not_reported(
    recorded: Recorded, table: PriceTable, wrong: object, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest of the request is recorded with its cost, and what was wrong is logged once."""
    llm = LLMRecorder(recorded.provider, prices=table)
    for _ in range(2):
        ask(llm, input_tokens=wrong, cached_tokens=0, finish_reason="stop")
        ask(llm, reasoning_tokens=wrong, cost=wrong)
    assert recorded.total(COST) == pytest.approx(2 * (1 + 3.5))
    assert recorded.total("gen_ai.client.generation.choices") == 2
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == len(set(said))
