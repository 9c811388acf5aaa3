"""Who owns a journal, and whether that process still lives.

An owner's id says it all, so that a directory listing is enough to judge a journal:
``host.machine.boot.pid.start.random``. Within one boot of one machine the process table decides at once (a pid used
again has another start); across machines, or where process ids mean nothing to each other (containers), only silence
can. Where the table can't be read, nothing is decided. Touches no journal.
"""

from __future__ import annotations

import os
import re
import sys
from typing import NamedTuple

from dbbtrace.model.identity import sha256

__all__ = ["Owner", "parent_pid", "this_process"]

_HOST_PID_NAMESPACE = "pid:[4026531836]"
"""What Linux calls the namespace of the machine itself; any other is a container's, and new at each start."""


class Owner(NamedTuple):
    """A process, told apart from every other that ever had its pid. ``id`` is its text, safe as a file name."""

    host: str
    machine: str
    """Where process ids mean the same: hash of machine id, host name and pid namespace."""
    boot: str
    """Hash of the boot id; '0' where the system has none, or hides it."""
    pid: int
    start: str
    """When the process started, as its system counts; '0' where it doesn't say."""
    random: str
    """Tells journals of one process apart."""

    @property
    def id(self) -> str:
        return f"{self.host}.{self.machine}.{self.boot}.{self.pid}.{self.start}.{self.random}"

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """The owner that an id names; None for any other text."""
        parts = text.split(".")
        if len(parts) != 6 or not (text.isascii() and parts[3].isdigit()) or not all(parts):
            return None
        return cls(parts[0], parts[1], parts[2], int(parts[3]), parts[4], parts[5])

    @property
    def process(self) -> tuple[str, str, int, str]:
        """What all journals of one process have in common."""
        return (self.machine, self.boot, self.pid, self.start)

    def is_alive(self) -> bool | None:
        """Whether the process runs; None when that can't be known from here."""
        here = this_process()
        if (self.machine, self.boot) != (here.machine, here.boot):
            return None
        try:
            start = _process_start(self.pid)
        except OSError:
            return None
        return start is not None and (start == self.start or "0" in (start, self.start))

    @property
    def is_of_earlier_boot(self) -> bool:
        """Whether it says that it ran on this machine, and not since the machine was started. A copy of this machine
        says so too, and may run. A boot that one of the two could not read tells nothing."""
        here = this_process()
        return self.machine == here.machine and self.boot != here.boot and "0" not in (self.boot, here.boot)


_this: Owner | None = None


def this_process() -> Owner:
    """The running process, with a fresh ``random`` at each call."""
    global _this
    if _this is None or _this.pid != os.getpid():
        import socket

        host = socket.gethostname()
        _this = Owner(
            host=re.sub(r"[^A-Za-z0-9-]", "_", host)[:32] or "unknown",
            machine=_machine(host),
            boot=_short_hash(_text_of("/proc/sys/kernel/random/boot_id")),
            pid=os.getpid(),
            start=_own_start(),
            random="",
        )
    return Owner(_this.host, _this.machine, _this.boot, _this.pid, _this.start, os.urandom(4).hex())


def parent_pid() -> int:
    """The process that started this one; with multiprocessing the one that wanted it, not the server that forked it."""
    process = sys.modules.get("multiprocessing.process")
    parent = process.parent_process() if process is not None else None
    return parent.pid if parent is not None and parent.pid is not None else os.getppid()


def _machine(host: str) -> str:
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    if namespace == _HOST_PID_NAMESPACE:
        namespace = ""
    return _short_hash(f"{_text_of('/etc/machine-id')}\n{host}\n{namespace}")


def _short_hash(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8] if text else "0"


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def _own_start() -> str:
    try:
        return _process_start(os.getpid()) or "0"
    except OSError:
        return "0"


def _process_start(pid: int) -> str | None:
    """When the process started, in its system's own count; None when there is no such process (a zombie is none).

    Raises:
        OSError: there is one, or may be one, that can't be looked at.
    """
    if sys.platform == "win32":
        return _windows_start(pid)
    if os.path.isdir("/proc/self"):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                text = file.read()
        except (FileNotFoundError, ProcessLookupError):
            return _signalled(pid)  # processes of other users may be hidden in there
        # The name in brackets may itself hold brackets and spaces; fields are counted after the last one.
        fields = text.rpartition(")")[2].split()
        if len(fields) < 20:
            raise OSError(f"/proc/{pid}/stat makes no sense")
        return None if fields[0] in "ZX" else fields[19]
    if _signalled(pid) is None:
        return None
    import subprocess  # macOS and the BSDs only, and then seldom

    try:
        shown = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return "0"
    return re.sub(r"[^A-Za-z0-9]+", "_", shown.stdout.strip()) or "0"


def _signalled(pid: int) -> str | None:
    """None when there is no such process; else when it started is not known."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass
    return "0"


def _windows_start(pid: int) -> str | None:
    if sys.platform != "win32":
        return None
    import ctypes
    from ctypes import wintypes

    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.OpenProcess.restype = wintypes.HANDLE
    access_denied, query_limited_information = 5, 0x1000
    handle = kernel32.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return "0" if ctypes.get_last_error() == access_denied else None
    try:
        times = [wintypes.FILETIME() for _ in range(4)]
        if not kernel32.GetProcessTimes(wintypes.HANDLE(handle), *map(ctypes.byref, times)):
            return "0"
        created, ended = times[0], times[1]
        if ended.dwHighDateTime or ended.dwLowDateTime:
            return None
        return str(created.dwHighDateTime << 32 | created.dwLowDateTime)
    finally:
        kernel32.CloseHandle(wintypes.HANDLE(handle))
