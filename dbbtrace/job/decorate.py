"""A handle as decorator: every call is work of its own, from the call to the end of what it returns.

Functions, coroutines, generators of both kinds, class and static methods. What is sent or thrown into a generator
reaches it as if it were not decorated.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast

__all__ = ["decorated"]

F = TypeVar("F", bound=Callable[..., Any])


class Work(Protocol):
    """The work of one call."""

    def __enter__(self) -> Any: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...

    async def __aenter__(self) -> Any: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...


def decorated(begin: Callable[[], Work], function: F) -> F:
    """The function, each call of which is a piece of work.

    Args:
        begin: gives the work of one call, not yet started.

    Raises:
        TypeError: it is not a function, for example because the decorator was used without its parentheses.
    """
    if isinstance(function, (classmethod, staticmethod)):
        return type(function)(decorated(begin, function.__func__))
    if not callable(function):
        raise TypeError(f'only a function can be decorated, as with @dbbtrace.step("name"); {function!r} is not one')
    return cast("F", functools.wraps(function)(_wrapper(begin, function)))


def _wrapper(begin: Callable[[], Work], function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            async with begin():
                return await function(*args, **kwargs)

        return coroutine
    if inspect.isasyncgenfunction(function):

        async def async_generator(*args: Any, **kwargs: Any) -> Any:
            async with begin():
                inner = function(*args, **kwargs)
                resume = inner.__anext__()
                try:
                    while True:
                        try:
                            item = await resume
                        except StopAsyncIteration:
                            return
                        try:
                            resume = inner.asend((yield item))
                        except GeneratorExit:
                            raise
                        except BaseException as error:
                            resume = inner.athrow(error)
                finally:
                    await inner.aclose()

        return async_generator
    if inspect.isgeneratorfunction(function):

        def generator(*args: Any, **kwargs: Any) -> Any:
            with begin():
                return (yield from function(*args, **kwargs))

        return generator

    def call(*args: Any, **kwargs: Any) -> Any:
        with begin():
            return function(*args, **kwargs)

    return call
