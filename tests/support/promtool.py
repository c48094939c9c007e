"""Prometheus' own tool as a judge of expositions, configurations, rules and queries."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from servers import missing

from otel_prom_bridge.audit import check
from otel_prom_bridge.snapshots import Finding, Snapshot

PROMTOOL = shutil.which("promtool")
_well_formed: set[int] = set()  # the hashes of texts that had no fault: many tests record the same
# The first character of the name that a line of an exposition begins with, or that it describes.
_NAME = re.compile(rb"^((?:# (?:HELP|TYPE) )?[^#\s])", re.MULTILINE)


def promtool(
    *arguments: str | Path, text: str | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it, in this folder and with this text on stdin, and return its exit code and what it says."""
    if PROMTOOL is None:
        missing("promtool", package="prometheus")
    command = [PROMTOOL, *arguments]
    return subprocess.run(
        command,
        input=text,
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=30,
        check=False,
    )


def approved(*arguments: str | Path, folder: Path | None = None) -> str:
    """Run it, fail the test if it has a complaint, and return what it says."""
    done = promtool(*arguments, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def promtool_complaint(body: bytes) -> str | None:
    """What `promtool check metrics` cannot parse in a text exposition; None if it is well-formed.

    Exit code 3 is only a matter of style (a metric without a help text, say), which is the user's to decide.
    Where promtool is not installed, there is no complaint either.
    """
    if PROMTOOL is None or hash(body) in _well_formed:
        return None
    done = promtool("check", "metrics", text=body.decode(errors="surrogateescape"))
    if done.returncode not in (0, 3):
        return done.stderr
    _well_formed.add(hash(body))
    return None


def promtool_complaints(texts: Sequence[bytes]) -> list[str | None]:
    """What `promtool_complaint` says of each text.

    It takes 40 ms to start and hardly any to read, so it reads all of them as one text, and each half by
    itself if it has a complaint.
    """
    if len(texts) < 2:
        return [promtool_complaint(text) for text in texts]
    if all(text.endswith(b"\n") for text in texts) and promtool_complaint(_joined(texts)) is None:
        return [None] * len(texts)
    half = len(texts) // 2
    return promtool_complaints(texts[:half]) + promtool_complaints(texts[half:])


def _joined(texts: Sequence[bytes]) -> bytes:
    """One text that is well-formed if each of these is: all names in a text get its number, and are its own.

    The number stands behind the first character, for which there is another rule than for the rest.
    """
    return b"".join(_NAME.sub(rb"\g<1>q%06d_" % number, text) for number, text in enumerate(texts))


def agrees(body: bytes, *, tool: str | None = None) -> None:
    """Whatever promtool complains of, the check does; it only adds what promtool does not look at."""
    if PROMTOOL is None:
        missing("promtool", package="prometheus")
    command = [tool or PROMTOOL, "check", "metrics"]
    done = subprocess.run(command, input=body, capture_output=True, check=False, timeout=60)
    theirs = {line.split()[0] for line in done.stderr.decode().splitlines()}
    assert done.returncode in (0, 3), done.stderr
    found = check(Snapshot.lenient(body), most=10**6)
    assert [item for item in found if item.severity == "error"] == []
    ours = {item.metric for item in found}
    # Theirs minds neither metrics without a type nor labels that Prometheus gives. It looks at text, where
    # names collide less, and knows no percent.
    extra = {item.metric for item in found if item.rule not in ("type", "collision") and not _is_ours(item)}
    assert extra <= theirs <= ours


def _is_ours(item: Finding) -> bool:
    """Whether promtool has no such rule."""
    return item.message.startswith("percent") or "one that Prometheus gives" in item.message
