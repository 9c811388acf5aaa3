"""Artifacts with anything in any place: never an exception, and what can be stored is."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from dbbtrace_exporters.warehouse.flatten import rows_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbbtrace.errors import UsageError
from dbbtrace.model import attributes as key
from tests.sources.dbt.support import ARTIFACTS, load, record

SCENARIOS = ("1.5.12/build_all", "1.12.6/mb_partial", "2.0.0-preview.196/build_all", "1.12.6/freshness")
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, -(2**63) - 1, 10**400]),
    st.floats(),
    st.text(),
    st.text(st.characters(categories=["Cs", "Cc"]), min_size=1, max_size=3),
    st.sampled_from(["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "skipped", "\x1b[", "."]),
    st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)


def places(value, path=()):
    """Where something could stand in the document."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in inner:
        yield from places(child, (*path, name))


def file_of(scenario: str) -> str:
    return "sources.json" if scenario.endswith("freshness") else "run_results.json"


DOCUMENTS = {scenario: load(ARTIFACTS / scenario / file_of(scenario)) for scenario in SCENARIOS}
for document in DOCUMENTS.values():
    del document["results"][6:]
PLACES = {scenario: [place for place in places(document) if place] for scenario, document in DOCUMENTS.items()}


@st.composite
def mangled(draw):
    """A real artifact with one to four values replaced or removed."""
    scenario = draw(st.sampled_from(SCENARIOS))
    document = copy.deepcopy(DOCUMENTS[scenario])
    for *path, last in draw(st.lists(st.sampled_from(PLACES[scenario]), min_size=1, max_size=4)):
        at = document
        try:
            for name in path:
                at = at[name]
            if draw(st.booleans()):
                at[last] = draw(ODD)
            else:
                del at[last]
        except (KeyError, IndexError, TypeError):
            pass  # an earlier change took the place away
    return file_of(scenario), json.dumps(document)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("mangled")


@given(mangled())
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_a_mangled_artifact_never_raises_and_costs_only_its_own_values(folder, artifact):
    """Strict raises faults of our own: there are none. Each span can be stored, and each node gives its rows."""
    file, text = artifact
    (folder / file).write_text(text)
    try:
        invocation, captured = record(folder / file)
    except UsageError:  # of strict: said of the file as a whole
        assert record(folder / file, strict=False)[0].reason
        return
    spans = captured.operations(key.OPERATION_DBT_NODE)
    assert len(spans) == sum(invocation.nodes.values())
    assert len({span.context.span_id for span in captured.spans}) == len(captured.spans)
    for span in captured.spans:
        assert 0 <= span.start_time <= span.end_time < 2**63
        span.to_json()
    for span in spans:
        rows = rows_of(span)
        assert 1 <= len(rows) <= 2 or span.attributes[key.STATUS] != "success"


@given(cut=st.integers(0, 20_000))
@settings(max_examples=60)
def test_a_file_cut_anywhere_is_refused(folder, cut):
    """dbt was killed while it wrote."""
    whole = (ARTIFACTS / "1.12.6/build_all/run_results.json").read_bytes()
    (folder / "run_results.json").write_bytes(whole[:cut])
    invocation, captured = record(folder / "run_results.json", strict=False)
    assert not invocation.recorded
    assert captured.spans == []


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_any_bytes_are_refused(folder, data):
    """Whatever it is, it is no artifact."""
    (folder / "run_results.json").write_bytes(data)
    assert not record(folder / "run_results.json", strict=False)[0].recorded
