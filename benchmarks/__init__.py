"""What dbbtrace costs, each path against what a user would have without it, measured side by side in one run.

``make bench``, ``make bench-quick``; docs/performance.md tells how to read the table. A benchmark decides nothing:
what can regress unseen is counted by tests/counting instead.
"""
