"""Matching: time per question, and calibration of its probabilities on left-out phrasings."""

import os
import statistics
import time

import numpy as np

from qa_service.answering.knowledge import Knowledge
from qa_service.knowledge.library import Library
from qa_service.retrieval.embedder import load_embedder
from qa_service.retrieval.matcher import Matcher, combined_confidence
from qa_service.settings import Settings
from qa_service.tools.evaluation import left_out_report


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
    out = matcher.leave_one_out()
    covered = out.groups != out.classes
    right = out.classes[out.probabilities.argmax(axis=1)] == out.owners
    is_covered = np.isin(out.owners, out.classes[covered])
    print(f"{len(right)} phrasings, {len(covered)} classes: {right.mean():.3f} right, of entries "
          f"{right[is_covered].mean():.3f}, of subjects {right[~is_covered].mean():.3f}; "
          f"{(out.owners != out.targets).sum()} phrasings taken over by another entry")  # fmt: skip
    report = left_out_report(library, out)
    for name in ("source", "expansion"):
        each = report[name]
        print(f"{each['n']} phrasings of the {name} entries: first {each['first']:.3f}, "
              f"among the first three {each['first3']:.3f}")  # fmt: skip
    entries = out.probabilities[:, covered]
    item_of = out.groups[covered]
    items = item_of[entries.argmax(axis=1)]
    of_item = (entries * (item_of == items[:, None])).sum(axis=1)
    best = np.array([combined_confidence(*pair) for pair in zip(of_item, entries.sum(axis=1), strict=True)])
    answers = items == out.groups[np.searchsorted(out.classes, out.targets)]
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
