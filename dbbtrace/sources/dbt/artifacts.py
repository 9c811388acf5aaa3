"""Reads the results that dbt wrote: only the fields that rows and spans hold, whatever else is in the file.

Unknown keys are ignored, missing ones are None, and a value of the wrong kind costs only itself. ``args.vars``,
``args.invocation_command`` and ``metadata.env`` can hold passwords: no field here takes them in, but for the one
variable that dbbtrace sets itself, and no message quotes what a file holds. Most of a file is never made into
objects, which takes a fifth of the time of doing so, and hardly more memory than the file; for that msgspec is
needed, which is imported only when an artifact is read.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from dbbtrace.diagnostics import log
from dbbtrace.errors import UsageError

__all__ = ["Metadata", "NodeResult", "Results", "parse", "read_results", "results_file"]

OLDEST, NEWEST = 4, 6
"""Schema versions of run_results.json that are known: dbt 1.5 writes 4, dbt 1.8 and newer 6."""

INVOCATION_VARIABLE = "DBBTRACE_SPAN"
"""In the environment DBT_ENV_CUSTOM_ENV_DBBTRACE_SPAN; dbt writes such variables into its artifacts."""

_SCHEMA = re.compile(r"/dbt/([a-z-]+)/v(\d+)\.json$")
_VERSION = re.compile(r"(\d+)\.(\d+)")
_KINDS = ("run-results", "sources")

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Seconds = Annotated[float, Meta(ge=0, lt=1e9)]
UniqueId = Annotated[str, Meta(min_length=1)]


class Environment(Struct, gc=False):
    """Of the environment that dbt was given, only what dbbtrace put there."""

    span: str | None = field(default=None, name=INVOCATION_VARIABLE)
    """Span id of the invocation, where dbbtrace ran dbt as a child."""


class Metadata(Struct, gc=False):
    """Who wrote the artifact, and when."""

    dbt_schema_version: str | None = None
    dbt_version: str | None = None
    generated_at: str | None = None
    invocation_id: str | None = None
    invocation_started_at: str | None = None
    env: Environment | None = None
    joined_to: str | None = None
    """Span that dbt was told to hang on; in no artifact, but in Fusion's telemetry."""

    @property
    def artifact(self) -> tuple[str, int] | None:
        """Kind and version of the artifact, e.g. ("run-results", 6)."""
        match = _SCHEMA.search(self.dbt_schema_version or "")
        return (match[1], int(match[2])) if match else None

    @property
    def version(self) -> tuple[int, int] | None:
        """Version of dbt, e.g. (1, 11)."""
        match = _VERSION.match(self.dbt_version or "")
        return (int(match[1]), int(match[2])) if match else None


class Arguments(Struct, gc=False):
    """What dbt was asked to do; of the arguments these alone are read."""

    which: str | None = None
    select: tuple[str, ...] | str | None = None
    selector: str | None = None
    exclude: tuple[str, ...] | str | None = None


class Timing(Struct, gc=False):
    """One stage of a node."""

    name: str | None = None
    started_at: str | None = None
    completed_at: str | None = None


class AdapterResponse(Struct, gc=False):
    """What the database said."""

    message: str | None = field(default=None, name="_message")
    rows_affected: Any = None
    """A count, or -1 where it is not known; some adapters write it as text."""


class Threshold(Struct, gc=False):
    """How old a source may be."""

    count: Count | None = None
    period: str | None = None


class Criteria(Struct, gc=False):
    """From when on a source is too old."""

    warn_after: Threshold | None = None
    error_after: Threshold | None = None


class NodeResult(Struct, gc=False):
    """One node of run_results.json, or one source of sources.json."""

    unique_id: UniqueId
    status: str | None = None
    timing: list[Timing] | None = None
    thread_id: str | None = None
    execution_time: Seconds | None = None
    adapter_response: AdapterResponse | None = None
    message: str | None = None
    failures: Count | None = None
    compiled: bool | None = None
    relation_name: str | None = None
    # sources.json only
    error: str | None = None
    snapshotted_at: str | None = None
    max_loaded_at: str | None = None
    max_loaded_at_time_ago_in_s: float | None = None
    criteria: Criteria | None = None


class Results(Struct, gc=False):
    """run_results.json or sources.json."""

    metadata: Metadata | None = None
    args: Arguments | None = None
    elapsed_time: Seconds | None = None
    results: list[NodeResult | None] | None = None

    @property
    def nodes(self) -> list[NodeResult]:
        """The results that could be read, in dbt's order: that in which they ended."""
        return [node for node in self.results or () if node is not None]

    @property
    def about(self) -> Metadata:
        """The metadata, empty where the file has none."""
        return self.metadata or Metadata()

    @property
    def freshness(self) -> bool:
        """Whether this is sources.json."""
        return self.about.artifact is not None and self.about.artifact[0] == "sources"


Model = TypeVar("Model", bound=Struct)


def results_file(path: Path) -> Path:
    """The artifact that a path means: the file itself, or run_results.json of a target folder."""
    return path / "run_results.json" if path.is_dir() else path


def read_results(file: Path) -> Results:
    """The results in the file.

    Raises:
        UsageError: there are no results; the message names the file, and what to do.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise UsageError(
            f"there is no {file}: name dbt's target folder or its run_results.json; dbt writes none after a parse "
            "error, a bad target, an unreachable database, or with --no-write-json"
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} can't be read: {getattr(error, 'strerror', None) or error}") from None
    results = parse(Results, data, file, "run dbt again, or name another file")
    _check_schema(results, file)
    assert results.results is not None
    if unreadable := len(results.results) - len(results.nodes):
        log.warning("%s: %s of %s results have no unique_id and are left out", file, unreadable, len(results.results))
    return results


def parse(model: type[Model], data: bytes, file: Path, advice: str) -> Model:
    """The model in the bytes.

    Raises:
        UsageError: there is none; the message never quotes the bytes.
    """
    try:
        return msgspec.json.decode(data, type=model)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass  # something in it is odd; or Python's reader takes it: UTF-16, a byte order mark, NaN, half a character
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        why = "is empty" if not data.strip() else f"is no JSON, or was cut off: {error}"
        raise UsageError(f"{file} {why}; {advice}") from None
    from dbbtrace.sources.dbt import lenient

    found = lenient.taken(model, document)
    if found is None:
        raise UsageError(f"{file} is not an artifact of dbt; {advice}")
    return found


def _check_schema(results: Results, file: Path) -> None:
    about, schema = results.about, results.about.artifact
    if schema is None:
        raise UsageError(f"{file} is not an artifact of dbt: it has no dbt_schema_version; name dbt's run_results.json")
    kind, version = schema
    if kind not in _KINDS:
        raise UsageError(f"{file} holds dbt's {kind}, not its results: name the run_results.json beside it")
    if results.results is None:
        raise UsageError(f"{file} holds no list of results; run dbt again, or name another file")
    if kind != "run-results":
        return
    if version < OLDEST:
        raise UsageError(
            f"{file} is of schema v{version}: dbbtrace reads what dbt 1.5 and newer write, v{OLDEST} on; upgrade dbt"
        )
    if version > NEWEST:
        log.warning(
            "%s is of schema v%s; dbbtrace knows up to v%s and records what it understands: upgrade dbbtrace",
            file, version, NEWEST,
        )  # fmt: skip
    elif about.version is not None and about.version < (1, 5):
        log.warning(
            "%s was written by dbt %s; dbbtrace is made for 1.5 and newer: upgrade dbt", file, about.dbt_version
        )
