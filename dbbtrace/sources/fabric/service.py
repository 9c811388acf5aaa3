"""What is asked of Fabric: three questions, answered by its API (``http``) or by saved responses (``saved``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from dbbtrace.access.http import ForbiddenError, GoneError

__all__ = ["ForbiddenError", "GoneError", "Json", "Service"]

Json = Mapping[str, Any]


class Service(Protocol):
    """Each may raise ``ForbiddenError``, ``GoneError``, or another ``DbbtraceError``."""

    def activity_runs(self, workspace: str, run_id: str) -> Sequence[Json]:
        """The activity runs of a pipeline run, in any order; one may come twice."""

    def job(self, workspace: str, item: str, run_id: str) -> Json:
        """The job instance of a pipeline run."""

    def pipelines(self, workspace: str) -> Mapping[str, str]:
        """Name → id of the workspace's pipelines."""

    def jobs(self, workspace: str, item: str) -> Sequence[Json]:
        """The newest job instances of an item."""
