"""The table loads of one pipeline run: which Copies there were, of which tables, and which were planned and never came.

A table is named by the Filter's item, then by the lookup in the Copy's iteration, then by the Copy's sink. Pure.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dbbtrace.sources.fabric.activities import Activity
from dbbtrace.sources.fabric.copies import Copy
from dbbtrace.sources.fabric.fields import Fields
from dbbtrace.sources.fabric.rules import Rules, matches
from dbbtrace.sources.fabric.walk import PipelineRun

__all__ = ["Load", "Loads", "Names", "loads_of", "planned_by"]

_KEYS = ("table", "schema", "source", "source_type", "load_type")


class Names(NamedTuple):
    """Which load it is, as far as something tells."""

    table: str | None = None
    schema: str | None = None
    source: str | None = None
    source_type: str | None = None
    load_type: str | None = None

    def over(self, other: Names) -> Names:
        """These, with the other's where these are missing."""
        return Names(
            self.table or other.table,
            self.schema or other.schema,
            self.source or other.source,
            self.source_type or other.source_type,
            self.load_type or other.load_type,
        )

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same table."""
        return (self.schema or "").casefold(), (self.table or "").casefold()

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.table}" if self.schema else str(self.table)


@dataclass(frozen=True)
class Load:
    """One table load: a Copy with its attempts, or a table that was planned and whose Copy never started."""

    names: Names
    attempts: Sequence[Activity]
    """In their order; () where the Copy never started."""
    copies: Sequence[Copy] = ()
    is_final: bool = True
    """Whether nothing more comes of it."""
    instead: Activity | None = None
    """What failed, so that the Copy never started."""
    parent: Activity | None = None
    """The ForEach that it ran in."""


@dataclass
class _Iteration:
    """What ran for one item of a ForEach."""

    activities: list[Activity] = field(default_factory=list)

    @property
    def start(self) -> int:
        return min((each.start or 0 for each in self.activities), default=0)


def planned_by(run: PipelineRun, rules: Rules) -> list[Names]:
    """The tables that the run's Filter activities let through, in their order."""
    found: dict[tuple[str, str], Names] = {}
    for activity in run.activities:
        if matches(activity.name, rules("loads", "planned_by")):
            for item in activity.output.list("value"):
                names = _names(item, rules)
                if names.table:
                    found.setdefault(names.key, names)
    return list(found.values())


class Loads(NamedTuple):
    """What a pipeline run loads."""

    planned: list[Names]
    copies: list[Load]
    """In the order in which they started."""
    missing: list[Load]
    """Planned, and their Copy never started; none while it still may."""


def loads_of(run: PipelineRun, rules: Rules, source: str | None) -> Loads:
    """The Copies of the run, each with its name and attempts, and the tables that were planned and never came.

    Args:
        source: the source system that the pipeline is for, where nothing else tells.
    """
    reader = _Reader(run, rules, source)
    return Loads([names.over(reader.fallback) for names in reader.planned.values()], reader.loads(), reader.missing())


class _Reader:
    def __init__(self, run: PipelineRun, rules: Rules, source: str | None) -> None:
        self.run = run
        self.rules = rules
        self.planned = {names.key: names for names in planned_by(run, rules)}
        self.iterations: dict[str, _Iteration] = defaultdict(_Iteration)
        for activity in run.activities:
            if activity.iteration:
                self.iterations[activity.iteration].activities.append(activity)
        self.for_eachs = [each for each in run.activities if each.type.lower() == "foreach"]
        self.item_of_sink = _by_sink(self.planned.values())
        given = _names(run.parameters, rules)
        self.said = Names(source=given.source, source_type=given.source_type, load_type=given.load_type)
        self.executions = list(_executions(self._copies()))
        self.sinks = [_of_sink(execution[-1], rules) for execution in self.executions]
        self.named = [
            self._names_of(execution[-1], sink) for execution, sink in zip(self.executions, self.sinks, strict=True)
        ]
        self._eliminate()
        sources = {sink.source for sink in self.sinks if sink.source}
        self.fallback = self.said.over(Names(source=sources.pop() if len(sources) == 1 else source))
        self.named = [names.over(self.fallback) for names in self.named]

    def _copies(self) -> Iterator[Activity]:
        for activity in self.run.activities:
            if matches(activity.type, self.rules("loads", "activity_types")) and not activity.never_started:
                yield activity

    # -- names ------------------------------------------------------------------------------------------------

    def _names_of(self, copy: Activity, sink: Names) -> Names:
        """The Copy's names: the item of the Filter comes before the lookup, the lookup before the sink."""
        described = self._described(self.iterations[copy.iteration].activities if copy.iteration else [])
        item = self.planned.get(described.key) if described.table else None
        item = item or (self.item_of_sink.get(sink.label.casefold()) if sink.table else None)
        item = item or (self._item_in_text([copy]) if not described.table and not sink.table else None)
        return (item or Names()).over(described).over(self.said).over(sink)

    def _described(self, activities: Iterable[Activity]) -> Names:
        names = Names()
        for activity in activities:
            if matches(activity.name, self.rules("loads", "described_by")):
                names = names.over(_names(activity.output.object("firstRow"), self.rules))
        return names

    def _item_in_text(self, activities: Iterable[Activity]) -> Names | None:
        """The only item whose table and schema the activities' inputs speak of."""
        text = " ".join(json.dumps(activity.raw.get("input"), default=str) for activity in activities).casefold()
        found = [names for names in self.planned.values() if all(_is_word(part, text) for part in names.key)]
        return found[0] if len(found) == 1 else None

    def _eliminate(self) -> None:
        """The one Copy without a name is that of the one item without a Copy."""
        unnamed = [place for place, names in enumerate(self.named) if not names.table]
        taken = {names.key for names in self.named}
        free = [names for key, names in self.planned.items() if key not in taken]
        if len(unnamed) == 1 and len(free) == 1:
            self.named[unnamed[0]] = free[0].over(self.named[unnamed[0]])

    # -- loads ------------------------------------------------------------------------------------------------

    def loads(self) -> list[Load]:
        """Each Copy."""
        return [
            Load(
                names=names,
                attempts=execution,
                copies=[each.copy for each in execution],
                is_final=self._is_final(execution),
                parent=self._for_each(execution[-1]),
            )
            for execution, names in zip(self.executions, self.named, strict=True)
        ]

    def _is_final(self, execution: Sequence[Activity]) -> bool:
        """Succeeded, or something that depends on it began, or what it ran in is over."""
        last = execution[-1]
        if last.is_over and not last.failed:
            return True
        if self.run.is_over:
            return True
        if not last.is_over:
            return False
        around = self._for_each(last)
        if around is not None and around.is_over:
            return True
        return bool(last.iteration and last.end) and any(
            each.start is not None and each.start >= (last.end or 0) and each.name != last.name
            for each in self.iterations[last.iteration].activities
        )

    def missing(self) -> list[Load]:
        """Each planned table without a Copy, once none can start any more."""
        taken = {names.key for names in self.named}
        missing = [names for key, names in self.planned.items() if key not in taken]
        if not missing or not self._is_planning_over():
            return []
        without = [
            iteration
            for iteration in self.iterations.values()
            if not any(self._is_copy(each) and not each.never_started for each in iteration.activities)
        ]
        of_item = self._iterations_of(missing, sorted(without, key=lambda iteration: iteration.start))
        return [
            Load(
                names=names.over(self._described(found.activities if found else ())).over(self.fallback),
                attempts=(),
                instead=next((each for each in found.activities if each.failed), None) if found else None,
                parent=self._for_each(found.activities[0]) if found else _last(self.for_eachs),
            )
            for names, found in ((names, of_item.get(names.key)) for names in missing)
        ]

    def _iterations_of(
        self, missing: Sequence[Names], without: Sequence[_Iteration]
    ) -> dict[tuple[str, str], _Iteration]:
        """Which iteration was for which item: by the lookup's row, by what the inputs speak of, else by their order."""
        wanted = {names.key for names in missing}
        found: dict[tuple[str, str], _Iteration] = {}
        left: list[_Iteration] = []
        for iteration in without:
            names = self._described(iteration.activities)
            item = names if names.key in wanted else self._item_in_text(iteration.activities)
            if item is not None and item.key in wanted and item.key not in found:
                found[item.key] = iteration
            else:
                left.append(iteration)
        rest = [names.key for names in missing if names.key not in found]
        if len(rest) == len(left) or len(left) == 1:
            found.update(zip(rest, left, strict=False))
        return found

    def _is_copy(self, activity: Activity) -> bool:
        return matches(activity.type, self.rules("loads", "activity_types"))

    def _is_planning_over(self) -> bool:
        """Whether the ForEach behind the Filter, or the pipeline, has ended."""
        if self.run.is_over:
            return True
        filters = [each for each in self.run.activities if matches(each.name, self.rules("loads", "planned_by"))]
        since = min((each.end or each.start or 0 for each in filters), default=0)
        behind = [each for each in self.for_eachs if (each.start or 0) >= since]
        return bool(behind) and all(each.is_over for each in behind)

    def _for_each(self, activity: Activity) -> Activity | None:
        """The ForEach that the activity ran in."""
        if not activity.iteration:
            return None
        at = activity.start or 0
        around = [each for each in self.for_eachs if (each.start or 0) <= at and (each.end is None or at <= each.end)]
        return around[0] if len(around) == 1 else None


def _last(activities: Sequence[Activity]) -> Activity | None:
    return activities[-1] if activities else None


def _executions(copies: Iterable[Activity]) -> Iterator[list[Activity]]:
    """The Copies, each with its attempts. Outside of an iteration, two Copies of one name need not be one."""
    groups: dict[tuple[str, str], list[list[Activity]]] = defaultdict(list)
    found: list[list[Activity]] = []
    for copy in sorted(copies, key=lambda copy: (copy.attempt, copy.start or 0)):
        group = groups[copy.name, copy.iteration]
        for execution in group:
            last = execution[-1]
            is_next = copy.attempt > last.attempt and last.failed and (last.end or 0) <= (copy.start or last.end or 0)
            if copy.iteration or is_next:
                execution.append(copy)
                break
        else:
            group.append([copy])
            found.append(group[-1])
    yield from sorted(found, key=lambda execution: execution[0].start or 0)


def _names(fields: Fields, rules: Rules) -> Names:
    return Names(*(fields.text(*rules("fields", key)) for key in _KEYS))


def _by_sink(planned: Collection[Names]) -> dict[str, Names]:
    """The items by what the sink of their Copy may be called: its schema may hold the underscore that cuts the name."""
    found: dict[str, Names] = {}
    tables = Counter((names.table or "").casefold() for names in planned)
    for names in planned:
        schema, separator, table = f"{names.schema or ''}_{names.table}".lstrip("_").partition("_")
        found.setdefault(f"{schema}.{table}".casefold() if separator else schema.casefold(), names)
        if tables[(names.table or "").casefold()] == 1:
            found.setdefault((names.table or "").casefold(), names)
    return found


def _of_sink(copy: Activity, rules: Rules) -> Names:
    """What the name of the sink's table says: <source>__<schema>_<table>."""
    name = next(_texts(copy.raw.get("input"), "sink", rules("loads", "sink")), None)
    if not name:
        return Names()
    source, separator, rest = name.partition("__")
    if not separator:
        return Names(table=name)
    schema, separator, table = rest.partition("_")
    return Names(table=table, schema=schema, source=source) if separator else Names(table=rest, source=source)


def _texts(value: object, below: str, keys: Sequence[str]) -> Iterator[str]:
    """Texts under these keys, wherever they are below the member ``below``; then anywhere where they look like one."""
    if isinstance(value, dict):
        for name, member in value.items():
            if name.lower() == below:
                yield from _anywhere(member, keys)
        yield from (text for text in _anywhere(value, keys) if "__" in text)


def _anywhere(value: object, keys: Sequence[str]) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            if isinstance(member, str) and member.strip() and matches(name, tuple(keys)):
                yield member.strip()
        for member in value.values():
            yield from _anywhere(member, keys)
    elif isinstance(value, list):
        for member in value:
            yield from _anywhere(member, keys)


def _is_word(part: str, text: str) -> bool:
    return not part or re.search(rf"(?<![a-z0-9_]){re.escape(part)}(?![a-z0-9_])", text) is not None
