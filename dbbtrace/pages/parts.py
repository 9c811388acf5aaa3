"""The parts that both pages use. Pure."""

from __future__ import annotations

from datetime import datetime, timezone
from urllib.parse import urlsplit

from dbbtrace.errors import UsageError
from dbbtrace.pages.html import Html, h
from dbbtrace.version import __version__

__all__ = ["SIGNS", "badge", "footer", "jaeger_base", "place_line", "tile", "tiles"]

SIGNS = {"Succeeded": "✓", "Failed": "✗", "Warned": "!", "Skipped": "○", "Running": "…"}
"""Shown next to the word. Colour and sign only repeat it."""


def badge(status: str) -> Html:
    """A status as sign and word."""
    known = status if status in SIGNS else "Unknown"
    return h("span", h("span", SIGNS.get(status, "?"), aria_hidden="true"), f" {status}", class_=f"badge {known}")


def tiles(*children: Html) -> Html:
    """The figures at the top."""
    return h("dl", children, class_="tiles")


def tile(name: str, value: str, *notes: str | None) -> Html:
    """One figure, with a note."""
    return h("div", h("dt", name), h("dd", value, [h("small", note) for note in notes if note]))


def place_line(*pairs: tuple[str, object]) -> Html:
    """Short facts in a row. A pair without a value is left out."""
    items = [
        h("span", h("span", f"{name} ", class_="muted") if name else None, value) for name, value in pairs if value
    ]
    return h("p", items, class_="facts")


def footer() -> Html:
    """Which version made the page, and when."""
    now = datetime.now(timezone.utc)
    return h("footer", f"Made by dbbtrace {__version__} on {now:%Y-%m-%d %H:%M} UTC. All times are UTC.")


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
