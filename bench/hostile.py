"""Texts that could make regular expressions backtrack: the time that reading them takes, and how it grows."""

import json
import math
import time
from collections.abc import Callable, Iterable

from qa_service.answering.diagnosing import diagnose_file
from qa_service.errors import BadRequest
from qa_service.formula.mentions import MAX_MENTION_CHARACTERS, find_mention
from qa_service.parsing import parse_question

PIECES = (
    "9", "91,", ",999", "1.", "0.9 和 ", "个", "十万", "1/", "learning rate is ", "乘９", "a ", "。", "? ", "twenty-",
    "\u0301", "\ufdfa", "\n9", "9" * 39 + ",", "10^-5 ", "1e9 and ", "multiply 1 ", ", 那 ", ". and what ", " 呢",
    "9, 9", "看", "没有怎么样", "the ", "loss: 1 ", "step 1 ", "val_", "1+", "x=1 ", "(", "log ", "的", "次方",
    "零", "\\frac",
)  # fmt: skip
LENGTH = 50_000
"""Characters of the shorter text; the longer one has twice as many."""


def hostile_texts() -> None:
    """CPU time of questions, formulas and logs that repeat a piece of text: the slowest of each, and the exponent."""
    found = [(grown(piece, parse_question, LENGTH), piece) for piece in PIECES]
    report("a question of 100,000 characters", found)
    found = [(grown(piece, find_mention, (MAX_MENTION_CHARACTERS - 1) // 2), piece) for piece in PIECES]
    report(f"a formula in {MAX_MENTION_CHARACTERS} characters", found)
    found = [(grown(piece, diagnose_line, LENGTH), piece) for piece in PIECES]
    report("a log of a line of 100,000 characters", found)
    found = [(grown(piece, diagnose_name, LENGTH), piece) for piece in PIECES]
    report("a name of 100,000 characters in JSON", found)


def grown(piece: str, read: Callable[[str], object], length: int) -> tuple[float, float]:
    """Seconds for twice `length` characters, and the exponent of the growth from `length` to that: 1 is linear."""
    short, long = (cpu_time(read, (piece * size)[:size] + "x") for size in (length, 2 * length))
    return long, math.log2(max(long, 1e-9) / max(short, 1e-9))


def cpu_time(read: Callable[[str], object], text: str) -> float:
    """Seconds of this thread, the less of two."""
    times = []
    for _ in range(2):
        started = time.thread_time()
        read(text)
        times.append(time.thread_time() - started)
    return min(times)


def diagnose_line(text: str) -> None:
    """Reads a log of three lines, of which the text is one."""
    _diagnose(f"step: 1 loss: 1\n{text}\nstep: 2 loss: nan\n")


def diagnose_name(text: str) -> None:
    """Reads rows that have the text for a name."""
    _diagnose(json.dumps([{"loss": 1.0, text: 1.0}] * 3))


def _diagnose(text: str) -> None:
    try:
        diagnose_file(text.encode("utf-8", "replace"))
    except BadRequest:
        pass


def report(what: str, found: Iterable[tuple[tuple[float, float], str]]) -> None:
    """Prints the slowest three."""
    for (seconds, exponent), piece in sorted(found, reverse=True)[:3]:
        print(
            f"{what:42s} {piece[:12]!r:18s} {seconds * 1e3:9.1f} ms   grows with exponent {exponent:4.1f}", flush=True
        )
