"""DPO starts at ln 2 exactly; log(sigmoid(·)) by hand is −inf, and log-probabilities summed in bf16 lose the margin.

`n` pairs of answers of `tokens` tokens. Log-probabilities of the tokens under the reference are −|N(0, 1)|·2, those of
the policy are these plus shifts whose sum over a chosen answer is +`x`/2 and over a rejected one −x/2, so that the
margin m = (log π − log π_ref of chosen) − (the same of rejected) is x. Loss −log σ(`beta`·m), three ways:

fused  logsigmoid, sums and differences in float32
naive  −log(sigmoid(beta·m)) in float32: inf from beta·m = −88.7 or so on, where the sigmoid underflows
bf16   each sequence's log-probability is summed in float32 and stored in bfloat16 before the differences are taken,
       so a margin is a multiple of the gap there, 2 for sums of 256 to 512

margin_error: root mean square error of m. wrong: fraction of pairs whose margin has the wrong sign or is 0.
gradient: mean of the derivative by m, beta·σ(−beta·m), and of naive by autograd. at_start: the loss if policy and
reference are equal, ln 2. The rows are the pairs. Random: log-probabilities, how the shift is spread.
Source: Rafailov et al. 2023, Direct preference optimization.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

TITLE = {"zh": "DPO 的损失", "en": "The loss of DPO"}
PARAMS = {
    "x": {"zh": "奖励差 m（对数概率）", "en": "margin m, in log-probability", "ge": -100000, "le": 100000},
    "beta": {"zh": "β", "en": "β", "ge": 1e-3, "le": 100},
    "tokens": {"zh": "每个回答的 token 数", "en": "tokens of an answer", "ge": 1, "le": 4000},
    "n": {"zh": "对数", "en": "pairs", "ge": 1, "le": 200},
}
LIMITS = [{"product": ["n", "tokens"], "le": 200000}]
COLUMNS = {
    "pair": {"zh": "第几对", "en": "pair"},
    "fused": {"zh": "损失：logsigmoid", "en": "loss: logsigmoid"},
    "naive": {"zh": "损失：log(sigmoid)", "en": "loss: log(sigmoid)"},
    "bf16": {"zh": "损失：和存成 bf16", "en": "loss: sums in bf16"},
}
METRICS = {
    "loss_fused": {"zh": "损失：logsigmoid", "en": "loss: logsigmoid"},
    "loss_naive": {"zh": "损失：log(sigmoid)", "en": "loss: log(sigmoid)"},
    "loss_bf16": {"zh": "损失：和存成 bf16", "en": "loss: sums in bf16"},
    "gradient_fused": {"zh": "梯度：logsigmoid", "en": "gradient: logsigmoid"},
    "gradient_naive": {"zh": "梯度：log(sigmoid)", "en": "gradient: log(sigmoid)"},
    "margin_error": {"zh": "差的误差：和存成 bf16", "en": "error of the margin: sums in bf16"},
    "margin_error_fused": {"zh": "差的误差：float32", "en": "error of the margin: float32"},
    "wrong": {"zh": "差的符号不对的比例：和存成 bf16", "en": "fraction of margins with the wrong sign: bf16"},
    "wrong_fused": {"zh": "差的符号不对的比例：float32", "en": "fraction of margins with the wrong sign: float32"},
    "at_start": {"zh": "两个模型相同时的损失", "en": "loss while policy and reference are equal"},
    "theory_loss": {"zh": "ln(1 + e^(−βm))", "en": "ln(1 + e^(−βm))"},
}
CHART = {
    "transform": [{"fold": ["fused", "naive", "bf16"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "pair", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(x: float = 1.0, beta: float = 0.1, tokens: int = 300, n: int = 100) -> Generator[Row, None, Metrics]:
    reference = -2 * torch.randn(2, n, tokens).abs()
    spread = torch.rand(2, n, tokens) + 0.1
    shift = spread / spread.sum(-1, keepdim=True) * torch.tensor([x / 2, -x / 2]).view(2, 1, 1)
    policy = reference + shift
    margins = {
        "fused": difference((policy - reference).sum(-1)),
        "bf16": difference(policy.sum(-1).bfloat16() - reference.sum(-1).bfloat16()).float(),
    }
    margins["naive"] = margins["fused"]
    losses, slopes = {}, {}
    for way, margin in margins.items():
        leaf = margin.clone().requires_grad_()
        losses[way] = -(beta * leaf).sigmoid().log() if way == "naive" else -logsigmoid(beta * leaf)
        (slopes[way],) = torch.autograd.grad(losses[way].sum(), leaf)
    for k in range(n):
        yield {"pair": k + 1, **{way: losses[way][k].item() for way in ("fused", "naive", "bf16")}}
    mean = {way: loss.double().mean().item() for way, loss in losses.items()}
    same = difference((reference - reference).sum(-1))
    z = beta * x
    return {
        **{f"loss_{way}": mean[way] for way in ("fused", "naive", "bf16")},
        "gradient_fused": slopes["fused"].double().abs().mean().item(),
        "gradient_naive": slopes["naive"].double().abs().mean().item(),
        "margin_error": error(margins["bf16"], x),
        "margin_error_fused": error(margins["fused"], x),
        "wrong": (margins["bf16"] * x <= 0).double().mean().item(),
        "wrong_fused": (margins["fused"] * x <= 0).double().mean().item(),
        "at_start": -logsigmoid(beta * same).mean().item(),
        "theory_loss": math.log1p(math.exp(-abs(z))) + max(-z, 0.0),
    }


def difference(rewards: Tensor) -> Tensor:
    """Chosen minus rejected."""
    return rewards[0] - rewards[1]


def error(margins: Tensor, x: float) -> float:
    return float((margins.double() - x).square().mean().sqrt().item())


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
