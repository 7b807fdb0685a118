"""The report of `numstab check`, as a single HTML file or as JSON: each claim's values and verdicts over its seeds."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qa_service.errors import BadField
from qa_service.model import Lang, Text
from qa_service.presentation.numbers import format_number
from qa_service.tools.claim_check import ClaimResult, ClaimSummary

if TYPE_CHECKING:
    from qa_service.schemas.reports import CheckReportJson, ClaimResultJson, ClaimSummaryJson

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


def report_json(results: Sequence[ClaimResult], summaries: Sequence[ClaimSummary]) -> "CheckReportJson":
    """The whole report, as `numstab check --json` prints it."""
    from qa_service.schemas.reports import CheckReportJson

    return CheckReportJson(
        checked=len(results),
        differ=count_mismatches(summaries),
        versions=library_versions(results),
        claims=[_claim_result_json(result) for result in results],
        over_seeds=[_claim_summary_json(summary) for summary in summaries],
    )


def count_mismatches(summaries: Sequence[ClaimSummary]) -> int:
    """The number of verdicts that contradict their entry, of the claims that differ (`ClaimSummary.differs`)."""
    return sum(summary.spread.seeds - summary.as_expected for summary in summaries if summary.differs)


def _claim_result_json(result: ClaimResult) -> "ClaimResultJson":
    from qa_service.schemas.reports import ClaimResultJson

    return ClaimResultJson(
        entry=result.entry,
        claim=result.claim.id,
        at=result.condition,
        seed=result.seed,
        value=result.value,
        op=result.claim.op,
        bound=result.claim.bound,
        verdict=result.verdict.value,
        stated=result.claim.expected_verdict.value,
        expected=result.expected_verdict.value,
        seconds=result.run.seconds,
    )


def write_report(path: str, results: Sequence[ClaimResult], summaries: Sequence[ClaimSummary], lang: Lang) -> None:
    """Writes the report as HTML or JSON, by the suffix of `path`.

    Raises `BadField` for another suffix or a file that cannot be written.
    """
    if not path.endswith((".html", ".json")):
        raise BadField(
            zh=f"--report 应当是 .html 或 .json 文件，不是 {path!r}",
            en=f"--report should be a .html or .json file, not {path!r}",
            field="--report",
        )
    text = (
        _report_html(results, summaries, lang)
        if path.endswith(".html")
        else json.dumps(report_json(results, summaries).to_dict(), indent=1)
    )
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadField(
            zh=f"写不了文件 {path!r}：{error.strerror}",
            en=f"cannot write the file {path!r}: {error.strerror}",
            field="--report",
        ) from error


def library_versions(results: Sequence[ClaimResult]) -> dict[str, str]:
    """Library → version, of the first run that reports any."""
    return dict(next((result.run.versions for result in results if result.run.versions), {}))


def format_measured(summary: ClaimSummary, lang: Lang) -> str:
    """The measured values as "median [lowest, highest]"; a single value if all are equal."""
    low, middle, high = (
        format_number(value, lang) for value in (summary.spread.lowest, summary.spread.median, summary.spread.highest)
    )
    return middle if low == high else f"{middle} [{low}, {high}]"


def _claim_summary_json(summary: ClaimSummary) -> "ClaimSummaryJson":
    from qa_service.schemas.reports import ClaimSummaryJson

    spread = summary.spread
    return ClaimSummaryJson(
        entry=summary.entry,
        claim=summary.claim.id,
        at=summary.condition,
        metric=summary.claim.metric,
        op=summary.claim.op,
        bound=summary.claim.bound,
        stated=summary.claim.expected_verdict.value,
        held=spread.held,
        as_stated=summary.as_expected,
        seeds=spread.seeds,
        share=summary.claim.min_share,
        lowest=spread.lowest,
        median=spread.median,
        highest=spread.highest,
        seconds=summary.seconds,
    )


def _report_html(results: Sequence[ClaimResult], summaries: Sequence[ClaimSummary], lang: Lang) -> str:
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_TEMPLATE.read_text("utf-8")).render(
        lang=lang,
        t={name: text[lang] for name, text in _REPORT_LABELS.items()},
        checked=len(results),
        differ=count_mismatches(summaries),
        versions=library_versions(results),
        rows=[
            {
                "entry": summary.entry,
                "id": summary.claim.id,
                "says": summary.claim.says[lang],
                "at": summary.condition,
                "metric": summary.claim.metric,
                "measured": format_measured(summary, lang),
                "op": summary.claim.op,
                "bound": format_number(summary.claim.bound, lang),
                "expected": summary.as_expected,
                "seeds": summary.spread.seeds,
                "seconds": f"{summary.seconds:.2f}",
                "differs": summary.differs,
            }
            for summary in summaries
        ],
    )
