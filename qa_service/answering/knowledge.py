"""A consistent snapshot of kb/ and demos/, which an answer uses from its first event to its last."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from qa_service.experiments.spec import load_specs, require_experiment
from qa_service.knowledge.library import Library
from qa_service.model import Experiment
from qa_service.parse_cache import ParseCache
from qa_service.parsing import recall_patterns
from qa_service.retrieval.embedder import Embedder
from qa_service.retrieval.matcher import Matcher
from qa_service.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """Entries, the experiments that they name, and the matcher trained on the entries' phrasings.

    Immutable: a reload makes another one, and an answer in progress keeps its own.
    """

    library: Library
    experiments: Mapping[str, Experiment]
    matcher: Matcher

    def __post_init__(self) -> None:
        object.__setattr__(self, "experiments", MappingProxyType(dict(self.experiments)))

    @classmethod
    def read(cls, settings: Settings, embedder: Embedder) -> "Knowledge":
        """Reads the folders that the settings name; raises `BadContent` with every problem. Trains nothing yet."""
        parsed = ParseCache(settings.cache, f"{settings.kb}\0{settings.demos}")
        experiments = load_specs(settings.demos, parsed)
        library = Library.read(settings.kb, experiments, parsed)
        recall_patterns(parsed)
        parsed.save()
        return cls(library=library, experiments=experiments, matcher=_build_matcher(settings, library, embedder))

    def experiment(self, slug: str) -> Experiment:
        """One experiment; raises `UnknownExperiment`."""
        return require_experiment(self.experiments, slug)


def _build_matcher(settings: Settings, library: Library, embedder: Embedder) -> Matcher:
    """The matcher of a library. `embedder` is the one that the settings name; its name is part of the cache's keys."""
    folder = Path(settings.encoder)
    name = str(folder.resolve()) if os.sep in settings.encoder and folder.is_dir() else settings.encoder
    return Matcher(library, embedder, name=name, cache=settings.cache)
