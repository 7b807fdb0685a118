"""Repeats runs from their receipts and compares the metrics (`numstab replay`)."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from qa_service.errors import BadField
from qa_service.experiments.parameters import fill_defaults
from qa_service.experiments.spec import require_experiment
from qa_service.lab.runner import Runner
from qa_service.model import Experiment, Params, Run, RunStatus

RELATIVE_TOLERANCE = 1e-6
"""Relative tolerance of metrics, larger than differences in float64 arithmetic between machines."""
_JSON_NONFINITE = ("Infinity", "-Infinity", "NaN")


class ReplayOutcome(StrEnum):
    """The result of comparing a repeated run with its receipt."""

    IDENTICAL = "identical"
    EQUAL = "equal"
    """Within `RELATIVE_TOLERANCE`."""
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A recorded run: experiment, parameters, seed, hash of the code, versions, and the metrics it returned."""

    experiment: str
    params: Params
    seed: int
    code_hash: str
    versions: Mapping[str, str]
    measured: Mapping[str, float | int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """A receipt and its repeated run; differences are pairs (then, now).

    `changed` has the metrics beyond the tolerance, `changed_versions` the versions of libraries that differ, and, as
    "code", the hashes of the demo if they differ.
    """

    receipt: Receipt
    run: Run
    outcome: ReplayOutcome
    changed: Mapping[str, tuple[float | int | None, float | int | None]]
    changed_versions: Mapping[str, tuple[str, str]]


def read_receipts(data: Any) -> Iterator[Receipt]:
    """Every receipt in the JSON of an Answer, an Evidence or a list of either; raises `BadField` for other JSON."""
    if isinstance(data, list):
        for each in data:
            yield from read_receipts(each)
    elif isinstance(data, Mapping) and isinstance(data.get("evidence"), list):
        yield from read_receipts(data["evidence"])
    elif isinstance(data, Mapping) and {"experiment", "params", "seed", "metrics", "receipt"} <= data.keys():
        yield _parse_receipt(data)
    else:
        raise BadField(
            zh="这个文件里没有收据：应当是 numstab ask --json 或 numstab run --json 的输出",
            en="there is no receipt in this file: expected what numstab ask --json or numstab run --json prints",
            field="receipt",
        )


def replay_run(receipt: Receipt, experiments: Mapping[str, Experiment], runner: Runner) -> ReplayResult:
    """Repeats the run with the same parameters and seed; raises `BadRequest` for an unknown experiment or parameter."""
    experiment = require_experiment(experiments, receipt.experiment)
    run = runner.run(experiment, fill_defaults(experiment, receipt.params), receipt.seed)
    then, now = receipt.measured, run.measured
    not_identical = [
        name for name in {**then, **now} if not (name in then and name in now and _is_identical(then[name], now[name]))
    ]
    changed = {
        name: (then.get(name), now.get(name))
        for name in not_identical
        if not (name in then and name in now and _is_close(then[name], now[name]))
    }
    outcome = ReplayOutcome.DIFFERENT if changed else ReplayOutcome.EQUAL if not_identical else ReplayOutcome.IDENTICAL
    if run.status is not RunStatus.RAN:
        outcome = ReplayOutcome.DIFFERENT
    pairs = {"code": (receipt.code_hash, experiment.hash)}
    pairs |= {name: (version, run.versions.get(name, "")) for name, version in receipt.versions.items()}
    changed_versions = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    return ReplayResult(receipt=receipt, run=run, outcome=outcome, changed=changed, changed_versions=changed_versions)


def _parse_receipt(data: Mapping[str, Any]) -> Receipt:
    from qa_service.schemas.requests import read_evidence

    sent = read_evidence(data)
    return Receipt(
        experiment=sent.experiment,
        params={name: float(value) if value in _JSON_NONFINITE else value for name, value in sent.params.items()},
        seed=sent.seed,
        code_hash=sent.receipt.code_hash,
        versions=sent.receipt.versions,
        measured={
            name: float(value) if isinstance(value := metric.value, str) else value
            for name, metric in sent.metrics.items()
        },
    )


def _is_identical(then: float | None, now: float | None) -> bool:
    if then is None or now is None:
        return then is now
    return then == now or (math.isnan(then) and math.isnan(now))


def _is_close(then: float | None, now: float | None) -> bool:
    if then is None or now is None:
        return then is now
    return _is_identical(then, now) or math.isclose(then, now, rel_tol=RELATIVE_TOLERANCE)
