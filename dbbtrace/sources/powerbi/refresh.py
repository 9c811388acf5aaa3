"""``refresh_model``: start a refresh of a semantic model, follow it until it has ended, and record it.

The refresh that is followed is the one that was started, by its request id. Where nobody can follow it to its end
(Ctrl-C, a service that does not answer for minutes), nothing is guessed: the refresh stays open in the journal, and
the next process asks the service what became of it (see ``resolve``). Never raises because the refresh failed, unless
it is asked to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dbbtrace.access.http import GoneError, ThrottledError
from dbbtrace.diagnostics import log
from dbbtrace.errors import DbbtraceError, RefreshError
from dbbtrace.job.api import ModelRefresh, model_refresh
from dbbtrace.job.values import error_type_of
from dbbtrace.model import attributes as key
from dbbtrace.model.identity import normalise_guid
from dbbtrace.model.statuses import REFRESHES, SUCCEEDED, meaning
from dbbtrace.sources.powerbi.api import BusyError, CapacityError, Model, PowerBi, from_settings
from dbbtrace.sources.powerbi.details import CANCELLED, TIMED_OUT, Details
from dbbtrace.sources.powerbi.following import Follower
from dbbtrace.sources.powerbi.request import STANDARD, RefreshRequest
from dbbtrace.sources.powerbi.starting import Started, UnnamedError, start

__all__ = ["COMPLETED", "RUNNING", "RefreshResult", "Refresher", "refresh_model"]

COMPLETED, BUSY, THROTTLED, REFUSED = "Completed", "Busy", "Throttled", "Refused"
VANISHED, RUNNING = "Vanished", "Running"
_CAPACITIES = "Premium, Premium Per User, Embedded or Fabric capacity"
_LOOKS_AFTER_CANCEL = 30
"""How often the service is asked whether a refresh that was to be cancelled has ended."""
_PAUSE_AFTER_CANCEL = 2.0


def _nothing(_: object) -> None:
    pass


@dataclass(frozen=True)
class RefreshResult:
    """What came of a refresh."""

    outcome: str
    """Completed, Failed, Cancelled, TimedOut or Disabled, as the service says; Busy: refused, because another refresh
    of the model runs; Throttled, Refused: not started; Vanished: the service does not know it any more; Running:
    nobody could follow it to its end, and the next process asks what became of it."""
    model: str
    """Its name, or its id."""
    request_id: str | None = None
    status: str | None = None
    """The service's own word."""
    message: str | None = None
    """Why it did not complete."""
    seconds: float | None = None
    """How long it took, by the service's times."""

    @property
    def success(self) -> bool:
        """Whether the model was refreshed."""
        return self.outcome == COMPLETED

    def check(self) -> RefreshResult:
        """Itself, where the model was refreshed.

        Raises:
            RefreshError: it was not.
        """
        if not self.success:
            raise RefreshError(f"{self.model} was not refreshed: {self}")
        return self

    def __str__(self) -> str:
        return f"{self.outcome}: {self.message}" if self.message else self.outcome


def refresh_model(
    model: str,
    *,
    workspace: str,
    tables: Sequence[str] = (),
    partitions: Sequence[tuple[str, str]] = (),
    refresh_type: str = "full",
    commit_mode: str = "transactional",
    max_parallelism: int | None = None,
    retries: int | None = None,
    timeout: float | None = None,
    apply_refresh_policy: bool | None = None,
    request_id: str | None = None,
    reads: Sequence[str] = (),
    cancel_on_interrupt: bool = False,
    poll: float = 10.0,
    check: bool = False,
    progress: Callable[[Details], object] = _nothing,
    pipeline_id: object = None,
    pipeline_run_id: object = None,
) -> RefreshResult:
    """Refresh a semantic model and wait for it to end: one row of ``meta.monitoring_semantic_model_refresh``.

    Starts an enhanced refresh. On a capacity that has none, it starts a standard one if that does the same.

    Args:
        model, workspace: names or ids.
        tables, partitions: what to refresh; a partition is a pair of table and partition. Default: the whole model.
        refresh_type: full, automatic, dataOnly, calculate, clearValues or defragment.
        commit_mode: transactional or partialBatch.
        max_parallelism, retries, apply_refresh_policy: as Power BI's API defines them.
        timeout: seconds that the service gives each attempt.
        request_id: of a refresh that runs already: it is followed, and none is started.
        reads: names of dbt models that it reads; see ``model_refresh``.
        cancel_on_interrupt: cancel the refresh where Ctrl-C stops the job. Otherwise it goes on.
        poll: seconds between two questions.
        check: raise RefreshError unless the model was refreshed; what happened is recorded before.
        progress: called with what the service says, each time that it was asked.
        pipeline_id, pipeline_run_id: instead of those of the enclosing ``consumption(...)``.

    Raises:
        UsageError: an argument makes no sense.
    """
    request = RefreshRequest(
        tables, partitions, refresh_type, commit_mode, max_parallelism, retries, timeout, apply_refresh_policy
    )
    refresh = model_refresh(
        model,
        name=model,
        workspace_id=workspace,
        refresh_type=request.refresh_type,
        reads=reads,
        pipeline_id=pipeline_id,
        pipeline_run_id=pipeline_run_id,
    )
    refresher = Refresher(refresh, model, workspace, poll=poll, progress=progress)
    result = refresher.run(request, normalise_guid(request_id) if request_id else None, cancel_on_interrupt)
    return result.check() if check else result


class Refresher:
    """Starts and follows one refresh.

    Args:
        refresh: its handle.
        model, workspace: names or ids.
        api: whom to ask; default as the settings say.
    """

    def __init__(
        self,
        refresh: ModelRefresh,
        model: str,
        workspace: str,
        *,
        poll: float = 10.0,
        progress: Callable[[Details], object] = _nothing,
        api: PowerBi | None = None,
    ) -> None:
        self._refresh = refresh
        self._model, self._workspace = model, workspace
        self._poll, self._progress = poll, progress
        self._given_api = api

    def run(self, request: RefreshRequest, follow: str | None = None, cancels: bool = False) -> RefreshResult:
        """Start the refresh, or follow the one with this request id, until it has ended."""
        with self._refresh:
            try:
                api = self._given_api or from_settings()
                model = api.model(self._workspace, self._model)
                self._name(model)
                started = self._start(api, model, request) if follow is None else Started(follow, True, True)
            except DbbtraceError as error:
                return self._not_started(error)
            self._started(started)
            follower = Follower(api, model, started.request, poll=self._poll, tell=self._progress)
            return self._follow(follower, api, model, started, cancels)

    # -- starting ---------------------------------------------------------------------------------------------

    def _name(self, model: Model) -> None:
        """Say which model it is, now that the service has said it."""
        title = model.name or self._model
        named = {key.MODEL_ID: model.id, key.WORKSPACE_ID: model.workspace, key.CICD_TASK_NAME: title,
                 key.MODEL_NAME: model.name}  # fmt: skip
        for attribute, value in named.items():
            self._refresh._set(attribute, value)
        self._title = title

    _title: str | None = None

    @property
    def _who(self) -> str:
        return self._title or self._model

    def _start(self, api: PowerBi, model: Model, request: RefreshRequest) -> Started:
        try:
            return start(api, model, request.body, is_enhanced=True)
        except CapacityError as error:
            if request.needs_capacity:
                what = " and ".join(request.needs_capacity)
                raise CapacityError(f"refreshing {what} needs {_CAPACITIES}: {error}") from None
            ignored = f" It ignores {' and '.join(request.ignored_by_standard)}." if request.ignored_by_standard else ""
            log.warning(
                "an enhanced refresh needs %s, which the workspace of %s has not: a standard refresh is started.%s",
                _CAPACITIES,
                self._who,
                ignored,
            )
            return start(api, model, STANDARD, is_enhanced=False)

    def _not_started(self, error: DbbtraceError) -> RefreshResult:
        kinds = {BusyError: BUSY, ThrottledError: THROTTLED}
        outcome = next((name for kind, name in kinds.items() if isinstance(error, kind)), REFUSED)
        if isinstance(error, UnnamedError):
            return self._vanished(str(error))
        kind = outcome if outcome != REFUSED else error_type_of(error).rpartition(".")[2]
        self._refresh.fail(str(error), error_type=kind)
        return RefreshResult(outcome, self._who, message=str(error))

    def _started(self, started: Started) -> None:
        """The next process is to know it, whatever happens to this one."""
        self._refresh._set(key.REFRESH_REQUEST_ID, started.request)
        if not started.is_named:
            self._refresh._set(key.REFRESH_IDENTIFIED_BY, "history")
            log.warning(
                "the service did not name the refresh of %s; it is taken to be %s, the only one that began since",
                self._who,
                started.request,
            )
        self._refresh.save()

    # -- following --------------------------------------------------------------------------------------------

    def _follow(self, follower: Follower, api: PowerBi, model: Model, started: Started, cancels: bool) -> RefreshResult:
        try:
            return self._over(follower.until_over(), follower, started)
        except GoneError as error:
            return self._vanished(str(error), started.request)
        except DbbtraceError as error:
            self._refresh.leave_running()
            reason = f"{error}; the next process that uses the journal asks what became of it"
            return RefreshResult(RUNNING, self._who, started.request, message=reason)
        except Exception:  # of the job's own ``progress``
            self._refresh.leave_running()
            raise
        except BaseException:  # Ctrl-C, say
            self._interrupted(api, model, started, cancels)
            raise

    def _over(self, found: Details, follower: Follower, started: Started) -> RefreshResult:
        self._refresh._take_details(found._replace(request=started.request), follower.seen)
        error_type, message = found.error or ("", None)
        if meaning(found.status, REFRESHES) == SUCCEEDED:
            outcome = COMPLETED
        else:
            outcome = error_type if error_type in (CANCELLED, TIMED_OUT) else found.status
        seconds = ((found.end or 0) - (found.start or 0)) / 1e9
        return RefreshResult(outcome, self._who, started.request, found.status, message, seconds)

    def _vanished(self, reason: str, request: str | None = None) -> RefreshResult:
        """Nobody can say how it ended."""
        self._refresh.fail(reason, error_type=key.INTERRUPTED)
        return RefreshResult(VANISHED, self._who, request, "Unknown", reason)

    def _interrupted(self, api: PowerBi, model: Model, started: Started, cancels: bool) -> None:
        """The job is stopped: cancel the refresh, or leave it to the service."""
        self._refresh.leave_running()  # also if the job is stopped once more
        if cancels and not started.is_enhanced:
            log.warning("the service can't cancel the refresh %s: it is a standard one", started.request)
        elif cancels:
            try:
                api.cancel(model, started.request)
                pause = min(self._poll, _PAUSE_AFTER_CANCEL)
                follower = Follower(api, model, started.request, poll=pause, tell=self._progress)
                found = follower.until_over(_LOOKS_AFTER_CANCEL)
                self._refresh._left = False
                self._over(found, follower, started)
                self._refresh.end()
                return
            except (DbbtraceError, TimeoutError) as error:
                log.warning("the refresh %s could not be cancelled: %s", started.request, error)
        log.warning(
            "the refresh %s of %s goes on; the next process that uses the journal asks what became of it",
            started.request,
            self._who,
        )
