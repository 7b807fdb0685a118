"""Trains the classifier from labelled phrasings: half a minute for 10,000. Deterministic.

One-vs-rest kernel ridge regression on targets ±1 (Rifkin & Klautau 2004, In defense of one-vs-all classification). Its
leave-one-out scores have a closed form, so it is calibrated without being trained again.
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

RIDGE_ALPHA = 0.3  # regularisation; from 0.15 to 1 the accuracy differs by less than chance
_TERM_WEIGHT = 0.5  # of the tf-idf kernel beside the Gaussian kernel, which has weight 1
_PRINCIPAL_AXES = 128  # of 512: four fifths of the variance; 192 are no more accurate and take longer to load
_MIN_DOCUMENT_FREQUENCY = 2  # phrasings in which a term must occur
MAX_PHRASINGS = 16_000  # trained on: memory grows with their square, to a gigabyte
_ENTRY_BALANCE = 0.8  # class weights of entries: 0 counts phrasings alike, 1 entries alike
RELABEL_MARGIN = 0.5  # by which an expansion's score must exceed the source entry's to take a phrasing over
_BLOCK_ROWS = 1000  # of the kernel matrix computed at once: bounds the temporary dense array


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrasings:
    """The training set, one row per phrasing; the rows of an item follow each other."""

    texts: Sequence[str]
    labels: Sequence[str]
    """Items and subjects."""
    entries: Sequence[str]
    """Ids; "" where the label is a subject."""
    fixed_label: Sequence[bool]
    """False where the phrasing's entry has expansions, one of which may answer it better (see `_train_items`)."""
    vectors: Vectors
    """(phrasings, d), unit vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOneOut:
    """Leave-one-out predictions of the trained model, in closed form. A row is one phrasing."""

    labels: NDArray[Any]
    """The columns of `scores`."""
    true_labels: NDArray[Any]
    scores: Floats
    """(phrasings, labels); probabilities are the softmax of these times `inverse_temperature`."""
    inverse_temperature: float
    target_entries: NDArray[Any]
    """The entry that each phrasing was trained towards; "" where its label is a subject."""
    predicted_entries: NDArray[Any]
    """The best entry of the phrasing's item; "" where its label is a subject."""


def train(data: Phrasings) -> Classifier:
    """One model for the labels (items and subjects), and one per item for its entries."""
    return _fit(data)[0]


def leave_one_out(data: Phrasings) -> LeaveOneOut:
    """Leave-one-out predictions of the model that `train` returns for the same data."""
    return _fit(data)[1]


def _fit(data: Phrasings) -> tuple[Classifier, LeaveOneOut]:
    sample = np.unique(np.linspace(0, len(data.texts) - 1, min(MAX_PHRASINGS, len(data.texts))).astype(int))
    texts, vectors = [data.texts[row] for row in sample], data.vectors[sample]
    true_labels, entries = np.array(data.labels)[sample], np.array(data.entries)[sample]
    term_ids, idf, tfidf = _tfidf(texts)
    axes = _principal_axes(vectors)
    projected = np.ascontiguousarray(vectors @ axes)
    kernel = _kernel(tfidf, projected)
    items, target_entries = _train_items(kernel, true_labels, entries, np.array(data.fixed_label)[sample])

    labels = np.unique(true_labels)
    # Overwrites the kernel, which is not needed any more.
    label_dual, scores = _ridge(kernel, _signs(true_labels, labels), _sample_weights(true_labels, 1.0))
    inverse_temperature = _fit_inverse_temperature(scores, np.searchsorted(labels, true_labels))
    entry_dual = np.zeros((len(sample), max(len(item.entries) for item in items)), dtype=np.float32)
    columns = [label_dual]  # then those of each item's entries, with zeros in the rows of all other phrasings
    predicted_entries = entries.copy()
    for item in items:
        entry_dual[item.rows, : len(item.entries)] = item.dual
        item_columns = np.zeros((len(sample), len(item.entries)), dtype=np.float32)
        item_columns[item.rows] = item.dual
        columns.append(item_columns)
        predicted_entries[item.rows] = np.array(item.entries)[item.scores.argmax(axis=1)]
    dual = np.concatenate(columns, axis=1)
    classifier = Classifier(
        labels=tuple(labels.tolist()),
        entries=tuple(entry for item in items for entry in item.entries),
        entry_items=tuple(item.label for item in items for _ in item.entries),
        term_ids=term_ids,
        idf=idf,
        term_weights=(_TERM_WEIGHT * (tfidf.T @ dual)).astype(np.float16),
        axes=axes,
        phrasing_vectors=projected,
        label_dual=np.ascontiguousarray(label_dual),
        entry_dual=entry_dual,
        item_spans=np.array([(item.rows[0], item.rows[-1]) for item in items]),
        bias=dual.sum(axis=0),
        inverse_temperature=np.array([inverse_temperature, _fit_entry_inverse_temperature(items)], dtype=np.float32),
    )
    return classifier, LeaveOneOut(
        labels=labels,
        true_labels=true_labels,
        scores=scores,
        inverse_temperature=inverse_temperature,
        target_entries=target_entries,
        predicted_entries=predicted_entries,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _ItemModel:
    """The model of one item's entries."""

    label: str
    rows: NDArray[np.intp]
    """The rows of its phrasings in the training set."""
    entries: list[str]
    targets: NDArray[np.intp]
    """(rows,): indices into `entries`."""
    dual: Floats
    """(rows, entries): dual weights."""
    scores: Floats
    """(rows, entries): leave-one-out scores."""


def _train_items(
    kernel: Floats, labels: NDArray[Any], owners: NDArray[Any], fixed: NDArray[np.bool_]
) -> tuple[list[_ItemModel], NDArray[Any]]:
    """A model per item, and the entry that each phrasing was trained towards.

    The phrasings of source entries were written before there were expansions, and many ask just what an expansion
    answers. So each model is trained twice: phrasings that the first one, leaving them out, clearly gives to another
    entry are relabelled for the second.
    """
    target_entries = owners.copy()
    items = []
    for label in np.unique(labels[owners != ""]):
        rows = np.flatnonzero(labels == label)
        entries = np.unique(owners[rows])
        item_kernel = kernel[np.ix_(rows, rows)]
        for is_final in (False, True):
            dual, scores = _ridge(
                item_kernel.copy(),
                _signs(target_entries[rows], entries),
                _sample_weights(target_entries[rows], _ENTRY_BALANCE),
            )
            targets = np.searchsorted(entries, target_entries[rows])
            if not is_final:
                margin = scores.max(axis=1) - scores[np.arange(len(rows)), targets]
                relabelled = (margin > RELABEL_MARGIN) & ~fixed[rows]
                target_entries[rows[relabelled]] = entries[scores.argmax(axis=1)[relabelled]]
        items.append(
            _ItemModel(label=label, rows=rows, entries=entries.tolist(), targets=targets, dual=dual, scores=scores)
        )
    return items, target_entries


def _ridge(kernel: Floats, targets: Floats, weights: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Dual weights and leave-one-out scores, both (n, classes) as the targets. Overwrites the kernel, (n, n).

    With C = K + alpha / weights, the dual weights are a = C⁻¹ y and the leave-one-out scores y - a / diag C⁻¹. Raises
    ArithmeticError if C is not positive definite.
    """
    from scipy.linalg.lapack import spotrf, spotri, spotrs  # type: ignore[import-untyped]

    kernel[np.diag_indices(len(kernel))] += (RIDGE_ALPHA / weights).astype(np.float32)
    factor, failed = spotrf(kernel.T, lower=1, overwrite_a=1)  # symmetric: its transpose is in LAPACK's order
    if failed:
        raise ArithmeticError(f"the kernel of the phrasings is not positive definite at row {failed}")
    dual, _ = spotrs(factor, targets, lower=1)
    inverse, _ = spotri(factor, lower=1, overwrite_c=1)
    return dual, targets - dual / np.diag(inverse)[:, None]


def _signs(labels: NDArray[Any], classes: NDArray[Any]) -> Floats:
    """(n, classes): 1 where the label is the class, else -1."""
    return np.where(labels[:, None] == classes[None, :], 1, -1).astype(np.float32)


def _sample_weights(labels: NDArray[Any], balance: float) -> NDArray[np.float64]:
    """(n,), with mean 1: proportional to (phrasings of the label) ** -balance; 1 makes all labels count the same."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = counts[inverse].astype(np.float64) ** -balance
    weights *= len(weights) / weights.sum()
    return weights


def _tfidf(texts: Sequence[str]) -> tuple[NDArray[np.uint32], Floats, Any]:
    """The sorted ids of the vocabulary, its idf, and tf-idf as a sparse (texts, terms) matrix of unit rows."""
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

    term_vectors = [tf_vector(text)[1:] for text in texts]
    vocabulary, occurrences = np.unique(np.concatenate([ids for ids, _ in term_vectors]), return_counts=True)
    frequent = occurrences >= _MIN_DOCUMENT_FREQUENCY
    vocabulary, occurrences = vocabulary[frequent], occurrences[frequent]
    idf = (np.log((1 + len(texts)) / (1 + occurrences)) + 1).astype(np.float32)
    columns, values, starts = [], [], [0]
    for ids, frequencies in term_vectors:
        positions = np.minimum(np.searchsorted(vocabulary, ids), len(vocabulary) - 1)
        known = vocabulary[positions] == ids
        tfidf = idf[positions[known]] * frequencies[known]
        columns.append(positions[known])
        values.append(tfidf / max(float(np.linalg.norm(tfidf)), 1e-9))
        starts.append(starts[-1] + len(tfidf))
    shape = (len(texts), len(vocabulary))
    return vocabulary, idf, csr_matrix((np.concatenate(values), np.concatenate(columns), starts), shape=shape)


def _principal_axes(vectors: Vectors) -> Floats:
    """(d, axes): the eigenvectors of the second-moment matrix with the largest eigenvalues (uncentred PCA)."""
    second_moment = vectors.T.astype(np.float64) @ vectors / len(vectors)
    return np.ascontiguousarray(np.linalg.eigh(second_moment)[1][:, ::-1][:, :_PRINCIPAL_AXES], dtype=np.float32)


def _kernel(tfidf: Any, projected: Floats) -> Floats:
    """(n, n): weighted sum of the linear kernel of tf-idf and the Gaussian kernel of the vectors, plus 1 for a bias."""
    count = len(projected)
    kernel = np.empty((count, count), dtype=np.float32)
    for start in range(0, count, _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        kernel[rows] = (
            1 + _TERM_WEIGHT * (tfidf[rows] @ tfidf.T).toarray() + gaussian_kernel(projected[rows] @ projected.T)
        )
    return kernel


def _fit_entry_inverse_temperature(items: Sequence[_ItemModel]) -> float:
    """One for all items; fitted to those with several entries."""
    several = [item for item in items if len(item.entries) > 1]
    if not several:
        return 1.0
    width = max(len(item.entries) for item in several)
    padded = [np.pad(item.scores, ((0, 0), (0, width - len(item.entries))), constant_values=-1e3) for item in several]
    return _fit_inverse_temperature(np.concatenate(padded), np.concatenate([item.targets for item in several]))


def _fit_inverse_temperature(scores: Floats, targets: NDArray[np.intp]) -> float:
    """The factor on leave-one-out scores (n, classes) that maximises the likelihood of the class indices (n,)."""
    from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]
    from scipy.special import log_softmax  # type: ignore[import-untyped]

    rows = np.arange(len(targets))
    optimum = minimize_scalar(
        lambda log: -log_softmax(np.exp(log) * scores, axis=1)[rows, targets].mean(), bounds=(-2, 4), method="bounded"
    )
    return float(np.exp(optimum.x))
