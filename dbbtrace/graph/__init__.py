"""The graph: what selects from what, and which loaded table a dbt source reads.

    walks      Graph: names and their parents, and the walks up and down
    tables     Tables: the load that fits a dbt source
    repair     to_do: what is to be done again once some of it failed
    selection  Selection: the nodes that are to be built

Pure: no clock, no driver, no dbt. Gate, lineage, repair, what a failure held up and the critical path ask it.
"""

from __future__ import annotations

from dbbtrace.graph.repair import Made, to_do
from dbbtrace.graph.selection import Selection
from dbbtrace.graph.tables import DbtSource, Rules, Table, TableKey, Tables
from dbbtrace.graph.walks import Graph, is_test

__all__ = ["DbtSource", "Graph", "Made", "Rules", "Selection", "Table", "TableKey", "Tables", "is_test", "to_do"]
