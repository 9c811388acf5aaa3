"""What is asked of Power BI when a refresh is started: the body of the request. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dbbtrace.errors import UsageError

__all__ = ["STANDARD", "RefreshRequest"]

STANDARD = {"notifyOption": "NoNotification"}
"""Body of a standard refresh, which takes nothing else."""
TYPES = ("full", "automatic", "dataOnly", "calculate", "clearValues", "defragment")
COMMIT_MODES = ("transactional", "partialBatch")
_A_DAY = 86_400


@dataclass(frozen=True)
class RefreshRequest:
    """A refresh that is to be started.

    Raises:
        UsageError: a value makes no sense.
    """

    tables: Sequence[str] = ()
    partitions: Sequence[tuple[str, str]] = ()
    """Table and partition."""
    refresh_type: str = "full"
    commit_mode: str = "transactional"
    max_parallelism: int | None = None
    retries: int | None = None
    timeout: float | None = None
    """Seconds that the service gives each attempt."""
    apply_refresh_policy: bool | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "refresh_type", _one_of("refresh_type", self.refresh_type, TYPES))
        object.__setattr__(self, "commit_mode", _one_of("commit_mode", self.commit_mode, COMMIT_MODES))
        object.__setattr__(self, "tables", _names("tables", self.tables))
        object.__setattr__(self, "partitions", tuple(map(_pair, self.partitions)))
        _at_least("retries", self.retries, 0)
        _at_least("max_parallelism", self.max_parallelism, 1)
        if self.timeout is not None and not (_is_number(self.timeout) and 1 <= self.timeout < _A_DAY):
            raise UsageError(f"timeout = {self.timeout!r}: write seconds, from 1 to {_A_DAY - 1}")
        if self.commit_mode == "partialBatch" and self.apply_refresh_policy:
            raise UsageError("apply_refresh_policy: a refresh with commit_mode partialBatch can't apply it")

    @property
    def body(self) -> dict[str, Any]:
        """Of an enhanced refresh."""
        policy = False if self.commit_mode == "partialBatch" else self.apply_refresh_policy
        objects: list[dict[str, str]] = [{"table": table} for table in self.tables]
        objects += [{"table": table, "partition": partition} for table, partition in self.partitions]
        given = {
            "type": self.refresh_type,
            "commitMode": self.commit_mode,
            "maxParallelism": self.max_parallelism,
            "retryCount": self.retries,
            "timeout": None if self.timeout is None else _clock(int(self.timeout)),
            "applyRefreshPolicy": policy,
            "objects": objects or None,
        }
        return {name: value for name, value in given.items() if value is not None}

    @property
    def needs_capacity(self) -> list[str]:
        """What of it a standard refresh would do otherwise, so that it can't take its place."""
        asked = {
            "tables": bool(self.tables),
            "partitions": bool(self.partitions),
            f"type {self.refresh_type}": self.refresh_type not in ("full", "automatic"),
            f"commit mode {self.commit_mode}": self.commit_mode != "transactional",
            "not applying the refresh policy": self.apply_refresh_policy is False,
        }
        return [name for name, is_asked in asked.items() if is_asked]

    @property
    def ignored_by_standard(self) -> list[str]:
        """What of it a standard refresh does not take."""
        asked = {"retries": self.retries, "timeout": self.timeout, "max_parallelism": self.max_parallelism}
        return [name for name, value in asked.items() if value is not None]


def _one_of(name: str, value: object, words: Sequence[str]) -> str:
    """The word in the service's spelling."""
    folded = str(value).strip().replace("_", "").replace("-", "").lower()
    for word in words:
        if word.lower() == folded:
            return word
    raise UsageError(f"{name} = {value!r}: write {', '.join(words[:-1])} or {words[-1]}")


def _names(name: str, value: object) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (None,)
    if all(isinstance(each, str) and each for each in names):
        return names
    raise UsageError(f"{name} = {value!r}: write a list of names")


def _pair(value: object) -> tuple[str, str]:
    if isinstance(value, (tuple, list)) and len(value) == 2:
        table, partition = _names("partitions", value)
        return table, partition
    raise UsageError(f"partitions: {value!r} is no pair: write (table, partition)")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise UsageError(f"{name} = {value!r}: write a whole number, {least} or more")


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
