"""What travels: the JSON of docs/interfaces, made of our values, and requests read from it. One place for every front.

Floats that JSON cannot say are "Infinity", "-Infinity" and "NaN"; null means that there is no such value.
"""

import os
import platform
from dataclasses import asdict
from functools import cache
from typing import Any

from qa_service.experiments.parameters import schema
from qa_service.model import LANGS, Answer, Claim, Context, Entry, Evidence, Experiment, Lang, Text
from qa_service.model.events import Answered, Done, Event, Finished, Measuring, Queued, Started
from qa_service.model.json_numbers import on_the_wire
from qa_service.presentation import chart, prose
from qa_service.presentation.alt_text import alt_text
from qa_service.presentation.precision import ladder

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
        "answer": prose.text(one),
        "lecture": lecture(one.entry, lang) if one.entry else None,
        "params": on_the_wire(dict(one.params)),
        "notes": [note[lang] for note in one.notes],
        "evidence": [evidence(each, lang) for each in one.evidence],
        "ladder": [on_the_wire(asdict(rung)) for rung in ladder(one.evidence)],
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
        "compared": on_the_wire(dict(one.compared)),
        "experiment": experiment.slug,
        "title": experiment.title[lang],
        "params": on_the_wire(dict(one.params)),
        "seed": one.seed,
        "status": run.status.value,
        "note": run.note[lang],
        "metrics": {
            name: {
                "value": on_the_wire(run.measured[name]),
                "unit": experiment.metrics[name].unit,
                "title": experiment.metrics[name].title[lang],
            }
            for name in run.measured
        },
        "claims": [_judged(one, at, lang) for at in range(len(one.claims))],
        "columns": {
            name: {"title": column.title[lang], "unit": column.unit} for name, column in experiment.columns.items()
        },
        "rows": [on_the_wire(dict(row)) for row in run.rows],
        "chart": chart.complete(experiment, run.rows, lang),
        "chart_in_words": alt_text(experiment, run.rows, lang),
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
        case Answered(whole):
            return "answer", answer(whole)
        case Started(started, experiment, params, seed, compared):
            about = {"experiment": experiment.slug, "title": experiment.title[lang]}
            values = {"params": on_the_wire(dict(params)), "compared": on_the_wire(dict(compared))}
            return "started", {"id": started, **about, **values, "seed": seed}
        case Queued(waiting, before):
            return "queued", {"id": waiting, "before": before}
        case Measuring(running, row):
            return "row", {"id": running, "row": on_the_wire(dict(row))}
        case Finished(each):
            return "evidence", evidence(each, lang)
        case Done(whole):
            return "done", answer(whole)


def entry(one: Entry) -> JSON:
    """An entry with both languages."""
    return {
        "id": one.id,
        "item": one.item,
        "expands": one.expands,
        "question": _both(one.question),
        "answer": _both(one.answer),
        "lecture": {lang: lecture(one, lang) for lang in LANGS},
        "phrasings": {lang: list(one.phrasings[lang]) for lang in LANGS},
        "evidence": [
            {
                "id": block.id,
                "experiment": block.experiment,
                "params": on_the_wire(dict(block.params)),
                "fixed": sorted(block.fixed),
                "claims": [
                    _claim(claim, None)
                    | {"control": on_the_wire(dict(claim.control)), "stated": claim.stated.value, "share": claim.share}
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
        "title": _both(one.title),
        "doc": one.doc,
        "params": on_the_wire(schema(one)),
        "metrics": {name: {"unit": each.unit, "title": _both(each.title)} for name, each in one.metrics.items()},
        "columns": {name: {"unit": each.unit, "title": _both(each.title)} for name, each in one.columns.items()},
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
    return {"entry": one.entry, "params": on_the_wire(dict(one.params)), "lang": one.lang, **offered}


def _entry_in_short(one: Entry, lang: Lang) -> JSON:
    return {
        "id": one.id,
        "item": one.item,
        "expands": one.expands,
        "question": one.question[lang],
        "url": f"/entries/{one.id}",
    }


def _claim(claim: Claim, lang: Lang | None) -> JSON:
    says = claim.says[lang] if lang else _both(claim.says)
    return {"id": claim.id, "says": says, "metric": claim.metric, "op": claim.op, "bound": on_the_wire(claim.bound)}


def _judged(one: Evidence, at: int, lang: Lang) -> JSON:
    """A claim with what was measured; `spread` over seeds, where there were several."""
    claim, spread = one.claims[at], one.spreads[at] if one.spreads else None
    values = {"lowest": spread.lowest, "median": spread.median, "highest": spread.highest} if spread else {}
    over = {"spread": on_the_wire({"held": spread.held, "seeds": spread.seeds, **values})} if spread else {}
    return _claim(claim, lang) | {
        "value": on_the_wire(one.run.measured.get(claim.metric)),
        "verdict": one.verdicts[at].value,
        "visible_at": on_the_wire(dict(one.own)) if claim in one.invisible else None,
        **over,
    }


def _both(text: Text) -> JSON:
    return {"zh": text.zh, "en": text.en}
