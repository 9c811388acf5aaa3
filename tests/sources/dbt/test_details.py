"""Identities, selection, the manifest, causes of skips, and what never leaves the file."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from opentelemetry.trace import StatusCode

import dbbtrace
from dbbtrace.model import attributes as key
from dbbtrace.model import identity
from dbbtrace.sources.dbt.terms import label_of
from dbbtrace.testing import capture
from tests.sources.dbt.support import ARTIFACTS, RESULTS, RUN, copy_of, edited, load, nodes, record

NEWEST = "1.12.6/build_all"


@pytest.fixture
def target(tmp_path):
    return copy_of(NEWEST, tmp_path / "target")


def first(document):
    return document["results"][0]


# -- secrets ------------------------------------------------------------------------------------------------

SECRET = "hunter2-do-not-tell"


def _plant(value, path=()):
    """Every place of the document that no row shows gets the secret."""
    shown = {"unique_id", "status", "message", "thread_id", "relation_name", "_message", "select", "selector", "which",
             "dbt_version", "invocation_id", "generated_at", "started_at", "completed_at", "dbt_schema_version", "name",
             "invocation_started_at", "error", "max_loaded_at", "snapshotted_at", "period"}  # fmt: skip
    if isinstance(value, dict):
        planted = {name: _plant(inner, (*path, name)) for name, inner in value.items()}
        return {**planted, f"extra-{SECRET}": SECRET}
    if isinstance(value, list):
        return [_plant(inner, path) for inner in value]
    return SECRET if isinstance(value, str) and not shown & set(path[-1:]) else value


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: f"{file.parent.parent.name}/{file.parent.name}")
def test_no_secret_leaves_the_file(file, tmp_path, caplog):
    """Passwords in args.vars, invocation_command, env, compiled code and whatever else stands there stay there."""
    document = _plant(load(file))
    document.setdefault("args", {}).update(
        vars={"password": SECRET}, invocation_command=f"dbt build --vars {SECRET}", args=SECRET, macro=SECRET
    )
    document["metadata"]["env"] = {"PASSWORD": SECRET}
    (tmp_path / "run_results.json").write_text(json.dumps(document))
    invocation, captured = record(tmp_path)
    assert nodes(captured) or not invocation.recorded
    told = "".join(span.to_json() for span in captured.spans) + caplog.text + str(invocation) + repr(invocation)
    assert SECRET not in told


@pytest.mark.parametrize(
    "text", [f'{{"args": {{"vars": "{SECRET}"', f'["{SECRET}"]', f'{{"metadata": "{SECRET}"}}', f"{SECRET}"]
)
def test_no_secret_stands_in_a_complaint(text, tmp_path, caplog):
    """A file that can't be read is named, never quoted."""
    (tmp_path / "run_results.json").write_text(text)
    invocation, _ = record(tmp_path, strict=False)
    assert not invocation.recorded
    assert SECRET not in caplog.text + str(invocation)


# -- identity -----------------------------------------------------------------------------------------------


def test_identity_comes_from_invocation_and_unique_id(target):
    """Live records of the same node, made with dbt_node(..., invocation_id=...), meet the imported ones."""
    document = load(target / "run_results.json")
    invocation_id = document["metadata"]["invocation_id"]
    for unique_id, span in nodes(record(target)[1]).items():
        expected = identity.dbt_identity(invocation_id, unique_id)
        assert span.attributes[key.IDENTITY] == expected
        assert span.context.span_id == identity.span_id_of(identity.trace_id_of(RUN), expected)


def test_invocations_of_a_dbt_that_joined_our_trace_are_told_apart(target):
    """Fusion takes the trace id as invocation id, in each of its invocations: generated_at makes the difference."""
    edited(target, lambda document: document["metadata"].update(invocation_id=RUN))
    one = nodes(record(target)[1])
    again = nodes(record(target)[1])
    edited(target, lambda document: document["metadata"].update(generated_at="2026-11-24T18:00:00.000001Z"))
    other = nodes(record(target)[1])
    ids = [{span.context.span_id for span in spans.values()} for spans in (one, again, other)]
    assert ids[0] == ids[1]
    assert not ids[0] & ids[2]


def test_a_unique_id_that_stands_twice_is_kept_twice(target):
    """Not seen of any dbt; if it happens, neither hides the other."""
    edited(target, lambda document: document["results"].append(first(document)))
    _, captured = record(target)
    doubles = [
        span
        for span in captured.operations(key.OPERATION_DBT_NODE)
        if span.attributes[key.DBT_UNIQUE_ID] == first(load(target / "run_results.json"))["unique_id"]
    ]
    assert len(doubles) == 2
    assert len({span.context.span_id for span in doubles}) == len({s.attributes[key.IDENTITY] for s in doubles}) == 2


# -- what the scope gives -----------------------------------------------------------------------------------


def test_inside_a_run_everything_is_inherited(target):
    """The invocation hangs on the transformation; select and pipeline come from there."""
    with capture() as captured:
        with dbbtrace.orchestration_run(RUN, data_product="Finance", environment="prd", workspace_id="w1"):
            with dbbtrace.transformation("+tag:Finance", pipeline_id="p1", pipeline_run_id="r1"):
                invocation = dbbtrace.record_dbt(target)
    assert invocation.recorded
    above = captured.named("dbt build")
    assert above.parent.span_id == captured.named("transformation").context.span_id
    for span in nodes(captured).values():
        attributes = span.attributes
        assert attributes[key.DBT_SELECT] == "+tag:Finance"
        assert attributes[key.DATA_PRODUCT] == "Finance"
        assert attributes[key.ENVIRONMENT] == "PRD"
        assert (attributes[key.PIPELINE_ID], attributes[key.PIPELINE_RUN_ID]) == ("p1", "r1")
        assert attributes[key.WORKLOAD] == "transformation"


def test_what_is_given_overrides_the_scope(target):
    """select, pipeline and product as arguments."""
    with capture() as captured:
        with dbbtrace.orchestration_run(RUN, data_product="Finance"):
            with dbbtrace.transformation("+tag:Finance", pipeline_id="p1"):
                dbbtrace.record_dbt(target, select="a b", pipeline_id="p2", data_product="Sales")
    for span in nodes(captured).values():
        assert span.attributes[key.DBT_SELECT] == "a b"
        assert span.attributes[key.PIPELINE_ID] == "p2"
        assert span.attributes[key.DATA_PRODUCT] == "Sales"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"select": ["+tag:a", "b"], "exclude": ["c"]}, "+tag:a b"),
        ({"select": "+tag:a"}, "+tag:a"),
        ({"select": [], "selector": "nightly"}, "selector:nightly"),
        ({"select": None}, ""),
        ({"select": {"odd": 1}}, ""),
        ({"select": ["a", 5]}, ""),
        ({}, ""),
    ],
)
def test_the_selection_is_dbts_own_where_nobody_says(target, args, expected):
    """A list, a text or a named selector; what is excluded is no part of it."""
    edited(target, lambda document: document.update(args={"which": "build", **args}))
    assert {span.attributes[key.DBT_SELECT] for span in nodes(record(target)[1]).values()} == {expected}


# -- values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [(-1, None), ("-1", None), ("12", 12), (12, 12), (12.0, 12), (None, None), ("many", None), (2**63, None), (0, 0)],
)
def test_unknown_rows_affected_are_absent(target, given, kept):
    """Adapters write -1, as number or text, where they don't know."""
    edited(target, lambda document: first(document).update(adapter_response={"rows_affected": given}))
    span = nodes(record(target)[1])[first(load(target / "run_results.json"))["unique_id"]]
    assert span.attributes.get(key.DBT_ROWS_AFFECTED) == kept


def test_a_message_keeps_its_lines_and_loses_its_colours(target):
    """ANSI codes are for terminals."""
    edited(
        target,
        lambda document: first(document).update(message="\x1b[31mred\x1b[0m\n  second\r\nthird \x1b[1;32mé\x1b[K"),
    )
    span = nodes(record(target)[1])[first(load(target / "run_results.json"))["unique_id"]]
    assert span.attributes[key.DBT_MESSAGE] == "red\n  second\r\nthird é"


@pytest.mark.parametrize(
    ("relation", "namespace", "name"),
    [
        ('"lab"."main"."orders.with.dots"', "lab.main", "orders.with.dots"),
        ("[lab].[main].[orders]", "lab.main", "orders"),
        ("`lab`.`main`.`orders`", "lab.main", "orders"),
        ("orders", None, "orders"),
    ],
)
def test_standard_attributes_name_the_relation(target, relation, namespace, name):
    """db.namespace and db.collection.name, whatever the database quotes with."""
    edited(target, lambda document: first(document).update(relation_name=relation))
    attributes = nodes(record(target)[1])[first(load(target / "run_results.json"))["unique_id"]].attributes
    assert attributes[key.DBT_RELATION_NAME] == relation
    assert (attributes.get(key.DB_NAMESPACE), attributes[key.DB_COLLECTION_NAME]) == (namespace, name)


def test_partial_success_is_an_error_with_its_message():
    """Some batches of a microbatch model failed."""
    span = nodes(record(ARTIFACTS / "1.12.6/mb_partial")[1])["model.lab.mb_orders"]
    assert span.attributes[key.STATUS] == "partial success"
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes[key.ERROR_TYPE] == "dbt.partial_success"
    assert span.attributes[key.ERROR_MESSAGE] == "PARTIAL SUCCESS (4/5)"


def test_a_failing_hook_is_a_node():
    """Since dbt 1.9."""
    spans = nodes(record(ARTIFACTS / "1.12.6/hook_start_fail")[1])
    hook = spans["operation.lab.lab-on-run-start-1"]
    assert hook.attributes[key.DBT_RESOURCE_TYPE] == "operation"
    assert "nope_hook_table" in hook.attributes[key.ERROR_MESSAGE]
    skipped = spans["model.lab.stg_customers"].attributes
    assert skipped[key.DBT_MESSAGE] == "Skipped due to upstream failure: operation.lab.lab-on-run-start-1 (error)"


def test_a_node_without_status_does_not_pass_for_a_success(target):
    """A mangled result is an error, not a success."""
    edited(target, lambda document: first(document).pop("status"))
    span = nodes(record(target)[1])[first(load(target / "run_results.json"))["unique_id"]]
    assert key.STATUS not in span.attributes
    assert span.attributes[key.ERROR_TYPE] == "dbt.unknown"


def test_results_without_unique_id_cost_only_themselves(target, caplog):
    """The rest of the file is recorded, and the log says how many are missing."""
    count = len(load(target / "run_results.json")["results"])
    edited(target, lambda document: document["results"].extend([None, 3, {"status": "success"}, {"unique_id": 5}]))
    assert len(nodes(record(target)[1])) == count
    assert "4 of" in caplog.text


# -- the manifest -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.5.12", "1.7.20", "1.9.11", "1.10.23", "1.12.6", "2.0.0-preview.196"])
def test_the_manifest_beside_tells_what_a_node_depends_on(version):
    """Resource type and depends_on, from whatever section of the manifest."""
    folder = ARTIFACTS / version / "build_all"
    manifest = load(folder / "manifest.json")
    known = {**manifest["nodes"], **manifest.get("unit_tests", {}), **manifest["exposures"]}
    for unique_id, span in nodes(record(folder)[1]).items():
        if not unique_id.startswith("operation."):
            assert list(span.attributes.get(key.DBT_DEPENDS_ON, ())) == known[unique_id]["depends_on"].get("nodes", [])
            assert span.attributes[key.DBT_RESOURCE_TYPE] == known[unique_id]["resource_type"]


@pytest.mark.parametrize("version", ["1.5.12", "1.7.20", "1.9.11", "1.10.23", "1.12.6", "2.0.0-preview.196"])
def test_every_skipped_node_says_why(version):
    """dbt's own message, or the failure above it: a node that failed in this run, and really stands above."""
    spans = nodes(record(ARTIFACTS / version / "build_all")[1])
    skipped = {unique_id: span for unique_id, span in spans.items() if span.attributes[key.STATUS] == "skipped"}
    assert skipped
    for span in skipped.values():
        message = span.attributes[key.DBT_MESSAGE]
        assert message.startswith(("Skipped due to upstream failure: ", "Compilation Error"))
        if message.startswith("Skipped"):
            cause, word = message.removeprefix("Skipped due to upstream failure: ").rstrip(")").split(" (")
            assert spans[cause].attributes[key.STATUS] == word in ("error", "fail")
    blamed = {
        unique_id: span.attributes[key.DBT_MESSAGE].split(": ")[1].split(" ")[0]
        for unique_id, span in skipped.items()
        if span.attributes[key.DBT_MESSAGE].startswith("Skipped")
    }
    assert blamed["model.lab.child_of_broken"] == blamed["model.lab.grandchild_of_broken"] == "model.lab.broken"
    assert blamed["model.lab.after_failed_test"].startswith("test.lab.unique_gated_id")
    if "model.lab.unit_leaf" in skipped:
        assert blamed["model.lab.unit_leaf"] == "unit_test.lab.unit_leaf.test_fails"


def test_without_a_manifest_resource_types_come_from_the_ids(target):
    """The first segment of the unique_id; depends_on is unknown."""
    (target / "manifest.json").unlink()
    for unique_id, span in nodes(record(target)[1]).items():
        assert span.attributes[key.DBT_RESOURCE_TYPE] == unique_id.split(".")[0]
        assert key.DBT_DEPENDS_ON not in span.attributes


def test_a_manifest_of_another_invocation_is_passed_by(target, caplog):
    """`dbt ls` and `dbt parse` overwrite it; given by name, the caller vouches for it."""
    edited(target, lambda document: document["metadata"].update(invocation_id="other"), "manifest.json")
    span = nodes(record(target)[1])["model.lab.customers"]
    assert key.DBT_DEPENDS_ON not in span.attributes
    assert "another dbt invocation" in caplog.text
    span = nodes(record(target, manifest=target / "manifest.json")[1])["model.lab.customers"]
    assert span.attributes[key.DBT_DEPENDS_ON]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"metadata": {}}', '{"nodes": 3, "metadata": {}}', "\x00"])
def test_a_broken_manifest_costs_only_itself(target, text, caplog):
    """The results are recorded, and the log says what is missing."""
    (target / "manifest.json").write_text(text)
    invocation, captured = record(target)
    assert invocation.recorded
    assert len(nodes(captured)) == len(load(target / "run_results.json")["results"])
    assert "manifest.json" in caplog.text


def test_a_manifest_with_odd_parts_is_used_as_far_as_it_goes(target):
    """A node that makes no sense costs only itself."""

    def change(document):
        document["nodes"]["model.lab.broken"] = 3
        document["unit_tests"] = "none"
        document["nodes"]["model.lab.stg_orders"]["depends_on"] = ["odd"]

    edited(target, change, "manifest.json")
    spans = nodes(record(target)[1])
    assert key.DBT_DEPENDS_ON not in spans["model.lab.broken"].attributes
    assert key.DBT_DEPENDS_ON not in spans["model.lab.stg_orders"].attributes
    assert spans["model.lab.customers"].attributes[key.DBT_DEPENDS_ON]


def test_the_result_reads_like_a_sentence():
    """What a job author prints."""
    invocation, _ = record(ARTIFACTS / NEWEST)
    assert str(invocation) == (
        "dbt build: 37 nodes (9 success, 3 fail, 4 pass, 15 skipped, 3 warn, 3 error); invocation "
        "e6f3ce57-0700-4cad-9061-2a0ee0ee7551, dbt 1.12.6, 2026-11-24T15:19:41.710311Z"
    )
    assert invocation.failed == 6


def test_msgspec_is_imported_only_when_an_artifact_is_read():
    """A job that records no dbt does not pay for it."""
    code = "import sys, dbbtrace.sources.dbt as dbt; dbt.record_dbt; sys.exit('msgspec' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("unique_id", "label"),
    [
        ("model.shop.customers", "model customers"),
        ("model.shop.customers.v2", "model customers.v2"),
        ("test.shop.unique_customers_id.0123456789", "test unique_customers_id"),
        ("test.shop.my_own_test", "test my_own_test"),
        ("test.shop.0123456789", "test 0123456789"),
        ("operation.shop.shop-on-run-end-0", "operation shop-on-run-end-0"),
        ("odd", "odd"),
        ("", ""),
    ],
)
def test_a_node_is_called_what_people_call_it(unique_id, label):
    """Kind and name, without project and without the hash of a generic test."""
    assert label_of(unique_id) == label
