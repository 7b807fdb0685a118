"""The time of `numstab ask` in a new process, against a plain torch script that computes the same numbers."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
    """Prints median CPU and wall time of cold starts.

    Text only is compared with `import torch`, an answer with runs with a bare script.
    """
    demos = [str(bundled("demos") / "gradients" / f"{slug}.py") for slug in ("pow_vs_sum", "residual_depth")]
    both = f"import runpy\nfor demo in {demos}:\n    runpy.run_path(demo, run_name='__main__')\n"
    ask = [sys.executable, "-m", "qa_service", "ask", EXAMPLE_QUESTION]
    commands = {
        "import torch": [sys.executable, "-c", "import torch"],
        "numstab ask --no-run": [*ask, "--no-run"],
        "script of one experiment": [sys.executable, demos[0]],
        "script of both experiments": [sys.executable, "-c", both],
        "numstab ask, which runs both": ask,
    }
    print(f"{os.cpu_count()} cores, load before {Path('/proc/loadavg').read_text().split()[0]}")
    cpu: dict[str, list[float]] = {name: [] for name in commands}
    wall: dict[str, list[float]] = {name: [] for name in commands}
    for round_ in range(8):
        for name, command in commands.items():
            before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
            if round_:  # the first round builds the caches
                cpu[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
                wall[name].append(seconds)
    for name in commands:
        print(f"{name:30s} median CPU {statistics.median(cpu[name]):6.2f} s   wall {statistics.median(wall[name]):6.2f}"
              f" ({min(wall[name]):.2f} … {max(wall[name]):.2f}) s")  # fmt: skip
    for name, base, aim in (
        ("numstab ask --no-run", "import torch", 0.6),
        ("numstab ask, which runs both", "script of one experiment", 1.8),
        ("numstab ask, which runs both", "script of both experiments", 1.8),
    ):
        ratios = [statistics.median(each[name]) / statistics.median(each[base]) for each in (cpu, wall)]
        print(f"{name} / {base}: CPU x{ratios[0]:.2f}, wall x{ratios[1]:.2f} (aim: x{aim})")


def _first_text(command: list[str], env: dict[str, str]) -> float:
    """Seconds until the command prints its first line."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env) as child:
        assert child.stdout is not None
        child.stdout.readline()
        first = time.perf_counter() - started
        child.stdout.read()
    return first
