"""Runs every producer, and writes docs/producers.md: ``python tests/producers/table.py``.

It needs an index of packages for the environments, and a Prometheus 3 (`sh scripts/newer-servers`).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from produced import ASPECTS, Producer, Result, producers, releases, run_all  # noqa: E402
from produced_panels import panels, with_data  # noqa: E402

PAGE = ROOT / "docs" / "producers.md"
PROMETHEUS = ROOT / ".servers" / "sid" / "usr" / "bin" / "prometheus"
HEAD = """# Producers

<!-- `python tests/producers/table.py` writes this page. -->

These libraries were run against a server that answers as the APIs of OpenAI, Anthropic and Google do, and
that writes down the tokens of each answer. What they recorded was scraped with both profiles by a real
Prometheus 3. It was asked for every panel about models, agents and tools: there are {semconv} in `semconv`,
and {llmdevops} in `llmdevops`. The numbers are panels with data, without and with
[`span_metrics`](genai.md#metrics-from-spans). A client has no agents and no tools, so their panels are empty.

| Producer | Releases | To set | `semconv` | `llmdevops` |
|---|---|---|---|---|
"""
RIGHT = """
## What is counted

Each number was compared with what the server and the program did:

- **yes** is exactly that, with metrics alone;
- **spans** is exactly that with `start(span_metrics=True)`, and less without;
- **cached as input** is a cost in which cached tokens cost what others do, because the producer's metrics do
  not say which were cached;
- **partly** and **no** have a reason in the next table;
- an empty cell is something that the program does not do.

| Producer | Calls | Errors | Tokens in | Tokens out | Cost | Agents | Tools | Failed tools | Guardrails \
| Retries |
|---|---|---|---|---|---|---|---|---|---|---|
"""
WHY = """
## What is missing, and why

| Producer | What | Why |
|---|---|---|
"""
MORE = """
## Panels without data

With `span_metrics`, by profile.

| Producer | `semconv` | `llmdevops` |
|---|---|---|
"""


def cell(producer: Producer, results: list[Result], aspect: str) -> str:
    """What a table says of an aspect."""
    if aspect not in producer.does:
        return ""
    alone, spans = ([r.verdict(aspect) for r in results if r.spans == mode] for mode in ("off", "on"))
    if set(alone) == {"yes"}:
        return "yes"
    if set(spans) == {"yes"}:
        return "spans; else cached as input" if set(alone) == {"cached as input"} else "spans"
    if set(spans) <= {"yes", "cached as input"}:
        return "cached as input" if set(alone) <= {"yes", "cached as input"} else "spans, cached as input"
    return next(v for v in ("too much", "no", "partly", "cached as input", "yes") if v in spans)


def main() -> None:
    """Run, and write."""
    found = run_all()
    results = {name: part for name, part in found.items() if isinstance(part, list)}
    for name, part in found.items():
        if isinstance(part, str):
            sys.stderr.write(f"{name}: {part}\n")
    with tempfile.TemporaryDirectory() as folder:
        shown = with_data(str(PROMETHEUS), Path(folder), results)
    titles = {profile: [p.title for p in panels(profile)] for profile in ("semconv", "llmdevops")}
    page = [HEAD.format(**{profile: len(every) for profile, every in titles.items()})]
    listed = [producer for producer in producers() if producer.name in results]
    for it in listed:
        packages = "<br>".join(f"`{name}` {version}" for name, version in releases(it).items())
        counts = [
            f"{len(shown[it.name, profile, 'off'])} → {len(shown[it.name, profile, 'on'])}"
            for profile in titles
        ]
        page.append(f"| {it.title} | {packages} | {it.set} | {' | '.join(counts)} |\n")
    page.append(RIGHT)
    page += [
        f"| {it.title} | {' | '.join(cell(it, results[it.name], aspect) for aspect in ASPECTS)} |\n"
        for it in listed
    ]
    page.append(WHY)
    page += [f"| {it.title} | {aspect} | {why} |\n" for it in listed for aspect, why in it.why.items()]
    page.append(MORE)
    for it in listed:
        missing = [
            ", ".join(title for title in every if title not in shown[it.name, profile, "on"])
            for profile, every in titles.items()
        ]
        page.append(f"| {it.title} | {' | '.join(missing)} |\n")
    PAGE.write_text("".join(page), encoding="utf-8")


if __name__ == "__main__":
    main()
