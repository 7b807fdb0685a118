"""Results as text: as the terminal prints them if the model's values are available, else from the JSON; and as
Markdown.
"""

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from numstab.json_object import JsonObject
from numstab.words import RESULT_WORDS, VERDICT_MARKS
from qa_service.model import Lang
from qa_service.presentation.numbers import format_number

if TYPE_CHECKING:
    from qa_service.fronts.terminal.screen import TerminalView

_NONFINITE = {"Infinity": "inf", "-Infinity": "-inf", "NaN": "nan"}


def answer_text(data: JsonObject, source: Any) -> str:
    """The text of an answer with its proof; `source` is the model's value that `data` was made from, None from a
    server.
    """
    if source is not None:
        return _as_terminal(source.lang, lambda view: view.print_finished(source))
    lang, entry, parts = data["lang"], data["entry"], data["parts"] or {}
    lines = [f"{entry['question']}  ({entry['id']})"] if entry else []
    lines += [f"! {note}" for note in data["notes"]]
    lines += [parts.get("short") or data["answer"], ""]
    if case := parts.get("your_case") or (data.get("clue") or {}).get("text"):
        lines += [case, ""]
    for one in data["evidence"][:1]:
        lines += [*claim_lines(one, lang), f"  {run_line(one, lang)}"]
    if parts.get("do"):
        lines += ["", RESULT_WORDS["do"][lang], parts["do"]]
    if parts.get("tell"):
        lines += ["", RESULT_WORDS["tell"][lang], *(f"• {row['see']} → {row['means']}" for row in parts["tell"])]
    return "\n".join(lines).rstrip() + "\n"


def answer_markdown(data: JsonObject) -> str:
    """The Markdown of an answer: the whole text, then the proof's claims and its run."""
    lang, entry = data["lang"], data["entry"]
    title = [f"### {entry['question']}"] if entry else []
    proof = data["evidence"][:1]
    claims = ["\n".join(f"- {line}" for line in claim_lines(one, lang)) for one in proof]
    return "\n\n".join(filter(None, [*title, data["answer"], *claims, *(f"`{run_line(one, lang)}`" for one in proof)]))


def run_text(data: JsonObject, source: Any, lang: Lang) -> str:
    """The text of a run: its call, metrics and claims."""
    if source is not None:
        return _as_terminal(lang, lambda view: view.print_evidence(source))
    metrics = [f"  {title}  {shown}" for title, shown in metric_rows(data, lang)]
    return "\n".join([data["title"], run_line(data, lang), *metrics, *claim_lines(data, lang)]) + "\n"


def run_markdown(data: JsonObject, lang: Lang) -> str:
    """The Markdown of a run, its metrics as a table."""
    table = _table([RESULT_WORDS["metric"][lang], RESULT_WORDS["value"][lang]], metric_rows(data, lang))
    claims = "\n".join(f"- {line}" for line in claim_lines(data, lang))
    return "\n\n".join(filter(None, [f"### {data['title']}", f"`{run_line(data, lang)}`", table, claims]))


def comparison_text(runs: Sequence[JsonObject], lang: Lang) -> str:
    """The text of a comparison: the metrics that differ, one column for each run."""
    head, rows = comparison_table(runs, lang)
    return f"{runs[0]['title']}\n" + _as_terminal(lang, lambda view: view.print_table(head, rows))


def comparison_markdown(runs: Sequence[JsonObject], lang: Lang) -> str:
    """The metrics that differ as a Markdown table, one column for each run."""
    head, rows = comparison_table(runs, lang)
    return f"### {runs[0]['title']}\n\n" + _table(head, rows)


def formula_text(data: JsonObject, source: Any, lang: Lang) -> str:
    """The text of a formula: its value and error in every format."""
    if source is not None:
        from qa_service.fronts.terminal.formula import FormulaView

        return _as_terminal(lang, lambda view: FormulaView(view, lang, source).show())
    head, rows = formula_table(data, lang)
    lines = [f"{data['expression']}", f"{RESULT_WORDS['exact'][lang]}: {number_text(data['exact'], lang)}"]
    lines += ["  ".join(row) for row in [head, *rows]]
    lines += [f"{RESULT_WORDS['stable'][lang]}: {each['torch']}" for each in data["stable"][:2]]
    return "\n".join(lines) + "\n"


def formula_markdown(data: JsonObject, lang: Lang) -> str:
    """The Markdown of a formula: a table of its values by format, with stable forms."""
    forms = [f"{RESULT_WORDS['stable'][lang]}: `{each['torch']}`" for each in data["stable"][:2]]
    return "\n\n".join([f"### `{data['expression']}`", _table(*formula_table(data, lang)), *forms])


def diagnosis_text(data: JsonObject, lang: Lang) -> str:
    """The text of a report on a training run."""
    lines = [data["summary"]]
    for cause in data["causes"]:
        lines += ["", f"{cause['name']} ({cause['probability']:.0%})  → {cause['entry']}"]
        lines += [f"  • {each}" for each in cause["because"]]
        lines += [f"  {RESULT_WORDS['cure'][lang]}: {cause['cure']}"] if cause["cure"] else []
    lines += [""] + [f"• {each}" for each in data["margins"]] if data["margins"] else []
    for more in (data["patch"], data["ask"], data["next"]):
        lines += ["", more] if more else []
    return "\n".join(lines) + "\n"


def diagnosis_markdown(data: JsonObject, lang: Lang) -> str:
    """The Markdown of a report on a training run."""
    blocks = [f"**{data['summary']}**"]
    for cause in data["causes"]:
        because = "\n".join(f"- {each}" for each in cause["because"])
        cure = f"{RESULT_WORDS['cure'][lang]}: {cause['cure']}" if cause["cure"] else ""
        patch = f"```python\n{cause['patch']}\n```" if cause["patch"] else ""
        blocks += [f"{cause['name']} ({cause['probability']:.0%}), `{cause['entry']}`", because, cure, patch]
    return "\n\n".join(filter(None, [*blocks, data["ask"] or ""]))


def claim_lines(data: JsonObject, lang: Lang) -> list[str]:
    """A line for each claim: verdict, what it says, the value beside its bound."""
    return [
        f"{VERDICT_MARKS[verdict_of(claim)]} {RESULT_WORDS[verdict_of(claim)][lang]}: {claim['says']}  "
        f"[{claim['metric']} = {number_text(claim['value'], lang)}, "
        f"{claim['op']} {number_text(claim['bound'], lang)}]"
        for claim in data["claims"]
    ]


def verdict_of(claim: JsonObject) -> str:
    """The verdict, or `elsewhere` for a claim that cannot be tested at these parameters."""
    return "elsewhere" if claim["visible_at"] is not None else str(claim["verdict"])


def run_line(data: JsonObject, lang: Lang) -> str:
    """A line of text: the run as a call, its seed, how long it took, and why it did not finish if so."""
    params = ", ".join(f"{name}={number_text(value, lang)}" for name, value in data["params"].items())
    line = f"{data['experiment']}({params})  seed={data['seed']}  {data['seconds']:.2g} {RESULT_WORDS['seconds'][lang]}"
    return line if data["status"] == "ran" else f"{line}  {data['status']}: {data['note']}"


def metric_rows(data: JsonObject, lang: Lang) -> list[tuple[str, str]]:
    """(title, value with its unit) of every metric."""
    from qa_service.presentation.numbers import format_unit

    return [
        (each["title"], f"{number_text(each['value'], lang)} {format_unit(each['unit'], lang, each['value'])}".strip())
        for each in data["metrics"].values()
    ]


def comparison_table(runs: Sequence[JsonObject], lang: Lang) -> tuple[list[str], list[tuple[str, ...]]]:
    """(head, rows) of a comparison: metrics that are equal in all runs are left out."""
    head = [
        ", ".join(f"{name}={number_text(value, lang)}" for name, value in each["compared"].items()) for each in runs
    ]
    rows = []
    for name in dict.fromkeys(metric for each in runs for metric in each["metrics"]):
        values = [each["metrics"].get(name) for each in runs]
        shown = tuple(number_text(each["value"], lang) if each else "" for each in values)
        if len(set(shown)) > 1:
            rows.append((next(each["title"] for each in values if each), *shown))
    return [RESULT_WORDS["metric"][lang], *head], rows


def formula_table(data: JsonObject, lang: Lang) -> tuple[list[str], list[tuple[str, ...]]]:
    """(head, rows): value, error and status in each format."""
    from qa_service.presentation.formula_words import STATUS_TEXTS

    rows: list[tuple[str, ...]] = [
        (dtype, number_text(each["value"], lang), number_text(each["ulp"], lang), STATUS_TEXTS[each["status"]][lang])
        for dtype, each in data["values"].items()
    ]
    return [RESULT_WORDS[name][lang] for name in ("format", "value", "error", "outcome")], rows


def number_text(value: Any, lang: Lang) -> str:
    """A number of the JSON as people read it."""
    if isinstance(value, list):
        return f"[{', '.join(number_text(each, lang) for each in value)}]"
    return _NONFINITE[value] if isinstance(value, str) and value in _NONFINITE else format_number(value, lang)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _as_terminal(lang: Lang, show: "Callable[[TerminalView], object]") -> str:
    from qa_service.fronts.terminal.screen import TerminalView

    out = io.StringIO()
    show(TerminalView(lang, file=out))
    return out.getvalue()
