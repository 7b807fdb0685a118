"""One experiment: in a child of its own, in this process, and as a script."""

import importlib.util
import subprocess
import sys
from typing import Any

from bench.pairs import side_by_side
from qa_service.lab import SERVER, Lab
from qa_service.parameters import complete
from qa_service.paths import shipped

SLUG = "pow_vs_sum"


def isolation() -> None:
    """What a process per run costs over running in this process, and against `python script.py`."""
    lab = Lab(shipped("demos"), warm=SERVER)
    ahead = Lab(shipped("demos"), warm=SERVER, idle=2)
    experiment = lab.experiment(SLUG)
    params = complete(experiment, {})
    demo = load(experiment.path)

    def here() -> None:
        for _ in demo.run(**params):
            pass

    def script() -> None:
        subprocess.run([sys.executable, experiment.path], check=True, capture_output=True)

    lab.run(experiment, params)
    ahead.run(experiment, params)
    side_by_side(
        {
            "in this process": here,
            "in a child that waits for it": lambda: ahead.run(experiment, params),
            "in a child forked for it": lambda: lab.run(experiment, params),
            "python script.py": script,
        },
        rounds=9,
    )


def load(path: str) -> Any:
    """The experiment at `path` as a module."""
    spec = importlib.util.spec_from_file_location("demo", path)
    assert spec
    assert spec.loader
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    return demo
