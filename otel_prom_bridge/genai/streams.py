"""Iterators that record what passes through them as the chunks of a call.

They are objects, and not generators: a generator cannot tell that it was closed from that it was dropped, and
what is dropped must not record from where the garbage collector runs (see `operations`).
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
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

T = TypeVar("T")

# What drives a generator and gives its next chunk, as next() does.
_DRIVING = frozenset({"send", "throw", "asend", "athrow"})


class Chunked(Protocol):
    """The call that a stream belongs to."""

    def _chunk_passed(self, chunk: object) -> None: ...

    def _stream_ended(self, error: BaseException | None) -> None: ...

    def _stream_left(self, *, dropped: bool) -> None: ...


class _Wrapper:
    """What both kinds share: the call, and everything else that the wrapped stream can do."""

    def __init__(self, source: object, call: Chunked) -> None:
        self._source = source
        self._call = call
        self._over = False

    def _end(self, error: BaseException | None) -> None:
        if not self._over:
            self._over = True
            self._call._stream_ended(error)

    def _leave(self, *, dropped: bool) -> None:
        if not self._over:
            self._over = True
            self._call._stream_left(dropped=dropped)

    def _leave_with(self, error: BaseException | None) -> None:
        # GeneratorExit: see `operations`.
        if error is None or isinstance(error, GeneratorExit):
            self._leave(dropped=error is not None)
        else:
            self._end(error)

    def __getattr__(self, name: str) -> Any:
        # Not found here: the response that an SDK's stream belongs to, its headers, …
        if name.startswith("_"):  # also: not made completely
            raise AttributeError(name)
        found = getattr(self._source, name)
        if name in _DRIVING and isinstance(self._source, (Generator, AsyncGenerator, _Wrapper)):
            return partial(self._passed, found)
        return found

    def _passed(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """What a step of the wrapped stream gives, recorded."""
        raise NotImplementedError

    def __del__(self) -> None:
        with suppress(Exception):  # the interpreter may end
            self._leave(dropped=True)


class Stream(_Wrapper, Generic[T]):
    """Passes the chunks of an iterable on, and records when they come.

    It ends its call when the iterable is exhausted or raises, when it is closed, and when it is dropped.
    """

    def __init__(self, source: Iterable[T], call: Chunked) -> None:
        self._iterator: Iterator[T] = iter(source)  # first: what is no stream ends no call
        super().__init__(source, call)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        return self._passed(next, self._iterator)

    def _passed(self, step: Callable[..., T], *arguments: Any) -> T:
        try:
            chunk = step(*arguments)
        except StopIteration:
            self._end(None)
            raise
        except BaseException as error:
            self._end(error)
            raise
        self._call._chunk_passed(chunk)
        return chunk

    def close(self) -> None:
        """Close the wrapped stream, if it can be closed, and end the call. What closing raises passes."""
        try:
            _call(self._source, "close")
        finally:
            self._leave(dropped=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave_with(exc_value)
        self.close()


class AsyncStream(_Wrapper, Generic[T]):
    """The same as :class:`Stream`, for asynchronous iterables.

    It may also be for something that gives one when it is awaited; that happens when the first chunk is asked
    for, or when the block of the stream begins.
    """

    def __init__(self, source: AsyncIterable[T] | Awaitable[AsyncIterable[T]], call: Chunked) -> None:
        self._awaited: Awaitable[AsyncIterable[T]] | None = None
        self._iterator: AsyncIterator[T] | None = None
        if isinstance(source, Awaitable) and not isinstance(source, AsyncIterable):
            self._awaited = source
        else:
            self._iterator = aiter(source)
        super().__init__(source, call)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._awaited is not None:
            await self._open(self._awaited)
        if self._iterator is None:  # there never was one
            raise StopAsyncIteration
        return await self._passed(anext, self._iterator)

    async def _open(self, awaited: Awaitable[AsyncIterable[T]]) -> None:
        self._awaited = None
        try:
            source = await awaited
            self._iterator = aiter(source)
        except BaseException as error:
            self._end(error)
            raise
        self._source = source

    async def _passed(self, step: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        try:
            chunk = await step(*arguments)
        except StopAsyncIteration:
            self._end(None)
            raise
        except BaseException as error:
            self._end(error)
            raise
        self._call._chunk_passed(chunk)
        return chunk

    async def aclose(self) -> None:
        """Close the wrapped stream, if it can be closed, and end the call. What closing raises passes."""
        try:
            # Generators have the one, the streams of SDKs and coroutines the other.
            self._awaited = None
            waiting = _call(self._source, "aclose" if hasattr(self._source, "aclose") else "close")
            if waiting is not None:
                await waiting
        finally:
            self._leave(dropped=False)

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
        self._leave_with(exc_value)
        await self.aclose()


def _call(source: object, method: str) -> Any:
    close = getattr(source, method, None)
    return close() if callable(close) else None


def wrapped(source: Any, call: Chunked, *, prefer_async: bool) -> Stream[Any] | AsyncStream[Any]:
    """The wrapper for a stream, or for what gives one when it is awaited.

    ``prefer_async`` is for what is iterable in both ways. Raises TypeError for what is in none.
    """
    both = isinstance(source, AsyncIterable) and isinstance(source, Iterable)
    if prefer_async if both else isinstance(source, AsyncIterable):
        return AsyncStream(source, call)
    if isinstance(source, Awaitable) and not isinstance(source, Iterator):
        return AsyncStream(source, call)
    return Stream(source, call)
