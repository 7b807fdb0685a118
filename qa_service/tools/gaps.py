"""Groups unanswered questions by meaning and finds the entries nearest to each group (`numstab gaps`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qa_service.model import Match
from qa_service.parsing import normalise
from qa_service.retrieval.embedder import l2_normalise
from qa_service.retrieval.matcher import Matcher

if TYPE_CHECKING:
    from qa_service.store import StoredQuestion

MERGE_DISTANCE = 0.45  # mean cosine distance above which groups are not merged; tuned on the phrasings of entries


@dataclass(frozen=True, slots=True, kw_only=True)
class UnansweredGroup:
    """Questions of similar meaning, the most typical first, and the entries nearest to the most typical."""

    questions: "tuple[StoredQuestion, ...]"
    nearest: tuple[Match, ...]

    @property
    def most_typical(self) -> str:
        """The question nearest to the centroid of the group."""
        return self.questions[0].question


def group_unanswered(questions: "Sequence[StoredQuestion]", matcher: Matcher) -> list[UnansweredGroup]:
    """Groups by average linkage over cosine distances of the encoder's vectors; the largest group first."""
    if not questions:
        return []
    vectors = l2_normalise(matcher.embedder.encode_document([normalise(one.question) for one in questions]))
    groups = []
    for members in _cluster(vectors):
        centroid = vectors[members].mean(axis=0)
        ordered = sorted(members, key=lambda row: -float(vectors[row] @ centroid))
        group = tuple(questions[row] for row in ordered)
        nearest = matcher.match(normalise(group[0].question), 3).matches
        groups.append(UnansweredGroup(questions=group, nearest=nearest))
    return sorted(groups, key=lambda group: -len(group.questions))


def _cluster(vectors: np.ndarray) -> list[list[int]]:
    """The row numbers of each cluster of unit vectors of shape (n, d)."""
    if len(vectors) == 1:
        return [[0]]
    from sklearn.cluster import AgglomerativeClustering  # type: ignore[import-untyped]

    clustering = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="average", distance_threshold=MERGE_DISTANCE
    )
    labels = clustering.fit_predict(vectors)
    return [np.flatnonzero(labels == label).tolist() for label in range(labels.max() + 1)]
