"""The time of `numstab ask` in a new process, against a plain torch script that computes the same numbers."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from bench.interleaved import time_interleaved
from qa_service.paths import bundled

EXAMPLE_QUESTION = "100 个 1.5 连乘会怎样？"


def first_answer() -> None:
    """Wall time of `numstab ask` against a script that runs the same two experiments; time to its first text."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "NUMSTAB_CACHE": folder}
        ask = [sys.executable, "-m", "qa_service", "ask", EXAMPLE_QUESTION]

        demos = [str(bundled("demos") / "gradients" / f"{slug}.py") for slug in ("pow_vs_sum", "residual_depth")]
        script = f"import runpy\nfor demo in {demos}:\n    runpy.run_path(demo, run_name='__main__')\n"

        def torch_script() -> None:
            subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)

        def numstab_ask() -> None:
            subprocess.run(ask, check=True, capture_output=True, env=env)

        time_interleaved({"plain torch script": torch_script, "numstab ask": numstab_ask}, rounds=5)
        print(f"first text of numstab ask after {_first_text(ask, env) * 1e3:.0f} ms")


def cold_start() -> None:
    """CPU seconds (user and system) of an answer without evidence, against `import torch` alone."""
    commands = {
        "import torch": [sys.executable, "-c", "import torch"],
        "numstab ask --no-run": [sys.executable, "-m", "qa_service", "ask", "--no-run", EXAMPLE_QUESTION],
    }
    cpu_seconds: dict[str, list[float]] = {name: [] for name in commands}
    for round_ in range(8):
        for name, command in commands.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if round_:  # the first round builds the caches
                cpu_seconds[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    base = statistics.median(cpu_seconds["import torch"])
    for name, each in cpu_seconds.items():
        spread = f"{min(each):.2f} … {max(each):.2f} s"
        print(f"{name:34s} median {statistics.median(each):9.2f} s   {spread}   x{statistics.median(each) / base:.2f}")


def _first_text(command: list[str], env: dict[str, str]) -> float:
    """Seconds until the command prints its first line."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env) as child:
        assert child.stdout is not None
        child.stdout.readline()
        first = time.perf_counter() - started
        child.stdout.read()
    return first
