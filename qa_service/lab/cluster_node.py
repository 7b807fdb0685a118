"""A node of the cluster: runs the jobs that services send, each confined and limited as on their own machine.

Jobs and messages are JSON bytes. Ray refers to the class `NodeActor` by its name, so a node runs the code of its own
installation of numstab, and the source of the experiment that is in the job.
"""

import os
from collections.abc import Generator, Iterator

from qa_service import __version__
from qa_service.lab.cancellation import IsCancelled
from qa_service.lab.clients import CLIENTS_OF_RUN, ClientNames
from qa_service.lab.cluster_messages import ClusterJob, NodeDescription, encode_cluster_message
from qa_service.lab.run_json import run_to_json
from qa_service.lab.runner import (
    IMPORT_TIMEOUT,
    SERVER_PRELOAD,
    Cancelled,
    GeneratorWithResult,
    ProcessRunner,
    QueuePosition,
)
from qa_service.machine import environment, machine_name
from qa_service.model import Experiment, FieldInfo, Row, Run, RunStatus, Text
from qa_service.settings import Settings

_NO_TEXT = Text("", "")
_TRIAL = ClusterJob(
    slug="trial", path="trial.py", source="def run():\n    return {}\n", metrics=[], deadline=IMPORT_TIMEOUT, memory=0
)


class NodeActor:
    """The actor of one machine: a runner with as many slots as the machine offers, for all services together.

    `stream` yields the JSON of messages; nothing more once it was cancelled.
    """

    def __init__(self, slots: int) -> None:
        """Raises RuntimeError where this machine cannot run experiments, for instance as it cannot confine them."""
        settings = Settings.from_env(os.environ)
        self._runner = ProcessRunner(
            slots=slots, preload=SERVER_PRELOAD, idle=slots, confined=settings.sandbox == "required"
        )
        self._runner.warm_up()
        trial = self._runner.with_limits(IMPORT_TIMEOUT, self._runner.memory)
        run = trial.run(_experiment(_TRIAL), {})  # so that torch is imported before the first user's run
        if run.status is not RunStatus.RAN:
            raise RuntimeError(run.note.en)

    def describe(self) -> bytes:
        """What a service must know of this machine, as JSON: slots, machine, environment, version, process id."""
        about = NodeDescription(
            slots=self._runner.slots, machine=machine_name(), environment=environment(), numstab=__version__,
            process=os.getpid(),
        )  # fmt: skip
        return about.model_dump_json().encode()

    def stream(self, job: bytes) -> Iterator[bytes]:
        """Run a job, the JSON of a `ClusterJob`; the messages are those of `JobMessage`."""
        sent = ClusterJob.model_validate_json(job)
        experiment = _experiment(sent)
        runner = self._runner.with_limits(sent.deadline, sent.memory)
        CLIENTS_OF_RUN.set(ClientNames(*sent.clients))
        if len(sent.seeds) > 1:
            for run in runner.run_seeds(experiment, sent.params, sent.seeds):
                yield encode_cluster_message(("run", run_to_json(run)))
        else:
            yield from _messages(runner.stream_batches(experiment, sent.params, sent.seeds[0], _cancelled_by_service()))


def _messages(batches: Generator[list[Row] | QueuePosition, None, Run]) -> Iterator[bytes]:
    """The events of a run as messages; after a cancellation none."""
    events = GeneratorWithResult(batches)
    try:
        for batch in events:
            if isinstance(batch, QueuePosition):
                yield encode_cluster_message(("position", batch.position))
            else:
                yield encode_cluster_message(("rows", [dict(row) for row in batch]))
    except Cancelled:
        return
    yield encode_cluster_message(("run", run_to_json(events.result)))


def _experiment(job: ClusterJob) -> Experiment:
    """As much of an experiment as a runner needs: its source and the names of its metrics."""
    field = FieldInfo(title=_NO_TEXT)
    return Experiment(
        slug=job.slug, path=job.path, file="", title=_NO_TEXT, doc="", params={}, limits=(), columns={},
        metrics=dict.fromkeys(job.metrics, field), words={}, chart={}, source=job.source, hash="",
    )  # fmt: skip


def _cancelled_by_service() -> IsCancelled:
    """Whether the service has cancelled the task that this thread executes."""
    import ray

    is_cancelled: IsCancelled = ray.get_runtime_context().is_canceled
    return is_cancelled
