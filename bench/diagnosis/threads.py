"""Public threads whose cause is known: a development half to mend rules with, and a held-out half to judge by."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.diagnosis.score import SICK_STATUSES, Share, diagnose_text

ThreadSet = Literal["development", "held out"]


@dataclass(frozen=True)
class Thread:
    """A public thread: its log, and the cause that was found in it."""

    id: str
    """The id: the repository and the number of the thread."""
    cause: str
    """Its cause in the table of the diagnosis; "" if the run is healthy."""
    said_by: str
    log: str
    """The few numbers of the thread, in the format of its trainer."""
    also: frozenset[str] = frozenset()
    """Other causes that are right."""

    @property
    def accepted(self) -> frozenset[str]:
        return self.also | {self.cause}


THREAD_FILES = ("threads.toml", "threads_more.toml", "threads_like.toml", "threads_fresh.toml")
"""The files of threads in the order in which they were collected. Each is halved separately, so that a new file leaves
the halves of the others unchanged.
"""


def load_threads(name: str = THREAD_FILES[0]) -> list[Thread]:
    """Every thread of a file."""
    rows = tomllib.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))["thread"]
    return [Thread(**{**row, "also": frozenset(row.get("also", ()))}) for row in rows]


def split_threads(name: str = THREAD_FILES[0]) -> Mapping[ThreadSet, list[Thread]]:
    """The threads in the order of the hash of their ids: the first half for development, the second held out."""
    ordered = sorted(load_threads(name), key=lambda thread: hashlib.sha256(thread.id.encode()).hexdigest())
    middle = len(ordered) // 2
    return {"development": ordered[:middle], "held out": ordered[middle:]}


def score_threads(name: str = THREAD_FILES[0]) -> dict[ThreadSet, tuple[Share, Share, Share]]:
    """For each half: how often the first cause is right, either of two is right, and a healthy run gets a warning."""
    scores: dict[ThreadSet, tuple[Share, Share, Share]] = {}
    for half, threads in split_threads(name).items():
        answers = [(thread, diagnose_text(thread.log)) for thread in threads]
        sick = [(thread, answer) for thread, answer in answers if thread.cause]
        healthy = [(thread, answer) for thread, answer in answers if not thread.cause]
        scores[half] = (
            Share(
                sum(
                    answer.status in SICK_STATUSES and bool(set(answer.causes[:1]) & thread.accepted)
                    for thread, answer in sick
                ),
                len(sick),
            ),
            Share(sum(bool(set(answer.named_causes) & thread.accepted) for thread, answer in sick), len(sick)),
            Share(sum(answer.status not in {"healthy", "unreadable"} for _, answer in healthy), len(healthy)),
        )
    return scores
