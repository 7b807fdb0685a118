"""A question → the entries that answer it, each with a calibrated probability, or the subject it is about instead.

The classifier says which item of the lecture, or which subject that we do not cover, a question belongs to, and which
of the item's entries answers it; the index names the phrasing that was met. What is built lies in the cache, under a
name made of everything it was built from.
"""

import fcntl
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from qa_service import reading
from qa_service.embedder import Embedder, Vectors, unit
from qa_service.library import Library
from qa_service.matching import classifier as _classifier
from qa_service.matching import terms as _terms
from qa_service.matching import training as _training
from qa_service.matching.classifier import Classifier
from qa_service.matching.index import Index
from qa_service.matching.training import Phrasings
from qa_service.model import LANGS, Entry, Match, Subject

_LEADERS = 3
"""How many different items come first in the list of matches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """What a question is about: the nearest entries, best first, and a subject if it is rather that than any entry."""

    matches: tuple[Match, ...]
    subject: Subject | None


class Matcher:
    """Nothing is loaded or built before the first question."""

    def __init__(self, library: Library, embedder: Embedder, *, name: str, cache: Path) -> None:
        """`name` of the embedder is part of the cache's keys."""
        self._library = library
        self.embedder = embedder
        self._name = name
        self._cache = cache
        self._subjects = {subject.id: subject for subject in library.subjects}
        self._items: dict[int, list[Entry]] = {}
        for entry in library.values():
            self._items.setdefault(entry.item, []).append(entry)

    def match(self, question: str, k: int = 5) -> Matching:
        """The best k entries: the best one of each of the three likeliest items, then the others; scores never rise.

        `question` is a text as `reading` leaves it. How sure we are of an item is not shared out among its entries:
        the best of them has all of it.
        """
        vector = unit(self.embedder.encode_query([question]))[0]
        judged = self._classifier.judge(question, vector)
        covered = sum(judged.labels[_label(item)] for item in self._items)
        leaders: list[tuple[float, Entry]] = []
        others: list[tuple[float, Entry]] = []
        for item, entries in self._items.items():
            sure = answering(judged.labels[_label(item)], covered)
            best, *rest = sorted(entries, key=lambda entry: judged.entries[entry.id], reverse=True)
            leaders.append((sure, best))
            others += [(sure * judged.entries[each.id] / judged.entries[best.id], each) for each in rest]
        leaders.sort(key=_score, reverse=True)
        others = sorted([*leaders[_LEADERS:], *others], key=_score, reverse=True)
        found = [*leaders[:_LEADERS], *((min(score, leaders[:_LEADERS][-1][0]), entry) for score, entry in others)][:k]
        met = self._index.nearest(vector, [entry.id for _, entry in found])
        reasons = self._classifier.reasons(question, vector, [_label(entry.item) for _, entry in found])
        first = max(judged.labels, key=lambda label: judged.labels[label])
        return Matching(
            matches=tuple(
                Match(entry=entry, score=score, phrasing=met[entry.id], reasons=tuple(why))
                for (score, entry), why in zip(found, reasons, strict=True)
            ),
            subject=self._subjects.get(first),
        )

    @property
    def built(self) -> bool:
        """Whether the cache holds what this library needs, so that the first question builds nothing."""
        return self._vectors_path.is_file() and self._classifier_path.is_file()

    @cached_property
    def corpus(self) -> Phrasings:
        """What the classifier is trained on: every wording as it is read; entries first, then subjects."""
        texts, labels, entries, firm = self._wordings
        return Phrasings(texts=texts, labels=labels, entries=entries, firm=firm, vectors=self._vectors(texts))

    @cached_property
    def _wordings(self) -> tuple[list[str], list[str], list[str], list[bool]]:
        """Their texts, and of each its label, its entry and whether it is firm."""
        owners: list[Entry | Subject] = [*self._library.values(), *self._subjects.values()]
        rows = [(owner, wording, lang) for owner in owners for lang in LANGS for wording in owner.wordings(lang)]
        texts = [reading.matched(wording) for _, wording, _ in rows]
        expanded = {entry.expands for entry in self._library.values()}
        return (
            texts,
            [_label(owner.item) if isinstance(owner, Entry) else owner.id for owner, *_ in rows],
            [owner.id if isinstance(owner, Entry) else "" for owner, *_ in rows],
            [owner.id not in expanded or wording not in owner.phrasings[lang] for owner, wording, lang in rows],
        )

    @cached_property
    def _index(self) -> Index:
        count = sum(len(entry.wordings(lang)) for entry in self._library.values() for lang in LANGS)
        return Index(self._library, self.corpus.vectors[:count])

    @cached_property
    def _vectors_path(self) -> Path:
        return self._cache / f"vectors-{_key(self._name, *self._wordings[0])}.npy"

    @cached_property
    def _classifier_path(self) -> Path:
        texts, labels, entries, firm = self._wordings
        code = [Path(module.__file__ or "").read_text("utf-8") for module in (_classifier, _terms, _training)]
        marks = ["firm" if each else "" for each in firm]
        return self._cache / f"classifier-{_key(self._name, *code, *texts, *labels, *entries, *marks)}.npz"

    def _vectors(self, texts: list[str]) -> Vectors:
        path = self._vectors_path
        with suppress(OSError, ValueError, EOFError):
            cached: Vectors = np.load(path, allow_pickle=False, mmap_mode="r")
            if cached.dtype == np.float32 and cached.ndim == 2 and len(cached) == len(texts):
                return cached
        _say(f"numstab: preparing {len(texts)} phrasings once (about {1 + len(texts) // 200} s) …")
        vectors = unit(self.embedder.encode_document(texts))
        _write(path, lambda half: np.save(half, vectors))
        return vectors

    @cached_property
    def _classifier(self) -> Classifier:
        path = self._classifier_path
        with _alone(path):  # of several workers one trains, the others wait and load
            with suppress(OSError, ValueError, KeyError, EOFError):
                return Classifier.load(path)
            trained = _training.train(self.corpus)
            _write(path, trained.save)
            return trained


def answering(alone: float, covered: float) -> float:
    """The probability that an item answers, from those that it alone does and that any does.

    Their geometric mean: a phrasing has one label, yet a nan in half precision is answered by three entries.
    """
    return float(np.sqrt(alone * covered))


def _score(pair: tuple[float, Entry]) -> float:
    return pair[0]


def _label(item: int) -> str:
    return f"item:{item}"


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _say(line: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(line + "\n")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other process makes the same file meanwhile; where the cache cannot be written, each makes its own."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("w")
    except OSError:
        lock = None
    if lock is None:
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, save: Callable[[Path], None]) -> None:
    """Whole or not at all, as two processes may build the same; a cache that cannot be written costs seconds only."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=path.suffix, delete=False) as half:
            save(Path(half.name))
        os.replace(half.name, path)
