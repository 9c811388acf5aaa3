"""The page of many runs: how each product stands, by day, durations, what fails most, what got slower, all runs.

The page of one data product is the same page, of its runs alone, with the list of its operations.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

from dbbtrace.answers.audit import Audit
from dbbtrace.answers.overview import Overview, read_overview
from dbbtrace.answers.readable import counted, duration_of, moment_of
from dbbtrace.answers.rows import Run
from dbbtrace.answers.statistics import median, p95
from dbbtrace.answers.terms import Terms
from dbbtrace.model.identity import trace_id_of
from dbbtrace.pages.charts import STATUSES, Chart, Dot, days_chart, dots_chart
from dbbtrace.pages.parts import common, jaeger_base
from dbbtrace.pages.templates import Place, page
from dbbtrace.warehouse import Warehouse

__all__ = ["SCRIPTS", "SiteLinks", "overview_page", "render_overview"]

SCRIPTS = ("common.js", "state.js", "overview.js")
LISTED = 2_000
"""How many runs a page lists at most, to stay within 2 MB."""
_OPERATIONS_LISTED = 3_000
_CHARTS = 12
_MARKS = ("stale", "empty", "absent", "volume", "lost")
"""Kinds of reasons that mark a run in the list."""


@dataclass(frozen=True)
class SiteLinks:
    """Where an overview leads to in a site; paths from the site's folder."""

    products: Mapping[tuple[str | None, str | None], str] = field(default_factory=dict)
    """Product and environment → its page."""
    runs: Mapping[str, str] = field(default_factory=dict)
    operations: Mapping[tuple[str | None, str | None, str, str], str] = field(default_factory=dict)
    """Product, environment, kind and operation_id → its page."""

    def operation(self, one: Any) -> str | None:
        """The page of an offender or a timing."""
        return self.operations.get((one.data_product, one.environment, one.kind, one.operation_id))


def overview_page(
    warehouse: Warehouse,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    data_product: str | None = None,
    environment: str | None = None,
    jaeger_url: str | None = None,
    terms: Terms | None = None,
) -> str:
    """The page of the runs since then, as one HTML file.

    Args:
        warehouse: where to look.
        since, until, data_product, environment: see ``answers.run_keys``.
        jaeger_url: Jaeger's address; None: no links.
        terms: see ``verdict_of``.

    Raises:
        ConfigurationError: Jinja2 is not installed.
        UsageError: ``jaeger_url`` is invalid.
    """
    found = read_overview(
        warehouse, since=since, until=until, data_product=data_product, environment=environment, terms=terms
    )
    return render_overview(found, jaeger_url=jaeger_url)


def render_overview(
    overview: Overview,
    *,
    jaeger_url: str | None = None,
    place: Place | None = None,
    links: SiteLinks | None = None,
    product: tuple[str | None, str | None] | None = None,
    operations: Sequence[Any] = (),
    now: datetime | None = None,
) -> str:
    """The page. Pure.

    Args:
        overview: what to show.
        jaeger_url: Jaeger's address; None: no links.
        place, links: where the page lies in a site, and where it leads to; None: it is one file.
        product: the one product and environment that the page is about.
        operations: of that product.
        now: the present, for tests.

    Raises:
        UsageError: ``jaeger_url`` is invalid.
    """
    base, record = jaeger_base(jaeger_url), overview.record
    durations = _durations(record.runs)
    left_out = len(durations) - _CHARTS
    others = counted(left_out, "more product has fewer runs and is", "more products have fewer runs and are")
    return page(
        "product.html" if product else "overview.html",
        scripts=SCRIPTS,
        place=place,
        **common(),
        links=links or SiteLinks(),
        of_product=product is not None,
        heading=product[0] or "Runs by hand" if product else "Orchestration runs",
        period=(product[1] or "") if product else _period(record),
        figures=_figures(record),
        runs=record.runs,
        listed=LISTED,
        today=_today(record, now or datetime.now(timezone.utc)) if place else [],
        days=_by_day(record.runs),
        products=_products(record),
        durations=durations[:_CHARTS],
        not_drawn=f"{others} not drawn." if left_out > 0 else None,
        offenders=overview.offenders,
        grown=overview.grown,
        operations=operations[:_OPERATIONS_LISTED],
        more_operations=f"{_OPERATIONS_LISTED:,} of {len(operations):,} are listed."
        if len(operations) > _OPERATIONS_LISTED
        else None,
        first_line=_first_line,
        marks=_marker(record),
        jaeger=(lambda run: f"{base}/trace/{trace_id_of(run.run_id):032x}") if base else None,
    )


def _period(record: Audit) -> str:
    starts = [run.started_at for run in record.runs if run.started_at]
    first = record.since or min(starts, default=None)
    return f"since {moment_of(first)[:10]}" if first else "of all time"


def _figures(record: Audit) -> dict[str, Any]:
    """The figures at the top."""
    runs = record.runs
    ended = [run for run in runs if run.status != "Running"]
    good = sum(run.status in ("Succeeded", "Warned") for run in ended)
    took = [run.seconds for run in runs if run.seconds is not None]
    return {
        "rate": f"{good / len(ended):.1%}" if ended else "unknown",
        "bad": f"{len(ended) - good} failed",
        "median": median(took),
        "p95": p95(took),
        "rows": sum(run.rows_written or 0 for run in runs),
        "bytes": sum(run.bytes_written or 0 for run in runs),
        "gaps": len(record.gaps),
        "gaps_in": f"in {counted(len({gap.run_id for gap in record.gaps}), 'run')}",
    }


def _today(record: Audit, now: datetime) -> list[dict[str, Any]]:
    """How each product stands: the verdict on its newest run, since when, why, and whether the next one is late."""
    groups: dict[tuple[str, str | None], list[Run]] = defaultdict(list)
    for run in record.runs:  # newest first
        if run.data_product and run.started_at:
            groups[run.data_product, run.environment].append(run)
    lines = []
    for (product, environment), group in groups.items():
        newest = group[0]
        same = next((run for run, after in pairwise(group) if after.status != run.status), group[-1])
        said = record.verdicts.get(newest.run_id)
        lines.append(
            {
                "data_product": product,
                "environment": environment,
                "verdict": newest.status,
                "since": same.started_at,
                "run_id": newest.run_id,
                "reason": next((one for one in said.reasons if one.verdict), None) if said else None,
                "late": _is_late([run.started_at for run in group if run.started_at], now),
            }
        )
    return sorted(lines, key=lambda line: (_WORST.get(str(line["verdict"]), 9), str(line["data_product"])))


_WORST = {"Failed": 0, "Unfinished": 1, "Incomplete": 2, "Running": 3, "Warned": 4, "Succeeded": 5}


def _is_late(starts: Sequence[datetime], now: datetime) -> bool:
    """Whether the product has been quiet for more than twice its longest usual pause, of its newest 20 runs."""
    recent = starts[:20]
    pauses = [(later - earlier).total_seconds() for later, earlier in pairwise(recent)]
    return len(pauses) >= 4 and now - recent[0] > max(timedelta(seconds=2 * p95(pauses)), timedelta(hours=1))  # type: ignore[operator]


def _by_day(runs: Iterable[Run]) -> list[Chart]:
    """The same chart for a wide and for a narrow screen: the style shows only one of them."""
    days: dict[date, Counter[str]] = defaultdict(Counter)
    for run in runs:
        if run.started_at:
            days[run.started_at.date()][_charted(run.status)] += 1
    return [days_chart(days), days_chart(days, narrow=True)] if days else []


def _charted(status: str) -> str:
    return status if status in STATUSES else "Unknown"


def _products(record: Audit) -> list[dict[str, Any]]:
    took: dict[tuple[Any, Any], list[float]] = defaultdict(list)
    for run in record.runs:
        if run.seconds is not None:
            took[run.data_product, run.environment].append(run.seconds)
    return [
        {
            "record": one,
            "rate": f"{one.succeeded / (one.succeeded + one.failed):.1%}" if one.succeeded + one.failed else "",
            "median": median(took[one.data_product, one.environment]),
            "p95": p95(took[one.data_product, one.environment]),
        }
        for one in record.products
    ]


def _durations(runs: Iterable[Run]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        if run.started_at and run.seconds is not None:
            groups[run.data_product or "none (by hand)", run.environment or ""].append(run)
    found = []
    for (product, environment), group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        usual = median([run.seconds for run in group if run.seconds is not None])
        dots = [
            Dot(
                run.started_at,
                run.seconds,
                _charted(run.status),
                f"{moment_of(run.started_at)[:16]}: {duration_of(run.seconds)}, {run.status}",
            )
            for run in group[:500]
            if run.started_at and run.seconds is not None
        ]
        found.append({"product": product, "place": environment, "median": usual, "chart": dots_chart(dots, usual)})
    return found


def _first_line(text: str | None) -> str:
    line = next((line.strip() for line in (text or "").splitlines() if line.strip()), "")
    return line if len(line) <= 200 else line[:199] + "…"


def _marker(record: Audit) -> Callable[[Run], str]:
    """What marks a run in the list: its gaps, and what was found about its data."""
    gaps: dict[str, list[str]] = defaultdict(list)
    for gap in record.gaps:
        gaps[gap.run_id].append(gap.gap)

    def marks(run: Run) -> str:
        said = record.verdicts.get(run.run_id)
        kinds = [one.kind for one in said.reasons if one.kind in _MARKS] if said else []
        found = Counter([*kinds, *gaps[run.run_id]])
        return ", ".join(f"{count} × {mark}" if count > 1 else mark for mark, count in found.items())

    return marks
