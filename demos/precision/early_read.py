"""Reading a buffer before its writer has finished spoils gradients at random: other numbers each time, norms, even nan.

Two ranks train 24 layers, each a vector of 64 weights with the loss s·|w − t|²/2, s from 1 down to 1/1000 and t of each
rank's own, by gradient descent. As in bucketed data parallelism, backward writes the layers' gradients one after the
other into two buffers in turn, and a reducer averages each over the ranks some layers later, Poisson with mean `delay`.
With waits, the writer waits for the reducer before it reuses a buffer; without, it overwrites what has not been read.
With probability `ahead` the reducer runs before the copy and reads what the memory held: random bits, as memory from a
pool does.

Measured: the fraction of layers reduced wrongly, how far two passes over the same batch differ, the gradient norm over
the true one, whether it is finite, and the loss after `n` steps over that of a run that waits. Theory: a Poisson delay
of mean d reaches 2 with probability 1 − (1 + d)·e^(−d), the fraction overwritten (the last two layers never are); a
float32 of random bits is inf or nan with probability 2⁻⁸, so one of 128 such numbers nearly every other time. Random:
targets, delays, the bits. Source: Rajbhandari et al. 2020, ZeRO (reduction during backward); the CUDA programming guide
(streams and events).
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "没等写完就读：重叠通信", "en": "Reading before the writing is done: overlapped communication"}
PARAMS = {
    "waits": {"zh": "等归约读完再覆盖", "en": "wait for the reduction before reusing a buffer"},
    "delay": {"zh": "归约平均落后几层", "en": "mean delay of the reduction, in layers", "ge": 0, "le": 10},
    "ahead": {"zh": "归约抢在拷贝之前的概率", "en": "probability of reducing before the copy", "ge": 0, "le": 1},
    "n": {"zh": "步数", "en": "steps", "ge": 1, "le": 200},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "norm": {"zh": "梯度范数", "en": "gradient norm"},
    "true_norm": {"zh": "正确的梯度范数", "en": "true gradient norm"},
}
METRICS = {
    "wrong": {"zh": "归约错的层的比例", "en": "fraction of layers reduced wrongly"},
    "differs": {"zh": "同一批算两遍，梯度的相对差", "en": "difference of the gradients of two passes over one batch"},
    "norm_ratio": {"zh": "第 1 步梯度范数与真值之比", "en": "gradient norm over the true one at step 1"},
    "nonfinite_steps": {"zh": "范数非有限的步的比例", "en": "fraction of steps with a non-finite norm"},
    "loss_ratio": {"zh": "末损失与等待时之比", "en": "final loss over that of a run that waits"},
    "theory_wrong": {"zh": "理论：被覆盖的比例", "en": "theory: fraction overwritten"},
}
CHART = {
    "transform": [{"fold": ["norm", "true_norm"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
LAYERS, WIDTH, RANKS = 24, 64, 2


def run(waits: bool = False, delay: float = 1.0, ahead: float = 0.0, n: int = 60) -> Generator[Row, None, Metrics]:
    scales = torch.logspace(0, -3, LAYERS, dtype=torch.float64).float()[:, None]
    targets = torch.randn(RANKS, LAYERS, WIDTH)
    weights, proper = torch.zeros(LAYERS, WIDTH), torch.zeros(LAYERS, WIDTH)
    wrong, ratios, bad, twice = [], [], 0, []
    for step in range(1, n + 1):
        local = scales * (weights - targets)
        true = local.mean(0)
        again, found = (reduced(local, waits, delay, ahead) for _ in range(2))
        wrong.append((found != true).any(1).double().mean().item())
        norm, true_norm = found.double().norm().item(), true.double().norm().item()
        bad += not math.isfinite(norm)
        ratios.append(norm / true_norm)
        twice.append(((again - found).double().norm() / true.double().norm()).item())
        yield {"step": step, "norm": norm, "true_norm": true_norm}
        weights = weights - found
        proper = proper - (scales * (proper - targets)).mean(0)
    return {
        "wrong": sum(wrong) / n,
        "differs": twice[0],
        "norm_ratio": ratios[0],
        "nonfinite_steps": bad / n,
        "loss_ratio": loss(weights, scales, targets) / loss(proper, scales, targets),
        "theory_wrong": 1 - (1 + delay) * math.exp(-delay),
    }


def reduced(local: Tensor, waits: bool, delay: float, ahead: float) -> Tensor:
    """The averages over ranks that the reducer makes of `local`, RANKS × LAYERS × WIDTH: LAYERS × WIDTH.

    Layer k goes to buffer k mod 2 at time k and is read at time k + delay; read late, it has been overwritten by layer
    k + 2, or k + 4, ..., whichever was the last to be written by then.
    """
    late = torch.poisson(torch.full((LAYERS,), float(delay))).long().tolist()
    early = (torch.rand(LAYERS) < ahead).tolist()
    bits = torch.randint(-(2**31), 2**31, (LAYERS, RANKS, WIDTH)).to(torch.int32).view(torch.float32)
    result = torch.empty(LAYERS, WIDTH)
    for k in range(LAYERS):
        last = min(k + late[k] - late[k] % 2, LAYERS - 2 + k % 2)
        held = local[:, k] if waits else bits[k] if early[k] else local[:, last]
        result[k] = held.mean(0)
    return result


def loss(weights: Tensor, scales: Tensor, targets: Tensor) -> float:
    """Above the optimum, in float64."""
    return float((scales * (weights - targets.mean(0))).double().square().sum()) / 2


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
