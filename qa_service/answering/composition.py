"""Puts a service together as the settings say: the knowledge, and the runner with what shares and keeps its runs."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from qa_service.answering.knowledge import Knowledge
from qa_service.answering.service import Service
from qa_service.lab.cluster import RayRunner
from qa_service.lab.disk_cache import RunDiskCache
from qa_service.lab.distributed_flight import DistributedRunner
from qa_service.lab.interpreter import environment_of
from qa_service.lab.runner import CLI_PRELOAD, ProcessRunner, Runner
from qa_service.lab.single_flight import SharedRunner
from qa_service.machine import Environment, environments_here
from qa_service.retrieval.embedder import load_embedder
from qa_service.settings import Settings
from qa_service.shared_state import SharedState

logger = logging.getLogger("qa_service.answering.composition")
_CONNECT_SECONDS = 60.0  # that a command waits for the cluster before it runs everything here


def build(
    settings: Settings,
    *,
    warm: tuple[str, ...] | None = CLI_PRELOAD,
    many_clients: bool = False,
    many_runs: bool = False,
) -> Service:
    """The service of these settings; raises `BadContent` for a broken library.

    The runner's fork server imports the modules in `warm` while the rest is built; with None, the first run starts it.
    With `many_clients`, idle child processes wait for work, and identical runs are shared, with other services too
    where the settings name a server for that. With this or `many_runs`, they run on the cluster of the settings.
    """
    processes = ProcessRunner(
        deadline=settings.deadline,
        memory=settings.memory,
        slots=settings.slots,
        preload=warm or CLI_PRELOAD,
        idle=settings.slots if many_clients else 0,
        confined=settings.sandbox == "required",
        python=settings.python,
    )
    if warm:
        processes.warm_up()
    runner: Runner = processes
    environments: Callable[[], Sequence[Environment]] = environments_here
    if settings.python and many_clients:
        environments = partial(list, [environment_of(settings.python)])
    if settings.cluster and (many_clients or many_runs):
        runner = cluster = RayRunner.connect(processes, settings.cluster)
        environments = cluster.environments
    knowledge = Knowledge.read(settings, load_embedder(settings.encoder, settings.cache))
    shared_runs = None
    if many_clients:
        threadpool_limits(1)  # questions run in parallel already: more BLAS threads make a match three times as slow
        if settings.shared:
            shared_runs = SharedState(settings.shared)
            runner = DistributedRunner(runner, shared_runs, environments)
        runner = SharedRunner(
            runner,
            disk_cache=RunDiskCache.of(settings.cache, settings.runs_on_disk, environments),
            max_in_progress=2 * settings.queue + settings.slots,  # more than are admitted, as several may be at once
        )
    elif isinstance(runner, RayRunner) and not runner.wait_until_connected(_CONNECT_SECONDS):
        logger.warning("the cluster at %s is out of reach: the experiments run here", settings.cluster)
    return Service(knowledge, runner, threshold=settings.threshold, queue=settings.queue, shared_runs=shared_runs)
