"""A temperature of 0.01 multiplies the gradient of a wrong pair by 100 and puts exp(100) into a softmax.

InfoNCE over `n` pairs of unit vectors of width `d`: u ~ N(0, 1) normalised, its partner v the normalised sum of
`cosine`·u and √(1 − cosine²)·w, w a fresh unit vector. Logits u·v/`x`, x being the temperature; the loss is the mean
cross-entropy with the partner as the right class, one direction. Gradients are with respect to u before it is
normalised, in float64, over the norm that they have at temperature 1 with the same vectors (theory: they cannot exceed
2/x each). The rows scan temperatures from 1 to x in equal ratios.

naive: −log(exp(s)/Σ exp(s)) written as it stands, in float32, against the fused loss. half: logits in bfloat16, which
has steps of 0.5 between 64 and 128; their largest error. scale: a learned log-scale s, logits e^s·u·v, `steps` steps of
gradient descent at rate `lr` from ln(1/0.07), the vectors being fixed; once free, once limited to ln 100 as in CLIP.
Random: vectors. Source: Radford et al. 2021, Learning transferable visual models from natural language supervision.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

TITLE = {"zh": "对比学习的温度", "en": "The temperature of a contrastive loss"}
PARAMS = {
    "x": {"zh": "温度 τ", "en": "temperature τ", "ge": 1e-3, "le": 10},
    "cosine": {"zh": "正样本对的余弦", "en": "cosine of a positive pair", "ge": 0, "le": 1},
    "n": {"zh": "对数（批量大小）", "en": "pairs (batch size)", "ge": 2, "le": 256},
    "d": {"zh": "向量宽度", "en": "width of the vectors", "ge": 2, "le": 512},
    "steps": {"zh": "学温度的步数", "en": "steps of the learned scale", "unit": "step", "ge": 1, "le": 500},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 100},
}
COLUMNS = {
    "temperature": {"zh": "温度", "en": "temperature"},
    "gradient": {"zh": "梯度范数", "en": "gradient norm"},
    "loss": {"zh": "损失", "en": "loss"},
}
METRICS = {
    "loss": {"zh": "损失", "en": "loss"},
    "gradient": {"zh": "梯度范数", "en": "gradient norm"},
    "gradient_ratio": {"zh": "是温度 1 时的几倍", "en": "times that at temperature 1"},
    "theory_ratio": {"zh": "1/τ", "en": "1/τ"},
    "top_negative": {"zh": "最难的负样本占负样本权重的比例", "en": "fraction of the negatives' weight on the hardest"},
    "naive_loss": {"zh": "照公式写的损失（float32）", "en": "loss computed naively, float32"},
    "fused_loss": {"zh": "融合写法的损失（float32）", "en": "fused loss, float32"},
    "half_error": {"zh": "bfloat16 里 logit 的最大误差", "en": "largest error of a bfloat16 logit"},
    "free_scale": {"zh": "学到的 1/τ，不加限制", "en": "learned 1/τ, free"},
    "limited_scale": {"zh": "学到的 1/τ，限制在 100", "en": "learned 1/τ, limited to 100"},
    "theory_chance": {"zh": "ln n", "en": "ln n"},
}
CHART = {
    "transform": [{"fold": ["gradient", "loss"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "temperature", "type": "quantitative", "scale": {"type": "log"}},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    x: float = 0.01, cosine: float = 0.1, n: int = 64, d: int = 64, steps: int = 200, lr: float = 1.0
) -> Generator[Row, None, Metrics]:
    u = torch.randn(n, d).double()
    other = normalize(torch.randn(n, d).double(), dim=1)
    v = normalize(cosine * normalize(u, dim=1) + math.sqrt(1 - cosine**2) * other, dim=1)
    for k in range(31):
        tau = x ** (k / 30)
        loss, gradient = info_nce(u, v, tau)
        yield {"temperature": tau, "gradient": gradient, "loss": loss}
    loss, gradient = info_nce(u, v, x)
    similarity = normalize(u, dim=1) @ v.T
    logits = (similarity / x).float()
    negatives = (similarity / x).masked_fill(torch.eye(n, dtype=torch.bool), -math.inf).softmax(1)
    return {
        "loss": loss,
        "gradient": gradient,
        "gradient_ratio": gradient / info_nce(u, v, 1.0)[1],
        "theory_ratio": 1 / x,
        "top_negative": negatives.amax(1).mean().item(),
        "naive_loss": -(logits.exp() / logits.exp().sum(1, keepdim=True)).diagonal().log().mean().item(),
        "fused_loss": cross_entropy(logits, torch.arange(n)).item(),
        "half_error": (logits.bfloat16().double() - logits.double()).abs().max().item(),
        "free_scale": learned_scale(similarity, steps, lr, math.inf),
        "limited_scale": learned_scale(similarity, steps, lr, math.log(100)),
        "theory_chance": math.log(n),
    }


def info_nce(u: Tensor, v: Tensor, tau: float) -> tuple[float, float]:
    """Loss, and the norm of its gradient with respect to u."""
    leaf = u.clone().requires_grad_()
    loss = cross_entropy(normalize(leaf, dim=1) @ v.T / tau, torch.arange(len(u)))
    (gradient,) = torch.autograd.grad(loss, leaf)
    return loss.item(), gradient.norm().item()


def learned_scale(similarity: Tensor, steps: int, lr: float, most: float) -> float:
    """1/τ after descent on s = ln(1/τ), s limited to `most`. dL/ds = e^s · mean(Σ p·sim − sim of the pair)."""
    s = math.log(1 / 0.07)
    for _ in range(steps):
        p = (math.exp(min(s, 700)) * similarity).softmax(1)
        slope = math.exp(min(s, 700)) * ((p * similarity).sum(1) - similarity.diagonal()).mean().item()
        s = min(s - lr * slope, most)
    return math.exp(min(s, 700))


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
