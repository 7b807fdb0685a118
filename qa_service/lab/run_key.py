"""What makes two runs the same: equal keys give equal numbers, to the last bit."""

import hashlib
import json
import platform
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from qa_service import __version__
from qa_service.model import Experiment, Params
from qa_service.model.json_numbers import json_safe


def run_key(experiment: Experiment, params: Params, seed: int, environment: tuple[str, ...]) -> str:
    """The SHA-256 of the experiment's source, its parameters, the seed and the environment that executes it."""
    parts = [experiment.slug, experiment.hash, sorted(json_safe(dict(params)).items()), seed, *environment]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@cache
def local_environment() -> tuple[str, ...]:
    """What the last bits of a result depend on besides the source, on this machine: versions, and its processor."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "none"
    processor = platform.processor()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        processor = next((line for line in lines if line.startswith("model name")), processor)
    return torch, platform.python_version(), __version__, platform.system(), platform.machine(), processor
