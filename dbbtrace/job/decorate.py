"""A handle as decorator: every call is work of its own, from the call to the end of what it returns.

Functions, coroutines, generators of both kinds, class and static methods. What is sent or thrown into a generator
reaches it as if it were not decorated.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from dbbtrace.job.handle import Handle

__all__ = ["decorated"]

F = TypeVar("F", bound=Callable[..., Any])


def decorated(handle: Handle, function: F) -> F:
    """The function, each call of which is a piece of work like the handle's.

    Raises:
        TypeError: it is no function: the decorator was used without its parentheses, say.
    """
    if isinstance(function, (classmethod, staticmethod)):
        return type(function)(decorated(handle, function.__func__))
    if not callable(function):
        raise TypeError(f'{handle!r} decorates functions, as in @dbbtrace.step("name"); {function!r} is none')
    return cast("F", functools.wraps(function)(_wrapper(handle, function)))


def _wrapper(handle: Handle, function: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            async with handle._fresh():
                return await function(*args, **kwargs)

        return coroutine
    if inspect.isasyncgenfunction(function):

        async def async_generator(*args: Any, **kwargs: Any) -> Any:
            async with handle._fresh():
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
            with handle._fresh():
                return (yield from function(*args, **kwargs))

        return generator

    def call(*args: Any, **kwargs: Any) -> Any:
        with handle._fresh():
            return function(*args, **kwargs)

    return call
