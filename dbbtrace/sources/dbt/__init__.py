"""dbt: ``run_dbt`` runs it and records it as it goes, ``record_dbt`` reads what a dbt since 1.5 has left behind.

run.py         run_dbt; child.py: a dbt that can't be imported
live.py        one invocation while it runs; fed by events.py (dbt-core) and fusion.py
record.py      record_dbt; artifacts.py reads the files, terms.py their values
build.py       results → finished spans; nodes.py what a node's span says, identities.py who it is,
               causes.py why it was skipped
arguments.py   what dbt's command line, environment and project file say
"""

from dbbtrace.sources.dbt.record import DbtInvocation, record_dbt
from dbbtrace.sources.dbt.run import DbtRun, run_dbt

__all__ = ["DbtInvocation", "DbtRun", "record_dbt", "run_dbt"]
