"""Which release of a package is installed."""

from __future__ import annotations

from functools import cache


@cache
def release_of(package: str) -> str | None:
    """Its version, or None if it has no metadata: it is not installed, or a copy, for example in a bundle."""
    # Whoever makes a recorder asks, so this import comes before anything is recorded. It takes longer than to
    # import the recorders, and who never makes one need not wait for it.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None
