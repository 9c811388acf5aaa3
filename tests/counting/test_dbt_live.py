"""What dbt's callback asks for: of most events next to nothing, of a node three lines in the journal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

import dbbtrace
from dbbtrace.job.context import scope_for
from dbbtrace.sources.dbt.events import Events
from dbbtrace.sources.dbt.live import Watch
from dbbtrace.sources.dbt.manifest import ManifestNode
from dbbtrace.tracing.provider import now

NODES = 200
CALLS = 220
"""Calls of Python functions that a node may take, OpenTelemetry's and the journal's included."""


def event(name: str, **data: Any) -> SimpleNamespace:
    """An event as dbt-core hands it to a callback."""
    info = SimpleNamespace(name=name, invocation_id="af718ec4-e939-4923-9204-d52213f15694")
    return SimpleNamespace(info=info, data=SimpleNamespace(**data))


def node(number: int) -> SimpleNamespace:
    """``node_info`` of a model."""
    return SimpleNamespace(
        unique_id=f"model.shop.m{number}",
        node_started_at=f"2026-11-24T15:20:53.{number:06d}",
        resource_type="model",
        materialized="table",
        node_relation=SimpleNamespace(relation_name=f'"shop"."main"."m{number}"'),
    )


def result() -> SimpleNamespace:
    """``run_result`` of a model that was built."""
    times = SimpleNamespace(started_at="2026-11-24T15:20:53.715104Z", completed_at="2026-11-24T15:20:53.736019Z")
    return SimpleNamespace(
        status="success",
        message="OK",
        timing_info=[SimpleNamespace(name=name, **vars(times)) for name in ("compile", "execute")],
        thread="Thread-1 (worker)",
        execution_time=0.25,
        num_failures=0,
        adapter_response={"_message": "OK"},
    )


@pytest.fixture
def manifests() -> list[str]:
    """Invocations whose manifest was read."""
    return []


@pytest.fixture
def events(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, manifests: list[str]) -> Events:
    """The callback of an invocation that has begun."""
    monkeypatch.chdir(tmp_path)
    dbbtrace.configure(warehouse=f"sqlite:///{tmp_path}/rows.db")
    scope = scope_for("0f8fad5b-d9cb-469f-a165-70867728950e")

    def manifest(invocation_id: str) -> dict[str, ManifestNode]:
        manifests.append(invocation_id)
        return {}

    made = Events(Watch(scope, command="build", select="", builds=True, began=now(), manifest=manifest))
    made(event("MainReportVersion", version="=1.11.16"))
    for number in range(2):
        build(made, number)
    return made


def build(events: Events, number: int) -> None:
    """One model, from its start to its end."""
    events(event("NodeStart", node_info=node(number)))
    events(event("NodeFinished", node_info=node(number), run_result=result()))


def calls_of(work: Callable[[], None]) -> int:
    """Calls of Python functions in this thread."""
    calls = 0

    def count(frame: FrameType, kind: str, argument: object) -> None:
        nonlocal calls
        calls += kind == "call"

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def test_an_event_of_no_interest_is_one_look_at_its_name(events: Events) -> None:
    """dbt fires some forty events a node."""
    other = event("CacheAction")
    assert calls_of(lambda: events(other)) == 2  # this very function, and the callback


def test_a_node_is_some_hundred_calls(events: Events) -> None:
    """No second look at the others: the hundredth node takes as many as the third."""
    assert calls_of(lambda: [build(events, number) for number in range(2, 2 + NODES)]) / NODES < CALLS  # type: ignore[arg-type,return-value]


def test_a_node_is_two_writes_until_dbt_has_ended_and_the_manifest_is_read_once(
    events: Events, manifests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its start, and what is left of it if the process dies; where nobody but the warehouse looks, nothing else."""
    writes: list[int] = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: (writes.append(len(data)), write(fd, data))[1])
    for number in range(2, 2 + NODES):
        build(events, number)
    assert len(writes) <= 2 * NODES + 2
    assert len(manifests) == 1
