"""Judges runs: collects the reasons for each, from the tables, from earlier runs and from this machine's journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from dbbtrace.answers import findings as judging
from dbbtrace.answers.causes import causes
from dbbtrace.answers.earlier import local_zone, read_earlier
from dbbtrace.answers.findings import Ack, Finding
from dbbtrace.answers.platform import Validation, validations
from dbbtrace.answers.read import operations, parts
from dbbtrace.answers.readable import counted, duration_of, moment_of, not_in_the_table, one_line
from dbbtrace.answers.reasons import VERDICTS, Here, Reason, Verdict
from dbbtrace.answers.repairs import chain, family, links, repairing
from dbbtrace.answers.rows import Operation, Part, Run
from dbbtrace.answers.silence import limit_of, longest_pauses, silence_of
from dbbtrace.answers.terms import Terms
from dbbtrace.warehouse import Warehouse, views
from dbbtrace.warehouse.schema import PARTS

if TYPE_CHECKING:
    from dbbtrace.answers.repair import Repair

__all__ = ["Judge", "of_this_machine", "unknown_journals"]

_AT_ONCE = 50
"""Runs that are judged anew in one answer about many; older ones are what the view says."""
_TOLD = 10
"""Reasons of a kind that are written out."""
_ENDS_UNSAID = ("job", "workload", "dbt_invocation")
"""Parts without whose end nobody knows what they came to."""
_WORKLOADS = ("integration", "transformation", "consumption")
T = TypeVar("T", Operation, Part)


class Judge:
    """What is read once for all runs that are asked about."""

    def __init__(
        self,
        warehouse: Warehouse,
        found: Sequence[Run],
        now: datetime,
        terms: Terms,
        anew: bool,
    ) -> None:
        self._warehouse = warehouse
        self._now = now
        self._terms = terms
        self._zone = local_zone(terms.zone)
        self._keeps_parts = PARTS.name in warehouse.columns()
        ids = [run.run_id for run in found]
        self._stored = judging.stored(warehouse, ids)
        self._acks: list[Ack] = judging.acks(warehouse, now) if self._keeps_parts else []
        # Open runs and those not judged yet are looked at; of a long list the newest.
        looked_at = [run for run in found if anew or run.is_open or run.judged_at is None][:_AT_ONCE]
        self._looked_at = {run.run_id for run in looked_at}
        self._links = links(warehouse) if self._keeps_parts else {}
        self._earlier = read_earlier(warehouse, looked_at, now, self._zone)
        self._counted = self._validations(looked_at)
        self._new: dict[str, list[Finding]] = {}
        troubled = [run.run_id for run in found if run.failed or run.running or run.unknown]
        self._operations = _by_run(operations(warehouse, troubled, where=_NOT_WELL) if troubled else [])
        with_parts = [
            run.run_id
            for run in found
            if run.parts_failed
            or run.parts_begun_again
            or run.parts_running
            or run.parts_interrupted
            or run.steps_failed
        ]
        self._parts = _by_run(parts(warehouse, with_parts, where=_PARTS_NOT_WELL) if with_parts else [])
        self._absent = _absent_names(warehouse, [run.run_id for run in found if run.absent or (anew and self._acks)])

    def _validations(self, looked_at: Sequence[Run]) -> list[Validation]:
        starts = [run.started_at for run in looked_at if run.started_at is not None and run.loads]
        return validations(self._warehouse, min(starts)) if starts else []

    def verdict(self, run: Run) -> Verdict:
        """The verdict on one of the runs."""
        open_reasons, ended = self._open(run)
        run = replace(run, is_open=0 if ended else max(run.is_open, 1))
        reasons = [
            *self._failed(run),
            *open_reasons,
            *self._incomplete(run),
            *self._found(run),
            *self._steps(run),
            *self._unjudged(run),
            *self._repaired(run),
            *self._worth_knowing(run),
        ]
        reasons = [self._marked(run, reason) for reason in reasons]
        rank = {word: place for place, word in enumerate((*VERDICTS, ""))}
        reasons.sort(key=lambda reason: rank[reason.verdict])
        word = next((reason.verdict for reason in reasons if reason.verdict), "Succeeded")
        first = reasons[0].text if reasons and reasons[0].verdict else None
        return Verdict(run.run_id, word, tuple(reasons), replace(run, status=word, reason=first))

    def write(self, said: Mapping[str, Verdict]) -> None:
        """Store what is new, of runs that have ended."""
        for run_id, found in self._new.items():
            run = said[run_id].run
            before = [one for one in self._stored.get(run_id, ()) if one.by == "judge"]
            if run is None or run.is_open or (run.judged_at is not None and judging.same(run, before, found)):
                continue
            silence = silence_of(self._warehouse, run_id, self._earlier.ended_before(run))
            judging.store(self._warehouse, run, found, self._now, silence)

    # -- the reasons -----------------------------------------------------------------------------------------

    def _failed(self, run: Run) -> Iterable[Reason]:
        failed = [one for one in self._operations.get(run.run_id, ()) if one.status == "Failed"]
        for one in failed[:_TOLD]:
            why = f": {one_line(one.error_message)[:300]}" if one.error_message else ", and no reason is recorded"
            yield Reason("Failed", "failed", f"{one.label} failed{why}", one.label)
        if len(failed) > _TOLD:
            yield Reason("Failed", "failed", f"{counted(len(failed) - _TOLD, 'more operation')} failed")
        # Of one that was perhaps tried again, a judgement says whether it was made good.
        is_judged = run.run_id in self._looked_at or run.judged_at is not None
        said = [part for part in self._parts.get(run.run_id, ()) if not (part.begun_again and is_judged)]
        for part in causes(said, failed):
            why = f": {part.error_type or 'Failed'}: {one_line(part.error_message or '')[:300]}"
            yield Reason("Failed", "part", f"{_name_of(part)} failed{why}", _name_of(part))
        for part in said:
            if part.begun_again and part.status == "Interrupted":
                text = f"{_name_of(part)} was interrupted, and perhaps tried again"
                yield Reason("Failed", "part", text, _name_of(part))

    def _open(self, run: Run) -> tuple[list[Reason], bool]:
        """Why the run has not ended; and whether it has."""
        here = self._terms.here.get(run.run_id)
        local = of_this_machine(here) if here is not None else None
        if local is not None:
            return [local], False
        interrupted = [
            Reason(
                "Unfinished", "unfinished", f"{_name_of(part)} was interrupted: {part.error_message}", _name_of(part)
            )
            for part in self._parts.get(run.run_id, ())
            if part.status == "Interrupted" and part.part in _ENDS_UNSAID and not part.begun_again
        ]
        interrupted += [
            Reason("Unfinished", "unknown", f"nobody knows how {one.label} ended", one.label)
            for one in self._operations.get(run.run_id, ())
            if one.status not in ("Failed", "Running")
        ]
        if run.is_open == 2 and interrupted:
            return interrupted, False
        if run.is_open == 0:
            return [], True
        silent = self._now - run.last_sign_at if run.last_sign_at is not None else None
        allowed = self._may_be_silent(run)
        is_silent = silent is not None and silent > allowed
        if is_silent and not run.has_parts and not run.running:
            return [], True  # others recorded it, and it is quiet
        word = "Unfinished" if is_silent or run.is_open == 2 else "Running"
        said = f"; nothing was heard of it for {duration_of(silent.total_seconds())}" if is_silent and silent else ""
        return [Reason(word, word.lower(), f"{text}{said}") for text in self._not_ended(run)], False

    def _may_be_silent(self, run: Run) -> timedelta:
        """As the judgement of an earlier run says, which the view reads too; else as those runs themselves say."""
        if run.silent_after is not None:
            return timedelta(seconds=run.silent_after)
        return limit_of(longest_pauses(self._warehouse, self._earlier.ended_before(run)).values())

    def _not_ended(self, run: Run) -> list[str]:
        going_on = [
            f"{one.label} has not ended" for one in self._operations.get(run.run_id, ()) if one.status == "Running"
        ]
        for part in self._parts.get(run.run_id, ()):
            if part.status == "Running":
                begun = "; a notebook began it with begin_run" if '"begin_run"' in (part.detail or "") else ""
                going_on.append(
                    f"{_name_of(part)} started at {moment_of(part.started_at)} UTC and has not ended{begun}"
                )
        if going_on:
            return going_on[:_TOLD]
        if not run.has_parts:
            return [f"it is judged by its rows alone, the last of them of {moment_of(run.last_sign_at)} UTC"]
        return ["nobody has said that the run ended: its opener, `dbbtrace close` or the pipeline's import would"]

    def _incomplete(self, run: Run) -> Iterable[Reason]:
        if run.is_open:
            return
        for number, thing in (
            (run.loads_lost, "table load"),
            (run.nodes_lost, "dbt node"),
            (run.refreshes_lost, "model refresh"),
        ):
            if number:
                yield Reason("Incomplete", "lost", not_in_the_table(number, thing), thing)
        for name, by, skipped in self._absent.get(run.run_id, ()):
            said = "was skipped" if skipped else "is not there"
            text = f"{name} {said}; {by} says that it belongs into the run"
            is_known = any(ack.holds_for(run, name) for ack in self._acks)
            yield Reason("" if is_known else "Incomplete", "absent", text, name)
        if run.operations and run.skipped == run.operations:
            yield Reason(
                "Incomplete", "nothing done", f"nothing was done: {counted(run.operations, 'operation')} skipped"
            )
        if not run.operations and not run.jobs:
            yield Reason("Incomplete", "nothing done", "it ended, and nothing that it did is in the tables")
        elif not run.operations and not run.other_work:
            yield Reason("Incomplete", "nothing done", "it ended, and nothing was done in it")

    def _found(self, run: Run) -> Iterable[Reason]:
        found = self._stored.get(run.run_id, [])
        if run.run_id in self._looked_at:
            new = judging.find(self._warehouse, run, self._earlier, self._counted, self._zone, self._terms.tolerance)
            if run.run_id in self._links:
                new += self._unrepaired(run)
            self._new[run.run_id] = judging.not_acknowledged(new, run, self._acks)
            others = [one for one in found if one.by != "judge"]
            told = {(one.kind, one.name) for one in others}
            found = [*others, *(one for one in new if (one.kind, one.name) not in told)]
        kept = judging.not_acknowledged(found, run, self._acks)
        for one in found:
            yield Reason(one.verdict if one in kept else "", one.kind, one.text, one.name)

    def _marked(self, run: Run, reason: Reason) -> Reason:
        """The reason, with what somebody says who knows. Only what was found and what is absent is then forgotten."""
        if reason.name is None:
            return reason
        ack = next((ack for ack in self._acks if ack.holds_for(run, reason.name)), None)
        if ack is None:
            return reason
        until = f" until {moment_of(ack.until)} UTC" if ack.until else ""
        return replace(reason, text=f"{reason.text} (known{until}: {one_line(ack.reason)})", known=True)

    def _left(self, run: Run, runs: Sequence[str]) -> Repair:
        """What these runs have not made right yet."""
        from dbbtrace.answers.repair import repair  # few runs repair another, and every run is judged as it ends

        return repair(self._warehouse, run.run_id, now=self._now, terms=self._terms, runs=runs)

    def _unrepaired(self, run: Run) -> list[Finding]:
        """What is not right in the runs that this one repairs: they are judged together."""
        runs = chain(self._warehouse, run.run_id, self._links)
        left = self._left(run, runs)
        found = [
            Finding(
                "unrepaired",
                "Failed" if item.failed else "Warned" if item.learned else "Incomplete",
                item.name,
                f"{item.name} is not right yet: {item.why} (run {item.run_id or runs[1]})",
            )
            for item in left.items
            if item.run_id != run.run_id
        ]
        if left.select is not None and run.is_open == 0:
            text = f"dbt has not built what run {runs[1]} was to build: {left.select or 'the whole project'}"
            found.append(Finding("unrepaired", "Incomplete", "dbt", text))
        return judging.few(found)

    def _repaired(self, run: Run) -> Iterable[Reason]:
        """Which runs make this one right."""
        by = repairing(run.run_id, self._links)
        if by:
            runs, named = family(self._warehouse, run.run_id, self._links), " and ".join(by)
            left = self._left(run, runs)
            text = f"run {named} repairs it, but not all of it yet: `dbbtrace repair {run.run_id}` shows the rest"
            yield Reason("", "repaired", f"made right by run {named}" if left.is_right else text, named)

    def _steps(self, run: Run) -> Iterable[Reason]:
        failed = [one for one in self._parts.get(run.run_id, ()) if one.part == "step" and one.status == "Failed"]
        by_name = {one.name: one for one in reversed(failed)}  # a pipeline: the activity that invoked it, and its job
        for part in [one for one in failed if by_name[one.name] is one][:_TOLD]:
            text = f"step {part.name} failed: {one_line(part.error_message or '')[:300]}"
            yield Reason("Warned", "step", text, part.name)

    def _unjudged(self, run: Run) -> Iterable[Reason]:
        """What only a judgement clears up, of a run that had none: as the view says."""
        if run.run_id in self._looked_at or run.judged_at is not None or run.is_open:
            return
        if run.skipped and not run.failed and not run.parts_failed:
            text = f"skipped, though nothing failed: {counted(run.skipped, 'operation')}"
            yield Reason("Incomplete", "skipped", text)
        if run.parts_without_nodes:
            text = f"dbt had nothing to do: {counted(run.parts_without_nodes, 'invocation')}"
            yield Reason("Incomplete", "nothing selected", text)
        if run.parts_repeated:
            yield Reason(
                "Warned", "repeated", f"failed and begun again: {counted(run.parts_repeated, 'part')} of the run"
            )
        if run.warned:
            yield Reason("Warned", "warning", f"{counted(run.warned, 'operation')} warned")

    def _worth_knowing(self, run: Run) -> Iterable[Reason]:
        yield from unknown_journals(self._terms)
        if not self._keeps_parts:
            text = "the warehouse has no table meta.monitoring_run_part, so nobody can tell whether the run ended"
            yield Reason("", "no record", f"{text}: run `dbbtrace migrate`")
        elif not run.has_parts:
            yield Reason("", "rows alone", "it is judged by its rows alone: it has no record of its own")
        elif not run.jobs and run.run_ended:
            yield Reason("", "ended parts alone", "it is judged by what ended: nothing says what had started")
        standing = run.warned and not any(one.kind == "warning" for one in self._new.get(run.run_id, ()))
        if standing and run.run_id in self._looked_at:
            yield Reason("", "standing warnings", f"{counted(run.warned, 'test')} warned, as before")
        if run.run_id not in self._looked_at and run.judged_at is None:
            yield Reason("", "not judged", "it has not been compared with earlier runs yet: `dbbtrace check` does it")


_NOT_WELL = "o.superseded = 0 AND o.status NOT IN ('Succeeded', 'Warned', 'Skipped')"
_PARTS_NOT_WELL = "p.superseded = 0 AND p.status <> 'Succeeded'"


def of_this_machine(here: Here) -> Reason | None:
    """What the journal here says; None where nothing of it is under way."""
    total = here.started + here.waiting
    if not total:
        return None
    if here.alive:
        open_, left = counted(here.started, "span"), counted(here.waiting, "span")
        return Reason(
            "Running", "running", f"a job of it runs here: {open_} not ended, {left} not in the warehouse yet"
        )
    wait = "waits" if total == 1 else "wait"
    text = f"{counted(total, 'span')} of it {wait} in the journal here; the job is gone: run `dbbtrace recover`"
    return Reason("Unfinished", "unfinished", text)


def unknown_journals(terms: Terms) -> list[Reason]:
    """What can't be known because journals of this machine can't be read."""
    text = "nobody knows whether something of it waits in a journal of this machine that can't be read"
    return [Reason("", "unknown journal", f"{text}: {why}; see `dbbtrace doctor`") for why in terms.unread[:3]]


def _name_of(part: Part) -> str:
    if part.part == "run":
        return "the run"
    said = {"dbt_invocation": "", "job": "job ", "workload": "workload "}.get(part.part, f"{part.part} ")
    return f"{said}{part.name or '?'}"


def _by_run(found: Iterable[T]) -> dict[str, list[T]]:
    groups: dict[str, list[T]] = defaultdict(list)
    for one in found:
        groups[one.run_id].append(one)
    return groups


def _absent_names(warehouse: Warehouse, ids: Sequence[str]) -> dict[str, list[tuple[str, str, bool]]]:
    """Run id → name of what was expected and is not there, who expected it, and whether it was skipped."""
    if not ids:
        return {}
    there: dict[str, set[tuple[str, str]]] = defaultdict(set)
    skipped: dict[str, set[str]] = defaultdict(set)
    for one in operations(warehouse, ids):
        if one.status == "Skipped":
            skipped[one.run_id] |= _names(one)
        else:
            there[one.run_id] |= {(one.workload, name) for name in (one.workload, *_names(one))}
    for part in parts(warehouse, ids, where="p.part = 'workload' AND p.end_time IS NOT NULL"):
        there[part.run_id].add((part.workload or "", part.workload or ""))
    found: dict[str, list[tuple[str, str, bool]]] = defaultdict(list)
    for run_id, name, workload, by in views.ask(warehouse, _EXPECTED, runs=ids):
        named = {stage for stage, there_is in there[run_id] if there_is == name.lower()}
        if workload not in named and (workload in _WORKLOADS or not named):
            found[run_id].append((name, by or "somebody", name.lower() in skipped[run_id]))
    return found


def _names(operation: Operation) -> set[str]:
    return {
        operation.name.lower(),
        operation.name.lower().rpartition(".")[2],
        operation.operation_id.lower(),
    }


_EXPECTED = """\
SELECT p.orchestration_run_id, p.name, p.workload, MAX(p.expected_by)
FROM meta.monitoring_run_part AS p
WHERE p.part = 'expected'
GROUP BY p.orchestration_run_id, p.name, p.workload
"""
