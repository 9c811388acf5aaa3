"""Measures what dbbtrace costs: compares every path with a baseline without dbbtrace, in the same run.

Run ``make bench`` or ``make bench-quick``. docs/performance.md explains the table. No test depends on a benchmark.
tests/counting counts costs instead, to catch regressions.
"""
