"""Two readers of artifacts, a fast one by types and a lenient one field by field: they agree, and what dbt writes
never needs the lenient one."""

from __future__ import annotations

import gzip
import json
import math

import msgspec
import pytest

from dbbtrace.sources.dbt import artifacts
from dbbtrace.sources.dbt.artifacts import Results, read_results
from dbbtrace.sources.dbt.lenient import taken
from dbbtrace.sources.dbt.manifest import Manifest, read_manifest
from tests.sources.dbt.support import ARTIFACTS, RESULTS, SOURCES, load, name_of

LARGE = sorted((ARTIFACTS / "large").glob("*.json.gz"))
MANIFESTS = sorted(ARTIFACTS.glob("*/*/manifest.json"))


def only(**node):
    """What the lenient reader takes of a node with these fields."""
    results = taken(Results, {"results": [{"unique_id": "model.shop.a", **node}]})
    assert results is not None
    return results.nodes[0]


@pytest.mark.parametrize("file", [*RESULTS, *SOURCES], ids=name_of)
def test_what_dbt_writes_is_read_by_types_alone(file, monkeypatch):
    """Each value that dbt really writes has the type that is expected of it: the slow road is for nobody."""
    monkeypatch.setattr(artifacts, "json", None)
    assert read_results(file).results is not None


@pytest.mark.parametrize("file", MANIFESTS, ids=name_of)
def test_so_is_the_manifest(file, monkeypatch):
    """Whatever section a node stands in."""
    monkeypatch.setattr(artifacts, "json", None)
    assert read_manifest(file, None)


@pytest.mark.parametrize("file", [*RESULTS, *SOURCES, *LARGE], ids=name_of)
def test_both_readers_take_the_same_results(file):
    """Each field, of each node."""
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    assert msgspec.json.decode(data, type=Results) == taken(Results, json.loads(data))


@pytest.mark.parametrize("file", MANIFESTS, ids=name_of)
def test_both_readers_take_the_same_manifest(file):
    """Each node's type and parents."""
    assert msgspec.json.decode(file.read_bytes(), type=Manifest) == taken(Manifest, load(file))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (3, 3), (3.0, 3), ("3", 3), (" 3 ", 3), ("3.0", 3), (True, 1), (0, 0), ("-0", 0), (2**63 - 1, 2**63 - 1),
        (2**63, None), (-1, None), (3.5, None), ("3.5", None), ("many", None), ("٣", None), ("", None), (None, None),
        (math.inf, None), (math.nan, None), ([3], None), ({}, None), ("9" * 5000, None),
    ],
)  # fmt: skip
def test_a_count_may_be_text(given, kept):
    """Adapters write it so; what is no count is left out."""
    assert only(failures=given).failures == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (0.5, 0.5), (1, 1.0), ("0.5", 0.5), (True, 1.0), (-1, None), (1e9, None), (math.nan, None), (math.inf, None),
        ("nan", None), (10**400, None), ("soon", None), (None, None), ([0.5], None),
    ],
)  # fmt: skip
def test_seconds_may_be_text(given, kept):
    """As long as they are finite, and no more than a generation."""
    assert only(execution_time=given).execution_time == kept


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (True, True), (False, False), (1, True), (0.0, False), ("yes", True), ("OFF", False), ("2", None), (2, None),
        (None, None), ([], None),
    ],
)  # fmt: skip
def test_a_flag_may_be_a_word(given, kept):
    """As configuration files spell it."""
    assert only(compiled=given).compiled is kept


def test_an_odd_value_costs_only_itself(tmp_path):
    """In whatever place, and whatever stands beside it."""
    document = load(ARTIFACTS / "1.12.6/build_all/run_results.json")
    first, second, third, *_ = document["results"]
    first["timing"] = [5, *first["timing"], {"name": [], "started_at": 7}]
    second["adapter_response"] = "OK"
    third["unique_id"] = "half a character: \ud800"
    file = tmp_path / "run_results.json"
    file.write_text(json.dumps(document))
    nodes = read_results(file).nodes
    assert [timing.name for timing in nodes[0].timing or ()] == ["compile", "execute", None]
    assert nodes[1].adapter_response is None
    assert nodes[1].status == second["status"]
    assert len(nodes) == len(document["results"]) - 1


@pytest.mark.parametrize("model", [Results, Manifest])
@pytest.mark.parametrize("document", [None, 3, "text", []])
def test_what_is_no_object_is_no_artifact(model, document):
    """It is refused as a whole."""
    assert taken(model, document) is None
