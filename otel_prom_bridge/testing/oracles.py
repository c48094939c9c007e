"""Strict judgement of expositions, of any exporter."""

from __future__ import annotations

from otel_prom_bridge.snapshots.reading import read

_SHOWN = 20


def assert_valid_exposition(body: bytes | str, content_type: str) -> None:
    """Fail unless the specification of the format allows this body, which it must in every line.

    >>> assert_valid_exposition(b"a 1\\n", "text/plain; version=0.0.4")
    """
    __tracebackhide__ = True
    if not content_type:
        raise ValueError("content_type: say in which format the body is, as its Content-Type header has it")
    found = read(body.encode() if isinstance(body, str) else body, content_type)
    errors = [str(finding) for finding in found.findings if finding.severity == "error"]
    if errors:
        more = f"\n… and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
        shown = "\n".join(errors[:_SHOWN])
        raise AssertionError(f"no valid exposition of {content_type}:\n{shown}{more}")
