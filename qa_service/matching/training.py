"""Phrasings with their labels → a classifier. Seconds on one core; the same input gives the same model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qa_service.embedder import Vectors
from qa_service.matching.classifier import Classifier
from qa_service.matching.terms import terms

_FOLDS = 5
_COST = 1.0  # of the support vector machines; 0.3 to 3 differ by less than the folds do
_RAREST = 2  # phrasings that a term must occur in


def train(texts: Sequence[str], labels: Sequence[str], vectors: Vectors) -> Classifier:
    """One-against-rest linear support vector machines (Fan et al. 2008, LIBLINEAR) over tf-idf terms and the vectors.

    Their scores become probabilities by one temperature, chosen on phrasings that were left out of the training.
    """
    tfidf, features = _features(texts, vectors)
    truth = np.array(labels)
    model = _fit(features, truth)
    return Classifier(
        labels=tuple(model.classes_.tolist()),
        vocabulary=tuple(tfidf.get_feature_names_out().tolist()),
        idf=tfidf.idf_.astype(np.float32),
        weights=_per_label(model.coef_.T).astype(np.float16),
        bias=_per_label(model.intercept_).astype(np.float32),
        sharpness=_sharpness(_left_out(features, truth), truth, model.classes_),
    )


def left_out_probabilities(
    texts: Sequence[str], labels: Sequence[str], vectors: Vectors
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
    """The labels, the classes, and (phrasings, classes) probabilities by models that did not see the phrasing."""
    from scipy.special import softmax  # type: ignore[import-untyped]

    truth = np.array(labels)
    classes = np.unique(truth)
    scores = _left_out(_features(texts, vectors)[1], truth)
    return truth, classes, softmax(_sharpness(scores, truth, classes) * scores, axis=1)


def _features(texts: Sequence[str], vectors: Vectors) -> tuple[Any, Any]:
    from scipy.sparse import csr_matrix, hstack  # type: ignore[import-untyped]
    from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]

    tfidf = TfidfVectorizer(analyzer=terms, sublinear_tf=True, min_df=_RAREST, dtype=np.float32)
    return tfidf, hstack([tfidf.fit_transform(texts), csr_matrix(vectors)]).tocsr()


def _left_out(features: Any, truth: NDArray[Any]) -> NDArray[np.float64]:
    """(phrasings, labels) scores, each by a model that did not see the phrasing."""
    from sklearn.model_selection import StratifiedKFold  # type: ignore[import-untyped]

    classes = np.unique(truth)
    scores = np.zeros((len(truth), len(classes)))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    for seen, unseen in folds.split(features, truth):
        scored = _fit(features[seen], truth[seen]).decision_function(features[unseen])
        scores[unseen] = _per_label(scored.reshape(len(unseen), -1))
    return scores


def _fit(features: Any, truth: NDArray[Any]) -> Any:
    from sklearn.svm import LinearSVC  # type: ignore[import-untyped]

    # balanced: how many phrasings we happen to have of a label says nothing about how often it is asked
    return LinearSVC(C=_COST, class_weight="balanced", random_state=0).fit(features, truth)


def _per_label(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """One column per label; of two labels LIBLINEAR gives the second's alone, the first's is its opposite."""
    return np.concatenate([-columns, columns], axis=-1) if columns.shape[-1] == 1 else columns


def _sharpness(scores: NDArray[np.float64], truth: NDArray[Any], classes: NDArray[Any]) -> float:
    """The factor on the scores under which what was left out is most probable."""
    from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]
    from scipy.special import log_softmax

    right = np.searchsorted(classes, truth)
    rows = np.arange(len(truth))
    found = minimize_scalar(
        lambda log: -log_softmax(np.exp(log) * scores, axis=1)[rows, right].mean(), bounds=(-2, 4), method="bounded"
    )
    return float(np.exp(found.x))
