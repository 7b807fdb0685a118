"""`numstab try`: trains a user's model in a child process and reports what goes wrong."""

import math
import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from qa_service.errors import BadField, TrialFailed
from qa_service.fronts.terminal import diagnosis_report, options
from qa_service.model import Lang
from qa_service.model.training_run import Intervention, OperationFault, TrainingRun
from qa_service.presentation.numbers import format_number
from qa_service.settings import Settings
from qa_service.tools.trial_budget import DEFAULT_DEADLINE_SECONDS, DEFAULT_MEMORY_MIB, DEFAULT_STEPS

_MAX_STEPS, _MAX_DEADLINE, _LEAST_MEMORY = 100_000, 86_400.0, 64
_MAX_OUTPUT_LINES = 20


def add_commands(parsers: Any) -> None:
    """Adds the command `try`."""
    parser: ArgumentParser = parsers.add_parser(
        "try",
        help="train your model and find what makes it inf or nan",
        epilog=diagnosis_report.EXIT_STATUSES,
    )
    parser.add_argument(
        "target", metavar="FILE.py:make", help="function that returns (model, batch, loss_fn[, optimizer])"
    )
    parser.add_argument("--steps", default=DEFAULT_STEPS, metavar="N", help=f"training steps (default {DEFAULT_STEPS})")
    parser.add_argument(
        "--deadline",
        default=DEFAULT_DEADLINE_SECONDS,
        metavar="S",
        help=f"seconds for the whole trial (default {DEFAULT_DEADLINE_SECONDS:g})",
    )
    parser.add_argument(
        "--memory", default=DEFAULT_MEMORY_MIB, metavar="MiB", help=f"MiB of memory (default {DEFAULT_MEMORY_MIB})"
    )
    parser.add_argument("--curvature", action="store_true", help="also measure the largest curvature of the loss")
    parser.add_argument("--push", action="store_true", help="also measure by what factor inputs and weights may grow")
    options.add_lang(parser)
    options.add_json(parser)
    parser.set_defaults(run_with_settings=run_with_settings)


def run_with_settings(arguments: Namespace, settings: Settings) -> int:
    """Tries the model and prints the report; returns the exit status. Raises `TrialFailed` and `BadField`."""
    from qa_service.diagnosis.engine import diagnose
    from qa_service.tools.trial import try_model

    lang = _language(arguments)
    steps = int(_number("--steps", arguments.steps, 1, _MAX_STEPS))
    deadline = _number("--deadline", arguments.deadline, 1, _MAX_DEADLINE)
    memory = int(_number("--memory", arguments.memory, _LEAST_MEMORY, 1 << 24))
    try:
        run = try_model(
            arguments.target,
            steps=steps,
            deadline=deadline,
            memory=memory,
            curvature=arguments.curvature,
            push=arguments.push,
            python=settings.python,
        )
    except TrialFailed as failure:
        for line in failure.output.splitlines()[-_MAX_OUTPUT_LINES:]:
            sys.stderr.write(f"  {line}\n")
        raise
    return diagnosis_report.print_report(diagnose(run), lang, as_json=arguments.json, more=_details(run, lang))


def _details(run: TrainingRun, lang: Lang) -> list[str]:
    """Lines on what only a trial measures: the operation at fault, margins to failure, and interventions."""
    zh = lang == "zh"
    losses = [record.value for record in run.series.get("loss", ())]
    first, last = (format_number(value, lang) for value in (losses[0], losses[-1])) if losses else ("", "")
    lines = ["", f"{len(losses)} 步，损失 {first} → {last}" if zh else f"{len(losses)} steps, loss {first} → {last}"]
    fault = run.fault
    if fault is not None:
        lines.append(_heading(fault, lang))
        if fault.code:
            lines.append(f"  {fault.place}  {fault.code}")
        lines += [f"  {'操作数' if zh else 'operand'} {operand}" for operand in fault.operands]
        if fault.reproduced is not None:
            again = (
                ("重放结果相同" if zh else "reproduced bit for bit")
                if fault.reproduced
                else ("重放结果不同" if zh else "not reproduced")
            )
            lines.append(f"  {again}")
    lines += _margins(run, lang)
    if run.interventions:
        lines.append("只改一处，再训一遍：" if zh else "trained again with one thing changed:")
        lines += [_intervention_line(each, lang) for each in run.interventions]
    return lines


def _margins(run: TrainingRun, lang: Lang) -> list[str]:
    """Lines on what `--curvature` and `--push` measured: curvature, and growth of inputs and weights until failure."""
    settings, lines = run.settings, []
    curvature = settings.get("largest_curvature")
    if isinstance(curvature, float):
        number = format_number(curvature, lang)
        lines.append(f"最大曲率 {number}" if lang == "zh" else f"largest curvature {number}")
    for what, zh, en in (("inputs", "输入", "inputs"), ("weights", "权重", "weights")):
        factor, operation = settings.get(f"margin_{what}"), settings.get(f"margin_{what}_operation")
        if isinstance(factor, float):
            number = format_number(factor, lang)
            lines.append(
                f"{zh}放大到 {number} 倍时出现 inf 或 nan：{operation}"
                if lang == "zh"
                else f"{en} {number} times as large give inf or nan: {operation}"
            )
    return lines


def _heading(fault: OperationFault, lang: Lang) -> str:
    at = f" {fault.module}" if fault.module else ""
    if lang == "zh":
        phase = {"forward": "前向", "backward": "反向", "update": "更新", "data": "数据"}[fault.phase]
        return f"第 {fault.step} 步{phase}：{fault.operation or '已有的'} 给出第一个 {fault.value}{at}"
    name = fault.operation or "what was given"
    return f"step {fault.step}, {fault.phase}: the first {fault.value} comes from {name}{at}"


def _intervention_line(tried: Intervention, lang: Lang) -> str:
    mark = "✓" if tried.healthy else "✗"
    last = format_number(tried.losses[-1], lang) if tried.losses else ""
    steps = f"{len(tried.losses)} 步" if lang == "zh" else f"{len(tried.losses)} steps"
    return f"  {mark} {tried.id}: {steps}, {last}  {tried.detail}".rstrip()


def _number(option: str, text: Any, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise BadField(
            zh=f"{option} 应当在 {least:g} 和 {most:g} 之间，不能是 {text!r}",
            en=f"{option} should lie between {least:g} and {most:g}, not {text!r}",
            field=option,
        )
    return value


def _language(arguments: Namespace) -> Lang:
    """The language of `--lang`, else of the locale."""
    if arguments.lang:
        return "zh" if arguments.lang == "zh" else "en"
    locale = arguments.env.get("LC_ALL") or arguments.env.get("LC_MESSAGES") or arguments.env.get("LANG") or ""
    return "zh" if locale.startswith("zh") else "en"
