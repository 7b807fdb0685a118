"""What readers asked and did not get: questions that were kept, grouped by meaning, with the entry nearest to each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qa_service.model import Match
from qa_service.parsing import normalise
from qa_service.retrieval.embedder import l2_normalise
from qa_service.retrieval.matcher import Matcher

if TYPE_CHECKING:
    from qa_service.store import KeptQuestion

MERGE_DISTANCE = 0.45  # mean cosine distance beyond which two groups stay two; chosen on our own phrasings of one entry


@dataclass(frozen=True, slots=True, kw_only=True)
class UnansweredGroup:
    """Questions of one meaning, the most typical first, and the entries nearest to it."""

    questions: "tuple[KeptQuestion, ...]"
    nearest: tuple[Match, ...]

    @property
    def most_typical(self) -> str:
        """The question nearest to the middle of the group."""
        return self.questions[0].question


def group_unanswered(asked: "Sequence[KeptQuestion]", matcher: Matcher) -> list[UnansweredGroup]:
    """Groups, largest first (average linkage over cosine distances of the encoder's vectors)."""
    if not asked:
        return []
    vectors = l2_normalise(matcher.embedder.encode_document([normalise(one.question) for one in asked]))
    found = []
    for members in _cluster(vectors):
        middle = vectors[members].mean(axis=0)
        ordered = sorted(members, key=lambda at: -float(vectors[at] @ middle))
        questions = tuple(asked[at] for at in ordered)
        found.append(
            UnansweredGroup(questions=questions, nearest=matcher.match(normalise(questions[0].question), 3).matches)
        )
    return sorted(found, key=lambda gap: -len(gap.questions))


def _cluster(vectors: np.ndarray) -> list[list[int]]:
    if len(vectors) == 1:
        return [[0]]
    from sklearn.cluster import AgglomerativeClustering  # type: ignore[import-untyped]

    clustering = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="average", distance_threshold=MERGE_DISTANCE
    )
    labels = clustering.fit_predict(vectors)
    return [np.flatnonzero(labels == label).tolist() for label in range(labels.max() + 1)]
