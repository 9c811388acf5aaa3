"""dbbtrace: what happened inside every orchestration run, as one trace and three warehouse tables.

    with dbbtrace.orchestration_run(run_id, data_product="Group-FinancialStatements"):
        with dbbtrace.table_load("Customer", schema="mdm", source="MDS") as load:
            load.rows_written = copy()

The public names, nothing else. What a job may not need is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbbtrace.configure import configure, flush, shutdown
from dbbtrace.errors import (
    ConfigurationError,
    DbbtraceError,
    DbtError,
    GateClosed,
    RefreshError,
    RefusedError,
    RunFailedError,
    TransientError,
    UsageError,
)
from dbbtrace.job.api import (
    DbtNode,
    ModelRefresh,
    Step,
    TableLoad,
    Workload,
    consumption,
    dbt_node,
    integration,
    model_refresh,
    step,
    table_load,
    transformation,
)
from dbbtrace.job.process_runs import begin_run
from dbbtrace.job.runs import Run, child_environment, join_run, orchestration_run
from dbbtrace.version import __version__

if TYPE_CHECKING:
    from dbbtrace.delivery import DurableSpanProcessor
    from dbbtrace.job.records import record_load, record_refresh
    from dbbtrace.operate.close import close_run
    from dbbtrace.operate.doctor import doctor
    from dbbtrace.operate.gate import gate, ready
    from dbbtrace.operate.lineage import asof, lineage
    from dbbtrace.operate.migrate import migrate
    from dbbtrace.operate.recover import recover
    from dbbtrace.operate.repair import repair
    from dbbtrace.operate.replay import replay_run
    from dbbtrace.operate.verdict import verdict
    from dbbtrace.operate.verify import verify
    from dbbtrace.operate.watermark import watermark
    from dbbtrace.pages.notebook import query, report
    from dbbtrace.sources.dbt import DbtRun, record_dbt, run_dbt
    from dbbtrace.sources.fabric.jobs import import_jobs
    from dbbtrace.sources.fabric.record import record_copy
    from dbbtrace.sources.fabric.runs import import_run
    from dbbtrace.sources.otlp.files import import_otlp
    from dbbtrace.sources.powerbi.imported import import_refreshes
    from dbbtrace.sources.powerbi.refresh import RefreshResult, refresh_model
    from dbbtrace.warehouse import open_warehouse

__all__ = [
    "ConfigurationError",
    "DbbtraceError",
    "DbtError",
    "DbtNode",
    "DbtRun",
    "DurableSpanProcessor",
    "GateClosed",
    "ModelRefresh",
    "RefreshError",
    "RefreshResult",
    "RefusedError",
    "Run",
    "RunFailedError",
    "Step",
    "TableLoad",
    "TransientError",
    "UsageError",
    "Workload",
    "__version__",
    "asof",
    "begin_run",
    "child_environment",
    "close_run",
    "configure",
    "consumption",
    "dbt_node",
    "doctor",
    "flush",
    "gate",
    "import_jobs",
    "import_otlp",
    "import_refreshes",
    "import_run",
    "integration",
    "join_run",
    "lineage",
    "migrate",
    "model_refresh",
    "open_warehouse",
    "orchestration_run",
    "query",
    "ready",
    "record_copy",
    "record_dbt",
    "record_load",
    "record_refresh",
    "recover",
    "refresh_model",
    "repair",
    "replay_run",
    "report",
    "run_dbt",
    "shutdown",
    "step",
    "table_load",
    "transformation",
    "verdict",
    "verify",
    "watermark",
]

_ON_FIRST_USE = {
    "DbtRun": "dbbtrace.sources.dbt",
    "DurableSpanProcessor": "dbbtrace.delivery",
    "RefreshResult": "dbbtrace.sources.powerbi.refresh",
    "asof": "dbbtrace.operate.lineage",
    "close_run": "dbbtrace.operate.close",
    "doctor": "dbbtrace.operate.doctor",
    "gate": "dbbtrace.operate.gate",
    "identity": "dbbtrace.model",
    "import_jobs": "dbbtrace.sources.fabric.jobs",
    "import_otlp": "dbbtrace.sources.otlp.files",
    "import_refreshes": "dbbtrace.sources.powerbi.imported",
    "import_run": "dbbtrace.sources.fabric.runs",
    "lineage": "dbbtrace.operate.lineage",
    "migrate": "dbbtrace.operate.migrate",
    "open_warehouse": "dbbtrace.warehouse",
    "query": "dbbtrace.pages.notebook",
    "ready": "dbbtrace.operate.gate",
    "record_copy": "dbbtrace.sources.fabric.record",
    "record_dbt": "dbbtrace.sources.dbt",
    "record_load": "dbbtrace.job.records",
    "record_refresh": "dbbtrace.job.records",
    "recover": "dbbtrace.operate.recover",
    "repair": "dbbtrace.operate.repair",
    "refresh_model": "dbbtrace.sources.powerbi.refresh",
    "replay_run": "dbbtrace.operate.replay",
    "report": "dbbtrace.pages.notebook",
    "run_dbt": "dbbtrace.sources.dbt",
    "verdict": "dbbtrace.operate.verdict",
    "verify": "dbbtrace.operate.verify",
    "watermark": "dbbtrace.operate.watermark",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module 'dbbtrace' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_ON_FIRST_USE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
