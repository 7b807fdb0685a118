"""The key of a run: runs with equal keys give equal numbers, to the last bit."""

import hashlib
import json
from collections.abc import Sequence

from qa_service.machine import Environment
from qa_service.model import Experiment, Params
from qa_service.model.json_numbers import json_safe


def run_key(experiment: Experiment, params: Params, seed: int, environments: Sequence[Environment]) -> str:
    """The SHA-256 of the experiment's source, its parameters, the seed, and the environments that may execute it."""
    parts = [experiment.slug, experiment.hash, sorted(json_safe(dict(params)).items()), seed, sorted(environments)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
