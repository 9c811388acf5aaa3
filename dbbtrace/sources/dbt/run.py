"""``run_dbt``: run dbt as part of the run, and record what it does while it does it.

dbt runs in this process where it can be imported, otherwise (another environment, Fusion) as a child: see ``child``.
Its output, its exit code and its exceptions are its own; whatever goes wrong in dbbtrace, dbt is run.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbtrace.diagnostics import guard, log
from dbbtrace.errors import UsageError
from dbbtrace.job.values import error_type_of
from dbbtrace.sources.dbt.arguments import Arguments
from dbbtrace.sources.dbt.outcome import BROKEN, FAILED, DbtRun, conclude, text_of
from dbbtrace.tracing.provider import now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dbbtrace.sources.dbt.live import Watch
    from dbbtrace.sources.dbt.manifest import ManifestNode

__all__ = ["DbtRun", "run_and_record", "run_dbt", "run_plainly"]


def run_dbt(
    args: Sequence[str] | str,
    *,
    executable: str | os.PathLike[str] | None = None,
    check: bool = False,
    gate: bool = False,
    select: str | None = None,
    run_id: object = None,
    data_product: str | None = None,
    environment: str | None = None,
    workspace_id: object = None,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
) -> DbtRun:
    """Run dbt and record it as it goes: a span for the invocation and for each node, rows once dbt has ended.

    Args:
        args: of dbt, without the program: ``["build", "--select", "+tag:Finance"]``, or one line as in a shell.
        executable: the ``dbt`` of another environment, or Fusion; default: dbt of this environment, in this process,
            and where there is none, the ``dbt`` on the PATH.
        check: raise DbtError unless dbt and all its nodes succeeded; what happened is recorded before.
        gate: leave out what is made of tables that did not arrive in the run: see ``dbbtrace.gate``. What is left out
            has its rows as skipped. Raises GateClosed where dbt is not to be run at all.
        select: what was built (build_models); default that of the enclosing ``transformation``, else dbt's own
            selection.
        run_id, data_product, environment, workspace_id: where no run is open; see ``join_run``.
        pipeline_id, pipeline_run_id: instead of those of the enclosing ``transformation``.

    Ctrl-C goes on as KeyboardInterrupt once dbt has stopped, and other signals that end a child end this process.
    """
    options = {
        "data_product": data_product,
        "environment": environment,
        "workspace_id": workspace_id,
        "pipeline_id": pipeline_id,
        "pipeline_run_id": pipeline_run_id,
        "select": select,
    }
    ended, heard = run_and_record(_words(args), executable, run_id, options, gate=gate)
    if isinstance(ended.exception, KeyboardInterrupt) or signal.SIGINT in heard:
        raise KeyboardInterrupt from ended.exception
    for number in heard:
        os.kill(os.getpid(), number)  # the child has had its own; now it is this process's turn
    return ended.check() if check else ended


def _words(args: Sequence[str] | str) -> Sequence[str]:
    if not isinstance(args, str):
        return args
    try:
        return shlex.split(args)
    except ValueError as error:
        raise UsageError(f"dbt's arguments {args!r} make no sense: {error}") from None


def run_and_record(
    args: Sequence[str],
    executable: str | os.PathLike[str] | None,
    run_id: object,
    options: Mapping[str, object],
    *,
    gate: bool = False,
    strict: bool = False,
) -> tuple[DbtRun, list[int]]:
    """``run_dbt`` that raises nothing but GateClosed and what else the gate raises, whatever came of it; with the
    signals that a child was handed.

    Args:
        strict: for the gate a table that nobody monitors has not arrived.
    """
    words = [os.fspath(word) if isinstance(word, os.PathLike) else str(word) for word in args]
    left_out: Mapping[str, str] = {}
    nothing_left = False
    if gate:
        from dbbtrace.operate.gate import gated

        found = gated(words, executable, run_id, strict=strict)
        words, left_out, nothing_left = found.args, found.left_out, found.nothing_left
    began = now()  # before dbt is imported, which takes a second or more
    runner = None if executable is not None else _importable()
    if runner is not None:
        ended, heard = _in_process(runner, words, run_id, options, began, left_out), list[int]()
    else:
        from dbbtrace.sources.dbt.child import run_child

        def watched(arguments: Arguments, **more: Any) -> Watch:
            return _watch(arguments, run_id, options, left_out=left_out, **more)

        ended, heard = run_child(executable, words, watched)
    if nothing_left and ended.exit_code == 0:
        ended = replace(ended, exit_code=FAILED, message="nothing of the selection may be built: see the gate")
    return ended, heard


def run_plainly(args: Sequence[str], executable: str | os.PathLike[str] | None) -> int:
    """dbt's own command line, unrecorded, for what it only says: help, version, what is wrong with the arguments."""
    if executable is None and _importable() is not None:
        from dbt.cli.main import cli

        try:
            cli.main(list(args), prog_name="dbt")
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else FAILED
        return 0
    from dbbtrace.job.shell import NOT_FOUND, run_command
    from dbbtrace.sources.dbt.child import not_found

    program = shutil.which(os.fspath(executable) if executable is not None else "dbt")
    if program is None:
        log.error("%s", not_found(executable))
        return NOT_FOUND
    return run_command([program, *args], os.environ)


def _importable() -> Any:
    """dbt's own class that runs it; None where it can't be imported."""
    try:
        from dbt.cli.main import dbtRunner
    except ImportError:
        return None
    except Exception as error:  # a protobuf that it can't live with, say
        log.warning("dbt can't be imported (%s: %s); it is run as a program", type(error).__name__, error)
        return None
    return dbtRunner


def _in_process(
    runner: Any,
    words: list[str],
    run_id: object,
    options: Mapping[str, object],
    began: int,
    left_out: Mapping[str, str],
) -> DbtRun:
    watch, events = None, None
    arguments = Arguments(words)
    with guard("watch dbt"):
        watch = _watch(arguments, run_id, options, began=began, left_out=left_out)
        from dbbtrace.sources.dbt.events import Events

        events = Events(watch)
    with _same_folder():
        outcome = runner(callbacks=[events] if events is not None else []).invoke(list(words))
    exception = outcome.exception
    ended = DbtRun(0 if outcome.success else FAILED, text_of(exception), exception, outcome.result)
    if exception is not None:
        is_told = watch is None or watch.message is not None or ended.is_misused
        ended = replace(ended, exit_code=BROKEN if is_told else FAILED, is_told=is_told)
    if watch is None:
        return ended
    error = (error_type_of(exception), ended.message or "dbt failed") if exception is not None else None
    told = events.artifacts if events is not None else ()
    return replace(ended, invocation=conclude(watch, arguments, ended.exit_code, error, began, told))


@contextmanager
def _same_folder() -> Iterator[None]:
    """dbt changes to its project's folder; the job stays where it was."""
    before = None
    with suppress(OSError):
        before = os.getcwd()
    try:
        yield
    finally:
        with suppress(OSError):
            if before is not None and os.getcwd() != before:
                os.chdir(before)


def _watch(
    arguments: Arguments,
    run_id: object,
    options: Mapping[str, object],
    *,
    began: int,
    in_process: bool = True,
    left_out: Mapping[str, str],
) -> Watch:
    from dbbtrace.job.context import scope_for
    from dbbtrace.sources.dbt.live import Watch

    target = arguments.target

    def manifest(invocation_id: str) -> Mapping[str, ManifestNode] | None:
        return _manifest(target / "manifest.json", invocation_id, began)

    scope = scope_for(run_id, workload="transformation", **options)
    return Watch(
        scope,
        command=arguments.command,
        select=arguments.selection,
        builds=arguments.builds,
        began=began,
        manifest=manifest,
        in_process=in_process,
        left_out=left_out,
        purpose=arguments.purpose,
    )


def _manifest(file: Path, invocation_id: str, began: int) -> Mapping[str, ManifestNode] | None:
    """The manifest, if this invocation has written it by now."""
    from dbbtrace.sources.dbt.manifest import read_manifest

    try:
        if file.stat().st_mtime_ns < began:
            return None
    except (OSError, ValueError):
        return None
    return read_manifest(file, invocation_id)
