"""The page of one operation in a site: its history over all runs, its failures, its attempts, its neighbours. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from dbbtrace.answers.readable import counted, moment_of
from dbbtrace.answers.rows import Operation, Part
from dbbtrace.answers.statistics import median, p95
from dbbtrace.pages.charts import Chart, Dot, dots_chart
from dbbtrace.pages.parts import Pool, common, rounded, texts
from dbbtrace.pages.templates import Place, page

__all__ = ["SCRIPTS", "OperationLinks", "Past", "render_operation"]

SCRIPTS = ("common.js", "state.js", "operation.js", "overview.js")
_LISTED = 100
_FAILURES = 20


@dataclass(frozen=True)
class Past:
    """What one operation did in the runs of a product in an environment."""

    page: str
    """Path of its page from the site's folder."""
    occurrences: Sequence[Operation]
    """Its outcomes, newest first; at least one."""
    starts: Mapping[str, datetime | None]
    """Run id → when the run started."""

    def at(self, one: Operation) -> datetime | None:
        """When it started; what was left out, when its run did."""
        return one.started_at or self.starts.get(one.run_id)

    @property
    def last_at(self) -> datetime | None:
        """When the newest outcome was."""
        return self.at(self.last)

    @property
    def last(self) -> Operation:
        """The newest outcome."""
        return self.occurrences[0]

    @property
    def label(self) -> str:
        """The name for people."""
        return self.last.label

    @property
    def kind(self) -> str:
        """The kind for people."""
        return self.last.resource_type or self.last.kind.replace("_", " ")

    @property
    def operation_id(self) -> str:
        """The same in every run."""
        return self.last.operation_id

    @property
    def data_product(self) -> str | None:
        """Whose it is."""
        return self.last.data_product

    @property
    def environment(self) -> str | None:
        """Where it runs."""
        return self.last.environment

    @property
    def source(self) -> str | None:
        """The source system of a load."""
        return self.last.source_name

    @cached_property
    def failed(self) -> int:
        """How often it failed."""
        return sum(one.status == "Failed" for one in self.occurrences)

    @cached_property
    def built(self) -> list[Operation]:
        """Its successes, newest first."""
        return [one for one in self.occurrences if one.status in ("Succeeded", "Warned")]

    @cached_property
    def seconds(self) -> list[float]:
        """Durations of its successes."""
        return [one.seconds for one in self.built if one.seconds is not None]

    @property
    def median(self) -> float | None:
        """Median duration."""
        return median(self.seconds)

    @property
    def p95(self) -> float | None:
        """95th percentile of the durations."""
        return p95(self.seconds)


@dataclass(frozen=True)
class OperationLinks:
    """Where the page leads to; paths from the site's folder."""

    product: str
    runs: Mapping[str, str]
    """Run id → its page."""


def render_operation(
    past: Past,
    *,
    place: Place,
    links: OperationLinks,
    upstream: Iterable[tuple[Operation, str | None]],
    downstream: Iterable[tuple[Operation, str | None]],
    attempts: Sequence[Part],
) -> tuple[str, dict[str, Any]]:
    """The page, and the data of its scripts, which draw the marks of the charts and the list of runs.

    Args:
        past: the operation.
        place, links: where the page lies, and where it leads to.
        upstream, downstream: its neighbours in the newest run that had it, each with its page.
        attempts: those that failed, newest first.
    """
    failures = [one for one in past.occurrences if one.status == "Failed"][:_FAILURES]
    shown, charts = past.occurrences[:_LISTED], _charts(past)
    html = page(
        "operation.html",
        scripts=SCRIPTS,
        place=place,
        **common(),
        what=past,
        links=links,
        charts=charts,
        failures=[{"operation": one, "page": links.runs.get(one.run_id)} for one in failures],
        attempts=attempts,
        upstream=[{"label": one.label, "status": one.status, "page": where} for one, where in upstream],
        downstream=[{"label": one.label, "status": one.status, "page": where} for one, where in downstream],
        last_success=past.built[0].started_at if past.built else None,
        last_rows=next((one.rows_written for one in past.built), None),
        listed=_LISTED,
    )
    return html, _data(past, shown, charts, links)


def _data(past: Past, found: Sequence[Operation], charts: Sequence[_Drawn], links: OperationLinks) -> dict[str, Any]:
    pool = Pool()
    return {
        "at": [moment_of(past.at(one)) for one in found],
        "status": [pool[one.status] for one in found],
        "seconds": [rounded(one.seconds) for one in found],
        "rows": [one.rows_written for one in found],
        "bytes": [one.bytes_written for one in found],
        "run": texts(one.run_id for one in found),
        "page": [links.runs.get(one.run_id) for one in found],
        "operation": found[0].operation_id,
        "strings": pool.strings,
        "charts": {
            one.unit: [[number, mark.x, mark.y] for number, mark in zip(one.numbers, one.chart.dots, strict=True)]
            for one in charts
        },
    }


class _Drawn(NamedTuple):
    """A chart of the history."""

    title: str
    unit: str
    chart: Chart
    numbers: list[int]
    """For each of its dots the number of the occurrence."""


def _charts(past: Past) -> list[_Drawn]:
    measures: tuple[tuple[str, str, Callable[[Operation], float | None]], ...] = (
        ("Duration", "seconds", lambda one: one.seconds),
        ("Rows written", "rows", lambda one: one.rows_written),
        ("Bytes written", "bytes", lambda one: one.bytes_written),
    )
    found = []
    for title, unit, read in measures:
        numbers, dots = [], []
        for number, one in enumerate(past.occurrences[:_LISTED]):
            value = read(one)
            if one.started_at is not None and value is not None and one.status != "Skipped":
                numbers.append(number)
                dots.append(Dot(one.started_at, value, one.status, ""))
        if dots:
            usual = median([dot.value for dot in dots if dot.status != "Failed"])
            label = f"{title} in {counted(len(dots), 'run')}"
            found.append(_Drawn(title, unit, dots_chart(dots, usual, label=label, unit=unit), numbers))
    return found
