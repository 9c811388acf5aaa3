"""Power BI: refreshes of semantic models.

    details.py      what the service, or sempy, says of one refresh
    spans.py        that → finished spans
    imported.py     ``import_refreshes``: refreshes that others started

    api.py          what is asked of the service
    request.py      what a refresh that is started asks for
    starting.py     start one, and know which one it is
    following.py    follow it to its end
    refresh.py      ``refresh_model``: all of that, recorded
    resolve.py      what became of a refresh whose job is gone

A refresh is its request id: whoever reports it, it is one row.
"""
