"""Executes planned runs, and judges the claims of each on the numbers just measured."""

from collections.abc import Generator, Mapping, Sequence

from qa_service.answering.planning import PlannedRun, own_runs
from qa_service.experiments.parameters import fill_defaults
from qa_service.lab.cancellation import IsCancelled
from qa_service.lab.runner import GeneratorWithResult, QueuePosition, Runner, run_to_end
from qa_service.model import Entry, Evidence, Experiment, Params, Run, Spread, claims_not_testable, judge_claims, run_id
from qa_service.model.events import Event, EvidenceReady, Queued, RowMeasured, Started


def execute(
    runs: Sequence[PlannedRun], entry: Entry | None, runner: Runner, is_cancelled: IsCancelled, *, seed: int, seeds: int
) -> Generator[Event, None, tuple[Evidence, ...]]:
    """Yields the events of each run in turn, and returns all evidence. Each is repeated with `seeds` seeds from `seed`
    on, unless it uses no random numbers. Without an entry, the runs are of a calculation.
    """
    done: list[Evidence] = []
    for planned in runs:
        evidence = yield from _gather_evidence(planned, entry, runner, is_cancelled, seed, seeds)
        done.append(evidence)
        yield EvidenceReady(evidence)
    return tuple(done)


def execute_without_events(
    runs: Sequence[tuple[Entry, PlannedRun]], runner: Runner, is_cancelled: IsCancelled, seed: int
) -> tuple[Evidence, ...]:
    """The evidence of runs without events of their own; each comes with the entry whose claims it proves."""
    return tuple(
        run_to_end(_gather_evidence(planned, entry, runner, is_cancelled, seed, seeds=1)) for entry, planned in runs
    )


def execute_alone(
    experiment: Experiment, params: Params, seed: int, runner: Runner, is_cancelled: IsCancelled
) -> Generator[Event, None, Evidence]:
    """Runs one experiment without claims; the id of its events is its slug."""
    yield Started(experiment.slug, experiment, params, seed)
    run = yield from _stream_run(experiment.slug, experiment, params, seed, runner, is_cancelled)
    evidence = Evidence(block=experiment.slug, experiment=experiment, params=params, seed=seed, run=run)
    yield EvidenceReady(evidence)
    return evidence


def _gather_evidence(
    planned: PlannedRun, entry: Entry | None, runner: Runner, is_cancelled: IsCancelled, seed: int, seeds: int
) -> Generator[Event, None, Evidence]:
    experiment, id_ = planned.experiment, run_id(planned.block.id, planned.variant)
    yield Started(id_, experiment, planned.params, seed, planned.compared)
    run = yield from _stream_run(id_, experiment, planned.params, seed, runner, is_cancelled)
    repeated = [run]
    for other in range(seed + 1, seed + seeds):
        if run.used_rng:
            again = yield from _stream_run(id_, experiment, planned.params, other, runner, is_cancelled, rows=False)
            repeated.append(again)
        else:
            repeated.append(run)  # every seed gives the same
    return _judged(planned, entry, run, seed, repeated if seeds > 1 else ())


def cached_own_evidence(entry: Entry, experiments: Mapping[str, Experiment], runner: Runner) -> tuple[Evidence, ...]:
    """The evidence at the entry's own parameters as it was measured earlier, as far as it is kept; runs nothing."""
    return cached_evidence(own_runs(entry, experiments), entry, runner, 0)


def cached_evidence(runs: Sequence[PlannedRun], entry: Entry, runner: Runner, seed: int) -> tuple[Evidence, ...]:
    """The evidence of those runs that are kept from earlier; runs nothing."""
    found = ((each, runner.finished(each.experiment, each.params, seed)) for each in runs)
    return tuple(_judged(planned, entry, run, seed, ()) for planned, run in found if run is not None)


def _judged(planned: PlannedRun, entry: Entry | None, run: Run, seed: int, repeated: Sequence[Run]) -> Evidence:
    """The evidence of a run: the claims of its block, judged; with `repeated`, their spread over these runs."""
    block, experiment = planned.block, planned.experiment
    verdicts = judge_claims(block.claims, run)
    own_params = fill_defaults(experiment, block.params)
    return Evidence(
        block=block.id,
        experiment=experiment,
        params=planned.params,
        seed=seed,
        run=run,
        claims=block.claims,
        verdicts=verdicts,
        not_testable_here=claims_not_testable(block.claims, verdicts, params=planned.params, entry_params=own_params),
        entry=entry.id if entry else None,
        entry_hash=entry.hash if entry else None,
        entry_params=own_params,
        proves=block.proves,
        series=block.series,
        mark=block.mark,
        compared=planned.compared,
        variant=planned.variant,
        spreads=tuple(Spread.of(claim, repeated) for claim in block.claims) if repeated else (),
    )


def _stream_run(
    id_: str,
    experiment: Experiment,
    params: Params,
    seed: int,
    runner: Runner,
    is_cancelled: IsCancelled,
    *,
    rows: bool = True,
) -> Generator[Event, None, Run]:
    """Executes one run and returns it; yields `Queued` and, with `rows`, `RowMeasured` events with the id `id_`."""
    measuring = runner.stream(experiment, params, seed, is_cancelled)
    events = GeneratorWithResult(measuring)
    try:
        for event in events:
            match event:
                case QueuePosition(position):
                    yield Queued(id_, position)
                case row if rows:
                    yield RowMeasured(id_, row)
        return events.result
    finally:
        measuring.close()  # a client that disconnects ends the run and its child process
