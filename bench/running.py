"""The cost of isolation: one experiment in a process of its own, in this process, in a warm process, as a script."""

import importlib.util
import json
import subprocess
import sys
from typing import Any, Self

from bench.interleaved import time_interleaved
from qa_service.experiments.parameters import fill_defaults
from qa_service.experiments.spec import load_specs
from qa_service.lab.runner import SERVER_PRELOAD, ProcessRunner
from qa_service.paths import bundled

SLUG = "pow_vs_sum"


def isolation_cost() -> None:
    """Wall time of a process per run, against this process, a warm process and `python script.py`."""
    runner = ProcessRunner(preload=SERVER_PRELOAD)
    runner_with_idle = ProcessRunner(preload=SERVER_PRELOAD, idle=2)
    experiment = load_specs(bundled("demos"))[SLUG]
    params = fill_defaults(experiment, {})
    demo = import_demo(experiment.path)

    def in_process() -> None:
        for _ in demo.run(**params):
            pass

    def script() -> None:
        subprocess.run([sys.executable, experiment.path], check=True, capture_output=True)

    runner.run(experiment, params)
    runner_with_idle.run(experiment, params)
    with WarmProcess(experiment.path) as warm:
        time_interleaved(
            {
                "in this process": in_process,
                "in an idle child": lambda: runner_with_idle.run(experiment, params),
                "in a child forked on demand": lambda: runner.run(experiment, params),
                "in one warm process, no isolation": lambda: warm.run(params),
                "python script.py": script,
            },
            rounds=15,
        )


class WarmProcess:
    """A process that has the experiment loaded and runs it on request over a pipe, as a notebook kernel would.

    Its runs are not isolated from each other.
    """

    _CODE = (
        "import json, sys\nfrom bench.running import import_demo\ndemo = import_demo(sys.argv[1])\n"
        "for line in sys.stdin:\n    rows = list(demo.run(**json.loads(line)))\n    print(json.dumps(rows), flush=True)"
    )

    def __init__(self, path: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._CODE, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, params: dict[str, Any]) -> list[Any]:
        """Runs the experiment; returns its rows."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(params) + "\n")
        self._process.stdin.flush()
        rows: list[Any] = json.loads(self._process.stdout.readline())
        return rows


def import_demo(path: str) -> Any:
    """The experiment at `path` as a module."""
    spec = importlib.util.spec_from_file_location("demo", path)
    assert spec
    assert spec.loader
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    return demo
