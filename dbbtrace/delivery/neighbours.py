"""The journals of others in a delivery's directory: those of its children, and those that nobody delivers any more.

A flush looks for children alone, which takes no longer where thousands of other journals are about; the heartbeat
adopts the rest, some at a time. What can't be looked at costs itself: it is kept, said once, and looked at again later.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dbbtrace.delivery.file_log import SetAsideLine
from dbbtrace.delivery.worker import Worker
from dbbtrace.diagnostics import log
from dbbtrace.journal.owner import Owner, this_process
from dbbtrace.tracing.threads import IMPORTS

if TYPE_CHECKING:
    from dbbtrace.delivery.adoption import AdoptedLog, Adopter, Resolve
    from dbbtrace.journal.directory import Found

__all__ = ["Neighbours"]

_AT_ONCE = 100
"""Journals of others that wait here for a destination at a time."""
_A_MOMENT = 0.05
"""Seconds that a look for children may take, however little time there is; and between two looks."""
_LATER = 300.0
"""Seconds after which a journal is looked at again that could not be, or has nothing for us."""


class Neighbours:
    """Adopts journals for the destinations of one process.

    Args:
        silent_after: seconds of silence after which an owner that can't be asked for counts as gone.
    """

    def __init__(self, journal_dir: str, silent_after: float, keep: SetAsideLine, resolve: Resolve | None) -> None:
        self.there_are_more = False
        """The last look stopped before the end, because enough was adopted."""
        self._journal_dir = journal_dir
        self._silent_after = silent_after
        self._keep = keep
        self._resolve = resolve
        self._adopts = True
        self._adopting = threading.RLock()  # re-entrant: a signal handler may flush
        self._held: list[AdoptedLog] = []
        self._strangers: set[str] = set()
        """Owners that are no children of this process."""
        self._not_before: dict[str, float] = {}
        """Owner → when its journal is looked at again."""
        self._told: set[str] = set()

    def stop(self, timeout: float) -> None:
        """Adopt nothing more: what is let go from now on is for others, not for our own next look."""
        taken = self._adopting.acquire(timeout=max(0.0, timeout))
        self._adopts = False
        if taken:
            self._adopting.release()

    def adopt_children(self, workers: Mapping[str, Worker], deadline: float) -> bool:
        """Take over the journals of children that are gone, and wait for those that another process has taken over.
        False where that can't be done, or not in time."""
        deadline = max(deadline, time.monotonic() + _A_MOMENT)
        try:
            while (done := self._look_for_children(workers, deadline)) is None:
                time.sleep(_A_MOMENT)
        except _TooLateError:
            return False
        except ImportError:  # in a signal handler, amid this very import: the one it interrupted does it
            return True
        return done

    def _look_for_children(self, workers: Mapping[str, Worker], deadline: float) -> bool | None:
        """None where another process is about to deliver some."""
        with IMPORTS:  # slow to import, and nothing that the first span should wait for
            from dbbtrace.delivery.adoption import is_child
        me, adopter, elsewhere = this_process(), self._adopter(), False
        try:
            candidates = self._candidates(me, deadline)
        except OSError as error:
            self._say({self._journal_dir: str(error)})
            return False
        if not self._adopting.acquire(timeout=min(threading.TIMEOUT_MAX, max(0.0, deadline - time.monotonic()))):
            return False
        try:  # also where there is none: what the heartbeat has just renamed is handed over by now
            for found in candidates:
                _in_time(deadline)
                try:
                    header = found.header()
                    if header is not None and not is_child(found.owner, header.parent):
                        self._strangers.add(found.owner.id)
                    elif header is not None and adopter.is_gone(found):
                        self._adopt(adopter, found, workers)
                    elif header is not None and found.holder != found.owner and found.owner.process != me.process:
                        elsewhere |= any(claim.name in workers for claim in found.open_claims())
                except FileNotFoundError:  # it is being taken over, or was delivered
                    elsewhere = True
                except OSError as error:
                    adopter.problems[found.path] = str(error)
        finally:
            self._adopting.release()
        problems = {path: problem for path, problem in adopter.problems.items() if _is_mine(path)}
        self._say(problems)
        return False if problems else None if elsewhere else True

    def _candidates(self, me: Owner, deadline: float) -> list[Found]:
        """Journals that may be those of children."""
        with IMPORTS:
            from dbbtrace.journal import directory

        candidates = []
        for found in directory.find(self._journal_dir):
            _in_time(deadline)
            if self._may_be_child(found, me):
                candidates.append(found)
        return candidates

    def _may_be_child(self, found: Found, me: Owner) -> bool:
        """By its name: of a process of this boot that did not start before this one, and nobody's here by now."""
        owner = found.owner
        if (owner.machine, owner.boot) != (me.machine, me.boot):
            return False
        if owner.start.isdigit() and me.start.isdigit() and int(owner.start) < int(me.start):
            return False
        if found.holder is not None and found.holder.process == me.process:
            return False
        return owner.id not in self._strangers

    def adopt_some(self, workers: Mapping[str, Worker]) -> None:
        """Take over journals whose owner is gone, as many as are good to have at a time."""
        with IMPORTS:
            from dbbtrace.journal import directory

        adopter = self._adopter()
        self._look_at_held(adopter.problems)
        room = _AT_ONCE - max((len(worker.adopted) for worker in workers.values()), default=_AT_ONCE)
        self.there_are_more = False
        try:
            for found in directory.find(self._journal_dir):
                if self._not_before.get(found.owner.id, 0.0) > time.monotonic():
                    continue
                if room <= 0:
                    self.there_are_more = bool(workers)
                    break
                if not adopter.is_gone(found):
                    continue
                with self._adopting:
                    adopted = self._adopt(adopter, found, workers)
                if adopted:
                    room -= 1
                else:
                    self._not_before[found.owner.id] = time.monotonic() + _LATER
        except OSError as error:
            adopter.problems[self._journal_dir] = str(error)
        self._say(adopter.problems)

    def _adopter(self) -> Adopter:
        with IMPORTS:
            from dbbtrace.delivery.adoption import Adopter
        return Adopter(self._journal_dir, self._silent_after, self._keep, self._resolve)

    def _look_at_held(self, problems: dict[str, str]) -> None:
        """What became of those that were adopted before; some have been let go."""
        for journal in self._held:
            for queue in journal.queues:
                if queue.problem:
                    problems[journal.path] = queue.problem
                if queue.problem or queue.later:
                    self._not_before[journal.owner] = time.monotonic() + _LATER
        self._held = [journal for journal in self._held if any(queue.waits for queue in journal.queues)]

    def _adopt(self, adopter: Adopter, found: Found, workers: Mapping[str, Worker]) -> bool:
        journal = adopter.adopt(found, workers.get) if self._adopts else None
        if journal is not None:
            self._held.append(journal)
        return journal is not None

    def _say(self, problems: Mapping[str, str]) -> None:
        """One line for what is new."""
        new = [path for path in problems if path not in self._told]
        if new:
            self._told.update(new)
            others = f" and {len(new) - 1} more" if len(new) > 1 else ""
            log.warning(
                "%s%s can't be delivered now: %s; it is kept, and `dbbtrace doctor` tells what to do",
                new[0],
                others,
                problems[new[0]],
            )


class _TooLateError(Exception):
    """There is no time left to look."""


def _in_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise _TooLateError


def _is_mine(path: str) -> bool:
    """Whether it belongs to this user; where that can't be told, it does."""
    try:
        return not hasattr(os, "getuid") or os.lstat(path).st_uid == os.getuid()
    except FileNotFoundError:
        return False
    except OSError:
        return True
