"""gateway.yaml: ten thousand spans of many runs, from senders side by side, over two receivers into one warehouse.

Half of the senders send to an agent, which sends to the gateway.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from uuid import UUID

from tests.e2e.programs import Programs, eventually
from tests.e2e.runs import JOBS, job_environment, record_ids, rows

SENDERS, RUNS, LOADS = 4, 20, 125
"""Each sender records so many loads in each of so many runs of its own: ten thousand in all."""


def test_ten_thousand_spans_of_parallel_senders_are_shared_out_by_run(programs: Programs, tmp_path: Path) -> None:
    """Every row stands once, though one receiver is away for a while; each run went through one receiver."""
    warehouse = f"sqlite:///{tmp_path}/warehouse.db"
    jaeger = programs.jaeger()
    first, second = programs.receiver(warehouse, "first"), programs.receiver(warehouse, "second")
    gateway = programs.gateway(jaeger, first, second)
    agent = programs.agent_to_gateway(gateway)
    second.kill()

    senders = []
    for number in range(SENDERS):
        environment = job_environment(agent if number < 2 else gateway, "grpc" if number % 2 else "http/protobuf")
        environment["DBBTRACE_JOURNAL_DIR"] = str(tmp_path / f"journal{number}")
        senders.append(
            subprocess.Popen([sys.executable, JOBS / "many.py", str(number), str(RUNS), str(LOADS)], env=environment)
        )
    try:
        assert [sender.wait(240) for sender in senders] == [0] * SENDERS
    finally:
        for sender in senders:
            sender.kill()
    second.start()

    expected = SENDERS * RUNS * LOADS
    ids = eventually(lambda: record_ids(warehouse), lambda ids: len(ids) == expected, within=120)
    assert len(ids) == len(set(ids)) == expected == 10_000

    def sent() -> list[float]:
        return [gateway.sent(f"otlp_http/warehouse_{number}") for number in (1, 2)]

    shares = eventually(sent, lambda shares: sum(shares) >= expected)
    assert min(shares) >= 10 * LOADS, shares
    if sum(shares) == expected:  # on a machine so busy that a sender ran out of patience, something was sent twice
        assert all(share % LOADS == 0 for share in shares), f"a run was split: {shares}"

    runs = [str(UUID(int=sender << 64 | run)) for sender in range(SENDERS) for run in range(1, RUNS + 1)]
    assert Counter(len(rows(warehouse, run_id)) for run_id in runs) == {LOADS: SENDERS * RUNS}
    seen = eventually(
        lambda: {run: len(jaeger.spans(UUID(run).hex)) for run in runs}, lambda seen: min(seen.values()) == LOADS
    )
    assert {run: spans for run, spans in seen.items() if spans != LOADS} == {}
