"""Shell steps: any command as a table load or a step of the run; behind ``dbbtrace exec`` and ``dbbtrace set``.

The command's input, output, open descriptors, signals and exit code are its own. What it says about itself
(``dbbtrace set rows_read=10``) comes through a file whose path it finds in its environment. Its arguments are never
recorded: they may hold passwords.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from dbbtrace.diagnostics import guard, log
from dbbtrace.errors import UsageError
from dbbtrace.job.api import Operation
from dbbtrace.job.handle import Handle
from dbbtrace.job.runs import child_environment
from dbbtrace.job.values import Value
from dbbtrace.settings import VALUES_FILE, values_file

__all__ = ["BY_SIGNAL", "NOT_EXECUTABLE", "NOT_FOUND", "execute", "run_command", "set_values"]

NOT_EXECUTABLE, NOT_FOUND, BY_SIGNAL = 126, 127, 128
"""Exit codes as shells give them; BY_SIGNAL plus the signal's number."""

_PASSED_ON = ("SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2")
_OF_THE_KEYBOARD = ("SIGINT", "SIGQUIT")
_LOOK_UP = 1.0
"""Seconds after which a signal is handed on at the latest."""


def execute(command: Sequence[str], work: Handle) -> int:
    """Run the command as this piece of work: ``execute(["copy.sh"], table_load("Customer", source="MDS"))``.

    Returns its exit code: 128 + n where signal n ended it, 127 where there is no such command, 126 where it can't be
    run. Anything but 0 makes the work fail. The command finds TRACEPARENT and the run id in its environment.
    """
    with work, _values_of(work) as path:
        environment = {**child_environment(), **({VALUES_FILE: path} if path else {})}
        try:
            code = run_command(command, environment)
        except OSError as error:
            log.error("%s: %s", command[0], error.strerror or error)
            work.fail(f"{command[0]}: {error.strerror or error}", error_type=type(error).__name__)
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        _conclude(work, os.path.basename(command[0]), code)
    return code if code >= 0 else BY_SIGNAL - code


def set_values(values: Mapping[str, object]) -> None:
    """Say something about the command that ``execute`` runs us in: ``set_values({"rows_read": 10})``.

    Of a load: what ``TableLoad`` takes. Of a step: any attribute of a span.

    Raises:
        UsageError: ``execute`` does not run us, or a value makes no sense.
    """
    path = values_file()
    if path is None:
        raise UsageError("nothing to set a value of: run the command by `dbbtrace exec --load TABLE -- COMMAND`")
    try:
        with open(path, encoding="utf-8") as file:
            takes = json.loads(file.readline())
        line = json.dumps({name: _checked(name, value, takes) for name, value in values.items()}) + "\n"
        with open(path, "ab") as file_:
            file_.write(line.encode())  # one write: other processes of the command may set values too
    except (OSError, json.JSONDecodeError) as error:
        raise UsageError(f"the command that this value is of has ended: {error}") from None


def _checked(name: str, value: object, takes: Sequence[str] | None) -> Any:
    """The value as it is kept.

    Raises:
        UsageError: the work takes no value of this name, or not this one.
    """
    if takes is None:
        return _plain(value)
    if name not in takes:
        raise UsageError(f"{name!r} is not a value of a load; the values are {', '.join(takes)}")
    from dbbtrace.job.api import TableLoad

    kind = _values(TableLoad)[name]
    try:
        return kind.convert(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"{name} = {value!r} {error}") from None


def _plain(value: object) -> Any:
    """Text that is a number as that number; any other value as it is."""
    if isinstance(value, str):
        for convert in (int, float):
            with suppress(ValueError):
                number = convert(value)
                return number if math.isfinite(number) else value
    return value


def _values(kind: type[Handle]) -> dict[str, Value[Any]]:
    """The values that a kind of work takes, by name."""
    return {
        name: value
        for class_ in reversed(kind.__mro__)
        for name, value in vars(class_).items()
        if isinstance(value, Value)
    }


# -- around the command -----------------------------------------------------------------------------------------


@contextmanager
def _values_of(work: Handle) -> Iterator[str | None]:
    """A file for the values that the command sets; they are the work's when the block ends. None: no file can be."""
    path = None
    takes = list(_values(type(work))) if isinstance(work, Operation) else None
    with guard("make a file for values"):
        descriptor, path = tempfile.mkstemp(prefix="dbbtrace-values-", suffix=".jsonl")
        os.write(descriptor, json.dumps(takes).encode() + b"\n")
        os.close(descriptor)
    try:
        yield path
    finally:
        if path is not None:
            with guard("read the values that were set"):
                _take(work, path, takes)


def _take(work: Handle, path: str, takes: Sequence[str] | None) -> None:
    with open(path, encoding="utf-8", errors="replace") as file:
        file.readline()
        for line in file:
            with suppress(ValueError, AttributeError):  # torn, as its writer was killed, or somebody else's
                for name, value in json.loads(line).items():
                    if takes is None and work.span is not None:
                        work.span.set_attribute(name, value)
                    elif takes is not None and name in takes:
                        setattr(work, name, value)
    os.unlink(path)


def _conclude(work: Handle, name: str, code: int) -> None:
    """Say how the command ended."""
    if work.span is not None:
        work.span.set_attribute("process.executable.name", name)
        work.span.set_attribute("process.exit.code", code if code >= 0 else BY_SIGNAL - code)
    if code > 0:
        work.fail(f"{name} ended with exit code {code}", error_type="ExitCode")
    elif code < 0:
        with suppress(ValueError):
            work.fail(f"{name} was ended by {signal.Signals(-code).name}", error_type=signal.Signals(-code).name)
        if not work.failed:
            work.fail(f"{name} was ended by signal {-code}", error_type="Signal")


def run_command(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    heard: list[int] | None = None,
    started: Callable[[int], None] | None = None,
) -> int:
    """Run it to its end, handing on what signals come; the exit code, negative for a signal.

    Args:
        heard: takes the signals that came.
        started: called with the process id.
    """
    child: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        if heard is not None:
            heard.append(number)
        if not child:
            early.append(number)
        elif not (_name(number) in _OF_THE_KEYBOARD and _at_the_keyboard()):
            child[0].send_signal(number)

    with _handlers(hand_on):
        # Open descriptors are the command's too, as with env or nice: <(...), 3>file, a lock. Ours close on exec.
        child.append(subprocess.Popen(list(command), env=dict(environment), close_fds=False))
        for number in early:
            child[0].send_signal(number)
        if started is not None:
            started(child[0].pid)
        # A signal that another thread took, or that came just before a system call, does not wake the main thread
        # there: it has to look up now and then, or the signal would be handed on when the command has ended.
        waiter = threading.Thread(target=child[0].wait, name="dbbtrace-command", daemon=True)
        waiter.start()
        while waiter.is_alive():
            waiter.join(_LOOK_UP)
        return child[0].wait()


@contextmanager
def _handlers(handler: Any) -> Iterator[None]:
    """Handle the signals that are passed on; those that are ignored stay so, for the command too."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in _PASSED_ON:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous if previous is not None else signal.SIG_DFL)


def _name(number: int) -> str:
    return signal.Signals(number).name


def _at_the_keyboard() -> bool:
    """Whether keys reach us: then the terminal has sent the signal to the command as well."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except (OSError, AttributeError):
        return False
