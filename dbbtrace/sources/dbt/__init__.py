"""dbt's artifacts → finished spans: ``record_dbt`` reads run_results.json (or sources.json) of dbt 1.5 and newer.

``record`` is the front door, ``artifacts`` reads the files, ``terms`` their values, ``causes`` finds out why a node was
skipped, ``build`` makes the spans. Runs no dbt and needs none installed.
"""

from dbbtrace.sources.dbt.record import DbtInvocation, record_dbt

__all__ = ["DbtInvocation", "record_dbt"]
