"""A lab with the experiments of one reading of demos/: what is asked with these is run with these."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

from qa_service.lab import Place, Runner, known
from qa_service.model import Experiment, Params, Row, Run
from qa_service.stages import Stages


@dataclass(frozen=True, slots=True)
class Stocked:
    """The same children, line and memory as `runner`, other experiments."""

    runner: Runner
    experiments: Mapping[str, Experiment]

    @property
    def slots(self) -> int:
        """Runs at once."""
        return self.runner.slots

    @property
    def waiting(self) -> int:
        """Runs that wait for a slot."""
        return self.runner.waiting

    @property
    def ready(self) -> int:
        """Children that wait for work."""
        return self.runner.ready

    @property
    def stages(self) -> Stages:
        """Who watches how long things take."""
        return self.runner.stages

    def experiment(self, slug: str) -> Experiment:
        """One experiment; raises `UnknownExperiment`."""
        return known(self.experiments, slug)

    def run(self, experiment: Experiment, params: Params, seed: int = 0) -> Run:
        """As the runner's."""
        return self.runner.run(experiment, params, seed)

    def stream(
        self, experiment: Experiment, params: Params, seed: int, stopped: Callable[[], bool] = lambda: False
    ) -> Generator[Row | Place, None, Run]:
        """As the runner's."""
        return self.runner.stream(experiment, params, seed, stopped)
