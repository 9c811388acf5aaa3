"""Fills the templates of ``templates/``: text is escaped, and a page loads nothing but its own style, scripts and data.

A page is either one self-contained file, or one of a site whose style, scripts and data lie in its ``assets/``.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import isfinite
from typing import Any

from dbbtrace.answers.readable import bytes_of, count_of, counted, duration_of, moment_of, safe
from dbbtrace.errors import ConfigurationError

__all__ = ["SIGNS", "Place", "asset", "bundle", "inert", "page", "render", "shown"]


SIGNS = {"Succeeded": "✓", "Failed": "✗", "Warned": "!", "Skipped": "○", "Running": "…"}
"""Shown next to a status. Colour and sign only repeat it."""


@dataclass(frozen=True)
class Place:
    """Where a page lies in a site."""

    name: str
    """Path from the site's folder, with slashes: ``runs/0af7.html``."""
    bundle: str
    """Name of its scripts in ``assets/``."""

    @property
    def root(self) -> str:
        """Relative path to the site's folder."""
        return "../" * self.name.count("/")

    @property
    def data(self) -> str:
        """Path of its data in ``assets/data/``."""
        return self.name.replace("/", "-").removesuffix(".html") + ".js"


def page(
    template: str,
    *,
    scripts: Sequence[str],
    data: dict[str, Any] | None = None,
    place: Place | None = None,
    **context: Any,
) -> str:
    """A whole page.

    Args:
        template: a file of ``templates/``.
        scripts: files of ``assets/``, run in order as one script.
        data: JSON for the scripts; in a site it is a file of its own, see ``Place.data``.
        place: the page's place in a site; None: everything is in the one file.
        context: what the template shows.
    """
    if place is None:
        style, script = asset("page.css"), bundle(scripts)
        policy = (
            f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:;"
            " base-uri 'none'; form-action 'none'"
        )
        frame = {"style": style, "script": script, "data": None if data is None else inert(data)}
    else:  # 'self' is enough on a web server; a page opened as a file needs file:
        policy = (
            "default-src 'none'; style-src 'self' file:; script-src 'self' file:; img-src data:;"
            " base-uri 'none'; form-action 'none'"
        )
        frame = {}
    return render(template, policy=policy, place=place, frame=frame, **context)


def render(template: str, **context: Any) -> str:
    """A template filled in."""
    return str(_environment().get_template(template).render(context))


@cache
def _environment() -> Any:
    """Jinja2's environment.

    Raises:
        ConfigurationError: Jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError:
        raise ConfigurationError("pages need Jinja2: pip install 'dbbtrace[pages]'") from None
    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _file("templates", name)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_text,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"bytes": bytes_of, "count": count_of, "duration": duration_of, "moment": moment_of}
    made.globals |= {"counted": counted, "signs": SIGNS}
    return made


def _text(value: Any) -> Any:
    """What a template writes for a value: None is nothing, and invisible characters are escaped."""
    if value is None:
        return ""
    if type(value) is not str or (value.isascii() and value.isprintable()):
        return value
    return shown(value, lines=True)


def shown(text: object, *, lines: bool = False) -> str:
    """The text with invisible characters escaped, such as control codes and direction marks. ``lines`` keeps line
    ends."""
    if type(text) is str and text.isascii() and text.isprintable():
        return text
    if not lines:
        return safe(text)
    return "\n".join(safe(line.expandtabs(4)) for line in str(text).replace("\r\n", "\n").split("\n"))


@cache
def asset(name: str) -> str:
    """A file of ``assets/``."""
    return _file("assets", name)


def _file(folder: str, name: str) -> str:
    return files(__package__).joinpath(folder, *name.split("/")).read_text(encoding="utf-8")


def bundle(scripts: Sequence[str]) -> str:
    """These files of ``assets/`` as one script, whose names nobody else sees."""
    return "'use strict';\n(() => {\n" + "\n".join(asset(name) for name in scripts) + "\n})();\n"


def inert(data: Any) -> str:
    """JSON in ASCII that can't contain markup. A figure beyond all figures is none."""
    try:
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(data), separators=(",", ":"), allow_nan=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {name: _finite(value) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not isfinite(data) else data


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
