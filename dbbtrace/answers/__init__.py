"""Answers to what people ask of the tables: what failed, what is slow, what is missing, what changed.

    failures    each failure with its message and what it held up downstream
    slowest     durations against their own history
    audit       the complete record of the runs, and what is missing from it
    diff        two runs, side by side
    check       may this run be trusted? and ``watch``: tell me when one may not

Each is a function of an open warehouse that returns small dataclasses; the terminal prints them, the page draws them.
All read the SQL of ``dbbtrace.warehouse.views``, whether or not the views were created.
"""

from __future__ import annotations

from dbbtrace.answers.audit import Audit, Gap, audit
from dbbtrace.answers.check import Check, Rules, check
from dbbtrace.answers.diff import Change, Diff, diff
from dbbtrace.answers.failures import Failure, failures
from dbbtrace.answers.read import operations, run_keys, run_rows, runs
from dbbtrace.answers.rows import Operation, Run, RunKey
from dbbtrace.answers.slowest import Timing, slowest
from dbbtrace.answers.watch import Alert, alerts

__all__ = [
    "Alert",
    "Audit",
    "Change",
    "Check",
    "Diff",
    "Failure",
    "Gap",
    "Operation",
    "Rules",
    "Run",
    "RunKey",
    "Timing",
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
]
