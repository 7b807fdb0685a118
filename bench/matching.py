"""Matching: time per question, and how sure a nearness makes us, measured on the phrasings themselves."""

import os
import statistics
import time

import numpy as np

from qa_service.embedder import load_embedder, unit
from qa_service.index import Index, nearness, probability
from qa_service.lab.signature import read_experiments
from qa_service.library import Library
from qa_service.settings import Settings


def _parts() -> tuple[Library, Settings]:
    settings = Settings.from_env(os.environ)
    return Library.read(settings.kb, read_experiments(settings.demos)), settings


def time_per_question() -> None:
    """One question through encoder and index, cold and warm."""
    library, settings = _parts()
    started = time.perf_counter()
    index = Index(library, load_embedder(settings.encoder), name=settings.encoder, cache=settings.cache)
    index.search("nan")
    print(f"{'first question (loads the encoder)':34s} {(time.perf_counter() - started) * 1e3:9.1f} ms")
    questions = [entry.question[lang] for entry in library.values() for lang in entry.phrasings]
    times = []
    for question in questions * 3:
        started = time.perf_counter()
        index.search(question)
        times.append(time.perf_counter() - started)
    print(f"{'every other question':34s} median {statistics.median(times) * 1e3:9.2f} ms")


def calibrate() -> None:
    """Each phrasing asked with itself left out: share right by nearness, and the logistic curve's own probability."""
    library, settings = _parts()
    owners, phrasings = zip(
        *((entry.id, each) for entry in library.values() for lang in entry.phrasings for each in entry.phrasings[lang]),
        strict=True,
    )
    vectors = unit(load_embedder(settings.encoder).encode_document(list(phrasings)))
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1.0)
    owner = np.array(owners)
    near = {
        entry_id: np.array([nearness(row.tolist()) for row in -np.sort(-cosines[:, owner == entry_id], axis=1)[:, :3]])
        for entry_id in library
    }
    table = np.stack([near[entry_id] for entry_id in library], axis=1)
    best, right = table.max(axis=1), np.array(list(library))[table.argmax(axis=1)] == owner
    print(f"{len(phrasings)} phrasings, right {right.mean():.3f}, 5 % lie below {np.quantile(best, 0.05):.3f}")
    for low in np.arange(0.35, 0.85, 0.05):
        here = (best >= low) & (best < low + 0.05)
        if here.any():
            shown = probability(low + 0.025)
            share = f"n {here.sum():4d}, right {right[here].mean():.2f}"
            print(f"nearness {low:.2f} … {low + 0.05:.2f}: {share}, shown {shown:.2f}")
