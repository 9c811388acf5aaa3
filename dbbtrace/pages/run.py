"""The page of one run: its facts, failures, critical path, graph, and a waterfall of all operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dbbtrace.answers.asof import asof_refreshed
from dbbtrace.answers.audit import gaps_of, operation_gaps
from dbbtrace.answers.consumers import BY_NAME, Naming
from dbbtrace.answers.critical import PathStep, critical_path
from dbbtrace.answers.earlier import local_zone
from dbbtrace.answers.failures import Failure, failures_among
from dbbtrace.answers.graph import RunGraph
from dbbtrace.answers.lineage import before, things_of
from dbbtrace.answers.links import fabric_pages
from dbbtrace.answers.outdated import outdated
from dbbtrace.answers.platform import model_titles
from dbbtrace.answers.read import operations, parts, relations
from dbbtrace.answers.readable import duration_of
from dbbtrace.answers.reasons import Verdict
from dbbtrace.answers.rows import Operation, Part, attempts_of
from dbbtrace.answers.shown import AsOf
from dbbtrace.answers.slowest import Timing, history_of
from dbbtrace.answers.terms import Terms
from dbbtrace.answers.verdict import verdict_of
from dbbtrace.errors import UsageError
from dbbtrace.model.identity import trace_id_of
from dbbtrace.pages.charts import path_strip
from dbbtrace.pages.parts import common, jaeger_base
from dbbtrace.pages.run_data import LARGEST, RunReport, kept, run_data
from dbbtrace.pages.templates import Place, page
from dbbtrace.warehouse import Warehouse

__all__ = ["SCRIPTS", "RunLinks", "RunReport", "read_run", "render_run", "report_of", "run_page"]

SCRIPTS = ("common.js", "state.js", "grid.js", "detail.js", "vendor/dagre.min.js", "folding.js", "graph.js", "run.js")
_HELD_UP_SHOWN = 30
_STEPS_SHOWN = 12


@dataclass(frozen=True)
class RunLinks:
    """Where the page leads to in a site; paths from the site's folder."""

    product: str
    before: str | None
    """The page of the run before it."""
    after: str | None
    operations: Mapping[tuple[str, str], str]
    """Kind and operation_id → the operation's page."""


def run_page(
    warehouse: Warehouse,
    run: str,
    *,
    jaeger_url: str | None = None,
    naming: Naming = BY_NAME,
    terms: Terms | None = None,
    tags: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """The page of the run, as one HTML file.

    Args:
        warehouse: where to look.
        run: the run's id.
        jaeger_url: Jaeger's address; None: no links.
        naming: how names go together, where they don't tell by themselves.
        terms: see ``verdict_of``.
        tags: unique_id of a dbt node → its tags, to group by.

    Raises:
        ConfigurationError: Jinja2 is not installed.
        UsageError: the run does not exist, or ``jaeger_url`` is invalid.
    """
    html, _ = render_run(read_run(warehouse, run, naming, terms, tags), jaeger_url=jaeger_url)
    return html


def read_run(
    warehouse: Warehouse,
    run: str,
    naming: Naming = BY_NAME,
    terms: Terms | None = None,
    tags: Mapping[str, Sequence[str]] | None = None,
) -> RunReport:
    """Query the warehouse for the report.

    Raises:
        UsageError: the run does not exist.
    """
    said = verdict_of(warehouse, run, terms=terms)
    if said.run is None:
        raise UsageError(f"no run {run!r} in {warehouse.name}; `dbbtrace runs` lists the runs")
    found = operations(warehouse, [run])
    return report_of(
        said,
        found,
        before(warehouse, said.run, found),
        history_of(warehouse, run),
        parts(warehouse, [run], where="p.part = 'attempt'"),
        relations(warehouse, [run]),
        tags or {},
        fabric_pages(warehouse, [run]).get(run),
        asof_refreshed(warehouse, said.run, naming=naming, zone=local_zone((terms or Terms()).zone)),
        naming=naming,
        titles=model_titles(warehouse),
    )


def report_of(
    said: Verdict,
    found: list[Operation],
    earlier: Sequence[Operation],
    history: Mapping[tuple[str, str], Timing],
    attempts: Sequence[Part],
    filled: Mapping[str, str],
    tags: Mapping[str, Sequence[str]],
    fabric_page: str | None,
    shows: Sequence[AsOf] = (),
    *,
    naming: Naming = BY_NAME,
    titles: Mapping[str, str],
) -> RunReport:
    """What follows from a run's operations. Pure. ``earlier``, ``naming``, ``titles``: see ``things_of``."""
    assert said.run is not None
    graph = RunGraph(found)
    things = things_of(graph, earlier, naming=naming, titles=titles)
    return RunReport(
        said.run,
        found,
        failures_among(graph),
        critical_path(graph),
        history,
        [*gaps_of(said.run), *operation_gaps(o for o in found if not o.superseded)],
        said,
        attempts_of(attempts),
        filled,
        tags,
        fabric_page,
        graph,
        things,
        outdated(things, graph),
        shows,
    )


def render_run(
    report: RunReport,
    *,
    jaeger_url: str | None = None,
    place: Place | None = None,
    links: RunLinks | None = None,
) -> tuple[str, dict[str, Any]]:
    """The page, and the data of its scripts. Pure.

    Args:
        report: what to show.
        jaeger_url: Jaeger's address; None: no links.
        place, links: where the page lies in a site, and where it leads to; None: it is one file.

    Raises:
        UsageError: ``jaeger_url`` is invalid.
    """
    run, base = report.run, jaeger_base(jaeger_url)
    trace = f"{trace_id_of(run.run_id):032x}"
    trace_link = f"{base}/trace/{trace}" if base else None
    shown = kept(report.operations, {id(step.operation) for step in report.path}) if place else report.operations
    data = run_data(report, shown, trace_link, links.operations if links else {})
    again = sum(operation.superseded for operation in report.operations)
    html = page(
        "run.html",
        scripts=SCRIPTS,
        data=data,
        place=place,
        **common(),
        run=run,
        links=links,
        whose=" ".join(filter(None, (run.data_product or "run by hand", run.environment))),
        trace=trace,
        trace_link=trace_link,
        fabric_link=report.fabric_page,
        bad=lambda count, word: f"{count:,} {word}" if count else None,
        shows=report.shows,
        headline=_headline(report.path),
        waiting=_waiting(report.path),
        reasons=report.verdict.reasons,
        # failures without a reason are shown with the failures
        gaps=[gap for gap in report.gaps if gap.gap != "failed without a reason"],
        failures=[_failure(failure, links) for failure in report.failures],
        path=_path(report.path),
        counts=f"{len(report.operations) - again:,}" + (f", and {again:,} done again later" if again else ""),
        left_out=f"Of {len(report.operations):,} operations, {len(shown):,} are listed: what did not succeed, the"
        f" critical path, and the slowest. {LARGEST:,} is the most that a page lists."
        if len(shown) < len(report.operations)
        else None,
    )
    return html, data


def _waits(path: Sequence[PathStep]) -> tuple[float, float]:
    """Seconds of work and of waiting along the critical path."""
    return sum(step.seconds for step in path), sum(step.waited for step in path)


def _waiting(path: Sequence[PathStep]) -> str | None:
    _, waited = _waits(path)
    return f"{duration_of(waited)} of it waiting" if waited >= 1 else None


def _headline(path: Sequence[PathStep]) -> str | None:
    """Where the time went, in a sentence: the longest wait has a name."""
    worked, waited = _waits(path)
    if not path or waited < max(1.0, 0.05 * (worked + waited)):
        return None
    place, longest = max(enumerate(path), key=lambda item: item[1].waited)
    after = f"after {path[place - 1].operation.label}" if place else "at the start of the run"
    share = waited / (worked + waited)
    return (
        f"{duration_of(waited)} ({share:.0%}) of the time nothing was at work on the critical path;"
        f" the longest wait was {duration_of(longest.waited)}, {after}, before {longest.operation.label}."
    )


def _failure(failure: Failure, links: RunLinks | None) -> dict[str, Any]:
    operation = failure.operation
    names = [node.label for node in failure.held_up[:_HELD_UP_SHOWN]]
    more = len(failure.held_up) - len(names)
    at = f"{operation.started_at:%H:%M:%S} UTC" if operation.started_at else ""
    return {
        "operation": operation,
        "facts": " · ".join(filter(None, (duration_of(operation.seconds), at))),
        "error_type": operation.error_type if operation.kind != "dbt_node" else None,  # dbt's only repeat the status
        "held_up": ", ".join(names) + (f" and {more} more" if more > 0 else ""),
        "count": len(failure.held_up),
        "link": links.operations.get((operation.kind, operation.operation_id)) if links else None,
    }


def _path(path: Sequence[PathStep]) -> dict[str, Any]:
    """What the section of the critical path shows."""
    worked, waited = _waits(path)
    longest = sorted(path, key=lambda step: -(step.seconds + step.waited))[:_STEPS_SHOWN]
    chosen = [step for step in path if any(step is one for one in longest)]
    rest = len(path) - len(chosen)
    took = duration_of(worked - sum(step.seconds for step in chosen))
    said = (
        f"To end sooner, shorten these {len(path):,} operations. They ran one after another and took "
        f"{duration_of(worked)}, with {duration_of(waited)} of waiting between them."
        if len(path) > 1
        else f"To end sooner, shorten this one. It took {duration_of(worked)}."
    )
    return {
        "steps": path,
        "said": said + (" The longest, in order:" if rest else ""),
        "strip": path_strip(path) if path else None,
        "longest": chosen,
        "most": max((step.seconds for step in longest), default=0.0) or 1.0,
        "notes": _notes,
        "others": f"The other{f' {rest:,}' if rest > 1 else ''} took {took}{' together' if rest > 1 else ''}."
        if rest
        else None,
    }


def _notes(step: PathStep) -> str:
    notes = ["selects from the previous one"] if step.needed else []
    if step.waited >= 0.05:
        notes.append(f"waited {duration_of(step.waited)}")
    return ", ".join(notes)
