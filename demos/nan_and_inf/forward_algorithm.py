"""The forward algorithm in probabilities underflows after some dozen steps, and log 0 is −inf; in logs it is exact.

A hidden Markov model (or linear-chain CRF) with `states` states and `n` steps: transition rows softmax of N(0, 1),
start uniform, emission scores log p ~ −`emission` + N(0, 1). The log-likelihood by the forward recursion, float32,
against float64 in log space:

plain   α_t = (α_{t−1} A)·p_t, log of the sum at the end
scaled  the same, each α_t divided by its sum, the logs of the sums added
logs    log α_t by logsumexp

zero_step: first step at which all of the plain α is 0. bad: non-finite fraction of the plain gradient with respect to
the emission scores; sums: largest difference from 1 of the sum over the states of the gradient in log space, which is
the posterior probability of the states at a step. Random: transitions, emissions. Source: Rabiner 1989, A tutorial on
hidden Markov models (scaling).
"""

from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "前向算法：概率还是对数", "en": "The forward algorithm: probabilities or logarithms"}
PARAMS = {
    "n": {"zh": "序列长度", "en": "length of the sequence", "unit": "step", "ge": 2, "le": 1000},
    "states": {"zh": "状态数", "en": "states", "ge": 2, "le": 64},
    "emission": {"zh": "每步发射的 −log p", "en": "−log p of an emission", "ge": 0, "le": 100},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "plain": {"zh": "概率", "en": "probabilities"},
    "scaled": {"zh": "每步缩放", "en": "scaled"},
    "logs": {"zh": "对数", "en": "logarithms"},
}
METRICS = {
    "plain": {"zh": "对数似然，概率", "en": "log-likelihood, probabilities"},
    "logs": {"zh": "对数似然，对数", "en": "log-likelihood, logarithms"},
    "exact": {"zh": "对数似然，准确", "en": "log-likelihood, exact"},
    "logs_error": {"zh": "对数：相对误差", "en": "logarithms: relative error"},
    "scaled_error": {"zh": "每步缩放：相对误差", "en": "scaled: relative error"},
    "zero_step": {"zh": "概率首次全为 0", "en": "probabilities first all 0", "unit": "step"},
    "bad": {"zh": "概率：非有限梯度的比例", "en": "probabilities: non-finite fraction of the gradient"},
    "sums": {"zh": "对数：后验之和与 1 的差", "en": "logarithms: posterior sums less 1"},
}
CHART = {
    "transform": [{"fold": ["plain", "scaled", "logs"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}


Row = dict[str, float]
Metrics = dict[str, float | None]


def run(n: int = 100, states: int = 8, emission: float = 3.0) -> Generator[Row, None, Metrics]:
    log_a = torch.randn(states, states).double().log_softmax(1)
    log_p = torch.randn(n, states).double() - emission
    scores = log_p.float().requires_grad_()
    plain, scaled, logs = by_probabilities(log_a, scores), by_scaling(log_a, scores), by_logs(log_a.float(), scores)
    exact = by_logs(log_a, log_p)
    for step in range(0, n, max(n // 60, 1)):
        found = {"plain": plain, "scaled": scaled, "logs": logs}
        yield {"step": step + 1} | {name: values[step].item() for name, values in found.items()}
    gradient, posterior = (torch.autograd.grad(values[-1], scores)[0].double() for values in (plain, logs))
    truth = exact[-1].item()
    return {
        "plain": plain[-1].item(),
        "logs": logs[-1].item(),
        "exact": truth,
        "logs_error": abs(logs[-1].item() / truth - 1),
        "scaled_error": abs(scaled[-1].item() / truth - 1),
        "zero_step": next((k for k, value in enumerate(plain, 1) if value == -torch.inf), None),
        "bad": (~gradient.isfinite()).double().mean().item(),
        "sums": (posterior.sum(1) - 1).abs().max().item(),
    }


def by_probabilities(log_a: Tensor, scores: Tensor) -> list[Tensor]:
    """The log-likelihood of the first t steps, for every t."""
    a, found = log_a.exp().float(), []
    alpha = torch.full((len(a),), 1 / len(a))
    for step, score in enumerate(scores):
        alpha = (alpha @ a if step else alpha) * score.exp()
        found.append(alpha.sum().log())
    return found


def by_scaling(log_a: Tensor, scores: Tensor) -> list[Tensor]:
    a, found = log_a.exp().float(), []
    alpha, total = torch.full((len(a),), 1 / len(a)), torch.zeros(())
    for step, score in enumerate(scores):
        alpha = (alpha @ a if step else alpha) * (score - score.max()).exp()
        total = total + alpha.sum().log() + score.max()
        alpha = alpha / alpha.sum()
        found.append(total)
    return found


def by_logs(log_a: Tensor, scores: Tensor) -> list[Tensor]:
    log_alpha, found = torch.full((len(log_a),), 1 / len(log_a), dtype=scores.dtype).log(), []
    for step, score in enumerate(scores):
        log_alpha = (torch.logsumexp(log_alpha[:, None] + log_a, 0) if step else log_alpha) + score
        found.append(log_alpha.logsumexp(0))
    return found


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
