"""The platform's parameters among a notebook's variables: spelt as each pipeline likes, found by name."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from dbbtrace.diagnostics import complain
from dbbtrace.job.values import shown

__all__ = ["pick"]

_NAMES = {
    "run_id": ("orchestrationrunid",),
    "data_product": ("dataproduct",),
    "environment": ("environment", "dbbenvironment"),
    "workspace_id": ("workspaceid",),
    "pipeline_id": ("pipelineid",),
    "pipeline_run_id": ("pipelinerunid",),
}
"""Field of the run → parameter names, in lower case without underscores, the first that is there wins."""

_OF_A_STAGE = {
    "pipeline_id": ("integrationpipelineid", "transformationpipelineid", "dataproductrefreshpipelineid"),
    "pipeline_run_id": (
        "integrationpipelinesourcerunid",
        "transformationpipelinerunid",
        "dataproductrefreshpipelinerunid",
    ),
}
"""Names as the tables' columns have them: one of them may be used for the field, but not if there are several."""


def pick(parameters: object, *, others: bool = True) -> dict[str, str]:
    """Fields of a run from parameters: ``{"run_id": ..., "data_product": ...}``; case and underscores are ignored.

    Args:
        others: further names are a matter of course, as among ``globals()``; otherwise one that looks like a slip of
            the pen is said.

    A notebook holds its own default beside what the pipeline passed under another spelling: empty values are
    ignored, and of two that differ the one defined last is used, with a warning.
    """
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping):
        complain(f"parameters = {shown(parameters)}: write begin_run(globals()), or name the run id")
        return {}
    found: dict[str, dict[str, str]] = {}
    for name, value in list(parameters.items()):
        if name.startswith("_") or not isinstance(value, (str, UUID)) or not str(value).strip():
            continue
        plain = name.replace("_", "").lower()
        found.setdefault(plain, {})[name] = str(value).strip()
    if not others:
        _say_slips(found)
    picked = {}
    for field, names in _NAMES.items():
        spellings = next((found[plain] for plain in names if plain in found), None)
        if spellings:
            picked[field] = _choose(spellings)
    for field, names in _OF_A_STAGE.items():
        stages = [found[plain] for plain in names if plain in found]
        if len(stages) == 1:
            picked.setdefault(field, _choose(stages[0]))
        elif stages and field not in picked:
            complain(
                f"parameters of several pipelines: name {field} at integration(...), transformation(...) and the like"
            )
    return picked


def _choose(spellings: Mapping[str, str]) -> str:
    *_, (name, value) = spellings.items()
    if len({other.lower() for other in spellings.values()}) > 1:
        shown = ", ".join(f"{other} = {given!r}" for other, given in spellings.items())
        complain(f"one parameter in several spellings with different values: {shown}; {name} is taken")
    return value


def _say_slips(found: Mapping[str, Mapping[str, str]]) -> None:
    """Say which names are almost those of parameters."""
    from difflib import get_close_matches

    known = [plain for names in (*_NAMES.values(), *_OF_A_STAGE.values()) for plain in names]
    for plain, spellings in found.items():
        close = get_close_matches(plain, known, n=1, cutoff=0.85) if plain not in known else []
        if close:
            complain(f"the parameter {next(iter(spellings))} is ignored: is {close[0]} meant?")
