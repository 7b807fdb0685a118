"""Results as Markdown, in their language, with every number and verdict of the structured content in full precision."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from qa_service.fronts.mcp.results import (
    AskResult,
    CheckResult,
    CompareResult,
    DiagnoseResult,
    EntryName,
    FactFound,
    FindResult,
    FormulaToolResult,
    RunClaim,
    RunMetric,
    RunOnlyResult,
    RunResult,
    ToolResult,
)
from qa_service.model import Lang, Text
from qa_service.model.json_numbers import json_safe
from qa_service.schemas.diagnosis import HarmJson

_COLON: Mapping[Lang, str] = {"zh": "：", "en": ": "}
_SEMICOLON: Mapping[Lang, str] = {"zh": "；", "en": "; "}
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
    "alternatives": Text(
        "也可能是在问其中之一。用 entry 再问", "One of these may have been meant instead. To ask for it, set entry"
    ),
    "related": Text("相关", "Related"),
    "context": Text("追问时把 context 原样送回", "For a follow-up, send back this context"),
    "left_out": Text("因篇幅省略", "Left out for length"),
    "found": Text("共 {of} 个实验，最相近的 {count} 个：", "The nearest {count} of {of} experiments:"),
    "none_found": Text("没有找到；一共有 {of} 个实验。", "None found; there are {of} experiments."),
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
    "sick": Text("有问题", "something is wrong"),
    "healthy": Text("正常", "healthy"),
    "not_numerics": Text("不是数值问题", "no matter of numerics"),
    "cannot_tell": Text("不能断定", "cannot tell"),
    "cause": Text("原因", "Cause"),
    "certain": Text("确定", "certain"),
    "likely": Text("很可能", "likely"),
    "possible": Text("可能", "possible"),
    "cure": Text("怎么办", "What to do"),
    "ask": Text("一个问题就能分清", "One question tells them apart"),
    "ruled_out": Text("排除", "Ruled out"),
    "harmless": Text("看着吓人但没事", "Alarming, but harmless"),
    "unseen": Text("日志里看不到", "Not to be seen in the log"),
    "next": Text("加上这一行能知道更多", "This line would tell more"),
    "from_run": Text("下面的实验里取自日志的参数", "Parameters of the runs below that come from the log"),
    "cured": Text("第二次运行改了", "Changed in the second run, as the cure"),
    "line": Text("第 {} 行", "line {}"),
    "step": Text("第 {} 步", "step {}"),
    "nothing_differs": Text("各次运行的指标都相同。", "No metric differs between the runs."),
}


def render_result(result: ToolResult) -> str:
    """A result as Markdown; raises TypeError for an unknown type of result."""
    match result:
        case AskResult():
            lines = _ask(result)
        case DiagnoseResult():
            lines = _diagnosis(result)
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
        lines.append(_labelled("left_out", ", ".join(dict.fromkeys(result.left_out)), result.lang))
    return "\n".join(lines).strip()


def full_precision(value: Any) -> str:
    """A value in full precision: 0.1, 1e-06, inf, nan, true, [1.0, 2.0]; "–" for None."""
    match value:
        case None:
            return "–"
        case bool():
            return str(value).lower()
        case float() if not math.isfinite(value):
            return str(value)
        case list() | tuple():
            return f"[{', '.join(map(full_precision, value))}]"
        case _:
            return str(value)


def _ask(result: AskResult) -> list[str]:
    lang = result.lang
    lines = [result.answer, ""]
    if result.entry:
        lines.append(_named("entry", [result.entry], lang))
    if result.params:
        lines.append(_labelled("read", _params(result.params), lang))
    if result.notes:
        lines.append(_labelled("notes", " ".join(result.notes), lang))
    if isinstance(result, CompareResult):
        lines += _tables(result, lang)
    lines += _runs(result.runs, lang)
    if result.candidates:
        lines.append(_named("alternatives" if result.entry else "candidates", result.candidates, lang))
    if result.related:
        lines.append(_named("related", result.related, lang))
    context = json.dumps(json_safe(result.context.to_dict()), ensure_ascii=False)
    lines.append(_labelled("context", f"`{context}`", lang))
    return lines


def _tables(result: CompareResult, lang: Lang) -> list[str]:
    lines = []
    for table in result.tables:
        lines += ["", f"### {_labelled('compared', table.title, lang)}", f"| | {' | '.join(table.runs)} |"]
        lines.append("|---" * (len(table.runs) + 1) + "|")
        lines += [f"| {title} | {' | '.join(values)} |" for title, values in table.rows.items()]
        if not table.rows:
            lines.append(_word("nothing_differs", lang))
    return lines


def _runs(runs: Sequence[RunResult], lang: Lang) -> list[str]:
    lines: list[str] = []
    for run in runs:
        lines += ["", f"### {_labelled('measured', run.title, lang)}{_aside(f'`{run.experiment}`', lang)}"]
        lines.append(
            _listed([_labelled("params", _params(run.params), lang), f"{_word('seed', lang)} {run.seed}"], lang)
        )
        if run.compared:
            lines.append(_labelled("compared", ", ".join(run.compared), lang))
        if run.status != "ran":
            lines.append(_labelled("status", f"{run.status}. {run.note}", lang))
        lines += [
            f"- {metric.title} [{name}] = {full_precision(metric.value)}{_unit(metric)}"
            for name, metric in run.metrics.items()
        ]
        if run.claims:
            lines += [_labelled("claims", "", lang).rstrip(), *(_claim(claim, lang) for claim in run.claims)]
        if run.chart:
            lines.append(run.chart.strip())
        versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
        lines.append(_listed([f"{_word('code', lang)} {run.code_hash}", versions, run.machine], lang))
        lines.append(_labelled("rows", run.rows, lang))
    return [*lines, ""] if lines else []


def _unit(metric: RunMetric) -> str:
    return "" if metric.unit == "1" or metric.value is None else f" {metric.unit}"


def _claim(claim: RunClaim, lang: Lang) -> str:
    inequality = f"{claim.metric} {claim.op} {full_precision(claim.bound)}"
    measured = f"{_word('measured_value', lang)} {full_precision(claim.value)}"
    line = f"- {_labelled(claim.verdict, claim.says, lang)}{_aside(_listed([inequality, measured], lang), lang)}"
    if claim.holds_at is not None:
        line += f" [{_labelled('holds_at', _params(claim.holds_at), lang)}]"
    if claim.seeds is not None:
        spread = {name: full_precision(value) for name, value in dict(claim.seeds).items()}
        line += f" [{_word('over_seeds', lang).format(**spread)}]"
    return line


def _find(result: FindResult) -> list[str]:
    lang = result.lang
    head = _word("found" if result.experiments else "none_found", lang)
    lines = [head.format(of=result.of, count=len(result.experiments))]
    for each in result.experiments:
        lines += ["", f"### {each.title}{_aside(f'`{each.experiment}`', lang)}"]
        lines += [
            f"- {name}: "
            + _listed([param.title, param.allowed, f"{_word('default', lang)} {full_precision(param.default)}"], lang)
            for name, param in each.params.items()
        ]
        metrics = [f"{name}{_aside(title, lang)}" for name, title in each.metrics.items()]
        lines.append(_labelled("metrics", _listed(metrics, lang), lang))
    return lines


def _check(result: CheckResult) -> list[str]:
    lang = result.lang
    lines = [_word("confirmed" if result.confirmed else "not_confirmed", lang)]
    lines.append(_named("entry", [result.entry], lang))
    for claim in result.claims:
        expected = _word("expected", lang).format(_word(claim.expected, lang))
        agree = _word("as_expected", lang).format(as_expected=claim.as_expected, seeds=claim.seeds)
        spread = {name: full_precision(getattr(claim, name)) for name in ("lowest", "median", "highest")}
        says = _labelled(
            "confirmed_one" if claim.confirmed else "not_confirmed_one", f"{claim.says} [{claim.claim}]", lang
        )
        where = f"{_word(f'at_{claim.at}', lang)}{_aside(_params(claim.params), lang)}"
        inequality = f"{claim.metric} {claim.op} {full_precision(claim.bound)}"
        ranged = _word("range", lang).format(**spread)
        lines.append(f"- {_listed([says, where, inequality, expected, agree, ranged], lang)}")
    return lines


def _formula(result: FormulaToolResult) -> list[str]:
    lang = result.lang
    lines = [_listed([f"`{result.expression}`", _labelled("in_torch", f"`{result.torch}`", lang)], lang)]
    if result.status != "ran":
        return [*lines, _labelled("status", f"{result.status}. {result.note}", lang)]
    lines.append(_listed([_params(result.at), f"{_word('exact', lang)} {full_precision(result.exact)}"], lang))
    lines += [
        f"- {dtype}: "
        + _listed(
            [full_precision(each.value), each.status, f"{_word('error_ulp', lang)} {full_precision(each.ulp)}"], lang
        )
        for dtype, each in result.values.items()
    ]
    for dtype, step in result.first_wrong.items():
        became = [
            f"`{step.step}` {step.what}",
            full_precision(step.value),
            f"{_word('exact_there', lang)} {full_precision(step.exact)}",
        ]
        lines.append(f"{_word('first_wrong', lang)}{_aside(dtype, lang)}{_COLON[lang]}{_listed(became, lang)}")
    for variable, values in result.gradient.items():
        derivatives = [
            f"{dtype} {full_precision(each.value)}" + _aside(f"{each.status}, {full_precision(each.ulp)} ulp", lang)
            for dtype, each in values.items()
        ]
        lines.append(f"{_word('gradient', lang)} d/d{variable}{_COLON[lang]}{_listed(derivatives, lang)}")
    if result.breaks_at:
        shown = ", ".join(f"{dtype} {full_precision(at)}" for dtype, at in result.breaks_at.items())
        lines.append(_labelled("breaks_at", shown, lang))
    lines.append(_word("stable" if result.stable else "no_stable", lang).format(dtype=result.dtype))
    lines += [
        f"- `{form.torch}`{_aside(form.expression, lang)}{_COLON[lang]}"
        + _word("gains", lang).format(bits=full_precision(form.bits_gained))
        for form in result.stable
    ]
    return [*lines, _labelled("rows", result.rows, lang)]


def _diagnosis(result: DiagnoseResult) -> list[str]:
    lang = result.lang
    lines = [f"**{result.summary}**{_aside(_word(result.verdict, lang), lang)}", ""]
    lines += [f"- {_with_place(each.text, each, lang)}" for each in result.harms]
    facts = {each.text: each for each in result.facts}
    for cause in result.causes:
        word = f"{_word(cause.word, lang)}, {full_precision(cause.probability)}"
        lines += ["", f"### {_labelled('cause', cause.name, lang)}{_aside(word, lang)}"]
        lines += [f"- {_with_place(each, facts.get(each), lang)}" for each in cause.because]
        if cause.cure:
            lines.append(_labelled("cure", cause.cure, lang))
        if cause.patch:
            lines += ["```python", cause.patch.strip("\n"), "```"]
        lines.append(_labelled("entry", f"`{cause.entry}`", lang))
    if result.ask:
        lines.append(_labelled("ask", result.ask, lang))
    lines += [f"- {_labelled('ruled_out', each.name, lang)}{_aside(each.because, lang)}" for each in result.ruled_out]
    lines += [f"- {_labelled('harmless', each, lang)}" for each in result.margins]
    if result.unseen:
        lines.append(_labelled("unseen", _listed(result.unseen, lang), lang))
    if result.next:
        lines.append(_labelled("next", f"`{result.next}`", lang))
    if result.from_run:
        lines.append(_labelled("from_run", ", ".join(result.from_run), lang))
    if result.cured:
        lines.append(_labelled("cured", _params(result.cured), lang))
    return lines + _runs(result.runs, lang)


def _with_place(text: str, place: FactFound | HarmJson | None, lang: Lang) -> str:
    """A text with the lines and the step that show it."""
    if place is None:
        return text
    where = [_word("line", lang).format(", ".join(map(str, place.lines)))] if place.lines else []
    where += [] if place.step is None else [_word("step", lang).format(place.step)]
    return text + (_aside(_listed(where, lang), lang) if where else "")


def _named(word: str, entries: Sequence[EntryName], lang: Lang) -> str:
    return _labelled(word, _listed([f"`{each.entry}`{_aside(each.question, lang)}" for each in entries], lang), lang)


def _labelled(word: str, shown: str, lang: Lang) -> str:
    return f"{_word(word, lang)}{_COLON[lang]}{shown}"


def _aside(shown: str, lang: Lang) -> str:
    return f"（{shown}）" if lang == "zh" else f" ({shown})"


def _listed(items: Sequence[str], lang: Lang) -> str:
    return _SEMICOLON[lang].join(item for item in items if item)


def _params(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={full_precision(value)}" for name, value in params.items())


def _word(name: str, lang: Lang) -> str:
    return _WORDS[name][lang]
