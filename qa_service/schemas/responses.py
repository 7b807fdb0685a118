"""The JSON of the API: answers, evidence, entries and events, serialised in one place for every front.

Floats that JSON cannot say are "Infinity", "-Infinity" and "NaN"; null means that there is no such value.
"""

import os
import platform
from functools import cache
from typing import Any

from qa_service.experiments.parameters import schema
from qa_service.model import LANGS, Answer, Claim, Context, Entry, Evidence, Experiment, Lang, Text
from qa_service.model.events import AnswerReady, Done, Event, EvidenceReady, Queued, RowMeasured, Started
from qa_service.model.json_numbers import json_safe
from qa_service.presentation import chart, prose
from qa_service.presentation.alt_text import chart_alt_text
from qa_service.presentation.precision import PrecisionLoss, precision_losses

JSON = dict[str, Any]


def answer(one: Answer) -> JSON:
    """An Answer."""
    lang = one.lang
    return {
        "id": one.id,
        "status": one.status.value,
        "lang": lang,
        "question": one.question,
        "entry": _entry_in_short(one.entry, lang) if one.entry else None,
        "confidence": one.confidence,
        "matches": [
            {
                "entry": match.entry.id,
                "item": match.entry.item,
                "score": match.score,
                "phrasing": match.phrasing,
                "question": match.entry.question[lang],
                "reasons": [{"term": term, "weight": weight} for term, weight in match.reasons],
            }
            for match in one.matches
        ],
        "subject": {"id": one.subject.id, "name": one.subject.name[lang]} if one.subject else None,
        "answer": prose.answer_text(one),
        "lecture": lecture(one.entry, lang) if one.entry else None,
        "params": json_safe(dict(one.params)),
        "notes": [note[lang] for note in one.notes],
        "evidence": [evidence(each, lang) for each in one.evidence],
        "ladder": [_precision_loss(loss) for loss in precision_losses(one.evidence)],
        "references": list(one.entry.references) if one.entry else [],
        "related": [{"entry": other.id, "question": other.question[lang]} for other in one.related],
        "context": _context(one.context),
    }


def evidence(one: Evidence, lang: Lang) -> JSON:
    """An Evidence: metrics with units, claims with values and verdicts, rows, the whole chart, the receipt."""
    run, experiment = one.run, one.experiment
    return {
        "id": one.id,
        "block": one.block,
        "compared": json_safe(dict(one.compared)),
        "experiment": experiment.slug,
        "title": experiment.title[lang],
        "params": json_safe(dict(one.params)),
        "seed": one.seed,
        "status": run.status.value,
        "note": run.note[lang],
        "metrics": {
            name: {
                "value": json_safe(run.measured[name]),
                "unit": experiment.metrics[name].unit,
                "title": experiment.metrics[name].title[lang],
            }
            for name in run.measured
        },
        "claims": [claim_json(one, at, lang) for at in range(len(one.claims))],
        "columns": {
            name: {"title": column.title[lang], "unit": column.unit} for name, column in experiment.columns.items()
        },
        "rows": [json_safe(dict(row)) for row in run.rows],
        "chart": chart.build_spec(experiment, run.rows, lang),
        "chart_in_words": chart_alt_text(experiment, run.rows, lang),
        "seconds": run.seconds,
        "cached": run.cached,
        "receipt": {
            "entry": one.entry,
            "entry_hash": one.entry_hash,
            "code_hash": experiment.hash,
            "versions": dict(run.versions),
            "machine": machine(),
        },
    }


def event(one: Event, lang: Lang) -> tuple[str, JSON]:
    """A server-sent event: its name and data."""
    match one:
        case AnswerReady(whole):
            return "answer", answer(whole)
        case Started(started, experiment, params, seed, compared):
            about = {"experiment": experiment.slug, "title": experiment.title[lang]}
            values = {"params": json_safe(dict(params)), "compared": json_safe(dict(compared))}
            return "started", {"id": started, **about, **values, "seed": seed}
        case Queued(waiting, before):
            return "queued", {"id": waiting, "before": before}
        case RowMeasured(running, row):
            return "row", {"id": running, "row": json_safe(dict(row))}
        case EvidenceReady(each):
            return "evidence", evidence(each, lang)
        case Done(whole):
            return "done", answer(whole)


def entry(one: Entry) -> JSON:
    """An entry with both languages."""
    return {
        "id": one.id,
        "item": one.item,
        "expands": one.expands,
        "question": text_json(one.question),
        "answer": text_json(one.answer),
        "lecture": {lang: lecture(one, lang) for lang in LANGS},
        "phrasings": {lang: list(one.phrasings[lang]) for lang in LANGS},
        "evidence": [
            {
                "id": block.id,
                "experiment": block.experiment,
                "params": json_safe(dict(block.params)),
                "fixed": sorted(block.fixed),
                "claims": [
                    _claim(claim, None)
                    | {
                        "control": json_safe(dict(claim.control)),
                        "stated": claim.expected_verdict.value,
                        "share": claim.min_share,
                    }
                    for claim in block.claims
                ],
            }
            for block in one.evidence
        ],
        "references": list(one.references),
        "related": list(one.related),
        "url": f"/entries/{one.id}",
    }


def experiment(one: Experiment) -> JSON:
    """An experiment: what it measures, its parameters as JSON Schema, its source."""
    return {
        "slug": one.slug,
        "title": text_json(one.title),
        "doc": one.doc,
        "params": json_safe(schema(one)),
        "metrics": {name: {"unit": each.unit, "title": text_json(each.title)} for name, each in one.metrics.items()},
        "columns": {name: {"unit": each.unit, "title": text_json(each.title)} for name, each in one.columns.items()},
        "source": one.source,
        "code_hash": one.hash,
    }


def lecture(one: Entry, lang: Lang) -> JSON | None:
    """The source's own words, for an entry that has them."""
    if one.lecture is None:
        return None
    said = {"question": one.lecture.question, "answer": one.lecture.answer, "netizens": one.lecture.netizens}
    return {who: text[lang] if text else None for who, text in said.items()}


@cache
def machine() -> str:
    """What ran it, as far as it can matter to the numbers."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, CPU"


def _context(one: Context) -> JSON:
    offered = {} if one.entry else {"candidates": list(one.candidates)}
    return {"entry": one.entry, "params": json_safe(dict(one.params)), "lang": one.lang, **offered}


def _entry_in_short(one: Entry, lang: Lang) -> JSON:
    return {
        "id": one.id,
        "item": one.item,
        "expands": one.expands,
        "question": one.question[lang],
        "url": f"/entries/{one.id}",
    }


def _claim(claim: Claim, lang: Lang | None) -> JSON:
    says = claim.says[lang] if lang else text_json(claim.says)
    return {"id": claim.id, "says": says, "metric": claim.metric, "op": claim.op, "bound": json_safe(claim.bound)}


def claim_json(one: Evidence, at: int, lang: Lang) -> JSON:
    """A claim with what was measured; `spread` over seeds, where there were several."""
    claim, spread = one.claims[at], one.spreads[at] if one.spreads else None
    values = {"lowest": spread.lowest, "median": spread.median, "highest": spread.highest} if spread else {}
    over = {"spread": json_safe({"held": spread.held, "seeds": spread.seeds, **values})} if spread else {}
    return _claim(claim, lang) | {
        "value": json_safe(one.run.measured.get(claim.metric)),
        "verdict": one.verdicts[at].value,
        "visible_at": json_safe(dict(one.entry_params)) if claim in one.not_testable_here else None,
        **over,
    }


def _precision_loss(one: PrecisionLoss) -> JSON:
    figures = {"overflow": one.overflow, "lost": one.first_wrong_digit, "ulps": one.ulps}
    return {"block": one.block, "dtype": one.dtype, "column": one.column, **json_safe(figures)}


def text_json(text: Text) -> JSON:
    return {"zh": text.zh, "en": text.en}
