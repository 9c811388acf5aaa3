"""Pages: one run, or many, as one self-contained HTML file that loads nothing.

    html.py       HTML that escapes by itself, and the shell of a page
    charts.py     small charts as SVG
    run.py        the page of one run: waterfall, critical path, failures, history
    overview.py   the page of many: by day, by product, worst offenders
    assets/       style and scripts

Whatever comes from a run becomes text: here by ``h``, in the scripts by ``textContent``; and the page's own policy
lets no other script run, should both fail.
"""

from __future__ import annotations

from dbbtrace.pages.overview import overview_page
from dbbtrace.pages.run import run_page

__all__ = ["overview_page", "run_page"]
