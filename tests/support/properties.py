"""How often a property is tried: often, where there is time for it.

``make test`` is for everybody, after each change, and tries each property some times. ``make slow`` tries it
as often as its test says.
"""

from __future__ import annotations

import os

WHOLE = os.environ.get("PROPERTIES") == "whole"
FEW = 10


def examples(number: int) -> int:
    """So many examples, or a tenth of them."""
    return number if WHOLE else min(number, max(FEW, number // 10))
