"""Counters, histograms and gauges for Prometheus, of one process or of several workers together.

Several workers store their values in files of one folder (prometheus_client's multiprocess mode), and each of them can
report the sums. Counters of a worker that has ended are still counted, its gauges are not.
"""

import os
import threading
from contextlib import AbstractContextManager, ExitStack, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from qa_service import __version__
from qa_service.answering.service import Service
from qa_service.model.events import Done, Event, EvidenceReady
from qa_service.telemetry.timing import Stage

_CONFIDENCE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SAMPLE_SECONDS = 1.0  # between two samples of a worker's gauges


class Metrics:
    """A context manager that counts a service's events and timings.

    `folder` holds the values of all workers; None for a single process.
    """

    def __init__(self, service: Service, folder: Path | None = None) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._service = service
        self._folder = folder
        self._exit = ExitStack()
        self._closed = threading.Event()
        self._registry = here = CollectorRegistry()
        self._questions = Counter(
            "numstab_questions", "Questions answered; no entry where none answered", ["status", "entry"], registry=here
        )
        self._confidence = Histogram("numstab_confidence", "Confidence of answers", buckets=_CONFIDENCE, registry=here)
        self._stages = Histogram(
            "numstab_stage_seconds",
            "Time until the text (matching is a part of it), in the queue, of a run",
            ["stage"],
            buckets=_SECONDS,
            registry=here,
        )
        self._runs = Counter(
            "numstab_runs", "Experiments run, by how they ended", ["experiment", "status"], registry=here
        )
        self._cached = Counter("numstab_cache_hits", "Runs taken from the cache", registry=here)
        self._requests = Counter(
            "numstab_requests",
            "Requests; status 0 where the client disconnected first",
            ["method", "route", "status"],
            registry=here,
        )
        self._store = Counter("numstab_store_failures", "Failed operations of the store", registry=here)
        self._sharing = Counter(
            "numstab_sharing_failures",
            "Failed calls of the server of NUMSTAB_SHARED, for rates or for runs",
            ["use"],
            registry=here,
        )
        self._reloads = Counter("numstab_reloads", "Reloads of kb and demos, by outcome", ["outcome"], registry=here)
        self._stale_workers = Gauge(
            "numstab_reload_broken",
            "Workers that serve an older snapshot, as kb or demos are invalid",
            registry=here,
            multiprocess_mode="livesum",
        )
        self._queue = Gauge(
            "numstab_queue_length", "Runs that wait for a slot", registry=here, multiprocess_mode="livesum"
        )
        self._idle = Gauge(
            "numstab_children_idle", "Child processes that wait for a run", registry=here, multiprocess_mode="livesum"
        )
        about = Gauge("numstab_build_info", "Versions", ["version", "torch"], registry=here, multiprocess_mode="max")
        about.labels(__version__, _torch()).set(1)

    def __enter__(self) -> Self:
        self._exit.callback(self._service.subscribe(self._count))
        self._exit.callback(self._service.timings.subscribe(self._time))
        if self._folder is not None:
            sampling = threading.Thread(target=self._keep_sampling, daemon=True, name="sampling")
            sampling.start()
            self._exit.callback(sampling.join)
            self._exit.callback(self._closed.set)
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def text(self) -> tuple[bytes, str]:
        """All metrics in Prometheus' text format, and its media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

        self._sample()
        registry = self._registry
        if self._folder is not None:
            for pid in {path.stem.rpartition("_")[2] for path in self._folder.glob("gauge_live*.db")}:
                if not _alive(int(pid)):
                    mark_process_dead(int(pid), str(self._folder))  # type: ignore[no-untyped-call]
            registry = CollectorRegistry()
            MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST

    def request(self, method: str, route: str, status: int) -> None:
        """Counts a request."""
        self._requests.labels(method, route, str(status)).inc()

    def store_failed(self) -> None:
        """Counts a failed operation of the store."""
        self._store.inc()

    def sharing_failed(self, use: str) -> None:
        """Counts a failed call of the server that services share; `use` is "rates" or "runs"."""
        self._sharing.labels(use).inc()

    def reloaded(self, *, succeeded: bool) -> None:
        """Counts a reload; if it did not succeed, this worker keeps the older snapshot."""
        self._reloads.labels("renewed" if succeeded else "refused").inc()
        self._stale_workers.set(0 if succeeded else 1)

    def _count(self, event: Event) -> None:
        if isinstance(event, Done):
            answer = event.answer
            self._questions.labels(answer.status.value, answer.entry.id if answer.entry else "").inc()
            self._confidence.observe(answer.confidence)
        elif isinstance(event, EvidenceReady):
            run = event.evidence.run
            if run.cached:
                self._cached.inc()
            else:
                self._runs.labels(event.evidence.experiment.slug, run.status.value).inc()

    def _time(self, stage: Stage) -> AbstractContextManager[Any]:
        return self._stages.labels(stage).time()

    def _sample(self) -> None:
        """Sets the gauges, whose values no event reports."""
        self._queue.set(self._service.runner.waiting)
        self._idle.set(self._service.runner.ready)

    def _keep_sampling(self) -> None:
        self._sample()
        while not self._closed.wait(_SAMPLE_SECONDS):
            self._sample()


def _torch() -> str:
    with suppress(PackageNotFoundError):
        return version("torch")
    return "none"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
