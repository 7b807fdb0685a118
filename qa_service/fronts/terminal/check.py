"""numstab check: every claim at its parameters and at its control, over seeds."""

from argparse import ArgumentParser, Namespace
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from qa_service.errors import BadField
from qa_service.figures import on_the_wire, shown
from qa_service.fronts.terminal import options
from qa_service.model import Lang
from qa_service.service import Service
from qa_service.verdicts import Checked, Planned, check, plan


def add_commands(parsers: Any) -> None:
    """Adds `check`."""
    parser: ArgumentParser = parsers.add_parser("check", help="run every claim at its parameters and its control")
    parser.add_argument("entries", nargs="*", metavar="ENTRY", help="only these entries")
    parser.add_argument("--seeds", default="1", help="how many seeds, from 0 on (default 1)")
    options.add_lang(parser)
    options.add_json(parser)
    parser.set_defaults(carry_out=carry_out, many=True)


def carry_out(arguments: Namespace, service: Service, lang: Lang) -> int:
    """Exit status 1 when a measured verdict differs from what the entry states."""
    entries = [service.library[entry_id] for entry_id in arguments.entries] or list(service.library.values())
    planned = [one for entry in entries for one in plan(entry, range(_seeds(arguments.seeds)))]
    from qa_service.fronts.terminal.show import Screen

    screen = Screen(lang, quiet=arguments.json)

    def measure(one: Planned) -> list[Checked]:
        return check(one, service.lab)

    with ThreadPoolExecutor(service.lab.slots) as pool:
        checked = [row for rows in screen.track(pool.map(measure, planned), len(planned)) for row in rows]
    differ = [row for row in checked if row.differs]
    if arguments.json:
        options.print_json({"checked": len(checked), "differ": len(differ), "claims": [_row(row) for row in checked]})
    else:
        head = {
            "zh": ("词条", "断言", "处于", "种子", "测得", "判定"),
            "en": ("entry", "claim", "at", "seed", "measured", "verdict"),
        }
        screen.table(head[lang], [_cells(row, lang) for row in (differ or checked)])
        screen.say(
            f"{len(checked)} 个判定，{len(differ)} 个与词条所述不符。"
            if lang == "zh"
            else f"{len(checked)} verdicts, {len(differ)} differ from what the entries state."
        )
    return options.UNSURE if differ else options.DONE


def _seeds(word: str) -> int:
    if word.isdecimal() and 1 <= int(word) <= 1000:
        return int(word)
    raise BadField(
        zh="--seeds 应当是 1 到 1000 的整数", en="--seeds should be an integer from 1 to 1000", field="--seeds"
    )


def _cells(row: Checked, lang: Lang) -> tuple[str, ...]:
    measured = f"{row.claim.metric} = {shown(row.value, lang)} ({row.claim.op} {shown(row.claim.bound, lang)})"
    return (row.entry, row.claim.id, row.at, str(row.seed), measured, row.verdict.value)


def _row(row: Checked) -> dict[str, Any]:
    return {
        "entry": row.entry,
        "claim": row.claim.id,
        "at": row.at,
        "seed": row.seed,
        "value": on_the_wire(row.value),
        "op": row.claim.op,
        "bound": on_the_wire(row.claim.bound),
        "verdict": row.verdict.value,
        "stated": row.claim.stated.value,
        "expected": row.expected.value,
    }
