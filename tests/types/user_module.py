"""A job as a user who checks types writes it: ``mypy --strict`` reads it (tests/job/test_types.py); it never runs."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import datetime

from typing_extensions import reveal_type

import dbbtrace
from dbbtrace import DbtNode, ModelRefresh, Run, TableLoad, Workload


def copy_table(run_id: str | None) -> int:
    """A block swallows nothing, so no return is missing."""
    with dbbtrace.orchestration_run(run_id, data_product="Finance") as run:
        reveal_type(run)  # Run
        with dbbtrace.integration(pipeline_id=uuid.uuid4()) as stage, dbbtrace.table_load("Customer") as load:
            reveal_type(stage)  # Workload
            reveal_type(load)  # TableLoad
            load.rows_read = load.rows_written = 10
            load.started_at = datetime.now()
            reveal_type(load.rows_written)  # int
            reveal_type(load.started_at)  # str | None
            stage.pipeline_run_id = uuid.uuid4()
            return 1


def attempts() -> None:
    """Attempts may swallow."""
    with dbbtrace.table_load("Customer") as load:
        for attempt in load.attempts(3, delay=1.5):
            with attempt:
                reveal_type(attempt.number)  # int
                copy_table(None)


@dbbtrace.step("add", rows=3)
def add(left: int, right: int = 0) -> int:
    """A decorated function keeps its type."""
    return left + right


@dbbtrace.table_load("Customer", schema="mdm")
async def load_later(name: str) -> list[str]:
    """A coroutine too."""
    async with dbbtrace.step("wait") as waiting:
        reveal_type(waiting)  # Step
        await asyncio.sleep(0)
    async with dbbtrace.table_load(name) as load:
        async for attempt in load.attempts(2):
            async with attempt:
                pass
    return [name]


@dbbtrace.step("numbers")
def numbers() -> Iterator[int]:
    """And generators."""
    yield 1


@dbbtrace.step("numbers")
async def numbers_later() -> AsyncIterator[int]:
    """Of both kinds."""
    yield 1


class Job:
    """Methods of every kind."""

    @dbbtrace.step("method")
    def method(self) -> str:
        """self is known."""
        return "x"

    @classmethod
    @dbbtrace.step("class")
    def make(cls) -> Job:
        """cls too."""
        return cls()


def notebook() -> None:
    """Handles across cells."""
    run: Run = dbbtrace.begin_run(globals(), pipeline_run_id=uuid.uuid4())
    run = dbbtrace.begin_run(run.run_id)
    load: TableLoad = dbbtrace.table_load("Customer").start()
    node: DbtNode = dbbtrace.dbt_node("model.shop.a")
    refresh: ModelRefresh = dbbtrace.model_refresh("m1")
    stage: Workload = dbbtrace.transformation(select="+tag:x")
    for work in (load, node, refresh, stage, run):
        work.fail(ValueError("x"))
        work.save()
        work.end(ValueError("x"))
    dbbtrace.record_load("Customer", started_at=datetime.now(), error_message=ValueError("x"))
    dbbtrace.record_refresh("m1", started_at="2026-01-01T00:00:00Z")
    reveal_type(dbbtrace.record_dbt("target").nodes)  # Mapping
    reveal_type(dbbtrace.flush(3))  # bool
    dbbtrace.configure(warehouse="none", exporters=[], strict=True, service_name="x")
    reveal_type(add(1))  # int
    reveal_type(load_later)  # def (name: str) -> Coroutine[Any, Any, list[str]]
    reveal_type(numbers())  # Iterator[int]
    reveal_type(numbers_later())  # AsyncIterator[int]
    reveal_type(Job.make().method())  # str
