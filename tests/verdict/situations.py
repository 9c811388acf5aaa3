"""Situations a run can be in, each with the verdict, the exit code of ``dbbtrace check`` and what a reason must name.

Jobs are real: in this process, or in one of their own where they are killed. What only time can bring is brought by
moving the rows into the past.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import NAMESPACE_OID, uuid5

import dbbtrace
from dbbtrace.warehouse.schema import ALL_TABLES, DBT_NODES, LOADS, PARTS, VALIDATIONS
from tests.cli.support import run as command
from tests.sources.dbt.projects import SMALL, made
from tests.verdict.stage import RUN, Stage

MODEL = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
PRODUCT = {"data_product": "Shop", "environment": "PRD"}


class Situation(NamedTuple):
    """One situation."""

    make: Callable[[Stage], None]
    verdict: str
    code: int
    names: str
    """What one of the reasons must name; '' where there is nothing to name."""
    options: tuple[str, ...] = ()


def opened(**more: object) -> dbbtrace.Run:
    return dbbtrace.orchestration_run(RUN, **PRODUCT, **more)  # type: ignore[arg-type]


def load(table: str = "Customer", rows: int = 10) -> None:
    with dbbtrace.table_load(table, schema="mdm", source="MDS", load_type="FULL") as work:
        work.rows_read = work.rows_written = rows


def refresh() -> None:
    with dbbtrace.model_refresh(MODEL, name="Finance"):
        pass


def swallowed(work: Callable[[], None]) -> None:
    try:
        work()
    except RuntimeError:
        pass


def break_down() -> None:
    raise RuntimeError("it broke")


# -- what a job does ------------------------------------------------------------------------------------------


def good(stage: Stage) -> None:
    with opened():
        with dbbtrace.integration():
            load()
        with dbbtrace.consumption():
            refresh()


def exception_in_a_workload(stage: Stage) -> None:
    def work() -> None:
        with opened(), dbbtrace.integration():
            load()
            break_down()

    swallowed(work)


def exception_in_a_step(stage: Stage) -> None:
    def work() -> None:
        with opened(), dbbtrace.integration(), dbbtrace.step("fetch"):
            break_down()

    swallowed(work)


def exception_between_operations(stage: Stage) -> None:
    def work() -> None:
        with opened():
            load()
            break_down()
            refresh()

    swallowed(work)


def said_to_have_failed(stage: Stage) -> None:
    with opened() as run:
        load()
        run.fail("the source was closed")


def joiner_raises(stage: Stage) -> None:
    good(stage)

    def work() -> None:
        with dbbtrace.join_run(RUN, pipeline_run_id="another"):
            break_down()

    swallowed(work)


def dbt_left_nothing(stage: Stage) -> None:
    with opened(), dbbtrace.transformation(select="+tag:Shop"):
        dbbtrace.record_dbt("target")


def _record(command: str | None, *, nodes: tuple[str, ...] = ("orders",), **args: object) -> None:
    """What dbt left in its folder is recorded; None: it left nothing."""
    Path("target").mkdir(exist_ok=True)
    file = Path("target", "run_results.json")
    file.unlink(missing_ok=True)
    if command is not None:
        metadata = {
            "dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json",
            "invocation_id": str(uuid5(NAMESPACE_OID, f"{command} {args} {nodes}")),
            "generated_at": f"{datetime.now(timezone.utc).replace(tzinfo=None).isoformat()}Z",
        }
        results = [
            {"unique_id": f"model.shop.{name}", "status": "success", "timing": [], "execution_time": 0.0}
            for name in nodes
        ]
        said = {"which": command, **args}
        file.write_text(json.dumps({"metadata": metadata, "args": said, "results": results}))
    dbbtrace.record_dbt("target")


def dbt_left_nothing_and_built_all(stage: Stage) -> None:
    with opened():
        _record(None)
        _record("build")


def dbt_left_nothing_and_built_the_same(stage: Stage) -> None:
    with opened(), dbbtrace.transformation(select="+tag:Shop"):
        _record(None)
        _record("build", select=["+tag:Shop"])


def dbt_left_nothing_and_retried(stage: Stage) -> None:
    with opened():
        _record(None)
        _record("retry")


def dbt_left_nothing_and_built_some(stage: Stage) -> None:
    with opened():
        _record(None)
        _record("build", select=["tag:Sales"])


def dbt_left_nothing_and_another_folder_has_some(stage: Stage) -> None:
    with opened():
        dbbtrace.record_dbt("finance")
        _record("build", select=["tag:Sales"])


def dbt_left_nothing_and_left_some_out(stage: Stage) -> None:
    with opened():
        dbbtrace.record_dbt("finance")
        _record("build", exclude=["orders"])


def _selected_nothing(command: str, *later: dict[str, object], **args: object) -> None:
    """dbt had nothing to do, beside a good load; and what it did later in the run."""
    with opened():
        load()
        _record(command, nodes=(), **args)
        for said in later:
            _record(command, **said)  # type: ignore[arg-type]


def dbt_selected_nothing(stage: Stage) -> None:
    _selected_nothing("build", select=["tag:Finanse"])


def dbt_selected_nothing_live(stage: Stage) -> None:
    folder = str(made(stage.path.with_name("project"), SMALL))
    with opened():
        load()
        dbbtrace.run_dbt(["build", "--select", "tag:Finanse", "--project-dir", folder, "--profiles-dir", folder])


def dbt_had_a_project_without_models(stage: Stage) -> None:
    _selected_nothing("run")


def everything_is_excluded(stage: Stage) -> None:
    _selected_nothing("build", exclude=["tag:Finance"])


def nothing_has_changed(stage: Stage) -> None:
    _selected_nothing("build", select=["state:modified+"])


def nothing_has_changed_and_that_was_all(stage: Stage) -> None:
    with opened():
        _record("build", nodes=(), select=["state:modified+"])


def a_selector_selects_nothing(stage: Stage) -> None:
    _selected_nothing("build", selector="changed")


def no_test_is_selected(stage: Stage) -> None:
    _selected_nothing("test", select=["tag:Shop"])


def project_without_seeds(stage: Stage) -> None:
    _selected_nothing("seed")


def dbt_selected_nothing_and_then_all(stage: Stage) -> None:
    _selected_nothing("build", {}, select=["tag:Finanse"])


def dbt_selected_nothing_and_then_something_else(stage: Stage) -> None:
    _selected_nothing("build", {"select": ["tag:Finance"]}, select=["tag:Finanse"])


def dbt_retried_nothing(stage: Stage) -> None:
    with opened():
        _record("build", select=["tag:Finance"])
        _record("build", nodes=(), select=["tag:Finance"])  # dbt retry says so, where nothing had failed


def dbt_selected_nothing_and_somebody_knows(stage: Stage) -> None:
    dbt_selected_nothing(stage)
    assert command("ack", "dbt build --select tag:Finanse", "--reason", "no models yet").code == 0


def dbt_overwrote_what_it_built(stage: Stage) -> None:
    results = {"metadata": {"dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json"}}
    Path("run_results.json").write_text(json.dumps({**results, "args": {"which": "generate"}, "results": []}))
    with opened():
        load()
        dbbtrace.record_dbt("run_results.json", allow_old=True)


def dbt_could_not_start_and_another_did(stage: Stage) -> None:
    _dbt("build --select tag:Finance", "build --select tag:Sales")


def an_operation_of_dbt_failed_and_another_did_not(stage: Stage) -> None:
    _dbt("run-operation grant --args Finance", "run-operation grant --args Sales")


def dbt_could_not_start_and_did_the_second_time(stage: Stage) -> None:
    _dbt("build --select tag:Sales", "build --select tag:Sales")


def dbt_could_not_start_and_built_all(stage: Stage) -> None:
    _dbt("build --select tag:Sales", "build")


def dbt_could_not_start_and_built_more(stage: Stage) -> None:
    _dbt("build --select tag:Sales", "build --select tag:Finance +tag:Sales")


def dbt_could_not_start_and_built_less(stage: Stage) -> None:
    _dbt("build --select +tag:Sales", "build --select tag:Sales")


def dbt_could_not_start_and_left_some_out(stage: Stage) -> None:
    _dbt("build --select tag:Sales", "build --exclude orders")


def _dbt(broken: str, good: str) -> None:
    """Two invocations, the first of which dies before it says anything."""
    for name, code in (("broken", 2), ("good", 0)):
        Path(name).write_text(f"#!/bin/sh\nexit {code}\n")
        Path(name).chmod(0o755)
    with opened(), dbbtrace.transformation():
        load()
        dbbtrace.run_dbt(broken, executable=Path("broken").absolute())
        dbbtrace.run_dbt(good, executable=Path("good").absolute())


def _steps(*calls: tuple[dict[str, object], dict[str, object]]) -> None:
    """The same step several times, each with what it is given and what it says later; all but the last fail."""

    def work(given: dict[str, object], said: dict[str, object], breaks: bool) -> None:
        with dbbtrace.step("fetch", **given) as step:
            if breaks:
                break_down()
            for name, value in said.items():
                step.set_attribute(name, value)

    with opened():
        load()
        for given, said in calls[:-1]:
            swallowed(partial(work, given, said, True))
        work(*calls[-1], False)


def step_is_done_again(stage: Stage) -> None:
    _steps(({"table": "Vendor"}, {}), ({"table": "Vendor"}, {"pages": 3}))


def step_of_another_table_succeeds(stage: Stage) -> None:
    _steps(({"table": "Vendor"}, {}), ({"table": "Vendors"}, {"pages": 3}))


def step_with_attributes_succeeds(stage: Stage) -> None:
    _steps(({}, {}), ({"table": "Vendor"}, {}))


def steps_alone(stage: Stage) -> None:
    with opened(), dbbtrace.step("archive"):
        pass


def nothing_at_all(stage: Stage) -> None:
    with opened():
        pass


def workload_without_operations(stage: Stage) -> None:
    with opened(), dbbtrace.integration():
        pass


def step_fails_and_is_caught(stage: Stage) -> None:
    def work() -> None:
        with dbbtrace.step("optional"):
            break_down()

    with opened():
        load()
        swallowed(work)


def load_fails(stage: Stage) -> None:
    def work() -> None:
        with dbbtrace.table_load("Vendor", schema="mdm", source="MDS"):
            break_down()

    with opened():
        load()
        swallowed(work)


def load_fails_and_is_done_again(stage: Stage) -> None:
    def work() -> None:
        with dbbtrace.table_load("Customer", schema="mdm", source="MDS"):
            break_down()

    with opened():
        swallowed(work)
        load()


def _by_hand(stage: Stage, **values: object) -> None:
    """A row of a load of the table, as another program writes it."""
    row = {"table_name": "Customer", "schema_name": "mdm", "source_name": "MDS", "status": "Failed", **values}
    row.setdefault("orchestration_run_id", RUN)
    names = ", ".join(f"[{name}]" for name in row)
    stage.sql(f"INSERT INTO meta.{LOADS.name} ({names}) VALUES ({', '.join('?' * len(row))})", *row.values())


def failed_by_hand_without_a_time(stage: Stage) -> None:
    with opened():
        load()
    dbbtrace.shutdown()
    _by_hand(stage)


def succeeded_by_hand_without_a_time(stage: Stage) -> None:
    with opened():
        load()
    dbbtrace.shutdown()
    _by_hand(stage, status="Succeeded")


def node_failed_by_hand_without_a_time(stage: Stage) -> None:
    with opened(), dbbtrace.transformation(), dbbtrace.dbt_node("model.shop.customers"):
        pass
    dbbtrace.shutdown()
    names = [column.name for column in DBT_NODES.columns if not column.added]
    said = {
        "invocation_id": "'another'", "status": "'error'", "generated_at": "NULL", "process_started_at": "NULL",
        "process_completed_at": "NULL", "relation_name": "NULL",
    }  # fmt: skip
    stage.sql(
        f"INSERT INTO meta.{DBT_NODES.name} ({', '.join(names)}, unique_id)"
        f" SELECT {', '.join(said.get(name, name) for name in names)}, unique_id FROM meta.{DBT_NODES.name}"
    )


def refresh_failed_by_hand_without_a_time(stage: Stage) -> None:
    good(stage)
    dbbtrace.shutdown()
    stage.sql(
        "INSERT INTO meta.monitoring_semantic_model_refresh (orchestration_run_id, semantic_model_id, status)"
        " VALUES (?, ?, 'Failed')",
        RUN,
        MODEL,
    )


def failed_by_hand_under_other_spelling(stage: Stage) -> None:
    with opened():
        load()
    dbbtrace.shutdown()
    at = datetime.fromtimestamp(time.time() - 600, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    _by_hand(stage, table_name="CUSTOMER", schema_name="MDM", source_name="mds", timestamp=at)


def failed_by_hand_in_upper_case(stage: Stage) -> None:
    with opened():
        load()
    dbbtrace.shutdown()
    at = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    _by_hand(stage, table_name="Vendor", timestamp=at, orchestration_run_id=RUN.upper())


def all_by_hand_in_upper_case(stage: Stage) -> None:
    old_rows_of_others(stage)
    stage.sql(f"UPDATE meta.{LOADS.name} SET orchestration_run_id = ?", RUN.upper())


def attempt_fails(stage: Stage) -> None:
    with opened(), dbbtrace.table_load("Customer", schema="mdm", source="MDS") as work:
        for attempt in work.attempts(2):
            with attempt:
                if attempt.number == 1:
                    break_down()


def _workloads(*works: Callable[[], None]) -> None:
    """One workload after the other, in one job that catches what goes wrong in each."""

    def within(work: Callable[[], None]) -> None:
        with dbbtrace.integration():
            work()

    with opened():
        for work in works:
            swallowed(lambda work=work: within(work))  # type: ignore[misc]


def _all_of(*works: Callable[[], None]) -> Callable[[], None]:
    def work() -> None:
        for each in works:
            each()

    return work


def _failing_load() -> None:
    with dbbtrace.table_load("Customer", schema="mdm", source="MDS"):
        break_down()


def workload_done_again(stage: Stage) -> None:
    _workloads(_all_of(load, break_down), _all_of(load, lambda: load("Vendor")))


def workload_goes_on_where_it_failed(stage: Stage) -> None:
    _workloads(_all_of(lambda: load("Vendor"), _failing_load), load)


def workload_begins_again_at_once(stage: Stage) -> None:
    _workloads(break_down, load)


def workload_of_the_next_source(stage: Stage) -> None:
    _workloads(_all_of(load, break_down), lambda: load("Vendor"))


def workload_of_another_job(stage: Stage) -> None:
    stage.run(
        """
    try:
        with dbbtrace.integration():
            with dbbtrace.table_load("Customer", schema="mdm"): pass
            raise RuntimeError("it broke")
    except RuntimeError: pass
    """,
        name="customers.py",
    )
    stage.run(
        """
    with dbbtrace.integration(), dbbtrace.table_load("Vendor", schema="mdm"): pass
    """,
        name="vendors.py",
    )
    assert command("close", RUN).code == 0


def job_fails_and_runs_again(stage: Stage) -> None:
    body = """
    import os
    with dbbtrace.integration():
        if not os.path.exists("before"):
            open("before", "x").close()
            raise RuntimeError("it broke")
        with dbbtrace.table_load("Customer", schema="mdm"): pass
    """
    for _ in range(2):
        stage.run(body, name="customers.py")
    assert command("close", RUN).code == 0


def _source_by_source(stage: Stage, first: str, second: str) -> None:
    """The same script twice, for the source that its environment names."""
    body = """
    import os, signal
    def load(table):
        with dbbtrace.table_load(table, schema="mdm"): pass
    exec(os.environ["WORK"])
    """
    for work in (first, second):
        os.environ["WORK"] = work
        stage.run(body, name="source.py")
    assert command("recover").code == 0
    assert command("close", RUN).code == 0


def job_of_the_next_source(stage: Stage) -> None:
    _source_by_source(stage, "load('Customer'); raise RuntimeError('it broke')", "load('Vendor')")


def job_is_killed_and_the_next_source_comes(stage: Stage) -> None:
    kill = "load('Customer'); dbbtrace.flush(300); os.kill(os.getpid(), signal.SIGKILL)"
    _source_by_source(stage, kill, "load('Vendor')")


def job_breaks_and_does_all_again(stage: Stage) -> None:
    _source_by_source(stage, "load('Customer'); raise RuntimeError('it broke')", "load('Customer'); load('Vendor')")


def _with_arguments(
    stage: Stage, first: str, second: str, loads: str, breaks: str = 'raise RuntimeError("it broke")'
) -> None:
    """The same script twice, with arguments that say which tables it loads. The first time it breaks at Customer."""
    body = f"""
import os, sys
with dbbtrace.join_run(RUN, data_product='Shop', environment='PRD'), dbbtrace.integration():
    for table in sys.argv[1].split(","):
        with {loads}:
            if table == "Customer" and not os.path.exists("before"):
                open("before", "x").close()
                {breaks}
"""
    for arguments in (first, second):
        stage.start(body, "job.py", *arguments.split()).wait()
        assert command("recover").code == 0
    assert command("close", RUN).code in (0, 1)


_LOADS, _STEPS = 'dbbtrace.table_load(table, schema="mdm")', 'dbbtrace.step("fetch", table=table)'


def script_is_retried_with_other_arguments(stage: Stage) -> None:
    _with_arguments(stage, "Country,Customer,Vendor", "Country,Customer,Vendor --again", _LOADS)


_KILLED = "dbbtrace.flush(300); os.kill(os.getpid(), 9)"
_BETWEEN_LOADS = f"""\
dbbtrace.step("look"):
            if table == "Customer" and not os.path.exists("before"):
                open("before", "x").close()
                {_KILLED}
        with {_LOADS}"""


def script_is_killed_and_retried_with_other_arguments(stage: Stage) -> None:
    _with_arguments(stage, "Country,Customer,Vendor", "Country,Customer,Vendor --again", _LOADS, _KILLED)


def script_is_killed_between_loads_and_retried(stage: Stage) -> None:
    _with_arguments(stage, "Country,Customer,Vendor", "Country,Customer,Vendor --again", _BETWEEN_LOADS)


def script_is_killed_between_loads_and_told_to_do_less(stage: Stage) -> None:
    _with_arguments(stage, "Country,Customer,Vendor", "Country", _BETWEEN_LOADS)


def script_is_killed_and_told_to_do_something_else(stage: Stage) -> None:
    _with_arguments(stage, "Country,Customer", "Vendor", _LOADS, _KILLED)


def script_is_told_to_do_less(stage: Stage) -> None:
    _with_arguments(stage, "Country,Customer,Vendor", "Customer", _LOADS)


def script_is_told_to_do_something_else(stage: Stage) -> None:
    _with_arguments(stage, "Country,Customer", "Country,Vendor", _LOADS)


def script_failed_before_it_did_anything(stage: Stage) -> None:
    _with_arguments(stage, "Customer", "Vendor", _STEPS)


def script_of_the_same_name_elsewhere(stage: Stage) -> None:
    for folder, work in (("sap", "raise RuntimeError('no connection')"), ("mds", "pass")):
        stage.path.with_name(folder).mkdir()
        stage.run(
            f"""
    with dbbtrace.integration():
        {work}
        with dbbtrace.table_load("Customer", schema="mdm"): pass
""",
            name=f"{folder}/load.py",
        )
    assert command("close", RUN).code == 0


def job_from_stdin(stage: Stage) -> None:
    _from_stdin("raise RuntimeError('it broke')", "pass")


def job_from_stdin_runs_again(stage: Stage) -> None:
    body = (
        "import os; os.rename('before', 'after') if os.path.exists('before') else open('before', 'x').close() or 1 / 0;"
        " dbbtrace.table_load('Customer').start().end()"
    )
    _from_stdin(body, body)


def _from_stdin(*bodies: str) -> None:
    for body in bodies:
        code = f"import dbbtrace\nwith dbbtrace.orchestration_run({RUN!r}):\n    {body}\n"
        subprocess.run([sys.executable, "-"], input=code, text=True, check=False, stderr=subprocess.DEVNULL)


def job_done_again(stage: Stage) -> None:
    def work() -> None:
        with dbbtrace.join_run(RUN, **PRODUCT):
            break_down()

    swallowed(work)
    with dbbtrace.join_run(RUN, **PRODUCT):
        load()
    dbbtrace.close_run(RUN)
    dbbtrace.flush(300)


def another_job_without_a_name_succeeds(stage: Stage) -> None:
    with opened():
        load()
    dbbtrace.shutdown()
    _without_script("raise RuntimeError('it broke')", "pass")


def a_job_without_a_name_is_done_again(stage: Stage) -> None:
    with opened():
        load()
    dbbtrace.shutdown()
    body = (
        "import os; os.rename('before', 'after') if os.path.exists('before') else open('before', 'x').close() or 1 / 0"
    )
    _without_script(body, body)


def _without_script(*bodies: str) -> None:
    for body in bodies:
        code = f"import dbbtrace\nwith dbbtrace.join_run({RUN!r}):\n    {body}\n"
        subprocess.run([sys.executable, "-c", code], check=False, stderr=subprocess.DEVNULL)


def failed_and_goes_on(stage: Stage) -> None:
    def work() -> None:
        with dbbtrace.table_load("Vendor", schema="mdm", source="MDS"):
            break_down()

    opened().start()
    swallowed(work)
    dbbtrace.flush(300)


# -- what has not ended -----------------------------------------------------------------------------------------


def load_still_runs(stage: Stage) -> None:
    opened().start()
    dbbtrace.table_load("Customer").start()
    dbbtrace.flush(300)


def job_runs_elsewhere(stage: Stage) -> None:
    stage.configure(journal=stage.journal.with_name("elsewhere"))
    opened().start()
    load()
    dbbtrace.flush(300)


def silent_job_elsewhere(stage: Stage) -> None:
    job_runs_elsewhere(stage)
    stage.age(7)


def between_two_jobs(stage: Stage) -> None:
    with dbbtrace.join_run(RUN, **PRODUCT), dbbtrace.integration():
        load()


def never_closed(stage: Stage) -> None:
    between_two_jobs(stage)
    dbbtrace.shutdown()
    stage.age(7)


def closed(stage: Stage) -> None:
    between_two_jobs(stage)
    dbbtrace.close_run(RUN)
    dbbtrace.flush(300)


def closed_as_failed(stage: Stage) -> None:
    between_two_jobs(stage)
    dbbtrace.close_run(RUN, status="Failed")
    dbbtrace.flush(300)


def begun_and_never_ended(stage: Stage) -> None:
    stage.configure(journal=stage.journal.with_name("elsewhere"))
    dbbtrace.begin_run(RUN, **PRODUCT)  # type: ignore[arg-type]
    load()
    dbbtrace.flush(300)


def begun_and_silent(stage: Stage) -> None:
    begun_and_never_ended(stage)
    stage.age(7)


_IN_A_LOAD = """
run = dbbtrace.orchestration_run(RUN, data_product="Shop", environment="PRD").start()
with dbbtrace.table_load("Country", schema="mdm", source="MDS"): pass
dbbtrace.table_load("Customer", schema="mdm", source="MDS").start()
dbbtrace.flush(300)
"""
_BETWEEN = """
run = dbbtrace.orchestration_run(RUN, data_product="Shop", environment="PRD").start()
with dbbtrace.table_load("Country", schema="mdm", source="MDS"): pass
dbbtrace.flush(300)
"""


def killed(stage: Stage) -> None:
    stage.kill(_IN_A_LOAD)


def killed_elsewhere(stage: Stage) -> None:
    killed(stage)
    stage.journal.rename(stage.journal.with_name("elsewhere"))


def killed_elsewhere_long_ago(stage: Stage) -> None:
    killed_elsewhere(stage)
    stage.age(7)


def killed_and_recovered(stage: Stage) -> None:
    killed(stage)
    assert command("--warehouse", stage.url, "recover").code == 0


def killed_between_and_recovered(stage: Stage) -> None:
    stage.kill(_BETWEEN)
    assert command("--warehouse", stage.url, "recover").code == 0


def killed_and_done_again(stage: Stage) -> None:
    killed_between_and_recovered(stage)
    whole = _BETWEEN.replace("dbbtrace.flush(300)", "run.end()")
    assert stage.start(whole).wait() == 0


# -- what is not there ------------------------------------------------------------------------------------------


def row_is_lost(stage: Stage) -> None:
    with opened():
        load()
        load("Vendor")
    dbbtrace.shutdown()
    stage.sql("DELETE FROM meta.monitoring_integration WHERE table_name = 'Vendor'")


def row_is_lost_beside_an_imported_one(stage: Stage) -> None:
    with opened():
        load()
        load("Vendor")
        dbbtrace.record_load("Country", schema="mdm", source="MDS", started_at=time.time(), identity="activity")
    dbbtrace.shutdown()
    stage.sql("DELETE FROM meta.monitoring_integration WHERE table_name = 'Vendor'")


def _made_by_hand(stage: Stage, table: str) -> None:
    """A row of the load, as another program would have written it."""
    names = ", ".join(f"[{column.name}]" for column in LOADS.columns if not column.added)
    stage.sql(
        f"INSERT INTO meta.{LOADS.name} ({names}) SELECT {names} FROM meta.{LOADS.name} WHERE table_name = ?", table
    )


def hand_made_in_its_place(stage: Stage) -> None:
    with opened():
        load()
        load("Vendor")
    dbbtrace.shutdown()
    _made_by_hand(stage, "Vendor")
    stage.sql("DELETE FROM meta.monitoring_integration WHERE table_name = 'Vendor' AND record_id IS NOT NULL")


def row_is_lost_beside_a_hand_made_one(stage: Stage) -> None:
    row_is_lost(stage)
    _made_by_hand(stage, "Customer")


def row_is_lost_beside_a_hand_made_one_of_another_table(stage: Stage) -> None:
    row_is_lost(stage)
    at = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    _by_hand(stage, table_name="Country", status="Succeeded", timestamp=at)


def refresh_is_lost_beside_a_hand_made_one(stage: Stage) -> None:
    refresh_is_lost(stage)
    stage.sql(
        "INSERT INTO meta.monitoring_semantic_model_refresh (orchestration_run_id, semantic_model_id, status,"
        " process_started_at, process_completed_at) SELECT orchestration_run_id, 'another', 'Completed',"
        " process_started_at, process_completed_at FROM meta.monitoring_integration"
    )


def one_of_two_nameless_loads_fails(stage: Stage) -> None:
    with opened():
        with dbbtrace.table_load("", schema="mdm") as work:
            work.fail("it broke")
        with dbbtrace.table_load("", schema="mdm"):
            pass


def name_that_no_column_holds_as_it_is(stage: Stage) -> None:
    with opened(), dbbtrace.integration(), dbbtrace.table_load("a\x00b", source="c\td", schema="mdm"):
        pass


def a_name_is_taken_back(stage: Stage) -> None:
    with opened(), dbbtrace.integration():
        with dbbtrace.table_load("Customer", schema="mdm", identity="r-1") as work:
            work.schema = work.identity = None


def row_is_lost_beside_a_double(stage: Stage) -> None:
    row_is_lost(stage)
    stage.allow_doubles(LOADS)
    stage.sql("INSERT INTO meta.monitoring_integration SELECT * FROM meta.monitoring_integration")


def node_is_lost_beside_a_hand_made_one(stage: Stage) -> None:
    for invocation in ("first", "second"):
        metadata = {
            "dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json",
            "invocation_id": str(uuid5(NAMESPACE_OID, invocation)),
            "generated_at": f"{datetime.now(timezone.utc).replace(tzinfo=None).isoformat()}Z",
        }
        results = [
            {"unique_id": f"model.shop.{name}", "status": "success", "timing": [], "execution_time": 1.0}
            for name in (f"{invocation}_a", f"{invocation}_b")
        ]
        Path("run_results.json").write_text(json.dumps({"metadata": metadata, "args": {}, "results": results}))
        with opened():
            dbbtrace.record_dbt("run_results.json", allow_old=True)
    dbbtrace.shutdown()
    names = ", ".join(f"[{column.name}]" for column in DBT_NODES.columns if not column.added)
    values = names.replace("[item_name]", "'by_hand'")
    rows = f"SELECT {values} FROM meta.{DBT_NODES.name} WHERE item_name = 'first_a'"
    stage.sql(f"INSERT INTO meta.{DBT_NODES.name} ({names}) {rows}")
    stage.sql(f"DELETE FROM meta.{DBT_NODES.name} WHERE item_name = 'second_b'")


def refresh_is_lost(stage: Stage) -> None:
    good(stage)
    dbbtrace.shutdown()
    stage.sql("DELETE FROM meta.monitoring_semantic_model_refresh")


def expected_table_is_absent(stage: Stage) -> None:
    with opened(), dbbtrace.integration(expect=["mdm.Customer", "mdm.Vendor"]):
        load()


def a_model_has_the_name_of_the_expected_table(stage: Stage) -> None:
    with opened():
        with dbbtrace.integration(expect=["Customer"]):
            pass
        with dbbtrace.transformation(), dbbtrace.dbt_node("model.shop.customer"):
            pass


def expected_by_a_file(stage: Stage) -> None:
    Path("integration_source_list.csv").write_text(
        "table_name,schema_name,load_enabled\nCustomer,mdm,yes\nVendor,mdm,yes\nOld,mdm,no\n"
    )
    with opened(), dbbtrace.integration(expect="integration_source_list.csv"):
        load()


def expected_by_an_empty_file(stage: Stage) -> None:
    Path("integration_source_list.csv").write_text("")
    with opened(), dbbtrace.integration(expect="integration_source_list.csv"):
        load()


def expected_by_a_file_without_rows(stage: Stage) -> None:
    Path("integration_source_list.csv").write_text("table_name,schema_name,load_enabled\n")
    with opened(), dbbtrace.integration(expect="integration_source_list.csv"):
        load()


def all_tables_of_the_file_are_disabled(stage: Stage) -> None:
    Path("integration_source_list.csv").write_text("table_name,schema_name,load_enabled\nOld,mdm,no\n")
    with opened(), dbbtrace.integration(expect="integration_source_list.csv"):
        load()


def expected_are_blanks(stage: Stage) -> None:
    with opened(expect=[" ", " "]):
        load()


def expected_are_names_and_a_blank(stage: Stage) -> None:
    with opened(expect=["mdm.Customer", ""]):
        load()


def load_is_done_again_in_upper_case(stage: Stage) -> None:
    body = """
    import os
    with dbbtrace.integration():
        again = os.path.exists("before")
        with dbbtrace.table_load("CUSTOMER" if again else "Customer", schema="mdm"):
            if not again:
                open("before", "x").close()
                raise RuntimeError("it broke")
    """
    for _ in range(2):
        stage.run(body, name="customers.py")
    assert command("close", RUN).code == 0


def expected_by_a_job_that_joins(stage: Stage) -> None:
    with dbbtrace.join_run(RUN, expect=["mdm.Vendor"], **PRODUCT):
        load()
    dbbtrace.close_run(RUN)
    dbbtrace.flush(300)


def expected_in_quotes(stage: Stage) -> None:
    with opened(), dbbtrace.integration(expect=["[MDM].[Customer]", '"mdm"."Vendor"']):
        load()
        load("Vendor")


def expected_node_is_skipped(stage: Stage) -> None:
    with opened(expect={"transformation": ["customers"]}):
        load()
        with dbbtrace.transformation(), dbbtrace.dbt_node("model.shop.customers") as node:
            node.status = "skipped"


def only_what_failed_is_built_again(stage: Stage) -> None:
    with opened():
        for nodes in ({"orders": "error", "customers": "skipped"}, {"orders": "success"}):
            for name, status in nodes.items():
                with dbbtrace.dbt_node(f"model.shop.{name}") as node:
                    node.status = status


def models_without_an_id(stage: Stage) -> None:
    with opened():
        for name in ("Finance", "Sales"):
            with dbbtrace.model_refresh(None, name=name):
                pass


def refresh_is_disabled(stage: Stage) -> None:
    with opened():
        load()
        with dbbtrace.model_refresh(MODEL, name="Finance") as work:
            work.status = "Disabled"


def expected_list_is_missing(stage: Stage) -> None:
    with opened(), dbbtrace.integration(expect="integration_source_list.csv"):
        load()


def job_sets_a_word_that_nobody_knows(stage: Stage) -> None:
    with opened():
        load()
        with dbbtrace.table_load("Vendor", schema="mdm", source="MDS") as work:
            work.status = "Aborted"


def output_of_a_copy_makes_no_sense(stage: Stage) -> None:
    with opened(), dbbtrace.table_load("Vendor", schema="mdm", source="MDS") as work:
        work.from_copy_output(None)


def output_of_a_copy_still_runs_and_ends(stage: Stage) -> None:
    with opened(), dbbtrace.table_load("Vendor", schema="mdm", source="MDS") as work:
        for status in ("InProgress", "Succeeded"):
            work.from_copy_output({"status": status, "output": {"rowsCopied": 3}})


def copy_can_not_be_recorded(stage: Stage) -> None:
    with opened():
        load()
        dbbtrace.record_copy("", "Vendor", schema="mdm", source="MDS")


def details_of_a_refresh_make_no_sense(stage: Stage) -> None:
    with opened():
        load()
        with dbbtrace.model_refresh(MODEL, name="Finance") as work:
            work.from_details("<html>")


def refresh_is_recorded_while_it_runs(stage: Stage) -> None:
    with opened():
        load()
        dbbtrace.record_refresh(MODEL, name="Finance", started_at=time.time(), status="Unknown")


def refresh_is_recorded_again_when_it_has_ended(stage: Stage) -> None:
    with opened():
        load()
        for status in ("Unknown", "Completed"):
            dbbtrace.record_refresh(MODEL, name="Finance", started_at=time.time(), status=status)


def refresh_is_left_running(stage: Stage) -> None:
    with opened():
        load()
        with dbbtrace.model_refresh(MODEL, name="Finance") as work:
            work.status = "Unknown"


def program_ends_well(stage: Stage) -> None:
    _ending(stage, 0)


def program_ends_badly(stage: Stage) -> None:
    _ending(stage, 3)


def _ending(stage: Stage, code: int) -> None:
    """A program that leaves its run by sys.exit."""
    job = f"""
import sys
with dbbtrace.orchestration_run(RUN, data_product="Shop", environment="PRD"):
    with dbbtrace.integration(), dbbtrace.table_load("Customer"): pass
    sys.exit({code})
"""
    assert stage.start(job).wait() == code


def all_that_is_expected(stage: Stage) -> None:
    with opened(expect={"integration": ["Customer"], "consumption": ["Finance"]}):
        load()
        refresh()


def expected_workload_is_absent(stage: Stage) -> None:
    with opened(expect=["integration", "consumption"]), dbbtrace.integration():
        load()


def model_is_not_refreshed(stage: Stage) -> None:
    with opened():
        load()
    dbbtrace.shutdown()
    stage.sql(
        "CREATE TABLE meta.data_product_models (data_product varchar(255), environment varchar(255),"
        " workspace_id uniqueidentifier, model_id uniqueidentifier, is_active bit)"
    )
    stage.sql("INSERT INTO meta.data_product_models VALUES ('Shop', 'PRD', NULL, ?, 1)", MODEL.upper())


def everything_is_skipped(stage: Stage) -> None:
    with opened(), dbbtrace.transformation(), dbbtrace.dbt_node("model.shop.customers") as node:
        node.status = "skipped"


# -- rows of others -----------------------------------------------------------------------------------------------


def rows_of_others(stage: Stage) -> None:
    good(stage)
    dbbtrace.shutdown()
    stage.sql("DELETE FROM meta.monitoring_run_part")


def old_rows_of_others(stage: Stage) -> None:
    rows_of_others(stage)
    stage.age(7)


def no_table_of_parts(stage: Stage) -> None:
    good(stage)
    dbbtrace.shutdown()
    stage.drop(PARTS)


def refresh_of_others_still_runs(stage: Stage) -> None:
    good(stage)
    dbbtrace.shutdown()
    stage.sql("UPDATE meta.monitoring_semantic_model_refresh SET status = 'Unknown', process_completed_at = NULL")


def nobody_knows_how_it_ended(stage: Stage) -> None:
    good(stage)
    dbbtrace.shutdown()
    stage.sql("UPDATE meta.monitoring_semantic_model_refresh SET status = 'Unknown', error_type = 'Interrupted'")


def by_hand(stage: Stage) -> None:
    with dbbtrace.orchestration_run() as run:
        load()
    dbbtrace.shutdown()
    for table in ALL_TABLES:
        stage.sql(
            f"UPDATE meta.{table.name} SET orchestration_run_id = ? WHERE orchestration_run_id = ?", RUN, run.run_id
        )


# -- what history, graph and figures say ----------------------------------------------------------------------------


def stale_model(stage: Stage) -> None:
    def work() -> None:
        with dbbtrace.table_load("Customer", schema="mdm", source="MDS"):
            break_down()

    with opened():
        swallowed(work)
        with dbbtrace.transformation(), dbbtrace.dbt_node("model.shop.customers"):
            pass
    dbbtrace.shutdown()
    stage.sql(f"UPDATE meta.{DBT_NODES.name} SET depends_on = '[\"source.shop.MDS.Customer\"]'")


def new_warning(stage: Stage) -> None:
    with opened(), dbbtrace.transformation(), dbbtrace.dbt_node("test.shop.unique_id") as node:
        node.status, node.failures = "warn", 3


def standing_warning(stage: Stage) -> None:
    with dbbtrace.orchestration_run("before", **PRODUCT), dbbtrace.dbt_node("test.shop.unique_id") as node:  # type: ignore[arg-type]
        node.status, node.failures = "warn", 3
    dbbtrace.shutdown()
    stage.age(24)
    stage.configure()
    new_warning(stage)


def worse_warning(stage: Stage) -> None:
    standing_warning(stage)
    dbbtrace.shutdown()
    stage.sql(f"UPDATE meta.{DBT_NODES.name} SET failures = '4' WHERE orchestration_run_id = ?", RUN)


def _before(stage: Stage, times: int, *tables: str, rows: int = 1000, apart: int = 24) -> None:
    """The same run so many times before, hours apart."""
    for day in range(times):
        with dbbtrace.orchestration_run(f"day {day}", **PRODUCT):  # type: ignore[arg-type]
            for table in tables:
                load(table, rows + day)
        dbbtrace.shutdown()
        stage.age(apart)
        stage.configure()


def usual_table_is_absent(stage: Stage) -> None:
    _before(stage, 4, "Customer", "Vendor", apart=7 * 24)
    with opened():
        load("Customer", 1000)


def fewer_rows(stage: Stage) -> None:
    _before(stage, 8, "Customer")
    with opened():
        load("Customer", 12)


def fewer_rows_after_success(stage: Stage) -> None:
    _before(stage, 8, "Customer")
    dbbtrace.shutdown()
    stage.sql(f"UPDATE meta.{LOADS.name} SET status = 'Success'")  # as one of the platform's pipelines spells it
    stage.configure()
    with opened():
        load("Customer", 12)


def rows_that_nobody_counted(stage: Stage) -> None:
    _before(stage, 8, "Customer")
    dbbtrace.shutdown()
    stage.sql(f"UPDATE meta.{LOADS.name} SET rows_written = -1, rows_read = -1")
    stage.configure()
    with opened():
        load("Customer", 12)


def first_load(stage: Stage) -> None:
    _before(stage, 3, "Customer")
    with opened():
        load("Customer", 12)


def repair(stage: Stage) -> None:
    _before(stage, 4, "Customer", "Vendor", apart=7 * 24)
    with opened(repairs="day 3"):
        load("Customer", 1000)


def empty_table(stage: Stage) -> None:
    good(stage)
    dbbtrace.shutdown()
    stage.sql(
        f"CREATE TABLE meta.{VALIDATIONS.name} ("
        + ", ".join(f"[{column.name}] {column.sql_type}" for column in VALIDATIONS.columns)
        + ")"
    )
    stage.sql(
        "INSERT INTO meta.monitoring_integration_validation SELECT 'x', 'MDS', 'mdm.Customer', NULL, 0, NULL,"
        f" process_completed_at FROM meta.{LOADS.name}"
    )


def readers_find_nothing(stage: Stage) -> None:
    with opened():
        with dbbtrace.table_load("Customer", schema="mdm", source="MDS", verify=lambda: 0) as work:
            work.rows_written = 10


def verify_forgets_to_answer(stage: Stage) -> None:
    with opened(), dbbtrace.table_load("Customer", schema="mdm", source="MDS", verify=lambda: None):
        pass


def loaded_again_until_there(stage: Stage) -> None:
    counts = iter([0, 10])
    with opened():
        for _ in range(2):
            with dbbtrace.table_load("Customer", schema="mdm", source="MDS", verify=lambda: next(counts)) as work:
                work.rows_written = 10
            if work.verified:
                break


def _kpi(stage: Stage, *amounts: tuple[str, float]) -> None:
    good(stage)
    dbbtrace.shutdown()
    stage.sql(
        "CREATE TABLE meta.kpi_reconciliation_history (orchestration_run_id varchar(255), data_product varchar(255),"
        " source_name varchar(255), kpi_name varchar(255), amount float, reconciliation_pipeline_run_id varchar(255))"
    )
    for source, amount in amounts:
        stage.sql(
            "INSERT INTO meta.kpi_reconciliation_history VALUES (?, 'Shop', ?, 'Revenue', ?, 'p')", RUN, source, amount
        )


def figures_differ(stage: Stage) -> None:
    _kpi(stage, ("SAP", 100.0), ("warehouse", 90.0))


def figures_differ_little(stage: Stage) -> None:
    os.environ["DBBTRACE_RECONCILIATION_TOLERANCE"] = "Revenue=20"
    figures_differ(stage)


def a_source_tells_two_figures(stage: Stage) -> None:
    _kpi(stage, ("SAP", 100.0), ("warehouse", 90.0), ("warehouse", 100.0))


def one_source_only(stage: Stage) -> None:
    _kpi(stage, ("SAP", 100.0))


def closed_by_a_wrong_id(stage: Stage) -> None:
    with dbbtrace.join_run("another", **PRODUCT):  # type: ignore[arg-type]
        load()
    dbbtrace.close_run(RUN)


def unknown_run(stage: Stage) -> None:
    with dbbtrace.orchestration_run("another", **PRODUCT):  # type: ignore[arg-type]
        load()


SITUATIONS = {
    "a good run": Situation(good, "Succeeded", 0, ""),
    "an exception in the integration": Situation(exception_in_a_workload, "Failed", 1, "integration failed"),
    "an exception in a step": Situation(exception_in_a_step, "Failed", 1, "it broke"),
    "an exception between two operations": Situation(exception_between_operations, "Failed", 1, "it broke"),
    "run.fail()": Situation(said_to_have_failed, "Failed", 1, "the source was closed"),
    "a job that joined raises": Situation(joiner_raises, "Failed", 1, "it broke"),
    "dbt could not start": Situation(dbt_left_nothing, "Failed", 1, "dbt failed"),
    "docs overwrote what dbt built": Situation(dbt_overwrote_what_it_built, "Warned", 0, "builds nothing"),
    "dbt selected nothing": Situation(
        dbt_selected_nothing, "Incomplete", 1, "dbt build --select tag:Finanse did nothing"
    ),
    "dbt selected nothing, live": Situation(
        dbt_selected_nothing_live, "Incomplete", 1, "dbt build --select tag:Finanse did nothing"
    ),
    "dbt had a project without models": Situation(
        dbt_had_a_project_without_models, "Incomplete", 1, "its project holds nothing to build"
    ),
    "everything was excluded": Situation(
        everything_is_excluded, "Incomplete", 1, "dbt build did nothing: nothing matches its selection"
    ),
    "dbt was to build what has changed, and nothing had": Situation(nothing_has_changed, "Succeeded", 0, ""),
    "the same, and nothing else was to be done": Situation(nothing_has_changed_and_that_was_all, "Succeeded", 0, ""),
    "a selector of the project's selected nothing": Situation(
        a_selector_selects_nothing, "Warned", 0, "dbt build --selector changed did nothing"
    ),
    "no test was selected": Situation(no_test_is_selected, "Warned", 0, "dbt test --select tag:Shop did nothing"),
    "a project without seeds": Situation(project_without_seeds, "Succeeded", 0, ""),
    "dbt selected nothing, and then all": Situation(dbt_selected_nothing_and_then_all, "Succeeded", 0, ""),
    "dbt selected nothing, and then something else": Situation(
        dbt_selected_nothing_and_then_something_else, "Incomplete", 1, "tag:Finanse"
    ),
    "dbt retry had nothing to do": Situation(dbt_retried_nothing, "Succeeded", 0, ""),
    "dbt selected nothing, and somebody knows": Situation(
        dbt_selected_nothing_and_somebody_knows, "Succeeded", 0, "no models yet"
    ),
    "dbt could not start, and another build did": Situation(
        dbt_could_not_start_and_another_did, "Failed", 1, "exit code 2"
    ),
    "an operation of dbt failed, and another did not": Situation(
        an_operation_of_dbt_failed_and_another_did_not, "Failed", 1, "exit code 2"
    ),
    "dbt could not start, and did the second time": Situation(
        dbt_could_not_start_and_did_the_second_time, "Succeeded", 0, ""
    ),
    "dbt could not start, and built all the second time": Situation(
        dbt_could_not_start_and_built_all, "Succeeded", 0, ""
    ),
    "dbt could not start, and built more the second time": Situation(
        dbt_could_not_start_and_built_more, "Succeeded", 0, ""
    ),
    "dbt could not start, and built less the second time": Situation(
        dbt_could_not_start_and_built_less, "Failed", 1, "exit code 2"
    ),
    "dbt could not start, and left some out the second time": Situation(
        dbt_could_not_start_and_left_some_out, "Failed", 1, "exit code 2"
    ),
    "a step failed and was caught": Situation(step_fails_and_is_caught, "Warned", 0, "optional"),
    "the same, and no warnings allowed": Situation(
        step_fails_and_is_caught, "Warned", 1, "optional", ("--no-warnings",)
    ),
    "a load failed": Situation(load_fails, "Failed", 1, "mdm.Vendor"),
    "a load failed and was done again": Situation(load_fails_and_is_done_again, "Succeeded", 0, ""),
    "failed by hand, without a time": Situation(failed_by_hand_without_a_time, "Failed", 1, "mdm.Customer"),
    "succeeded by hand, without a time": Situation(succeeded_by_hand_without_a_time, "Succeeded", 0, ""),
    "a node failed by hand, without a time": Situation(node_failed_by_hand_without_a_time, "Failed", 1, "customers"),
    "a refresh failed by hand, without a time": Situation(refresh_failed_by_hand_without_a_time, "Failed", 1, MODEL),
    "failed by hand before, under a name in upper case": Situation(
        failed_by_hand_under_other_spelling, "Succeeded", 0, ""
    ),
    "failed by hand, with the run's id in upper case": Situation(
        failed_by_hand_in_upper_case, "Failed", 1, "mdm.Vendor"
    ),
    "all by hand, with the run's id in upper case": Situation(all_by_hand_in_upper_case, "Succeeded", 0, "rows alone"),
    "a step is done again": Situation(step_is_done_again, "Succeeded", 0, ""),
    "a step fails, and one with other attributes does not": Situation(
        step_of_another_table_succeeds, "Warned", 0, "step fetch failed"
    ),
    "a step fails, and one with attributes does not": Situation(
        step_with_attributes_succeeds, "Warned", 0, "step fetch failed"
    ),
    "steps alone": Situation(steps_alone, "Succeeded", 0, ""),
    "nothing at all": Situation(nothing_at_all, "Incomplete", 1, "nothing was done"),
    "a workload without operations": Situation(workload_without_operations, "Incomplete", 1, "nothing was done"),
    "dbt left nothing, and built all the second time": Situation(dbt_left_nothing_and_built_all, "Succeeded", 0, ""),
    "dbt left nothing, and built the same the second time": Situation(
        dbt_left_nothing_and_built_the_same, "Succeeded", 0, ""
    ),
    "dbt left nothing, and dbt retry did": Situation(
        dbt_left_nothing_and_retried, "Warned", 0, "nothing tells that what had failed was done again"
    ),
    "dbt left nothing, and built nobody knows what the second time": Situation(
        dbt_left_nothing_and_built_some, "Warned", 0, "nothing tells that what had failed was done again"
    ),
    "dbt left nothing, and built something elsewhere": Situation(
        dbt_left_nothing_and_another_folder_has_some, "Failed", 1, "dbt failed"
    ),
    "dbt left nothing, and left some out elsewhere": Situation(
        dbt_left_nothing_and_left_some_out, "Failed", 1, "dbt failed"
    ),
    "a script is retried with other arguments": Situation(script_is_retried_with_other_arguments, "Succeeded", 0, ""),
    "a script is killed, and retried with other arguments": Situation(
        script_is_killed_and_retried_with_other_arguments, "Warned", 0, "with other arguments, and nothing tells"
    ),
    "a script is killed between two loads, and retried with other arguments": Situation(
        script_is_killed_between_loads_and_retried, "Warned", 0, "with other arguments, and nothing tells"
    ),
    "a script is killed between two loads, and told to do less": Situation(
        script_is_killed_between_loads_and_told_to_do_less, "Failed", 1, "did not go on where it had stopped"
    ),
    "a script is killed, and told to do something else": Situation(
        script_is_killed_and_told_to_do_something_else, "Failed", 1, "mdm.Customer failed"
    ),
    "a script is told to do less the second time": Situation(
        script_is_told_to_do_less, "Warned", 0, "with other arguments, and nothing tells"
    ),
    "a script is told to do something else the second time": Situation(
        script_is_told_to_do_something_else, "Failed", 1, "it broke"
    ),
    "a script fails before it does anything, and is told something else": Situation(
        script_failed_before_it_did_anything, "Failed", 1, "it broke"
    ),
    "an attempt failed": Situation(attempt_fails, "Succeeded", 0, ""),
    "a workload was done again": Situation(workload_done_again, "Succeeded", 0, ""),
    "a workload goes on where it failed": Situation(workload_goes_on_where_it_failed, "Succeeded", 0, ""),
    "a workload failed at once, and began again": Situation(
        workload_begins_again_at_once, "Warned", 0, "nothing tells that what had failed was done again"
    ),
    "a workload failed, and the next source's did not": Situation(
        workload_of_the_next_source, "Failed", 1, "did nothing again of what it had done: mdm.Customer"
    ),
    "a workload failed, and another job's did not": Situation(
        workload_of_another_job, "Failed", 1, "workload integration failed: RuntimeError: it broke"
    ),
    "a job failed in a workload, and ran again": Situation(job_fails_and_runs_again, "Succeeded", 0, ""),
    "a script failed, and did not for the next source": Situation(
        job_of_the_next_source, "Warned", 0, "nothing tells that what had failed was done again"
    ),
    "a script was killed, and not for the next source": Situation(
        job_is_killed_and_the_next_source_comes, "Warned", 0, "nothing tells that what had failed was done again"
    ),
    "a script failed, and did all of it again": Situation(job_breaks_and_does_all_again, "Succeeded", 0, ""),
    "a script failed, and one of the same name elsewhere did not": Situation(
        script_of_the_same_name_elsewhere, "Warned", 0, "nothing tells that what had failed was done again"
    ),
    "a job from stdin failed, and another did not": Situation(job_from_stdin, "Failed", 1, "it broke"),
    "a job from stdin was done again": Situation(job_from_stdin_runs_again, "Succeeded", 0, ""),
    "a job was done again": Situation(job_done_again, "Succeeded", 0, ""),
    "a job without a name failed, and another did not": Situation(
        another_job_without_a_name_succeeds, "Failed", 1, "it broke"
    ),
    "a job without a name was done again": Situation(a_job_without_a_name_is_done_again, "Succeeded", 0, ""),
    "failed, and it goes on": Situation(failed_and_goes_on, "Failed", 1, "mdm.Vendor"),
    "a load still runs": Situation(load_still_runs, "Running", 3, "runs here"),
    "a job runs on another machine": Situation(job_runs_elsewhere, "Running", 3, "has not ended"),
    "the same, silent for hours": Situation(silent_job_elsewhere, "Unfinished", 1, "has not ended"),
    "between two jobs": Situation(between_two_jobs, "Running", 3, "nobody has said"),
    "never closed": Situation(never_closed, "Unfinished", 1, "nobody has said"),
    "closed": Situation(closed, "Succeeded", 0, ""),
    "closed by a wrong id": Situation(closed_by_a_wrong_id, "Incomplete", 1, "nothing that it did is in the tables"),
    "closed as failed": Situation(closed_as_failed, "Failed", 1, "the run failed"),
    "begun in a notebook and not ended": Situation(begun_and_never_ended, "Running", 3, "begin_run"),
    "begun in a notebook, silent for hours": Situation(begun_and_silent, "Unfinished", 1, "begin_run"),
    "killed, nobody recovers": Situation(killed, "Unfinished", 1, "dbbtrace recover"),
    "killed on another machine": Situation(killed_elsewhere, "Running", 3, "has not ended"),
    "the same, long ago": Situation(killed_elsewhere_long_ago, "Unfinished", 1, "has not ended"),
    "killed in a load and recovered": Situation(killed_and_recovered, "Failed", 1, "mdm.Customer"),
    "killed between loads and recovered": Situation(killed_between_and_recovered, "Unfinished", 1, "interrupted"),
    "killed, recovered, done again": Situation(killed_and_done_again, "Succeeded", 0, ""),
    "a row is lost": Situation(row_is_lost, "Incomplete", 1, "1 table load"),
    "a row is lost beside an imported one": Situation(
        row_is_lost_beside_an_imported_one, "Incomplete", 1, "1 table load that a job recorded"
    ),
    "a row is lost beside a hand-made one": Situation(
        row_is_lost_beside_a_hand_made_one, "Incomplete", 1, "1 table load that a job recorded"
    ),
    "a row is lost beside a hand-made one of another table": Situation(
        row_is_lost_beside_a_hand_made_one_of_another_table, "Incomplete", 1, "1 table load that a job recorded"
    ),
    "a refresh is lost beside a hand-made one of another model": Situation(
        refresh_is_lost_beside_a_hand_made_one, "Incomplete", 1, "1 model refresh that a job recorded"
    ),
    "one of two loads without a name failed": Situation(one_of_two_nameless_loads_fails, "Failed", 1, "it broke"),
    "a name is taken back": Situation(a_name_is_taken_back, "Succeeded", 0, ""),
    "a name that no column holds as it is": Situation(name_that_no_column_holds_as_it_is, "Succeeded", 0, ""),
    "a row is lost beside a double": Situation(
        row_is_lost_beside_a_double, "Incomplete", 1, "1 table load that a job recorded"
    ),
    "a node is lost beside a hand-made one": Situation(
        node_is_lost_beside_a_hand_made_one, "Incomplete", 1, "1 dbt node that a job recorded"
    ),
    "a hand-made row in its place": Situation(hand_made_in_its_place, "Succeeded", 0, ""),
    "a refresh is lost": Situation(refresh_is_lost, "Incomplete", 1, "1 model refresh"),
    "an expected table is absent": Situation(expected_table_is_absent, "Incomplete", 1, "mdm.Vendor"),
    "a model has the name of the expected table": Situation(
        a_model_has_the_name_of_the_expected_table, "Incomplete", 1, "Customer is not there"
    ),
    "an expected node was skipped": Situation(expected_node_is_skipped, "Incomplete", 1, "customers was skipped"),
    "only the model that failed is built again": Situation(
        only_what_failed_is_built_again, "Incomplete", 1, "customers was skipped, and was not built later"
    ),
    "models without an id": Situation(models_without_an_id, "Succeeded", 0, ""),
    "a refresh is disabled": Situation(refresh_is_disabled, "Incomplete", 1, "Finance was not refreshed"),
    "expected by a file that is empty": Situation(
        expected_by_an_empty_file, "Incomplete", 1, "integration_source_list.csv is not there"
    ),
    "expected by a file without rows": Situation(
        expected_by_a_file_without_rows, "Incomplete", 1, "integration_source_list.csv is not there"
    ),
    "all tables of the file are disabled": Situation(all_tables_of_the_file_are_disabled, "Succeeded", 0, ""),
    "expected are blanks": Situation(expected_are_blanks, "Incomplete", 1, "(no name) is not there"),
    "expected are names and a blank": Situation(expected_are_names_and_a_blank, "Succeeded", 0, ""),
    "a load failed, and was done again in upper case": Situation(load_is_done_again_in_upper_case, "Succeeded", 0, ""),
    "expected by a job that joins": Situation(
        expected_by_a_job_that_joins, "Incomplete", 1, "mdm.Vendor is not there; join_run says"
    ),
    "expected in quotes": Situation(expected_in_quotes, "Succeeded", 0, ""),
    "expected by a file": Situation(expected_by_a_file, "Incomplete", 1, "mdm.Vendor"),
    "the list of expected tables is missing": Situation(
        expected_list_is_missing, "Incomplete", 1, "integration_source_list.csv is not there"
    ),
    "a load ends with a word that nobody knows": Situation(
        job_sets_a_word_that_nobody_knows, "Failed", 1, "the job set status 'Aborted'"
    ),
    "what a Copy gave makes no sense": Situation(output_of_a_copy_makes_no_sense, "Failed", 1, "is not a JSON object"),
    "what a Copy gave says that it runs, and then that it ended": Situation(
        output_of_a_copy_still_runs_and_ends, "Succeeded", 0, ""
    ),
    "a Copy can't be recorded": Situation(copy_can_not_be_recorded, "Warned", 0, "record Vendor failed"),
    "what Power BI says makes no sense": Situation(details_of_a_refresh_make_no_sense, "Failed", 1, "Finance"),
    "a refresh is recorded while it runs": Situation(
        refresh_is_recorded_while_it_runs, "Incomplete", 1, "Finance is not there"
    ),
    "a refresh is recorded while it runs, and when it has ended": Situation(
        refresh_is_recorded_again_when_it_has_ended, "Succeeded", 0, ""
    ),
    "a refresh is left running": Situation(refresh_is_left_running, "Incomplete", 1, "Finance is not there"),
    "the program ends with sys.exit(0)": Situation(program_ends_well, "Succeeded", 0, ""),
    "the program ends with sys.exit(3)": Situation(program_ends_badly, "Failed", 1, "SystemExit: 3"),
    "all that is expected is there": Situation(all_that_is_expected, "Succeeded", 0, ""),
    "an expected workload is absent": Situation(expected_workload_is_absent, "Incomplete", 1, "consumption"),
    "a model is not refreshed": Situation(model_is_not_refreshed, "Incomplete", 1, MODEL),
    "everything was skipped": Situation(everything_is_skipped, "Incomplete", 1, "skipped"),
    "rows of others, just now": Situation(rows_of_others, "Running", 3, "rows alone"),
    "rows of others, of long ago": Situation(old_rows_of_others, "Succeeded", 0, "rows alone"),
    "no table of parts": Situation(no_table_of_parts, "Succeeded", 0, "dbbtrace migrate"),
    "a refresh of others still runs": Situation(refresh_of_others_still_runs, "Running", 3, "Finance"),
    "nobody knows how a refresh ended": Situation(nobody_knows_how_it_ended, "Unfinished", 1, "Finance"),
    "a run by hand": Situation(by_hand, "Succeeded", 0, ""),
    "a model on old data": Situation(stale_model, "Failed", 1, "built on old data"),
    "a new warning": Situation(new_warning, "Warned", 0, "unique_id"),
    "a standing warning": Situation(standing_warning, "Succeeded", 0, "as before"),
    "a warning of more": Situation(worse_warning, "Warned", 0, "warns of 4, after 3"),
    "a usual table is absent": Situation(usual_table_is_absent, "Warned", 0, "mdm.Vendor was not loaded"),
    "fewer rows than usual": Situation(fewer_rows, "Warned", 0, "mdm.Customer brought 12 rows"),
    "fewer rows than usual, and loads said Success": Situation(
        fewer_rows_after_success, "Warned", 0, "mdm.Customer brought 12 rows"
    ),
    "rows that nobody counted before": Situation(rows_that_nobody_counted, "Succeeded", 0, ""),
    "few rows in the fourth run": Situation(first_load, "Succeeded", 0, ""),
    "a repair of one table": Situation(repair, "Succeeded", 0, ""),
    "an empty table": Situation(empty_table, "Warned", 0, "mdm.Customer has no rows"),
    "verify forgets to answer": Situation(verify_forgets_to_answer, "Warned", 0, "could not be counted"),
    "readers find nothing": Situation(readers_find_nothing, "Warned", 0, "mdm.Customer has no rows"),
    "loaded again until readers find it": Situation(loaded_again_until_there, "Succeeded", 0, ""),
    "figures differ": Situation(figures_differ, "Failed", 1, "Revenue differs by 10"),
    "figures differ within the tolerance": Situation(figures_differ_little, "Succeeded", 0, ""),
    "a source tells two figures": Situation(a_source_tells_two_figures, "Failed", 1, "Revenue differs by 10"),
    "a figure of one source": Situation(one_source_only, "Succeeded", 0, ""),
    "a run that nobody knows": Situation(unknown_run, "Unfinished", 2, "nothing of this run"),
}
