"""The matcher: finds the entries that answer a question, with calibrated probabilities, or the subject it is about.

The classifier lets all entries and the subjects that we do not cover compete with each other and, with the full-text
search over the entries' prose, ranks the entries; the index finds the nearest phrasing of each. The phrasings' vectors,
the classifier and the full-text index are cached on disk, keyed by a hash of everything that they were computed from,
source code included.
"""

import hashlib
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from qa_service import parsing
from qa_service.errors import MissingPackage
from qa_service.files import delete_unused, mark_used, write_atomically
from qa_service.knowledge.library import Library
from qa_service.model import LANGS, PLACEHOLDER, Entry, Lang, Match, Observation, Subject
from qa_service.parsing import normalise
from qa_service.parsing import text as parsing_text
from qa_service.parsing.observations import observe
from qa_service.retrieval import classifier, features, prose, published, training
from qa_service.retrieval.array_file import map_arrays
from qa_service.retrieval.batcher import MicroBatcher
from qa_service.retrieval.classifier import Classifier, Prediction
from qa_service.retrieval.embedder import Embedder, Vectors, l2_normalise
from qa_service.retrieval.index import PhrasingIndex, map_vectors, open_vectors, save_vectors
from qa_service.retrieval.prose import ProseIndex
from qa_service.retrieval.training import LeaveOneOut, Phrasings

EXCLUSION_FACTOR = 0.05
"""Factor of the probability of an entry that an observation excludes."""
SUPPORT_FACTOR = 4.0
"""Factor of the probability of an entry with an observed sign of kind `fine`, such as "fine:bfloat16"."""
RUNNER_UP_SHARE = 0.2
"""A match with at least this share of the best one's score is close to it: nearly as often it is the answer."""
_FORMATS = frozenset({"float16", "bfloat16", "float32", "float64"})
"""Number formats, which a question may report as working."""
_SYMPTOMS = frozenset(
    f"what:{value}"
    for value in ("nan", "inf", "zero", "flat", "chance", "constant", "growing", "shrinking", "large", "spike", "skip",
                  "minimum", "differs", "garbage")
)  # fmt: skip
"""Symptoms that entries have and subjects that are not covered have not."""
_QUANTITIES = frozenset(
    f"where:{value}" for value in ("loss", "gradient", "activation", "logit", "weight", "scale", "state")
)
"""The quantities in which a symptom is seen."""
_NAN, _INF, _FINITE = "what:nan", "what:inf", "what:finite"
_COARSE = frozenset({"in:amp", "in:int8", "in:float8"})  # settings that fail where these do not
_TINY = float(np.finfo(np.float32).tiny)
_KEPT_FILES, _UNUSED_DAYS = 4, 7.0  # of each kind in the cache: those of other versions go
_CACHED_QUESTIONS = 1000  # whose results are kept
_CACHED_SIGNS = 256  # sets of signs whose factors are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchResult:
    """The entries that a question matches, best first, and the uncovered subject it is about, if that is likelier."""

    matches: tuple[Match, ...]
    subject: Subject | None


@dataclass(frozen=True, slots=True)
class _Query:
    text: str
    k: int
    signs: frozenset[str]

    @classmethod
    def of(cls, text: str, k: int, observations: Iterable[Observation]) -> "_Query":
        return cls(text, k, frozenset(str(each.sign) for each in observations))


class _RecentResults:
    """A cache of the results of the last questions, as students of one class ask the same. Thread-safe."""

    def __init__(self) -> None:
        self._results: dict[_Query, MatchResult] = {}
        self._lock = threading.Lock()

    def get(self, query: _Query) -> MatchResult | None:
        with self._lock:
            found = self._results.pop(query, None)
            if found is not None:
                self._results[query] = found  # the last, so the last to go
            return found

    def put(self, query: _Query, result: MatchResult) -> None:
        with self._lock:
            self._results[query] = result
            if len(self._results) > _CACHED_QUESTIONS:
                del self._results[next(iter(self._results))]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """The signs by which observations make an entry more or less likely. Signs are written "kind:value"."""

    excluded_by: frozenset[str]
    """Each rules the entry out."""
    formats: frozenset[str]
    """The formats of numbers that the entry is about, such as "float16"."""
    fine: frozenset[str]
    """Settings in which its trouble is absent, such as "fine:bfloat16"."""
    is_about_nan: bool

    @classmethod
    def of(cls, entry: Entry) -> "_Evidence":
        return cls(
            excluded_by=frozenset(map(str, entry.excluded_by)),
            formats=frozenset(sign.value for sign in entry.signs if sign.kind == "in") & _FORMATS,
            fine=frozenset(str(sign) for sign in entry.signs if sign.kind == "fine"),
            is_about_nan=_NAN in map(str, entry.signs),
        )

    def factor(self, observed: frozenset[str], sound: frozenset[str]) -> float:
        """The factor of the entry's probability; `sound` are the formats that are fine while another one fails.

        "bf16 is fine, fp16 is nan" leaves no entry that is about bfloat16 alone.
        """
        if observed & self.excluded_by or (self.formats and self.formats <= sound):
            return EXCLUSION_FACTOR
        if self.is_about_nan and _FINITE in observed and not observed & {_NAN, _INF}:
            return EXCLUSION_FACTOR
        return SUPPORT_FACTOR if self.fine & observed else 1.0


_NO_EVIDENCE = _Evidence(excluded_by=frozenset(), formats=frozenset(), fine=frozenset(), is_about_nan=False)


class Matcher:
    """Matches questions to the entries of a library. Loads or trains its models on first use. Thread-safe."""

    def __init__(self, library: Library, embedder: Embedder, *, name: str, cache: Path) -> None:
        """`name` of the embedder is part of the cache keys, `cache` the folder of the files."""
        self._library = library
        self.embedder = embedder
        self._name = name
        self._cache = cache
        self._entries = tuple(library.values())
        self._rows_of_item: dict[int, list[int]] = {}
        for row, entry in enumerate(self._entries):
            self._rows_of_item.setdefault(entry.item, []).append(row)
        self._subjects = tuple(library.subjects)
        self._batcher = MicroBatcher(self._match_batch)
        self._results = _RecentResults()
        self._factors_of_signs: dict[frozenset[str], NDArray[np.float64]] = {}

    def match(self, question: str, k: int = 5, observations: Iterable[Observation] = ()) -> MatchResult:
        """The k likeliest entries; scores never rise.

        `question` is a normalised text (`ParsedQuestion.text`), `observations` what it says about a run. The score of
        the first is the confidence that its item answers, which is not divided among the item's entries; those of the
        others are in proportion to theirs.
        """
        query = _Query.of(question, k, observations)
        if (found := self._results.get(query)) is None:
            found = self._batcher(query)
            self._results.put(query, found)
        return found

    def match_together(self, questions: Iterable[tuple[str, Iterable[Observation]]], k: int = 5) -> None:
        """Match several questions, each with its observations, at once, so that `match` finds the results."""
        queries = dict.fromkeys(_Query.of(text, k, observations) for text, observations in questions)
        missing = [query for query in queries if self._results.get(query) is None]
        for query, result in zip(missing, self._match_batch(missing) if missing else (), strict=True):
            self._results.put(query, result)

    def leave_one_out(self) -> LeaveOneOut:
        """The prediction for each phrasing when it is left out of the training; trains for half a minute."""
        return training.leave_one_out(self.corpus, np.stack([self._prose.scores(text) for text in self.corpus.texts]))

    def left_out_aspects(self) -> list[tuple[str, str]]:
        """(aspect of a wording, aspect that it asks by its entry's other wordings), of entries that have aspects."""
        return [pair for entry in self._entries if entry.aspects for pair in self._index.left_out_aspects(entry)]

    def _match_batch(self, queries: "list[_Query]") -> list[MatchResult]:
        vectors = l2_normalise(self.embedder.encode_query([query.text for query in queries]))
        predictions = self._classifier.predict_together(
            [(query.text, query.signs) for query in queries],
            self._classifier.score_vectors(vectors),
            [self._prose.scores(query.text) for query in queries],
        )
        found = [self._match_one(*each) for each in zip(queries, vectors, predictions, strict=True)]
        self._index.release()
        return found

    def _match_one(self, query: "_Query", vector: Vectors, prediction: Prediction) -> MatchResult:
        shares = prediction.shares[self._columns].astype(np.float64)
        of_entries, of_subjects = shares[: len(self._entries)], shares[len(self._entries) :]
        possible = of_entries * self._factors(query.signs) if query.signs else of_entries
        rows = np.argsort(-possible, kind="stable")[: query.k]
        ranked = [self._entries[row] for row in rows.tolist()]
        item = float(of_entries[self._rows_of_item[ranked[0].item]].sum())
        covered = min(float(of_entries.sum()), 1.0)  # a sum of float32 probabilities, which rounding may put above 1
        confidence = covered if _tells_symptom(query.signs) else combined_confidence(item, covered)
        scores = confidence * possible[rows] / max(possible[rows[0]], _TINY)
        nearest = self._index.nearest(vector, ranked)
        reasons = prediction.reasons([entry.id for entry in ranked])
        likeliest = of_subjects.argmax() if len(of_subjects) else None
        close = (scores >= RUNNER_UP_SHARE * scores[0]).tolist()
        return MatchResult(
            matches=tuple(
                Match(
                    entry=entry,
                    score=score,
                    phrasing=closest.phrasing,
                    aspect=closest.aspect if is_close else "",
                    reasons=tuple(each),
                )
                for entry, score, closest, each, is_close in zip(
                    ranked, scores.tolist(), nearest, reasons, close, strict=True
                )
            ),
            subject=self._subjects[likeliest] if likeliest is not None and of_subjects[likeliest] > item else None,
        )

    def _factors(self, signs: frozenset[str]) -> NDArray[np.float64]:
        """(entries,): the factor of each entry's probability that the observed signs give."""
        factors = self._factors_of_signs.get(signs)
        if factors is None:
            if len(self._factors_of_signs) >= _CACHED_SIGNS:
                self._factors_of_signs.clear()
            factors = self._factors_of_signs[signs] = self._computed_factors(signs)
        return factors

    def _computed_factors(self, signs: frozenset[str]) -> NDArray[np.float64]:
        factors, sound = np.ones(len(self._entries)), _sound_formats(signs)
        for row, evidence in self._evidence:
            factors[row] = evidence.factor(signs, sound)
        return factors

    @property
    def is_cached(self) -> bool:
        """Whether this library's vectors and classifier exist, so that the first question trains nothing."""
        needed = (self._vectors_path, self._classifier_path)
        return all(path.is_file() or self._find_published(path) is not None for path in needed)

    def export(self, folder: Path) -> Path:
        """Write the classifier and the vectors as a wheel, after training them if need be; returns its path."""
        # to find the nearest of a few wordings, a byte a number does: a multiple of the vectors, rounded
        rounded = np.rint(self._vectors * (127 / np.abs(self._vectors).max())).astype(np.int8)
        return published.write_wheel(
            folder,
            {
                self._published_name(self._classifier_path): self._classifier.save,
                self._published_name(self._vectors_path): lambda path: _save_array(path, rounded),
            },
        )

    def unpack(self, source: str) -> str:
        """Take classifier and vectors from a wheel that `export` has written, at a path or an address.

        Returns its SHA-256; raises `BadModel` if it is damaged or was made from other entries.
        """
        names = [self._published_name(path) for path in (self._classifier_path, self._vectors_path)]
        return published.unpack(source, names, self._cache)

    @staticmethod
    def _published_name(path: Path) -> str:
        """The name in a wheel of a file of the cache; vectors are rounded there, and are an array of NumPy."""
        return path.with_suffix(".npy").name if path.suffix == ".faiss" else path.name

    @cached_property
    def corpus(self) -> Phrasings:
        """The training set of the classifier: every wording, normalised; those of entries first, then of subjects."""
        expanded = {entry.expands for entry in self._library.values()}
        owners = [owner for owner, *_ in self._wordings]
        return Phrasings(
            texts=[normalise(wording) for _, wording, _ in self._wordings],
            signs=[[str(each.sign) for each in observe(wording)] for _, wording, _ in self._wordings],
            classes=[owner.id if isinstance(owner, Entry) else _subject_label(owner) for owner in owners],
            groups=[f"item:{owner.item}" if isinstance(owner, Entry) else _subject_label(owner) for owner in owners],
            movable=[
                owner.id in expanded and wording in owner.phrasings[lang] for owner, wording, lang in self._wordings
            ],
            vectors=np.asarray(self._vectors, dtype=np.float32),
            questions=[
                isinstance(owner, Entry) and wording not in owner.all_phrasings(lang)
                for owner, wording, lang in self._wordings
            ],
        )

    @cached_property
    def _columns(self) -> NDArray[np.intp]:
        """(entries + subjects,): the class of each."""
        names = (*(entry.id for entry in self._entries), *map(_subject_label, self._subjects))
        return np.array([self._classifier.columns[name] for name in names], dtype=np.intp)

    @cached_property
    def _evidence(self) -> list[tuple[int, "_Evidence"]]:
        """(row, evidence) of the entries with signs that an observation may change the probability by."""
        found = [(row, _Evidence.of(entry)) for row, entry in enumerate(self._entries)]
        return [(row, each) for row, each in found if each != _NO_EVIDENCE]

    @property
    def _wordings(self) -> list[tuple[Entry | Subject, str, Lang]]:
        owners: list[Entry | Subject] = [*self._library.values(), *self._subjects]
        return [(owner, wording, lang) for owner in owners for lang in LANGS for wording in owner.wordings(lang)]

    @property
    def _vectors_path(self) -> Path:
        return self._files[0]

    @property
    def _classifier_path(self) -> Path:
        return self._files[1]

    @property
    def _wording_count(self) -> int:
        return self._files[2]

    @cached_property
    def _files(self) -> tuple[Path, Path, int]:
        """(path of the vectors, path of the classifier, number of wordings); the wordings, 27,000
        tuples, are not kept for that.
        """
        wordings = self._wordings
        sources = [_source(module) for module in (classifier, features, training)]
        sources += [path.read_bytes() for path in sorted(Path(parsing.__file__).parent.rglob("*.py"))]
        owners: list[Entry | Subject] = [*self._entries, *self._subjects]
        names = {id(owner): _owner_key(owner) for owner in owners}
        texts = "\0".join([wording for _, wording, _ in wordings])
        owned = "\0".join([f"{names[id(owner)]}\0{wording}" for owner, wording, _ in wordings])
        return (
            self._cache / f"phrasings-{_content_hash(self._name, _source(parsing_text), texts)}.faiss",
            self._cache / f"classifier-{_content_hash(self._name, *sources, owned)}.npz",
            len(wordings),
        )

    @cached_property
    def _prose(self) -> ProseIndex:
        """The prose of the entries, both languages in one text, in alphabetical order of their ids."""
        entries = [self._library[name] for name in sorted(self._library)]
        path = (
            self._cache
            / f"prose-{_content_hash(_source(prose), *(f'{entry.id} {entry.hash}' for entry in entries))}.npz"
        )
        with suppress(OSError, ValueError, KeyError, EOFError):
            loaded = ProseIndex.load(path)
            mark_used(path)
            return loaded
        texts = [" ".join(f"{entry.question[lang]} {entry.text(lang)}" for lang in LANGS) for entry in entries]
        built = ProseIndex.of([PLACEHOLDER.sub(" ", text) for text in texts])
        with suppress(OSError):  # without a cache the next process builds it again
            write_atomically(path, built.save)
            delete_unused(self._cache, "prose-*.npz", keep=_KEPT_FILES, days=_UNUSED_DAYS)
        return built

    @cached_property
    def _index(self) -> PhrasingIndex:
        if not self._vectors_path.is_file() and (found := self._find_published(self._vectors_path)) is not None:
            with suppress(OSError, ValueError, EOFError):
                if len(rounded := np.load(found, mmap_mode="r", allow_pickle=False)) == self._wording_count:
                    return PhrasingIndex(self._library, rounded)
        with suppress(OSError, ValueError, EOFError):
            if len(in_file := open_vectors(self._vectors_path)) == self._wording_count:
                mark_used(self._vectors_path)
                return PhrasingIndex(self._library, in_file, self._vectors_path)
        return PhrasingIndex(self._library, self._vectors)

    @cached_property
    def _vectors(self) -> Vectors:
        """(wordings, d): unit vectors."""
        path = self._vectors_path
        with suppress(OSError, ValueError, EOFError):
            if len(cached := map_vectors(path)) == self._wording_count:
                mark_used(path)
                return cached
        wordings = [wording for _, wording, _ in self._wordings]
        _print_progress(f"numstab: preparing {len(wordings)} phrasings once (about {1 + len(wordings) // 200} s) …")
        vectors = l2_normalise(self.embedder.encode_document([normalise(wording) for wording in wordings]))
        with suppress(OSError):  # without a cache the next process computes them again
            write_atomically(path, lambda temporary: save_vectors(temporary, vectors))
            delete_unused(self._cache, "phrasings-*.faiss", keep=_KEPT_FILES, days=_UNUSED_DAYS)
        return vectors

    def _find_published(self, path: Path) -> Path | None:
        """The path of the published form of a file of the cache: unpacked in the cache, or in the installed package."""
        unpacked = self._cache / self._published_name(path)
        return unpacked if unpacked.is_file() else published.installed_file(unpacked.name)

    @cached_property
    def _classifier(self) -> Classifier:
        path = self._classifier_path
        if (cached := _load_classifier(path)) is not None:
            return cached
        if (found := self._find_published(path)) is not None and (loaded := _load_classifier(found)) is not None:
            return loaded
        with _file_lock(path):  # of several workers one trains, the others wait and load
            if (cached := _load_classifier(path)) is not None:
                return cached
            _check_can_train()
            trained = training.train_classifier(self.corpus)
            with suppress(OSError):  # without a cache the next process trains again
                write_atomically(path, trained.save)
                delete_unused(self._cache, "classifier-*.npz", keep=_KEPT_FILES, days=_UNUSED_DAYS)
            return _load_classifier(path) or trained  # mapped, its memory is shared with other processes


def _sound_formats(observed: frozenset[str]) -> frozenset[str]:
    """The formats that are said to be fine, if another one is in use: then that one is what fails."""
    fine = frozenset(name for name in _FORMATS if f"fine:{name}" in observed)
    in_use = observed & _COARSE or any(f"in:{name}" in observed for name in _FORMATS - fine)
    return fine if in_use else frozenset()


def _tells_symptom(observed: frozenset[str]) -> bool:
    """Whether a question tells what is wrong with which quantity of a run, such as a loss that is nan.

    Entries answer such questions, however hard it is to say which item does: "gradnorm is always 0".
    """
    return not observed.isdisjoint(_SYMPTOMS) and not observed.isdisjoint(_QUANTITIES)


def combined_confidence(alone: float, covered: float) -> float:
    """The confidence that an item answers, from its own probability and that any item is right, all 0 to 1.

    It is their weighted geometric mean with exponents 1/4 and 3/4: a phrasing has one label, yet a question such as one
    about nan in half precision is answered by three items, which share the probability. `covered` is a sum of
    float32 probabilities, which rounding may put above 1.
    """
    return float(alone**0.25 * min(covered, 1.0) ** 0.75)


def _load_classifier(path: Path) -> Classifier | None:
    """The classifier in this file, mapped; of the terms' weights, most of the file, the rows that a question needs are
    read. None if the file is no classifier.
    """
    with suppress(OSError, ValueError, KeyError, EOFError):
        weights = map_arrays(path, as_rows=("term_weights",))["term_weights"]
        loaded = replace(Classifier.load(path), term_weights=weights)
        mark_used(path)
        return loaded
    return None


def _check_can_train() -> None:
    """Raises `MissingPackage` where there is no SciPy, which `numstab-core` leaves out."""
    if find_spec("scipy") is None:
        raise MissingPackage("numstab-model", "train")


def _save_array(path: Path, array: NDArray[np.int8]) -> None:
    with path.open("wb") as file:  # by its name numpy would add a suffix
        np.save(file, array)


def _subject_label(subject: Subject) -> str:
    """The class of a subject in the classifier, which is no valid id of an entry."""
    return f"subject:{subject.id}"


def _owner_key(owner: Entry | Subject) -> str:
    """What the training set is told of the owner of a wording."""
    return f"{owner.id}\0" + (f"{owner.item} {owner.expands}" if isinstance(owner, Entry) else "")


def _source(module: ModuleType) -> bytes:
    return Path(module.__file__ or "").read_bytes()


def _content_hash(*parts: str | bytes) -> str:
    return hashlib.sha256(b"\0".join(each if isinstance(each, bytes) else each.encode() for each in parts)).hexdigest()[
        :32
    ]


def _print_progress(line: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(line + "\n")


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, so that one process computes the file; no lock if the cache cannot be written."""
    from filelock import FileLock

    with ExitStack() as stack:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(path.with_suffix(".lock")))
        yield
