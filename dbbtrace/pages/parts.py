"""What the templates of all pages are given. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

from dbbtrace.errors import UsageError
from dbbtrace.pages.templates import shown
from dbbtrace.version import __version__

__all__ = ["Pool", "common", "jaeger_base", "rounded", "texts"]


def common() -> dict[str, Any]:
    """What every page shows: which version made it, and when."""
    return {"made": {"version": __version__, "at": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M}"}}


def jaeger_base(url: str | None) -> str | None:
    """Jaeger's address, to start links with; None without one.

    Raises:
        UsageError: it is not an http address.
    """
    if not url:
        return None
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https"):
        raise UsageError(f"{url!r} is not an address of Jaeger: write e.g. http://localhost:16686")
    return url.rstrip("/")


class Pool(dict[str | None, int]):
    """Text → its number, for the scripts: repeated texts are stored once. 0 means no text."""

    def __init__(self) -> None:
        super().__init__({None: 0})
        self.strings: list[str | None] = [None]

    def __missing__(self, text: str | None) -> int:
        self[text] = len(self.strings)
        self.strings.append(None if text is None else shown(text))
        return self[text]


def texts(values: Iterable[object]) -> list[str | None]:
    """Texts for the scripts."""
    return [None if value is None else shown(value, lines=True) for value in values]


def rounded(value: float | None) -> float | None:
    """A number for the scripts, in few letters."""
    return None if value is None else round(value, 3)
