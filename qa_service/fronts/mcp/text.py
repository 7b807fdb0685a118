"""Results as text, in their language: every number and verdict of the structured content, to its last digit."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from qa_service.fronts.mcp.results import (
    AskResult,
    CheckResult,
    CompareResult,
    EntryName,
    FindResult,
    FormulaToolResult,
    Result,
    RunClaim,
    RunOnlyResult,
    RunResult,
)
from qa_service.model import Lang, Text
from qa_service.model.json_numbers import json_safe

_WORDS: Mapping[str, Text] = {
    "measured": Text("实测", "Measured"),
    "params": Text("参数", "parameters"),
    "seed": Text("种子", "seed"),
    "status": Text("状态", "status"),
    "claims": Text("断言", "Claims"),
    "rows": Text("全部行与图", "Every row and the chart"),
    "code": Text("代码", "code"),
    "holds": Text("成立", "holds"),
    "fails": Text("不成立", "fails"),
    "unknown": Text("无法判定", "unknown"),
    "measured_value": Text("测得", "measured"),
    "holds_at": Text("只因参数不同；在词条的参数下成立", "only because of other parameters; the entry's are"),
    "over_seeds": Text(
        "{seeds} 个种子里 {held} 个成立；最小 {lowest}，中位 {median}，最大 {highest}",
        "holds with {held} of {seeds} seeds; lowest {lowest}, median {median}, highest {highest}",
    ),
    "entry": Text("词条", "Entry"),
    "read": Text("从问题里读到", "Read from the question"),
    "notes": Text("说明", "Notes"),
    "candidates": Text(
        "没有词条能确定地回答。你指的是其中之一吗？用 entry 再问", "No entry surely answers. To ask for one, set entry"
    ),
    "related": Text("相关", "Related"),
    "context": Text("追问时把 context 原样送回", "For a follow-up, send back this context"),
    "left_out": Text("因篇幅省略", "Left out for length"),
    "found": Text("共 {of} 个实验，这里是最相近的 {count} 个", "The nearest {count} of {of} experiments"),
    "none_found": Text("没有找到；一共有 {of} 个实验", "None found; there are {of} experiments"),
    "metrics": Text("指标", "metrics"),
    "default": Text("默认", "default"),
    "confirmed": Text("全部断言与词条所述相符。", "Every claim came out as the entry states."),
    "not_confirmed": Text("有断言与词条所述不符。", "Some claims did not come out as the entry states."),
    "at_params": Text("在词条的参数下", "at the entry's parameters"),
    "at_control": Text("在对照下", "at the control"),
    "expected": Text("应当{}", "expected: {}"),
    "as_expected": Text("{seeds} 个种子里 {as_expected} 个如此", "so with {as_expected} of {seeds} seeds"),
    "confirmed_one": Text("相符", "confirmed"),
    "not_confirmed_one": Text("不符", "NOT confirmed"),
    "range": Text(
        "最小 {lowest}，中位 {median}，最大 {highest}", "lowest {lowest}, median {median}, highest {highest}"
    ),
    "exact": Text("精确值", "exact value"),
    "in_torch": Text("torch 写法", "in torch"),
    "error_ulp": Text("误差（ulp）", "error in ulp"),
    "first_wrong": Text("出错的一步", "The step that goes wrong"),
    "exact_there": Text("那里的精确值", "exact there"),
    "gradient": Text("导数", "derivative"),
    "breaks_at": Text("在何处失效", "Breaks at"),
    "stable": Text("更稳定的写法（以 {dtype} 比较）", "Stable forms (compared in {dtype})"),
    "no_stable": Text("没有找到更稳定的写法（以 {dtype} 比较）。", "No stable form found (compared in {dtype})."),
    "gains": Text("平均少丢 {bits} 位", "loses {bits} bits less on average"),
    "compared": Text("比较", "Compared"),
    "nothing_differs": Text("各次运行的指标都相同。", "No metric differs between the runs."),
    "none": Text("没有", "none"),
}


def render(result: Result) -> str:
    """A result as markdown."""
    match result:
        case AskResult():
            lines = _ask(result)
        case RunOnlyResult():
            lines = _runs(result.runs, result.lang)
        case FindResult():
            lines = _find(result)
        case CheckResult():
            lines = _check(result)
        case FormulaToolResult():
            lines = _formula(result)
        case _:
            raise TypeError(type(result).__name__)
    if result.left_out:
        lines.append(f"{_word('left_out', result.lang)}: {', '.join(dict.fromkeys(result.left_out))}")
    return "\n".join(lines)


def number(value: Any) -> str:
    """A value to its last digit: 0.1, 1e-06, inf, nan, true, [1.0, 2.0]; "–" for none."""
    match value:
        case None:
            return "–"
        case bool():
            return str(value).lower()
        case float() if not math.isfinite(value):
            return str(value)
        case list() | tuple():
            return f"[{', '.join(map(number, value))}]"
        case _:
            return str(value)


def _ask(result: AskResult) -> list[str]:
    lang = result.lang
    lines = [result.answer, ""]
    if result.entry:
        lines.append(_named("entry", [result.entry], lang))
    if result.params:
        lines.append(f"{_word('read', lang)}: {_params(result.params)}")
    if result.notes:
        lines.append(f"{_word('notes', lang)}: {' '.join(result.notes)}")
    if isinstance(result, CompareResult):
        lines += _tables(result, lang)
    lines += _runs(result.runs, lang)
    if result.candidates:
        lines.append(_named("candidates", result.candidates, lang))
    if result.related:
        lines.append(_named("related", result.related, lang))
    context = json.dumps(json_safe(result.context.to_dict()), ensure_ascii=False)
    lines.append(f"{_word('context', lang)}: `{context}`")
    return lines


def _tables(result: CompareResult, lang: Lang) -> list[str]:
    lines = []
    for table in result.tables:
        lines += ["", f"### {_word('compared', lang)}: {table.title}", f"| | {' | '.join(table.runs)} |"]
        lines.append("|---" * (len(table.runs) + 1) + "|")
        lines += [f"| {title} | {' | '.join(values)} |" for title, values in table.rows.items()]
        if not table.rows:
            lines.append(_word("nothing_differs", lang))
    return lines


def _runs(runs: Sequence[RunResult], lang: Lang) -> list[str]:
    lines: list[str] = []
    for run in runs:
        lines += ["", f"### {_word('measured', lang)}: {run.title} (`{run.experiment}`)"]
        lines.append(f"{_word('params', lang)}: {_params(run.params)}; {_word('seed', lang)} {run.seed}")
        if run.compared:
            lines.append(f"{_word('compared', lang)}: {', '.join(run.compared)}")
        if run.status != "ran":
            lines.append(f"{_word('status', lang)}: {run.status}. {run.note}")
        lines += [
            f"- {metric.title} [{name}] = {number(metric.value)}{'' if metric.unit == '1' else ' ' + metric.unit}"
            for name, metric in run.metrics.items()
        ]
        if run.claims:
            lines += [f"{_word('claims', lang)}:", *(_claim(claim, lang) for claim in run.claims)]
        if run.chart:
            lines.append(run.chart.strip())
        versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
        lines.append(f"{_word('code', lang)} {run.code_hash}; {versions}; {run.machine}")
        lines.append(f"{_word('rows', lang)}: {run.rows}")
    return [*lines, ""] if lines else []


def _claim(claim: RunClaim, lang: Lang) -> str:
    measured = f"{claim.metric} {claim.op} {number(claim.bound)}; {_word('measured_value', lang)} {number(claim.value)}"
    line = f"- {_word(claim.verdict, lang)}: {claim.says} ({measured})"
    if claim.holds_at is not None:
        line += f" [{_word('holds_at', lang)}: {_params(claim.holds_at)}]"
    if claim.seeds is not None:
        spread = {name: number(value) for name, value in dict(claim.seeds).items()}
        line += f" [{_word('over_seeds', lang).format(**spread)}]"
    return line


def _find(result: FindResult) -> list[str]:
    lang = result.lang
    head = _word("found" if result.experiments else "none_found", lang)
    lines = [head.format(of=result.of, count=len(result.experiments)) + "."]
    for each in result.experiments:
        lines += ["", f"### `{each.experiment}`: {each.title}"]
        lines += [
            f"- {name}: {param.title}; {param.allowed}; {_word('default', lang)} {number(param.default)}"
            for name, param in each.params.items()
        ]
        metrics = "; ".join(f"{name} ({title})" for name, title in each.metrics.items())
        lines.append(f"{_word('metrics', lang)}: {metrics}")
    return lines


def _check(result: CheckResult) -> list[str]:
    lang = result.lang
    lines = [_word("confirmed" if result.confirmed else "not_confirmed", lang)]
    lines.append(_named("entry", [result.entry], lang))
    for claim in result.claims:
        expected = _word("expected", lang).format(_word(claim.expected, lang))
        agree = _word("as_expected", lang).format(as_expected=claim.as_expected, seeds=claim.seeds)
        spread = {name: number(getattr(claim, name)) for name in ("lowest", "median", "highest")}
        verdict = _word("confirmed_one" if claim.confirmed else "not_confirmed_one", lang)
        lines.append(
            f"- {verdict}: {claim.says} [{claim.claim}] {_word(f'at_{claim.at}', lang)} ({_params(claim.params)}): "
            f"{claim.metric} {claim.op} {number(claim.bound)}, {expected}; {agree}; "
            f"{_word('range', lang).format(**spread)}"
        )
    return lines


def _formula(result: FormulaToolResult) -> list[str]:
    lang = result.lang
    lines = [f"`{result.expression}`; {_word('in_torch', lang)}: `{result.torch}`"]
    if result.status != "ran":
        return [*lines, f"{_word('status', lang)}: {result.status}. {result.note}"]
    lines.append(f"{_params(result.at)}: {_word('exact', lang)} {number(result.exact)}")
    lines += [
        f"- {dtype}: {number(each.value)}, {each.status}; {_word('error_ulp', lang)} {number(each.ulp)}"
        for dtype, each in result.values.items()
    ]
    for dtype, step in result.first_wrong.items():
        lines.append(
            f"{_word('first_wrong', lang)} ({dtype}): `{step.step}` {step.what}: {number(step.value)}; "
            f"{_word('exact_there', lang)} {number(step.exact)}"
        )
    for variable, values in result.gradient.items():
        shown = "; ".join(
            f"{dtype} {number(each.value)} ({each.status}, {number(each.ulp)} ulp)" for dtype, each in values.items()
        )
        lines.append(f"{_word('gradient', lang)} d/d{variable}: {shown}")
    if result.breaks_at:
        shown = ", ".join(f"{dtype} {number(at)}" for dtype, at in result.breaks_at.items())
        lines.append(f"{_word('breaks_at', lang)}: {shown}")
    lines.append(_word("stable" if result.stable else "no_stable", lang).format(dtype=result.dtype))
    lines += [
        f"- `{form.torch}` ({form.expression}): {_word('gains', lang).format(bits=number(form.bits_gained))}"
        for form in result.stable
    ]
    return [*lines, f"{_word('rows', lang)}: {result.rows}"]


def _named(word: str, entries: Sequence[EntryName], lang: Lang) -> str:
    return f"{_word(word, lang)}: " + "; ".join(f"`{each.entry}` ({each.question})" for each in entries)


def _params(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={number(value)}" for name, value in params.items())


def _word(name: str, lang: Lang) -> str:
    return _WORDS[name][lang]
