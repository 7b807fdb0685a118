"""`numstab gaps`: groups unanswered questions, and writes drafts of entries for them."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_service.answering.service import Service
from qa_service.errors import BadField
from qa_service.fronts.terminal import options
from qa_service.knowledge import scaffold
from qa_service.model import Lang
from qa_service.parsing import detect_language
from qa_service.presentation.numbers import format_number

if TYPE_CHECKING:
    from qa_service.schemas.reports import UnansweredGroupJson
    from qa_service.tools.gaps import UnansweredGroup


def add_commands(parsers: Any) -> None:
    """Adds the command `gaps`."""
    parser = parsers.add_parser("gaps", help="group unanswered questions, and draft entries for them")
    parser.add_argument("--draft", metavar="FOLDER", help="write a draft of an entry and an experiment for each group")
    parser.add_argument("--least", default="1", metavar="N", help="only groups of at least N questions")
    options.add_lang(parser)
    options.add_json(parser)
    parser.set_defaults(run_with_service=run_with_service, no_run=True)


def run_with_service(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Groups the unanswered questions of the store, which has none unless `keep_questions` is set; returns 0."""
    from qa_service.store import Store
    from qa_service.tools.gaps import group_unanswered

    least = options.int_or_text(arguments.least)
    if not isinstance(least, int) or least < 1:
        raise BadField(zh="--least 应当是正整数", en="--least should be a whole number from 1 on", field="--least")
    store = Store(arguments.settings.store_url)
    questions = store.unanswered()
    store.close()
    groups = [
        group for group in group_unanswered(questions, service.knowledge.matcher) if len(group.questions) >= least
    ]
    if arguments.draft:
        for number, group in enumerate(groups, 1):
            _write_drafts(group, Path(arguments.draft), number)
    if arguments.json:
        options.print_json([_group_json(group).to_dict() for group in groups])
    else:
        _print_groups(groups, lang, kept=arguments.settings.keep_questions > 0)
    return options.EXIT_OK


def _write_drafts(group: "UnansweredGroup", folder: Path, number: int) -> None:
    """Writes a draft of an entry that expands the nearest one, and an experiment; raises `BadField` if they exist."""
    nearest = group.nearest[0].entry
    slug = f"gap-{number:02d}"
    text = scaffold.draft_entry(
        item=nearest.item,
        expands=nearest.expands or nearest.id,
        experiment=slug.replace("-", "_"),
        phrasings={
            lang: [one.question for one in group.questions if detect_language(one.question) == lang]
            for lang in ("zh", "en")
        },
    )
    scaffold.write_new_file(folder / "kb" / f"{slug}.toml", text)
    scaffold.write_new_file(folder / "demos" / f"{slug.replace('-', '_')}.py", scaffold.draft_experiment())


def _group_json(group: "UnansweredGroup") -> "UnansweredGroupJson":
    from qa_service.schemas.reports import NearestEntryJson, UnansweredGroupJson, UnansweredQuestionJson

    return UnansweredGroupJson(
        questions=[
            UnansweredQuestionJson(
                question=one.question, lang=one.lang, status=one.status, entry=one.entry, helpful=one.helpful,
                reason=one.reason,
            )
            for one in group.questions
        ],
        nearest=[NearestEntryJson(entry=match.entry.id, score=match.score) for match in group.nearest],
    )  # fmt: skip


def _print_groups(groups: list["UnansweredGroup"], lang: Lang, *, kept: bool) -> None:
    from qa_service.fronts.terminal.screen import TerminalView

    view = TerminalView(lang)
    if not groups:
        none_found = {"zh": "没有未答上的问题。", "en": "There are no unanswered questions."}[lang]
        hint = {
            "zh": "问题没有保存：设 NUMSTAB_KEEP_QUESTIONS=30 可保存 30 天。",
            "en": "Questions are not kept: NUMSTAB_KEEP_QUESTIONS=30 keeps them for 30 days.",
        }[lang]
        view.print_line(none_found if kept else f"{none_found} {hint}")
        return
    head = {
        "zh": ("个数", "典型的问题", "最近的词条", "把握"),
        "en": ("count", "typical question", "nearest entry", "score"),
    }
    rows = [
        (
            str(len(group.questions)),
            group.most_typical[:80],
            group.nearest[0].entry.id,
            format_number(group.nearest[0].score, lang, 2),
        )
        for group in groups
    ]
    view.print_table(head[lang], rows)
