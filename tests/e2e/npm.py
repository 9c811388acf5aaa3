"""Packages of npm that the end-to-end tests use: installed once a machine, outside the repository."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest


def installed(source: Path) -> Path:
    """The directory in which the packages of source/package.json are, with the other files of the source."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("Node.js with npm is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dbbtrace-e2e"
    packages = (source / "package.json").read_bytes()
    directory = cache / f"{source.name}-{sha256(packages).hexdigest()[:16]}"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / ".complete").exists():
            (directory / "package.json").write_bytes(packages)
            install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
            subprocess.run(install, cwd=directory, check=True, timeout=300)
            (directory / ".complete").touch()
        for file in source.iterdir():
            shutil.copy(file, directory)
    return directory
