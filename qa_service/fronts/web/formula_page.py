"""The page `/formula`: a form for a formula, and the result. It works without scripts; the query has all fields."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from qa_service.answering.calculating import DEFAULT_RANGE
from qa_service.answering.formula import DEFAULT_DTYPE, FormulaStudy
from qa_service.answering.service import Service
from qa_service.errors import NumstabError
from qa_service.formula.dtypes import FLOAT_DTYPES
from qa_service.formula.printing import latex
from qa_service.formula.values import values_text
from qa_service.fronts.web import labels, markup, render
from qa_service.fronts.web.language import page_language
from qa_service.lab.clients import CLIENT
from qa_service.model import Lang
from qa_service.model.events import EvidenceReady
from qa_service.model.formula import (
    Elements,
    FormulaNode,
    FormulaRequest,
    FormulaResult,
    FormulaValue,
    MapPoint,
    StableForm,
)
from qa_service.presentation.numbers import format_number
from qa_service.schemas.evidence import evidence_json
from qa_service.server.streaming import open_stream

_OWN_FIELDS = frozenset({"expression", "dtype", "gradient", "lang"})
"""Fields of the query that are not variables."""
_PREFIX = "v:"
"""Prefix of the field of a variable whose name is one of `_OWN_FIELDS`."""
_DIGITS = {"float64": 17, "float32": 9}
_SIGNIFICANDS = {"float64": 53, "float32": 24, "bfloat16": 8, "float16": 11, "float8_e4m3fn": 4, "float8_e5m2": 3}
_MAX_DEPTH_SHOWN = 8
_STEPS_SHOWN = 60
_WHERE_SHOWN = 3
_NEARLY = 0.5
"""The greatest number of bits by which a second form may be worse than the best one and still be shown."""
_EXAMPLES = ("log(1+exp(x))", "sqrt(x+1)-sqrt(x)", "log(sigmoid(-200))", "softmax([1000, 0])", "0.1+0.2")


def add_formula_page(web: APIRouter, service: Service, headers: Mapping[str, str]) -> None:
    """Adds the route `/formula`."""

    @web.get("/formula")
    async def formula(http: Request) -> Response:
        lang = page_language(http)
        if lang is None:
            return HTMLResponse(render.unsupported_language_page(http.url.path), 422, dict(headers))
        fields = dict(http.query_params)
        shown: dict[str, Any] = {"result": None, "error": ""}
        status = 200
        if fields.get("expression", "").strip():
            try:
                study = FormulaStudy.of(read_fields(fields))
                CLIENT.get().charge(1)  # a GET that runs an experiment
                stream = await open_stream(http, partial(study.stream, service))
                last = await stream.collect(http)
                assert isinstance(last, EvidenceReady)
                shown["result"] = _result_values(study, study.result(last.evidence), fields, lang)
            except NumstabError as error:
                shown["error"], status = error[lang], error.status
        other: Lang = "en" if lang == "zh" else "zh"
        page = render.render_page(
            "formula.html",
            lang,
            here=http.url.path,
            other_address=f"{http.url.path}?{urlencode({**fields, 'lang': other})}",
            examples=_EXAMPLES,
            dtypes=FLOAT_DTYPES,
            dtype=fields.get("dtype", DEFAULT_DTYPE),
            expression=fields.get("expression", ""),
            gradient="gradient" in fields,
            variables=shown["result"]["variables"] if shown["result"] else _variables_given(fields),
            mathematics=shown["result"] is not None,
            **shown,
        )
        return HTMLResponse(page, status, dict(headers))


def read_fields(fields: Mapping[str, str]) -> FormulaRequest:
    """The request of a query: each field that is not in `_OWN_FIELDS` is a variable, with a value or a range "0..1"."""
    at: dict[str, str] = {}
    over: dict[str, tuple[str, str]] = {}
    for name, value in _variables_given(fields):
        low, dots, high = value.partition("..")
        if dots:
            over[name] = low.strip(), high.strip()
        elif value.strip():
            at[name] = value.strip()
    dtype = fields.get("dtype", "")
    order = (dtype, *(each for each in FLOAT_DTYPES if each != dtype)) if dtype else (DEFAULT_DTYPE, *FLOAT_DTYPES)
    return FormulaRequest(
        expression=fields["expression"],
        at=at,
        over=over,
        dtypes=tuple(dict.fromkeys(order)),
        gradient="gradient" in fields,
    )


def _variables_given(fields: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name.removeprefix(_PREFIX), value) for name, value in fields.items() if name not in _OWN_FIELDS]


def field_name(variable: str) -> str:
    """The name of a variable's field in the query."""
    return f"{_PREFIX}{variable}" if variable in _OWN_FIELDS else variable


def _result_values(study: FormulaStudy, result: FormulaResult, fields: Mapping[str, str], lang: Lang) -> dict[str, Any]:
    """The template values of a result."""
    texts = labels.labels_in(lang)
    given = dict(_variables_given(fields))
    variables = [(name, given.get(name, "").strip() or _default(study, name)) for name in study.given]
    receipt = evidence_json(result.evidence, lang, brief=True).receipt
    return {
        "variables": variables,
        "formula": Markup(markup.markdown_to_html(f"$$\n{latex(study.tree)}\n$$")),  # noqa: S704  # sanitised
        "expression": result.expression,
        "ran": result.ran,
        "note": result.evidence.run.note[lang],
        "at": [(name, _number(value, lang, 9)) for name, value in result.at.items()],
        "at_breaking": bool(result.over),
        "exact": labels.LABELS["formula_beyond"][lang] if result.exceeds_float64 else _elements(result.exact, lang, 17),
        "values": [_row(dtype, result.values[dtype], lang) for dtype in FLOAT_DTYPES if dtype in result.values],
        "wrong": [
            (dtype, node.text, texts[f"formula_how_{node.values[dtype].how or 'none'}"])
            for dtype in FLOAT_DTYPES
            if (node := _node(result, result.first_wrong.get(dtype)))
        ],
        **_steps(result, lang),
        "gradients": [
            (
                each.variable,
                _elements(each.exact, lang, 17),
                [_row(dtype, each.values[dtype], lang) for dtype in FLOAT_DTYPES if dtype in each.values],
            )
            for each in result.gradient
        ],
        "map": _Map.of(result).template_values(result, lang) if result.over else None,
        "breaks": [_breaking_values(result, dtype, lang) for dtype in FLOAT_DTYPES if dtype in result.breaks_at],
        "sought": bool(result.over),
        "stable": [_stable(result, form, lang) for form in _best(result)],
        "dtype": result.dtype,
        "before": _number(result.bits.get(result.dtype), lang, 3),
        "permalink": _permalink(result.expression, variables, fields, lang),
        "playground": "/experiments/formula?" + urlencode({**study.params, "lang": lang}),
        "receipt": receipt,
        "seconds": format_number(result.evidence.run.seconds, lang, 2),
    }


def _default(study: FormulaStudy, name: str) -> str:
    return values_text({name: study.given.get(name, DEFAULT_RANGE)}).partition("=")[2]


def _permalink(expression: str, variables: Sequence[tuple[str, str]], fields: Mapping[str, str], lang: Lang) -> str:
    query = {"expression": expression, **{field_name(name): value for name, value in variables}}
    query |= {name: fields[name] for name in ("dtype", "gradient") if name in fields}
    return "/formula?" + urlencode({**query, "lang": lang})


def _row(dtype: str, value: FormulaValue, lang: Lang) -> dict[str, str]:
    return {
        "dtype": dtype,
        "value": _elements(value.value, lang, _DIGITS.get(dtype, 5)),
        "ulp": _number(value.ulp, lang, 3),
        "status": value.status,
        "outcome": labels.LABELS[f"formula_status_{value.status}"][lang],
    }


def _node(result: FormulaResult, number: int | None) -> FormulaNode | None:
    return next((node for node in result.nodes if node.id == number), None)


def _steps(result: FormulaResult, lang: Lang) -> dict[str, Any]:
    """The tree of the calculation, from the result down, in a format with a wrong step, preferably `result.dtype`."""
    dtype = result.dtype if result.dtype in result.first_wrong else next(iter(result.first_wrong), result.dtype)
    by_id = {node.id: node for node in result.nodes}
    rows = []
    if result.nodes:
        for depth, node in _walk(by_id, max(by_id)):
            value = node.values.get(dtype)
            if value is None or (not node.inputs and node.operation == node.text and _is_number(node)):
                continue
            rows.append(
                {
                    "depth": min(depth, _MAX_DEPTH_SHOWN),
                    "text": node.text,
                    "value": _elements(value.value, lang, 7),
                    "exact": _elements(node.exact, lang, 7),
                    "status": value.status,
                    "outcome": labels.LABELS[f"formula_status_{value.status}"][lang],
                    "first": node.id == result.first_wrong.get(dtype),
                    "how": labels.LABELS[f"formula_how_{value.how or 'none'}"][lang],
                }
            )
    return {"steps": rows[:_STEPS_SHOWN], "steps_dtype": dtype}


def _is_number(node: FormulaNode) -> bool:
    return node.operation[:1].isdigit() or node.operation[:1] == "-"


def _walk(by_id: Mapping[int, FormulaNode], root: int) -> Iterator[tuple[int, FormulaNode]]:
    """(depth, node) of each node once, in pre-order: arguments come after the node that uses them."""
    pending, seen = [(0, root)], set()
    while pending:
        depth, number = pending.pop()
        if number in seen or number not in by_id:
            continue
        seen.add(number)
        node = by_id[number]
        yield depth, node
        pending.extend((depth + 1, each) for each in reversed(node.inputs))


def _breaking_values(result: FormulaResult, dtype: str, lang: Lang) -> dict[str, Any]:
    """The template values of a format: an input that breaks the formula, lost bits, and the regions where it fails."""
    texts = labels.labels_in(lang)
    regions = []
    for each in result.regions:
        if each.dtype == dtype:
            span = _number(each.low, lang, 4)
            if each.low != each.high:
                span = texts["formula_from_to"].format(span, _number(each.high, lang, 4))
            why = {"overflow": texts["formula_too_large"], "domain": texts["formula_undefined"]}.get(each.how, "")
            region = (span if len(result.over) == 1 else "", texts[f"formula_status_{each.status}"], why)
            regions += [region] if region not in regions else []
    values = result.breaking.get(dtype, {})
    shown = [(f"{name} = " if len(values) > 1 else "") + _number(value, lang, 9) for name, value in values.items()]
    return {
        "dtype": dtype,
        "at": ", ".join(shown) or texts["formula_never"],
        "bits": _number(result.bits.get(dtype), lang, 3),
        "regions": regions,
    }


def _best(result: FormulaResult) -> list[StableForm]:
    """The best stable form, and the second if it is nearly as good (`_NEARLY`)."""
    first, *others = result.stable[:2] or (None,)
    if first is None:
        return []
    return [first, *(each for each in others if each.bits[result.dtype] < first.bits[result.dtype] + _NEARLY)]


def _stable(result: FormulaResult, form: StableForm, lang: Lang) -> dict[str, Any]:
    return {
        "torch": Markup(markup.highlight_code(form.torch)),  # noqa: S704
        "expression": form.expression,
        "functions": form.functions,
        "rules": form.rules,
        "gained": _number(form.bits_gained, lang, 3),
        "after": _number(form.bits.get(result.dtype), lang, 3),
        "where": [
            labels.LABELS["formula_from_to"][lang].format(_number(win.low, lang, 3), _number(win.high, lang, 3))
            for win in form.where[:_WHERE_SHOWN]
        ],
    }


@dataclass(frozen=True)
class _Map:
    """The map of lost bits: a strip of cells over the range of a variable, for each format and for the best form."""

    grid: tuple[float, ...]
    """The points in float64, which are evenly spaced on the symmetric logarithmic axis."""

    @classmethod
    def of(cls, result: FormulaResult) -> "_Map":
        """The map of a result that has a range."""
        return cls(tuple(sorted({each.x for each in result.points if each.dtype == "float64" and not each.form})))

    def template_values(self, result: FormulaResult, lang: Lang) -> dict[str, Any] | None:
        """The template values of the map, its strips and ticks; None without points."""
        if len(self.grid) < 3:
            return None
        strips = [(dtype, self._strip(result.points, dtype, 0)) for dtype in FLOAT_DTYPES]
        if result.stable:
            best = self._strip(result.points, result.dtype, result.stable[0].form)
            strips.insert(0, (labels.LABELS["formula_stable_strip"][lang].format(result.dtype), best))
        marks = [self.grid[round(part * (len(self.grid) - 1) / 4)] for part in range(5)]
        return {
            "strips": [(name, cells) for name, cells in strips if cells],
            "ticks": [_number(mark, lang, 2) for mark in marks],
            "variable": next(iter(result.over)),
        }

    def _strip(self, points: Sequence[MapPoint], dtype: str, form: int) -> list[tuple[int, int, int]]:
        """(left, width, shade) of each cell, in thousandths of the axis; adjacent cells of one shade are merged."""
        own = sorted(
            (each.x, each.bits) for each in points if (each.dtype, each.form) == (dtype, form) and each.bits is not None
        )
        if not own:
            return []
        places = [self._place(x) for x, _ in own]
        edges = [0, *(round((a + b) / 2) for a, b in pairwise(places)), 1000]
        cells: list[tuple[int, int, int]] = []
        for (left, right), (_, bits) in zip(pairwise(edges), own, strict=True):
            shade = _shade(bits or 0.0, _SIGNIFICANDS[dtype])
            start = cells.pop()[0] if cells and cells[-1][2] == shade else left
            if right > start:
                cells.append((start, right - start, shade))
        return cells

    def _place(self, x: float) -> float:
        """The position of x on the axis, from 0 to 1000, by interpolation between the points of the grid."""
        after = min(max(bisect_left(self.grid, x), 1), len(self.grid) - 1)
        low, high = self.grid[after - 1], self.grid[after]
        return 1000 * min(max(after - 1 + (x - low) / (high - low), 0), len(self.grid) - 1) / (len(self.grid) - 1)


def _shade(bits: float, digits: int) -> int:
    """The shade of a cell: 0 for up to two bits lost; 1 for up to half of the digits; 2 for more; 3 for all, inf or
    nan.
    """
    if bits >= digits:
        return 3
    return 0 if bits <= min(2.0, digits / 4) else 1 if bits <= digits / 2 else 2


def _elements(value: Elements, lang: Lang, digits: int) -> str:
    if isinstance(value, tuple):
        shown = [_number(each, lang, digits) for each in value]
        return f"[{', '.join(shown[:6])}{', …' if len(shown) > 6 else ''}]"
    return _number(value, lang, digits)


def _number(value: float | None, lang: Lang, digits: int = 5) -> str:
    """A number with at most `digits` digits; for 17, the shortest that identifies it in float64."""
    if value is None:
        return "–"
    return (repr(value) if digits == 17 else format_number(value, lang, digits)).replace("-", "−")
