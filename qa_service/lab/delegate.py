"""A runner around another one: everything as that has it, but for what a subclass does in its own way."""

from collections.abc import Callable, Generator, Mapping

from qa_service.lab.runner import QueuePosition, Runner, require_experiment
from qa_service.model import Experiment, Params, Row, Run
from qa_service.telemetry.timing import Timings


class Around:
    """Hands every call on to `runner`."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

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
    def stages(self) -> Timings:
        """Who watches how long things take."""
        return self.runner.stages

    @property
    def experiments(self) -> Mapping[str, Experiment]:
        """Slug → experiment."""
        return self.runner.experiments

    def experiment(self, slug: str) -> Experiment:
        """One experiment; raises `UnknownExperiment`."""
        return require_experiment(self.experiments, slug)

    def run(self, experiment: Experiment, params: Params, seed: int = 0) -> Run:
        """One run from beginning to end."""
        return self.runner.run(experiment, params, seed)

    def stream(
        self, experiment: Experiment, params: Params, seed: int, stopped: Callable[[], bool] = lambda: False
    ) -> Generator[Row | QueuePosition, None, Run]:
        """Its place in the line where it must wait, its rows as they are measured, the run at the end."""
        return self.runner.stream(experiment, params, seed, stopped)

    def close(self) -> None:
        """Ends the children that wait for work and the threads that keep them; the next run starts them again."""
        self.runner.close()
