"""Why a node was skipped, on small graphs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dbbtrace.sources.dbt.causes import skip_causes
from dbbtrace.sources.dbt.manifest import DependsOn, ManifestNode


def graph(**parents):
    """A manifest: ``b=["a"]`` says that model b selects from model a."""
    return {
        f"model.{name}": ManifestNode(depends_on=DependsOn([f"model.{parent}" for parent in above]))
        for name, above in parents.items()
    }


def causes(manifest, **words):
    found = skip_causes({f"model.{name}": word for name, word in words.items()}, manifest)
    return {node.removeprefix("model."): cause.removeprefix("model.") for node, cause in found.items()}


def test_the_nearest_failure_above_is_the_cause():
    """b and its descendants hang on a, c on the failure next to it."""
    manifest = graph(a=[], b=["a"], x=[], c=["b", "x"], d=["c"])
    words = {"a": "error", "b": "skipped", "x": "error", "c": "skipped", "d": "skipped"}
    assert causes(manifest, **words) == {"b": "a", "c": "x", "d": "x"}


def test_a_node_that_ran_hands_no_cause_down():
    """What is skipped below it was skipped for another reason, which nobody knows."""
    manifest = graph(a=[], b=["a"], c=["b"])
    assert causes(manifest, a="error", b="success", c="skipped") == {}


def test_what_has_no_result_hands_causes_down():
    """Ephemeral models, and those that were not selected."""
    manifest = graph(a=[], ephemeral=["a"], c=["ephemeral"])
    assert causes(manifest, a="partial success", c="skipped") == {"c": "a"}


def test_a_failed_test_is_named_only_where_no_failed_node_is():
    """A test of several nodes holds back less than its graph suggests."""
    manifest = graph(a=[], bad=["a"], b=["bad"], c=["a"])
    manifest["test.t"] = ManifestNode(depends_on=DependsOn(["model.a"]))
    statuses = {"test.t": "fail", "model.a": "success", "model.bad": "error"}
    found = skip_causes({**statuses, "model.b": "skipped", "model.c": "skipped"}, manifest)
    assert found == {"model.b": "model.bad", "model.c": "test.t"}


def test_a_warning_is_no_cause():
    """warn holds nothing back."""
    assert causes(graph(a=[], b=["a"]), a="warn", b="skipped") == {}


EDGES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)))
WORDS = st.lists(st.sampled_from(["error", "skipped", "success"]), min_size=10, max_size=10)


@given(EDGES, WORDS)
def test_any_graph_ends_and_blames_only_what_failed(edges, words):
    """Circles too, which no dbt writes: only skipped nodes have a cause, only failed ones are one."""
    manifest = graph(**{str(node): [str(above) for above, below in edges if below == node] for node in range(10)})
    statuses = {str(node): word for node, word in enumerate(words)}
    for node, cause in causes(manifest, **statuses).items():
        assert statuses[node] == "skipped"
        assert statuses[cause] == "error"
