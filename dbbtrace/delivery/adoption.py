"""Journals of others, taken over: those of children, and those that nobody delivers any more.

Adoption is a rename of the directory, ``<owner>@<adopter>``: of two adopters one succeeds, and an owner that was only
silent finds out. What can't be looked at costs itself: it is left alone, and is somebody's to look at later. A flush
looks for children alone, which takes no longer where thousands of other journals are about.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from math import inf

from dbbtrace.delivery.adopted_log import AdoptedLog, Resolve
from dbbtrace.delivery.file_log import SetAsideLine
from dbbtrace.delivery.worker import Worker
from dbbtrace.diagnostics import log
from dbbtrace.journal import directory
from dbbtrace.journal.directory import Found, Silence
from dbbtrace.journal.owner import Owner, this_process
from dbbtrace.journal.reader import Header
from dbbtrace.journal.writer import remove

__all__ = ["Adopter", "WorkerOf"]

WorkerOf = Callable[[str], "Worker | None"]
"""The worker of a destination of that name, if there is one here."""

_A_MOMENT = 0.05
"""Seconds that a look for children may take, however little time there is; and between two looks."""
_LATER = 300.0
"""Seconds after which a journal is looked at again that could not be, or has nothing for us."""


class Adopter:
    """Takes journals over whose owner is gone, and has them delivered.

    Args:
        silent_after: seconds of silence after which an owner that can't be asked for counts as gone.
        keep: what copies lines that make no sense to the dead letters.
        resolve: asks a service what became of the work that an interrupted span followed.
    """

    def __init__(
        self, journal_dir: str, silent_after: float, keep: SetAsideLine, resolve: Resolve | None = None
    ) -> None:
        self.journals: list[AdoptedLog] = []
        """Those that were taken over, and had something that waited when last looked at."""
        self.there_are_more = False
        """The last look stopped before the end, because enough was adopted."""
        self._journal_dir = journal_dir
        self._silent_after = silent_after
        self._keep = keep
        self._resolve = resolve
        self._adopts = True
        self._adopting = threading.RLock()  # re-entrant: a signal handler may flush
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

    def adopt_some(self, worker_of: WorkerOf, most: float = inf, deadline: float = inf) -> dict[str, str]:
        """Take over journals whose owner is gone, at most so many. Path of what can't be delivered now → why."""
        with self._adopting:
            problems = self._look_at_adopted()
        silence = Silence(self._journal_dir, self._silent_after)
        self.there_are_more = False
        try:
            for found in directory.find(self._journal_dir):
                if self._not_before.get(found.owner.id, 0.0) > time.monotonic():
                    continue
                self.there_are_more = most <= 0
                if self.there_are_more or time.monotonic() > deadline:
                    break
                with self._adopting:
                    most -= self._adopt(found, silence, worker_of, problems)
        except OSError as error:
            problems[self._journal_dir] = str(error)
        return problems

    def adopt_children(self, worker_of: WorkerOf, deadline: float) -> bool:
        """Take over the journals of children that are gone, and wait for those that another process has taken over.
        False where that can't be done, or not in time."""
        deadline = max(deadline, time.monotonic() + _A_MOMENT)
        while (done := self._look_for_children(worker_of, deadline)) is None:
            time.sleep(_A_MOMENT)
        return done

    def _look_for_children(self, worker_of: WorkerOf, deadline: float) -> bool | None:
        """None where another process is about to deliver some."""
        if not self._adopting.acquire(timeout=min(threading.TIMEOUT_MAX, max(0.0, deadline - time.monotonic()))):
            return False
        problems: dict[str, str] = {}
        me, silence, elsewhere = this_process(), Silence(self._journal_dir, self._silent_after), False
        try:
            self._look_at_adopted()
            for found in directory.find(self._journal_dir):
                if time.monotonic() > deadline:
                    return False
                if self._may_be_child(found, me):
                    elsewhere |= self._adopt_child(found, silence, worker_of, problems)
        except OSError as error:
            problems[self._journal_dir] = str(error)
        finally:
            self._adopting.release()
        mine = {path: problem for path, problem in problems.items() if _is_mine(path)}
        self.say(mine)
        return False if mine else None if elsewhere else True

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

    def _adopt_child(self, found: Found, silence: Silence, worker_of: WorkerOf, problems: dict[str, str]) -> bool:
        """Take the journal over if it is that of a child that is gone. True where another process has it, or had."""
        try:
            header = found.header()
            if header is None:
                return False
            if not _is_child(found.owner, header):
                self._strangers.add(found.owner.id)
            elif found.is_gone(silence):
                self._take_over(found, worker_of)
            elif found.holder != found.owner and found.owner.process != this_process().process:
                return any(worker_of(claim.name) is not None for claim in found.open_claims())
        except FileNotFoundError:  # it is being taken over, or was delivered
            return True
        except Exception as error:
            problems[found.path] = str(error) or repr(error)
        return False

    def _adopt(self, found: Found, silence: Silence, worker_of: WorkerOf, problems: dict[str, str]) -> bool:
        """Take the journal over if its owner is gone; whether that is done."""
        try:
            if not found.is_gone(silence):
                return False
            if self._take_over(found, worker_of):
                return True
        except FileNotFoundError:  # somebody else was faster
            return False
        except Exception as error:  # whatever it is, it costs this journal alone
            problems[found.path] = str(error) or repr(error)
        self._not_before[found.owner.id] = time.monotonic() + _LATER
        return False

    def _take_over(self, found: Found, worker_of: WorkerOf) -> bool:
        """Take over a journal whose owner is gone, if it has something for a destination that is known here.

        One in which nothing is left for anybody is deleted in passing.

        Raises:
            FileNotFoundError: somebody else was faster.
            OSError: it can't be read now, or not here.
        """
        if problem := found.problem():
            raise OSError(problem)
        header, claims = found.header(), found.open_claims()
        to = [(claim, worker) for claim in claims if (worker := worker_of(claim.name)) is not None]
        if header is None or not claims:
            remove(found.path)
            return False
        if not to or not self._adopts:
            return False
        path = os.path.join(self._journal_dir, f"{found.owner.id}@{this_process().id}")
        os.rename(found.path, path)
        journal = AdoptedLog(path, found.owner, _is_child(found.owner, header), self._keep, self._resolve)
        try:
            journal.hand_over(to)
        except BaseException:
            journal.release()
            found.path = journal.released
            raise
        self.journals.append(journal)
        return True

    def _look_at_adopted(self) -> dict[str, str]:
        """Forget those that have been let go; path of what could not be read of them → why."""
        problems: dict[str, str] = {}
        for journal in self.journals:
            if journal.problem:
                problems[journal.released] = journal.problem
            if any(queue.error for queue in journal.queues):
                self._not_before[journal.owner] = time.monotonic() + _LATER
        self.journals = [journal for journal in self.journals if journal.waits]
        return problems

    def say(self, problems: Mapping[str, str]) -> None:
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


def _is_child(owner: Owner, header: Header) -> bool:
    """Whether the owner is a child of this process, or an earlier delivery of it."""
    return header.parent == os.getpid() or owner.process == this_process().process


def _is_mine(path: str) -> bool:
    """Whether it belongs to this user; where that can't be told, it does."""
    try:
        return not hasattr(os, "getuid") or os.lstat(path).st_uid == os.getuid()
    except FileNotFoundError:
        return False
    except OSError:
        return True
