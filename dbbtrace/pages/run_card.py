"""A run as a notebook shows it: its id and product, where its rows go, the verdict so far, and where to look further.

The warehouse may be asleep: the verdict is waited for a few seconds only. Nothing here raises.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dbbtrace.model.masking import masked_address
from dbbtrace.tracing import runtime

if TYPE_CHECKING:
    from dbbtrace.answers.reasons import Verdict

__all__ = ["card", "facts"]

_PATIENCE = 3.0
"""Seconds that the verdict is waited for."""
_REASONS = 5


def facts(run_id: str, trace_id: str, data_product: str | None, *, by_hand: bool) -> list[tuple[str, str]]:
    """What is said of the run, as names and texts."""
    if not run_id:
        return [("run", "not started")]
    settings = runtime.current_settings()
    where = masked_address(settings.warehouse) if settings.warehouse else "no warehouse yet: they wait in the journal"
    verdict, reasons = _verdict(run_id)
    said = [
        ("run", f"{run_id} (by hand)" if by_hand else run_id),
        ("data product", data_product or "none"),
        ("rows go to", where),
        ("verdict so far", verdict),
        *(("", reason) for reason in reasons),
    ]
    if settings.jaeger_url:
        said.append(("trace", f"{settings.jaeger_url.rstrip('/')}/trace/{trace_id}"))
    said.append(("look further", "run.report()"))
    return said


def card(said: Sequence[tuple[str, str]]) -> str:
    """The same as HTML."""
    rows = "".join(
        f"<tr><th style='text-align: left'>{html.escape(name)}</th><td>{_cell(text)}</td></tr>" for name, text in said
    )
    return f"<table>{rows}</table>"


def _cell(text: str) -> str:
    shown = html.escape(text)
    is_link = text.startswith(("http://", "https://"))
    return f'<a href="{shown}" target="_blank" rel="noopener">{shown}</a>' if is_link else shown


def _verdict(run_id: str) -> tuple[str, list[str]]:
    """The verdict's word and its first reasons; why there is none where the warehouse does not say."""
    from dbbtrace.operate.verdict import verdict

    found: list[Verdict] = []
    problem: list[str] = []

    def ask() -> None:
        try:
            found.append(verdict(run_id))
        except Exception as error:
            problem.append(str(error))

    asking = threading.Thread(target=ask, name="dbbtrace verdict", daemon=True)
    asking.start()
    asking.join(_PATIENCE)
    if found:
        return found[0].word, [reason.text for reason in found[0].reasons[:_REASONS]]
    return "not known", problem or [f"the warehouse has not answered within {_PATIENCE:g} s"]
