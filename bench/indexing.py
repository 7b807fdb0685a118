"""The index of phrasings and the classifier at sizes far above ours: what a question takes, and a build."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bench.matching import matcher_of_settings
from qa_service.model import Lang
from qa_service.retrieval.classifier import Classifier
from qa_service.retrieval.embedder import Vectors, l2_normalise
from qa_service.retrieval.index import PhrasingIndex, open_vectors, save_vectors

_PHRASING_COUNTS = tuple(int(size) for size in os.environ.get("BENCH_SIZES", "10000,100000,1000000").split(","))
"""The numbers of phrasings to measure with."""
_CLASS_COUNTS = tuple(int(size) for size in os.environ.get("BENCH_CLASSES", "300,1000,3000").split(","))
MEASURES_SEARCH = bool(os.environ.get("BENCH_SEARCH"))
"""Whether to measure a search among all phrasings, too: building its index takes minutes."""
QUESTION_COUNT = 200
_PHRASINGS_EACH = 10
_MATCHES = 5
_BATCH = 16
_TRAINED_ON = 16_000
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class _SyntheticEntry:
    id: str

    def wordings(self, lang: Lang) -> tuple[str, ...]:
        return tuple(f"{self.id} {lang} {number}" for number in range(_PHRASINGS_EACH // 2))


def index_sizes() -> None:
    """The nearest phrasings of five entries, by number of phrasings; the classifier's scores, by number of classes."""
    _, matcher = matcher_of_settings()
    ours = matcher.corpus.vectors
    random = np.random.default_rng(0)
    for size in _PHRASING_COUNTS:
        with tempfile.TemporaryDirectory(prefix="numstab-index-") as folder:
            _measure_index(Path(folder) / "vectors", size, ours, random)
    for classes in _CLASS_COUNTS:
        _measure_classifier(classes, random)


def _measure_index(path: Path, size: int, ours: Vectors, random: np.random.Generator) -> None:
    """Prints how long it takes to find the nearest phrasings of five entries, with the vectors in a file, as when
    served.
    """
    made = _paraphrases(ours, size, random)
    questions = _paraphrases(made, QUESTION_COUNT, random)
    _, writing = _timed(lambda: save_vectors(path, made))
    library: Any = {f"entry-{number}": _SyntheticEntry(f"entry-{number}") for number in range(size // _PHRASINGS_EACH)}
    before = _resident()
    index, opening = _timed(lambda: PhrasingIndex(library, open_vectors(path), path))
    index.release()  # as after a first question
    names = list(library)
    picked = [[names[each] for each in random.integers(0, len(names), _MATCHES)] for _ in questions]
    times = [_timed(lambda pair=pair: index.nearest(*pair))[1] for pair in zip(questions, picked, strict=True)]  # type: ignore[misc]
    file, anonymous = (now - then for now, then in zip(_resident(), before, strict=True))
    print(
        f"{size:8d} phrasings of {len(library)} entries: nearest of {_MATCHES} p50 {_median_ms(times):6.3f} ms; "
        f"file of {path.stat().st_size / 2**20:.0f} MiB written in {writing:.1f} s, opened in {opening:.1f} s; "
        f"resident {file:.0f} MiB of the file, {anonymous:.0f} MiB of its own (texts)",
        flush=True,
    )
    if MEASURES_SEARCH:
        _measure_search(made, questions)


def _measure_search(vectors: Vectors, questions: Vectors) -> None:
    """Prints the time and recall of a FAISS search among all phrasings, a possible first stage that picks
    candidates.
    """
    import faiss

    exact = [np.argsort(-(vectors @ question))[:10] for question in questions]
    index, built = _timed(lambda: build_faiss_index(vectors))
    faiss.omp_set_num_threads(1)
    found = [_timed(lambda question=question: index.search(question[None], 10)) for question in questions]  # type: ignore[misc]
    hits = sum(
        len({*rows[0].tolist()} & {*wanted.tolist()}) for ((_, rows), _), wanted in zip(found, exact, strict=True)
    )
    print(
        f"{len(vectors):8d} phrasings searched by {type(index).__name__}: built in {built:.1f} s, "
        f"p50 {_median_ms([seconds for _, seconds in found]):6.3f} ms, recall@10 {hits / 10 / len(questions):.3f}",
        flush=True,
    )


def build_faiss_index(vectors: Vectors) -> Any:
    """An inverted file of about 2 √n cells, of which the nearest 1/32 are searched, with 8-bit scalar quantisation."""
    import faiss

    count, width = vectors.shape
    cells = 1 << round(np.log2(2 * count**0.5))
    index: Any = faiss.index_factory(width, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid = 64
    index.nprobe = max(8, cells // 32)
    index.train(vectors)
    index.add(vectors)
    return index


def _measure_classifier(classes: int, random: np.random.Generator) -> None:
    """Prints the time in which the classifier scores the vectors of questions, with as many phrasings as are trained
    on.
    """
    axes, width = 128, 512
    starts = np.linspace(0, _TRAINED_ON, classes, endpoint=False).astype(np.intp)
    made = Classifier(
        classes=tuple(f"class-{number}" for number in range(classes)),
        is_entry=np.ones(classes, dtype=np.bool_),
        rank_factors=np.ones(2, dtype=np.float32),
        term_ids=np.arange(1, dtype=np.uint32),
        idf=np.ones(1, dtype=np.float32),
        term_weights=np.zeros((1, classes), dtype=np.float16),
        axes=random.standard_normal((width, axes), dtype=np.float32),
        phrasing_vectors=l2_normalise(random.standard_normal((_TRAINED_ON, axes), dtype=np.float32)),
        class_starts=starts,
        dual=random.standard_normal((_TRAINED_ON, classes), dtype=np.float32),
        bias=np.zeros(classes, dtype=np.float32),
    )
    alone, together = (l2_normalise(random.standard_normal((count, width), dtype=np.float32)) for count in (1, _BATCH))
    one = [_timed(lambda: made.score_vectors(alone))[1] for _ in range(20)]
    batch = [_timed(lambda: made.score_vectors(together))[1] for _ in range(20)]
    print(
        f"{classes:8d} classes: one question p50 {_median_ms(one):6.2f} ms (fastest {min(one) * 1e3:.2f}), "
        f"{_BATCH} together {_median_ms(batch) / _BATCH:6.2f} ms each (fastest {min(batch) / _BATCH * 1e3:.2f}); "
        f"dual weights {made.dual.nbytes / 2**20:.0f} MiB",
        flush=True,
    )


def _paraphrases(ours: Vectors, size: int, random: np.random.Generator) -> Vectors:
    """Artificial phrasings, of shape (size, d): mixtures of two of `ours`, plus noise of a third of their norm."""
    vectors = np.empty((size, ours.shape[1]), dtype=np.float32)
    for start in range(0, size, 50_000):
        part = vectors[start : start + 50_000]
        one, two = ours[random.integers(0, len(ours), (2, len(part)))]
        share = random.random((len(part), 1), dtype=np.float32)
        noise = random.standard_normal(part.shape, dtype=np.float32) / (3 * part.shape[1] ** 0.5)
        part[:] = l2_normalise(share * one + (1 - share) * two + noise)
    return vectors


def _timed(call: Callable[[], _Result]) -> tuple[_Result, float]:
    """(result of a call, its CPU seconds)."""
    started = time.process_time()
    result = call()
    return result, time.process_time() - started


def _median_ms(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1e3


def _resident() -> tuple[float, float]:
    """MiB of this process that are mapped from files, and that are its own."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssFile"].split()[0]) / 1024, int(lines["RssAnon"].split()[0]) / 1024
