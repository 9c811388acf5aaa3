"""What the receiver counts of itself: requests, spans, commits. What they are named stands here alone."""

from __future__ import annotations

import threading
import time
from collections import Counter

from dbbtrace.version import __version__
from dbbtrace_exporters.receiver.exposition import Family, Histogram

__all__ = ["Metrics"]

_COMMIT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120)
"""Upper bounds; a sender waits 25 s, and a warehouse that sleeps takes up to 90 s to wake."""
_RESULTS = ("stored", "refused", "later")


class Metrics:
    """The counters of one receiver; any thread may count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.time()
        self._requests: Counter[int] = Counter({200: 0})
        self._spans: Counter[str] = Counter(dict.fromkeys(_RESULTS, 0))
        self._commits: Counter[str] = Counter({"stored": 0, "failed": 0})
        self._seconds = Histogram(_COMMIT_SECONDS)

    def answered(self, status: int, *, stored: int = 0, refused: int = 0, later: int = 0) -> None:
        """A request has its answer.

        Args:
            status: of the answer.
            stored, refused, later: what became of its spans that give rows.
        """
        with self._lock:
            self._requests[status] += 1
            self._spans["stored"] += stored
            self._spans["refused"] += refused
            self._spans["later"] += later

    def committed(self, seconds: float, stored: bool) -> None:
        """The warehouse was asked to store spans, and took so long."""
        with self._lock:
            self._commits["stored" if stored else "failed"] += 1
            self._seconds.observe(seconds)

    def families(self, waiting: int) -> list[Family]:
        """All that was counted.

        Args:
            waiting: spans that wait now to be stored.
        """
        with self._lock:
            requests = Family(
                "dbbtrace_receiver_requests_total", "counter", "Requests to /v1/traces, by the status of their answer."
            )
            for status, number in sorted(self._requests.items()):
                requests.add(number, code=str(status))
            spans = Family(
                "dbbtrace_receiver_spans_total",
                "counter",
                "Spans that give rows: stored, refused for good, or later: the sender was told to send them again.",
            )
            for result, number in self._spans.items():
                spans.add(number, result=result)
            commits = Family("dbbtrace_receiver_commits_total", "counter", "Commits into the warehouse.")
            for result, number in self._commits.items():
                commits.add(number, result=result)
            return [
                Family("dbbtrace_build_info", "gauge", "The version that runs.").add(1, version=__version__),
                Family("process_start_time_seconds", "gauge", "When the receiver started.").add(self._started),
                requests,
                spans,
                Family("dbbtrace_receiver_spans_waiting", "gauge", "Spans that wait to be stored.").add(waiting),
                commits,
                self._seconds.family("dbbtrace_receiver_commit_seconds", "How long commits took."),
            ]
