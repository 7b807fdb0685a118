"""A lab with the experiments of one reading of demos/: what is asked with these is run with these."""

from collections.abc import Mapping

from qa_service.lab.delegate import Around
from qa_service.lab.runner import Runner
from qa_service.model import Experiment


class Stocked(Around):
    """The same children, line and memory as `runner`, other experiments."""

    def __init__(self, runner: Runner, experiments: Mapping[str, Experiment]) -> None:
        super().__init__(runner)
        self._experiments = experiments

    @property
    def experiments(self) -> Mapping[str, Experiment]:
        """Slug → experiment."""
        return self._experiments
