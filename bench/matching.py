"""Matching: time per question, and calibration of its probabilities on left-out phrasings."""

import os
import statistics
import time

import numpy as np

from qa_service.answering.knowledge import Knowledge
from qa_service.knowledge.library import Library
from qa_service.retrieval.embedder import load_embedder
from qa_service.retrieval.matcher import Matcher, combined_confidence
from qa_service.retrieval.training import leave_one_out
from qa_service.settings import Settings


def matcher_of_settings() -> tuple[Library, Matcher]:
    """The library and its matcher, with the settings of the environment."""
    settings = Settings.from_env(os.environ)
    knowledge = Knowledge.read(settings, load_embedder(settings.encoder, settings.cache))
    return knowledge.library, knowledge.matcher


def time_per_question() -> None:
    """CPU time of matching: the first question, and the median of others, each asked once."""
    started = time.process_time()
    library, matcher = matcher_of_settings()
    matcher.match("nan")
    print(f"{'first question (loads the encoder)':34s} {(time.process_time() - started) * 1e3:9.1f} ms")
    questions = [entry.question[lang] for entry in library.values() for lang in entry.phrasings]
    times = []
    for question in dict.fromkeys(questions):
        started = time.process_time()
        matcher.match(question)
        times.append(time.process_time() - started)
    print(f"{'every other question':34s} median {statistics.median(times) * 1e3:9.2f} ms")


def reliability() -> None:
    """Calibration: accuracy by confidence over all phrasings, each scored by a model trained without it; by entry."""
    library, matcher = matcher_of_settings()
    data = matcher.corpus
    out = leave_one_out(data)
    scores = out.inverse_temperature * out.scores
    probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    covered = np.array([label.startswith("item:") for label in out.labels])
    right = out.labels[probabilities.argmax(axis=1)] == out.true_labels
    is_covered = np.isin(out.true_labels, out.labels[covered])
    print(f"{len(right)} phrasings, {len(covered)} labels: {right.mean():.3f} right, of those we cover "
          f"{right[is_covered].mean():.3f}, of those we do not {right[~is_covered].mean():.3f}")  # fmt: skip
    landed = out.predicted_entries == out.target_entries
    sources = np.array([entry != "" and library[entry].expands is None for entry in out.target_entries.tolist()])
    for name, rows in (("source entry", is_covered & sources), ("expansion", is_covered & ~sources)):
        if rows.any():
            print(f"given its item, a phrasing of a{'n' if name[0] == 'e' else ''} {name} lands on it in "
                  f"{landed[rows].mean():.3f} of {rows.sum()} cases")  # fmt: skip
    of_items = probabilities[:, covered]
    best = np.array(
        [combined_confidence(*pair) for pair in zip(of_items.max(axis=1), of_items.sum(axis=1), strict=True)]
    )
    answers = out.labels[covered][of_items.argmax(axis=1)] == out.true_labels
    error = 0.0
    for low in np.arange(0.0, 1.0, 0.1):
        here = (best >= low) & (best < low + 0.1 + (low > 0.85))
        if here.any():
            confidence, accuracy = best[here].mean(), answers[here].mean()
            error += here.mean() * abs(confidence - accuracy)
            print(f"confidence {low:.1f} … {low + 0.1:.1f}: n {here.sum():5d}, "
                  f"mean confidence {confidence:.2f}, accuracy {accuracy:.2f} "
                  f"{'#' * round(40 * accuracy)}")  # fmt: skip
    print(f"expected calibration error {error:.3f}")
