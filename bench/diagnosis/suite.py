"""The suite: every fault in every family that it applies to, the healthy grid and the traps, trained once and kept."""

import dataclasses
import importlib
import math
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bench.diagnosis.faults import FAULTS, Fault
from bench.diagnosis.healthy import TRAPS, Trap, grid
from bench.diagnosis.more_families import family_of, fault_applies
from bench.diagnosis.runs import RecordedRun, default_setup, fingerprint, read_runs, train, write_runs
from qa_service.settings import Settings

MIN_HARMFUL_LOSS, MAX_HARMLESS_LOSS = 0.5, 0.15
"""Shares of what the sound run learns: a run that lacks the first or more is harmed, one that lacks less than the
second is not.
"""
MIN_HARMFUL_SKIPPED = 0.3
"""The share of skipped updates from which on skipping counts as harm by itself."""

MEASURED_EVERY = 5
"""Steps between two measurements of parameters by the recorder: these runs are short, and its budget is of time."""

WatchFactory = Callable[[Any, Any, Any], Any]
"""(model, optimizer, scaler) → an open recorder with a `path` and a `close`."""


class MeasuredHarm(NamedTuple):
    """How much worse a faulty run is than the sound one."""

    lost: float
    """0: nothing, 1: all that the sound run learned; inf if the loss is not finite."""
    nonfinite: bool
    """Whether it printed a loss that is not finite, of a step that was not skipped."""
    skipped: float

    @property
    def harmful(self) -> bool:
        return self.nonfinite or self.lost >= MIN_HARMFUL_LOSS or self.skipped > MIN_HARMFUL_SKIPPED

    @property
    def harmless(self) -> bool:
        return not self.nonfinite and self.lost < MAX_HARMLESS_LOSS and self.skipped < MAX_HARMLESS_LOSS


def measure_harm(run: RecordedRun, sound: RecordedRun) -> MeasuredHarm:
    """How much worse `run` is than the sound run of the same family and seed."""
    first, last = sound.learned
    after = run.learned[1]
    lost = (after - last) / (first - last) if math.isfinite(after) else math.inf
    nonfinite = any(
        not math.isfinite(loss) and not skipped for loss, skipped in zip(run.loss, run.skipped, strict=True)
    )
    return MeasuredHarm(lost, nonfinite, sum(run.skipped) / len(run.skipped))


def is_healthy_run(run: RecordedRun, below: float) -> bool:
    """Whether a run without a fault is healthy: it learned, and printed no loss that is not finite."""
    verdict = measure_harm(run, run)
    return not verdict.nonfinite and run.learned[1] < below * run.learned[0] and verdict.skipped < MIN_HARMFUL_SKIPPED


def make_family(name: str, seed: int, watch: WatchFactory | None = None) -> Iterator[RecordedRun]:
    """The runs of a family that meet the criteria of the suite: harmful faults, harmless ones, and the healthy grid."""
    family = family_of(name)
    sound, _ = train(default_setup(family, seed))
    for fault in FAULTS:
        if fault_applies(fault, name):
            yield from _faulty(fault, name, seed, sound, watch)
    for cell, setup in grid(family, seed):
        run, observer = train(setup, watch=watch)
        if is_healthy_run(run, family.learns_by):
            yield _named(run, observer, cell, "", "healthy")


def _faulty(
    fault: Fault, name: str, seed: int, sound: RecordedRun, watch: WatchFactory | None
) -> Iterator[RecordedRun]:  # fmt: skip
    setup = default_setup(family_of(name), seed)
    fault.apply(setup)
    run, observer = train(setup, watch=watch)
    verdict = measure_harm(run, sound)
    if verdict.harmful:
        if fault.cured is not None:
            setup = default_setup(family_of(name), seed)
            fault.cured(setup)
            cured = measure_harm(train(setup)[0], sound)
            if cured.harmful:
                return
        yield _named(run, observer, fault.id, fault.cause, "faulty", sorted(fault.also))
    elif verdict.harmless:
        yield _named(run, observer, fault.id, fault.cause, "harmless", sorted(fault.also))


def make_traps(seed: int, traps: Iterable[Trap] = TRAPS, watch: WatchFactory | None = None) -> Iterator[RecordedRun]:
    """The traps that are healthy at this seed."""
    for trap in traps:
        setup = trap.make(seed)
        run, observer = train(setup, watch=watch)
        if trap.rises or is_healthy_run(run, setup.family.learns_by):
            yield _named(run, observer, trap.id, "", "trap")


def _named(
    run: RecordedRun, observer: Any, fault: str, cause: str, group: Any, also: Sequence[str] = ()
) -> RecordedRun:  # fmt: skip
    trace = str(observer.path) if observer is not None else ""
    id_ = f"{run.family}/{fault}/{run.seed}"
    return dataclasses.replace(run, id=id_, fault=fault, cause=cause, group=group, also=list(also), trace=trace)


def suite_folder(*, traced: bool = False) -> Path:
    """The folder of the runs that this version of the code made; with `traced`, of those made with a recorder."""
    return Settings.from_env(os.environ).cache / "diagnosis-bench" / (fingerprint() + ("-traced" if traced else ""))


def recorder_factory(folder: str) -> WatchFactory:
    """A function that records a run with the package numstab_watch in `folder`, into the suite's folder."""
    sys.path.insert(0, folder)
    watch = importlib.import_module("numstab_watch").watch
    traces = suite_folder(traced=True) / "traces"
    traces.mkdir(parents=True, exist_ok=True)

    def observe(model: Any, optimizer: Any, scaler: Any) -> Any:
        path = traces / f"{uuid.uuid4().hex}.jsonl.gz"
        return watch(model, optimizer, scaler=scaler, path=str(path), every=MEASURED_EVERY)

    return observe


def load_suite(families: Sequence[str], seeds: int, watch: WatchFactory | None = None) -> list[RecordedRun]:
    """The runs of these families, and the traps; what is not there yet is trained, with a line for each file."""
    torch.set_num_threads(1)
    runs: list[RecordedRun] = []
    for seed in range(seeds):
        for name in (*families, "traps"):
            path = suite_folder(traced=watch is not None) / f"{name}-{seed}.jsonl.gz"
            if not path.exists():
                started = time.perf_counter()
                made = list(make_traps(seed, watch=watch) if name == "traps" else make_family(name, seed, watch))
                write_runs(path, made)
                print(f"{path.name}: {len(made)} runs, {time.perf_counter() - started:.0f} s", flush=True)
            runs += read_runs(path)
    return runs
