"""Exports an entry as a notebook or a script that needs only torch and measures the same metrics.

Both consist of the same cells. A demo does not import numstab, so its unchanged source is a cell; the next cell runs it
with the parameters and the seed, prints every metric and judges every claim.
"""

import ast
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from qa_service.answering.planning import PlannedRun
from qa_service.errors import BadField
from qa_service.experiments.spec import parse_python
from qa_service.model import PLACEHOLDER, Entry, EvidenceBlock, Experiment, Lang, Params
from qa_service.presentation.numbers import format_number
from qa_service.presentation.prose import entry_text

ExportFormat = Literal["ipynb", "py"]
EXPORT_FORMATS: Mapping[ExportFormat, str] = {"ipynb": "application/x-ipynb+json", "py": "text/x-python"}
"""Export format → media type."""

_NOTEBOOK_TEXTS = {
    "zh": {
        "about": "由 numstab 导出；只需要 torch。数值在运行后得到。",
        "text": '正文里的 `块["指标"]` 在运行各单元之后就有了值。',
        "references": "参考文献",
    },
    "en": {
        "about": "Exported by numstab; needs nothing but torch. The numbers come from running it.",
        "text": 'Each `block["metric"]` in the text has its value once the cells have run.',
        "references": "References",
    },
}
_HELPER_CODE = '''\
import operator

import torch

torch.set_num_threads(1)
SEED = {seed}
OPS = {{"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne}}


def run_to_end(experiment):
    """Runs an experiment to its end; returns its metrics and its rows."""
    rows = []
    while True:
        try:
            rows.append(next(experiment))
        except StopIteration as finished:
            return finished.value, rows


def claim_holds(value, op, bound):
    """Whether a claim holds. None means that the event never happened; `== nan` tests whether the value is nan."""
    if value is None:
        return False
    if bound != bound:
        return op in ("==", "!=") and (value != value) == (op == "==")
    return OPS[op](value, bound)
'''


@dataclass(frozen=True, slots=True)
class NotebookCell:
    """One cell of the exported notebook."""

    kind: Literal["markdown", "code"]
    source: str


def parse_export_format(text: str, field: str) -> ExportFormat:
    """The text as an export format; raises `BadField`, which names `field`, for any other text."""
    for form in EXPORT_FORMATS:
        if text == form:
            return form
    raise BadField(
        zh=f"可以导出为 .ipynb 或 .py，不是 {text!r}",
        en=f"an entry can be exported as .ipynb or .py, not {text!r}",
        field=field,
    )


def export_entry(entry: Entry, plans: Sequence[PlannedRun], seed: int, lang: Lang, form: ExportFormat) -> str:
    """The text of the exported file; it contains the runs `plans` of the entry's evidence blocks."""
    cells = list(_build_cells(entry, plans, seed, lang))
    return _to_ipynb(cells, lang) if form == "ipynb" else _to_script(cells)


def _build_cells(entry: Entry, plans: Sequence[PlannedRun], seed: int, lang: Lang) -> Iterator[NotebookCell]:
    texts = _NOTEBOOK_TEXTS[lang]
    yield NotebookCell("markdown", f"# {entry.question[lang]}\n\n{texts['about']}")
    yield NotebookCell("code", _HELPER_CODE.format(seed=seed))
    yield NotebookCell("markdown", f"{_answer_markdown(entry, plans, lang)}\n\n*{texts['text']}*")
    for plan in plans:
        yield NotebookCell("markdown", f"## {plan.experiment.title[lang]}\n\n{plan.experiment.doc}")
        yield NotebookCell("code", _strip_main_block(plan.experiment))
        yield NotebookCell("code", _run_code(plan, lang))
    if entry.references:
        cited = "\n".join(f"- {cite}" for cite in entry.references)
        yield NotebookCell("markdown", f"## {texts['references']}\n\n{cited}")


def _answer_markdown(entry: Entry, plans: Sequence[PlannedRun], lang: Lang) -> str:
    """The answer with its placeholders replaced: parameters by their values, metrics by the expressions of the code."""
    params = {f"{plan.block.id}.{name}": value for plan in plans for name, value in plan.params.items()}

    def replacement(block: str, name: str) -> str:
        key = f"{block}.{name}"
        return format_number(params[key], lang) if key in params else f'`{_variable_name(block)}["{name}"]`'

    return PLACEHOLDER.sub(lambda found: replacement(found[1], found[2]), entry_text(entry, lang)).strip()


def _strip_main_block(experiment: Experiment) -> str:
    """The demo's source without its `if __name__ == "__main__"` block."""
    lines = experiment.source.split("\n")
    for node in reversed(parse_python(experiment.source).body):
        if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test):
            del lines[node.lineno - 1 : node.end_lineno]
    return "\n".join(lines).strip()


def _run_code(plan: PlannedRun, lang: Lang) -> str:
    """The code that runs the experiment, prints its metrics and judges its claims."""
    name = _variable_name(plan.block.id)
    lines = [
        "torch.manual_seed(SEED)",
        f"{name}, rows = run_to_end(run({_call_arguments(plan.params)}))",
        f"for name, value in {name}.items():",
        f'    print(f"{plan.block.id}.{{name}} = {{value}}")',
    ]
    lines += [line for claim in plan.block.claims for line in _claim_code(plan.block, claim.id, lang)]
    return "\n".join(lines)


def _claim_code(block: EvidenceBlock, claim_id: str, lang: Lang) -> list[str]:
    claim = next(claim for claim in block.claims if claim.id == claim_id)
    condition = (
        f'claim_holds({_variable_name(block.id)}["{claim.metric}"], "{claim.op}", {_python_literal(claim.bound)})'
    )
    return [f'print("{claim.id}", "holds" if {condition} else "fails")  # {claim.says[lang]}'.replace("\n", " ")]


def _call_arguments(params: Params) -> str:
    return ", ".join(f"{name}={_python_literal(value)}" for name, value in params.items())


def _python_literal(value: Any) -> str:
    """A value as a Python expression; inf and nan, which have no literal, as float("inf")."""
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value)


def _variable_name(block_id: str) -> str:
    return f"measured_{block_id.replace('-', '_')}"  # the prefix keeps it apart from the names of demos


def _to_script(cells: list[NotebookCell]) -> str:
    """The cells as a script in the `# %%` format that editors read as cells."""
    parts = []
    for cell in cells:
        if cell.kind == "code":
            parts.append(f"# %%\n{cell.source}")
        else:
            commented = "\n".join(f"# {line}".rstrip() for line in cell.source.split("\n"))
            parts.append(f"# %% [markdown]\n{commented}")
    return "\n\n".join(parts) + "\n"


def _to_ipynb(cells: list[NotebookCell], lang: Lang) -> str:
    """The cells as a notebook of nbformat 4.5 (nbformat.readthedocs.io)."""
    cell_objects = []
    for index, cell in enumerate(cells):
        lines = cell.source.splitlines(keepends=True)
        common: dict[str, Any] = {"cell_type": cell.kind, "id": f"cell-{index}", "metadata": {}, "source": lines}
        cell_objects.append(common | ({"execution_count": None, "outputs": []} if cell.kind == "code" else {}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}, "numstab": {"lang": lang}}
    document = {"cells": cell_objects, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
