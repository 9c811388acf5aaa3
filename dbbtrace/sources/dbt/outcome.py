"""How an invocation of dbt ended: what the job is told, and what is recorded of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbtrace.diagnostics import guard, log
from dbbtrace.errors import DbtError, UsageError
from dbbtrace.job.values import message_of
from dbbtrace.sources.dbt.record import DbtInvocation, described, find_results
from dbbtrace.sources.dbt.terms import moment, without_colours
from dbbtrace.tracing.provider import now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbbtrace.sources.dbt.arguments import Arguments
    from dbbtrace.sources.dbt.artifacts import Results
    from dbbtrace.sources.dbt.live import Watch

__all__ = ["BROKEN", "FAILED", "DbtRun", "begin_with_artifact", "conclude", "text_of"]

FAILED, BROKEN = 1, 2
"""dbt's exit codes: a node failed; dbt itself did."""


@dataclass(frozen=True)
class DbtRun:
    """How an invocation of dbt ended."""

    exit_code: int
    """As the program ``dbt`` would have exited: 0, 1 where nodes failed, 2 where dbt did, 1 again where it broke before
    it could say so."""
    message: str | None = None
    """dbt's own message, where it failed as a whole."""
    exception: BaseException | None = field(default=None, repr=False)
    """What dbt raised, where it ran in this process."""
    result: Any = field(default=None, repr=False)
    """What dbt's own ``dbtRunner`` gives, where it ran in this process."""
    invocation: DbtInvocation | None = None
    """What was recorded; None for a command that builds nothing."""
    is_told: bool = field(default=True, repr=False)
    """Whether dbt has printed why it failed: its program prints the traceback of what breaks it early."""

    @property
    def success(self) -> bool:
        """Whether dbt and all its nodes succeeded."""
        return self.exit_code == 0

    @property
    def is_misused(self) -> bool:
        """Whether dbt did not understand its arguments."""
        return type(self.exception).__name__ == "DbtUsageException"

    def check(self) -> DbtRun:
        """Itself, where dbt succeeded.

        Raises:
            DbtError: it did not.
        """
        if not self.success:
            raise DbtError(self._why()) from self.exception
        return self

    def _why(self) -> str:
        if self.message:
            return f"dbt failed: {self.message}"
        return f"dbt failed with exit code {self.exit_code}" + (f": {self.invocation}" if self.invocation else "")


def text_of(exception: BaseException | None) -> str | None:
    """dbt's message as people read it."""
    if exception is None:
        return None
    return without_colours(message_of(exception)).strip() or type(exception).__name__


def conclude(
    watch: Watch,
    arguments: Arguments,
    exit_code: int,
    error: tuple[str, str] | None,
    began: int,
    told: Sequence[str] = (),
) -> DbtInvocation | None:
    """dbt has ended: write the rows and end the spans. None where there was nothing to record.

    Args:
        error: error.type and message, where dbt failed as a whole.
        told: files that dbt said it wrote.
    """
    with guard("record what dbt did"):
        file = _results_file(arguments, told)
        results = watch.end(_artifact(watch, file, began) if arguments.builds else None, exit_code, error)
        if results is None:
            return None
        invocation = described(str(file), results, moment(results.about.generated_at) or now())
        log.info("recorded %s", invocation)
        return invocation
    return None


def _results_file(arguments: Arguments, told: Sequence[str]) -> Path:
    """The file of results: as dbt says, otherwise as its arguments do."""
    file = arguments.sources_file if arguments.command == "source freshness" else arguments.target / "run_results.json"
    of_dbt = [path for path in told if Path(path).name == file.name]
    return arguments.project / of_dbt[-1] if of_dbt else file


def begin_with_artifact(watch: Watch, arguments: Arguments, began: int, span: str) -> None:
    """Let the watch begin by what dbt has written, where it could not be watched."""
    with suppress(UsageError):
        about = find_results(_results_file(arguments, ()), began).results.about
        if about.invocation_id:
            watch.begin(about.invocation_id, about.dbt_version or "", span=span)


def _artifact(watch: Watch, file: Path, began: int) -> Results | None:
    """What this invocation wrote; None where it wrote nothing, whatever an earlier one left."""
    if watch.invocation_id is None:
        return None
    try:
        results = find_results(file, began).results
    except UsageError as reason:
        log.info("%s", reason)
        return None
    found = results.about.invocation_id
    if found is not None and found.lower() != watch.invocation_id.lower():
        log.info("%s is of another dbt invocation (%s): it is ignored", file, found)
        return None
    return results
