"""Fabric pipelines as a source of facts: Copy activities, whole pipeline runs, job events.

    fields.py       a JSON object, read by names in any spelling
    copies.py       a Copy activity's output → what its row says
    spans.py        Copies → finished spans
    record.py       ``record_copy``

What a service has already done becomes finished spans. Nothing here runs or changes anything in Fabric.
"""
