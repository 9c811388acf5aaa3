"""Answers in a notebook: a page that shows itself, and the rows of a query.

    dbbtrace.report("last")                          # the page of a run, in Jupyter and in Fabric
    dbbtrace.report(since="30d").save("overview.html")
    dbbtrace.query("SELECT status, COUNT(*) AS runs FROM meta.monitoring_runs GROUP BY status")

Both read the warehouse set with ``configure()`` or in the settings.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbtrace.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    import os


__all__ = ["Report", "Rows", "query", "report"]

_HEIGHT = 820
"""Height of a page in a notebook, in pixels. It scrolls inside."""
_SHOWN = 100
"""How many rows of a query a notebook shows."""


class Report:
    """A page that shows itself in a notebook. ``html`` is its text, and ``save`` writes it to a file."""

    def __init__(self, page: str) -> None:
        self.html = page
        """The whole page, one self-contained file."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to a file and return its path."""
        path = Path(path)
        path.write_text(self.html, encoding="utf-8", newline="\n")
        return path

    def show(self) -> None:
        """Show it now, anywhere in a cell: with Fabric's ``displayHTML``, or in Jupyter's way."""
        display = _from_notebook("displayHTML")
        if display is not None:
            display(self.html)
            return
        from IPython import display as ipython

        shown: Any = ipython.display
        shown(self)

    def _repr_html_(self) -> str:
        """The page in its own frame, from which it can't reach the notebook."""
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" title="dbbtrace report" width="100%" height="{_HEIGHT}"'
            ' sandbox="allow-scripts allow-popups allow-popups-to-escape-sandbox allow-modals allow-downloads"'
            ' style="border: 0"></iframe>'
        )

    def __repr__(self) -> str:
        from dbbtrace.answers.readable import bytes_of

        return f"<Report, {bytes_of(len(self.html.encode()))}: save('run.html') writes it>"


def report(
    run: str | None = None,
    *,
    since: datetime | str | None = None,
    until: datetime | str | None = None,
    data_product: str | None = None,
    environment: str | None = None,
    warehouse: str | None = None,
    jaeger_url: str | None = None,
) -> Report:
    """The page of a run, or the overview of many.

    Args:
        run: a run id, a trace id, the first characters of either, or ``last``, ``previous``, ``yesterday`` or
            ``today``; None: the overview.
        since, until: for the overview: only runs that started since then, or before; a datetime, ISO text,
            ``yesterday``, or how long ago (``30d``).
        data_product, environment: only runs of this product, in this environment.
        warehouse: where to look; default: the configured one.
        jaeger_url: Jaeger's address, for links; default: DBBTRACE_JAEGER_URL.

    Raises:
        UsageError: the run does not exist, or several match.
    """
    from dbbtrace.answers.find import find_run
    from dbbtrace.operate.lineage import naming_of
    from dbbtrace.operate.verdict import terms_of
    from dbbtrace.pages import overview_page, run_page
    from dbbtrace.settings import read
    from dbbtrace.warehouse import open_warehouse

    known = read()[0]
    jaeger_url = jaeger_url or known.jaeger_url
    terms = terms_of(known.but(warehouse=warehouse or known.warehouse))
    with open_warehouse(warehouse, create=False) as opened:
        if run is not None:
            run_id = find_run(opened, run, data_product=data_product, environment=environment, zone=known.timezone)
            return Report(run_page(opened, run_id, jaeger_url=jaeger_url, naming=naming_of(known), terms=terms))
        chosen = {
            "since": _moment("since", since, known.timezone),
            "until": _moment("until", until, known.timezone),
            "data_product": data_product,
            "environment": environment,
        }
        return Report(overview_page(opened, jaeger_url=jaeger_url, terms=terms, **chosen))  # type: ignore[arg-type]


class Rows(list[dict[str, Any]]):
    """The rows of a query, each a dictionary. A notebook shows them as a table."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        super().__init__(dict(zip(columns, row, strict=True)) for row in rows)
        self.columns = tuple(columns)

    def _repr_html_(self) -> str:
        from dbbtrace.pages.templates import render

        rows = [list(row.values()) for row in self[:_SHOWN]]
        return render("rows.html", columns=self.columns, rows=rows, more=len(self) - _SHOWN)


def query(sql: str, parameters: Sequence[Any] = (), *, into: str | None = None, warehouse: str | None = None) -> Any:
    """The rows of a SELECT: a data frame if pandas or polars is installed, otherwise ``Rows``.

    Args:
        sql: one statement in the warehouse's SQL dialect, with ``?`` for values.
        parameters: the values.
        into: ``pandas``, ``polars`` or ``rows``, to get the same type everywhere; None: the first that is installed.
        warehouse: which one to query; default: the configured one.

    Raises:
        UsageError: ``into`` is something else, or two columns have the same name, which a data frame can't hold.
        ConfigurationError: the library that ``into`` names is not installed.
    """
    from dbbtrace.warehouse import open_warehouse

    make = _maker(into)
    with open_warehouse(warehouse, create=False) as opened:
        result = opened.query(sql, parameters)
    twice = sorted({name for name in result.columns if result.columns.count(name) > 1})
    if twice:
        raise UsageError(f"several columns are named {', '.join(twice)}: give each its own name with AS")
    return make(result.columns, result.rows)


def _maker(into: str | None) -> Callable[[Sequence[str], list[tuple[Any, ...]]], Any]:
    makers: dict[str, Callable[[], Any]] = {"pandas": _pandas, "polars": _polars, "rows": lambda: Rows}
    if into is not None and into not in makers:
        raise UsageError(f"{into!r} is not a kind of frame: write pandas, polars or rows")
    for name in [into] if into else makers:
        made: Callable[[Sequence[str], list[tuple[Any, ...]]], Any] | None = makers[name]()
        if made is not None:
            return made
    raise ConfigurationError(f"{into} is not installed: pip install {into}")


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        return None

    def frame(columns: Sequence[str], rows: list[tuple[Any, ...]]) -> Any:
        made = pandas.DataFrame.from_records(rows, columns=list(columns))
        for place, name in enumerate(columns):
            values = [row[place] for row in rows]
            if _whole_with_gaps(values):  # pandas would turn them into floats, which hold only 15 digits
                made[name] = pandas.array(values, dtype="Int64")
        return made

    return frame


def _whole_with_gaps(values: Sequence[Any]) -> bool:
    """Whether these are 64-bit integers and None, with at least one of each."""
    return {type(value) for value in values} == {int, type(None)} and all(
        value is None or -(2**63) <= value < 2**63 for value in values
    )


def _polars() -> Any:
    try:
        import polars
    except ImportError:
        return None
    return lambda columns, rows: polars.DataFrame(rows, schema=list(columns), orient="row", infer_schema_length=None)


def _moment(name: str, value: datetime | str | None, zone: str) -> datetime | None:
    from dbbtrace.answers.earlier import local_zone
    from dbbtrace.answers.moments import moment_meant

    if value is None or isinstance(value, datetime):
        return value
    try:
        return moment_meant(value, local_zone(zone))
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


def _from_notebook(name: str) -> Any:
    """A function that the notebook defines as a global name."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    shell: Any = get_ipython()
    return shell.user_ns.get(name) if shell is not None else None
