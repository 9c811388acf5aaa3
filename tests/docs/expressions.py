"""Fabric's pipeline expressions, as far as docs/fabric.md uses them: ``@{...}`` in a text, with its value.

A member that is missing is an error, unless ``?.`` asks for it; null becomes an empty text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

__all__ = ["MissingMemberError", "filled"]

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|\d+|\w+|\?\.|\?\[|[().,\[\]])")
_EPOCH = datetime(1, 1, 1, tzinfo=timezone.utc)


class MissingMemberError(Exception):
    """The expression can't be evaluated because an object has no such member: the activity fails."""


def filled(text: str, **given: Any) -> str:
    """The text with each ``@{...}`` replaced by its value.

    Args:
        given: what ``activity``, ``pipeline`` and ``item`` give: activity by name, pipeline and item as objects.
    """
    done, place = "", 0
    while (start := text.find("@{", place)) >= 0:
        end, quoted = start + 2, False
        while quoted or text[end] != "}":
            quoted ^= text[end] == "'"
            end += 1
        value = _Expression(text[start + 2 : end], given).value()
        done += text[place:start] + _text(value)
        place = end + 1
    return done + text[place:]


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _ticks(text: str) -> int:
    moment = datetime.fromisoformat(text[:19]).replace(tzinfo=timezone.utc) - _EPOCH
    fraction = (text[20:].rstrip("Z") + "0000000")[:7] if text[19:20] == "." else "0"
    return (moment.days * 86400 + moment.seconds) * 10**7 + int(fraction)


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "coalesce": lambda *values: next((value for value in values if value is not None), None),
    "createArray": lambda *values: list(values),
    "length": len,
    "mul": lambda a, b: a * b,
    "replace": lambda text, old, new: text.replace(old, new),
    "string": lambda value: value if isinstance(value, str) else json.dumps(value),
    "sub": lambda a, b: a - b,
    "substring": lambda text, start, length: text[start : start + length],
    "ticks": _ticks,
    "toLower": str.lower,
}


class _Expression:
    def __init__(self, text: str, given: Mapping[str, Any]) -> None:
        self.tokens = _TOKEN.findall(text)
        assert "".join(self.tokens) == re.sub(r"\s+(?=(?:[^']*'[^']*')*[^']*$)", "", text), text
        self.given = given

    def value(self) -> Any:
        found = self._operand()
        while self.tokens and self.tokens[0] in (".", "?.", "[", "?["):
            kind = self.tokens.pop(0)
            name = self.tokens.pop(0)
            key: Any = int(name) if name.isdecimal() else name.strip("'")
            if kind.endswith("["):
                assert self.tokens.pop(0) == "]"
            found = _member(found, key, may_be_missing=kind.startswith("?"))
        return found

    def _operand(self) -> Any:
        token = self.tokens.pop(0)
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if token.isdecimal():
            return int(token)
        assert self.tokens.pop(0) == "(", token
        arguments = []
        while self.tokens[0] != ")":
            arguments.append(self.value())
            if self.tokens[0] == ",":
                self.tokens.pop(0)
        self.tokens.pop(0)
        if token == "activity":
            return self.given["activity"][arguments[0]]
        return _FUNCTIONS[token](*arguments) if token in _FUNCTIONS else self.given[token]


def _member(found: Any, key: Any, *, may_be_missing: bool) -> Any:
    try:
        return found[key]
    except (KeyError, IndexError, TypeError):
        if may_be_missing:
            return None
        raise MissingMemberError(key) from None
