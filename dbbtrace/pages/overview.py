"""The page of many runs: by day, by product, durations, what fails most, what is missing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

from dbbtrace.answers.audit import Audit
from dbbtrace.answers.overview import Offender, Overview, read_overview
from dbbtrace.answers.readable import bytes_of, count_of, counted, duration_of, moment_of
from dbbtrace.answers.rows import Run
from dbbtrace.answers.slowest import Timing
from dbbtrace.answers.statistics import median, p95
from dbbtrace.answers.terms import Terms
from dbbtrace.model.identity import trace_id_of
from dbbtrace.pages.charts import STATUSES, Dot, days_chart, dots_chart
from dbbtrace.pages.html import Html, h, joined, page
from dbbtrace.pages.parts import badge, footer, jaeger_base, place_line, tile, tiles
from dbbtrace.warehouse import Warehouse

__all__ = ["overview_page", "render_overview"]

_CHARTS = 12


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
    """The page of the runs since then, as HTML.

    Args:
        warehouse: where to look.
        since, until, data_product, environment: see ``answers.run_keys``.
        jaeger_url: Jaeger's address; None: no links.
        terms: see ``verdict_of``.

    Raises:
        UsageError: ``jaeger_url`` is invalid.
    """
    found = read_overview(
        warehouse, since=since, until=until, data_product=data_product, environment=environment, terms=terms
    )
    return render_overview(found, jaeger_url=jaeger_url)


# -- drawing ------------------------------------------------------------------------------------------------


def render_overview(overview: Overview, *, jaeger_url: str | None = None) -> str:
    """The page. Pure.

    Raises:
        UsageError: ``jaeger_url`` is invalid.
    """
    base, record = jaeger_base(jaeger_url), overview.record
    body = joined(
        h("a", "Skip to the runs", class_="skip", href="#runs"),
        _head(record),
        h(
            "main",
            _by_day(record.runs),
            _products(record),
            _durations(record.runs),
            _offending(overview.offenders),
            _growing(overview.grown),
            _runs(record, base),
        ),
        footer(),
    )
    return page(f"Runs {_period(record)}", body, scripts=("common.js", "overview.js"))


def _period(record: Audit) -> str:
    starts = [run.started_at for run in record.runs if run.started_at]
    first = record.since or min(starts, default=None)
    return f"since {moment_of(first)[:10]}" if first else "of all time"


def _head(record: Audit) -> Html:
    runs = record.runs
    ended = [run for run in runs if run.status != "Running"]
    good = sum(run.status in ("Succeeded", "Warned") for run in ended)
    took = [run.seconds for run in runs if run.seconds is not None]
    return h(
        "header",
        h("h1", "Orchestration runs ", h("small", _period(record))),
        place_line(("Data products", str(len({run.data_product for run in runs})))),
        tiles(
            tile("Runs", count_of(len(runs))),
            tile("Success rate", f"{good / len(ended):.1%}" if ended else "unknown", f"{len(ended) - good} failed"),
            tile("Median duration", duration_of(median(took)) or "unknown"),
            tile("p95 duration", duration_of(p95(took)) or "unknown"),
            tile("Rows written", count_of(sum(run.rows_written or 0 for run in runs))),
            tile("Bytes written", bytes_of(sum(run.bytes_written or 0 for run in runs))),
            tile("Gaps", count_of(len(record.gaps)), f"in {counted(len({gap.run_id for gap in record.gaps}), 'run')}"),
        ),
    )


def _by_day(runs: Iterable[Run]) -> Html | None:
    days: dict[date, Counter[str]] = defaultdict(Counter)
    for run in runs:
        if run.started_at:
            days[run.started_at.date()][_charted(run.status)] += 1
    if not days:
        return h("section", h("p", "No runs."))
    legend = [
        h("li", h("span", class_=f"swatch {name}"), said)
        for name, said in (
            ("Succeeded", "succeeded"),
            ("Warned", "warned"),
            ("Failed", "failed"),
            ("Skipped", "skipped"),
            ("Unknown", "running or unknown"),
        )
    ]
    charts = (days_chart(days), days_chart(days, narrow=True))  # the style shows only one of them
    return h("section", h("h2", "Runs by day"), charts, h("ul", legend, class_="legend"), id="days")


def _charted(status: str) -> str:
    return status if status in STATUSES else "Unknown"


def _products(record: Audit) -> Html:
    took: dict[tuple[Any, Any], list[float]] = defaultdict(list)
    for run in record.runs:
        if run.seconds is not None:
            took[run.data_product, run.environment].append(run.seconds)
    rows = [
        h(
            "tr",
            h("td", product.data_product or "none (by hand)"),
            h("td", product.environment or ""),
            _num(count_of(product.runs)),
            _num(_rate(product.succeeded, product.succeeded + product.failed)),
            _num(count_of(product.failed)),
            _num(count_of(product.with_gaps)),
            _num(duration_of(median(took[product.data_product, product.environment]))),
            _num(duration_of(p95(took[product.data_product, product.environment]))),
            h("td", moment_of(product.last_started_at)[:16], class_="when"),
        )
        for product in record.products
    ]
    head = (
        "Data product",
        "Environment",
        "#Runs",
        "#Success",
        "#Failed",
        "#With gaps",
        "#Median",
        "#p95",
        "Last run (UTC)",
    )
    return h("section", h("h2", "Data products"), _table("Data products", head, rows), id="products")


def _rate(good: int, all_: int) -> str:
    return f"{good / all_:.1%}" if all_ else ""


def _durations(runs: Iterable[Run]) -> Html | None:
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        if run.started_at and run.seconds is not None:
            groups[run.data_product or "none (by hand)", run.environment or ""].append(run)
    if not groups:
        return None
    largest = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    charts = [_product_chart(*whose, group) for whose, group in largest[:_CHARTS]]
    left_out = len(largest) - _CHARTS
    others = counted(left_out, "more product has fewer runs and is", "more products have fewer runs and are")
    more = h("p", f"{others} not drawn.", class_="muted") if left_out > 0 else None
    return h("section", h("h2", "Durations over time"), h("div", charts, class_="charts"), more, id="durations")


def _product_chart(product: str, place: str, group: Sequence[Run]) -> Html:
    usual = median([run.seconds for run in group if run.seconds is not None])
    dots = [
        Dot(
            run.started_at,
            run.seconds,
            _charted(run.status),
            f"{moment_of(run.started_at)[:16]}: {duration_of(run.seconds)}, {run.status}",
        )
        for run in group
        if run.started_at and run.seconds is not None
    ]
    caption = h("figcaption", product, " ", h("small", f"{place} · median {duration_of(usual)}"))
    return h("figure", caption, dots_chart(dots, usual))


def _offending(offenders: Sequence[Offender]) -> Html | None:
    if not offenders:
        return None
    rows = [
        h(
            "tr",
            h("td", one.name),
            h("td", one.data_product or ""),
            h("td", one.environment or ""),
            _num(f"{one.failed} of {one.runs}"),
            h("td", moment_of(one.last_failed_at)[:16], class_="when"),
            h("td", _first_line(one.last_message)),
        )
        for one in offenders
    ]
    head = ("Operation", "Data product", "Environment", "#Failed", "Last failure (UTC)", "Last message")
    return h("section", h("h2", "What fails most"), _table("What fails most", head, rows), id="offenders")


def _first_line(text: str | None) -> str:
    line = next((line.strip() for line in (text or "").splitlines() if line.strip()), "")
    return line if len(line) <= 200 else line[:199] + "…"


def _growing(grown: Sequence[Timing]) -> Html | None:
    if not grown:
        return None
    rows = [
        h(
            "tr",
            h("td", one.name),
            h("td", one.data_product or ""),
            h("td", one.environment or ""),
            _num(duration_of(one.seconds)),
            _num(duration_of(one.median)),
            _num(duration_of(one.p95)),
            _num(f"{one.change:+.0%}" if one.change is not None else ""),
            _num(str(len(one.earlier))),
        )
        for one in grown
    ]
    head = (
        "Operation",
        "Data product",
        "Environment",
        "#Newest",
        "#Median before",
        "#p95 before",
        "#Change",
        "#Runs before",
    )
    return h("section", h("h2", "What got slower"), _table("What got slower", head, rows), id="grown")


def _runs(record: Audit, base: str | None) -> Html:
    gaps: dict[str, list[str]] = defaultdict(list)
    for gap in record.gaps:
        gaps[gap.run_id].append(gap.gap)
    rows = [
        h(
            "tr",
            h("td", moment_of(run.started_at)[:16], class_="when"),
            h("td", badge(run.status)),
            h("td", run.data_product or "none (by hand)"),
            h("td", run.environment or ""),
            _num(duration_of(run.seconds)),
            _num(f"{run.failed} of {run.operations}"),
            h(
                "td",
                ", ".join(f"{count} × {gap}" if count > 1 else gap for gap, count in Counter(gaps[run.run_id]).items()),
            ),
            h("td", _run_name(run, base)),
        )
        for run in record.runs
    ]
    head = ("Started (UTC)", "Status", "Data product", "Environment", "#Duration", "#Failed", "Gaps", "Run")
    tools = h("div", id="tools", class_="tools", hidden=True)
    count = h("p", id="count", role="status", aria_live="polite")
    return h(
        "section",
        h("h2", f"Runs ({len(rows):,})"),
        tools,
        count,
        _table("Runs", head, rows, tall=True, id="all-runs"),
        id="runs",
    )


def _run_name(run: Run, base: str | None) -> Html:
    name = h("code", run.run_id)
    if base is None:
        return name
    return h("a", name, href=f"{base}/trace/{trace_id_of(run.run_id):032x}", rel="noreferrer", target="_blank")


def _num(text: str) -> Html:
    return h("td", text, class_="num")


def _table(label: str, head: Sequence[str], rows: Sequence[Html], *, tall: bool = False, **attributes: object) -> Html:
    """A table that scrolls sideways if it is too wide. Columns whose title begins with # hold numbers."""
    titles = [
        h("th", title.removeprefix("#"), scope="col", class_="num" if title.startswith("#") else None) for title in head
    ]
    table = h("table", h("thead", h("tr", titles)), h("tbody", rows), **attributes)
    return h(
        "div",
        table,
        class_="wide tall" if tall else "wide",
        tabindex="0",
        role="region",
        aria_label=label,
    )
