"""HTML that escapes text by itself, and the frame of a self-contained page. Pure."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

from dbbtrace.answers.readable import safe

__all__ = ["Html", "asset", "h", "joined", "page", "shown"]

_VOID = frozenset({"br", "input", "meta", "link", "hr", "rect", "line", "circle", "path", "polyline"})


class Html(str):
    """Markup made by ``h``. Any other string is text, and is escaped when it becomes part of a page."""

    __slots__ = ()


def shown(text: object, *, lines: bool = False) -> str:
    """The text with invisible characters escaped, such as control codes and direction marks. ``lines`` keeps line
    ends."""
    if not lines:
        return safe(text)
    return "\n".join(safe(line.expandtabs(4)) for line in str(text).replace("\r\n", "\n").split("\n"))


def h(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. A trailing underscore is dropped (``class_``), and others become dashes (``aria_label``). Attributes
    that are None or False are left out. One that is True has no value."""
    opened = f"<{name}"
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        opened += f" {key}" if value is True else f' {key}="{_text(value)}"'
    if name in _VOID and not children:
        return Html(f"{opened}>" if name in ("br", "input", "meta", "link", "hr") else f"{opened}/>")
    return Html(f"{opened}>{joined(*children)}</{name}>")


def joined(*children: object) -> Html:
    """The children one after another. Lists are flattened, and None is skipped."""
    return Html("".join(_markup(child) for child in children))


def _markup(child: object) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, Iterable) and not isinstance(child, str):
        return "".join(_markup(one) for one in child)
    return _text(child)


def _text(value: object) -> str:
    return html.escape(shown(value, lines=True))


@cache
def asset(name: str) -> str:
    """A file of ``assets/``."""
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def page(title: str, body: Html, *, scripts: Iterable[str], data: Any = None) -> str:
    """A whole page in one file, with style and scripts inside, and a policy that lets it load and send nothing.

    Args:
        title: the window's title.
        body: the content.
        scripts: files of ``assets/``, run in order as one script.
        data: JSON for the scripts.
    """
    style = asset("page.css")
    script = "'use strict';\n(() => {\n" + "\n".join(asset(name) for name in scripts) + "\n})();\n"
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )
    head = h(
        "head",
        h("meta", charset="utf-8"),
        h("meta", http_equiv="Content-Security-Policy", content=policy),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("meta", name="color-scheme", content="light dark"),
        h("meta", name="referrer", content="no-referrer"),
        h("title", title),
        Html(f"<style>{style}</style>"),
    )
    embedded = Html("")
    if data is not None:
        embedded = Html(f'<script type="application/json" id="data">{_inert(data)}</script>')
    ran = Html(f"<script>{script}</script>")
    return "<!doctype html>\n" + h("html", head, h("body", body, embedded, ran), lang="en") + "\n"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _inert(data: Any) -> str:
    """JSON in ASCII that can't contain markup."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
