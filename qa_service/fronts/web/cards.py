"""Template values of an evidence card: the form controls and, after a run, claims, metrics and data as text."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from qa_service.experiments.parameters import describe_allowed, fill_defaults
from qa_service.fronts.web.entry_parts import figure_sign
from qa_service.machine import machine_name
from qa_service.model import PLACEHOLDER, Entry, Evidence, EvidenceBlock, Experiment, Lang, Parameter, Params, Value
from qa_service.presentation.alt_text import chart_alt_text
from qa_service.presentation.comparison import format_spread
from qa_service.presentation.numbers import format_number, format_unit
from qa_service.tools.notebook import EXPORT_FORMATS

MAX_TABLE_ROWS = 400
"""Maximal number of rows of the data table on the page; the API returns all rows."""
MAX_SHOWN_METRICS = 9
"""Maximal number of metrics shown beside the chart; the complete list is folded."""
_OPERATOR_SIGNS = {"<": "<", "<=": "≤", ">": ">", ">=": "≥", "==": "=", "!=": "≠"}


@dataclass(frozen=True, slots=True)
class FormattedValue:
    """A value as text, with the style in which to show it (`tone`): inf, nan, none or plain."""

    text: str
    tone: str

    def __str__(self) -> str:
        return self.text


def format_value(value: object, lang: Lang) -> FormattedValue:
    """Formats a value and chooses its tone."""
    tone = "plain"
    if value is None:
        tone = "none"
    elif isinstance(value, float) and not math.isfinite(value):
        tone = "nan" if math.isnan(value) else "inf"
    return FormattedValue(format_number(value, lang), tone)


def standalone_block(experiment: Experiment) -> EvidenceBlock:
    """A block for an experiment outside any entry: default parameters and no claims."""
    return EvidenceBlock(id=experiment.slug, experiment=experiment.slug, params={}, fixed=frozenset(), claims=())


def evidence_card(
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
    """The template values of one evidence card, of an entry or of an experiment by itself.

    `state` is "idle" or "running" if there is no `evidence`. `compared` labels a run of a comparison, `compare` is the
    parameter that is to be compared.
    """
    defaults = fill_defaults(experiment, block.params)
    values = defaults if params is None else params
    visible = _visible_parameters(entry, block, experiment)
    query = {**{name: _input_text(value) for name, value in values.items()}, "seed": seed}
    of_aspect = {"aspect": entry.aspect} if entry and entry.aspect else {}
    link = urlencode({**of_aspect, "block": block.id, **query} if entry else query)
    return {
        "block": block.id,
        "slug": experiment.slug,
        "title": experiment.title[lang],
        "figure": figure_sign(entry, block.id) if entry else "",
        "difference": _difference(entry, block, experiment, lang) if entry else "",
        "compared": compared,
        "compare": compare,
        "state": evidence.run.status.value if evidence else state,
        "note": evidence.run.note[lang] if evidence else "",
        "faceted": "column" in experiment.chart.get("encoding", {}),
        "seed": seed,
        "controls": [
            form_control(parameter, values[name], defaults[name], lang, visible=name in visible)
            for name, parameter in experiment.params.items()
        ],
        "shown_params": [(experiment.params[name].title[lang], _input_text(values[name])) for name in visible if entry],
        "random": evidence.run.used_rng if evidence else False,
        "cached": evidence.run.cached if evidence else False,
        "measured_on": _day(evidence.run.measured_at) if evidence else "",
        "of_entry": entry is not None,
        "comparable": [name for name, each in experiment.params.items() if entry and each.kind in ("choice", "bool")],
        "link": f"/e/{entry.id}?{link}&lang={lang}" if entry else f"/experiments/{experiment.slug}?{link}&lang={lang}",
        "source": f"/experiments/{experiment.slug}?{urlencode(query)}&lang={lang}#source" if entry else "",
        "exports": {
            form: f"/api/v1/entries/{entry.id}/export?form={form}&{link}&lang={lang}"
            for form in EXPORT_FORMATS
            if entry
        },
        "alt": chart_alt_text(experiment, evidence.run.rows, lang) if evidence else "",
        "bits": _input_text(values.get("x", 0.1)) if "dtype" in experiment.params else "",
        "claims": _claim_rows(block, experiment, evidence, lang),
        "metrics": _metric_rows(entry, block, experiment, evidence, lang),
        "table": _data_table(experiment, evidence, lang),
        "receipt": _receipt_fields(evidence),
    }


def _day(seconds: float | None) -> str:
    """The date (UTC) of a time in seconds since 1970, as 2026-11-29; "" for None."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def experiment_url(experiment: Experiment, params: Params, lang: Lang) -> str:
    """The address of the experiment's page with these parameters."""
    query = urlencode({name: _input_text(value) for name, value in params.items()})
    return f"/experiments/{experiment.slug}?{query}&lang={lang}"


def form_control(
    parameter: Parameter, value: Value, default: Value, lang: Lang, *, visible: bool = True
) -> dict[str, Any]:
    """The template values of one input of the form; those that are not `visible` are folded."""
    low, high = parameter.ge, parameter.le
    return {
        "name": parameter.name,
        "title": parameter.title[lang],
        "unit": format_unit(parameter.unit, lang),
        "kind": "text" if parameter.nonfinite else parameter.kind,
        "value": _input_text(value),
        "default": _input_text(default),
        "min": _input_text(low) if low is not None and math.isfinite(low) else None,
        "max": _input_text(high) if high is not None and math.isfinite(high) else None,
        "choices": parameter.choices,
        "slider": slider_range(parameter, default),
        "hint": describe_allowed(parameter, lang).strip(),
        "visible": visible,
    }


def slider_range(parameter: Parameter, own: Value) -> dict[str, str] | None:
    """Ends and scale ("log" or "linear") of a slider around `own`, the entry's value; None for a parameter without one.

    The scale is logarithmic for a positive value: from a tenth to ten times a float from 0.1 to 10, else from a
    hundredth to a hundred times the value, within the parameter's bounds. It is linear for other values, and if the
    bounds are near, such as 0 and 1 around 0.9.
    """
    if parameter.kind not in ("int", "float") or isinstance(own, str | bool) or not math.isfinite(own):
        return None
    low = -math.inf if parameter.ge is None else parameter.ge
    high = math.inf if parameter.le is None else parameter.le
    size = abs(own)
    if own > 0 and not (low >= 0 and high <= 4 * own):
        factor = 10 if parameter.kind == "float" and 0.1 <= own <= 10 else 100
        ends, scale = (max(own / factor, 1 if parameter.kind == "int" else low), min(own * factor, high)), "log"
    else:
        reach = 2 * size or (10 if parameter.kind == "int" else 1)
        ends, scale = (max(low, -reach), min(high, reach)), "linear"
    if not ends[0] < ends[1]:
        return None
    number = round if parameter.kind == "int" else _three_digits
    return {"low": _input_text(number(ends[0])), "high": _input_text(number(ends[1])), "scale": scale}


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")


def _visible_parameters(entry: Entry | None, block: EvidenceBlock, experiment: Experiment) -> tuple[str, ...]:
    """The parameters that are not folded: the block's `visible`; all parameters of an experiment by itself.

    If the block has none, they are the first two that it sets and does not fix.
    """
    if entry is None:
        return tuple(experiment.params)
    return block.visible or tuple(name for name in block.params if name not in block.fixed)[:2]


def _difference(entry: Entry, block: EvidenceBlock, experiment: Experiment, lang: Lang) -> str:
    """The parameters in which a block differs from the entry's others with the same experiment: "depth = 30", or ""."""
    own = fill_defaults(experiment, block.params)
    others = [
        fill_defaults(experiment, each.params)
        for each in entry.evidence
        if each.experiment == block.experiment and each.id != block.id
    ]
    names = [name for name in experiment.params if any(repr(each[name]) != repr(own[name]) for each in others)]
    separator = "，" if lang == "zh" else ", "
    return separator.join(f"{experiment.params[name].title[lang]} = {_input_text(own[name])}" for name in names[:2])


def _input_text(value: Value) -> str:
    """A value as the text of an input element; the server parses it back to the same value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value)


def _claim_rows(
    block: EvidenceBlock, experiment: Experiment, evidence: Evidence | None, lang: Lang
) -> list[dict[str, Any]]:
    """The template values of the block's claims; without evidence they have no value and no verdict."""
    verdicts = [verdict.value for verdict in evidence.verdicts] if evidence else [None] * len(block.claims)
    measured: Mapping[str, Any] = evidence.run.measured if evidence else {}
    return [
        {
            "id": claim.id,
            "name": claim.metric,
            "proves_short": claim.proves == "short",
            "says": claim.says[lang],
            "metric": experiment.metrics[claim.metric].title[lang],
            "unit": format_unit(experiment.metrics[claim.metric].unit, lang, measured.get(claim.metric)),
            "sign": _OPERATOR_SIGNS[claim.op],
            "bound": format_value(claim.bound, lang),
            "value": format_value(measured[claim.metric], lang) if claim.metric in measured else None,
            "verdict": "elsewhere" if evidence and claim in evidence.not_testable_here else verdict,
            "spread": _spread_text(evidence, index, lang),
            "as_stated": verdict == "fails" and claim.expected_verdict.value == "fails",
        }
        for index, (claim, verdict) in enumerate(zip(block.claims, verdicts, strict=True))
    ]


def _spread_text(evidence: Evidence | None, index: int, lang: Lang) -> str:
    """The result of a claim over seeds; "" for a run with one seed, or without random numbers."""
    if evidence is None or not evidence.spreads or not evidence.run.used_rng:
        return ""
    return format_spread(evidence.spreads[index], lang)


def _metric_rows(
    entry: Entry | None, block: EvidenceBlock, experiment: Experiment, evidence: Evidence | None, lang: Lang
) -> dict[str, list[dict[str, Any]]]:
    """All metrics ("all"), and those shown at first ("quoted"): those of the claims, then those quoted in the text."""
    measured: Mapping[str, Any] = evidence.run.measured if evidence else dict.fromkeys(experiment.metrics, "…")
    rows = {
        name: {
            "name": name,
            "title": experiment.metrics[name].title[lang],
            "unit": format_unit(experiment.metrics[name].unit, lang, value),
            "value": format_value(value, lang) if evidence else FormattedValue("…", "none"),
        }
        for name, value in measured.items()
    }
    in_claims = [claim.metric for claim in block.claims]
    in_text = (
        [name for own, name, _ in PLACEHOLDER.findall(entry.text(lang)) if own == block.id] if entry else list(measured)
    )
    quoted = [name for name in dict.fromkeys(in_claims + in_text) if name in rows]
    return {"quoted": [rows[name] for name in quoted[:MAX_SHOWN_METRICS]], "all": list(rows.values())}


def _data_table(experiment: Experiment, evidence: Evidence | None, lang: Lang) -> dict[str, Any] | None:
    """Columns, the first `MAX_TABLE_ROWS` rows as text, and the number of rows; None without rows."""
    if evidence is None or not evidence.run.rows:
        return None
    rows = evidence.run.rows

    def cell(value: object) -> FormattedValue:
        return format_value(
            experiment.words[value][lang] if isinstance(value, str) and value in experiment.words else value, lang
        )

    names = [name for name in experiment.columns if any(name in row for row in rows[:MAX_TABLE_ROWS])]
    return {
        "columns": [
            {"title": experiment.columns[name].title[lang], "unit": format_unit(experiment.columns[name].unit, lang)}
            for name in names
        ],
        "rows": [[cell(row[name]) if name in row else "" for name in names] for row in rows[:MAX_TABLE_ROWS]],
        "total": len(rows),
    }


def _receipt_fields(evidence: Evidence | None) -> dict[str, Any] | None:
    if evidence is None:
        return None
    return {
        "seconds": f"{evidence.run.seconds:.3g}",
        "entry_hash": (evidence.entry_hash or "")[:12],
        "code_hash": evidence.experiment.hash[:12],
        "versions": evidence.run.versions,
        "machine": evidence.run.machine or machine_name(),
    }
