"""The file operations of journal and delivery: what we make is private, what is odd is not opened.

Every function raises OSError. Only FileNotFoundError means that there is nothing: anything else (no descriptor left, a
read error, no right, a stale mount) means that it is unknown what is there.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import BinaryIO

__all__ = [
    "OddFileError",
    "append",
    "directories",
    "exists",
    "is_local",
    "make_directory",
    "new_directory",
    "open_to_append",
    "open_to_read",
    "regular_files",
    "write",
]

_BUFFER = 128 * 1024
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
_PRIVATE_FILE, _PRIVATE_DIRECTORY = 0o600, 0o700
_LOCAL = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})
"""File systems that one machine alone has mounted."""
_ODD = {errno.ELOOP, errno.ENXIO, errno.EMLINK}
"""What opening a symbolic link or a socket gives."""


class OddFileError(OSError):
    """It is no regular file: a FIFO, a link, a directory. It is never opened for what it leads to."""


def exists(path: str) -> bool:
    """Whether there is something of that name."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def is_local(path: str) -> bool:
    """Whether no other machine can have the directory too; no, where that can't be told."""
    try:
        device = os.stat(path).st_dev
        name = f"{os.major(device)}:{os.minor(device)}"
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            for mount in mounts:
                fields = mount.split()
                if fields[2] == name:
                    return fields[fields.index("-") + 1] in _LOCAL
    except (OSError, ValueError, IndexError, AttributeError):
        pass
    return False


def directories(path: str) -> tuple[list[str], list[str]]:
    """Names of the directories in a directory, and names of everything else in it, each sorted."""
    found: tuple[list[str], list[str]] = [], []
    with os.scandir(path) as entries:
        for entry in entries:
            found[not entry.is_dir(follow_symlinks=False)].append(entry.name)
    return sorted(found[0]), sorted(found[1])


def regular_files(path: str) -> tuple[list[str], list[str]]:
    """Names of the regular files in a directory, and names of everything else in it, each sorted."""
    found: tuple[list[str], list[str]] = [], []
    with os.scandir(path) as entries:
        for entry in entries:
            found[not entry.is_file(follow_symlinks=False)].append(entry.name)
    return sorted(found[0]), sorted(found[1])


def make_directory(path: str) -> None:
    """Make the directory, and those above it, where they are missing; those it makes are the user's alone."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    if above and above != path:
        make_directory(above)
    with suppress(FileExistsError):
        new_directory(path)


def new_directory(path: str) -> None:
    """Make a directory that must not be there yet."""
    os.mkdir(path, _PRIVATE_DIRECTORY)
    os.chmod(path, _PRIVATE_DIRECTORY)  # whatever the umask


def open_to_read(path: str) -> BinaryIO:
    """A regular file, for reading; never waits, as opening a FIFO would."""
    fd = _opened(path, _READ)
    try:
        return os.fdopen(fd, "rb", _BUFFER)
    except BaseException:
        os.close(fd)
        raise


def open_to_append(path: str, *, new: bool = False) -> int:
    """Descriptor of a regular file for appending, made where it is missing; ``new``: it must be."""
    try:
        fd = os.open(path, _APPEND | os.O_EXCL, _PRIVATE_FILE)
    except FileExistsError:
        if new:
            raise
        return _opened(path, _APPEND | getattr(os, "O_NONBLOCK", 0))
    if hasattr(os, "fchmod"):
        os.fchmod(fd, _PRIVATE_FILE)
    return fd


def append(path: str, data: bytes) -> int:
    """Append to a file that is opened for it; the size it has then."""
    fd = open_to_append(path)
    try:
        write(fd, data)
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def write(fd: int, data: bytes) -> None:
    """All of it, also on a disk that takes a part at a time."""
    while data:
        data = data[os.write(fd, data) :]


def _opened(path: str, flags: int) -> int:
    try:
        fd = os.open(path, flags, _PRIVATE_FILE)
    except OSError as error:
        if error.errno in _ODD:
            raise OddFileError(error.errno, "not a regular file", path) from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OddFileError(errno.EINVAL, "not a regular file", path)
    except BaseException:
        os.close(fd)
        raise
    return fd
