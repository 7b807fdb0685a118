"""Trains the classifier from labelled phrasings: half a minute for 10,000. Deterministic.

One-vs-rest kernel ridge regression on targets ±1 (Rifkin & Klautau 2004, In defense of one-vs-all classification). Its
leave-one-out scores have a closed form, so it is calibrated without being trained again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qa_service.retrieval.classifier import PROSE_FACTOR, Classifier, gaussian_kernel, ranked_softmax
from qa_service.retrieval.embedder import Vectors
from qa_service.retrieval.features import TermCounts

Floats = NDArray[np.float32]

RIDGE_ALPHA = 0.1  # regularisation; from 0.03 to 0.3 the accuracy differs by less than chance
_TERM_WEIGHT = 0.5  # of the tf-idf kernel beside the Gaussian kernel, which has weight 1
_PRINCIPAL_AXES = 128  # of 512: four fifths of the variance; 192 are no more accurate and take longer to load
_MIN_DOCUMENT_FREQUENCY = 2  # phrasings in which a term must occur
MAX_PHRASINGS = 28_000  # trained on: memory grows with their square, to five gigabytes
_BALANCE = 0.5  # class weights: 0 counts phrasings alike, 1 classes alike
RELABEL_MARGIN = 0.25  # by which another entry's score must exceed the source entry's to take a phrasing over
_SHRINKAGE = 1e-4  # of the factors of ranks, whose likelihood has no maximum where the ranks tell all entries apart
_BLOCK_ROWS = 1000  # of the kernel matrix computed at once: bounds the temporary dense array


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrasings:
    """The training set, one row per phrasing."""

    texts: Sequence[str]
    signs: Sequence[Sequence[str]]
    """Observed in each text, such as "what:nan"."""
    classes: Sequence[str]
    """Ids of entries, labels of subjects."""
    groups: Sequence[str]
    """Items of entries; a subject is its own group."""
    movable: Sequence[bool]
    """Whether another entry may take the phrasing over (see `_relabel`)."""
    vectors: Vectors
    """(phrasings, d), unit vectors."""
    questions: Sequence[bool] = ()
    """Whether it is an entry's own question, which is trained on whatever their number; empty where none is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOneOut:
    """Leave-one-out predictions of the trained model, in closed form. A row is one phrasing."""

    classes: NDArray[Any]
    """The columns of `probabilities`, sorted."""
    groups: NDArray[Any]
    """The group of each class."""
    owners: NDArray[Any]
    """The class of each phrasing."""
    targets: NDArray[Any]
    """The class that each phrasing was trained towards."""
    probabilities: Floats
    """(phrasings, classes)."""


def train_classifier(data: Phrasings) -> Classifier:
    """The classifier of all entries and subjects, trained against each other."""
    return _fit(data)[0]


def leave_one_out(data: Phrasings, prose: Floats | None = None) -> LeaveOneOut:
    """Leave-one-out predictions of the model that `train_classifier` returns for the same data.

    `prose`, (phrasings, entries), are the full-text scores of the entries' prose, in alphabetical order of their ids.
    """
    return _fit(data, prose)[1]


def _fit(data: Phrasings, prose: Floats | None = None) -> tuple[Classifier, LeaveOneOut]:
    sample = _sample(data)
    counts, vectors = [TermCounts.of(data.texts[row], data.signs[row]) for row in sample], data.vectors[sample]
    owners = np.array(data.classes)[sample]
    classes, rows = np.unique(owners, return_index=True)
    groups = np.array(data.groups)[sample[rows]]
    term_ids, idf, tfidf = _tfidf(counts)
    axes = _principal_axes(vectors)
    projected = np.ascontiguousarray(vectors @ axes)

    ridge = _Ridge(_kernel(tfidf, projected), _sample_weights(owners))
    is_entry = groups != classes
    movable = np.array(data.movable)[sample]
    targets = _relabel(owners, classes, ridge.solve(_signs(owners, classes))[1], is_entry, movable)
    target_groups = groups[np.searchsorted(classes, targets)]
    class_dual, class_scores = ridge.solve(_signs(targets, classes))
    group_dual, group_scores = ridge.solve(_signs(target_groups, groups))
    columns = np.searchsorted(classes, targets)
    scales = _fit_scales(_features(class_scores, group_scores, is_entry), columns, is_entry)
    dual = np.tensordot(scales, _features(class_dual, group_dual, is_entry), 1)
    logits = np.tensordot(scales, _features(class_scores, group_scores, is_entry), 1)

    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], classes)
    rank_scores = np.stack([logits, _nearest_left_out(projected, order, starts)])[:, :, is_entry]
    rank_factors = _fit_rank_factors(rank_scores, columns, is_entry)
    ranks = np.tensordot(rank_factors, rank_scores, 1) + (0 if prose is None else PROSE_FACTOR * prose[sample])
    classifier = Classifier(
        classes=tuple(classes.tolist()),
        is_entry=is_entry,
        rank_factors=rank_factors,
        term_ids=term_ids,
        idf=idf,
        term_weights=(_TERM_WEIGHT * (tfidf.T @ dual)).astype(np.float16),
        axes=axes,
        phrasing_vectors=projected[order],
        class_starts=starts,
        dual=dual[order],
        bias=dual.sum(axis=0),
    )
    return classifier, LeaveOneOut(
        classes=classes,
        groups=groups,
        owners=owners,
        targets=targets,
        probabilities=ranked_softmax(logits, ranks, is_entry),
    )


def _sample(data: Phrasings) -> NDArray[np.intp]:
    """The rows that are trained on, at most MAX_PHRASINGS: all of subjects, the questions and an even part of entries'.

    Phrasings of an entry resemble each other, those of a subject do not: each that is left out is answered by mistake.
    """
    whole = np.array(data.classes) == np.array(data.groups)
    if data.questions:
        whole |= np.array(data.questions)
    rows = np.flatnonzero(~whole)
    room = min(max(MAX_PHRASINGS - int(whole.sum()), 0), len(rows))
    even = rows[np.linspace(0, len(rows) - 1, room).astype(int)]
    return np.sort(np.concatenate([np.flatnonzero(whole), even]))


class _Ridge:
    """Kernel ridge regression of any targets on one weighted kernel, which is factorised once.

    With C = K + alpha / weights, the dual weights are a = C⁻¹ y and the leave-one-out scores y - a / diag C⁻¹.
    """

    def __init__(self, kernel: Floats, weights: NDArray[np.float64]) -> None:
        """Overwrites the kernel, (n, n). Raises ArithmeticError if C is not positive definite."""
        kernel[np.diag_indices(len(kernel))] += (RIDGE_ALPHA / weights).astype(np.float32)
        _factorise(kernel)
        self._factor = kernel
        self._inverse_diagonal = _inverse_diagonal(self._factor)[:, None]

    def solve(self, targets: Floats) -> tuple[Floats, Floats]:
        """Dual weights and leave-one-out scores, both (n, columns) as the targets."""
        from scipy.linalg.lapack import spotrs  # type: ignore[import-untyped]

        dual, _ = spotrs(self._factor.T, targets)  # LAPACK's order is by columns, in which it is Lᵀ
        return dual, targets - dual / self._inverse_diagonal


def _factorise(matrix: Floats) -> None:
    """Replaces the lower triangle of a symmetric matrix, (n, n), by its Cholesky factor L: the matrix is L Lᵀ.

    A block of columns at a time. LAPACK's spotrf of all of it ends the process (OpenBLAS, two threads, n = 27,000).
    Raises ArithmeticError if the matrix is not positive definite.
    """
    from scipy.linalg.lapack import spotrf, strtri

    for start in range(0, len(matrix), _BLOCK_ROWS):
        own, below = slice(start, start + _BLOCK_ROWS), slice(start + _BLOCK_ROWS, None)
        matrix[start:, own] -= matrix[start:, :start] @ matrix[own, :start].T
        matrix[own, own], failed = spotrf(matrix[own, own], lower=1)
        if failed:
            raise ArithmeticError(f"the kernel of the phrasings is not positive definite at row {start + failed}")
        matrix[below, own] = matrix[below, own] @ strtri(matrix[own, own], lower=1)[0].T


def _inverse_diagonal(factor: Floats) -> Floats:
    """(n,): the diagonal of (L Lᵀ)⁻¹, the squared lengths of the columns of L⁻¹; L, (n, n), is lower triangular.

    A block of columns at a time, as all of L⁻¹ would take as much memory as L.
    """
    from scipy.linalg.lapack import strtri

    blocks = [slice(start, min(start + _BLOCK_ROWS, len(factor))) for start in range(0, len(factor), _BLOCK_ROWS)]
    inverses = [strtri(factor[block, block], lower=1)[0] for block in blocks]  # of the blocks on the diagonal
    diagonal = np.empty(len(factor), dtype=np.float32)
    for nth, own in enumerate(blocks):
        columns = np.zeros((len(factor) - own.start, own.stop - own.start), dtype=np.float32)
        columns[: own.stop - own.start] = inverses[nth]
        for block, inverse in zip(blocks[nth + 1 :], inverses[nth + 1 :], strict=True):
            above = columns[: block.start - own.start]
            columns[block.start - own.start : block.stop - own.start] = -inverse @ (
                factor[block, own.start : block.start] @ above
            )
        diagonal[own] = np.einsum("ij,ij->j", columns, columns)
    return diagonal


def _relabel(
    owners: NDArray[Any],
    classes: NDArray[Any],
    scores: Floats,
    is_entry: NDArray[np.bool_],
    movable: NDArray[np.bool_],
) -> NDArray[Any]:
    """The class that each phrasing is trained towards.

    Some phrasings of source entries ask just what another entry answers. Those that a model, leaving them out, clearly
    gives to that entry are taken over by it; `scores` are the leave-one-out scores, (phrasings, classes).
    """
    own = scores[np.arange(len(owners)), np.searchsorted(classes, owners)]
    of_entries = np.where(is_entry, scores, -np.inf)
    taken = movable & (of_entries.max(axis=1) - own > RELABEL_MARGIN)
    targets: NDArray[Any] = np.where(taken, classes[of_entries.argmax(axis=1)], owners)
    return targets


def _features(class_values: Floats, group_values: Floats, is_entry: NDArray[np.bool_]) -> Floats:
    """(3, n, classes): of an entry its own value and that of its item, of a subject its own; zeros elsewhere."""
    return np.stack([class_values * is_entry, group_values * is_entry, class_values * ~is_entry])


def _fit_scales(features: Floats, targets: NDArray[np.intp], is_entry: NDArray[np.bool_]) -> Floats:
    """(3,): the factors of the features whose sum, as logits, makes the class indices (n,) likeliest.

    Multinomial logistic regression on leave-one-out scores, (3, n, classes), that is temperature scaling (Guo et al.,
    arXiv 1706.04599) with three temperatures. Entries count alike, whatever the number of their phrasings.
    """
    weights = _balanced(targets)
    weights[is_entry[targets]] *= is_entry[targets].mean() / weights[is_entry[targets]].sum()
    weights[~is_entry[targets]] *= (~is_entry[targets]).mean() / max(weights[~is_entry[targets]].sum(), 1e-9)
    return _likeliest_factors(features, targets, weights)


def _fit_rank_factors(rank_scores: Floats, targets: NDArray[np.intp], is_entry: NDArray[np.bool_]) -> Floats:
    """(2,): the factors whose sum of scores, (2, n, entries), best tells the right entry from the others.

    Of n phrasings, those of entries are used; `targets`, (n,), are class indices. Entries count alike.
    """
    of_entries = is_entry[targets]
    entries = (np.cumsum(is_entry) - 1)[targets[of_entries]]
    return _likeliest_factors(rank_scores[:, of_entries], entries, _balanced(entries), _SHRINKAGE)


def _likeliest_factors(
    features: Floats, targets: NDArray[np.intp], weights: NDArray[np.float64], shrinkage: float = 0.0
) -> Floats:
    """(k,): the factors ≥ 0 of k features, (k, n, columns), whose sum makes the columns `targets`, (n,), likeliest.

    Multinomial logistic regression on the sum as logits, with weights of shape (n,), which sum to 1.
    """
    from scipy.optimize import minimize  # type: ignore[import-untyped]
    from scipy.special import log_softmax  # type: ignore[import-untyped]

    rows = np.arange(len(targets))

    def loss(factors: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logs = log_softmax(np.tensordot(factors.astype(np.float32), features, 1), axis=1)
        excess = np.exp(logs)
        excess[rows, targets] -= 1
        excess *= weights[:, None]
        slopes = np.einsum("nc,fnc->f", excess, features).astype(np.float64) + 2 * shrinkage * factors
        return -float(weights @ logs[rows, targets]) + shrinkage * float(factors @ factors), slopes

    start = np.full(len(features), 5.0)
    optimum = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(features))
    return np.asarray(optimum.x, dtype=np.float32)


def _nearest_left_out(projected: Floats, order: NDArray[np.intp], starts: NDArray[np.intp]) -> Floats:
    """(n, classes): the cosine similarity of each phrasing to the nearest other phrasing of each class.

    `order` sorts the phrasings by class, of which `starts` are the first.
    """
    nearest = []
    for start in range(0, len(projected), _BLOCK_ROWS):
        cosines = projected[start : start + _BLOCK_ROWS] @ projected.T
        here = np.arange(len(cosines))
        cosines[here, start + here] = -1
        nearest.append(np.maximum.reduceat(cosines[:, order], starts, axis=1))
    return np.concatenate(nearest)


def _balanced(targets: NDArray[np.intp]) -> NDArray[np.float64]:
    """(n,): weights that sum to 1, and to the same for each class."""
    weights: NDArray[np.float64] = 1.0 / np.bincount(targets)[targets]
    weights /= weights.sum()
    return weights


def _signs(labels: NDArray[Any], classes: NDArray[Any]) -> Floats:
    """(n, classes): 1 where the label is the class, else -1."""
    return np.where(labels[:, None] == classes[None, :], 1, -1).astype(np.float32)


def _sample_weights(labels: NDArray[Any]) -> NDArray[np.float64]:
    """(n,), with mean 1: proportional to (phrasings of the label) ** -_BALANCE."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = counts[inverse].astype(np.float64) ** -_BALANCE
    weights *= len(weights) / weights.sum()
    return weights


def _tfidf(counts: Sequence[TermCounts]) -> tuple[NDArray[np.uint32], Floats, Any]:
    """The sorted ids of the vocabulary, its idf, and the weights of terms as a sparse (texts, terms) matrix."""
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

    vocabulary, occurrences = np.unique(np.concatenate([each.ids for each in counts]), return_counts=True)
    frequent = occurrences >= _MIN_DOCUMENT_FREQUENCY
    vocabulary, occurrences = vocabulary[frequent], occurrences[frequent]
    idf = (np.log((1 + len(counts)) / (1 + occurrences)) + 1).astype(np.float32)
    columns, values, starts = [], [], [0]
    for each in counts:
        terms, weights = each.weigh(vocabulary, idf)
        columns.append(terms[terms >= 0])
        values.append(weights[terms >= 0])
        starts.append(starts[-1] + len(columns[-1]))
    shape = (len(counts), len(vocabulary))
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
