"""A node of the cluster: runs the jobs that services send, each confined and limited as on their own machine.

Jobs and messages are JSON bytes. Ray refers to the class `NodeActor` by its name, so a node runs the code of its own
installation of numstab, and the source of the experiment that is in the job.
"""

import hashlib
import json
import os
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from qa_service import __version__
from qa_service.lab.cancellation import IsCancelled
from qa_service.lab.clients import CLIENTS_OF_RUN, ClientNames
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
from qa_service.model import Experiment, FieldInfo, Params, Row, Run, RunStatus, Text
from qa_service.settings import Settings

_NO_TEXT = Text("", "")
_TRIAL = {"slug": "trial", "path": "trial.py", "source": "def run():\n    return {}\n", "metrics": []}


def encode_cluster_job(
    experiment: Experiment, params: Params, seeds: Sequence[int], deadline: float, memory: int, clients: ClientNames
) -> bytes:
    """A job for `NodeActor.stream`: with one seed its rows are sent as they come, with several only the runs.

    `deadline` in seconds, `memory` in MiB. Clients are sent as hashes, which is enough for their turns in the queue.
    """
    names = [hashlib.blake2b(name.encode(), digest_size=8).hexdigest() for name in clients]
    return json.dumps({
        "slug": experiment.slug, "path": experiment.path, "source": experiment.source,
        "metrics": list(experiment.metrics), "params": dict(params), "seeds": list(seeds), "deadline": deadline,
        "memory": memory, "clients": names,
    }).encode()  # fmt: skip


class NodeActor:
    """The actor of one machine: a runner with as many slots as the machine offers, for all services together.

    `stream` yields ["position", n], ["rows", [...]] and ["run", the JSON of a run]; nothing if it was cancelled.
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
        about = {"slots": self._runner.slots, "machine": machine_name(), "environment": environment(),
                 "numstab": __version__, "process": os.getpid()}  # fmt: skip
        return json.dumps(about).encode()

    def stream(self, job: bytes) -> Iterator[bytes]:
        """Run a job; see `encode_cluster_job`."""
        fields = json.loads(job)
        experiment = _experiment(fields)
        runner = self._runner.with_limits(fields["deadline"], fields["memory"])
        CLIENTS_OF_RUN.set(ClientNames(*fields["clients"]))
        params, seeds = fields["params"], fields["seeds"]
        if len(seeds) > 1:
            for run in runner.run_seeds(experiment, params, seeds):
                yield _message("run", run_to_json(run))
        else:
            yield from _messages(runner.stream_batches(experiment, params, seeds[0], _cancelled_by_service()))


def _messages(batches: Generator[list[Row] | QueuePosition, None, Run]) -> Iterator[bytes]:
    """The events of a run as messages; after a cancellation none."""
    events = GeneratorWithResult(batches)
    try:
        for batch in events:
            if isinstance(batch, QueuePosition):
                yield _message("position", batch.position)
            else:
                yield _message("rows", batch)
    except Cancelled:
        return
    yield _message("run", run_to_json(events.result))


def _message(kind: str, content: Any) -> bytes:
    return json.dumps([kind, content], separators=(",", ":")).encode()


def _experiment(fields: dict[str, Any]) -> Experiment:
    """As much of an experiment as a runner needs: its source and the names of its metrics."""
    field = FieldInfo(title=_NO_TEXT)
    return Experiment(
        slug=fields["slug"], path=fields["path"], file="", title=_NO_TEXT, doc="", params={}, limits=(), columns={},
        metrics=dict.fromkeys(fields["metrics"], field), words={}, chart={}, source=fields["source"], hash="",
    )  # fmt: skip


def _cancelled_by_service() -> IsCancelled:
    """Whether the service has cancelled the task that this thread executes."""
    import ray

    is_cancelled: IsCancelled = ray.get_runtime_context().is_canceled
    return is_cancelled
