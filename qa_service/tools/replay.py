"""Evidence run again from its receipt: is it identical, equal within a tolerance, or different, and in what?"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from qa_service.errors import BadField
from qa_service.experiments.parameters import fill_defaults
from qa_service.lab.runner import Runner
from qa_service.model import Params, Run, RunStatus

TOLERANCE = 1e-6
"""Relative: what another machine's arithmetic may change in float64, and what cannot change a reader's mind."""
_WORDS = ("Infinity", "-Infinity", "NaN")


class Outcome(StrEnum):
    """How a run compares with the one before."""

    IDENTICAL = "identical"
    EQUAL = "equal"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What repeats a run, and what it measured then."""

    experiment: str
    params: Params
    seed: int
    code_hash: str
    versions: Mapping[str, str]
    measured: Mapping[str, float | int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A run and its repetition: `changed` are metrics beyond the tolerance, `moved` code or versions; (then, now)."""

    receipt: Receipt
    run: Run
    sameness: Outcome
    changed: Mapping[str, tuple[float | int | None, float | int | None]]
    changed_versions: Mapping[str, tuple[str, str]]


def receipts(data: Any) -> Iterator[Receipt]:
    """Every receipt in an Answer, an Evidence or a list of either, as JSON; raises `BadField`."""
    if isinstance(data, list):
        for each in data:
            yield from receipts(each)
    elif isinstance(data, Mapping) and isinstance(data.get("evidence"), list):
        yield from receipts(data["evidence"])
    elif isinstance(data, Mapping) and {"experiment", "params", "seed", "metrics", "receipt"} <= data.keys():
        yield _receipt(data)
    else:
        raise BadField(
            zh="这个文件里没有收据：应当是 numstab ask --json 或 numstab run --json 的输出",
            en="there is no receipt in this file: expected what numstab ask --json or numstab run --json prints",
            field="receipt",
        )


def replay(receipt: Receipt, lab: Runner) -> Replay:
    """Runs it again with the same parameters and seed; raises `BadRequest` for an experiment that we do not have."""
    experiment = lab.experiment(receipt.experiment)
    run = lab.run(experiment, fill_defaults(experiment, receipt.params), receipt.seed)
    then, now = receipt.measured, run.measured
    names = [
        name for name in {**then, **now} if not (name in then and name in now and _identical(then[name], now[name]))
    ]
    changed = {name: (then.get(name), now.get(name)) for name in names
               if not (name in then and name in now and _equal(then[name], now[name]))}  # fmt: skip
    sameness = Outcome.DIFFERENT if changed else Outcome.EQUAL if names else Outcome.IDENTICAL
    if run.status is not RunStatus.RAN:
        sameness = Outcome.DIFFERENT
    pairs = {"code": (receipt.code_hash, experiment.hash)}
    pairs |= {name: (version, run.versions.get(name, "")) for name, version in receipt.versions.items()}
    moved = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    return Replay(receipt=receipt, run=run, sameness=sameness, changed=changed, changed_versions=moved)


def _receipt(data: Mapping[str, Any]) -> Receipt:
    from qa_service.schemas.requests import read_evidence

    sent = read_evidence(data)
    return Receipt(
        experiment=sent.experiment,
        params={name: float(value) if value in _WORDS else value for name, value in sent.params.items()},
        seed=sent.seed,
        code_hash=sent.receipt.code_hash,
        versions=sent.receipt.versions,
        measured={
            name: float(value) if isinstance(value := metric.value, str) else value
            for name, metric in sent.metrics.items()
        },
    )


def _identical(then: float | None, now: float | None) -> bool:
    if then is None or now is None:
        return then is now
    return then == now or (math.isnan(then) and math.isnan(now))


def _equal(then: float | None, now: float | None) -> bool:
    if then is None or now is None:
        return then is now
    return _identical(then, now) or math.isclose(then, now, rel_tol=TOLERANCE)
