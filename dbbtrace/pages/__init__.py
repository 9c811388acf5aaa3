"""Pages: one run or many as a self-contained HTML file that loads nothing from elsewhere, or a folder of such pages.

    templates.py  fills templates/*.html: text is escaped, and a page loads only its own files
    run.py        the page of one run: waterfall, graph, critical path, failures, history
    run_data.py   what its scripts are given; graph_data.py: for the graph
    overview.py   the page of many runs, and of one product's
    operation.py  the page of one operation over all runs
    site.py       all of these as a folder of linked pages, which folder.py writes; history.py compares its runs
    charts.py     where the marks of small charts lie
    assets/       style and scripts

Everything that comes from a run is shown as text: Jinja2 escapes it, and the scripts use ``textContent``. The page's
content security policy also blocks any other script.
"""

from __future__ import annotations

from dbbtrace.pages.overview import overview_page
from dbbtrace.pages.run import run_page

__all__ = ["overview_page", "run_page"]
