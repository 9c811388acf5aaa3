"""A job that only reports what other tools have done: python examples/report_only.py"""

from datetime import datetime, timedelta, timezone
from uuid import uuid4

import dbbtrace

ended = datetime.now(timezone.utc)
started = ended - timedelta(seconds=42)

with dbbtrace.join_run(uuid4(), data_product="Shop", environment="TST"):
    dbbtrace.record_load(
        "Customer",
        schema="shop",
        source="CRM",
        source_type="SQL",
        load_type="INCREMENTAL",
        started_at=started,
        ended_at=ended,
        rows_read=10,
        rows_written=10,
        identity="c1b0a0de-activity-run-id",  # recorded again under this identity, it is still one row
    )
    dbbtrace.record_refresh(
        "5f8a1f0e-7c7e-4a53-9a0d-6f1f9a7d1c11",
        name="Shop",
        status="Failed",
        started_at=started,
        ended_at=ended,
        error_type="ModelRefresh_ShortMessage_ProcessingError",
        error_message="The column 'Total' does not exist.",
    )
