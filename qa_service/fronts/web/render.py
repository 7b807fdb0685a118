"""Templates filled: whole pages, and the fragments that a stream of events carries."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from qa_service.answering.planning import PlannedRun
from qa_service.fronts.web import cards, labels, markup
from qa_service.fronts.web import width_hints as remembered
from qa_service.fronts.web.page_events import PageAnswer, PageDone, PageEvidence, PageMetric, PageRow, PageStarted
from qa_service.model import LANGS, PLACEHOLDER, Answer, Entry, Evidence, EvidenceBlock, Experiment, Lang, Params, Text
from qa_service.model.events import AnswerReady, Done, Event, EvidenceReady, RowMeasured, Started
from qa_service.presentation import chart, prose
from qa_service.presentation.comparison import comparisons, format_params
from qa_service.presentation.numbers import format_number
from qa_service.schemas.answers import lecture_json
from qa_service.schemas.events import event_json
from qa_service.schemas.values import Body

_FOLDER = Path(__file__).resolve().parent
Experiments = Mapping[str, Experiment]


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def template(name: str, lang: Lang, **values: Any) -> str:
    """A template with the labels of a language as `t`."""
    return _templates().get_template(name).render(t=labels.labels(lang), lang=lang, **values)


def page(name: str, lang: Lang, *, here: str, **values: Any) -> str:
    """A whole page; `here` is its path, for the switch to the other language."""
    other: Lang = "en" if lang == "zh" else "zh"
    frame = {
        "html_lang": labels.HTML_LANG[lang],
        "other": other,
        "other_html_lang": labels.HTML_LANG[other],
        "other_name": labels.LANGUAGE[other],
        "here": here,
        "for_scripts": labels.for_scripts(lang),
        "words": {each: labels.labels(each) for each in LANGS},
    }
    return template(name, lang, **frame, **values)


def bad_language(here: str) -> str:
    """The page for a ?lang= that we do not speak: in both languages, with both ways on."""
    return page(
        "problem.html", "zh", here=here, near=(), said={lang: labels.LABELS["bad_lang"][lang] for lang in LANGS}
    )


def entry(
    one: Entry,
    related: list[Entry],
    experiments: Experiments,
    lang: Lang,
    plans: Sequence[PlannedRun] = (),
    seed: int = 0,
    compare: str = "",
) -> dict[str, Any]:
    """What an entry's page shows: everything, nothing measured yet. With plans, it measures these at once, and beside
    each the other values of the parameter `compare`.
    """
    params = {plan.block.id: plan.params for plan in plans}
    text = markup.to_html(prose.fill_placeholders(_marked(one, lang, experiments), (), lang))
    return {
        "runs_at_once": bool(plans),
        "entry": one,
        "summary": markup.plain(prose.fill_placeholders(one, (), lang))[:200],
        "text": Markup(text),  # noqa: S704
        "mathematics": "<math" in text,
        "lecture": _lecture(one, lang),
        "wordings": one.wordings(lang),
        "related": [(other.id, other.question[lang]) for other in related],
        "blocks": [
            (
                cards.card(
                    one,
                    block,
                    experiments[block.experiment],
                    lang,
                    params=params.get(block.id),
                    seed=seed,
                    state="running" if plans else "idle",
                    compare=compare,
                ),
                experiments[block.experiment],
                Markup(markup.highlighted(experiments[block.experiment].source)),  # noqa: S704
            )
            for block in one.evidence
            if not plans or block.id in params
        ],
    }


def playground(
    experiment: Experiment, entries: Sequence[Entry], params: Params, seed: int, lang: Lang
) -> dict[str, Any]:
    """What an experiment's page shows, nothing measured yet."""
    return {
        "experiment": experiment,
        "about": markup.to_html(experiment.doc),
        "card": cards.card(
            None, cards.standalone_block(experiment), experiment, lang, params=params, seed=seed, state="running"
        ),
        "source": Markup(markup.highlighted(experiment.source)),  # noqa: S704
        "entries": [(one.id, one.question[lang]) for one in entries],
    }


def event(one: Event, lang: Lang, experiments: Experiments, entry: Entry | None) -> tuple[str, Body]:
    """The API's event, with `html` to insert, `answer_html` for the text, and `shown` for the numbers in it."""
    name, plain = event_json(one, lang)
    fields = dict(plain)
    match one:
        case AnswerReady(answer):
            text = _text(answer, experiments)
            html = template("answer.html", lang, text=text, **_around(answer, lang))
            return name, PageAnswer(**fields, answer_html=text, html=html)
        case Started(run_id, experiment, params, seed, compared):
            owner, block = _whose(entry, run_id.partition("~")[0], experiment)
            card = cards.card(
                owner, block, experiment, lang,
                params=params, seed=seed, state="running", compared=format_params(compared, lang),
            )  # fmt: skip
            return name, PageStarted(
                **fields,
                alone=owner is None,
                html=template("card.html", lang, card=card),
                chart=chart.build_spec(experiment, (), lang),
                columns={name: column.title[lang] for name, column in experiment.columns.items()},
                words={word: text[lang] for word, text in experiment.words.items()},
            )
        case RowMeasured(_, row):
            return name, PageRow(**fields, shown={name: format_number(value, lang) for name, value in row.items()})
        case EvidenceReady(evidence):
            owner, block = _whose(entry, evidence.block, evidence.experiment)
            card = cards.card(
                owner, block, evidence.experiment, lang,
                params=evidence.params, seed=evidence.seed, evidence=evidence,
                compared=format_params(evidence.compared, lang),
            )  # fmt: skip
            shown = prose.numbers(evidence, lang) if evidence.variant == 0 else {}
            if entry:
                remembered.remember_width(entry.id, shown)
            metrics = {
                metric: PageMetric(**dict(about), shown=format_number(about.value, lang))
                for metric, about in fields.pop("metrics").items()
            }
            html = template("card.html", lang, card=card)
            return name, PageEvidence(**fields, metrics=metrics, html=html, shown=shown)
        case Done(answer):
            tables = comparisons(answer.evidence, lang)
            beside = [
                (
                    f"{one.experiment.title[lang]} ({format_params(one.params, lang)})",
                    cards.address(one.experiment, one.params, lang),
                )
                for one in _beside(answer)
            ]
            return name, PageDone(
                **fields,
                answer_html=_text(answer, experiments),
                comparison_html=template("comparison.html", lang, tables=tables, beside=beside) if tables else "",
            )
    return name, plain


def _text(answer: Answer, experiments: Experiments) -> Markup:
    """The answer, each number of an experiment marked; without an entry, what we say above the nearest questions."""
    if answer.entry is None:
        return Markup(markup.to_html(prose.text(answer).partition("\n\n")[0]))  # noqa: S704  # to_html cleans
    marked = replace(answer, entry=_marked(answer.entry, answer.lang, experiments))
    return Markup(markup.to_html(prose.text(marked)))  # noqa: S704


def _around(answer: Answer, lang: Lang) -> dict[str, Any]:
    return {
        "answer": answer,
        "html_lang": labels.HTML_LANG[lang],
        "lecture": _lecture(answer.entry, lang) if answer.entry else {},
        "params": {name: format_number(value, lang) for name, value in answer.params.items()},
        "notes": [note[lang] for note in answer.notes],
        "candidates": [(match.entry.id, match.entry.question[lang]) for match in answer.matches[:3]],
        "related": [(other.id, other.question[lang]) for other in answer.related],
    }


def _lecture(entry: Entry, lang: Lang) -> dict[str, Markup]:
    """The lecture's own words, by who said them."""
    said = lecture_json(entry, lang) or ()
    return {who: Markup(markup.to_html(text)) for who, text in said if text}  # noqa: S704


def _marked(entry: Entry, lang: Lang, experiments: Experiments) -> Entry:
    metrics = {block.id: experiments[block.experiment].metrics for block in entry.evidence}

    def mark(found: re.Match[str]) -> str:
        metric = metrics.get(found[1], {}).get(found[2])
        like = remembered.of(entry.id, f"{found[1]}.{found[2]}", metric.unit) if metric else ""
        kind = f"measured{like}" if metric else "given"
        return f"{markup.OPEN}{kind}:{found[1]}.{found[2]}{markup.MIDDLE}{found[0]}{markup.CLOSE}"

    text = PLACEHOLDER.sub(mark, entry.answer[lang])
    return replace(entry, answer=Text(zh=text, en=text))


def _beside(answer: Answer) -> list[Evidence]:
    """What an experiment of the entry had run beside a comparison."""
    own = {block.id for block in answer.entry.evidence} if answer.entry else set()
    return [one for one in answer.evidence if one.block not in own]


def _whose(entry: Entry | None, block_id: str, experiment: Experiment) -> tuple[Entry | None, EvidenceBlock]:
    """The entry and its block of this id; an experiment by itself where the entry has none such."""
    for block in entry.evidence if entry else ():
        if block.id == block_id:
            return entry, block
    return None, cards.standalone_block(experiment)
