"""The walks of the graph, against a slow one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dbbtrace.graph import Graph
from tests.graph.graphs import parents, reached, turned


@given(edges=parents(), data=st.data())
def test_above_and_below_are_all_that_is_reached(edges: dict[str, list[str]], data: st.DataObject) -> None:
    """Everything that edges lead to, each once, without where the walk began; nearest first."""
    start = data.draw(st.sets(st.sampled_from(sorted(edges)), min_size=1))
    graph = Graph(edges)
    for walked, way in ((graph.above(start), edges), (graph.below(start), turned(edges))):
        assert len(walked) == len(set(walked))
        assert set(walked) == reached(way, start) - start
        near = {other for name in start for other in way[name]} - start
        assert set(walked[: len(near)]) == near


@given(edges=parents(), data=st.data())
def test_a_walk_stops_at_what_it_may_not_pass(edges: dict[str, list[str]], data: st.DataObject) -> None:
    """What only leads through such a name is left out, and the name itself."""
    start = data.draw(st.sets(st.sampled_from(sorted(edges)), min_size=1))
    closed = data.draw(st.sets(st.sampled_from(sorted(edges))))
    way = {name: others - closed for name, others in turned(edges).items()}
    found = Graph(edges).below(start, lambda name: name not in closed)
    assert set(found) == reached(way, start) - start


@given(edges=parents(), data=st.data())
def test_causes_are_handed_down_to_all_below(edges: dict[str, list[str]], data: st.DataObject) -> None:
    """Everything below a cause has one; and the one it has is above it, none nearer."""
    causes = data.draw(st.lists(st.sampled_from(sorted(edges)), unique=True, min_size=1))
    graph, below = Graph(edges), turned(edges)
    found = graph.spread(((cause, child) for cause in causes for child in graph.children[cause]), lambda name: True)
    assert set(found) == reached(below, causes)

    def distance(cause: str, name: str) -> int:
        level, steps = {cause}, 0
        while name not in level or steps == 0:
            level, steps = {child for one in level for child in below[one]}, steps + 1
            if not level:
                return 10**6
        return steps

    for name, cause in found.items():
        assert distance(cause, name) == min(distance(other, name) for other in causes)


def test_a_failed_test_holds_back_what_selects_from_the_tested_model() -> None:
    """dbt build waits for a model's tests; and for a unit test before the model itself."""
    graph = Graph({"model.b": ["model.a"], "test.t": ["model.a"], "unit_test.u": ["model.a"], "model.c": ["model.b"]})
    assert graph.held_back_by("test.t") == ["model.b", "unit_test.u"]
    assert graph.held_back_by("unit_test.u") == ["model.a"]
    assert graph.held_back_by("model.a") == ["model.b", "test.t", "unit_test.u"]
