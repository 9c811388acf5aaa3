"""What a refresh of a semantic model says about itself. How Power BI's answers are read is in ``sources.powerbi``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Link

from dbbtrace.diagnostics import complain, guard
from dbbtrace.errors import UsageError
from dbbtrace.job.lineage import lineage_of
from dbbtrace.job.operations import UNREADABLE, Operation
from dbbtrace.job.parts import record_expected
from dbbtrace.job.scope import Scope
from dbbtrace.job.values import Text
from dbbtrace.model import attributes as key
from dbbtrace.model import identity
from dbbtrace.model.statuses import FAILED, REFRESHES, SKIPPED, SUCCEEDED, is_running, meaning
from dbbtrace.model.times import iso_utc
from dbbtrace.tracing.provider import now

if TYPE_CHECKING:
    from dbbtrace.sources.powerbi.details import Details
    from dbbtrace.sources.powerbi.spans import Seen

__all__ = ["ModelRefresh", "refresh_failed"]


def refresh_failed(word: str) -> bool:
    """Whether a refresh that ended with this word did not refresh the model: it failed, or was skipped."""
    return meaning(word, REFRESHES) in (FAILED, SKIPPED)


class ModelRefresh(Operation):
    """One refresh of a semantic model: one row of monitoring_semantic_model_refresh, once it has ended.

    ``status`` is the service's own word; without one, leaving the block means Completed. A refresh that still runs
    at the end of the block (Unknown, InProgress) gives no row: record it when it has ended.
    """

    operation = key.OPERATION_REFRESH
    workload = "consumption"

    status = Text(key.STATUS, "The service's own word: Completed, Failed, Cancelled, Disabled; set at the end if not.")
    request_id = Text(key.REFRESH_REQUEST_ID, "Request id that the service gave: the identity of the refresh.")
    name = Text(key.MODEL_NAME, "Name of the model.")
    refresh_type = Text(key.REFRESH_TYPE, "Full, Automatic, DataOnly, ...")

    _reads: tuple[str, ...] = ()
    """dbt models that it reads."""
    _left: bool = False
    """The service works on, and nobody here follows it any more."""

    def from_details(self, details: object) -> None:
        """Take status, times, error and request id from what the service returned of the refresh.

        Attempts, tables and partitions become child spans. One that still runs is taken too: it gives no row before
        it has ended. Details that make no sense are left out with a warning that names the field. If none follow that
        do, and the job sets no status, the refresh is Failed.

        Args:
            details: what sempy or Power BI's API gave: execution details, or the history (a list, a frame), of which
                the refresh with this request id counts. An object or its JSON text.
        """
        from dbbtrace.sources.powerbi.details import details_of

        with guard("read what Power BI says of a refresh"):
            try:
                found = details_of(details, self._values.get(key.REFRESH_REQUEST_ID), now=now())
            except UsageError as error:
                self.__dict__["_unread"] = str(error)
                complain(str(error))
                return
            self.__dict__["_unread"] = None
            self._take_details(found)

    def leave_running(self) -> None:
        """Leave the refresh to the service, which works on: the next process that reads the journal asks what became
        of it, by its request id. Ending the block then ends nothing here, and writes no row."""
        self.save()
        self._left = True

    def _take_details(self, found: Details, seen: Seen | None = None) -> None:
        from dbbtrace.job.finished import emit
        from dbbtrace.sources.powerbi.spans import inner_spans

        self._set(key.STATUS, found.status)
        if found.request is not None:
            self._set(key.REFRESH_REQUEST_ID, found.request)
        if found.refresh_type is not None:
            self._set(key.REFRESH_TYPE, found.refresh_type)
        if found.start is None or found.end is None:
            return
        self._set(key.STARTED_AT, iso_utc(found.start))
        self._set(key.ENDED_AT, iso_utc(found.end))
        if found.error is not None:
            self.fail(found.error[1], error_type=found.error[0])
        if self._place is not None and self._span is not None and self._is_running():
            context, task = self._span.get_span_context(), str(self._values[key.CICD_TASK_NAME])
            known_by = self._values.get(key.REFRESH_REQUEST_ID) or f"{context.span_id:016x}"
            emit(list(inner_spans(self._place.scope, found, task, identity=known_by, parent=context, seen=seen)))

    def _forget(self) -> None:
        super()._forget()
        self._left = False

    def _finish(self, error: BaseException | None) -> bool:
        if not (self._left and self._is_running()):
            return super()._finish(error)
        self.__dict__["_open"] = False
        if self._place is not None:
            self._leave(self._place)
        return False

    def _read_by(self, scope: Scope) -> tuple[str, ...]:
        return lineage_of(scope.trace_id).read_by(self._values.get(key.MODEL_NAME), self._reads)

    def _links(self, scope: Scope) -> tuple[Link, ...]:
        return (*super()._links(scope), *lineage_of(scope.trace_id).links_to(self._read_by(scope)))

    def _attributes(self, scope: Scope) -> dict[str, Any]:
        attributes = super()._attributes(scope)
        if reads := self._read_by(scope):
            attributes[key.MODEL_READS] = reads
        if key.WORKSPACE_ID not in self._values:
            attributes.pop(key.WORKSPACE_ID, None)  # the model's own workspace, never the run's
        return attributes

    def _conclude(self) -> None:
        values = self._values
        if key.REFRESH_REQUEST_ID in values:
            values.setdefault(key.IDENTITY, identity.refresh_identity(values[key.REFRESH_REQUEST_ID]))
        word = str(values.get(key.STATUS, "")).strip()
        if self._failed is not None and self._failed[0] == key.INTERRUPTED:
            values[key.STATUS] = "Unknown"  # nobody can say how it ended
            return
        if self._unread is not None and not word and not self.failed:
            self.fail(self._unread, error_type=UNREADABLE)
        if self.failed and (not word or is_running(word) or meaning(word, REFRESHES) == SUCCEEDED):
            word = FAILED
        values[key.STATUS] = word = word or "Completed"
        if refresh_failed(word) and not self.failed:
            self.fail(f"the refresh ended as {word}", error_type=word)
        elif is_running(word):
            complain(f"{self._name} is {word}, still running: it gives no row now; record it when it has ended")

    def _after(self) -> None:
        if not is_running(str(self._values.get(key.STATUS, ""))):
            super()._after()
        elif self._place is not None:  # it gives no row before it has ended, and the run is Incomplete without
            from dbbtrace.job.expected import Expected

            model = Expected(str(self._values[key.CICD_TASK_NAME]), self.workload)
            record_expected(self._place.scope, [model], "model_refresh", now())
