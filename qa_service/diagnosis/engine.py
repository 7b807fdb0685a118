"""Diagnoses a training run: tests for harm, applies the rules, adds up their evidence, explains consequences by their
causes, and reports.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from qa_service.diagnosis import layer_rules, log_rules, nan_context_rules, onset_rules, report, trial_rules
from qa_service.diagnosis.causes import CAUSES
from qa_service.diagnosis.curves import downsampled
from qa_service.diagnosis.evidence import DiagnosticRule
from qa_service.diagnosis.experiments import experiment_of
from qa_service.diagnosis.harm import find_harms
from qa_service.diagnosis.weights import CERTAIN_PROBABILITY, EXPERT_WEIGHTS, LIKELY_PROBABILITY, PRIORS, calibrate
from qa_service.model.diagnosis import Certainty, Diagnosis, DiagnosisStatus, ExcludedCause, Finding, Harm, Hypothesis
from qa_service.model.training_run import TrainingRun
from qa_service.model.values import Text

RULES: tuple[DiagnosticRule, ...] = (
    *log_rules.RULES, *onset_rules.RULES, *nan_context_rules.RULES, *layer_rules.RULES, *trial_rules.RULES,
)  # fmt: skip
"""The rules: functions of a run that yield findings."""

_FINITE = frozenset({"step_too_small", "no_update", "chance_labels", "overfitting", "undertrained"})
"""Causes that make no nan and no inf."""
_WITH_OWN_SERIES = frozenset({"loss_scale_collapse", "hidden_nan"})
"""Consequences that a log shows in a series of their own."""
MIN_SPARSE_INTERVAL = 10
"""Steps between records (median) from which on a run is unlike those that the weights were corrected on."""
_UNKNOWN = 0.08  # prior of a cause that is not in the table
_DECISIVE = 3.0  # weight of a single finding that may stand alone; else two features are needed for "likely"
_CLEAR = 1.0  # weight that one finding must have for a cause to be named in a run that was merely stopped
_OWN_EVIDENCE = 1.0  # that a cause must have, beyond what its consequence has, to explain it away
_NAMED_SHARE = 0.4  # the same, as a share of the weight of a decisive finding for the consequence
_DISCOUNT = 0.5  # taken off a weight that speaks for a consequence only
_SECOND = 0.12  # probability from which on a second hypothesis is named
_UNDECIDED = 0.15  # probability below which the first is no verdict
_AGAINST = -0.7  # weight from which on a finding rules a suspect out


def diagnose(run: TrainingRun) -> Diagnosis:
    """The report on a run. A run without a harm is healthy, whatever its numbers look like."""
    if not any(run.series.values()) and not run.events and not run.layers and run.fault is None:
        return Diagnosis(run=run, status="unreadable", summary=report.UNREADABLE_TEXT)
    return replace(_diagnose(downsampled(run)), run=run)


def _diagnose(run: TrainingRun) -> Diagnosis:
    harms = find_harms(run)
    if not harms:
        return Diagnosis(
            run=run,
            status="healthy",
            summary=report.healthy_verdict(run),
            harmless_anomalies=report.harmless_anomalies(run),
            unseen=report.unseen_facts(run),
            marks=report.curve_marks(run),
        )
    evidence = _gather(run)
    measured = _is_measured(run)
    ranked, explained = _rank(evidence, chains=measured)
    if all(harm.id == "stopped" for harm in harms):
        ranked = [each for each in ranked if _has_weight(evidence[each[0]])]
    if harms[0].id == "nonfinite":
        ranked = [each for each in ranked if each[0] not in _FINITE]
    hypotheses = _hypotheses(ranked, evidence, measured=measured)
    status = _status(harms, hypotheses)
    first = hypotheses[0].cause if hypotheses else ""
    excluded = tuple(_excluded(harms, hypotheses, evidence, explained))
    named = [*(each.cause for each in hypotheses), *(each.cause for each in excluded)]
    return Diagnosis(
        run=run,
        status=status,
        summary=report.sick_verdict(status, harms, hypotheses),
        harms=harms,
        hypotheses=hypotheses,
        excluded=excluded,
        question=_question(run, status, hypotheses, ranked),
        line_to_add=report.line_to_add(run, first),
        unseen=report.unseen_facts(run),
        experiment=experiment_of(first, run) if first and CAUSES[first].is_numerical else None,
        marks=report.curve_marks(run),
        causes={name: CAUSES[name] for name in named if name in CAUSES},
    )


def _question(
    run: TrainingRun, status: DiagnosisStatus, hypotheses: Sequence[Hypothesis], ranked: Sequence[tuple[str, float]]
) -> Text | None:
    """The question that tells the first cause, if it is only possible, from the second or else the runner-up.

    None if no question is needed, or none is known.
    """
    first = hypotheses[0].cause if hypotheses else ""
    if first == "hidden_nan":  # it says how the nan was hidden; what made it is still to be asked
        others = [*(cause for cause, _ in ranked if cause != first), "nonfinite_data", "log_of_zero"]
        one, other = list(dict.fromkeys(others))[:2]
        return report.discriminating_question(one, other, run) or report.CONTROL_RUNS_QUESTION
    if not first or not (status == "undecided" or hypotheses[0].certainty == "possible"):
        return None
    if len(hypotheses) > 1:
        return report.discriminating_question(first, hypotheses[1].cause, run) or report.CONTROL_RUNS_QUESTION
    rival = next((cause for cause, _ in ranked if cause != first), "")
    return report.discriminating_question(first, rival, run) if rival else None


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The findings about one cause."""

    cause: str
    findings: tuple[Finding, ...]
    """One finding for each feature, the heaviest first."""

    @property
    def total(self) -> float:
        return math.fsum(each.weight for each in self.findings)

    def features(self) -> dict[str, float]:
        return {each.feature: each.weight for each in self.findings}


def _gather(run: TrainingRun) -> dict[str, _Evidence]:
    """Cause → its findings; of several of one feature the heaviest counts."""
    heaviest: dict[tuple[str, str], Finding] = {}
    series_alone = not (run.layers or run.fault or run.interventions) and _is_dense(run)
    for finding in _findings(RULES, run) if series_alone else map(_at_expert_weight, _findings(RULES, run)):
        key = (finding.cause, finding.feature)
        if finding.cause in CAUSES and (key not in heaviest or abs(finding.weight) > abs(heaviest[key].weight)):
            heaviest[key] = finding
    evidence = {}
    for cause in CAUSES:
        own = sorted((each for (name, _), each in heaviest.items() if name == cause), key=lambda each: -each.weight)
        evidence[cause] = _Evidence(cause, tuple(own))
    return evidence


def _is_dense(run: TrainingRun) -> bool:
    """Whether the records lie as close as in the runs that the corrections are estimated from."""
    steps = [point.step for point in run.series.get("loss", ()) if point.step is not None]
    if run.settings.get("step_unit") == "epoch" or len(steps) < 2:
        return not run.series.get("loss")
    return 0 < median(after - before for before, after in pairwise(steps)) < MIN_SPARSE_INTERVAL


def _has_weight(found: _Evidence) -> bool:
    """Whether one finding speaks clearly for the cause, as is required if the only harm is that the run was stopped."""
    return any(_at_expert_weight(each).weight >= _CLEAR for each in found.findings)


def _is_measured(run: TrainingRun) -> bool:
    """Whether the run shows more than series: layers, a trial, the operation that a fault or a message names."""
    named = any(event.kind in ("message", "traceback") for event in run.events)
    return bool(run.layers or run.fault or run.interventions or named)


def _at_expert_weight(finding: Finding) -> Finding:
    """The finding at its expert weight: the corrections are estimated from runs that show nothing but series."""
    judged = EXPERT_WEIGHTS.get(finding.feature)
    return finding if judged is None else replace(finding, weight=judged.get(finding.cause, 0.0))


def _findings(rules: Iterable[DiagnosticRule], run: TrainingRun) -> Iterable[Finding]:
    for rule in rules:
        yield from rule(run)


def _rank(evidence: Mapping[str, _Evidence], *, chains: bool) -> tuple[list[tuple[str, float]], dict[str, str]]:
    """(cause, probability), the most probable first; and each consequence that is left out, with what explains it.

    Without `chains` only the consequences in `_WITH_OWN_SERIES` are explained away: the weights of runs that show
    nothing but series were estimated without chains.
    """
    scores = {
        cause: math.log(_prior(cause)) + found.total
        for cause, found in evidence.items()
        if any(each.weight > 0 for each in found.findings)
    }
    explained = _explain_away(evidence, scores, CAUSES.keys() if chains else _WITH_OWN_SERIES)
    top = max([*scores.values(), math.log(_UNKNOWN)])
    masses = {cause: math.exp(score - top) for cause, score in scores.items()}
    whole = math.fsum(masses.values()) + math.exp(math.log(_UNKNOWN) - top)
    return sorted(((cause, mass / whole) for cause, mass in masses.items()), key=lambda each: -each[1]), explained


def _explain_away(
    evidence: Mapping[str, _Evidence], scores: dict[str, float], consequences: Collection[str]
) -> dict[str, str]:
    """Removes from `scores` each consequence that a cause explains at least as well; returns consequence → cause.

    The cause needs evidence of its own. The evidence for the consequence is added to it, slightly discounted, and its
    score rises accordingly.
    """
    explained: dict[str, str] = {}
    for cause in sorted(scores, key=lambda each: -scores[each]):
        if cause not in scores:
            continue
        for consequence in sorted(CAUSES[cause].consequences & scores.keys() & set(consequences)):
            if _own(evidence[cause], evidence[consequence]) < max(_OWN_EVIDENCE, _named(evidence[consequence])):
                continue
            with_consequence = math.log(_prior(cause)) + _joint(evidence[cause], evidence[consequence])
            if with_consequence >= scores[consequence]:
                scores[cause] = max(scores[cause], with_consequence)
                del scores[consequence]
                explained[consequence] = cause
    return explained


def _prior(cause: str) -> float:
    return PRIORS.get(cause, 0.005)


def _own(cause: _Evidence, consequence: _Evidence) -> float:
    """The evidence for a cause, by expert weights, in features that say more for it than for its consequence."""
    shared = {each.feature: each.weight for each in map(_at_expert_weight, consequence.findings)}
    return math.fsum(
        each.weight - max(shared.get(each.feature, 0.0), 0.0)
        for each in map(_at_expert_weight, cause.findings)
        if each.weight > max(shared.get(each.feature, 0.0), 0.0)
    )


def _named(consequence: _Evidence) -> float:
    """The evidence that a cause needs to explain away a consequence that has a decisive finding; 0 if it has none."""
    heaviest = max((_at_expert_weight(each).weight for each in consequence.findings), default=0.0)
    return _NAMED_SHARE * heaviest if heaviest >= _DECISIVE else 0.0


def _joint(cause: _Evidence, consequence: _Evidence) -> float:
    """The evidence for a cause together with what it brings about: each feature at the larger of its weights."""
    weights = dict(cause.features())
    for feature, weight in consequence.features().items():
        if weight > _DISCOUNT and weights.get(feature, 0.0) > _AGAINST:  # else it rules the cause itself out
            weights[feature] = max(weights.get(feature, 0.0), weight - _DISCOUNT)
    return math.fsum(weights.values())


def _hypotheses(
    ranked: Sequence[tuple[str, float]], evidence: Mapping[str, _Evidence], *, measured: bool
) -> tuple[Hypothesis, ...]:
    chosen = [each for index, each in enumerate(ranked[:2]) if index == 0 or each[1] >= _SECOND]
    made = []
    for cause, raw in chosen:
        findings = evidence[cause].findings
        probability = calibrate(raw, measured=measured)
        made.append(
            Hypothesis(
                cause=cause, probability=probability, certainty=_certainty(probability, findings), findings=findings
            )
        )
    if len(made) == 2 and made[0].certainty == "certain":
        made.pop()
    return tuple(made)


def _certainty(probability: float, findings: Sequence[Finding]) -> Certainty:
    """The word for a probability; a single light feature is never more than possible."""
    supporting = [each for each in findings if each.weight > 0.3]
    alone = len(supporting) < 2 and all(each.weight < _DECISIVE for each in supporting)
    if alone or probability < LIKELY_PROBABILITY:
        return "possible"
    return "certain" if probability >= CERTAIN_PROBABILITY else "likely"


def _status(harms: Sequence[Harm], hypotheses: Sequence[Hypothesis]) -> DiagnosisStatus:
    """The verdict on a run with harms: "undecided" where no cause reaches the probability `_UNDECIDED`."""
    if not hypotheses:
        only_stopped = all(harm.id == "stopped" for harm in harms)
        return "not_numerics" if only_stopped else "undecided"
    first = hypotheses[0]
    if not CAUSES[first.cause].is_numerical:
        return "not_numerics"
    return "sick" if first.probability >= _UNDECIDED else "undecided"


_SUSPECTS: Mapping[str, tuple[str, ...]] = {
    "nonfinite": ("step_too_large", "nonfinite_data", "forward_overflow", "log_of_zero", "gradient_at_zero"),
    "diverging": ("step_too_large", "bad_batches", "no_warmup", "weights_too_large"),
    "no_learning": ("step_too_small", "no_update", "vanishing_signal", "chance_labels", "dead_relu"),
    "skipping": ("forward_overflow", "step_too_large", "loss_scale_collapse"),
    "evaluation": ("batch_norm", "overfitting", "chance_labels"),
    "stopped": ("step_too_large", "nonfinite_data"),
}
"""Harm → the causes that come to mind first, which are listed as excluded if the run speaks against them."""


def _excluded(
    harms: Sequence[Harm],
    hypotheses: Sequence[Hypothesis],
    evidence: Mapping[str, _Evidence],
    explained: Mapping[str, str],
) -> Iterable[ExcludedCause]:
    """The suspects that the run speaks against, each with the heaviest finding; and what the first explains away."""
    named = {each.cause for each in hypotheses}
    suspects = dict.fromkeys(cause for harm in harms for cause in _SUSPECTS[harm.id])
    for cause in suspects:
        against = min(evidence[cause].findings, key=lambda each: each.weight, default=None)
        if cause in named or cause in explained or against is None:
            continue
        if against.weight <= _AGAINST and evidence[cause].total < 0:
            yield ExcludedCause(cause=cause, reason=against.text)
    for consequence, cause in explained.items():
        if cause in named and evidence[consequence].total >= _OWN_EVIDENCE:
            yield ExcludedCause(cause=consequence, reason=report.consequence_of(CAUSES[cause]))
