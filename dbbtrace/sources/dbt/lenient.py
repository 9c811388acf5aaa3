"""An artifact with odd values in it, validated by pydantic: a value of the wrong kind costs only itself.

Slow, and seldom needed: what dbt writes is read by the types of ``artifacts`` alone. Numbers may be texts, and flags
words. The models are made from those types: no field is named twice.
"""

from __future__ import annotations

from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import fields
from pydantic import BaseModel, Field, GetCoreSchemaHandler, create_model
from pydantic_core import CoreSchema, core_schema

__all__ = ["taken"]

Model = TypeVar("Model", bound=Struct)


def taken(model: type[Model], document: object) -> Model | None:
    """The results, or the manifest, that a document holds; None where it is no object."""
    if not isinstance(document, dict):
        return None
    found = _lenient(model).model_validate(document)
    return msgspec.convert(found.model_dump(by_alias=True, exclude_unset=True), type=model)


class _Otherwise:
    """Annotation: what becomes of a value that can't be read."""

    def __init__(self, **instead: Any) -> None:
        self._instead = instead

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(source), **self._instead)


_NONE = _Otherwise(default=None, on_error="default")
_OMITTED = _Otherwise(on_error="omit")


@cache
def _lenient(model: type[Struct]) -> type[BaseModel]:
    """The model that takes of a document what fits the struct."""
    types = get_type_hints(model, include_extras=True)
    return create_model(  # type: ignore[call-overload, no-any-return]
        model.__name__,
        **{
            each.name: (
                _lax(types[each.name]),
                Field(... if each.required else None, alias=each.encode_name),
            )
            for each in fields(model)
        },
    )


def _lax(kind: Any) -> Any:
    """The type, with None for what can't be read where it may be None, and unreadable items left out."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _bounded(_lax(arguments[0]), arguments[1])
    if origin in (Union, UnionType):
        choices: Any = Union.__getitem__(tuple(each if each is NoneType else _lax(each) for each in arguments))
        return Annotated[choices, _NONE] if NoneType in arguments else choices
    if origin is list:
        return list[_item(arguments[0])]  # type: ignore[misc]
    if origin is dict:
        return dict[str, _item(arguments[1])]  # type: ignore[misc]
    if origin is tuple:  # as a whole, or not at all
        return kind
    if kind is float:
        return Annotated[float, Field(allow_inf_nan=False)]
    return _lenient(kind) if isinstance(kind, type) and issubclass(kind, Struct) else kind


def _item(kind: Any) -> Any:
    lax = _lax(kind)
    return lax if NoneType in get_args(kind) else Annotated[lax, _OMITTED]


def _bounded(kind: Any, meta: Meta) -> Any:
    return Annotated[kind, Field(ge=meta.ge, le=meta.le, lt=meta.lt, min_length=meta.min_length)]
