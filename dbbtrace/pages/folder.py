"""The folder of a site on the disk: writes only what changed, each file in one step, and removes what is not wanted."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from dbbtrace.errors import UsageError
from dbbtrace.pages.templates import Place, asset, bundle, inert

__all__ = ["Folder"]

_MARK = "assets/dbbtrace.txt"
"""Only a folder with this file in it is written to again."""
_FOLDERS = ("products", "runs", "operations", "assets/data")
_MADE_AT = re.compile(r"<footer>.*?</footer>", re.DOTALL)


class Folder:
    """The folder. It holds nothing but pages, their style, scripts and data."""

    def __init__(self, path: Path, follow: float | None) -> None:
        """
        Args:
            path: made if it is not there.
            follow: after how many seconds an open page looks whether it was made again; None: never.

        Raises:
            UsageError: it holds something else.
        """
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file: name a folder, such as site/")
        if path.is_dir() and any(path.iterdir()) and not (path / _MARK).is_file():
            raise UsageError(f"{path} holds other files: name a new or empty folder")
        self._path = path
        self._follow = follow
        self.versions: dict[str, str] = {}
        """Page → the version that was written."""

    def prepare(self, bundles: Mapping[str, Sequence[str]]) -> None:
        """Make the folders, and write style and scripts."""
        for folder in _FOLDERS:
            (self._path / folder).mkdir(parents=True, exist_ok=True)
        self._put("assets/page.css", asset("page.css"))
        for name, scripts in bundles.items():
            self._put(f"assets/{name}", bundle(scripts))
        self._put("assets/dagre.LICENSE.txt", asset("vendor/dagre.LICENSE.txt"))
        self._put(_MARK, "This folder was made by `dbbtrace report`, which writes it again.\n")

    def write(self, place: Place, html: str, data: dict[str, Any]) -> set[str]:
        """Write the page and its data, if they changed; the time at which they were made does not count.

        Returns the names of its files.
        """
        text = inert(data)
        version = hashlib.sha256(f"{_MADE_AT.sub('', html)}{text}".encode()).hexdigest()[:16]
        if self.versions.get(place.name) != version:
            about = {"version": version, "follow": self._follow}
            self._put(f"assets/data/{place.data}", f"window.dbbtrace={{about:{inert(about)},data:{text}}};\n")
            self._put(place.name, html)
            self.versions[place.name] = version
        return {place.name, f"assets/data/{place.data}"}

    def sweep(self, kept: Collection[str]) -> None:
        """Remove pages that were made before and are no longer wanted."""
        for folder in _FOLDERS:
            for path in (self._path / folder).iterdir():
                name = f"{folder}/{path.name}"
                if name not in kept and path.is_file() and path.suffix in (".html", ".js", ".new"):
                    path.unlink(missing_ok=True)
                    self.versions.pop(name, None)

    def _put(self, name: str, text: str) -> None:
        """Write a file in one step: an open page never reads half of it."""
        path = self._path / name
        beside = path.with_name(f"{path.name}.{os.getpid()}.new")
        beside.write_text(text, encoding="utf-8", newline="\n")
        os.replace(beside, path)
