"""``dbbtrace demo --fabric``: a whole run of the platform, played by a local server, and imported while it goes on.

No pipeline of it holds Python. A Copy fails, a planned one never starts, another succeeds at its second attempt, and
the service refreshes a model at its second.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dbbtrace.demo import NO_WAREHOUSE, DemoRun, configured, own_directory
from dbbtrace.demo.fabric_service import WORKSPACE, FabricService, load_responses
from dbbtrace.errors import ConfigurationError
from dbbtrace.model.identity import new_run_id, normalise_run_id

if TYPE_CHECKING:
    from dbbtrace.sources.fabric.runs import ImportedRun

__all__ = ["run_fabric_demo"]

_TOKEN = "demo"
_PIPELINE = "11111111-3c5d-4e6f-8a7b-1c2d3e4f5a6b"
_STEP = 20.0
"""Seconds of the run that go by each time it is looked at."""


def run_fabric_demo(
    directory: str | os.PathLike[str] = ".demo",
    *,
    run_id: str | None = None,
    warehouse: str | None = None,
    progress: Callable[[ImportedRun], None] | None = None,
    poll: float = 0.25,
) -> DemoRun:
    """Play the run and import it. Arguments as in ``run_demo``.

    Raises:
        ConfigurationError: httpx is not installed.
        UsageError: the directory holds other files.
    """
    if find_spec("httpx") is None:
        raise ConfigurationError('the demo needs the package httpx: pip install "dbbtrace[demo]"')
    import dbbtrace
    from dbbtrace.sources.fabric.runs import Importer
    from dbbtrace.tracing import runtime

    directory = own_directory(Path(directory).absolute())
    run_id = normalise_run_id(run_id) or new_run_id()
    documents = load_responses(run_id=run_id, ends_at=datetime.now(timezone.utc))
    with FabricService(documents, step=_STEP, page_size=10, token=_TOKEN) as service:
        service.faults += [(429, {"Retry-After": "0"}), (503, {"Retry-After": "0"})]
        url, own = configured(directory, warehouse, fabric_url=service.url, fabric_token=_TOKEN)
        importer = Importer(run_id, workspace_id=WORKSPACE, pipeline_id=_PIPELINE, environment="TST")
        done = importer.follow(poll, progress)
        stored = dbbtrace.flush(60) if url != NO_WAREHOUSE else runtime.current().delivery.force_flush(60_000)
    dbbtrace.shutdown()
    return DemoRun(run_id, done.status == "Succeeded", stored, url, own, directory)
