"""DPO's margin grows while the chosen answer becomes less likely too, if chosen and rejected answers are alike.

Three answers with logits b + Φw, w = 0 at the start, which is also the reference: chosen, rejected and a third one that
is in no pair. Rows of Φ have length 1; chosen and rejected have the cosine `similarity`, and the third has the cosine
`towards` with chosen − rejected. The third starts with the probability `third`, each of the others with half of the
rest. `n` steps of gradient descent at rate `lr` on

    −log σ(`beta`·m) − `sft`·logp(chosen),   m = log-ratio of chosen − log-ratio of rejected

log-ratio = logp − logp of the reference; times beta it is what is logged as the reward. The loss knows m alone: adding
the same number to both log-ratios changes nothing. The gradient of m is along φ(chosen) − φ(rejected): it raises the
chosen logit by 1 − similarity and the third one by towards·√(2 − 2·similarity), which is more for similar answers, and
the normalisation takes it from both. With sft = 0, w is s·(φ(chosen) − φ(rejected)) with s = m/(2 − 2·similarity).
Float64, nothing is random. Source: Rafailov et al. 2023, Direct preference optimization; Razin et al. 2024,
Unintentional unalignment: likelihood displacement in direct preference optimization.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "DPO：chosen 的概率也下降", "en": "DPO: the chosen answer becomes less likely too"}
PARAMS = {
    "similarity": {"zh": "chosen 与 rejected 的余弦", "en": "cosine of chosen and rejected", "ge": -1, "le": 0.999},
    "towards": {
        "zh": "第三种回答与两者之差的余弦",
        "en": "cosine of the third answer with their difference",
        "ge": -1,
        "le": 1,
    },
    "third": {
        "zh": "第三种回答开始的概率",
        "en": "probability of the third answer at the start",
        "ge": 0.001,
        "le": 0.998,
    },
    "beta": {"zh": "β", "en": "β", "ge": 0.001, "le": 10},
    "sft": {"zh": "SFT 项的系数", "en": "coefficient of the SFT term", "ge": 0, "le": 10},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 1e-4, "le": 10},
    "n": {"zh": "步数", "en": "steps", "unit": "step", "ge": 1, "le": 2000},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "chosen": {"zh": "chosen 的奖励", "en": "reward of chosen"},
    "rejected": {"zh": "rejected 的奖励", "en": "reward of rejected"},
    "loss": {"zh": "DPO 损失", "en": "DPO loss"},
}
METRICS = {
    "chosen_end": {"zh": "最后 chosen 的奖励", "en": "reward of chosen at the end"},
    "rejected_end": {"zh": "最后 rejected 的奖励", "en": "reward of rejected at the end"},
    "margin_end": {"zh": "最后的奖励差", "en": "margin of the rewards at the end"},
    "loss_start": {"zh": "开始的 DPO 损失", "en": "DPO loss at the start"},
    "loss_end": {"zh": "最后的 DPO 损失", "en": "DPO loss at the end"},
    "chosen_factor": {"zh": "chosen 的概率变成几倍", "en": "factor of the chosen answer's probability"},
    "third_end": {"zh": "最后第三种回答的概率", "en": "probability of the third answer at the end"},
    "theory_first": {
        "zh": "m 每增加 1，chosen 的对数概率变多少，开始时",
        "en": "change of chosen logp per unit of m at the start",
    },
}
CHART = {
    "transform": [{"fold": ["chosen", "rejected", "loss"], "as": ["series", "value"]}],
    "mark": {"type": "line"},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    similarity: float = 0.9,
    towards: float = 0.8,
    third: float = 0.4,
    beta: float = 0.1,
    sft: float = 0.0,
    lr: float = 1.0,
    n: int = 400,
) -> Generator[Row, None, Metrics]:
    features = answers(similarity, towards)
    start = torch.tensor([(1 - third) / 2, (1 - third) / 2, third], dtype=torch.float64).log()
    w = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    rows: list[Row] = []
    for step in range(n + 1):
        logp = (start + features @ w).log_softmax(0)
        ratio = logp - start
        loss = -torch.nn.functional.logsigmoid(beta * (ratio[0] - ratio[1]))
        rows.append(
            {
                "step": step,
                "chosen": beta * ratio[0].item(),
                "rejected": beta * ratio[1].item(),
                "loss": loss.item(),
            }
        )
        if step % max(1, n // 200) == 0 or step == n:
            yield rows[-1]
        (gradient,) = torch.autograd.grad(loss - sft * logp[0], w)
        with torch.no_grad():
            w -= lr * gradient * (step < n)
    last = rows[-1]
    rise = features @ (features[0] - features[1])
    return {
        "chosen_end": last["chosen"],
        "rejected_end": last["rejected"],
        "margin_end": last["chosen"] - last["rejected"],
        "loss_start": rows[0]["loss"],
        "loss_end": last["loss"],
        "chosen_factor": math.exp(last["chosen"] / beta),
        "third_end": (start + features @ w.detach()).softmax(0)[2].item(),
        "theory_first": ((rise[0] - (start.exp() * rise).sum()) / (rise[0] - rise[1])).item(),
    }


def answers(similarity: float, towards: float) -> Tensor:
    """Three vectors of length 1: chosen, rejected, third."""
    half = math.acos(similarity) / 2
    rest = math.sqrt(1 - towards * towards)
    return torch.tensor(
        [[math.cos(half), math.sin(half), 0], [math.cos(half), -math.sin(half), 0], [0, towards, rest]],
        dtype=torch.float64,
    )


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
