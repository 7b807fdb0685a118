"""Estimates the corrections to the judged weights from runs whose cause is known; measures them on left-out families.

The model is the one of the engine without its chains: the score of a cause is the sum of the weights of the features
that are there. The corrections maximise the likelihood of the true causes, with a normal prior of mean 0 around the
judged weights, so that what the runs do not show stays as judged.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from scipy.optimize import minimize  # type: ignore[import-untyped]

from bench.diagnosis.runs import RecordedRun, fingerprint
from bench.diagnosis.score import SERIES_VIEW, TRACE_VIEW, DiagnosedRun, diagnose_view
from qa_service.diagnosis import engine, evidence, weights
from qa_service.diagnosis.causes import CAUSES
from qa_service.diagnosis.curves import downsampled
from qa_service.diagnosis.harm import find_harms
from qa_service.model.training_run import TrainingRun

PRIOR_STANDARD_DEVIATION = 0.5
"""Standard deviation of a correction, before anything is known."""
_LEAST = 0.1
"""A correction whose absolute value is smaller is left out of the file."""
_LOG = 1 / 5
"""Weight of an example that is one of a run's twelve logs; the example with its full series has weight 1."""
CORRECTIONS_FILE = Path(weights.__file__).with_name("corrections.json")

Corrections = dict[str, dict[str, float]]


class Example(NamedTuple):
    """A run and one view of it, as the engine reads it."""

    run: RecordedRun
    view: str
    seen: TrainingRun


class HarmTable(NamedTuple):
    """Examples of harm as arrays, and the family of each."""

    present: Any
    """(example, feature) → 1 where the feature is there."""
    offset: Any
    """(example, cause) → its prior and the weights that are not fitted."""
    truth: Any
    """Example → the index of its true cause."""
    share: Any
    """Example → its weight in the likelihood."""
    family: Any


_CAUSES, _FEATURES = list(CAUSES), list(weights.EXPERT_WEIGHTS)


def tabulate(examples: Iterable[Example]) -> HarmTable:
    """The findings of the rules on each faulty run that shows harm, as arrays.

    Traces are left out: their rules are not fitted.
    """
    causes = {name: index for index, name in enumerate(_CAUSES)}
    features = {name: index for index, name in enumerate(_FEATURES)}
    rows, offsets, truth, share, family = [], [], [], [], []
    for example in examples:
        run = downsampled(example.seen)
        if example.run.group != "faulty" or example.view == TRACE_VIEW or not find_harms(run):
            continue
        row = np.zeros(len(_FEATURES))
        offset = np.array([math.log(weights.PRIORS.get(cause, 0.005)) for cause in _CAUSES])
        for rule in engine.RULES:
            for finding in rule(run):
                if finding.feature in features:
                    row[features[finding.feature]] = 1
                elif finding.cause in causes:
                    offset[causes[finding.cause]] += finding.weight
        rows.append(row)
        offsets.append(offset)
        truth.append(causes[example.run.cause])
        share.append(1.0 if example.view == SERIES_VIEW else _LOG)
        family.append(example.run.family)
    return HarmTable(np.array(rows), np.array(offsets), np.array(truth), np.array(share), np.array(family))


def fit_corrections(table: HarmTable, *, without: str = "", spread: float = PRIOR_STANDARD_DEVIATION) -> Corrections:
    """The corrections under which the true causes are most probable; the family `without` is left out."""
    kept = table.family != without
    table = HarmTable(*(column[kept] for column in table))
    judged = np.array([[weights.EXPERT_WEIGHTS[feature].get(cause, 0.0) for cause in _CAUSES] for feature in _FEATURES])
    which = np.arange(len(table.truth))
    shown = np.isin(np.arange(len(_CAUSES)), table.truth)  # what no run has can neither gain nor lose
    free = shown[judged.argmax(axis=1)][:, None] & shown[None, :]  # nor can the features that speak for it first
    share = table.share / (2 * table.share.mean())  # the views of a run are not independent

    def loss(flat: Any) -> tuple[float, Any]:
        added = flat.reshape(judged.shape)
        scores = np.where(shown, table.offset + table.present @ (judged + added), -np.inf)
        scores -= scores.max(axis=1, keepdims=True)
        odds = np.exp(scores)
        odds /= odds.sum(axis=1, keepdims=True)
        cost = -(share * np.log(odds[which, table.truth] + 1e-12)).sum() + (added**2).sum() / (2 * spread**2)
        odds[which, table.truth] -= 1
        return float(cost), np.where(free, table.present.T @ (odds * share[:, None]) + added / spread**2, 0.0).ravel()

    found = minimize(loss, np.zeros(judged.size), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    added = found.x.reshape(judged.shape)
    rows = {feature: _sparse(row) for feature, row in zip(_FEATURES, added, strict=True)}
    return {feature: row for feature, row in rows.items() if row}


def _sparse(row: Any) -> dict[str, float]:
    return {cause: round(float(value), 2) for cause, value in zip(_CAUSES, row, strict=True) if abs(value) >= _LEAST}


@contextmanager
def using_corrections(corrections: Mapping[str, Mapping[str, float]]) -> Iterator[None]:
    """While the block runs, the engine uses these corrections instead of those of the file."""
    with mock.patch.object(evidence, "WEIGHTS", weights.corrected(corrections)):
        yield


def leave_one_family_out(examples: Sequence[Example]) -> Iterator[DiagnosedRun]:
    """The diagnosis of each example, with corrections that are estimated without its family."""
    table = tabulate(examples)
    for family in sorted({each.run.family for each in examples}):
        with using_corrections(fit_corrections(table, without=family)):
            for each in examples:
                if each.run.family == family:
                    yield diagnose_view(each.run, each.view, each.seen)


def write_corrections(corrections: Corrections, examples: Sequence[Example]) -> None:
    """Writes the corrections to the file that the engine reads, with what they were estimated from."""
    families = Counter(each.run.family for each in examples if each.run.group == "faulty" and each.view == SERIES_VIEW)
    provenance = {
        "command": "python -m bench diagnosis --fit",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "suite": fingerprint(),
        "spread": PRIOR_STANDARD_DEVIATION,
        "faulty_runs_of_family": dict(sorted(families.items())),
        "views": sorted({each.view for each in examples}),
    }
    text = json.dumps({"provenance": provenance, "weights": corrections}, indent=1, sort_keys=True)
    CORRECTIONS_FILE.write_text(text + "\n", encoding="utf-8")
