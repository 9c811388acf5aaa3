"""A folder of linked pages: all runs → product → run → operation, and back. It needs no server and no network.

    index.html          how each product stands, all runs
    products/           a page for each data product in each environment
    runs/               a page for each run, named by its trace id
    operations/         a page for each operation: its history over all runs
    assets/             style, scripts, and in data/ the data of each page

Made again, only the pages that changed are written. A page that is open in a browser then loads itself again.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from dbbtrace.answers.asof import asof_refreshed
from dbbtrace.answers.audit import Audit, audit
from dbbtrace.answers.consumers import BY_NAME, Naming
from dbbtrace.answers.earlier import local_zone
from dbbtrace.answers.graph import BUILT
from dbbtrace.answers.links import fabric_pages
from dbbtrace.answers.overview import Offender, Overview, offenders, slower, worst
from dbbtrace.answers.platform import model_titles
from dbbtrace.answers.read import operations, parts, relations
from dbbtrace.answers.reasons import Reason
from dbbtrace.answers.rows import Operation, Part, Run, attempts_of
from dbbtrace.answers.shown import AsOf
from dbbtrace.answers.slowest import Timing
from dbbtrace.answers.terms import Terms
from dbbtrace.model.identity import trace_id_of
from dbbtrace.pages import operation as operation_page
from dbbtrace.pages import overview as overview_pages
from dbbtrace.pages import run as run_pages
from dbbtrace.pages.folder import Folder
from dbbtrace.pages.history import Neighbours, earlier_of, histories, pasts
from dbbtrace.pages.operation import OperationLinks, Past, render_operation
from dbbtrace.pages.overview import SiteLinks, render_overview
from dbbtrace.pages.run import RunLinks, render_run, report_of
from dbbtrace.pages.templates import Place
from dbbtrace.warehouse import Warehouse

__all__ = ["MOST_RUNS", "Site"]

MOST_RUNS = 2_000
"""How many of the newest runs have a page. Older ones are counted on the overview."""
_AT_ONCE = 100
"""How many runs are read with one query."""
_BUNDLES = {
    "overview.js": overview_pages.SCRIPTS,
    "run.js": run_pages.SCRIPTS,
    "operation.js": operation_page.SCRIPTS,
}
Whose = tuple["str | None", "str | None"]
"""Data product and environment."""


class Site:
    """The folder. ``make`` writes it, as often as wanted."""

    def __init__(
        self,
        folder: Path,
        *,
        jaeger_url: str | None = None,
        follow: float | None = None,
        naming: Naming = BY_NAME,
        terms: Terms | None = None,
        tags: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """
        Args:
            folder: made if it is not there.
            jaeger_url: Jaeger's address; None: no links.
            follow: after how many seconds an open page looks whether it was made again; None: never.
            naming: how names go together, where they don't tell by themselves.
            terms: see ``answers.verdict_of``.
            tags: unique_id of a dbt node → its tags, to group by.

        Raises:
            UsageError: the folder holds something else.
        """
        self._folder = Folder(folder, follow)
        self._jaeger_url = jaeger_url
        self._naming = naming
        self._terms = terms or Terms()
        self._tags = tags or {}
        self._groups: dict[Whose, _Made] = {}
        """What the pages of each product in each environment were made from, and what they were."""

    def make(
        self,
        warehouse: Warehouse,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        data_product: str | None = None,
        environment: str | None = None,
        told: Callable[[int, int], None] = lambda done, total: None,
    ) -> int:
        """Write the pages, and remove those of runs that are no longer chosen. Returns how many were written.

        Args:
            warehouse: where to look.
            since, until, data_product, environment: see ``answers.run_keys``.
            told: called with the number of runs that are done and their total.

        Raises:
            OSError: the folder can't be written.
        """
        record = audit(
            warehouse,
            since=since,
            until=until,
            data_product=data_product,
            environment=environment,
            terms=self._terms,
        )
        plan = _plan(record)
        self._folder.prepare(_BUNDLES)
        before, total, done = dict(self._folder.versions), sum(map(len, plan.groups.values())), 0
        kept: set[str] = set()
        every: list[_Made] = []
        fabric = fabric_pages(warehouse, list(plan.runs))
        for whose, group in plan.groups.items():
            told(done, total)
            made_from = [(run, record.verdicts[run.run_id].reasons) for run in group]
            made = self._groups.get(whose)
            if made is None or made.made_from != made_from:
                self._groups[whose] = made = _Made(made_from)
                past = self._group(warehouse, plan, whose, group, fabric, made)
                made.operations.update({(*whose, each.last.kind, each.operation_id): each.page for each in past})
                links = SiteLinks(plan.products, plan.runs, made.operations)
                self._product(_only(record, whose, made), whose, links, past, made.files)
            kept |= made.files
            every.append(made)
            done += len(group)
        told(done, total)
        place = Place("index.html", "overview.js")
        links = SiteLinks(plan.products, plan.runs, dict(item for made in every for item in made.operations.items()))
        found = Overview(
            record,
            worst(one for made in every for one in made.offenders),
            slower(one for made in every for one in made.grown),
        )
        kept |= self._folder.write(
            place, render_overview(found, jaeger_url=self._jaeger_url, place=place, links=links), {}
        )
        self._folder.sweep(kept)
        return sum(before.get(name) != version for name, version in self._folder.versions.items())

    # -- the pages -------------------------------------------------------------------------------------------

    def _group(
        self,
        warehouse: Warehouse,
        plan: _Plan,
        whose: Whose,
        group: Sequence[Run],
        fabric: Mapping[str, str],
        made: _Made,
    ) -> list[Past]:
        """The pages of the runs of one product in one environment, and of what these runs did."""
        kept = made.files
        newest: dict[tuple[str, str], Timing] = {}
        by_run: dict[str, list[Operation]] = {run.run_id: [] for run in group}
        tried: dict[str, list[Part]] = defaultdict(list)
        ids = list(by_run)
        for first in range(0, len(ids), _AT_ONCE):
            some = ids[first : first + _AT_ONCE]
            for one in operations(warehouse, some):
                by_run[one.run_id].append(one)
            for attempt in parts(warehouse, some, where="p.part = 'attempt'"):
                tried[attempt.run_id].append(attempt)
        past = pasts(group, by_run, lambda one: _page_of(one, whose))
        pages = {(each.last.kind, each.operation_id): each.page for each in past}
        filled = relations(warehouse, ids)
        timings, titles = histories(group, by_run), model_titles(warehouse)
        for number, run in enumerate(group):
            place = Place(plan.runs[run.run_id], "run.js")
            neighbours = [
                plan.runs[group[beside].run_id] if 0 <= beside < len(group) else None
                for beside in (number + 1, number - 1)
            ]
            said = plan.record.verdicts[run.run_id]
            shows: Sequence[AsOf] = ()  # of older runs nobody asks how old the data is that its models show
            if number == 0:
                shows = asof_refreshed(warehouse, run, naming=self._naming, zone=local_zone(self._terms.zone))
            compared = timings(number)
            for one in by_run[run.run_id]:
                if one.status in BUILT and (timing := compared.get((one.kind, one.operation_id))) is not None:
                    newest.setdefault((one.kind, one.operation_id), timing)
            report = report_of(
                said,
                by_run[run.run_id],
                earlier_of(group, by_run, number),
                compared,
                tried[run.run_id],
                filled,
                self._tags,
                fabric.get(run.run_id),
                shows,
                naming=self._naming,
                titles=titles,
            )
            links = RunLinks(plan.products[whose], neighbours[0], neighbours[1], pages)
            html, data = render_run(report, jaeger_url=self._jaeger_url, place=place, links=links)
            kept |= self._folder.write(place, html, data)
        self._operations(plan, whose, past, by_run, tried, pages, kept)
        failed = {
            run_id: [one for one in found if one.status == "Failed" and not one.superseded]
            for run_id, found in by_run.items()
        }
        made.offenders = worst(offenders(group, failed))
        made.grown = slower(newest.values())
        return past

    def _operations(
        self,
        plan: _Plan,
        whose: Whose,
        past: Sequence[Past],
        by_run: Mapping[str, Sequence[Operation]],
        tried: Mapping[str, Sequence[Part]],
        pages: Mapping[tuple[str, str], str],
        kept: set[str],
    ) -> None:
        beside: dict[str, Neighbours] = {}
        attempts = {run_id: attempts_of(found) for run_id, found in tried.items()}
        links = OperationLinks(plan.products[whose], plan.runs)

        def paged(found: Iterable[Operation]) -> list[tuple[Operation, str | None]]:
            return [(one, pages.get((one.kind, one.operation_id))) for one in found]

        for each in past:
            run_id = each.last.run_id
            if run_id not in beside:
                beside[run_id] = Neighbours(by_run[run_id])
            near = beside[run_id]
            place = Place(each.page, "operation.js")
            html, data = render_operation(
                each,
                place=place,
                links=links,
                upstream=paged(near.above[each.last.operation_id]),
                downstream=paged(near.below[each.last.operation_id]),
                attempts=[
                    attempt
                    for one in each.occurrences
                    for attempt in attempts.get(one.run_id, {}).get(one.span_id or "", ())
                ],
            )
            kept |= self._folder.write(place, html, data)

    def _product(self, found: Overview, whose: Whose, links: SiteLinks, past: Sequence[Past], kept: set[str]) -> None:
        place = Place(links.products[whose], "overview.js")
        html = render_overview(
            found,
            jaeger_url=self._jaeger_url,
            place=place,
            links=links,
            product=whose,
            operations=sorted(past, key=lambda each: (-each.failed, each.last.workload, each.label)),
        )
        kept |= self._folder.write(place, html, {})


@dataclass
class _Made:
    """The pages of one product in one environment, as they were made last."""

    made_from: list[tuple[Run, tuple[Reason, ...]]]
    operations: dict[tuple[str | None, str | None, str, str], str] = field(default_factory=dict)
    """As in ``SiteLinks``."""
    files: set[str] = field(default_factory=set)
    offenders: list[Offender] = field(default_factory=list)
    """What failed most."""
    grown: list[Timing] = field(default_factory=list)
    """What got slower."""


@dataclass(frozen=True)
class _Plan:
    """Which pages there will be."""

    record: Audit
    groups: dict[Whose, list[Run]] = field(default_factory=lambda: defaultdict(list))
    """Runs with a page, newest first."""
    products: dict[Whose, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    """Run id → its page."""


def _plan(record: Audit) -> _Plan:
    plan = _Plan(record)
    taken: set[str] = set()
    for run in record.runs[:MOST_RUNS]:
        whose = (run.data_product, run.environment)
        plan.groups[whose].append(run)
        name = f"runs/{trace_id_of(run.run_id):032x}.html"
        if name in taken:  # two spellings of one id
            name = f"runs/{_hash(run.run_id)}.html"
        taken.add(name)
        plan.runs[run.run_id] = name
        plan.products.setdefault(whose, f"products/{_slug(run.data_product or 'by-hand')}-{_hash(*whose)}.html")
    return plan


def _only(record: Audit, whose: Whose, made: _Made) -> Overview:
    """The overview of one product in one environment."""

    def mine(one: Any) -> bool:
        return (one.data_product, one.environment) == whose

    return Overview(
        Audit(
            record.since,
            tuple(filter(mine, record.products)),
            tuple(filter(mine, record.runs)),
            tuple(filter(mine, record.gaps)),
            record.verdicts,
        ),
        made.offenders,
        made.grown,
    )


def _page_of(one: Operation, whose: Whose) -> str:
    return f"operations/{_slug(one.name)}-{_hash(*whose, one.kind, one.operation_id)}.html"


def _slug(text: str) -> str:
    """The start of a file's name: letters and digits alone, so that it is the same on every system."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "x"


def _hash(*parts: str | None) -> str:
    return hashlib.sha256("\0".join(part or "" for part in parts).encode("utf-8", "surrogatepass")).hexdigest()[:12]
