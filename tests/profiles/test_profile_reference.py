"""The reference pages of profiles: generated, checked in, and in step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otel_prom_bridge.cli import main
from otel_prom_bridge.profiles import BUILT_IN, load_profile
from otel_prom_bridge.profiles.reference import reference

PAGES = Path(__file__).parents[2] / "docs" / "profiles"


def test_there_is_a_page_for_each_profile() -> None:
    """No profile is without a page, and no page without a profile."""
    assert sorted(page.stem for page in PAGES.iterdir()) == list(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_page_is_what_the_profile_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The checked-in page is what the command prints; it says how to make it again."""
    assert main(["profile", name]) == 0
    printed = capsys.readouterr().out
    page = PAGES / f"{name}.md"
    assert page.read_text() == printed, f"run: otel-prom-bridge profile {name} > docs/profiles/{name}.md"


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_page_names_everything(name: str) -> None:
    """Every family, label, instrument and option is on it, and every table is as wide in each line."""
    profile = load_profile(name)
    text = reference(profile, given=name)
    names = [
        *(family.name for family in profile.families),
        *(label.name for family in profile.families for label in family.labels or ()),
        *(spec.name for spec in profile.own_instruments),
        *(source.instrument for family in profile.families for source in family.sources),
        *profile.options,
    ]
    assert [item for item in names if f"`{item}`" not in text and item != "common_labels"] == []
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_a_profile_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page of a file: its families, labels that may say anything, conditions, exponential buckets."""
    file = tmp_path / "shop.toml"
    file.write_text(
        'namespace = "shop"\n'
        '[labels.kind]\nattributes = ["kind"]\ndescription = "a | b"\n'
        "[[families]]\n"
        'name = "order_seconds"\ntype = "histogram"\nunit = "s"\nhelp = "Orders"\nlabels = ["kind"]\n'
        'buckets = "exponential"\n'
        'where = { kind = ["x", "y"], state = { included = ["z"], excluded = [""] } }\n'
        'source = { instrument = "order.duration" }\n'
    )
    assert main(["profile", str(file)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# Profile `shop`\n")
    assert (
        "| `shop_order_seconds`<br>Orders | histogram | seconds | `kind` | `order.duration`, where `kind`"
        " is one of `x`, `y` and `state` is `z` and is not empty | exponential |"
    ) in text
    assert "| `kind` | a \\| b | `kind` | any number |" in text
    assert "## Options" not in text


def test_a_long_condition_stands_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that two families have is below the table, and called by its number in it."""
    file = tmp_path / "shop.toml"
    states = [f"state-of-an-order-{number}" for number in range(5)]
    file.write_text(
        'namespace = "shop"\n'
        + "".join(
            f'[[families]]\nname = "{name}_total"\ntype = "counter"\nhelp = "Orders"\nlabels = []\n'
            f'where = {{ state = {states}, kind = "x" }}\n'
            f'source = {{ instrument = "{name}" }}\n'
            for name in ("orders", "returns")
        )
    )
    assert main(["profile", str(file)]) == 0
    text = capsys.readouterr().out
    assert text.count("state-of-an-order-3") == 1
    assert "`orders`, where condition 1 and `kind` is `x` |" in text
    assert "`returns`, where condition 1 and `kind` is `x` |" in text
    assert f"\n- **condition 1**: `state` is one of {', '.join(f'`{state}`' for state in states)}\n" in text


def test_a_profile_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """It is one line on stderr."""
    assert main(["profile", "nope"]) == 2
    assert "one of the profiles" in capsys.readouterr().err
