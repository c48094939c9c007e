"""Label value rules: what each returns, what bounds it, and that none can hurt the process it runs in."""

from __future__ import annotations

import doctest
import importlib
import pickle
import pkgutil
import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_prom_bridge import rules
from otel_prom_bridge.errors import ConfigurationError
from otel_prom_bridge.rules import (
    Allow,
    Chain,
    ErrorType,
    Extract,
    First,
    Forbid,
    ModelName,
    PathTemplate,
    Redact,
    Rule,
    StatusClass,
    Translate,
    Truncate,
)

# One of each, made anew for every test, since First remembers.
MAKERS: list[Callable[[], Rule]] = [
    lambda: Allow(["chat", "embeddings"]),
    lambda: First(3),
    lambda: Translate({"0": "ok", "1": "failed"}),
    lambda: Extract(r"(.*)/[^/]*"),
    StatusClass,
    lambda: PathTemplate([(r"t-\w+", "{tenant}")]),
    lambda: ModelName({"prod": "gpt-4o"}),
    lambda: ErrorType(kinds={"Oops": "bug"}),
    lambda: Truncate(8),
    lambda: Redact([("acme", "{customer}")]),
    Forbid,
    lambda: Chain(PathTemplate(), First(3)),
]
every_rule = pytest.mark.parametrize("make", MAKERS, ids=lambda make: type(make()).__name__)


@every_rule
@given(values=st.lists(st.one_of(st.text(), st.from_regex(r"[\w./:@?=%+-]{0,80}")), max_size=8))
def test_any_string(make: Callable[[], Rule], values: list[str]) -> None:
    """No string makes a rule raise, the same value has the same result, and the bound holds."""
    rule = make()
    results = [rule(value) for value in values]
    assert [rule(value) for value in values] == results
    assert all(result is None or isinstance(result, str) for result in results)
    assert rule.max_values is None or len(set(results)) <= rule.max_values


# Repeated to 100 KB: what would make a careless expression go back and forth.
HOSTILE = [
    *("a", "0", "A", "aA1", "/", "/a", "-", ".", ":", "::", "0:", "1.", "@", "a@", "a@a.", "%41", "é", "\n"),
    *("eyJ", "-eyJaaaaaa", "sk-", "Bearer ", "password=", "SG.aaaaaaaa-", "://a:", "-----BEGIN PRIVATE KEY"),
    *("a%40", "a%2B", "%3Da", "%3Da%40a.", "%", "_", "a_", "authorization: ", "authorization: a ", "4111"),
    *("aB1+", "-1", "1,", "a-12", "12.a", "aB", "aB1-", "OAuth", "12:a"),
    *("0 ", "+1", "(5", "ft:", "-latest", "-2024-08-06", "-v1:0", "@001", ":free", "{", "\ud800", " "),
]


@every_rule
def test_hostile_strings(make: Callable[[], Rule]) -> None:
    """100 KB of the worst take a rule milliseconds; the seconds here are for slow machines."""
    for piece in HOSTILE:
        rule = make()
        value = piece * (100_000 // len(piece))
        started = time.thread_time()
        rule(value)
        assert time.thread_time() - started < 5, piece


@every_rule
def test_form(make: Callable[[], Rule]) -> None:
    """Rules are frozen, have no dictionary, and show their options in their repr."""
    rule = make()
    assert isinstance(rule, Rule)
    assert not hasattr(rule, "__dict__")
    with pytest.raises((AttributeError, TypeError)):
        rule.other = "x"  # type: ignore[attr-defined]
    assert repr(rule).startswith(f"{type(rule).__name__}(")
    assert " object at " not in repr(rule)
    assert isinstance(hash(rule), int)


@pytest.mark.parametrize("make", [make for make in MAKERS if "First" not in repr(make())])
def test_equal_and_pickled(make: Callable[[], Rule]) -> None:
    """Rules of the same options are equal, and survive the way to another process."""
    assert make() == make()
    assert hash(make()) == hash(make())
    assert pickle.loads(pickle.dumps(make())) == make()


def modules() -> Iterator[str]:
    """The modules of the package, and itself."""
    yield rules.__name__
    yield from (f"{rules.__name__}.{module.name}" for module in pkgutil.iter_modules(rules.__path__))


def test_examples() -> None:
    """The examples in the docstrings are true, and every rule has one."""
    finder = doctest.DocTestFinder()
    for name in rules.__all__:
        if name != "Rule":
            assert any(test.examples for test in finder.find(getattr(rules, name), name))
    assert sum(doctest.testmod(importlib.import_module(name)).failed for name in modules()) == 0


def test_allow() -> None:
    """Only what is on the list is shown; case matters."""
    rule = Allow(iter(["chat", "embeddings"]), other="_OTHER")
    assert [rule(value) for value in ("chat", "Chat", "", "_OTHER")] == ["chat", *["_OTHER"] * 3]
    assert rule.max_values == 3
    assert Allow(["chat", "other"]).max_values == 2


def test_first() -> None:
    """The first values keep their places; the catch-all takes none."""
    rule = First(2, other="rest")
    values = ["rest", "a", "b", "c", "b", "rest"]
    assert [rule(value) for value in values] == ["rest", "a", "b", "rest", "b", "rest"]
    assert rule.max_values == 3
    assert rule != First(2, other="rest")


def test_first_in_threads() -> None:
    """Never more than the limit, and one result per value, however many threads bring values at once."""
    rule, shown, start = First(10), [set() for _ in range(8)], threading.Barrier(8)

    def bring(results: set[tuple[str, str]], offset: int) -> None:
        start.wait()
        for number in range(2000):
            value = str((number * 7 + offset) % 500)
            results.add((value, rule(value)))

    threads = [threading.Thread(target=bring, args=(results, 60 * n)) for n, results in enumerate(shown)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = set().union(*shown)
    assert len({result for _, result in together if result != "other"}) == 10
    assert len(together) == 500


def test_translate() -> None:
    """A table, copied, and a catch-all; several keys may have one value."""
    table = {"0": "ok", "1": "failed", "2": "failed"}
    rule = Translate(table, other="unknown")
    table["3"] = "late"
    assert [rule(value) for value in "0123"] == ["ok", "failed", "failed", "unknown"]
    assert rule.max_values == 3


def test_status_class() -> None:
    """Codes from 100 to 599, and classes themselves."""
    assert [StatusClass()(value) for value in ("100", "204", "404", "599")] == ["1xx", "2xx", "4xx", "5xx"]
    assert [StatusClass()(value) for value in ("5xx", "2XX")] == ["5xx", "2xx"]
    none = ["600", "099", "20", "2000", "٢٠٠", "", "timeout", "200\n"]
    assert {StatusClass(other="none")(value) for value in none} == {"none"}
    assert StatusClass().max_values == 6


def test_extract() -> None:
    """What the group matches, if the value matches as a whole and the group is not empty."""
    service, method = Extract("(.*)/[^/]*"), Extract(re.compile(".*/([^/]*)"))
    for value, expected in {
        "shop.Orders/Place": ("shop.Orders", "Place"),
        "Place": ("Place", "Place"),
        "/Place": ("/Place", "Place"),
        "shop.Orders/": ("shop.Orders", "shop.Orders/"),
    }.items():
        assert (service(value), method(value)) == expected


def test_truncate() -> None:
    """The ellipsis counts."""
    assert [Truncate(4)(value) for value in ("", "four", "fives")] == ["", "four", "fiv…"]
    assert Truncate(1)("ab") == "…"


CHAINS = [
    (Chain(PathTemplate(), First(5)), 6, "other"),
    (Chain(Allow(["a", "b"]), First(50, other="rest")), 3, "rest"),
    (Chain(First(50), Allow(["a"])), 2, "other"),
    (Chain(StatusClass(), Truncate(2)), 6, None),
    (Chain(ModelName(), Truncate(9)), None, None),
    (Chain(Forbid(), Allow(["a"])), 1, "other"),
    (Chain(Chain(ModelName(), Allow(["a"], other="x"))), 2, "x"),
    (Chain(str.upper, Allow(["A"])), 2, "other"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("rule", "bound", "other"), CHAINS)
def test_bound_of_a_chain(rule: Chain, bound: int | None, other: str | None) -> None:
    """The smallest bound holds, wherever it stands; the catch-all is the last rule's."""
    assert (rule.max_values, rule.other) == (bound, other)


def test_chain() -> None:
    """Each rule has what the one before returned; nothing comes after "left out"."""
    assert Chain(ModelName(), Allow(["gpt-4o"]))("openai/gpt-4o-2024-08-06") == "gpt-4o"
    assert Chain(Forbid(), Allow(["a"]))("a") is None
    assert repr(Chain(Forbid(), Truncate(3))) == "Chain(Forbid(), Truncate(length=3))"


WRONG: list[tuple[str, Callable[[], object]]] = [
    ("Allow.values", lambda: Allow("chat")),
    ("Allow.values", lambda: Allow([])),
    ("Allow.values", lambda: Allow([200])),  # type: ignore[list-item]
    ("Allow.values", lambda: Allow(None)),  # type: ignore[arg-type]
    ("Allow.other", lambda: Allow(["a"], other="")),
    ("First.limit", lambda: First(0)),
    ("First.limit", lambda: First(True)),
    ("First.limit", lambda: First("10")),  # type: ignore[arg-type]
    ("First.other", lambda: First(1, other=None)),  # type: ignore[arg-type]
    ("Translate.table", lambda: Translate({})),
    ("Translate.table", lambda: Translate({200: "ok"})),  # type: ignore[dict-item]
    ("Translate.table", lambda: Translate({"200": ""})),
    ("Translate.table", lambda: Translate([("a", "b")])),  # type: ignore[arg-type]
    ("Translate.other", lambda: Translate({"a": "b"}, other="\ud800")),
    ("StatusClass.other", lambda: StatusClass(other="")),
    ("Extract.pattern", lambda: Extract("x")),
    ("Extract.pattern", lambda: Extract("(x")),
    ("Extract.pattern", lambda: Extract("(x)(y)")),
    ("Extract.pattern", lambda: Extract(re.compile(b"(x)"))),  # type: ignore[arg-type]
    ("Extract.pattern", lambda: Extract(3)),  # type: ignore[arg-type]
    ("Truncate.length", lambda: Truncate(0)),
    ("Truncate.length", lambda: Truncate(1.5)),  # type: ignore[arg-type]
    ("PathTemplate.patterns", lambda: PathTemplate([("(", "{x}")])),
    ("PathTemplate.patterns", lambda: PathTemplate([(rb"\d", "{x}")])),  # type: ignore[list-item]
    ("PathTemplate.patterns", lambda: PathTemplate(["ab"])),  # type: ignore[list-item]
    ("PathTemplate.max_segments", lambda: PathTemplate(max_segments=0)),
    ("Chain.rules", Chain),
    ("Chain.rules", lambda: Chain(Forbid)),  # type: ignore[arg-type]
    ("Chain.rules", lambda: Chain("a")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("key", "make"), WRONG)
def test_wrong_arguments(key: str, make: Callable[[], object]) -> None:
    """A wrong argument is refused when the rule is made, with its name and what is allowed."""
    with pytest.raises(ConfigurationError, match=rf"^{re.escape(key)}: .* is not allowed, expected "):
        make()
