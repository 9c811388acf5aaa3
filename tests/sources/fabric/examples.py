"""A Copy activity as the service reports it: one that succeeded, one that failed."""

from __future__ import annotations

from typing import Any

RUN = "5b1c6e0a-9f0e-4a55-8f3c-0d1e2f3a4b5c"
ACTIVITY = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
STARTED = "2025-11-20T07:00:05.1234567Z"
MESSAGE = "ErrorCode=SqlFailedToConnect,'Type=HybridDeliveryException,Message=Cannot connect to 'mds01'.'"


def succeeded() -> dict[str, Any]:
    """The output of a Copy that succeeded."""
    return {
        "dataRead": 2_048_000,
        "dataWritten": 512_000,
        "filesWritten": 1,
        "sourcePeakConnections": 1,
        "rowsRead": 1_200,
        "rowsCopied": 1_200,
        "copyDuration": 12,
        "throughput": 170.667,
        "errors": [],
        "usedDataIntegrationUnits": 4,
        "usedParallelCopies": 1,
        "executionDetails": [
            {
                "source": {"type": "SqlServer"},
                "sink": {"type": "Lakehouse"},
                "status": "Succeeded",
                "start": STARTED,
                "duration": 12,
                "detailedDurations": {"queuingDuration": 4, "timeToFirstByte": 1, "transferDuration": 6},
            }
        ],
    }


def failed() -> dict[str, Any]:
    """The output of a Copy that failed: none of the row, byte and throughput keys."""
    return {
        "copyDuration": 3,
        "errors": [{"Code": 11000, "Message": MESSAGE, "EventType": 0, "Category": 5, "Data": {}}],
        "usedDataIntegrationUnits": 4,
        "executionDetails": [
            {"source": {"type": "SqlServer"}, "sink": {"type": "Lakehouse"}, "status": "Failed", "start": STARTED,
             "duration": 3, "detailedDurations": {"queuingDuration": 3}},
        ],
    }  # fmt: skip


def whole(output: Any, status: str = "Succeeded", **more: Any) -> dict[str, Any]:
    """The activity around an output."""
    error = {"errorCode": "2200", "message": MESSAGE, "failureType": "UserError", "target": "integrate_source_table"}
    none = {"errorCode": "", "message": "", "failureType": "", "target": "integrate_source_table"}
    return {
        "activityName": "integrate_source_table",
        "activityType": "Copy",
        "activityRunId": ACTIVITY,
        "status": status,
        "activityRunStart": "2025-11-20T07:00:01.0000000Z",
        "activityRunEnd": "2025-11-20T07:00:18.5000000Z",
        "durationInMs": 17_500,
        "output": output,
        "error": none if status == "Succeeded" else error,
        "retryAttempt": None,
        **more,
    }
