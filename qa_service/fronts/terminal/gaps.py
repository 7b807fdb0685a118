"""numstab gaps: what readers asked and did not get, grouped; drafts of the entries that would answer."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_service.answering.service import Service
from qa_service.errors import BadField
from qa_service.fronts.terminal import options
from qa_service.knowledge import scaffold
from qa_service.model import Lang
from qa_service.parsing import language
from qa_service.presentation.numbers import format_number

if TYPE_CHECKING:
    from qa_service.tools.gaps import UnansweredGroup


def add_commands(parsers: Any) -> None:
    """Adds `gaps`."""
    parser = parsers.add_parser("gaps", help="group the questions that found no answer, and draft entries for them")
    parser.add_argument("--draft", metavar="FOLDER", help="write a draft of an entry and an experiment for each group")
    parser.add_argument("--least", default="1", metavar="N", help="only groups of at least N questions")
    options.add_lang(parser)
    options.add_json(parser)
    parser.set_defaults(run_with_service=run_with_service, no_run=True)


def run_with_service(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Reads the store that the settings name; it holds questions only where the operator keeps them."""
    from qa_service.store import Store
    from qa_service.tools.gaps import group_unanswered

    least = options.int_or_text(arguments.least)
    if not isinstance(least, int) or least < 1:
        raise BadField(
            zh="--least 应当是正整数", en="--least should be a whole number from 1 on", field="--least"
        )  # fmt: skip
    store = Store(arguments.settings.store_url)
    asked = store.unanswered()
    store.close()
    found = [gap for gap in group_unanswered(asked, service.matcher) if len(gap.questions) >= least]
    if arguments.draft:
        for at, gap in enumerate(found, 1):
            _write_drafts(gap, Path(arguments.draft), at)
    if arguments.json:
        options.print_json([_group_json(gap) for gap in found])
    else:
        _print_groups(found, lang, keeps=arguments.settings.keep_questions > 0)
    return options.EXIT_OK


def _write_drafts(gap: "UnansweredGroup", folder: Path, at: int) -> None:
    nearest = gap.nearest[0].entry
    slug = f"gap-{at:02d}"
    text = scaffold.draft_entry(
        item=nearest.item,
        expands=nearest.expands or nearest.id,
        experiment=slug.replace("-", "_"),
        phrasings={
            lang: [one.question for one in gap.questions if language(one.question) == lang] for lang in ("zh", "en")
        },
    )
    scaffold.write_new_file(folder / "kb" / f"{slug}.toml", text)
    scaffold.write_new_file(folder / "demos" / f"{slug.replace('-', '_')}.py", scaffold.draft_experiment())


def _group_json(gap: "UnansweredGroup") -> dict[str, Any]:
    return {
        "questions": [
            {"question": one.question, "lang": one.lang, "status": one.status, "entry": one.entry,
             "helpful": one.helpful, "reason": one.reason}
            for one in gap.questions
        ],
        "nearest": [{"entry": match.entry.id, "score": match.score} for match in gap.nearest],
    }  # fmt: skip


def _print_groups(found: list["UnansweredGroup"], lang: Lang, *, keeps: bool) -> None:
    from qa_service.fronts.terminal.screen import TerminalView

    screen = TerminalView(lang)
    if not found:
        nothing = {"zh": "没有落空的问题。", "en": "No question went unmet."}[lang]
        hint = {
            "zh": "问题没有保存：设 NUMSTAB_KEEP_QUESTIONS=30 可保存 30 天。",
            "en": "Questions are not kept: NUMSTAB_KEEP_QUESTIONS=30 keeps them for 30 days.",
        }[lang]
        screen.print_line(nothing if keeps else f"{nothing} {hint}")
        return
    head = {"zh": ("个数", "典型的问题", "最近的词条", "把握"), "en": ("asked", "typically", "nearest entry", "score")}
    rows = [
        (
            str(len(gap.questions)),
            gap.most_typical[:80],
            gap.nearest[0].entry.id,
            format_number(gap.nearest[0].score, lang, 2),
        )
        for gap in found
    ]
    screen.print_table(head[lang], rows)
