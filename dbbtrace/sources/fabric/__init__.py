"""Fabric pipelines as a source of facts: Copy activities, whole pipeline runs, job events.

    fields.py       a JSON object, read by names in any spelling
    copies.py       a Copy activity's output → what its row says
    spans.py        Copies → finished spans
    record.py       ``record_copy``

    rules.toml      which pipelines and activities mean what; rules.py reads it
    service.py      what is asked of Fabric; http.py asks its API, saved.py reads saved responses
    walk.py         a pipeline run and all that it invoked
    activities.py   one activity run
    loads.py        which Copies load which tables, and which were planned and never came
    refreshes.py    a refresh activity → what its row says
    build.py        a pipeline run → finished spans
    ending.py       how the run ended, and what of it could not be read
    runs.py         ``import_run``
    following.py    ``dbbtrace follow``: the runs of a workspace as they come
    jobs.py         ``import_jobs``: job events; job_events.py finds them, job_runs.py the runs that they are part of

What a service has already done becomes finished spans. Nothing here runs or changes anything in Fabric.
"""
