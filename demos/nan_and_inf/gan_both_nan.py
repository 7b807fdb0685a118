"""In a GAN both losses are nan within one update, wherever the fault is: which of them is nan first tells little.

A generator 4 - 16 - 3 and a discriminator 3 - 16 - 1, tanh, weights N(0, 1/inputs), learn points of N((2, −1, 0), 1):
`n` alternating updates (discriminator, then generator) of gradient descent at rate `lr`, batches of 64, the losses of
cross-entropy on logits (−log D for the generator). One thing is wrong, `cause`:

constant_column  the third feature is 0 in all data, and each feature is divided by its range, 0/0
log_of_zero      the losses are −log(sigmoid) by hand, and from step 10 on logits of the discriminator are times 1000
bad_sample       one sample of the data, in the batch of step 10, is nan
generator        the generator's noise contains a nan at step 10

repaired: the same with the cause removed (a range of 0 counts as 1; logsigmoid; non-finite rows left out). `skip`: an
update whose loss is not finite is left out.

first_d, first_g: the first step at which the loss of the discriminator, of the generator, is not finite; lag: their
distance. bad_data, bad_fake: whether the data, and the generated samples, are not finite at the first of these steps,
which tells the data from the generator and both from the losses. nan_g, nan_d: fraction of nan weights
at the end. Random: weights, data, noise. Source: Goodfellow et al. 2014, Generative adversarial nets.
"""

import math
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

TITLE = {"zh": "GAN 两个损失一起变成 nan", "en": "Both losses of a GAN turn nan"}
PARAMS = {
    "cause": {"zh": "哪里出了错", "en": "what is wrong"},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-5, "le": 10},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 1, "le": 100},
    "skip": {"zh": "跳过非有限的更新", "en": "skip updates that are not finite"},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "discriminator": {"zh": "判别器的损失", "en": "loss of the discriminator"},
    "generator": {"zh": "生成器的损失", "en": "loss of the generator"},
    "repaired": {"zh": "修好后判别器的损失", "en": "loss of the discriminator, repaired"},
}
METRICS = {
    "first_d": {"zh": "判别器损失首次非有限的步", "en": "first bad step of the discriminator", "unit": "step"},
    "first_g": {"zh": "生成器损失首次非有限的步", "en": "first bad step of the generator", "unit": "step"},
    "lag": {"zh": "两者相隔的步数", "en": "steps between them", "unit": "step"},
    "bad_data": {"zh": "那一步数据非有限（1/0）", "en": "the data of that step are not finite (1/0)"},
    "bad_fake": {
        "zh": "那一步生成的样本非有限（1/0）",
        "en": "the generated samples of that step are not finite (1/0)",
    },
    "nan_d": {"zh": "判别器 nan 权重的比例", "en": "fraction of nan weights, discriminator"},
    "nan_g": {"zh": "生成器 nan 权重的比例", "en": "fraction of nan weights, generator"},
    "repaired_bad": {"zh": "修好后非有限的步数", "en": "bad steps after the repair", "unit": "step"},
    "repaired_end": {"zh": "修好后判别器最后的损失", "en": "final loss of the discriminator, repaired"},
}
CHART = {
    "transform": [{"fold": ["discriminator", "generator", "repaired"], "as": ["series", "value"]}],
    "mark": {"type": "line"},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float | None]
BATCH, LATE = 64, 10


def run(
    cause: Literal["constant_column", "log_of_zero", "bad_sample", "generator"] = "constant_column",
    lr: float = 0.1,
    n: int = 30,
    skip: bool = False,
) -> Generator[Row, None, Metrics]:
    generator, discriminator = weights(4, 3), weights(3, 1)
    data = torch.tensor([2.0, -1.0, 0.0]) + torch.randn(n * BATCH, 3)
    noise = torch.randn(2 * n, BATCH, 4)
    if cause == "constant_column":
        data[:, 2] = 0
    faulty = Game(cause, False, skip, lr, prepared(data, cause, False), generator, discriminator)
    sound = Game(cause, True, False, lr, prepared(data, cause, True), generator, discriminator)
    first: dict[str, int] = {}
    repaired_bad, seen = 0, (0, 0)
    losses, repaired = (math.nan, math.nan), (math.nan, math.nan)
    for step in range(n):
        losses, repaired = faulty.play(step, noise), sound.play(step, noise)
        repaired_bad += not all(map(math.isfinite, repaired))
        if not first and not all(map(math.isfinite, losses)):
            seen = faulty.seen
        for name, loss in zip(("d", "g"), losses, strict=True):
            if not math.isfinite(loss):
                first.setdefault(name, step)
        yield {"step": step, "discriminator": losses[0], "generator": losses[1], "repaired": repaired[0]}
    return {
        "first_d": first.get("d"),
        "first_g": first.get("g"),
        "lag": abs(first["d"] - first["g"]) if len(first) == 2 else None,
        "bad_data": seen[0],
        "bad_fake": seen[1],
        "nan_d": nan_fraction(faulty.discriminator),
        "nan_g": nan_fraction(faulty.generator),
        "repaired_bad": repaired_bad,
        "repaired_end": repaired[0],
    }


class Game:
    """Both nets and their updates; `seen` says whether data and generated samples of the last step were bad."""

    def __init__(
        self,
        cause: str,
        fixed: bool,
        skip: bool,
        lr: float,
        data: Tensor,
        generator: list[Tensor],
        critic: list[Tensor],
    ) -> None:
        self.cause, self.fixed, self.skip, self.lr, self.data = cause, fixed, skip, lr, data
        self.generator, self.discriminator = ([w.clone().requires_grad_() for w in net] for net in (generator, critic))
        self.seen = 0, 0

    def play(self, step: int, noise: Tensor) -> tuple[float, float]:
        """The losses of the discriminator and of the generator, each before its update."""
        real, latent = self.data[BATCH * step : BATCH * (step + 1)], noise[2 * step]
        if self.cause == "generator" and step == LATE and not self.fixed:
            latent = latent.clone()
            latent[0, 0] = math.nan
        if self.fixed:
            real = real[real.isfinite().all(dim=1)]
        fake = forward(self.generator, latent).detach()
        self.seen = int(not real.isfinite().all()), int(not fake.isfinite().all())
        loud = 1000.0 if self.cause == "log_of_zero" and step >= LATE else 1.0
        loss = self.log(loud * forward(self.discriminator, real)) + self.log(-loud * forward(self.discriminator, fake))
        self.update(self.discriminator, loss)
        fake = forward(self.generator, noise[2 * step + 1])
        answer = self.log(loud * forward(self.discriminator, fake))
        self.update(self.generator, answer)
        return loss.item(), answer.item()

    def log(self, logits: Tensor) -> Tensor:
        """Mean of −log sigmoid."""
        if self.cause == "log_of_zero" and not self.fixed:
            return -logits.sigmoid().log().mean()
        return -logsigmoid(logits).mean()

    def update(self, net: list[Tensor], loss: Tensor) -> None:
        """One step of gradient descent."""
        gradients = torch.autograd.grad(loss, net)
        if self.skip and not loss.isfinite():
            return
        with torch.no_grad():
            for w, gradient in zip(net, gradients, strict=True):
                w.sub_(self.lr * gradient)


def prepared(data: Tensor, cause: str, fixed: bool) -> Tensor:
    """The data as the nets get them."""
    if cause == "bad_sample":
        data = data.clone()
        data[BATCH * LATE : BATCH * LATE + 1] = math.nan
    if cause != "constant_column":
        return data
    extent = data.amax(dim=0) - data.amin(dim=0)
    return (data - data.amin(dim=0)) / (torch.where(extent == 0, 1.0, extent) if fixed else extent)


def weights(inputs: int, outputs: int) -> list[Tensor]:
    """Two layers and their biases."""
    return [
        torch.randn(inputs, 16) / math.sqrt(inputs), torch.zeros(16), torch.randn(16, outputs) / 4, torch.zeros(outputs)
    ]  # fmt: skip


def forward(net: list[Tensor], x: Tensor) -> Tensor:
    a, p, b, q = net
    return torch.tanh(x @ a + p) @ b + q


def nan_fraction(net: list[Tensor]) -> float:
    """Over all weights and biases."""
    return float(torch.cat([w.detach().flatten() for w in net]).isnan().double().mean())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
