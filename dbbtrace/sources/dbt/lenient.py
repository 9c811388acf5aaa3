"""An artifact with odd values in it, taken field by field: a value of the wrong kind costs only itself.

Slow, and seldom needed: what dbt writes is read by the types of ``artifacts`` alone. Numbers may be texts, and flags
words. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import Struct

from dbbtrace.sources.dbt.artifacts import (
    AdapterResponse,
    Arguments,
    Criteria,
    DependsOn,
    Manifest,
    ManifestNode,
    Metadata,
    NodeResult,
    Results,
    Threshold,
    Timing,
)
from dbbtrace.sources.dbt.terms import count

__all__ = ["taken"]

T = TypeVar("T")
Model = TypeVar("Model", bound=Struct)

_FLAGS = dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True) | dict.fromkeys(
    ("0", "false", "f", "no", "n", "off"), False
)


def taken(model: type[Model], document: object) -> Model | None:
    """The results, or the manifest, that a document holds; None where it is no object."""
    if not isinstance(document, dict):
        return None
    found = _results(document) if model is Results else _manifest(document)
    return found if isinstance(found, model) else None


def _results(document: dict[str, Any]) -> Results:
    nodes = document.get("results")
    return Results(
        metadata=_texts(Metadata, document.get("metadata")),
        args=_arguments(document.get("args")),
        elapsed_time=_seconds(document.get("elapsed_time")),
        results=list(map(_node, nodes)) if isinstance(nodes, list) else None,
    )


def _manifest(document: dict[str, Any]) -> Manifest:
    sections = {name: _section(document.get(name)) for name in Manifest.__struct_fields__ if name != "metadata"}
    return Manifest(metadata=_texts(Metadata, document.get("metadata")), **sections)


def _seconds(value: object) -> float | None:
    if not isinstance(value, (int, float, str)) or (isinstance(value, str) and not value.isascii()):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < 1e9 else None


def _flag(value: object) -> bool | None:
    return _FLAGS.get(str(value).lower().removesuffix(".0")) if isinstance(value, (int, float, str)) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _name(value: object) -> str | None:
    """A text that can be written anywhere: none with half a character in it."""
    try:
        return value if isinstance(value, str) and value.encode() else None
    except UnicodeEncodeError:
        return None


def _texts(kind: type[Model], value: object) -> Model | None:
    """An object all of whose fields are texts."""
    return kind(*[_text(value.get(name)) for name in kind.__struct_fields__]) if isinstance(value, dict) else None


def _those(take: Callable[[object], T | None], value: object) -> list[T] | None:
    """The items that can be read."""
    if not isinstance(value, list):
        return None
    return [taken for item in value if (taken := take(item)) is not None]


def _arguments(value: object) -> Arguments | None:
    if not isinstance(value, dict):
        return None
    select = value.get("select")
    readable = isinstance(select, str) or (isinstance(select, list) and all(isinstance(each, str) for each in select))
    return Arguments(_text(value.get("which")), select if readable else None, _text(value.get("selector")))


def _node(value: object) -> NodeResult | None:
    if not isinstance(value, dict) or not (unique_id := _name(value.get("unique_id"))):
        return None
    get: Callable[[str], Any] = value.get
    return NodeResult(
        unique_id=unique_id,
        status=_text(get("status")),
        timing=_those(lambda timing: _texts(Timing, timing), get("timing")),
        thread_id=_text(get("thread_id")),
        execution_time=_seconds(get("execution_time")),
        adapter_response=_response(get("adapter_response")),
        message=_text(get("message")),
        failures=count(get("failures")),
        compiled=_flag(get("compiled")),
        relation_name=_text(get("relation_name")),
        error=_text(get("error")),
        snapshotted_at=_text(get("snapshotted_at")),
        max_loaded_at=_text(get("max_loaded_at")),
        criteria=_criteria(get("criteria")),
    )


def _response(value: object) -> AdapterResponse | None:
    if not isinstance(value, dict):
        return None
    return AdapterResponse(message=_text(value.get("_message")), rows_affected=value.get("rows_affected"))


def _criteria(value: object) -> Criteria | None:
    if not isinstance(value, dict):
        return None
    return Criteria(_threshold(value.get("warn_after")), _threshold(value.get("error_after")))


def _threshold(value: object) -> Threshold | None:
    if not isinstance(value, dict):
        return None
    return Threshold(count(value.get("count")), _text(value.get("period")))


def _section(value: object) -> dict[str, ManifestNode] | None:
    if not isinstance(value, dict):
        return None
    return {name: _manifest_node(node) for name, node in value.items() if isinstance(node, dict)}


def _manifest_node(value: dict[str, Any]) -> ManifestNode:
    depends_on = value.get("depends_on")
    parents = _those(_text, depends_on.get("nodes")) if isinstance(depends_on, dict) else None
    return ManifestNode(_text(value.get("resource_type")), DependsOn(parents) if isinstance(depends_on, dict) else None)
