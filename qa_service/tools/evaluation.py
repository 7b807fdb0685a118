"""Retrieval metrics on labelled questions, with 95 % confidence intervals (`numstab eval`).

A question of kind `in` is covered and lists the items that may answer it; `near` is about deep learning but answered
by no entry; `out` is about anything else. A line may also list the entries that answer its question ("entries").
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qa_service.model import Answer, AnswerStatus, NamedValues

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qa_service.knowledge.library import Library
    from qa_service.retrieval.training import LeaveOneOut

_CONFIDENCE_LEVEL = 0.95
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledQuestion:
    """One line of a file: the turns of a conversation, of which the last is evaluated, and the accepted answers."""

    turns: tuple[str, ...]
    lang: str
    kind: str
    items: tuple[int, ...]
    entries: tuple[str, ...] = ()
    """Ids of the accepted entries; empty if there is none, or if they are not labelled."""
    want: str = ""
    """What a right answer must contain, as a note for the reader; "" if there is none."""
    missing: str = ""
    """The topic of the question, if no entry covers it yet; else empty."""
    params: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedQuestion:
    """A labelled question with its answer and the seconds it took."""

    question: LabelledQuestion
    answer: Answer
    seconds: float

    @property
    def top1_correct(self) -> bool:
        """Whether the best match is an accepted item."""
        return self.answer.matches[0].entry.item in self.question.items

    @property
    def top3_correct(self) -> bool:
        """Whether an accepted item is among the best three matches."""
        return any(match.entry.item in self.question.items for match in self.answer.matches[:3])

    @property
    def entry1_correct(self) -> bool:
        """Whether the best match is an accepted entry."""
        return self.answer.matches[0].entry.id in self.question.entries

    @property
    def entry3_correct(self) -> bool:
        """Whether an accepted entry is among the best three matches."""
        return any(match.entry.id in self.question.entries for match in self.answer.matches[:3])

    @property
    def source_answered(self) -> bool:
        """Whether the answer is a source entry, the one that answers the lecture's own question."""
        return self.answered and self.answer.matches[0].entry.expands is None

    @property
    def answered(self) -> bool:
        """Whether an entry was given as the answer."""
        return self.answer.status is AnswerStatus.ANSWERED

    @property
    def params_correct(self) -> bool:
        """Whether every labelled parameter was read from the question; a list is a comparison of several values."""
        return all(_param_equals(self.answer.params, name, value) for name, value in self.question.params.items())


def _param_equals(params: NamedValues, name: str, label: Any) -> bool:
    value = params.get(name)
    return bool((list(value) if isinstance(value, tuple) else value) == label)


def parse_labelled_question(text: str | bytes, where: str, file: str = "") -> LabelledQuestion:
    """A labelled question from a line of JSON; raises `BadField`, which names `where` ("FILE:LINE") and the fault."""
    from qa_service.schemas.lines import read_labelled_line

    line = read_labelled_line(text, where)
    turns = line.turns or [line.q or ""]
    return LabelledQuestion(
        turns=tuple(turns),
        lang=line.lang or ("zh" if any("\u3400" <= sign <= "\u9fff" for sign in "".join(turns)) else "en"),
        kind=line.kind,
        items=tuple(line.items),
        entries=tuple(line.entries),
        want=line.want,
        missing=line.missing,
        params=line.params,
        file=file,
    )


def retrieval_metrics(outcomes: Sequence[EvaluatedQuestion]) -> dict[str, Any]:
    """Name → metric, with the confidence intervals under "intervals"; None if no question contributes to it."""
    covered = [one for one in outcomes if one.question.kind == "in"]
    uncovered = [one for one in outcomes if one.question.kind != "in"]
    with_entries = [one for one in covered if one.question.entries]
    with_params = [one for one in outcomes if one.question.params]
    metrics: dict[str, Any] = {"n": len(outcomes), "intervals": {}}

    def share(name: str, among: Sequence[EvaluatedQuestion], predicate: Callable[[EvaluatedQuestion], bool]) -> None:
        metrics[name], metrics["intervals"][name] = _proportion(sum(map(predicate, among)), len(among))

    share("hit1", covered, lambda one: one.top1_correct)
    share("hit3", covered, lambda one: one.top3_correct)
    share("entry1", with_entries, lambda one: one.entry1_correct)
    share("entry3", with_entries, lambda one: one.entry3_correct)
    share("source_share", [one for one in covered if one.answered], lambda one: one.source_answered)
    for kind in ("near", "out"):
        scores = [[one.answer.confidence for one in group] for group in (covered, _of_kind(outcomes, kind))]
        metrics[f"auroc_{kind}"], metrics["intervals"][f"auroc_{kind}"] = _auroc(*scores)
    share("answered_right", covered, lambda one: one.answered and one.top1_correct)
    share("answered_wrong", covered, lambda one: one.answered and not one.top1_correct)
    share("false_answers", uncovered, lambda one: one.answered)
    share("params_right", with_params, lambda one: one.params_correct)
    metrics["ms_per_question"] = 1e3 * sum(one.seconds for one in outcomes) / len(outcomes) if outcomes else None
    return metrics


def evaluation_report(outcomes: Sequence[EvaluatedQuestion]) -> dict[str, Any]:
    """All metrics, overall and by file; hit1 and hit3 by language and by first accepted item; the worst mistakes."""
    covered = [one for one in outcomes if one.question.kind == "in"]
    groupings = {
        "by_lang": _group_by(covered, lambda one: one.question.lang),
        "by_item": _group_by(covered, lambda one: one.question.items[0]),
        "by_file": _group_by(outcomes, lambda one: one.question.file),
    }
    parts = {
        name: {str(key): retrieval_metrics(group) for key, group in groups.items()}
        for name, groups in groupings.items()
    }
    for name in ("by_lang", "by_item"):
        parts[name] = {key: {name: each[name] for name in ("n", "hit1", "hit3")} for key, each in parts[name].items()}
    lines = [
        {
            "q": one.question.turns[-1],
            "kind": one.question.kind,
            "items": list(one.question.items),
            "entries": list(one.question.entries),
            "found": one.answer.matches[0].entry.item,
            "entry": one.answer.matches[0].entry.id,
            "want": one.question.want,
            "missing": one.question.missing,
            "confidence": one.answer.confidence,
        }
        for one in worst_predictions(outcomes)
    ]
    return {**retrieval_metrics(outcomes), **parts, "confusions": confusions(outcomes), "worst": lines}


def left_out_report(library: "Library", left_out: "LeaveOneOut") -> dict[str, Any]:
    """Leave-one-out accuracy of the classifier on the phrasings of entries.

    For source entries, for expansions and for each entry: `n` phrasings, and the shares `first` and `first3` of those
    whose own entry is the best one, or among the best three, with intervals. The least accurate entries come first.
    """
    import numpy as np

    covered = np.flatnonzero(np.isin(left_out.owners, list(library)))
    entries = np.flatnonzero(np.isin(left_out.classes, list(library)))
    probabilities = left_out.probabilities[np.ix_(covered, entries)]
    owners = left_out.owners[covered]
    own = probabilities[np.arange(len(covered)), np.searchsorted(left_out.classes[entries], owners)]
    ranks = (probabilities > own[:, None]).sum(axis=1)
    is_source = np.array([library[owner].expands is None for owner in owners.tolist()], dtype=bool)

    def shares(rows: "NDArray[np.bool_]") -> dict[str, Any]:
        figures: dict[str, Any] = {"n": int(rows.sum()), "intervals": {}}
        for name, places in (("first", 1), ("first3", 3)):
            figures[name], figures["intervals"][name] = _proportion(int((ranks[rows] < places).sum()), figures["n"])
        return figures

    by_entry = {entry: shares(owners == entry) for entry in dict.fromkeys(owners.tolist())}
    return {
        "source": shares(is_source),
        "expansion": shares(~is_source),
        "by_entry": dict(sorted(by_entry.items(), key=lambda pair: pair[1]["first"])),
    }


def aspect_report(left_out: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """How often the wording of an entry that is nearest to another of its wordings belongs to the same question.

    `left_out` are pairs (aspect of the wording, aspect of the nearest other one). In the report, `own` is about
    wordings of entries' own questions, `aspect` about those of aspects.
    """
    report: dict[str, Any] = {}
    for name, pairs in (
        ("own", [pair for pair in left_out if not pair[0]]),
        ("aspect", [pair for pair in left_out if pair[0]]),
    ):
        share, interval = _proportion(sum(aspect == nearest for aspect, nearest in pairs), len(pairs))
        report[name] = {"n": len(pairs), "first": share, "intervals": {"first": interval}}
    return report


def confusions(outcomes: Iterable[EvaluatedQuestion]) -> list[tuple[int, int, int]]:
    """(first accepted item, item of the best match, count) of wrong best matches, the most frequent first."""
    mistakes = Counter(
        (one.question.items[0], one.answer.matches[0].entry.item)
        for one in outcomes
        if one.question.kind == "in" and not one.top1_correct
    )
    return [(accepted, matched, count) for (accepted, matched), count in mistakes.most_common()]


def worst_predictions(outcomes: Iterable[EvaluatedQuestion], count: int = 10) -> list[EvaluatedQuestion]:
    """The `count` worst questions: wrong with high confidence, or right with low confidence, worst first."""

    def loss(one: EvaluatedQuestion) -> float:
        return 1 - one.answer.confidence if one.question.kind == "in" and one.top1_correct else one.answer.confidence

    return sorted(outcomes, key=loss, reverse=True)[:count]


def _group_by(
    outcomes: Iterable[EvaluatedQuestion], key: Callable[[EvaluatedQuestion], Any]
) -> dict[Any, list[EvaluatedQuestion]]:
    groups: dict[Any, list[EvaluatedQuestion]] = {}
    for one in outcomes:
        groups.setdefault(key(one), []).append(one)
    return dict(sorted(groups.items()))


def _of_kind(outcomes: Sequence[EvaluatedQuestion], kind: str) -> list[EvaluatedQuestion]:
    return [one for one in outcomes if one.question.kind == kind]


def _proportion(count: int, total: int) -> tuple[float | None, list[float] | None]:
    """The ratio count / total with its 95 % interval (Wilson 1927); (None, None) if the total is 0."""
    if not total:
        return None, None
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    interval = binomtest(count, total).proportion_ci(_CONFIDENCE_LEVEL, method="wilson")
    return count / total, [float(interval.low), float(interval.high)]


def _auroc(higher: Sequence[float], lower: Sequence[float]) -> tuple[float | None, list[float] | None]:
    """The AUROC and its bootstrapped 95 % interval; (None, None) if either group is empty.

    It is the probability that a random element of `higher` exceeds one of `lower`; ties count half.
    """
    if not higher or not lower:
        return None, None
    import numpy as np

    wins = np.sign(np.subtract.outer(np.array(higher), np.array(lower))) / 2 + 0.5
    random = np.random.default_rng(0)
    drawn = [random.multinomial(n, np.full(n, 1 / n), _RESAMPLES) for n in wins.shape]  # how often each is resampled
    resampled = np.einsum("rh,hl,rl->r", drawn[0], wins, drawn[1], optimize=True) / wins.size
    low, high = np.quantile(resampled, [(1 - _CONFIDENCE_LEVEL) / 2, (1 + _CONFIDENCE_LEVEL) / 2])
    return float(wins.mean()), [float(low), float(high)]
