"""Keeping what was made of words, as an application says the same again and again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

Made = TypeVar("Made")
_MOST = 2000
_LONGEST = 2000


class Kept(Generic[Made]):
    """What was made so far: as much as an application can sensibly have. Then all is forgotten.

    What is made of long words is not kept, since they may be other ones each time. Nobody changes what is.
    There is no lock: if two threads make the same, either is kept.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, Made] = {}

    def of(self, words: tuple[Any, ...], make: Callable[..., Made], *arguments: Any) -> Made:
        """What is made of these words, which is ``make(*arguments)``."""
        key = (words, *map(type, words))  # 1, 1.0 and True are equal, and other labels
        try:
            return self._made[key]
        except TypeError:  # what an application says may have no hash
            return make(*arguments)
        except KeyError:
            pass
        made = make(*arguments)
        if is_short(words):
            if len(self._made) >= _MOST:
                self._made = {}
            self._made[key] = made
        return made


def is_short(words: object) -> bool:
    """Whether they may be kept."""
    try:
        return len(repr(words)) < _LONGEST
    except ValueError:  # a number with very many digits
        return False
