"""Templates for authors: a new entry, a new experiment that runs; and the formatter of entry files."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from qa_service.errors import BadField
from qa_service.model import LANGS, Lang

_ENTRY_TEMPLATE = """\
item = {item}
{expands}related = [{related}]

[question]
zh = {question_zh}
en = {question_en}

[short]
zh = \'\'\'
一两句话的完整回答，最多两个现场测得的数：[[main.{metric}]]。
\'\'\'
en = \'\'\'
The complete answer in a sentence or two, with at most two numbers just measured: [[main.{metric}]].
\'\'\'

[do]
zh = \'\'\'
1. 先做什么。
\'\'\'
en = \'\'\'
1. What to do first.
\'\'\'

# How to tell it from its neighbours: what is seen, what it means, the entry for that (optional).
[[tell]]
see = {{ zh = "看到什么", en = "What is seen" }}
means = {{ zh = "说明什么", en = "What it means" }}
signs = []            # observations that speak for this row, such as "what:nan"

[why]
zh = \'\'\'
机理和公式。
\'\'\'
en = \'\'\'
The mechanism, with the formula.
\'\'\'

[scope]
zh = \'\'\'
在哪里不成立。
\'\'\'
en = \'\'\'
Where it does not hold.
\'\'\'

[phrasings]
zh = [
{phrasings_zh}]
en = [
{phrasings_en}]

[[evidence]]
id = "main"
experiment = "{experiment}"
params = {{}}
visible = ["{visible}"]

[[evidence.claims]]
id = "main-claim"
says = {{ zh = "一句可能为假的话", en = "A sentence that can be false" }}
metric = "{metric}"
op = ">"
bound = 0
control = {{ n = 1 }}     # a rival explanation or a neighbouring regime, at which the claim must fail

[[references]]
cite = "Author year, Title, venue"
"""
_EXPERIMENT_TEMPLATE = '''\
"""What was found, in one sentence.

The whole setting, the theory, the source.
"""

from collections.abc import Generator

import torch

TITLE = {"zh": "实验的标题", "en": "Title of the experiment"}
PARAMS = {
    "n": {"zh": "步数", "en": "how many steps", "ge": 1, "le": 1000},
}
COLUMNS = {
    "step": {"zh": "第几步", "en": "step"},
    "value": {"zh": "数值", "en": "value"},
}
METRICS = {
    "last": {"zh": "最后的值", "en": "last value"},
}
CHART = {
    "mark": "line",
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
    },
}


def run(n: int = 100) -> Generator[dict[str, float], None, dict[str, float | None]]:
    value = torch.zeros(())
    for step in range(1, n + 1):
        value = value + 1 / step
        yield {"step": step, "value": value.item()}
    return {"last": value.item() - 1}


if __name__ == "__main__":

    def show() -> Generator[dict[str, float], None, None]:
        print((yield from run()))

    for row in show():
        print(row)
'''


def draft_entry(
    *,
    item: int,
    expands: str | None,
    experiment: str,
    metric: str = "last",
    visible: str = "n",
    phrasings: Mapping[Lang, Sequence[str]],
) -> str:
    """The TOML text of a new entry, for its author to finish; the first phrasing of a language becomes its question."""
    lists = {lang: [wording for wording in phrasings.get(lang, ()) if wording.strip()] for lang in LANGS}
    questions = {lang: lists[lang][0] if lists[lang] else "" for lang in LANGS}
    return _ENTRY_TEMPLATE.format(
        item=item,
        expands=f"expands = {_toml_string(expands)}\n" if expands else "",
        related=_toml_string(expands) if expands else "",
        experiment=experiment,
        metric=metric,
        visible=visible,
        **{f"question_{lang}": _toml_string(questions[lang]) for lang in LANGS},
        **{f"phrasings_{lang}": "".join(f"  {_toml_string(each)},\n" for each in lists[lang][1:]) for lang in LANGS},
    )


def draft_experiment() -> str:
    """The Python text of a new experiment: it runs, and its computation is for the author to replace."""
    return _EXPERIMENT_TEMPLATE


def write_new_file(path: Path, text: str) -> None:
    """Writes a new file; raises `BadField` if it exists already or cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BadField(zh=f"{path} 已经存在", en=f"{path} exists already", field="path") from None
    except OSError as error:
        raise BadField(
            zh=f"写不了 {path}：{error.strerror}", en=f"cannot write {path}: {error.strerror}", field="path"
        ) from error


def format_entry(source: str) -> str:
    """Formats the TOML of an entry or subject: one phrasing a line, no duplicates, no trailing space; keeps comments.

    Raises `ValueError` if `source` is not TOML.
    """
    if _is_formatted(source):
        return source
    import tomlkit

    document = tomlkit.parse(source)
    for owner in (document, *document.get("aspect", ())):
        phrasings = owner.get("phrasings", {})
        for lang in LANGS:
            if lang in phrasings:
                lines = tomlkit.array()
                for wording in dict.fromkeys(str(wording).strip() for wording in phrasings[lang]):
                    lines.add_line(wording, indent="  ")
                lines.add_line(indent="")
                phrasings[lang] = lines
    return tomlkit.dumps(document).rstrip("\n") + "\n"


def _is_formatted(source: str) -> bool:
    """Whether `format_entry` would leave the text as it is, as far as that can be told without tomlkit, which takes ten
    times as long; False where it cannot.
    """
    try:
        document = tomllib.loads(source)
    except ValueError:
        return False
    arrays = [
        (lang, owner["phrasings"][lang])
        for owner in (document, *document.get("aspect", ()))
        for lang in LANGS
        if lang in owner.get("phrasings", {})
    ]
    return source == source.rstrip("\n") + "\n" and all(
        all(isinstance(each, str) and each == each.strip() and each.isprintable() for each in wordings)
        and len(set(wordings)) == len(wordings)
        and "".join((f"\n{lang} = [\n", *(f"  {_toml_string(wording)},\n" for wording in wordings), "]\n")) in source
        for lang, wordings in arrays
    )


def _toml_string(text: str | None) -> str:
    return json.dumps(text or "", ensure_ascii=False)  # a JSON string is a TOML basic string
