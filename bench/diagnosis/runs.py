"""Trains a network under a setup and records it: what a trainer prints, what rule sets look at, whether it learned."""

import dataclasses
import gzip
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from bench.diagnosis.architectures import TRAIN, Family, clean_loss
from qa_service.model.training_run import Record, TrainingRun
from qa_service.model.values import Value

Precision = Literal["float32", "float16", "bfloat16", "autocast_float16", "autocast_bfloat16"]
SAMPLED_EVERY = 10
"""Layers are looked at in the first four steps, and then once in this many."""
VALIDATIONS = 5

LossFunction = Callable[[Family, Any, Any, Any], Any]


def _one(step: int) -> float:  # noqa: ARG001
    return 1.0


@dataclass(kw_only=True)
class Setup:
    """Everything that decides a run; a fault changes some of it."""

    family: Family
    seed: int
    optimizer: str
    lr: float
    batch: int
    steps: int
    precision: Precision = "float32"
    loss_scale: float | None = None
    """The scale that a GradScaler starts at; None: no scaler."""
    growth_interval: int = 50
    clip: float | None = None
    unscale_first: bool = True
    zero_grad: bool = True
    eps: float = 1e-8
    momentum: float = 0.9
    train_size: int = TRAIN
    lr_factor: Callable[[int], float] = _one
    """Step → what the learning rate is multiplied by."""
    loss_factor: Callable[[int], float] = _one
    loss: LossFunction = clean_loss
    change_model: list[Callable[[Any], Any]] = field(default_factory=list)
    change_inputs: list[Callable[[Any], Any]] = field(default_factory=list)
    """Of training and of validation."""
    change_targets: list[Callable[[Any, Any], Any]] = field(default_factory=list)
    """(targets, generator) → those that are trained on."""
    change_batch: list[Callable[[Any, Any, int], tuple[Any, Any]]] = field(default_factory=list)
    """(inputs, targets, step) → the batch that is trained on at that step."""
    parameters: Callable[[Any], Iterable[Any]] = lambda model: model.parameters()
    """Those that the optimizer gets."""


Group = Literal["faulty", "healthy", "trap", "harmless"]
"""Harmless: a fault that did no harm in this family."""


@dataclass(kw_only=True)
class RecordedRun:
    """A run with what is known of it. Series have one value for each step, None where there was none."""

    id: str
    family: str
    fault: str
    """Id of the fault, of the healthy grid's cell, or of the trap."""
    cause: str
    """Its cause in the table of the diagnosis; "" without a fault."""
    group: Group = "healthy"
    also: list[str] = field(default_factory=list)
    """Causes that name the same fault by another of its links."""
    seed: int
    optimizer: str = ""
    precision: str = "float32"
    lr: float = 0.0
    batch: int = 0
    classes: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    loss: list[float] = field(default_factory=list)
    grad_norm: list[float | None] = field(default_factory=list)
    lr_series: list[float] = field(default_factory=list)
    loss_scale: list[float | None] = field(default_factory=list)
    skipped: list[bool] = field(default_factory=list)
    accuracy: list[float | None] = field(default_factory=list)
    validation: list[tuple[int, float, float | None]] = field(default_factory=list)
    """(step, loss, accuracy)."""
    layers: list[dict[str, Any]] = field(default_factory=list)
    """What was measured at a sampled step on a module or a parameter."""
    inputs: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Least, greatest and root mean square of the training inputs."""
    learned: tuple[float, float] = (0.0, 0.0)
    """The clean loss of validation at the start and at the end, in float32."""
    trace: str = ""
    """Path of the recorder's file, if one was written."""

    def as_training_run(self) -> TrainingRun:
        """The run without its layers, as the values of the diagnosis, every step kept."""
        columns: dict[str, Sequence[float | None]] = {
            "loss": self.loss, "grad_norm": self.grad_norm, "lr": self.lr_series,
            "loss_scale": self.loss_scale, "accuracy": self.accuracy,
        }  # fmt: skip
        series = {
            key: tuple(Record(step, None, value) for step, value in enumerate(values) if value is not None)
            for key, values in columns.items()
        }
        series["val_loss"] = tuple(Record(step, None, loss) for step, loss, _ in self.validation)
        series["val_accuracy"] = tuple(
            Record(step, None, accuracy) for step, _, accuracy in self.validation if accuracy is not None
        )
        known: dict[str, Value] = {
            "lr": self.lr,
            "optimizer": self.optimizer,
            "dtype": self.precision,
            "batch_size": self.batch,
        }
        if self.classes:
            known["classes"] = self.classes
        return TrainingRun(
            source="trace", name=self.id, series={key: rows for key, rows in series.items() if rows},
            settings=known, from_start=True,
        )  # fmt: skip


def default_setup(family: Family, seed: int) -> Setup:
    """The settings under which a family trains well."""
    lr = family.sgd_lr if family.optimizer == "sgd" else family.lr
    return Setup(family=family, seed=seed, optimizer=family.optimizer, lr=lr, batch=family.batch, steps=family.steps)


class Probe:
    """Measures modules and parameters at the steps that are sampled."""

    def __init__(self, model: Any, rows: list[dict[str, Any]]) -> None:
        self._rows = rows
        self._step: int | None = None
        self._parameters = [(name, parameter) for name, parameter in model.named_parameters() if parameter.dim() > 1]
        self._before: list[Any] = []
        for name, module in model.named_modules():
            if not list(module.children()) and not isinstance(module, nn.Identity):
                module.register_forward_hook(self._hook(name, type(module).__name__))

    def _hook(self, name: str, class_: str) -> Callable[[Any, Any, Any], None]:
        def note(module: Any, inputs: Any, output: Any) -> None:
            if self._step is None or not module.training:
                return
            tensor = (output[0] if isinstance(output, tuple) else output).detach().float()
            given = inputs[0].detach().float() if inputs else tensor
            flat = tensor.flatten(2).abs().amax(2) if tensor.dim() == 4 else tensor.flatten(0, -2).abs()
            self._rows.append({
                "step": self._step, "layer": name, "kind": "module", "class": class_,
                "absmax": float(tensor.abs().max()), "absmean": float(tensor.abs().mean()),
                "std": float(tensor.std()) if tensor.numel() > 1 else 0.0, "zero": float((tensor == 0).float().mean()),
                "silent": float((flat.amax(0) < 1e-5).float().mean()),
                "above5": float((given.abs() >= 5).float().mean()),
                "above9": float((given.abs() >= 9.4999).float().mean()),
                "least": float(tensor.min()), "variance_in": float(given.var()) if given.numel() > 1 else 0.0,
            })  # fmt: skip

        return note

    def start(self, step: int) -> None:
        """Whether the coming forward pass is measured is decided here."""
        self._step = step if step < 4 or step % SAMPLED_EVERY == 0 else None

    def before_update(self) -> None:
        if self._step is not None:
            self._before = [parameter.detach().clone() for _, parameter in self._parameters]

    def after_update(self, scale: float) -> None:
        """Measures gradients (divided by `scale`), weights and how far the update moved them."""
        if self._step is None:
            return
        for (name, parameter), before in zip(self._parameters, self._before, strict=True):
            weight, moved = before.float(), (parameter.detach() - before).float()
            row = {
                "step": self._step, "layer": name, "kind": "parameter", "weight_mean": float(weight.abs().mean()),
                "weight_variance": float(weight.var()), "weight_max": float(parameter.detach().float().abs().max()),
                "ratio": float(moved.norm() / (weight.norm() + 1e-12)), "moved_mean": float(moved.abs().mean()),
                "unchanged": float((moved == 0).float().mean()),
            }  # fmt: skip
            if parameter.grad is not None:
                gradient = parameter.grad.detach().float() / scale
                row |= {
                    "grad_mean": float(gradient.abs().mean()), "grad_norm": float(gradient.norm()),
                    "grad_zero": float((gradient == 0).float().mean()),
                }  # fmt: skip
            self._rows.append(row)
        self._step = None


def train(setup: Setup, *, watch: Callable[..., Any] | None = None) -> tuple[RecordedRun, Any]:
    """Trains under `setup`.

    Args:
        setup: What is trained, and how.
        watch: Called with (model, optimizer, scaler) before the first step: a recorder; it is finished by its `close`.

    Returns:
        The record, without the names that the caller knows, and what `watch` returned.
    """
    torch.manual_seed(setup.seed)
    generator = torch.Generator().manual_seed(1000 + setup.seed)
    family, dtype = setup.family, _weights_dtype(setup.precision)
    data = family.make_data(generator)
    inputs, targets = data.inputs, data.targets
    for change in setup.change_inputs:
        inputs = change(inputs)
    model = family.make_model()
    for change in setup.change_model:
        model = change(model)
    model = model.to(dtype)
    if inputs.is_floating_point():
        inputs = inputs.to(dtype)
    train_inputs, train_targets = inputs[: setup.train_size], targets[: setup.train_size]
    for retarget in setup.change_targets:
        train_targets = retarget(train_targets, generator)
    held = inputs[TRAIN:], targets[TRAIN:]
    run = RecordedRun(
        id="", family=family.name, fault="", cause="", seed=setup.seed, optimizer=setup.optimizer,
        precision=setup.precision, lr=setup.lr, batch=setup.batch, classes=family.classes,
    )  # fmt: skip
    floats = train_inputs.float()
    run.inputs = float(floats.min()), float(floats.max()), float(floats.square().mean().sqrt())
    optimizer = _make_optimizer(setup, setup.parameters(model))
    scaler = (
        torch.amp.GradScaler("cpu", init_scale=setup.loss_scale, growth_interval=setup.growth_interval)
        if setup.loss_scale
        else None
    )
    observer = watch(model, optimizer, scaler) if watch else None
    probe = Probe(model, run.layers)
    first, _ = _validate(family, model, *held)
    for step in range(setup.steps):
        chosen = torch.randint(0, setup.train_size, (setup.batch,), generator=generator)
        x, y = train_inputs[chosen], train_targets[chosen]
        for alter in setup.change_batch:
            x, y = alter(x, y, step)
        _take_step(setup, step, model, optimizer, scaler, probe, run, (x, y))
        if (step + 1) % (setup.steps // VALIDATIONS) == 0:
            loss, accuracy = _validate(family, model, *held)
            run.validation.append((step, loss, accuracy))
            if observer is not None:
                observer.log(val_loss=loss, **({} if accuracy is None else {"val_accuracy": accuracy}))
    if observer is not None:
        observer.close()
    run.learned = first, run.validation[-1][1]
    return run, observer


def _take_step(
    setup: Setup, step: int, model: Any, optimizer: Any, scaler: Any, probe: Probe, run: RecordedRun,
    batch: tuple[Any, Any],
) -> None:  # fmt: skip
    """One step of training, written down in `run`."""
    x, y = batch
    lr = setup.lr * setup.lr_factor(step)
    for group in optimizer.param_groups:
        group["lr"] = lr
    if setup.zero_grad:
        optimizer.zero_grad()
    probe.start(step)
    autocast = setup.precision.startswith("autocast")
    half = torch.bfloat16 if setup.precision == "autocast_bfloat16" else torch.float16
    with torch.autocast("cpu", dtype=half, enabled=autocast):
        output = model(x)
    if autocast:
        output = tuple(part.float() for part in output) if isinstance(output, tuple) else output.float()
    loss = setup.loss(setup.family, output, x, y) * setup.loss_factor(step)
    (scaler.scale(loss) if scaler else loss).backward()
    scale = float(scaler.get_scale()) if scaler else 1.0
    if scaler and setup.unscale_first:
        scaler.unscale_(optimizer)
    bound = math.inf if setup.clip is None else setup.clip
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(gradients)) if gradients else None
    if setup.clip is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), bound)
    probe.before_update()
    if scaler:
        scaler.step(optimizer)
        scaler.update()
    else:
        optimizer.step()
    probe.after_update(1.0 if setup.unscale_first or not scaler else scale)
    run.loss.append(float(loss.detach()))
    run.grad_norm.append(norm)
    run.lr_series.append(lr)
    run.loss_scale.append(scale if scaler else None)
    run.skipped.append(bool(scaler) and float(scaler.get_scale()) < scale)
    run.accuracy.append(_accuracy(setup.family, output, y))


def _validate(family: Family, model: Any, inputs: Any, targets: Any) -> tuple[float, float | None]:
    """(clean loss in float32, accuracy) of the model in evaluation."""
    model.eval()
    with torch.no_grad():
        output = model(inputs)
        output = tuple(part.float() for part in output) if isinstance(output, tuple) else output.float()
        loss = float(clean_loss(family, output, inputs.float() if family.kind == "vae" else inputs, targets))
    model.train()
    return loss, _accuracy(family, output, targets)


def _accuracy(family: Family, output: Any, targets: Any) -> float | None:
    """The share of right classes; None without classes."""
    if not family.classes:
        return None
    guesses = output.detach().reshape(-1, output.shape[-1]).argmax(1)
    return float((guesses == targets.reshape(-1)).float().mean())


def _weights_dtype(precision: Precision) -> Any:
    return {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(precision, torch.float32)


def _make_optimizer(setup: Setup, parameters: Iterable[Any]) -> Any:
    if setup.optimizer == "sgd":
        return torch.optim.SGD(parameters, setup.lr, momentum=setup.momentum)
    kind = torch.optim.AdamW if setup.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, setup.lr, eps=setup.eps)


def fingerprint() -> str:
    """Of the code that decides what a run is: runs made by other code are not used again."""
    folder = Path(__file__).parent
    sources = [(folder / f"{name}.py").read_bytes() for name in ("architectures", "runs", "faults", "healthy")]
    return hashlib.sha256(b"".join(sources)).hexdigest()[:12]


def write_runs(path: Path, runs: Iterable[RecordedRun]) -> None:
    """Writes runs as gzipped JSON Lines; nan and inf as Python's json writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=4) as file:
        for run in runs:
            file.write(json.dumps(dataclasses.asdict(run)) + "\n")


def read_runs(path: Path) -> list[RecordedRun]:
    """Reads what `write_runs` wrote."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        row["validation"] = [tuple(each) for each in row["validation"]]
        row["inputs"], row["learned"] = tuple(row["inputs"]), tuple(row["learned"])
    return [RecordedRun(**row) for row in rows]
