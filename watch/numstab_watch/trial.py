"""Trial of a model in this process: trains it, replays the step that goes wrong, climbs the ladder of interventions.

    python -m numstab_watch.trial my_model.py:make --report FILE

What `make` may return is described in `numstab_watch.problem`. The model may print what it likes: the report, one JSON
document, is written to the file or to a descriptor (`--report fd:3`), never to standard output. Numbers that are not
finite are the strings "Infinity", "-Infinity" and "NaN".
"""

import argparse
import contextlib
import dataclasses
import json
import math
import os
import sys
import time
import traceback
from typing import Any

import torch
from torch import nn

from numstab_watch.curvature import largest_curvature
from numstab_watch.fault import FaultOrigin
from numstab_watch.interventions import needs_ladder, run_interventions
from numstab_watch.problem import BadProblem, Problem, load_problem, split_batch, takes_model_and_batch
from numstab_watch.replay import replay, replay_update
from numstab_watch.stability_margins import stability_margins
from numstab_watch.training import TrainingCourse, train_problem

REPORT_SCHEMA = 1
_MAX_TEXT = 500
_MAX_NAMES = 20
_MAX_NEW_TASKS = 512
"""Processes and threads that a model may start, as the workers of a loader."""
_TRAINING_SHARE, _LADDER_SHARE = 0.35, 0.6
"""The largest shares of the deadline that the training, and then the interventions, may take."""


def run_trial(
    target: str, *, steps: int = 100, seconds: float = 100.0, curvature: bool = False, push: bool = False
) -> dict[str, Any]:
    """The report of a trial: {"schema", "loss", "grad_norm", "settings", "fault", "interventions"} or {"error"}.

    Raises what the user's code raises, except `BadProblem`.
    """
    start = time.monotonic()
    try:
        problem = load_problem(target)
        settings = settings_of(problem)
        if curvature:
            settings["largest_curvature"] = largest_curvature(problem.anew())
        course = train_problem(problem, steps, seconds=seconds * _TRAINING_SHARE, keep=True)
    except BadProblem as error:
        return {"schema": REPORT_SCHEMA, "error": {"code": error.code, "message": str(error)[:_MAX_TEXT]}}
    fault = fault_of(problem, course)
    settings |= _settings_of_course(problem, course)
    if push and course.finite:
        settings |= _settings_of_margins(problem)
    interventions = []
    chance = settings.get("chance_loss")
    if needs_ladder(course, chance):
        left = seconds - (time.monotonic() - start)
        budget = max(0.0, min(left * 0.8, seconds * _LADDER_SHARE))
        interventions = run_interventions(problem, course, seconds=budget, chance=chance)
    return {
        "schema": REPORT_SCHEMA,
        "loss": course.losses,
        "grad_norm": course.gradient_norms,
        "stop": course.stop,
        "settings": {name: value for name, value in settings.items() if value is not None},
        "fault": None if fault is None else {**fault.to_json(), "step": len(course.losses) - 1},
        "interventions": [
            {"id": each.id, "healthy": each.healthy, "losses": list(each.losses), "detail": each.detail[:_MAX_TEXT]}
            for each in interventions
        ],
    }


def fault_of(problem: Problem, course: TrainingCourse) -> FaultOrigin | None:
    """The operation to blame for the end of a run, from a replay of its last step; None if it ended well or none is
    found.
    """
    if course.finite:
        return None
    step = len(course.losses) - 1
    if course.generator is not None:
        torch.set_rng_state(course.generator)
    if course.stop == "weight":
        if course.before_update is None:
            return None
        model_state, optimizer_state = course.before_update
        problem.model.load_state_dict(model_state)
        problem.optimizer.load_state_dict(optimizer_state)
        weights = [weight for group in problem.optimizer.param_groups for weight in group["params"]]
        return replay_update(problem.optimizer.step, weights)
    try:
        found = replay(lambda: problem.loss(step), problem.model)
    except RuntimeError:  # code that cannot be watched: compiled, or with kernels of its own
        return course.fault
    if found is None and course.fault is not None:
        return dataclasses.replace(course.fault, reproduced=False)
    return found


def settings_of(problem: Problem) -> dict[str, Any]:
    """The settings of a problem before its first step: optimizer, number formats, sizes, and what is wrong in the
    structure.
    """
    group = problem.optimizer.param_groups[0]
    model = problem.model
    dtypes = sorted({str(weight.dtype).removeprefix("torch.") for weight in model.parameters()})
    held = {id(weight) for each in problem.optimizer.param_groups for weight in each["params"]}
    missing = [name for name, weight in model.named_parameters() if weight.requires_grad and id(weight) not in held]
    inputs, keywords, target = split_batch(problem.batches[0])
    first = next((each for each in (*inputs, *keywords.values()) if isinstance(each, torch.Tensor)), None)
    settings: dict[str, Any] = {
        "optimizer": type(problem.optimizer).__name__,
        "lr": _number(group.get("lr")),
        "eps": _number(group.get("eps")),
        "dtype": "+".join(dtypes),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "batch_size": len(first) if first is not None and first.dim() else None,
        "not_in_optimizer": ", ".join(missing[:_MAX_NAMES]) or None,
    }
    if first is not None and first.is_floating_point() and first.numel():
        finite = first.double()[torch.isfinite(first)]
        settings["input_rms"] = float(finite.square().mean().sqrt()) if finite.numel() else None
    if isinstance(target, torch.Tensor) and target.is_floating_point() and target.numel():
        finite = target.double()[torch.isfinite(target)]
        settings["target_rms"] = float(finite.square().mean().sqrt()) if finite.numel() else None
    for name, count in (("bad_inputs", _bad_inputs), ("bad_targets", _bad_targets)):
        settings[name] = sum(count(batch) for batch in problem.batches) or None
    return settings | _output_settings(problem, target)


def _bad_inputs(batch: Any) -> int:
    """How many numbers of the inputs are nan or inf; masks of 0 and -inf count too."""
    inputs, keywords, _ = split_batch(batch)
    return sum(_count_bad(each) for each in (*inputs, *keywords.values()))


def _bad_targets(batch: Any) -> int:
    return _count_bad(split_batch(batch)[2])


def _count_bad(value: Any) -> int:
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return 0
    return int((~torch.isfinite(value)).sum())


def _output_settings(problem: Problem, target: Any) -> dict[str, Any]:
    """Properties of the output at the initial weights: classes, rows of probabilities, constant outputs, batch norm."""
    smallest: list[int] = []

    def note(_module: nn.Module, inputs: Any) -> None:
        smallest.append(inputs[0].numel() // inputs[0].shape[1])

    kinds = nn.modules.batchnorm._BatchNorm
    hooks = [module.register_forward_pre_hook(note) for module in problem.model.modules() if isinstance(module, kinds)]
    state, buffers = torch.get_rng_state(), [(buffer, buffer.clone()) for buffer in problem.model.buffers()]
    settings: dict[str, Any] = {}
    try:
        if problem.loss_fn is not None and not takes_model_and_batch(problem.loss_fn):
            settings = _shape_of_output(problem, target)
    finally:
        for hook in hooks:
            hook.remove()
        torch.set_rng_state(state)
        with torch.no_grad():
            for buffer, copy in buffers:
                buffer.copy_(copy)
    return settings | ({"batch_norm_values": min(smallest)} if smallest else {})


def _shape_of_output(problem: Problem, target: Any) -> dict[str, Any]:
    inputs, keywords, _ = split_batch(problem.batches[0])
    with torch.no_grad():
        output = problem.model(*inputs, **keywords)
    if not isinstance(output, torch.Tensor) or output.dim() < 2:
        return {}
    settings: dict[str, Any] = {"chance_loss": _chance_loss(problem, output, target)}
    classes = _classes(output, target)
    if classes is not None:
        settings["classes"] = classes
        labels = target[target >= 0]
        settings["labels_in_range"] = bool(labels.numel()) and int(labels.max()) < classes
    values = output.double()
    sums_to_one = bool(((values >= 0).all(1) & ((values.sum(1) - 1).abs() < 1e-3)).all())
    if sums_to_one and output.shape[1] == 1:
        negated = [-each if isinstance(each, torch.Tensor) and each.is_floating_point() else each for each in inputs]
        with torch.no_grad():
            settings["softmax_of_one_unit"] = bool((problem.model(*negated, **keywords) == 1).all()) or None
    elif sums_to_one and (
        problem.loss_fn is nn.functional.cross_entropy or isinstance(problem.loss_fn, nn.CrossEntropyLoss)
    ):
        settings["softmax_before_cross_entropy"] = True
    return settings


def _classes(output: torch.Tensor, target: Any) -> int | None:
    """The number of classes: the length of the dimension that the output has and the labels do not; None if unclear."""
    if not isinstance(target, torch.Tensor) or target.dtype != torch.int64 or output.dim() != target.dim() + 1:
        return None
    last, second = output.shape[:-1] == target.shape, output.shape[:1] + output.shape[2:] == target.shape
    if last and second and output.shape[-1] != output.shape[1]:
        return None
    return int(output.shape[-1]) if last else int(output.shape[1]) if second else None


def _chance_loss(problem: Problem, output: torch.Tensor, target: Any) -> float | None:
    """The loss of guessing: of equal logits for classes, of the mean of the targets (times 2) for numbers."""
    if not isinstance(target, torch.Tensor) or problem.loss_fn is None:
        return None
    is_number = target.is_floating_point() and target.shape == output.shape
    if not is_number and _classes(output, target) is None:
        return None
    guess = target.mean(0, keepdim=True).expand_as(target) if is_number else torch.zeros_like(output)
    try:
        with torch.no_grad():
            loss = float(problem.loss_fn(guess, target)) * (2.0 if is_number else 1.0)
    except Exception:  # the user's function may refuse such an output; what is wrong with it shows in the first step
        return None
    return loss if math.isfinite(loss) and loss > 0 else None


def _settings_of_course(problem: Problem, course: TrainingCourse) -> dict[str, Any]:
    gradients = [weight.grad for weight in problem.model.parameters() if weight.grad is not None]
    elements = sum(gradient.numel() for gradient in gradients)
    zeros = sum(int((gradient == 0).sum()) for gradient in gradients if not gradient.is_sparse)
    return {
        "steps": len(course.losses),
        "seconds": round(course.seconds, 3),
        "unchanged": ", ".join(course.unchanged[:_MAX_NAMES]) or None,
        "update_ratio": course.update_ratio,
        "zero_gradients": zeros / elements if elements else None,
    }


def limit_memory_and_processes(mebibytes: int) -> None:
    """Limits memory and processes that this process may take from now on; no core dumps.

    What the platform refuses stays unlimited; the number of processes is never limited for root.
    """
    try:
        import resource
    except ImportError:
        return
    memory = mebibytes << 20
    limits = [(resource.RLIMIT_DATA, _data_size() + memory), (resource.RLIMIT_CORE, 0)]
    tasks = _tasks_of_user()
    if tasks:
        limits.append((resource.RLIMIT_NPROC, tasks + _MAX_NEW_TASKS))
    if not torch.cuda.is_available():  # CUDA reserves far more addresses than it uses
        limits.append((resource.RLIMIT_AS, _address_space() + memory))
    for limit, value in limits:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, value))


def _tasks_of_user() -> int:
    """Threads and processes of this user (Linux; elsewhere 0)."""
    count, user = 0, os.getuid()
    try:
        folders = [entry.path for entry in os.scandir("/proc") if entry.name.isdigit()]
    except OSError:
        return 0
    for folder in folders:
        with contextlib.suppress(OSError):
            if os.stat(folder).st_uid == user:
                count += len(os.listdir(f"{folder}/task"))
    return count


def _address_space() -> int:
    """Bytes of address space in use (Linux; elsewhere 0)."""
    return _page_count(0)


def _data_size() -> int:
    """Bytes of private memory in use (Linux; elsewhere 0)."""
    return _page_count(5)


def _page_count(field: int) -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[field]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _settings_of_margins(problem: Problem) -> dict[str, Any]:
    """The factor by which inputs or weights may grow before something is not finite, and the operation that fails."""
    settings: dict[str, Any] = {}
    for margin in stability_margins(problem):
        settings[f"margin_{margin.what}"] = margin.factor
        settings[f"margin_{margin.what}_operation"] = f"{margin.fault.operation} {margin.fault.place}".strip()
    return settings


def _number(value: Any) -> float | None:
    if isinstance(value, torch.Tensor):
        value = float(value)
    return float(value) if isinstance(value, int | float) else None


def _json_safe(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: _json_safe(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json_safe(each) for each in value]
    return value


def _exception_report(error: BaseException) -> dict[str, Any]:
    """An exception of the user's code: its class, message, and the innermost line outside torch and this package."""
    torch_folder, ours = os.path.dirname(torch.__file__), os.path.dirname(os.path.abspath(__file__))
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((torch_folder, ours, "<frozen"))
    ]
    place = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    return {
        "code": "raised",
        "exception": type(error).__name__,
        "message": str(error)[:_MAX_TEXT],
        "place": place,
        "line": (frames[-1].line or "")[:_MAX_TEXT] if frames else "",
    }


def main(arguments: list[str] | None = None) -> int:
    """Runs a trial and writes its report; 0 if there is one, 1 if the user's code failed."""
    parser = argparse.ArgumentParser(prog="python -m numstab_watch.trial")
    parser.add_argument("target", help="file.py:function; the function may be left out, and is then make")
    parser.add_argument("--report", required=True, help="file to write, or fd:N")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=100.0)
    parser.add_argument("--until", type=float, help="end, in seconds since the epoch; takes precedence over --seconds")
    parser.add_argument("--memory", type=int, help="MiB that the model may use beyond what torch itself does")
    parser.add_argument("--curvature", action="store_true")
    parser.add_argument("--push", action="store_true")
    options = parser.parse_args(arguments)
    if options.memory:
        limit_memory_and_processes(options.memory)
    seconds = options.seconds if options.until is None else max(1.0, options.until - time.time())
    try:
        report = run_trial(
            options.target, steps=options.steps, seconds=seconds, curvature=options.curvature, push=options.push
        )
    except Exception as error:  # whatever the reader's code raises
        report = {"schema": REPORT_SCHEMA, "error": _exception_report(error)}
    except SystemExit as error:
        report = {"schema": REPORT_SCHEMA, "error": {"code": "exited", "message": str(error.code)[:_MAX_TEXT]}}
    text = json.dumps(_json_safe(report), allow_nan=False)
    where = int(options.report[3:]) if options.report.startswith("fd:") else options.report
    with open(where, "w", encoding="utf-8") as file:
        file.write(text)
    return 1 if "error" in report else 0


if __name__ == "__main__":
    sys.exit(main())
