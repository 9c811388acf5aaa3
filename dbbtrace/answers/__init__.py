"""Answers questions about the tables: what failed, what is slow, what is missing, what changed.

    failures    each failure with its message and the nodes that were not built because of it
    slowest     durations compared with their own history
    audit       all runs, and what is missing from their record
    diff        two runs, side by side
    gate        which tables arrived, and what may be built; ``ready``: what may be refreshed
    repair      the least work that makes a run right
    watermark   from when on the next load of a table reads
    check       can this run be trusted? ``watch`` reports runs that can't
    lineage     what a run touched, from table loads to semantic models
    asof        how old the data is that a semantic model, a dbt model or a data product shows

Each function takes an open warehouse and returns small dataclasses. The terminal prints them, and the pages draw them.
All use the SQL of ``dbbtrace.warehouse.views``, even if the views were not created.
"""

from __future__ import annotations

from dbbtrace.answers.audit import Audit, Gap, audit
from dbbtrace.answers.check import Check, Rules, check
from dbbtrace.answers.diff import Change, Diff, diff
from dbbtrace.answers.failures import Failure, failures
from dbbtrace.answers.read import operations, run_keys, run_rows
from dbbtrace.answers.reasons import Here, Reason, Verdict
from dbbtrace.answers.rows import Operation, Run, RunKey
from dbbtrace.answers.slowest import Timing, slowest
from dbbtrace.answers.terms import Terms, Tolerance
from dbbtrace.answers.verdict import runs, verdict_of, verdicts
from dbbtrace.answers.watch import Alert, alerts

__all__ = [
    "Alert",
    "Audit",
    "Change",
    "Check",
    "Diff",
    "Failure",
    "Gap",
    "Here",
    "Operation",
    "Reason",
    "Rules",
    "Run",
    "RunKey",
    "Terms",
    "Timing",
    "Tolerance",
    "Verdict",
    "alerts",
    "audit",
    "check",
    "diff",
    "failures",
    "operations",
    "run_keys",
    "run_rows",
    "runs",
    "slowest",
    "verdict_of",
    "verdicts",
]
