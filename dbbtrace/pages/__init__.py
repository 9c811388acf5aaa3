"""Pages: one run or many as a self-contained HTML file that loads nothing from elsewhere.

    html.py       HTML that escapes text by itself, and the frame of a page
    charts.py     small charts as SVG
    run.py        the page of one run: waterfall, critical path, failures, history
    overview.py   the page of many runs: by day, by product, what fails most
    assets/       style and scripts

Everything that comes from a run is shown as text: ``h`` escapes it here, and the scripts use ``textContent``. The
page's content security policy also blocks any other script.
"""

from __future__ import annotations

from dbbtrace.pages.overview import overview_page
from dbbtrace.pages.run import run_page

__all__ = ["overview_page", "run_page"]
