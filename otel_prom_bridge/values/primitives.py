"""What is a whole number, a number, or a text: ``True`` is no number, and a lone surrogate no text."""

from __future__ import annotations

import math
from typing import TypeGuard


def is_number(value: object) -> TypeGuard[float]:
    """A number of any kind; also NaN and infinity."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: object, lowest: float = 1, highest: float = math.inf) -> TypeGuard[int]:
    """A whole number within these limits."""
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest


def is_text(value: object) -> TypeGuard[str]:
    """A string that can be written; it may be empty."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
