"""Power BI as a source of facts: refreshes of semantic models.

details.py      what the service, or sempy, says of one refresh
spans.py        that → finished spans
imported.py     ``import_refreshes``: refreshes that others started
"""
