"""Plans the runs of an answer from the parameters of the entry, the question and the request."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from qa_service.errors import BadField, BadParameter
from qa_service.experiments.parameters import clamp, fill_defaults, unknown_parameter, validate
from qa_service.model import (
    FIRST_PARTS,
    Entry,
    EvidenceBlock,
    Experiment,
    NamedValues,
    Parameter,
    Params,
    Request,
    Text,
    Value,
)
from qa_service.presentation.numbers import format_number

MAX_COMPARED_RUNS = 6
"""The largest number of runs of one block in a comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One run of a block: all its parameters, and those in which it differs from the other runs of a comparison."""

    block: EvidenceBlock
    experiment: Experiment
    params: Params
    compared: Params
    variant: int = 0


def requested_blocks(entry: Entry, request: Request, asked: Collection[str] = ()) -> tuple[EvidenceBlock, ...]:
    """The blocks of an entry that a request names, all if it names none; raises `BadField` for an unknown one.

    A brief request needs those of the first screen, and for each parameter in `asked` one that takes it.
    """
    if request.blocks is None:
        return _brief_blocks(entry, {*asked, *request.params, *request.compare}) if request.brief else entry.evidence
    ids = [block.id for block in entry.evidence]
    for name in request.blocks:
        if name not in ids:
            raise BadField(
                zh=f"词条 {entry.id} 没有证据块 {name!r}。现有：{', '.join(ids)}",
                en=f"entry {entry.id} has no evidence block {name!r}. There are: {', '.join(ids)}",
                field="blocks",
            )
    return tuple(block for block in entry.evidence if block.id in request.blocks)


def _brief_blocks(entry: Entry, asked: Collection[str]) -> tuple[EvidenceBlock, ...]:
    chosen = {block.id for block in entry.quoted_blocks(FIRST_PARTS)}
    for name in asked:
        takers = [block.id for block in entry.evidence if name in block.params and name not in block.fixed]
        if takers and not chosen.intersection(takers):
            chosen.add(takers[0])
    return tuple(block for block in entry.evidence if block.id in chosen)


def own_runs(entry: Entry, experiments: Mapping[str, Experiment]) -> tuple[PlannedRun, ...]:
    """A run of every block at the entry's own parameters."""
    own = [(block, experiments[block.experiment]) for block in entry.evidence]
    return tuple(
        PlannedRun(block=block, experiment=each, params=fill_defaults(each, block.params), compared={})
        for block, each in own
    )


def plan_runs(
    entry: Entry | None,
    asked: NamedValues,
    request: Request,
    experiments: Mapping[str, Experiment],
    of_the_run: Collection[str] = (),
) -> tuple[tuple[PlannedRun, ...], tuple[Text, ...]]:
    """Every run of an answer in order, companions after the block they belong to, and notes on what was assumed.

    `asked` are the parameters that the question names; those that the request sets override them. Parameters in
    `of_the_run` are settings of the reader's run, read from a log: an experiment takes them only where it is about them
    (`visible`), as a learning rate for a billion weights says nothing to a small network. Raises `BadRequest`
    for an unknown block or parameter and for an invalid value, also without an entry.
    """
    wanted = requested_blocks(entry, request, asked) if entry else ()
    check_requested_parameters(
        [experiments[block.experiment] for block in wanted] or list(experiments.values()), request
    )
    named = {name: value for name, value in asked.items() if name not in request.params}
    planned: list[PlannedRun] = []
    notes: list[Text] = []
    companions: list[tuple[str, Params]] = []
    for block in wanted:
        taken = {name: value for name, value in named.items() if name not in of_the_run or name in block.visible}
        runs, block_notes = plan_block(block, experiments[block.experiment], taken, request)
        planned += runs
        notes += block_notes
        for run in companion_runs(runs, experiments):
            if (run.experiment.slug, run.params) not in companions:  # two blocks may have the same companion
                companions.append((run.experiment.slug, run.params))
                planned.append(run)
    return tuple(planned), tuple(notes)


def plan_block(
    block: EvidenceBlock, experiment: Experiment, named: NamedValues, request: Request
) -> tuple[list[PlannedRun], list[Text]]:
    """The runs of a block, and notes on what was left out, clamped or replaced; raises `BadRequest`."""
    own = experiment.params
    given = {name: value for name, value in request.params.items() if name in own and _accepts(own[name], value)}
    chosen: dict[str, tuple[Value, ...]] = {}
    for name, values in request.compare.items():
        taken = tuple(value for value in values if name in own and _accepts(own[name], value))
        if name in own and (taken or not values):
            chosen[name] = _chosen(own[name], taken)
    said, compared, notes = _from_question(block, experiment, {**named}, taken={*given, *chosen})
    variants = [dict(pair) for pair in combinations({**compared, **chosen})]
    if len(variants) > MAX_COMPARED_RUNS:
        notes.append(Text(f"只比较前 {MAX_COMPARED_RUNS} 种。", f"Only the first {MAX_COMPARED_RUNS} are compared."))
    found: list[PlannedRun] = []
    for wanted in variants[:MAX_COMPARED_RUNS]:
        variant = wanted
        try:
            params = fill_defaults(experiment, {**block.params, **said, **given, **variant})
        except BadParameter as error:
            if not said and not compared:
                raise
            notes.append(Text(f"{error.zh}；改用词条的参数。", f"{error.en}; used the entry's own parameters."))
            params, variant = fill_defaults(experiment, {**block.params, **given}), {}
        if all(params != other.params for other in found):
            found.append(
                PlannedRun(block=block, experiment=experiment, params=params, compared=variant, variant=len(found))
            )
    return found, notes


def companion_runs(found: Sequence[PlannedRun], experiments: Mapping[str, Experiment]) -> list[PlannedRun]:
    """The runs of companion experiments for a comparison `found`; their parameters are clamped to their bounds."""
    first = found[0]
    more = []
    for other in first.experiment.companions:
        if not any(other.parameter in plan.compared for plan in found):
            continue
        experiment = experiments[other.experiment]
        shared = {name: value for name, value in first.params.items() if name != other.parameter}
        wanted = shared | {name: _derived_value(value, first.params) for name, value in other.params.items()}
        params = fill_defaults(
            experiment,
            {
                name: clamped
                for name, parameter in experiment.params.items()
                if name in wanted and (clamped := clamp(parameter, wanted[name])) is not None
            },
        )
        words = [value for value in other.params.values() if isinstance(value, str)]
        block = EvidenceBlock(
            id="-".join((first.block.id, *words)),
            experiment=experiment.slug,
            params=params,
            fixed=frozenset(),
            claims=(),
        )
        more.append(PlannedRun(block=block, experiment=experiment, params=params, compared={}))
    return more


def _derived_value(value: Value | tuple[str, ...], own: Params) -> Value:
    """A value unchanged; for a tuple of names, the product of these parameters."""
    return math.prod(float(own[name]) for name in value) if isinstance(value, tuple) else value


def check_requested_parameters(experiments: Sequence[Experiment], request: Request) -> None:
    """Raises `BadRequest` for a parameter that the request sets or compares and no experiment has, or an invalid value.

    A choice is valid if one of the experiments has it; those without it keep their own value.
    """
    names = sorted({name for experiment in experiments for name in experiment.params})
    given = ((name, (value,)) for name, value in request.params.items())
    for name, values in (*given, *request.compare.items()):
        if name not in names:
            raise unknown_parameter(name, names)
        holders = [experiment.params[name] for experiment in experiments if name in experiment.params]
        for value in values:
            if not any(_accepts(parameter, value) for parameter in holders):
                validate(holders[0], value)


def _accepts(parameter: Parameter, value: Value) -> bool:
    """Whether this is one of the parameter's choices; numbers are checked by `fill_defaults`."""
    if parameter.kind != "choice":
        return True
    try:
        validate(parameter, value)
    except BadParameter:
        return False
    return True


def _chosen(parameter: Parameter, values: tuple[Value, ...]) -> tuple[Value, ...]:
    every = {"choice": parameter.choices, "bool": (True, False)}.get(parameter.kind, ())
    if not values and not every:
        raise BadField(
            zh=f"比较 {parameter.name} 时要写出各个值，例如 {parameter.name}=1,2",
            en=f"to compare {parameter.name}, give its values, such as {parameter.name}=1,2",
            field="compare",
        )
    return tuple(validate(parameter, value) for value in values or every)


def _from_question(
    block: EvidenceBlock, experiment: Experiment, named: NamedValues, taken: Iterable[str]
) -> tuple[dict[str, Value], dict[str, tuple[Value, ...]], list[Text]]:
    """The question's parameters that this experiment has, clamped: single values, values to compare, and notes."""
    said: dict[str, Value] = {}
    compared: dict[str, tuple[Value, ...]] = {}
    notes: list[Text] = []
    for name, value in named.items():
        if name not in experiment.params or name in block.fixed or name in taken:
            continue
        allowed: list[Value] = []
        for one in value if isinstance(value, tuple) else (value,):
            clamped = clamp(experiment.params[name], one)
            if clamped is not None:
                allowed.append(clamped)
            if clamped != one and not (isinstance(one, float) and clamped == float(one)):
                notes.append(_clamped(experiment, name, one, clamped))
        if isinstance(value, tuple) and len(allowed) > 1:
            compared[name] = tuple(allowed)
        elif allowed:
            said[name] = allowed[0]
    return said, compared, notes


def combinations(compared: Mapping[str, tuple[Value, ...]]) -> list[dict[str, Value]]:
    """Every combination to run: numbers named together are paired ("1.01^365 and 0.99^300"), all else is crossed."""
    numbers = {name: values for name, values in compared.items() if not isinstance(values[0], str | bool)}
    groups: list[list[dict[str, Any]]] = []
    if numbers and len({len(values) for values in numbers.values()}) == 1:
        groups.append([dict(zip(numbers, together, strict=True)) for together in zip(*numbers.values(), strict=True)])
    else:
        groups += [[{name: value} for value in values] for name, values in numbers.items()]
    groups += [[{name: value} for value in values] for name, values in compared.items() if name not in numbers]
    return [{name: value for part in parts for name, value in part.items()} for parts in product(*groups)]


def _clamped(experiment: Experiment, name: str, value: Value, clamped: Value | None) -> Text:
    zh, en = experiment.title.zh, experiment.title.en
    if clamped is None:
        return Text(
            f"{name} = {format_number(value, 'zh')} 不能用在实验“{zh}”里，那里没有改。",
            f"{name} = {format_number(value)} does not fit the experiment “{en}”, which runs without it.",
        )
    return Text(
        f"{name} = {format_number(value, 'zh')} 超出实验“{zh}”的范围，那里用的是 {format_number(clamped, 'zh')}。",
        f"{name} = {format_number(value)} is beyond the experiment “{en}”, which runs with {format_number(clamped)}.",
    )
