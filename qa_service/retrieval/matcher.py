"""A question → the entries that answer it, each with a calibrated probability, or the subject it is about instead.

The classifier says which item of the lecture, or which subject that we do not cover, a question belongs to, and which
of the item's entries answers it; the index names the phrasing that was met. What is built lies in the cache, under a
name made of everything it was built from.
"""

import hashlib
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
from filelock import FileLock

from qa_service import parsing as reading
from qa_service.files import write_atomically
from qa_service.knowledge.library import Library
from qa_service.model import LANGS, Entry, Lang, Match, Subject
from qa_service.parsing import text as _text
from qa_service.retrieval import classifier as _classifier
from qa_service.retrieval import features as _terms
from qa_service.retrieval import training as _training
from qa_service.retrieval.batcher import MicroBatcher
from qa_service.retrieval.classifier import Classifier, VectorScores
from qa_service.retrieval.embedder import Embedder, Vectors, l2_normalise
from qa_service.retrieval.index import Index
from qa_service.retrieval.training import Phrasings

_REMEMBERED = 1000
"""Of how many texts the matches are kept."""
_LEADERS = 3
"""How many different items come first in the list of matches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchResult:
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
        self._together = MicroBatcher(self._match)
        self._matched = lru_cache(_REMEMBERED)(self._together)  # a class asks the same

    def match(self, question: str, k: int = 5) -> MatchResult:
        """The best k entries: the best one of each of the three likeliest items, then the others; scores never rise.

        `question` is a text as `reading` leaves it. How sure we are of an item is not shared out among its entries:
        the best of them has all of it.
        """
        return self._matched((question, k))

    def _match(self, asked: list[tuple[str, int]]) -> list[MatchResult]:
        vectors = l2_normalise(self.embedder.encode_query([question for question, _ in asked]))
        felt = self._classifier.score_vectors(vectors)
        return [self._one(*what) for what in zip(asked, vectors, felt, strict=True)]

    def _one(self, asked: tuple[str, int], vector: Vectors, felt: VectorScores) -> MatchResult:
        question, k = asked
        judged = self._classifier.predict(question, felt)
        covered = sum(judged.labels[_label(item)] for item in self._items)
        sure = {item: combined_confidence(judged.labels[_label(item)], covered) for item in self._items}
        leaders: list[tuple[float, Entry]] = []
        others: list[tuple[float, Entry]] = []
        for item in sorted(sure, key=lambda item: -sure[item])[: max(k, _LEADERS)]:
            shares = judged.entries(_label(item))
            best, *rest = sorted(self._items[item], key=lambda entry: -shares[entry.id])
            (leaders if len(leaders) < _LEADERS else others).append((sure[item], best))
            others += [(sure[item] * shares[each.id] / shares[best.id], each) for each in rest]
        others.sort(key=lambda pair: -pair[0])
        found = [*leaders, *((min(score, leaders[-1][0]), entry) for score, entry in others)][:k]
        met = self._index.nearest(vector, [entry.id for _, entry in found])
        reasons = judged.reasons([_label(entry.item) for _, entry in found])
        first = max(judged.labels, key=lambda label: judged.labels[label])
        return MatchResult(
            matches=tuple(
                Match(entry=entry, score=score, phrasing=met[entry.id], reasons=tuple(why))
                for (score, entry), why in zip(found, reasons, strict=True)
            ),
            subject=self._subjects.get(first),
        )

    @property
    def is_cached(self) -> bool:
        """Whether the cache holds what this library needs, so that the first question builds nothing."""
        return self._vectors_path.is_file() and self._classifier_path.is_file()

    @cached_property
    def corpus(self) -> Phrasings:
        """What the classifier is trained on: every wording as it is read; entries first, then subjects."""
        texts = [reading.normalise(wording) for _, wording, _ in self._wordings]
        expanded = {entry.expands for entry in self._library.values()}
        return Phrasings(
            texts=texts,
            labels=[_label(owner.item) if isinstance(owner, Entry) else owner.id for owner, *_ in self._wordings],
            entries=[owner.id if isinstance(owner, Entry) else "" for owner, *_ in self._wordings],
            fixed_label=[
                owner.id not in expanded or wording not in owner.phrasings[lang]
                for owner, wording, lang in self._wordings
            ],
            vectors=self._vectors,
        )

    @cached_property
    def _wordings(self) -> list[tuple[Entry | Subject, str, Lang]]:
        owners: list[Entry | Subject] = [*self._library.values(), *self._subjects.values()]
        return [(owner, wording, lang) for owner in owners for lang in LANGS for wording in owner.wordings(lang)]

    @cached_property
    def _vectors_path(self) -> Path:
        wordings = [wording for _, wording, _ in self._wordings]
        return self._cache / f"vectors-{_key(self._name, _code(_text), *wordings)}.npy"

    @cached_property
    def _classifier_path(self) -> Path:
        made_of = [_code(module) for module in (_text, _classifier, _terms, _training)]
        for owner, wording, _ in self._wordings:
            about = f"{owner.item} {owner.expands}" if isinstance(owner, Entry) else ""
            made_of += [owner.id, about, wording]
        return self._cache / f"classifier-{_key(self._name, *made_of)}.npz"

    @cached_property
    def _index(self) -> Index:
        count = sum(isinstance(owner, Entry) for owner, *_ in self._wordings)
        return Index(self._library, self._vectors[:count])

    @cached_property
    def _vectors(self) -> Vectors:
        wordings = [wording for _, wording, _ in self._wordings]
        path = self._vectors_path
        with suppress(OSError, ValueError, EOFError):
            cached: Vectors = np.load(path, allow_pickle=False, mmap_mode="r")
            if cached.dtype == np.float32 and cached.ndim == 2 and len(cached) == len(wordings):
                return cached
        _say(f"numstab: preparing {len(wordings)} phrasings once (about {1 + len(wordings) // 200} s) …")
        vectors = l2_normalise(self.embedder.encode_document([reading.normalise(wording) for wording in wordings]))
        with suppress(OSError):  # without a cache the next process computes them again
            write_atomically(path, lambda file: np.save(file, vectors))
        return vectors

    @cached_property
    def _classifier(self) -> Classifier:
        path = self._classifier_path
        with _file_lock(path):  # of several workers one trains, the others wait and load
            with suppress(OSError, ValueError, KeyError, EOFError):
                return Classifier.load(path)
            trained = _training.train(self.corpus)
            with suppress(OSError):  # without a cache the next process trains again
                write_atomically(path, trained.save)
            return trained


def combined_confidence(alone: float, covered: float) -> float:
    """The probability that an item answers, from those that it alone does and that any does.

    Their geometric mean, the second weighing three times the first: a phrasing has one label, yet a nan in half
    precision is answered by three items. `covered` is a sum of float32 probabilities, which rounding may put above 1.
    """
    return float(alone**0.25 * min(covered, 1.0) ** 0.75)


def _label(item: int) -> str:
    return f"item:{item}"


def _code(module: ModuleType) -> str:
    return Path(module.__file__ or "").read_text("utf-8")


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _say(line: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(line + "\n")


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    """Holds a lock that keeps other processes from building the same file; none where the cache cannot be written."""
    with ExitStack() as stack:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(path.with_suffix(".lock")))
        yield
