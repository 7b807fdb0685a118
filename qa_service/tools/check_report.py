"""The report of a check, as a page that stands alone and as JSON: what every claim measured, over how many seeds."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qa_service.errors import BadField
from qa_service.model import Lang, Text
from qa_service.model.json_numbers import json_safe
from qa_service.presentation.numbers import format_number
from qa_service.tools.claim_check import ClaimResult, ClaimSummary

_TEMPLATE = Path(__file__).with_name("report.html")
_REPORT_LABELS = {
    "title": Text("断言检验报告", "Report of a check"),
    "entry": Text("词条", "entry"),
    "claim": Text("断言", "claim"),
    "at": Text("处于", "at"),
    "params": Text("词条的参数", "its parameters"),
    "control": Text("对照", "its control"),
    "measured": Text("测得：中位 [最小, 最大]", "measured: median [lowest, highest]"),
    "bound": Text("界", "bound"),
    "share": Text("符合所述的种子", "seeds as stated"),
    "seconds": Text("秒", "s"),
}


def report_json(checked: Sequence[ClaimResult], tested: Sequence[ClaimSummary]) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "checked": len(checked),
        "differ": count_mismatches(tested),
        "versions": library_versions(checked),
        "claims": [claim_result_json(one) for one in checked],
        "over_seeds": [_claim_summary_json(one) for one in tested],
    }


def count_mismatches(tested: Sequence[ClaimSummary]) -> int:
    """How many verdicts contradict their entry, where more of them do than it says."""
    return sum(one.spread.seeds - one.as_expected for one in tested if one.differs)


def claim_result_json(one: ClaimResult) -> dict[str, Any]:
    """One verdict."""
    return {
        "entry": one.entry,
        "claim": one.claim.id,
        "at": one.condition,
        "seed": one.seed,
        "value": json_safe(one.value),
        "op": one.claim.op,
        "bound": json_safe(one.claim.bound),
        "verdict": one.verdict.value,
        "stated": one.claim.expected_verdict.value,
        "expected": one.expected_verdict.value,
        "seconds": one.run.seconds,
    }


def write_report(path: str, checked: Sequence[ClaimResult], tested: Sequence[ClaimSummary], lang: Lang) -> None:
    """Writes FILE.html or FILE.json; raises `BadField` for another name or a folder that cannot be written."""
    if not path.endswith((".html", ".json")):
        raise BadField(
            zh=f"--report 应当是 .html 或 .json 文件，不是 {path!r}",
            en=f"--report should be a .html or .json file, not {path!r}",
            field="--report",
        )
    text = (
        _report_html(checked, tested, lang)
        if path.endswith(".html")
        else json.dumps(report_json(checked, tested), indent=1)
    )
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadField(
            zh=f"写不了文件 {path!r}：{error.strerror}",
            en=f"cannot write the file {path!r}: {error.strerror}",
            field="--report",
        ) from error


def library_versions(checked: Sequence[ClaimResult]) -> dict[str, str]:
    """What ran the experiments."""
    return dict(next((one.run.versions for one in checked if one.run.versions), {}))


def format_measured(one: ClaimSummary, lang: Lang) -> str:
    """Median, lowest and highest value; a single value where they agree."""
    low, middle, high = (
        format_number(value, lang) for value in (one.spread.lowest, one.spread.median, one.spread.highest)
    )
    return middle if low == high else f"{middle} [{low}, {high}]"


def _claim_summary_json(one: ClaimSummary) -> dict[str, Any]:
    spread = one.spread
    return {
        "entry": one.entry,
        "claim": one.claim.id,
        "at": one.condition,
        "metric": one.claim.metric,
        "op": one.claim.op,
        "bound": json_safe(one.claim.bound),
        "stated": one.claim.expected_verdict.value,
        "held": spread.held,
        "as_stated": one.as_expected,
        "seeds": spread.seeds,
        "share": one.claim.min_share,
        **json_safe({"lowest": spread.lowest, "median": spread.median, "highest": spread.highest}),
        "seconds": one.seconds,
    }


def _report_html(checked: Sequence[ClaimResult], tested: Sequence[ClaimSummary], lang: Lang) -> str:
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_TEMPLATE.read_text("utf-8")).render(
        lang=lang,
        t={name: text[lang] for name, text in _REPORT_LABELS.items()},
        checked=len(checked),
        differ=count_mismatches(tested),
        library_versions=library_versions(checked),
        rows=[
            {
                "entry": one.entry,
                "id": one.claim.id,
                "says": one.claim.says[lang],
                "at": one.condition,
                "metric": one.claim.metric,
                "measured": format_measured(one, lang),
                "op": one.claim.op,
                "bound": format_number(one.claim.bound, lang),
                "expected": one.as_expected,
                "seeds": one.spread.seeds,
                "seconds": f"{one.seconds:.2f}",
                "differs": one.differs,
            }
            for one in tested
        ],
    )
