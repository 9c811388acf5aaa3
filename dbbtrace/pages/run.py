"""The page of one run: its facts, failures, critical path, and a waterfall of all operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dbbtrace.answers.asof import asof_refreshed
from dbbtrace.answers.audit import Gap, gaps_of, operation_gaps
from dbbtrace.answers.consumers import BY_NAME, Naming
from dbbtrace.answers.critical import PathStep, critical_path
from dbbtrace.answers.earlier import local_zone
from dbbtrace.answers.failures import Failure, failures_among
from dbbtrace.answers.graph import RunGraph
from dbbtrace.answers.read import operations, parts
from dbbtrace.answers.readable import bytes_of, count_of, duration_of, moment_of
from dbbtrace.answers.reasons import Verdict
from dbbtrace.answers.rows import Operation, Part, Run, attempts_of
from dbbtrace.answers.shown import AsOf
from dbbtrace.answers.slowest import Timing, history_of
from dbbtrace.answers.terms import Terms
from dbbtrace.answers.verdict import verdict_of
from dbbtrace.errors import UsageError
from dbbtrace.model.identity import trace_id_of
from dbbtrace.pages.charts import path_strip
from dbbtrace.pages.html import Html, h, joined, page, shown
from dbbtrace.pages.parts import badge, footer, jaeger_base, place_line, tile, tiles
from dbbtrace.warehouse import Warehouse

__all__ = ["RunReport", "read_run", "render_run", "run_page"]

_FAILURES_OPEN, _FAILURES_SHOWN = 10, 30
_HELD_UP_SHOWN = 30
_STEPS_SHOWN = 12


@dataclass(frozen=True)
class RunReport:
    """Everything that the page shows about a run."""

    run: Run
    operations: list[Operation]
    failures: list[Failure]
    path: list[PathStep]
    history: Mapping[tuple[str, str], Timing]
    gaps: list[Gap]
    verdict: Verdict
    attempts: Mapping[str, Sequence[Part]]
    """Span id of an operation → its attempts that failed."""
    shows: Sequence[AsOf] = ()
    """How old the data is of the semantic models that the run refreshed."""


def run_page(
    warehouse: Warehouse,
    run: str,
    *,
    jaeger_url: str | None = None,
    naming: Naming = BY_NAME,
    terms: Terms | None = None,
) -> str:
    """The page of the run, as HTML.

    Args:
        warehouse: where to look.
        run: the run's id.
        jaeger_url: Jaeger's address; None: no links.
        naming: how names go together, where they don't tell by themselves.
        terms: see ``verdict_of``.

    Raises:
        UsageError: the run does not exist, or ``jaeger_url`` is invalid.
    """
    return render_run(read_run(warehouse, run, naming, terms), jaeger_url=jaeger_url)


def read_run(warehouse: Warehouse, run: str, naming: Naming = BY_NAME, terms: Terms | None = None) -> RunReport:
    """Query the warehouse for the report.

    Raises:
        UsageError: the run does not exist.
    """
    said = verdict_of(warehouse, run, terms=terms)
    if said.run is None:
        raise UsageError(f"no run {run!r} in {warehouse.name}; `dbbtrace runs` lists the runs")
    all_of_it = operations(warehouse, [run])
    return RunReport(
        said.run,
        all_of_it,
        failures_among(all_of_it),
        critical_path(all_of_it),
        history_of(warehouse, run),
        [*gaps_of(said.run), *operation_gaps(o for o in all_of_it if not o.superseded)],
        said,
        attempts_of(parts(warehouse, [run], where="p.part = 'attempt'")),
        asof_refreshed(warehouse, said.run, naming=naming, zone=local_zone((terms or Terms()).zone)),
    )


def render_run(report: RunReport, *, jaeger_url: str | None = None) -> str:
    """The page. Pure.

    Raises:
        UsageError: ``jaeger_url`` is invalid.
    """
    run, base = report.run, jaeger_base(jaeger_url)
    trace = f"{trace_id_of(run.run_id):032x}"
    trace_link = f"{base}/trace/{trace}" if base else None
    body = joined(
        h("a", "Skip to the operations", class_="skip", href="#operations"),
        _head(run, trace, trace_link),
        h(
            "main",
            _shows(report),
            _reasons(report),
            _notices(report),
            _failures(report),
            _path(report),
            _waterfall(report),
        ),
        footer(),
    )
    whose = " ".join(filter(None, (run.data_product or "run by hand", run.environment)))
    title = f"{run.status}: {whose}, {moment_of(run.started_at)[:16]}"
    return page(title, body, scripts=("common.js", "grid.js", "detail.js", "run.js"), data=_data(report, trace_link))


# -- the head -----------------------------------------------------------------------------------------------


def _head(run: Run, trace: str, trace_link: str | None) -> Html:
    link = (
        h("a", "Open the trace in Jaeger", href=trace_link, rel="noreferrer", target="_blank") if trace_link else None
    )
    return h(
        "header",
        h("h1", badge(run.status), " ", run.data_product or "Run by hand", " ", h("small", run.environment or "")),
        place_line(
            ("Started", f"{moment_of(run.started_at)} UTC" if run.started_at else "unknown"),
            ("Run", h("code", run.run_id)),
            ("Trace", h("code", trace)),
            ("", link),
        ),
        tiles(
            tile("Duration", duration_of(run.seconds) or "unknown"),
            tile("Table loads", count_of(run.loads), _bad(run.loads_failed, "failed")),
            tile(
                "dbt nodes", count_of(run.nodes), _bad(run.nodes_failed, "failed"), _bad(run.nodes_skipped, "skipped")
            ),
            tile("Refreshes", count_of(run.refreshes), _bad(run.refreshes_failed, "failed")),
            tile("Rows written", count_of(run.rows_written) or "unknown"),
            tile("Bytes written", bytes_of(run.bytes_written) or "unknown"),
            tile("Slowest", duration_of(run.slowest_seconds) or "unknown", run.slowest_operation),
        ),
    )


def _bad(count: int, word: str) -> str | None:
    return f"{count:,} {word}" if count else None


def _shows(report: RunReport) -> Html | None:
    """How old the data is that the refreshed models show."""
    lines = [h("p", shown.headline, class_="muted") for shown in report.shows]
    return h("section", lines, id="shows", aria_label="What the semantic models show") if lines else None


def _reasons(report: RunReport) -> Html | None:
    """Why the verdict is what it is; the operations that failed have a section of their own."""
    told = [reason for reason in report.verdict.reasons if reason.kind != "failed" or reason.name is None]
    if not told:
        return None
    items = [h("li", h("b", reason.verdict, ": ") if reason.verdict else "", reason.text) for reason in told]
    return h("section", h("h2", "Why"), h("ul", items), class_="notice", id="reasons")


def _notices(report: RunReport) -> Html | None:
    """What is missing from the record. Failures without a reason are shown with the failures."""
    told = [gap for gap in report.gaps if gap.gap != "failed without a reason"]
    if not told:
        return None
    items = [h("li", gap.gap, *((": ", h("b", gap.operation)) if gap.operation else ())) for gap in told[:20]]
    more = [h("li", f"and {len(told) - 20} more; dbbtrace audit lists them")] if len(told) > 20 else []
    return h("section", h("h2", "Missing from the record"), h("ul", items, more), class_="notice", id="gaps")


# -- failures -----------------------------------------------------------------------------------------------


def _failures(report: RunReport) -> Html | None:
    if not report.failures:
        return None
    made = [_failure(failure, len(report.failures) <= _FAILURES_OPEN) for failure in report.failures]
    more = made[_FAILURES_SHOWN:]
    return h(
        "section",
        h("h2", f"What failed ({len(made):,})"),
        made[:_FAILURES_SHOWN],
        h("details", h("summary", f"{len(more):,} more"), more) if more else None,
        id="failures",
    )


def _failure(failure: Failure, open_: bool) -> Html:
    operation = failure.operation
    names = [node.label for node in failure.held_up[:_HELD_UP_SHOWN]]
    more = len(failure.held_up) - len(names)
    dbt_says = operation.kind == "dbt_node"  # dbt's error types only repeat the status
    held_up = h(
        "p",
        h("b", f"Held up {len(failure.held_up)}: "),
        ", ".join(names) + (f" and {more} more" if more > 0 else ""),
        class_="held-up",
    )
    facts = [
        duration_of(operation.seconds),
        f"{moment_of(operation.started_at)[11:]} UTC" if operation.started_at else "",
    ]
    return h(
        "details",
        h(
            "summary",
            badge("Failed"),
            " ",
            h("b", operation.label, class_="name"),
            h("span", " · ".join(filter(None, facts)), class_="facts"),
        ),
        h("p", operation.error_type, class_="error-type") if operation.error_type and not dbt_says else None,
        h("pre", operation.error_message or "no reason is recorded", tabindex="0"),
        held_up if failure.held_up else None,
        open=open_,
        class_="failure",
    )


# -- the critical path --------------------------------------------------------------------------------------


def _path(report: RunReport) -> Html | None:
    if not report.path:
        return None
    worked = sum(step.seconds for step in report.path)
    waited = sum(step.waited for step in report.path)
    longest = sorted(report.path, key=lambda step: -(step.seconds + step.waited))[:_STEPS_SHOWN]
    shown_steps = [step for step in report.path if any(step is one for one in longest)]
    most = max((step.seconds for step in longest), default=0.0) or 1.0
    rest = len(report.path) - len(shown_steps)
    took = worked - sum(step.seconds for step in shown_steps)
    others = (
        f"The other {rest:,} took {duration_of(took)} together." if rest > 1 else f"The other took {duration_of(took)}."
    )
    more = h("p", others, class_="muted") if rest else None
    return h(
        "section",
        h("h2", "Critical path"),
        h(
            "p",
            f"To end sooner, shorten these {len(report.path):,} operations. They ran one after another and took "
            f"{duration_of(worked)}, with {duration_of(waited)} of waiting between them."
            if len(report.path) > 1
            else f"To end sooner, shorten this one. It took {duration_of(worked)}.",
            " The longest, in order:" if rest else None,
        ),
        path_strip(report.path),
        h("ol", [_step(step, most) for step in shown_steps], class_="path"),
        more,
        id="path",
    )


def _step(step: PathStep, most: float) -> Html:
    notes = ["selects from the previous one"] if step.needed else []
    if step.waited >= 0.05:
        notes.append(f"waited {duration_of(step.waited)}")
    took = duration_of(step.seconds)
    return h(
        "li",
        h("b", step.operation.label, class_="name"),
        h("span", took, class_="num"),
        h("meter", took, value=f"{step.seconds:.3f}", min=0, max=f"{most:.3f}", aria_label=f"took {took}"),
        h("span", ", ".join(notes), class_="waited"),
    )


# -- the waterfall ------------------------------------------------------------------------------------------


def _waterfall(report: RunReport) -> Html:
    """The frame of the waterfall, which ``run.js`` fills. Without scripts, the most important facts are above it."""
    again = sum(operation.superseded for operation in report.operations)
    counts = f"{len(report.operations) - again:,}" + (f", and {again:,} done again later" if again else "")
    return h(
        "section",
        h("h2", f"All operations ({counts})"),
        h("noscript", h("p", "The list of all operations needs scripts, which are turned off here.", class_="notice")),
        h("div", class_="tools", id="tools", hidden=True),
        h("div", id="minimap", hidden=True),
        h("p", id="count", role="status", aria_live="polite"),
        h("div", id="operations", tabindex="-1"),
        h("aside", id="detail", hidden=True, aria_label="The selected operation"),
        id="waterfall",
    )


def _data(report: RunReport, trace_link: str | None) -> dict[str, Any]:
    """The data for the scripts, column by column. Times are seconds since the start of the run."""
    run, found = report.run, report.operations
    begin = min((o.started_at for o in found if o.started_at), default=None)
    on_path = {id(step.operation): step for step in report.path}
    graph = RunGraph(found)
    place = {id(operation): number for number, operation in enumerate(found)}
    timings = [None if o.superseded else report.history.get((o.kind, o.operation_id)) for o in found]
    pool = _Pool()

    def text(values: Iterable[object]) -> list[str | None]:
        return [None if value is None else shown(value, lines=True) for value in values]

    def pooled(read: Callable[[Operation], str | None]) -> list[int]:
        return [pool.place(read(operation)) for operation in found]

    return {
        "run": shown(run.run_id),
        "start": begin.timestamp() if begin else None,
        "trace": trace_link,
        "workloads": ["integration", "transformation", "consumption", "reconciliation"],
        "name": text(o.label or "(no name)" for o in found),  # for sorting and searching in the scripts
        "id": text(o.operation_id for o in found),
        "workload": pooled(lambda o: o.workload),
        "kind": pooled(lambda o: o.resource_type or o.kind.replace("_", " ")),
        "status": pooled(lambda o: o.status),
        "word": pooled(lambda o: o.word),
        "begin": [_since(begin, o.started_at) for o in found],
        "end": [_since(begin, o.ended_at) for o in found],
        "seconds": [_rounded(o.seconds) for o in found],
        "rowsRead": [o.rows_read for o in found],
        "rows": [o.rows_written for o in found],
        "bytesRead": [o.bytes_read for o in found],
        "bytes": [o.bytes_written for o in found],
        "amount": [_rounded(o.amount) for o in found],
        "message": text(o.error_message for o in found),
        "errorType": pooled(lambda o: o.error_type),
        "source": pooled(lambda o: o.source_name),
        "pipeline": pooled(lambda o: o.pipeline_id),
        "pipelineRun": pooled(lambda o: o.pipeline_run_id),
        "invocation": pooled(lambda o: o.invocation_id),
        "span": text(o.span_id for o in found),
        "superseded": [int(o.superseded) for o in found],
        "earlier": [[_rounded(seconds) for seconds in t.earlier] if t else [] for t in timings],
        "median": [_rounded(t.median) if t else None for t in timings],
        "p95": [_rounded(t.p95) if t else None for t in timings],
        "change": [_rounded(t.change) if t else None for t in timings],
        "notable": [int(t is not None and t.is_notable) for t in timings],
        "attempts": {
            number: [
                shown(f"attempt {one.attempt or '?'}: {one.error_type or ''}: {one.error_message or 'no reason'}")
                for one in report.attempts[o.span_id or ""]
            ]
            for number, o in enumerate(found)
            if o.span_id in report.attempts
        },
        "path": [int(id(o) in on_path) for o in found],
        "upstream": [_places(graph.upstream(o), place) if o.depends_on else [] for o in found],
        "strings": pool.strings,
    }


class _Pool:
    """Repeated texts, each stored once. 0 means no text."""

    def __init__(self) -> None:
        self.strings: list[str | None] = [None]
        self._places: dict[str | None, int] = {None: 0}

    def place(self, value: str | None) -> int:
        if value not in self._places:
            self._places[value] = len(self.strings)
            self.strings.append(None if value is None else shown(value))
        return self._places[value]


def _places(found: Sequence[Operation], place: Mapping[int, int]) -> list[int]:
    return sorted({place[id(operation)] for operation in found})


def _since(begin: datetime | None, at: datetime | None) -> float | None:
    return round((at - begin).total_seconds(), 3) if begin and at else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
