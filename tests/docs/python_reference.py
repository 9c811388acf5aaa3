"""The Python reference: every public name with its signature and docstring, read from the source.

Signatures and the docstrings of fields are read with ``ast``, so the page is the same on every version of Python.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import dbbtrace
from dbbtrace import answers, testing
from dbbtrace.job.handle import Handle
from dbbtrace.job.operations import Operation
from dbbtrace.warehouse import Warehouse

__all__ = ["SECTIONS", "python_reference"]

SECTIONS: dict[str, tuple[str, ...]] = {
    "A run, and what happens in it": (
        "orchestration_run", "join_run", "begin_run", "close_run", "child_environment",
        "integration", "transformation", "consumption", "table_load", "dbt_node", "model_refresh", "step",
    ),
    "Handles": ("Run", "Workload", "TableLoad", "DbtNode", "ModelRefresh", "Step"),
    "What other tools did": (
        "run_dbt", "record_dbt", "record_load", "record_copy", "record_refresh", "refresh_model",
        "import_run", "import_jobs", "import_refreshes", "import_otlp",
    ),
    "Questions": (
        "verdict", "verify", "gate", "ready", "repair", "watermark", "lineage", "asof", "report", "query",
        "open_warehouse",
    ),
    "Settings, delivery and operation": (
        "configure", "flush", "shutdown", "migrate", "doctor", "recover", "replay_run", "DurableSpanProcessor",
    ),
    "Results": ("DbtRun", "RefreshResult"),
    "Errors": (
        "DbbtraceError", "UsageError", "TransientError", "ConfigurationError", "RefusedError", "DbtError",
        "RefreshError", "RunFailedError", "GateClosed",
    ),
}  # fmt: skip
"""Title → names of ``dbbtrace.__all__`` in the order in which they are shown."""
_HANDLES = (Operation, Handle)
_WIDTH = 100


def python_reference() -> str:
    """All sections; results are followed by the classes that they are made of."""
    parts: list[str] = []
    for title, names in SECTIONS.items():
        things = [getattr(dbbtrace, name) for name in names]
        things += _HANDLES if title == "Handles" else _results() if title == "Results" else ()
        parts += [f"## {title}", *(_entry(each) for each in things)]
    for module in (answers, testing):
        prefix = module.__name__.partition(".")[2]
        parts += [f"## {module.__name__}", *list(_docstring(module.__doc__ or ""))[:1]]
        parts += [_entry(getattr(module, name), f"{prefix}.") for name in sorted(module.__all__, key=str.swapcase)]
    return "\n\n".join(parts)


def _results() -> list[type]:
    """The classes of ours that the functions of ``dbbtrace`` return, and those that these hold."""
    public = [getattr(dbbtrace, name) for names in SECTIONS.values() for name in names]
    shown = {*public, *_HANDLES, *(getattr(answers, name) for name in answers.__all__)}
    returned = [_named(each, _node(each).returns) for each in public if inspect.isfunction(each)]
    found = {kind: None for kinds in returned for kind in kinds if kind not in shown}
    held = [_named(kind, field.annotation) for kind in found for field, _ in _fields(kind)]
    found |= {kind: None for kinds in held for kind in kinds if kind not in shown}
    return sorted(found, key=lambda kind: kind.__name__)


def _named(owner: Any, annotation: ast.expr | None) -> list[type]:
    """The classes of ours that an annotation in the owner's module names."""
    found = []
    for name in re.findall(r"\b[A-Z]\w+", ast.unparse(annotation)) if annotation else []:
        kind = getattr(sys.modules[owner.__module__], name, None)
        for node in ast.walk(_tree(owner.__module__)):  # one may be imported for type checkers only
            if kind is None and isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
                kind = getattr(import_module(str(node.module)), name, None)
        if inspect.isclass(kind) and kind.__module__.startswith("dbbtrace."):
            found.append(kind)
    return found


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(Path(str(sys.modules[module].__file__)).read_text(encoding="utf-8"))


def _node(thing: Any) -> Any:
    """Its definition in the source."""
    for node in _tree(thing.__module__).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == thing.__name__:
            return node
    raise LookupError(thing)


# -- one name ---------------------------------------------------------------------------------------------------
def _entry(thing: Any, prefix: str = "") -> str:
    node = _node(thing)
    parts = [f"### {prefix}{thing.__name__}"]
    if isinstance(node, ast.FunctionDef):
        return "\n\n".join([*parts, *_described(node)])
    bases = [base for base in thing.__mro__[1:] if base in _HANDLES or base.__name__ in SECTIONS["Errors"]][:1]
    made = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
    if made and not issubclass(thing, Handle) and thing is not Warehouse:
        parts.append(_signature(thing.__name__, made[0], of_class=True))
    parts += list(_docstring(ast.get_docstring(node) or ""))
    parts += [f"Also has what [{base.__name__}](#{base.__name__.lower()}) has." for base in bases if base in _HANDLES]
    parts += [f"A [{base.__name__}](#{base.__name__.lower()})." for base in bases if base not in _HANDLES]
    rows = [f"| `{name}` | {_cell(kind)} | {doc} |" for name, kind, doc in _attributes(thing)]
    if rows:
        parts.append("\n".join(["| Attribute | Type | Holds |", "|---|---|---|", *rows]))
    for method in _methods(node):
        parts += [f"**{thing.__name__}.{method.name}**", *_described(method)]
    return "\n\n".join(parts)


def _described(node: ast.FunctionDef) -> Iterator[str]:
    yield _signature(node.name, node)
    yield from _docstring(ast.get_docstring(node) or "")


def _signature(name: str, node: ast.FunctionDef, *, of_class: bool = False) -> str:
    given = list(_arguments(node.args))
    if given and given[0] in ("self", "cls"):
        given = given[1:]
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and not of_class else ""
    line = f"{name}({', '.join(given)}){returns}"
    if len(line) > _WIDTH:
        line = f"{name}(\n{''.join(f'    {one},{chr(10)}' for one in given)}){returns}"
    return f"```text\n{line}\n```"


def _arguments(given: ast.arguments) -> Iterator[str]:
    """Each argument with its type and default, and the ``/`` and ``*`` between them."""
    places = given.posonlyargs + given.args
    defaults = [None] * (len(places) - len(given.defaults)) + list(given.defaults)
    for number, (argument, default) in enumerate(zip(places, defaults, strict=True), 1):
        yield _argument(argument, default)
        if number == len(given.posonlyargs):
            yield "/"
    if given.vararg:
        yield f"*{ast.unparse(given.vararg)}"
    elif given.kwonlyargs:
        yield "*"
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _argument(argument, default)
    if given.kwarg:
        yield f"**{ast.unparse(given.kwarg)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(argument) + (f" = {ast.unparse(default)}" if default else "")


# -- classes ----------------------------------------------------------------------------------------------------
def _fields(kind: type) -> Iterator[tuple[ast.AnnAssign, str]]:
    """The annotated fields of a class, each with the docstring below it."""
    body = _node(kind).body
    for field, below in pairwise([*body, ast.Pass()]):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.target.id[0] != "_":
            match below:
                case ast.Expr(value=ast.Constant(value=str(doc))):
                    yield field, doc
                case _:
                    yield field, ""


def _attributes(kind: type) -> Iterator[tuple[str, str, str]]:
    """Name, type and meaning: of fields, of values that may be set, of properties."""
    for field, doc in _fields(kind):
        annotation = ast.unparse(field.annotation)
        if not annotation.startswith("ClassVar"):
            yield ast.unparse(field.target), annotation, _prose(doc)
    for node in _node(kind).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(args=[_, ast.Constant(value=str(doc))])):
                yield name, _TYPES[type(vars(kind)[name]).__name__.strip("_")], f"{_prose(doc)} Can be set."
            case ast.FunctionDef(decorator_list=[ast.Name(id="property" | "cached_property")]) if node.name[0] != "_":
                yield (
                    node.name,
                    ast.unparse(node.returns) if node.returns else "",
                    _prose(ast.get_docstring(node) or ""),
                )


_TYPES = {
    "Count": "int", "Number": "float", "Text": "str", "Message": "str", "Guid": "str", "Moment": "datetime",
    "LoadStatus": "str", "LoadType": "str",
}  # fmt: skip


def _methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name[0] != "_" and ast.get_docstring(each):
            is_attribute = any(isinstance(one, ast.Name) and "property" in one.id for one in each.decorator_list)
            if not is_attribute:
                yield each


# -- docstrings -------------------------------------------------------------------------------------------------
def _docstring(text: str) -> Iterator[str]:
    """Its paragraphs as Markdown."""
    for paragraph in re.split(r"\n\n(?=\S|    \S)", text.strip("\n")):
        head, _, rest = paragraph.partition("\n")
        if head in ("Args:", "Raises:", "Returns:") and rest:
            yield from _section(head, textwrap.dedent(rest))
        elif paragraph.startswith("    "):
            yield f'```python needs="a job"\n{textwrap.dedent(paragraph)}\n```'
        else:
            yield _prose(paragraph)


def _section(head: str, text: str) -> Iterator[str]:
    items = [_prose(item) for item in re.split(r"\n(?=\S)", text)]
    if head == "Returns:":
        yield f"Returns: {' '.join(items)}"
        return
    if head == "Raises:":
        yield head
    yield "\n".join(f"- {_names(name)}: {said}" for name, _, said in (item.partition(": ") for item in items))


def _names(text: str) -> str:
    return ", ".join(f"`{name}`" for name in text.split(", "))


def _cell(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def _prose(text: str) -> str:
    return " ".join(text.replace("``", "`").split()).replace("|", "\\|")
