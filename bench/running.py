"""One experiment: in a child of its own, in this process, in a warm one that is shared, and as a script."""

import importlib.util
import json
import subprocess
import sys
from typing import Any, Self

from bench.interleaved import time_interleaved
from qa_service.experiments.parameters import fill_defaults
from qa_service.lab.runner import SERVER, ProcessRunner
from qa_service.paths import bundled

SLUG = "pow_vs_sum"


def isolation_cost() -> None:
    """What a process per run costs over running in this process, and against a warm process and `python script.py`."""
    lab = ProcessRunner(bundled("demos"), warm=SERVER)
    ahead = ProcessRunner(bundled("demos"), warm=SERVER, idle=2)
    experiment = lab.experiment(SLUG)
    params = fill_defaults(experiment, {})
    demo = import_demo(experiment.path)

    def here() -> None:
        for _ in demo.run(**params):
            pass

    def script() -> None:
        subprocess.run([sys.executable, experiment.path], check=True, capture_output=True)

    lab.run(experiment, params)
    ahead.run(experiment, params)
    with WarmProcess(experiment.path) as warm:
        time_interleaved(
            {
                "in this process": here,
                "in a child that waits for it": lambda: ahead.run(experiment, params),
                "in a child forked for it": lambda: lab.run(experiment, params),
                "in one warm process, no isolation": lambda: warm.run(params),
                "python script.py": script,
            },
            rounds=15,
        )


class WarmProcess:
    """One process that has the experiment loaded and runs it again and again, told so over a pipe: what a notebook's
    kernel does, without the kernel's own protocol. Nothing separates its runs.
    """

    _CODE = (
        "import json, sys\nfrom bench.running import load\ndemo = load(sys.argv[1])\n"
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
        """Its rows."""
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
