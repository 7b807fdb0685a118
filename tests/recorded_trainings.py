"""Small trainings recorded with `watch`: healthy ones, on which every rule must be silent, and faulty ones."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from numstab_watch import watch
from torch import nn

from qa_service.diagnosis.trace_file import read_trace
from qa_service.model.training_run import TrainingRun

Batch = tuple[Any, Any]


def blobs(n: int = 512, features: int = 16, classes: int = 4, seed: int = 0, spread: float = 1.2) -> Batch:
    """Points around the centre of their class."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, features, generator=generator) * spread
    labels = torch.randint(0, classes, (n,), generator=generator)
    return centres[labels] + torch.randn(n, features, generator=generator), labels


def images(n: int = 256, classes: int = 4, seed: int = 0) -> Batch:
    """Images with one channel, 8 × 8 pixels; a class is a pattern under noise."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn(classes, 1, 8, 8, generator=generator)
    labels = torch.randint(0, classes, (n,), generator=generator)
    return patterns[labels] + 0.7 * torch.randn(n, 1, 8, 8, generator=generator), labels


def sequences(n: int = 256, length: int = 20, words: int = 12, seed: int = 0) -> Batch:
    """Sequences of words; the class says whether the first word's index is in the lower half."""
    generator = torch.Generator().manual_seed(seed)
    words_ = torch.randint(0, words, (n, length), generator=generator)
    return words_, (words_[:, 0] < words // 2).long()


def mlp(
    depth: int = 4,
    width: int = 48,
    *,
    activation: Callable[[], Any] = nn.ReLU,
    gain: float | None = None,
    bias: float | None = None,
    features: int = 16,
    classes: int = 4,
    norm: bool = False,
) -> Any:
    """A multilayer perceptron with `gain` times He's initial weights, or torch's own."""
    layers: list[Any] = []
    size = features
    for _ in range(depth - 1):
        layers.append(nn.Linear(size, width))
        if norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(activation())
        size = width
    layers.append(nn.Linear(size, classes))
    model = nn.Sequential(*layers)
    for layer in model:
        if isinstance(layer, nn.Linear):
            if gain is not None:
                nn.init.normal_(layer.weight, 0, gain * math.sqrt(2 / layer.in_features))
                nn.init.zeros_(layer.bias)
            if bias is not None and layer is not model[-1]:
                nn.init.constant_(layer.bias, bias)
    return model


class Convolutions(nn.Module):
    """Convolutions with batch norm."""

    def __init__(self, depth: int = 4, width: int = 12, classes: int = 4) -> None:
        super().__init__()
        layers: list[Any] = []
        channels = 1
        for _ in range(depth):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Any) -> Any:
        return self.head(self.body(x).mean((2, 3)))


class Recurrent(nn.Module):
    """Embedding, recurrent layer, class of the last state."""

    def __init__(self, cell: type = nn.LSTM, words: int = 12, width: int = 24, scale: float = 1.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.cell = cell(width, width, batch_first=True)
        self.head = nn.Linear(width, 2)
        with torch.no_grad():
            self.cell.weight_hh_l0.mul_(scale)

    def forward(self, words: Any) -> Any:
        return self.head(self.cell(self.embed(words))[0][:, -1])


class Encoder(nn.Module):
    """A Transformer encoder over words."""

    def __init__(self, words: int = 12, width: int = 32, layers: int = 2, *, pre: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.1, batch_first=True, norm_first=pre)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, 2)

    def forward(self, words: Any) -> Any:
        return self.head(self.body(self.embed(words) + torch.arange(words.shape[1])[:, None] / 20)[:, 0])


def adam(lr: float = 1e-3) -> Callable[[Any], Any]:
    return lambda parameters: torch.optim.Adam(parameters, lr)


def sgd(lr: float = 0.05, momentum: float = 0.9) -> Callable[[Any], Any]:
    return lambda parameters: torch.optim.SGD(parameters, lr, momentum=momentum)


def train(
    path: Path,
    model: Any,
    data: Batch,
    *,
    optimizer: Callable[[Any], Any] | None = None,
    parameters: Any = None,
    steps: int = 120,
    batch: int = 64,
    loss: Callable[[Any, Any], Any] = nn.functional.cross_entropy,
    dtype: Any = None,
    autocast: Any = None,
    scaler: float = 0.0,
    clip: float = 0.0,
    unscale: bool = True,
    zero_grad: bool = True,
    schedule: Callable[[int], float] | None = None,
    seed: int = 0,
) -> TrainingRun:
    """Trains a model, and returns the run that is read from its recorded trace."""
    torch.manual_seed(seed)
    x, y = data
    if dtype is not None:
        model = model.to(dtype)
        x = x.to(dtype) if x.is_floating_point() else x
    optim = (optimizer or adam())(parameters if parameters is not None else [*model.parameters()])
    rate = torch.optim.lr_scheduler.LambdaLR(optim, schedule) if schedule else None
    gradient_scaler = torch.amp.GradScaler("cpu", init_scale=scaler or 1.0, enabled=bool(scaler), growth_interval=50)
    with watch(model, optim, path=path) as recording:
        for _ in range(steps):
            chosen = torch.randint(0, len(x), (batch,))
            if zero_grad:
                optim.zero_grad()
            with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
                value = loss(model(x[chosen]), y[chosen])
            gradient_scaler.scale(value).backward()
            if clip:
                if unscale:
                    gradient_scaler.unscale_(optim)
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            gradient_scaler.step(optim)
            gradient_scaler.update()
            if rate:
                rate.step()
    return read_trace(Path(recording.path).read_bytes())


def _frozen(model: Any, *names: str) -> Any:
    for name, each in model.named_parameters():
        if name.startswith(names):
            each.requires_grad_(False)
    return model


def _constant(model: Any, value: float = 0.05) -> Any:
    for each in model.parameters():
        nn.init.constant_(each, value)
    return model


def _zero_head(model: Any) -> Any:
    nn.init.zeros_(model[-1].weight)
    return model


def _scaled(data: Batch, factor: float) -> Batch:
    return data[0] * factor, data[1]


def _one_large(data: Batch) -> Batch:
    x = data[0].clone()
    x[:, 3] *= 3000
    return x, data[1]


def _nan_sample(data: Batch) -> Batch:
    x = data[0].clone()
    x[7, 2] = math.nan
    return x, data[1]


def _random_labels(data: Batch) -> Batch:
    return data[0], data[1][torch.randperm(len(data[1]), generator=torch.Generator().manual_seed(5))]


def _summed(output: Any, labels: Any) -> Any:
    return nn.functional.cross_entropy(output, labels, reduction="sum")


def _double_softmax(output: Any, labels: Any) -> Any:
    return nn.functional.cross_entropy(torch.softmax(output, 1), labels)


Training = Callable[[Path], TrainingRun]

HEALTHY: dict[str, Training] = {
    "relu_he": lambda path: train(path, mlp(6, gain=1.0), blobs()),
    "relu_sparse": lambda path: train(path, mlp(8, 64, gain=1.0), blobs(), optimizer=sgd(0.02), steps=250),
    "relu_negative_bias": lambda path: train(path, mlp(4, 96, gain=1.4, bias=-1.0), blobs(), steps=250),
    "relu_default_16_adam": lambda path: train(path, mlp(16), blobs(), steps=300),
    "tanh_xavier": lambda path: train(path, mlp(6, gain=0.8, activation=nn.Tanh), blobs(), optimizer=sgd()),
    "gelu_default": lambda path: train(path, mlp(6, activation=nn.GELU), blobs(), steps=200),
    "sigmoid_two_layers": lambda path: train(
        path, mlp(3, activation=nn.Sigmoid), blobs(), optimizer=adam(1e-2), steps=200
    ),
    "batch_norm_sgd": lambda path: train(path, mlp(6, norm=True), blobs(), optimizer=sgd(0.1)),
    "convolutions": lambda path: train(path, Convolutions(), images()),
    "lstm": lambda path: train(path, Recurrent(), sequences(length=12), optimizer=adam(1e-2), steps=250),
    "rnn": lambda path: train(path, Recurrent(nn.RNN), sequences(length=8), optimizer=adam(5e-3), steps=250),
    "encoder_pre": lambda path: train(path, Encoder(), sequences(), steps=80),
    "encoder_post_warmup": lambda path: train(
        path, Encoder(pre=False), sequences(), optimizer=adam(2e-3), schedule=lambda t: min(1, (t + 1) / 50), steps=100
    ),
    "rare_words": lambda path: train(path, Encoder(words=300), sequences(words=12), steps=80),
    "bf16_near_convergence": lambda path: train(path, mlp(4, 64, gain=1.0), blobs(), dtype=torch.bfloat16, steps=300),
    "fp16_scaler_startup": lambda path: train(
        path, mlp(4, gain=1.0), blobs(), autocast=torch.float16, scaler=2.0**24, steps=150
    ),
    "frozen_backbone": lambda path: train(
        path, _frozen(mlp(4, gain=1.0), "0.", "2."), blobs(), optimizer=adam(5e-3), steps=150
    ),
    "zero_head": lambda path: train(path, _zero_head(mlp(4, gain=1.0)), blobs()),
    "warm_up_from_1e-6": lambda path: train(
        path, mlp(4, gain=1.0), blobs(), schedule=lambda t: min(1, 10 ** (t / 20 - 3)), steps=150
    ),
    "summed_and_compensated": lambda path: train(
        path, mlp(4, gain=1.0), blobs(), loss=_summed, optimizer=sgd(0.05 / 64), steps=150
    ),
    "clip_active": lambda path: train(path, mlp(4, gain=1.0), blobs(), optimizer=sgd(0.05), clip=0.1, steps=200),
    "converged": lambda path: train(path, mlp(3, 64, gain=1.0), blobs(spread=4.0), optimizer=adam(3e-3), steps=500),
    "cosine_restarts": lambda path: train(
        path, mlp(4, gain=1.0), blobs(), schedule=lambda t: 0.5 + 0.5 * math.cos(math.pi * (t % 50) / 50), steps=200
    ),
    "raw_pixels_and_norm": lambda path: train(path, mlp(4, norm=True), _scaled(blobs(), 60.0), optimizer=adam(3e-3)),
}
"""Name → a sound training: its loss falls well below its first value."""

SICK: dict[str, tuple[str, Training]] = {
    "lr_sgd_x60": ("step_too_large", lambda path: train(path, mlp(6, gain=1.0), blobs(), optimizer=sgd(3.0))),
    "lr_adam_1": ("step_too_large", lambda path: train(path, mlp(6, gain=1.0), blobs(), optimizer=adam(0.5))),
    "lr_tanh": (
        "step_too_large",
        lambda path: train(path, mlp(6, gain=0.8, activation=nn.Tanh), blobs(), optimizer=sgd(8.0)),
    ),
    "lr_conv": ("step_too_large", lambda path: train(path, Convolutions(), images(), optimizer=sgd(50.0))),
    "lr_tiny": ("step_too_small", lambda path: train(path, mlp(4, gain=1.0), blobs(), optimizer=adam(1e-7))),
    "lr_tiny_sgd": ("step_too_small", lambda path: train(path, mlp(4, gain=1.0), blobs(), optimizer=sgd(1e-6, 0))),
    "gain_4": ("weights_too_large", lambda path: train(path, mlp(8, gain=4.0), blobs(), optimizer=sgd(0.02))),
    "gain_3_adam": ("weights_too_large", lambda path: train(path, mlp(12, gain=3.0), blobs())),
    "gain_0.3": ("vanishing_signal", lambda path: train(path, mlp(12, gain=0.3), blobs(), optimizer=sgd(0.02))),
    "deep_default_sgd": ("vanishing_signal", lambda path: train(path, mlp(20), blobs(), optimizer=sgd(0.05))),
    "deep_sigmoid": (
        "vanishing_signal",
        lambda path: train(path, mlp(14, activation=nn.Sigmoid), blobs(), optimizer=sgd(0.05)),
    ),
    "tanh_saturated": (
        "saturated_activation",
        lambda path: train(path, mlp(6, gain=12.0, activation=nn.Tanh), blobs(), optimizer=sgd(0.002)),
    ),
    "sigmoid_saturated": (
        "saturated_activation",
        lambda path: train(path, mlp(5, gain=20.0, activation=nn.Sigmoid), blobs(), optimizer=sgd(0.01)),
    ),
    "dead_bias": ("dead_relu", lambda path: train(path, mlp(5, gain=1.0, bias=-8.0), blobs(), optimizer=sgd(0.02))),
    "constant": ("symmetric_init", lambda path: train(path, _constant(mlp(4)), blobs(), optimizer=sgd(0.05))),
    "all_zero": ("symmetric_init", lambda path: train(path, _constant(mlp(4), 0.0), blobs(), optimizer=sgd(0.05))),
    "summed": ("summed_loss", lambda path: train(path, mlp(5, gain=1.0), blobs(), loss=_summed, optimizer=sgd(0.05))),
    "inputs_255": (
        "inputs_not_scaled",
        lambda path: train(path, mlp(5, gain=1.0), _scaled(blobs(), 255.0), optimizer=sgd()),
    ),
    "one_large_column": ("inputs_not_scaled", lambda path: train(path, mlp(4, gain=1.0), _one_large(blobs()))),
    "nan_sample": ("nonfinite_data", lambda path: train(path, mlp(4, gain=1.0), _nan_sample(blobs(64)))),
    "bf16_lr_1e-5": (
        "update_swallowed",
        lambda path: train(path, mlp(4, gain=1.0), blobs(), dtype=torch.bfloat16, optimizer=sgd(1e-4, 0)),
    ),
    "no_zero_grad": (
        "gradients_accumulate",
        lambda path: train(path, mlp(4, gain=1.0), blobs(), optimizer=sgd(0.05), zero_grad=False, steps=150),
    ),
    "other_parameters": (
        "no_update",
        lambda path: train(path, mlp(4, gain=1.0), blobs(), parameters=[nn.Parameter(torch.zeros(3))]),
    ),
    "clip_scaled": (
        "clip_before_unscale",
        lambda path: train(
            path, mlp(4, gain=1.0), blobs(), optimizer=sgd(0.05), scaler=2.0**16, clip=1.0, unscale=False
        ),
    ),
    "rnn_explodes": (
        "recurrent_product",
        lambda path: train(path, Recurrent(nn.RNN, scale=6.0), sequences(length=60), optimizer=sgd(0.05)),
    ),
    "rnn_vanishes": (
        "recurrent_product",
        lambda path: train(path, Recurrent(nn.RNN), sequences(4096, 100), optimizer=sgd(0.05), steps=120),
    ),
    "fp16_overflow": (
        "forward_overflow",
        lambda path: train(path, mlp(5, gain=3.0), _scaled(blobs(), 100.0), dtype=torch.float16, optimizer=sgd(1e-4)),
    ),
    "double_softmax_sgd": (
        "wrong_output",
        lambda path: train(path, mlp(8, gain=1.0), blobs(), loss=_double_softmax, optimizer=sgd(0.005, 0)),
    ),
    "batch_of_two": (
        "batch_norm",
        lambda path: train(path, mlp(6, norm=True), blobs(spread=0.7), batch=2, optimizer=sgd(0.02)),
    ),
}
"""Name → (its cause, a training that fails because of it)."""
