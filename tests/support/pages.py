"""Pages of the documentation as tests read them: code blocks with their headings, and output with gaps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_LINE = re.compile(r"^(?:(?P<fence>```)(?P<language>\w*)|#+ (?P<heading>.*))\s*$")


@dataclass(frozen=True, slots=True)
class Block:
    """A code block: what stands in it, in which language, and below which heading."""

    page: str
    heading: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page} [{self.heading}] {self.language}: {self.text.partition(chr(10))[0]}"


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)}


def blocks(page: Path) -> Iterator[Block]:
    """All code blocks of a page, in their order. A `#` in a block is no heading."""
    name = page.relative_to(DOCS).as_posix() if page.is_relative_to(DOCS) else page.name
    heading, language, lines = "", None, list[str]()
    for line in page.read_text().splitlines():
        found = _LINE.match(line)
        if language is None:
            if found and found["heading"]:
                heading = found["heading"]
            elif found and found["fence"]:
                language, lines = found["language"].lower(), []
        elif line == "```":
            yield Block(name, heading, language, "".join(f"{text}\n" for text in lines))
            language = None
        else:
            lines.append(line)
    assert language is None, f"{page}: the last code block does not end"


def differs(shown: str, printed: str) -> str | None:
    """What is wrong with an output; None if it is as shown.

    `…` stands for anything within a line, and a line of it alone for any number of lines.
    """
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*?") + r"\n"
        for line in shown.splitlines()
    )
    if re.fullmatch(pattern, printed if printed.endswith("\n") or not printed else f"{printed}\n"):
        return None
    return f"shown:\n{shown}\nprinted:\n{printed}"
