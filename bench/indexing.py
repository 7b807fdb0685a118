"""The index of phrasings at sizes far above ours, against an exact search over the same vectors."""

import os
import statistics
import time

import numpy as np

from bench.matching import matcher_of_settings
from qa_service.retrieval.embedder import l2_normalise
from qa_service.retrieval.index import build_faiss_index

SIZES = tuple(int(size) for size in os.environ.get("BENCH_SIZES", "10000,100000,1000000").split(","))
QUESTION_COUNT = 200


def index_sizes() -> None:
    """Build time, memory, search time and recall@10 by size; the vectors are noisy mixtures of our phrasings'."""
    import faiss

    _, matcher = matcher_of_settings()
    ours = matcher.corpus.vectors
    random = np.random.default_rng(0)
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    for size in SIZES:
        vectors = np.empty((size, ours.shape[1]), dtype=np.float32)
        for start in range(0, size, 50_000):
            # Imitates paraphrases: mixtures of two phrasings, plus noise of a third of the norm.
            part = vectors[start : start + 50_000]
            one, two = ours[random.integers(0, len(ours), (2, len(part)))]
            share = random.random((len(part), 1), dtype=np.float32)
            noise = random.standard_normal(part.shape, dtype=np.float32) / (3 * part.shape[1] ** 0.5)
            part[:] = l2_normalise(share * one + (1 - share) * two + noise)
        questions = l2_normalise(
            vectors[random.integers(0, size, QUESTION_COUNT)]
            + random.standard_normal((QUESTION_COUNT, ours.shape[1]), dtype=np.float32) / (3 * ours.shape[1] ** 0.5)
        )
        exact = np.concatenate([np.argsort(-(vectors @ question))[:10][None] for question in questions])
        started = time.perf_counter()
        index = build_faiss_index(vectors)
        built = time.perf_counter() - started
        faiss.omp_set_num_threads(1)
        times, hits = [], 0
        for question, wanted in zip(questions, exact, strict=True):
            started = time.perf_counter()
            _, rows = index.search(question[None], 10)
            times.append(time.perf_counter() - started)
            hits += len(set(rows[0].tolist()) & set(wanted.tolist()))
        faiss.omp_set_num_threads(os.cpu_count() or 1)
        bytes_each = ours.shape[1] * (4 if isinstance(index, faiss.IndexFlat) else 1)
        print(
            f"{size:8d} phrasings  {type(index).__name__:24s} built in {built:6.1f} s, "
            f"{size * bytes_each / 2**20:6.0f} MiB, "
            f"search p50 {statistics.median(times) * 1e3:6.2f} ms, recall@10 {hits / exact.size:.3f}"
        )
