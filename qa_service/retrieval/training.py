"""Phrasings with their labels → a classifier. Half a minute for 10,000 of them; the same input gives the same model.

Kernel ridge regression of ±1 for each label (Rifkin & Klautau 2004, In defense of one-vs-all classification), whose
left-out scores come in closed form, so that nothing is trained twice to calibrate it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qa_service.retrieval.classifier import Classifier, gaussian_kernel
from qa_service.retrieval.embedder import Vectors
from qa_service.retrieval.features import tf_vector

Floats = NDArray[np.float32]

RIDGE_ALPHA = 0.3  # of large weights; 0.15 to 1 differ by less than chance
_TERMS = 0.5  # what the terms weigh beside the vectors
_AXES = 128  # of 512: they hold four fifths of the variance; 192 judge no better and take longer to read
_RAREST = 2  # phrasings that a term must occur in
MAX_PHRASINGS = 16_000  # phrasings that are trained on: memory grows with their square, to a gigabyte
_BALANCED = 0.8  # how far entries of an item with few phrasings count as much as those with many (0 to 1)
RELABEL_MARGIN = 0.5  # by how much an entry must win over another to take a phrasing from it
_BLOCK = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrasings:
    """What is trained on, a row each: the text, its label, its entry ("" if its label is a subject), its vector.

    The rows of an item follow each other.
    A phrasing that is not `firm` belongs to a source entry that may have an expansion which answers it better.
    """

    texts: Sequence[str]
    labels: Sequence[str]
    entries: Sequence[str]
    fixed_label: Sequence[bool]
    vectors: Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOneOut:
    """Judgements by models that did not see the phrasing.

    `scores` are (phrasings, `labels`), to be multiplied by `sharpness`; `found` the entry each lands on among those of
    its item, of which `entries` (what it teaches) is to be compared.
    """

    labels: NDArray[Any]
    truth: NDArray[Any]
    scores: Floats
    sharpness: float
    entries: NDArray[Any]
    found: NDArray[Any]


def train(data: Phrasings) -> Classifier:
    """Items and subjects by one machine, the entries of each item by one of its own."""
    return _train(data)[0]


def leave_one_out(data: Phrasings) -> LeaveOneOut:
    """What `train` knows of its own mistakes."""
    return _train(data)[1]


def _train(data: Phrasings) -> tuple[Classifier, LeaveOneOut]:
    kept = np.unique(np.linspace(0, len(data.texts) - 1, min(MAX_PHRASINGS, len(data.texts))).astype(int))
    texts, vectors = [data.texts[at] for at in kept], data.vectors[kept]
    truth, owners, firm = np.array(data.labels)[kept], np.array(data.entries)[kept], np.array(data.fixed_label)[kept]
    keys, idf, tfidf = _tfidf(texts)
    axes = _principal(vectors)
    along = np.ascontiguousarray(vectors @ axes)
    kernel = _kernel(tfidf, along)
    items, taught = _entries_of(kernel, truth, owners, firm)

    labels = np.unique(truth)
    dual, scores = _ridge(kernel, _signs(truth, labels), _weights(truth, 1.0))  # overwrites the kernel
    sharpness = _sharpness(scores, np.searchsorted(labels, truth))
    entries = [entry for item in items for entry in item.entries]
    within = np.zeros((len(truth), max(len(item.entries) for item in items)), dtype=np.float32)
    columns = [dual]  # of the labels, then of each item's entries, which no other item's phrasings bear on
    found = owners.copy()
    for item in items:
        within[item.rows, : len(item.entries)] = item.dual
        its = np.zeros((len(truth), len(item.entries)), dtype=np.float32)
        its[item.rows] = item.dual
        columns.append(its)
        found[item.rows] = np.array(item.entries)[item.scores.argmax(axis=1)]
    duals = np.concatenate(columns, axis=1)
    classifier = Classifier(
        labels=tuple(labels.tolist()),
        entries=tuple(entries),
        item_of=tuple(item.label for item in items for _ in item.entries),
        keys=keys,
        idf=idf,
        weights=(_TERMS * (tfidf.T @ duals)).astype(np.float16),
        axes=axes,
        phrasings=along,
        dual=np.ascontiguousarray(dual),
        entry_dual=within,
        spans=np.array([(item.rows[0], item.rows[-1]) for item in items]),
        bias=duals.sum(axis=0),
        inverse_temperature=np.array([sharpness, _common_sharpness(items)], dtype=np.float32),
    )
    return classifier, LeaveOneOut(
        labels=labels, truth=truth, scores=scores, sharpness=sharpness, entries=taught, found=found
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """What tells the entries of one item apart: its rows, and (rows, entries) dual weights and left-out scores."""

    label: str
    rows: NDArray[np.intp]
    entries: list[str]
    truth: NDArray[np.intp]
    dual: Floats
    scores: Floats


def _entries_of(
    kernel: Floats, truth: NDArray[Any], owners: NDArray[Any], firm: NDArray[np.bool_]
) -> tuple[list[_Item], NDArray[Any]]:
    """A machine per item, and the entry that each phrasing teaches.

    The source entries had their phrasings before there were expansions, and many ask just what an expansion answers:
    what the others would clearly give to an expansion teaches the expansion.
    """
    train_labels = owners.copy()
    items = []
    for label in np.unique(truth[owners != ""]):
        rows = np.flatnonzero(truth == label)
        entries = np.unique(owners[rows])
        within = kernel[np.ix_(rows, rows)]
        for final in (False, True):
            dual, scores = _ridge(
                within.copy(), _signs(train_labels[rows], entries), _weights(train_labels[rows], _BALANCED)
            )
            own = np.searchsorted(entries, train_labels[rows])
            if not final:
                lead = scores.max(axis=1) - scores[np.arange(len(rows)), own]
                leaves = (lead > RELABEL_MARGIN) & ~firm[rows]
                train_labels[rows[leaves]] = entries[scores.argmax(axis=1)[leaves]]
        items.append(_Item(label=label, rows=rows, entries=entries.tolist(), truth=own, dual=dual, scores=scores))
    return items, train_labels


def _ridge(kernel: Floats, targets: Floats, weights: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """The dual weights, and each row's scores by a machine that did not see it. Overwrites the kernel.

    With C = K + penalty / weights, the weights are a = C⁻¹ y, and the left-out score is y - a / diag C⁻¹.
    """
    from scipy.linalg.lapack import spotrf, spotri, spotrs  # type: ignore[import-untyped]

    kernel[np.diag_indices(len(kernel))] += (RIDGE_ALPHA / weights).astype(np.float32)
    factor, failed = spotrf(kernel.T, lower=1, overwrite_a=1)  # symmetric: its transpose is in LAPACK's order
    if failed:
        raise ArithmeticError(f"the kernel of the phrasings is not positive definite at row {failed}")
    dual, _ = spotrs(factor, targets, lower=1)
    inverse, _ = spotri(factor, lower=1, overwrite_c=1)
    return dual, targets - dual / np.diag(inverse)[:, None]


def _signs(owners: NDArray[Any], names: NDArray[Any]) -> Floats:
    return np.where(owners[:, None] == names[None, :], 1, -1).astype(np.float32)


def _weights(owners: NDArray[Any], balanced: float) -> NDArray[np.float64]:
    """How much a row counts, 1 on average; with 1, every owner counts the same, however many phrasings it has."""
    _, at, counts = np.unique(owners, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = counts[at].astype(np.float64) ** -balanced
    weights *= len(weights) / weights.sum()
    return weights


def _tfidf(texts: Sequence[str]) -> tuple[NDArray[np.uint32], Floats, Any]:
    """The keys of all terms, their idf, and the (texts, terms) weights as a sparse matrix of rows of length 1."""
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

    counts = [tf_vector(text)[1:] for text in texts]
    keys, occurs = np.unique(np.concatenate([each for each, _ in counts]), return_counts=True)
    keys, occurs = keys[occurs >= _RAREST], occurs[occurs >= _RAREST]
    idf = (np.log((1 + len(texts)) / (1 + occurs)) + 1).astype(np.float32)
    columns, values, starts = [], [], [0]
    for its, times in counts:
        at = np.minimum(np.searchsorted(keys, its), len(keys) - 1)
        known = keys[at] == its
        weighed = idf[at[known]] * times[known]
        columns.append(at[known])
        values.append(weighed / max(float(np.linalg.norm(weighed)), 1e-9))
        starts.append(starts[-1] + len(weighed))
    shape = (len(texts), len(keys))
    return keys, idf, csr_matrix((np.concatenate(values), np.concatenate(columns), starts), shape=shape)


def _principal(vectors: Vectors) -> Floats:
    """(d, axes): the directions in which the vectors differ most."""
    second = vectors.T.astype(np.float64) @ vectors / len(vectors)
    return np.ascontiguousarray(np.linalg.eigh(second)[1][:, ::-1][:, :_AXES], dtype=np.float32)


def _kernel(tfidf: Any, along: Floats) -> Floats:
    """How alike any two phrasings are, in their terms and in their meaning; the 1 is a bias."""
    count = len(along)
    kernel = np.empty((count, count), dtype=np.float32)
    for start in range(0, count, _BLOCK):
        rows = slice(start, start + _BLOCK)
        kernel[rows] = 1 + _TERMS * (tfidf[rows] @ tfidf.T).toarray() + gaussian_kernel(along[rows] @ along.T)
    return kernel


def _common_sharpness(items: Sequence[_Item]) -> float:
    """One for all items that have several entries."""
    several = [item for item in items if len(item.entries) > 1]
    if not several:
        return 1.0
    width = max(len(item.entries) for item in several)
    padded = [np.pad(item.scores, ((0, 0), (0, width - len(item.entries))), constant_values=-1e3) for item in several]
    return _sharpness(np.concatenate(padded), np.concatenate([item.truth for item in several]))


def _sharpness(scores: Floats, right: NDArray[np.intp]) -> float:
    """The factor on the scores under which what was left out is most probable."""
    from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]
    from scipy.special import log_softmax  # type: ignore[import-untyped]

    rows = np.arange(len(right))
    found = minimize_scalar(
        lambda log: -log_softmax(np.exp(log) * scores, axis=1)[rows, right].mean(), bounds=(-2, 4), method="bounded"
    )
    return float(np.exp(found.x))
