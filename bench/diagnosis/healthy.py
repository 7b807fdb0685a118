"""Healthy runs: a grid of families, optimizers and formats, and traps, runs that look alarming and are not."""

# Every loss, change and schedule has the same arguments, whether it uses them or not.
# ruff: noqa: ARG001, ARG005

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.diagnosis.architectures import (
    FAMILIES,
    FEATURES,
    VOCABULARY,
    Data,
    Family,
    Recurrent,
    Transformer,
    clean_loss,
    mlp,
)  # fmt: skip
from bench.diagnosis.runs import Precision, Setup, default_setup

OPTIMIZERS = ("sgd", "adam", "adamw")
PRECISIONS: tuple[Precision, ...] = ("float32", "autocast_bfloat16", "autocast_float16")


@dataclass(frozen=True, kw_only=True)
class Trap:
    id: str
    make: Callable[[int], Setup]
    """Seed → the setup."""
    rises: bool = False
    """Whether its loss of validation need not fall: it is healthy by construction."""


def grid(family: Family, seed: int) -> Iterator[tuple[str, Setup]]:
    """Every optimizer in float32, bfloat16 and float16 with a scaler. Yields (id of the cell, setup)."""
    for optimizer in OPTIMIZERS:
        for precision in PRECISIONS:
            if precision == "autocast_float16" and not family.float16:
                continue
            setup = default_setup(family, seed)
            setup.optimizer, setup.precision = optimizer, precision
            setup.lr = family.sgd_lr if optimizer == "sgd" else family.lr
            if precision == "autocast_float16":
                setup.loss_scale = 65536.0
            yield f"healthy_{optimizer}_{precision}", setup


def _of(family: str, **changes: Any) -> Callable[[int], Setup]:
    """The default setup of a family with some of its fields changed."""
    return lambda seed: dataclasses.replace(default_setup(FAMILIES[family], seed), **changes)


def _with_model(family: str, make_model: Callable[[], Any], **changes: Any) -> Callable[[int], Setup]:
    base = dataclasses.replace(FAMILIES[family], make_model=make_model)
    return lambda seed: dataclasses.replace(default_setup(base, seed), **changes)


def _scaler_starts_high(seed: int) -> Setup:
    """The scale starts at 2^32 and is halved in step after step, as DeepSpeed's does."""
    return _of("mlp4", optimizer="adam", precision="autocast_float16", loss_scale=2.0**32)(seed)


def _one_overflow(seed: int) -> Setup:
    """One batch in the whole run overflows in float16; its update is skipped."""
    setup = _of("cnn", optimizer="adam", precision="autocast_float16", loss_scale=4096.0, lr=4e-3)(seed)
    setup.loss_factor = lambda step: 1e5 if step == 120 else 1.0
    return setup


def _sparse_relu(seed: int) -> Setup:
    """A wide network with biases of −1.2: four fifths of the activations are 0, every unit is used."""

    def make() -> Any:
        model = mlp(3, 256, 4, nn.ReLU, math.sqrt(2))
        for layer in model:
            if isinstance(layer, nn.Linear) and layer.out_features == 256:
                nn.init.constant_(layer.bias, -1.2)
        return model

    return _with_model("mlp4", make)(seed)


def _bfloat16_converged(seed: int) -> Setup:
    """Weights in bfloat16, with a decaying learning rate: in the end most of them no longer change."""
    setup = _of("mlp4", optimizer="adam", precision="bfloat16", lr=3e-3)(seed)
    setup.lr_factor = lambda step: 0.5 ** (step / 25)
    return setup


def _spikes_recover(seed: int) -> Setup:
    """Batches with six samples fifteen times too large; gradients are clipped, and the loss comes back at once."""

    def alter(x: Any, y: Any, step: int) -> tuple[Any, Any]:
        if step in {70, 130}:
            x = x.clone()
            x[:6] *= 15.0
        return x, y

    setup = _of("mlp4", clip=1.0)(seed)
    setup.change_batch = [alter]
    return setup


def _edge_of_stability(seed: int) -> Setup:
    """Full batches and plain gradient descent at a large rate: the loss is not monotone, and falls."""
    return _of("mlp_regression", optimizer="sgd", lr=0.06, momentum=0.0, batch=768, steps=300)(seed)


def _summed_and_compensated(seed: int) -> Setup:
    """A summed loss with a learning rate divided by the batch: large gradients, the same updates."""
    setup = _of("cnn", optimizer="sgd", lr=0.05 / 32)(seed)
    setup.loss_factor = lambda step: 32.0
    return setup


def _long_warm_up(seed: int) -> Setup:
    """A warm-up from 1e-6 of the learning rate: the first updates are tiny."""
    setup = _of("transformer_classifier", lr=3e-3, steps=250)(seed)
    setup.lr_factor = lambda step: min(1.0, 1e-6 + step / 80)
    return setup


def _frozen_backbone(seed: int) -> Setup:
    """Only the head is trained, on features that are good enough."""

    def make() -> Any:
        model = mlp(3, 64, 4, nn.ReLU, math.sqrt(2))
        for parameter in model[0].parameters():
            parameter.requires_grad_(False)
        return model

    setup = _with_model("mlp4", make, lr=5e-3)(seed)
    setup.parameters = lambda model: [each for each in model.parameters() if each.requires_grad]
    return setup


def _rare_tokens(seed: int) -> Setup:
    """A vocabulary most of which never occurs: those rows of the embedding have no gradient."""

    def make() -> Any:
        model = Recurrent(nn.LSTM(12, 32, batch_first=True), 32, VOCABULARY, embed=True, last=False)
        model.embed = nn.Embedding(500, 12)
        return model

    return _with_model("lstm_chars", make)(seed)


def _default_deep(seed: int) -> Setup:
    """Twelve layers with torch's default start, trained by Adam: the signal shrinks, and it trains."""

    def make() -> Any:
        sizes = [FEATURES, *[48] * 11]
        layers: list[Any] = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(48, 4))

    return _with_model("mlp4", make, optimizer="adam", lr=2e-3, steps=300)(seed)


class _Dropout(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(FEATURES, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(64, 4),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return self.body(x)


def _noisy_game(seed: int) -> Setup:
    """A policy's loss: it has either sign, wanders, and says nothing of how well the policy does."""

    def loss(family: Family, output: Any, inputs: Any, targets: Any) -> Any:
        logits = torch.log_softmax(output, 1)
        actions = torch.distributions.Categorical(logits=logits.detach()).sample()
        advantage = (actions == targets).to(logits.dtype) - logits.detach().exp().gather(1, targets[:, None])[:, 0]
        return -(advantage * logits.gather(1, actions[:, None])[:, 0]).mean()

    setup = _of("mlp4", steps=300, lr=5e-3)(seed)
    setup.loss = loss
    return setup


def _rising_generator(seed: int) -> Setup:
    """A generator's loss while its opponent gets better: it rises from ln 2 and stays up."""
    count = {"step": 0}

    def lifted(family: Family, output: Any, inputs: Any, targets: Any) -> Any:
        count["step"] += 1
        return clean_loss(family, output, inputs, targets) + 3.0 * (1 - math.exp(-count["step"] / 80))

    setup = _of("mlp4")(seed)
    setup.loss = lifted
    return setup


def _curriculum(seed: int) -> Setup:
    """Two classes first, at step 60 all of them: the loss jumps, and falls again."""

    def alter(x: Any, y: Any, step: int) -> tuple[Any, Any]:
        easy = y < (2 if step < 60 else 100)
        return x[easy], y[easy]

    setup = _of("cnn", lr=0.03)(seed)
    setup.change_batch = [alter]
    return setup


def _cosine_restarts(seed: int) -> Setup:
    setup = _of("cnn_bn")(seed)
    setup.lr_factor = lambda step: 0.5 * (1 + math.cos(math.pi * (step % 50) / 50)) + 1e-3
    return setup


def _long_converged(seed: int) -> Setup:
    """Trained far beyond what is needed: loss 1e-6, gradients 1e-6, which is not vanishing."""
    return _of("cnn", optimizer="adam", lr=1e-2, steps=300)(seed)


def _short_samples(seed: int) -> Setup:
    """CTC with zero_infinity: samples too short for their labels have an infinite loss, which is set to 0."""

    def data(generator: Any) -> Data:
        count = 960
        targets = torch.randint(1, 6, (count, 4), generator=generator)
        frames = torch.repeat_interleave(targets, 3, 1)
        inputs = nn.functional.one_hot(frames, 6).float() + 0.3 * torch.randn(count, 12, 6, generator=generator)
        return Data(inputs, targets)

    def make() -> Any:
        return nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 6))

    base = dataclasses.replace(FAMILIES["mlp4"], make_data=data, make_model=make, classes=0, kind="ctc")
    return dataclasses.replace(default_setup(base, seed), lr=3e-3)


def _evaluated_in_half(seed: int) -> Setup:
    """Weights and evaluation in float16, trained by SGD, which divides by nothing."""
    return _of("cnn", optimizer="sgd", precision="float16", lr=0.05)(seed)


TRAPS: tuple[Trap, ...] = (
    Trap(id="scaler_starts_high", make=_scaler_starts_high),
    Trap(id="one_overflow", make=_one_overflow),
    Trap(id="sparse_relu", make=_sparse_relu),
    Trap(id="bfloat16_converged", make=_bfloat16_converged),
    Trap(id="spikes_recover", make=_spikes_recover),
    Trap(id="edge_of_stability", make=_edge_of_stability),
    Trap(id="summed_and_compensated", make=_summed_and_compensated),
    Trap(id="long_warm_up", make=_long_warm_up),
    Trap(id="frozen_backbone", make=_frozen_backbone),
    Trap(id="rare_tokens", make=_rare_tokens),
    Trap(id="default_deep", make=_default_deep),
    Trap(id="default_lstm", make=_of("lstm_chars", optimizer="adam")),
    Trap(id="default_rnn", make=_of("rnn_adding", momentum=0.8)),
    Trap(id="masked_attention", make=_of("transformer_classifier", optimizer="adamw", lr=3e-3, steps=200)),
    Trap(id="short_samples", make=_short_samples, rises=True),
    Trap(id="dropout", make=_with_model("mlp4", _Dropout, steps=250)),
    Trap(id="noisy_game", make=_noisy_game, rises=True),
    Trap(id="rising_generator", make=_rising_generator),
    Trap(id="curriculum", make=_curriculum),
    Trap(id="cosine_restarts", make=_cosine_restarts),
    Trap(id="evaluated_in_half", make=_evaluated_in_half),
    Trap(id="long_converged", make=_long_converged),
    Trap(
        id="small_clip",
        make=_with_model("gpt_mini", lambda: Transformer(2, 32, VOCABULARY, causal=True), clip=0.5),
    ),
)  # fmt: skip
