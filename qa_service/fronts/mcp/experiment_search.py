"""Full-text search for experiments: in their own texts, and through the entries that match the query."""

import re

from qa_service.answering.service import Service
from qa_service.model import Experiment, Text
from qa_service.parsing import normalise

_WORD = re.compile(r"[a-z0-9_]+|[\u3400-\u9fff]")
_TITLE_WEIGHT, _ENTRY_WEIGHT = 3.0, 2.0


def find_experiments(service: Service, query: str, limit: int) -> list[Experiment]:
    """At most `limit` experiments for a query, best first.

    The score is the share of the query's terms that occur in an experiment's texts, with a greater weight for the
    title, plus the scores of matched entries that use the experiment; experiments with score 0 are left out.
    """
    knowledge = service.knowledge
    wanted = _terms(query)
    if not wanted:
        return []
    scores: dict[str, float] = {}
    for slug, experiment in knowledge.experiments.items():
        title = _terms(f"{slug.replace('_', ' ')} {slug} {_both(experiment.title)}")
        rest = _terms(_details(experiment))
        score = sum(_TITLE_WEIGHT if term in title else float(term in rest) for term in wanted) / len(wanted)
        if score:
            scores[slug] = score
    for match in knowledge.matcher.match(normalise(query)).matches:
        for block in match.entry.evidence:
            scores[block.experiment] = scores.get(block.experiment, 0.0) + _ENTRY_WEIGHT * match.score
    best = sorted(scores, key=lambda slug: -scores[slug])[:limit]
    return [knowledge.experiments[slug] for slug in best]


def _details(experiment: Experiment) -> str:
    params = (f"{name} {_both(param.title)}" for name, param in experiment.params.items())
    metrics = (f"{name} {_both(metric.title)}" for name, metric in experiment.metrics.items())
    return " ".join([experiment.doc, *params, *metrics])


def _both(text: Text) -> str:
    return f"{text.zh} {text.en}"


def _terms(text: str) -> set[str]:
    """The terms of a text: Latin words without a plural s, numbers, and bigrams of Chinese characters."""
    found = _WORD.findall(text.lower())
    words = {word.removesuffix("s") for word in found if word.isascii()}
    chinese = re.findall(r"[\u3400-\u9fff]{2,}", text)
    return words | {run[at : at + 2] for run in chinese for at in range(len(run) - 1)}
