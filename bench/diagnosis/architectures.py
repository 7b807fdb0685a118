"""Twelve families of small networks on generated data, each with settings under which it trains well.

A family trains for at most 300 steps, about a second on one core. Eight families may be used to choose weights and
thresholds; `HELD_OUT`, chosen before any result was seen, is for judging only.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

Kind = Literal["classes", "regression", "tokens", "vae", "ctc"]
HELD_OUT = frozenset({"mlp_regression", "resnet8", "lstm_chars", "vae"})
CLASSES, VOCABULARY, FEATURES = 4, 20, 16
IMAGE_CLASSES, IMAGE = 5, 8
TRAIN, VALIDATION = 768, 192


@dataclass(frozen=True)
class Data:
    """Samples along the first dimension; the first `TRAIN` are trained on, the others validate."""

    inputs: Any
    targets: Any


@dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture with its data and the settings under which it trains well."""

    name: str
    kind: Kind
    classes: int
    """Of the output; 0 if it is not a classifier."""
    make_model: Callable[[], Any]
    """A new module, initialised from torch's global generator."""
    make_data: Callable[[Any], Data]
    """Data drawn with a generator."""
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    lr: float = 2e-3
    sgd_lr: float = 0.05
    """A learning rate at which SGD with momentum 0.9 trains it."""
    batch: int = 32
    steps: int = 200
    activations: tuple[type, ...] = (nn.ReLU,)
    float16: bool = True
    """Whether its operations exist in float16 on a CPU."""
    learns_by: float = 0.5
    """A healthy run brings the loss of validation below this part of its value at the start."""


class Images(nn.Module):  # type: ignore[misc]
    """A stack of convolutions, average-pooled, with a linear head. Input: [batch, 1, 8, 8]."""

    def __init__(self, depth: int, width: int, *, norm: bool) -> None:
        super().__init__()
        layers: list[Any] = []
        channels = 1
        for _ in range(depth):
            layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=not norm))
            if norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
            channels = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(width * 4, IMAGE_CLASSES)
        start_he(self)

    def forward(self, images: Any) -> Any:
        pooled = nn.functional.adaptive_avg_pool2d(self.features(images), 2)
        return self.head(pooled.flatten(1))


class ResidualBlock(nn.Module):  # type: ignore[misc]
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.second, self.norm2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.act1, self.act2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Any) -> Any:
        branch = self.norm2(self.second(self.act1(self.norm1(self.first(x)))))
        return self.act2(x + branch)


class ResNet8(nn.Module):  # type: ignore[misc]
    """A convolution, three residual blocks of two, a linear head: eight layers with weights."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(3)))
        self.head = nn.Linear(width * 4, IMAGE_CLASSES)
        start_he(self)

    def forward(self, images: Any) -> Any:
        return self.head(nn.functional.adaptive_avg_pool2d(self.blocks(self.stem(images)), 2).flatten(1))


class Recurrent(nn.Module):  # type: ignore[misc]
    """A recurrent layer with a linear head on every step, or on the last one."""

    def __init__(self, cell: Any, width: int, outputs: int, *, embed: bool, last: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 12) if embed else nn.Identity()
        self.cell = cell
        self.head = nn.Linear(width, outputs)
        self.last = last

    def forward(self, x: Any) -> Any:
        states, _ = self.cell(self.embed(x))
        return self.head(states[:, -1] if self.last else states)


class AttentionBlock(nn.Module):  # type: ignore[misc]
    """Attention and a feed-forward layer; the norm before each branch (pre-LN), or after the sum (post-LN)."""

    def __init__(self, width: int, heads: int, *, post: bool, act: Callable[[], Any]) -> None:
        super().__init__()
        self.heads, self.post = heads, post
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), act(), nn.Linear(2 * width, width))

    def attend(self, x: Any, visible: Any) -> Any:
        """Softmax attention over the positions that are `visible`: [batch or 1, 1, queries or 1, keys]."""
        batch, length, width = x.shape
        query, key, value = self.qkv(x).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-2, -1) / math.sqrt(width / self.heads)
        shares = torch.softmax(scores.masked_fill(~visible, float("-inf")), -1)
        return self.out((shares @ value).transpose(1, 2).reshape(batch, length, width))

    def forward(self, x: Any, visible: Any) -> Any:
        if self.post:
            x = self.norm1(x + self.attend(x, visible))
            return self.norm2(x + self.feed(x))
        x = x + self.attend(self.norm1(x), visible)
        return x + self.feed(self.norm2(x))


class Transformer(nn.Module):  # type: ignore[misc]
    """Token 0 is padding for the classifier; the language model is causal. Input: [batch, length] of tokens."""

    def __init__(self, depth: int, width: int, outputs: int, *, causal: bool, post: bool = False) -> None:
        super().__init__()
        self.causal, self.post = causal, post
        self.embed, self.place = nn.Embedding(VOCABULARY, width), nn.Embedding(32, width)
        act = nn.GELU if causal else nn.ReLU
        self.blocks = nn.ModuleList(AttentionBlock(width, 4, post=post, act=act) for _ in range(depth))
        self.norm = nn.Identity() if post else nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)
        for embedding in (self.embed, self.place):
            nn.init.normal_(embedding.weight, std=0.1)

    def forward(self, tokens: Any) -> Any:
        length = tokens.shape[1]
        if self.causal:
            visible = torch.ones(length, length, dtype=torch.bool).tril()[None, None]
        else:
            visible = (tokens != 0)[:, None, None, :]
        x = self.embed(tokens) + self.place(torch.arange(length))
        for block in self.blocks:
            x = block(x, visible)
        x = self.norm(x)
        return self.head(x if self.causal else x.mean(1))


class VAE(nn.Module):  # type: ignore[misc]
    """Returns (reconstruction, mean, logarithm of the variance)."""

    def __init__(self, latent: int = 3) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(FEATURES, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.mean, self.logvar = nn.Linear(32, latent), nn.Linear(32, latent)
        self.decode = nn.Sequential(
            nn.Linear(latent, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, FEATURES)
        )

    def forward(self, x: Any) -> tuple[Any, Any, Any]:
        hidden = self.encode(x)
        mean, logvar = self.mean(hidden), self.logvar(hidden)
        z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean) if self.training else mean
        return self.decode(z), mean, logvar


def start_he(module: Any) -> None:
    """He's start: weights with variance 2 / fan_in, biases 0; a head with 1 / fan_in."""
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if name == "head" else "relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def mlp(depth: int, width: int, outputs: int, act: type, gain: float) -> Any:
    """A fully connected network of `depth` linear layers, with weights of variance gain² / fan_in and biases 0."""
    sizes = [FEATURES, *[width] * (depth - 1), outputs]
    layers: list[Any] = []
    for index, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.normal_(linear.weight, std=(gain if index < depth - 1 else 1.0) / math.sqrt(fan_in))
        nn.init.zeros_(linear.bias)
        layers += [linear, act()]
    return nn.Sequential(*layers[:-1])


def blobs(generator: Any) -> Data:
    """Overlapping Gaussian clouds, one for each class."""
    count = TRAIN + VALIDATION
    centres = torch.randn(CLASSES, FEATURES, generator=generator)
    targets = torch.randint(0, CLASSES, (count,), generator=generator)
    return Data(centres[targets] + 0.9 * torch.randn(count, FEATURES, generator=generator), targets)


def curve(generator: Any) -> Data:
    """A smooth function of 16 features with a little noise, standardised."""
    count = TRAIN + VALIDATION
    x = torch.randn(count, FEATURES, generator=generator)
    directions = torch.randn(FEATURES, 3, generator=generator) / math.sqrt(FEATURES)
    y = torch.sin(x @ directions).sum(1, keepdim=True) + 0.5 * (x @ directions[:, :1])
    y = (y - y.mean()) / y.std()
    return Data(x, y + 0.1 * torch.randn(count, 1, generator=generator))


def images(generator: Any) -> Data:
    """Smooth templates, one for each class, shifted by a pixel and noisy: [batch, 1, 8, 8]."""
    count = TRAIN + VALIDATION
    coarse = torch.randn(IMAGE_CLASSES, 1, 4, 4, generator=generator)
    templates = nn.functional.interpolate(coarse, size=(IMAGE, IMAGE), mode="bilinear")
    targets = torch.randint(0, IMAGE_CLASSES, (count,), generator=generator)
    noisy = templates[targets] + 0.5 * torch.randn(count, 1, IMAGE, IMAGE, generator=generator)
    shift = int(torch.randint(0, 2, (1,), generator=generator))
    return Data(noisy.roll(shift, -1), targets)


def text(generator: Any) -> Data:
    """Sequences of a Markov chain over 20 characters; the target is the next character."""
    count, length = TRAIN + VALIDATION, 16
    table = torch.softmax(2.5 * torch.randn(VOCABULARY, VOCABULARY, generator=generator), 1)
    columns = [torch.randint(0, VOCABULARY, (count,), generator=generator)]
    for _ in range(length):
        columns.append(torch.multinomial(table[columns[-1]], 1, generator=generator)[:, 0])
    tokens = torch.stack(columns, 1)
    return Data(tokens[:, :-1], tokens[:, 1:])


def adding(generator: Any) -> Data:
    """The adding task over 6 steps: the sum of two marked numbers, standardised. [batch, 6, 2] → [batch, 1]."""
    count, length = TRAIN + VALIDATION, 6
    numbers = torch.rand(count, length, generator=generator)
    marks = torch.zeros(count, length)
    places = torch.rand(count, length, generator=generator).argsort(1)[:, :2]
    marks.scatter_(1, places, 1.0)
    sums = (numbers * marks).sum(1, keepdim=True)
    return Data(torch.stack([numbers, marks], -1), (sums - 1) * math.sqrt(6))


def padded(generator: Any) -> Data:
    """Sequences of 6 to 12 tokens, padded with 0; the class is the group of tokens that occurs most."""
    count, length = TRAIN + VALIDATION, 12
    targets = torch.randint(0, CLASSES, (count,), generator=generator)
    lengths = torch.randint(6, length + 1, (count, 1), generator=generator)
    noise = torch.randint(1, VOCABULARY, (count, length), generator=generator)
    own = 1 + 4 * targets[:, None] + torch.randint(0, 4, (count, length), generator=generator)
    tokens = torch.where(torch.rand(count, length, generator=generator) < 0.55, own, noise)
    return Data(tokens.masked_fill(torch.arange(length) >= lengths, 0), targets)


def manifold(generator: Any) -> Data:
    """Points near a curved surface of three dimensions in 16; the target is not used."""
    count = TRAIN + VALIDATION
    z = torch.randn(count, 3, generator=generator)
    maps = torch.randn(3, FEATURES, generator=generator)
    return Data(torch.tanh(z @ maps) + 0.05 * torch.randn(count, FEATURES, generator=generator), torch.zeros(count))


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="mlp4", kind="classes", classes=CLASSES, make_data=blobs,
            make_model=lambda: mlp(4, 32, CLASSES, nn.ReLU, math.sqrt(2)),
        ),
        Family(
            name="mlp16_tanh", kind="classes", classes=CLASSES, make_data=blobs, activations=(nn.Tanh,), lr=1e-3,
            sgd_lr=0.01, make_model=lambda: mlp(16, 24, CLASSES, nn.Tanh, 1.1),
        ),
        Family(
            name="mlp_regression", kind="regression", classes=0, make_data=curve, steps=250, sgd_lr=0.03,
            make_model=lambda: mlp(4, 48, 1, nn.ReLU, math.sqrt(2)), lr=3e-3, learns_by=0.6,
        ),
        Family(
            name="cnn", kind="classes", classes=IMAGE_CLASSES, make_data=images,
            make_model=lambda: Images(3, 8, norm=False), lr=4e-3, optimizer="sgd",
        ),
        Family(
            name="cnn_bn", kind="classes", classes=IMAGE_CLASSES, make_data=images,
            make_model=lambda: Images(4, 8, norm=True), lr=4e-3, batch=16,
        ),
        Family(
            name="resnet8", kind="classes", classes=IMAGE_CLASSES, make_data=images, make_model=ResNet8, lr=4e-3,
            optimizer="sgd", batch=16, steps=150,
        ),
        Family(
            name="deep_cnn20", kind="classes", classes=IMAGE_CLASSES, make_data=images, lr=2e-3, sgd_lr=0.03, batch=12,
            steps=150,
            make_model=lambda: Images(19, 8, norm=False), learns_by=0.7,
        ),
        Family(
            name="lstm_chars", kind="tokens", classes=VOCABULARY, make_data=text, lr=1e-2, sgd_lr=1.0, batch=16,
            make_model=lambda: Recurrent(
                nn.LSTM(12, 32, batch_first=True), 32, VOCABULARY, embed=True, last=False
            ), activations=(), float16=False, steps=250, learns_by=0.75,
        ),
        Family(
            name="rnn_adding", kind="regression", classes=0, make_data=adding, lr=1e-2, sgd_lr=0.05, steps=300,
            optimizer="sgd",
            make_model=lambda: Recurrent(nn.RNN(2, 24, batch_first=True), 24, 1, embed=False, last=True),
            activations=(), learns_by=0.5,
        ),
        Family(
            name="transformer_classifier", kind="classes", classes=CLASSES, make_data=padded, lr=2e-3, sgd_lr=0.05,
            make_model=lambda: Transformer(2, 24, CLASSES, causal=False), learns_by=0.7, batch=24, steps=150,
        ),
        Family(
            name="gpt_mini", kind="tokens", classes=VOCABULARY, make_data=text, lr=4e-3, sgd_lr=0.1, batch=8, steps=160,
            make_model=lambda: Transformer(3, 32, VOCABULARY, causal=True), activations=(nn.GELU,),
            optimizer="adamw", learns_by=0.75,
        ),
        Family(
            name="vae", kind="vae", classes=0, make_data=manifold, lr=3e-3, sgd_lr=0.01, make_model=VAE, learns_by=0.75,
        ),
    )
}  # fmt: skip


def clean_loss(family: Family, output: Any, inputs: Any, targets: Any) -> Any:
    """The loss as it should be: a mean, from logits, in the output's format.

    Args:
        family: Whose kind decides the formula.
        output: What the module returned.
        inputs: The batch; only a VAE reconstructs it.
        targets: Classes, tokens or values.
    """
    if family.kind == "vae":
        reconstruction, mean, logvar = output
        error = (reconstruction - inputs).square().sum(1).mean()
        return error + 0.1 * 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean()
    if family.kind == "ctc":
        return _alignment_loss(output, targets)
    if family.kind == "regression":
        return nn.functional.mse_loss(output, targets.to(output.dtype))
    return nn.functional.cross_entropy(output.reshape(-1, output.shape[-1]), targets.reshape(-1))


def _alignment_loss(output: Any, targets: Any) -> Any:
    """CTC, in which one sample in eight is too short for its labels: its infinite loss is set to 0."""
    count, length, _ = output.shape
    lengths = torch.full((count,), length)
    lengths[: count // 8] = targets.shape[1] - 1
    log_shares = torch.log_softmax(output, -1).transpose(0, 1)
    return nn.functional.ctc_loss(
        log_shares, targets, lengths, torch.full((count,), targets.shape[1]), zero_infinity=True
    )
