"""What the templates show of an experiment: its controls, and once it has run, claims, metrics and data as words."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from qa_service.experiments.parameters import describe, fill_defaults
from qa_service.model import Entry, Evidence, EvidenceBlock, Experiment, Lang, Parameter, Params, Value
from qa_service.presentation.alt_text import alt_text
from qa_service.presentation.comparison import spread_in_words
from qa_service.presentation.numbers import format_number, format_unit
from qa_service.schemas.evidence import machine
from qa_service.tools.notebook import FORMS

MOST_ROWS = 400
"""Rows of the data table on the page; the API gives all of them."""
MOST_METRICS = 9
"""Metrics beside the chart; the others are one click away."""
_SIGNS = {"<": "<", "<=": "≤", ">": ">", ">=": "≥", "==": "=", "!=": "≠"}


@dataclass(frozen=True, slots=True)
class Figure:
    """A value in words, and the tone in which to show it: inf, nan, none, or plain."""

    words: str
    tone: str

    def __str__(self) -> str:
        return self.words


def figure(value: object, lang: Lang) -> Figure:
    """A value in words; inf and nan keep their names and get a tone of their own."""
    tone = "plain"
    if value is None:
        tone = "none"
    elif isinstance(value, float) and not math.isfinite(value):
        tone = "nan" if math.isnan(value) else "inf"
    return Figure(format_number(value, lang), tone)


def standalone_block(experiment: Experiment) -> EvidenceBlock:
    """The experiment by itself: no claims, its own defaults."""
    return EvidenceBlock(id=experiment.slug, experiment=experiment.slug, params={}, fixed=frozenset(), claims=())


def card(
    entry: Entry | None,
    block: EvidenceBlock,
    experiment: Experiment,
    lang: Lang,
    *,
    params: Params | None = None,
    seed: int = 0,
    evidence: Evidence | None = None,
    state: str = "idle",
    compared: str = "",
    compare: str = "",
) -> dict[str, Any]:
    """One evidence card, of an entry or of an experiment by itself.

    `state` is idle, running, or how the run ended; `compared` names a run beside others,
    `compare` the parameter whose values are to run beside each other.
    """
    own = fill_defaults(experiment, block.params)
    values = own if params is None else params
    typed = {**{name: _typed(value) for name, value in values.items()}, "seed": seed}
    link = urlencode({"block": block.id, **typed} if entry else typed)
    return {
        "block": block.id,
        "slug": experiment.slug,
        "title": experiment.title[lang],
        "compared": compared,
        "compare": compare,
        "state": evidence.run.status.value if evidence else state,
        "note": evidence.run.note[lang] if evidence else "",
        "squares": "column" in experiment.chart.get("encoding", {}),
        "seed": seed,
        "controls": [
            control(parameter, values[name], own[name], lang) for name, parameter in experiment.params.items()
        ],
        "of_entry": entry is not None,
        "comparable": [name for name, each in experiment.params.items() if entry and each.kind in ("choice", "bool")],
        "link": f"/e/{entry.id}?{link}&lang={lang}" if entry else f"/experiments/{experiment.slug}?{link}&lang={lang}",
        "source": f"/experiments/{experiment.slug}?{urlencode(typed)}&lang={lang}#source" if entry else "",
        "exports": {
            form: f"/api/v1/entries/{entry.id}/export?form={form}&{link}&lang={lang}" for form in FORMS if entry
        },
        "alt": alt_text(experiment, evidence.run.rows, lang) if evidence else "",
        "bits": _typed(values.get("x", 0.1)) if "dtype" in experiment.params else "",
        "claims": _claims(block, experiment, evidence, lang),
        "metrics": _metrics(entry, block, experiment, evidence, lang),
        "table": _table(experiment, evidence, lang),
        "receipt": _receipt(evidence),
    }


def address(experiment: Experiment, params: Params, lang: Lang) -> str:
    """The experiment's own page with these parameters."""
    typed = urlencode({name: _typed(value) for name, value in params.items()})
    return f"/experiments/{experiment.slug}?{typed}&lang={lang}"


def control(parameter: Parameter, value: Value, own: Value, lang: Lang) -> dict[str, Any]:
    """One input of the form."""
    low, high = parameter.ge, parameter.le
    return {
        "name": parameter.name,
        "title": parameter.title[lang],
        "unit": format_unit(parameter.unit, lang),
        "kind": "text" if parameter.nonfinite else parameter.kind,
        "value": _typed(value),
        "own": _typed(own),
        "min": _typed(low) if low is not None and math.isfinite(low) else None,
        "max": _typed(high) if high is not None and math.isfinite(high) else None,
        "choices": parameter.choices,
        "slider": _slider(parameter),
        "hint": describe(parameter, lang).strip(),
    }


def _slider(parameter: Parameter) -> str | None:
    """The scale of a slider for this parameter: logarithmic over two decades and more, none without both bounds."""
    low, high = parameter.ge, parameter.le
    if parameter.kind not in ("int", "float") or parameter.nonfinite or low is None or high is None:
        return None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return None
    return "log" if low > 0 and high / low >= 100 else "linear"


def _typed(value: Value) -> str:
    """A value as one would type it: what an input accepts and gives back."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value)


def _claims(
    block: EvidenceBlock, experiment: Experiment, evidence: Evidence | None, lang: Lang
) -> list[dict[str, Any]]:
    verdicts = [verdict.value for verdict in evidence.verdicts] if evidence else [None] * len(block.claims)
    measured: Mapping[str, Any] = evidence.run.measured if evidence else {}
    return [
        {
            "id": claim.id,
            "says": claim.says[lang],
            "metric": experiment.metrics[claim.metric].title[lang],
            "unit": format_unit(experiment.metrics[claim.metric].unit, lang, measured.get(claim.metric)),
            "sign": _SIGNS[claim.op],
            "bound": figure(claim.bound, lang),
            "value": figure(measured[claim.metric], lang) if claim.metric in measured else None,
            "verdict": verdict,
            "invisible": evidence is not None and claim in evidence.not_testable_here,
            "spread": spread_in_words(evidence.spreads[at], lang) if evidence and evidence.spreads else "",
            "as_stated": verdict == "fails" and claim.expected_verdict.value == "fails",
        }
        for at, (claim, verdict) in enumerate(zip(block.claims, verdicts, strict=True))
    ]


def _metrics(
    entry: Entry | None, block: EvidenceBlock, experiment: Experiment, evidence: Evidence | None, lang: Lang
) -> dict[str, list[dict[str, Any]]]:
    """All of them, and the few to show at once: first those of the claims, then those the text speaks of."""
    measured: Mapping[str, Any] = evidence.run.measured if evidence else dict.fromkeys(experiment.metrics, "…")
    rows = {
        name: {
            "name": name,
            "title": experiment.metrics[name].title[lang],
            "unit": format_unit(experiment.metrics[name].unit, lang, value),
            "value": figure(value, lang) if evidence else Figure("…", "none"),
        }
        for name, value in measured.items()
    }
    of_claims = [claim.metric for claim in block.claims]
    placeholder = rf"\[\[{re.escape(block.id)}\.([a-z0-9_]+)\]\]"
    of_text = re.findall(placeholder, entry.answer[lang]) if entry else list(measured)
    spoken = [name for name in dict.fromkeys(of_claims + of_text) if name in rows]
    return {"spoken": [rows[name] for name in spoken[:MOST_METRICS]], "all": list(rows.values())}


def _table(experiment: Experiment, evidence: Evidence | None, lang: Lang) -> dict[str, Any] | None:
    if evidence is None or not evidence.run.rows:
        return None
    rows = evidence.run.rows

    def cell(value: object) -> Figure:
        return figure(
            experiment.words[value][lang] if isinstance(value, str) and value in experiment.words else value, lang
        )

    names = [name for name in experiment.columns if any(name in row for row in rows[:MOST_ROWS])]
    return {
        "columns": [
            {"title": experiment.columns[name].title[lang], "unit": format_unit(experiment.columns[name].unit, lang)}
            for name in names
        ],
        "rows": [[cell(row[name]) if name in row else "" for name in names] for row in rows[:MOST_ROWS]],
        "total": len(rows),
    }


def _receipt(evidence: Evidence | None) -> dict[str, Any] | None:
    if evidence is None:
        return None
    return {
        "seconds": f"{evidence.run.seconds:.3g}",
        "entry_hash": (evidence.entry_hash or "")[:12],
        "code_hash": evidence.experiment.hash[:12],
        "versions": evidence.run.versions,
        "machine": machine(),
    }
