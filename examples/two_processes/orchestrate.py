"""The orchestrator starts two jobs that share only the run id: examples/two_processes/orchestrate.py"""

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import dbbtrace

HERE = Path(__file__).parent


def main() -> None:
    run_id = str(uuid4())
    with dbbtrace.orchestration_run(run_id, data_product="Shop", environment="TST"):
        for job in ("load.py", "refresh.py"):
            subprocess.run([sys.executable, HERE / job, run_id], check=True)
    print(run_id)


if __name__ == "__main__":
    main()
