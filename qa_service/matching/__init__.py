"""A question → the entries that answer it, each with a calibrated probability, or the subject it is about instead.

The classifier says which item of the lecture, or which subject that we do not cover, a question belongs to; among the
entries of one item the index decides, and names the phrasing that was met. What is built lies in the cache, under a
name made of everything it was built from.
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
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
from qa_service.model import LANGS, Entry, Match, Subject

_CLOSENESS = 20.0  # how decidedly the nearest entry of an item wins over its neighbours


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
        """The best k entries, best first; `question` is a text as `reading` leaves it."""
        vector = unit(self.embedder.encode_query([question]))[0]
        about = self._classifier.probabilities(question, vector)
        covered = sum(about[_label(item)] for item in self._items)
        nearest = self._index.nearest(vector)
        matches = []
        for item, entries in self._items.items():
            close = np.exp(_CLOSENESS * np.array([nearest[entry.id][0] for entry in entries]))
            for entry, share in zip(entries, (close / close.sum()).tolist(), strict=True):
                probability = answering(about[_label(item)] * share, covered)
                matches.append(Match(entry=entry, score=probability, phrasing=nearest[entry.id][1]))
        matches.sort(key=lambda match: match.score, reverse=True)
        del matches[k:]
        reasons = self._classifier.reasons(question, vector, [_label(match.entry.item) for match in matches])
        explained = (replace(match, reasons=tuple(why)) for match, why in zip(matches, reasons, strict=True))
        first = max(about, key=lambda label: about[label])
        return Matching(matches=tuple(explained), subject=self._subjects.get(first))

    @property
    def corpus(self) -> tuple[list[str], list[str], Vectors]:
        """What the classifier is trained on: phrasings as they are read, their labels, their vectors."""
        return *self._labelled, self._vectors

    @cached_property
    def _index(self) -> Index:
        count = sum(len(entry.wordings(lang)) for entry in self._library.values() for lang in LANGS)
        return Index(self._library, self._vectors[:count])

    @cached_property
    def _labelled(self) -> tuple[list[str], list[str]]:
        """Every phrasing as it is read, with its label: entries first, then subjects."""
        owners: list[tuple[Entry | Subject, str]] = [
            *((entry, _label(entry.item)) for entry in self._library.values()),
            *((subject, subject.id) for subject in self._subjects.values()),
        ]
        pairs = [
            (reading.matched(wording), label)
            for owner, label in owners
            for lang in LANGS
            for wording in owner.wordings(lang)
        ]
        return [text for text, _ in pairs], [label for _, label in pairs]

    @cached_property
    def _vectors(self) -> Vectors:
        texts, _ = self._labelled
        path = self._cache / f"vectors-{_key(self._name, *texts)}.npy"
        with suppress(OSError, ValueError, EOFError):
            cached: Vectors = np.load(path, allow_pickle=False)
            if cached.dtype == np.float32 and cached.ndim == 2 and len(cached) == len(texts):
                return cached
        _say(f"numstab: preparing {len(texts)} phrasings once (about {1 + len(texts) // 350} s) …")
        vectors = unit(self.embedder.encode_document(texts))
        _write(path, lambda half: np.save(half, vectors))
        return vectors

    @cached_property
    def _classifier(self) -> Classifier:
        texts, labels, vectors = self.corpus
        code = [Path(module.__file__ or "").read_text("utf-8") for module in (_classifier, _terms, _training)]
        path = self._cache / f"classifier-{_key(self._name, *code, *texts, *labels)}.npz"
        with suppress(OSError, ValueError, KeyError, EOFError):
            return Classifier.load(path)
        trained = _training.train(texts, labels, vectors)
        _write(path, trained.save)
        return trained


def answering(alone: float, covered: float) -> float:
    """The probability that an entry answers, from those that it alone does and that any does.

    Their geometric mean: a phrasing has one label, yet a nan in half precision is answered by three entries.
    """
    return float(np.sqrt(alone * covered))


def _label(item: int) -> str:
    return f"item:{item}"


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _say(line: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(line + "\n")


def _write(path: Path, save: Callable[[Path], None]) -> None:
    """Whole or not at all, as two processes may build the same; a cache that cannot be written costs seconds only."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=path.suffix, delete=False) as half:
            save(Path(half.name))
        os.replace(half.name, path)
