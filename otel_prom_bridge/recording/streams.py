"""Iterators that say when a chunk has passed through them, and when there will be no more.

They know nothing of calls: whoever makes one hands it two functions. They are objects and not generators,
because a generator cannot tell whether it was closed or dropped. What is dropped must not record from where
the garbage collector runs; `operations` explains why.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from functools import partial
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeAlias, TypeVar

T = TypeVar("T")

How: TypeAlias = Literal["over", "closed", "dropped"]
"""How a stream has ended: by its own end or its own error, because it was closed, or because it was dropped.

What was closed or dropped may have been so by the garbage collector, so nothing can be recorded from there.
"""

Passed: TypeAlias = Callable[[object], None]
Ended: TypeAlias = Callable[[BaseException | None, How], None]

# These methods drive a generator and give its next chunk, as next() does.
_DRIVING = frozenset({"send", "throw", "asend", "athrow"})


class _Wrapper:
    """What both kinds share: the two functions, and everything else that the wrapped stream can do."""

    def __init__(self, source: object, passed: Passed, ended: Ended) -> None:
        self._source = source
        self._chunk_passed = passed
        self._ended = ended
        self._over = False

    def _end(self, error: BaseException | None, how: How) -> None:
        if not self._over:
            self._over = True
            self._ended(error, how)

    def _end_of_block(self, error: BaseException | None) -> None:
        if isinstance(error, GeneratorExit):  # the generator that the block stands in was dropped
            self._end(None, "dropped")
        else:
            self._end(error, "closed" if error is None else "over")

    def __getattr__(self, name: str) -> Any:
        # What is not found here belongs to the wrapped stream: its response, its headers and so on. Private
        # names do not, so that an object that was not made completely does not ask itself for its source.
        if name.startswith("_"):
            raise AttributeError(name)
        found = getattr(self._source, name)
        if name in _DRIVING and isinstance(self._source, (Generator, AsyncGenerator, _Wrapper)):
            return partial(self._passed, found)
        return found

    def _passed(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """What a step of the wrapped stream gives, recorded."""
        raise NotImplementedError

    def __del__(self) -> None:
        try:
            if not self._over:
                self._end(None, "dropped")
        except Exception:  # at the end of the interpreter the names used may be gone
            pass


class Stream(_Wrapper, Generic[T]):
    """Passes the chunks of an iterable on, and says when they come.

    It ends when the iterable is exhausted or raises, when it is closed, and when it is dropped.
    """

    def __init__(self, source: Iterable[T], passed: Passed, ended: Ended) -> None:
        self._iterator: Iterator[T] = iter(source)  # comes first, because what is no stream cannot end
        super().__init__(source, passed, ended)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        return self._passed(next, self._iterator)

    def _passed(self, step: Callable[..., T], *arguments: Any) -> T:
        try:
            chunk = step(*arguments)
        except StopIteration:
            self._end(None, "over")
            raise
        except BaseException as error:
            self._end(error, "over")
            raise
        self._chunk_passed(chunk)
        return chunk

    def close(self) -> None:
        """Close the wrapped stream, if it can be closed, and end. An exception of closing is passed on."""
        try:
            _call(self._source, "close")
        finally:
            self._end(None, "closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end_of_block(exc_value)
        self.close()


class AsyncStream(_Wrapper, Generic[T]):
    """The same as :class:`Stream`, for asynchronous iterables.

    It can also wrap something that gives an asynchronous iterable when it is awaited. It is awaited when the
    first chunk is asked for, or when the block of the stream begins.
    """

    def __init__(
        self, source: AsyncIterable[T] | Awaitable[AsyncIterable[T]], passed: Passed, ended: Ended
    ) -> None:
        self._awaited: Awaitable[AsyncIterable[T]] | None = None
        self._iterator: AsyncIterator[T] | None = None
        if isinstance(source, Awaitable) and not isinstance(source, AsyncIterable):
            self._awaited = source
        else:
            self._iterator = aiter(source)
        super().__init__(source, passed, ended)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._awaited is not None:
            await self._open(self._awaited)
        if self._iterator is None:  # it was closed before it was awaited, or awaiting it has failed
            raise StopAsyncIteration
        return await self._passed(anext, self._iterator)

    async def _open(self, awaited: Awaitable[AsyncIterable[T]]) -> None:
        self._awaited = None
        try:
            source = await awaited
            self._iterator = aiter(source)
        except BaseException as error:
            self._end(error, "over")
            raise
        self._source = source

    async def _passed(self, step: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        try:
            chunk = await step(*arguments)
        except StopAsyncIteration:
            self._end(None, "over")
            raise
        except BaseException as error:
            self._end(error, "over")
            raise
        self._chunk_passed(chunk)
        return chunk

    async def aclose(self) -> None:
        """Close the wrapped stream, if it can be closed, and end. An exception of closing is passed on."""
        try:
            # Generators have `aclose`; the streams of SDKs, and coroutines, have `close`.
            self._awaited = None
            waiting = _call(self._source, "aclose" if hasattr(self._source, "aclose") else "close")
            if waiting is not None:
                await waiting
        finally:
            self._end(None, "closed")

    close = aclose

    async def __aenter__(self) -> Self:
        if self._awaited is not None:
            await self._open(self._awaited)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end_of_block(exc_value)
        await self.aclose()


def _call(source: object, method: str) -> Any:
    close = getattr(source, method, None)
    return close() if callable(close) else None


def wrapped(
    source: Any, passed: Passed, ended: Ended, *, prefer_async: bool
) -> Stream[Any] | AsyncStream[Any]:
    """The wrapper for a stream, or for what gives one when it is awaited.

    ``prefer_async`` decides for what is iterable in both ways. Raises TypeError for what is iterable in none.
    """
    both = isinstance(source, AsyncIterable) and isinstance(source, Iterable)
    if prefer_async if both else isinstance(source, AsyncIterable):
        return AsyncStream(source, passed, ended)
    if isinstance(source, Awaitable) and not isinstance(source, Iterator):
        return AsyncStream(source, passed, ended)
    return Stream(source, passed, ended)
