"""What the words mean that the three tables hold as status: dbt's, Fabric's, Power BI's and our own."""

from __future__ import annotations

__all__ = ["STATUSES"]

STATUSES = {
    "succeeded": "Succeeded", "success": "Succeeded", "completed": "Succeeded", "pass": "Succeeded",
    "no-op": "Succeeded", "reused": "Succeeded", "ok": "Succeeded",
    "failed": "Failed", "error": "Failed", "fail": "Failed", "runtime error": "Failed", "partial success": "Failed",
    "cancelled": "Failed", "canceled": "Failed",
    "skipped": "Skipped", "disabled": "Skipped",
    "warn": "Warned", "warned": "Warned",
    "unknown": "Running", "inprogress": "Running", "notstarted": "Running",
}  # fmt: skip
"""Stored word, in lower case → Succeeded, Failed, Skipped, Warned or Running."""
