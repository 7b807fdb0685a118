"""A generator whose loss contains log(sigmoid(z)) gets no gradient or nan once the discriminator is sure.

z = `x` is the discriminator's logit of a generated sample, D = sigmoid(z), float32; the discriminator is sure of a fake
when z is very negative. Losses of the generator, gradients with respect to z by autograd:

saturating   log(1 − D), the minimax loss: its gradient is −D and vanishes with D
naive        −log(D) as it stands: D underflows to 0 for z below −104; the loss is inf, the gradient 0·inf = nan
eps          −log(D + `eps`): finite, but the gradient is D/(D + eps)·(D − 1), 0 where D is far below eps
bce          torch's binary_cross_entropy(D, 1), which limits the logarithm to −100: gradient 0 where D is 0
fused        softplus(−z), that is binary_cross_entropy_with_logits: gradient D − 1, nearly −1

discriminator: its own loss of this sample, −log(1 − D) as it stands, inf from z = 17 on, where 1 − D rounds to 0.
The rows scan z from −|x| to |x|. Nothing is random.
Source: Goodfellow et al. 2014, Generative adversarial nets.
"""

from collections.abc import Callable, Generator

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, softplus

TITLE = {"zh": "GAN 的 log D", "en": "The log D of a GAN"}
PARAMS = {
    "x": {"zh": "判别器给生成样本的 logit z", "en": "logit z of a generated sample", "ge": -1000, "le": 1000},
    "eps": {"zh": "log 里加的 eps", "en": "eps inside the logarithm", "ge": 0, "le": 0.1},
}
COLUMNS = {
    "z": {"zh": "logit z", "en": "logit z"},
    "saturating": {"zh": "梯度：log(1 − D)", "en": "gradient: log(1 − D)"},
    "eps": {"zh": "梯度：−log(D + eps)", "en": "gradient: −log(D + eps)"},
    "fused": {"zh": "梯度：从 logit 算", "en": "gradient: from the logit"},
}
METRICS = {
    "probability": {"zh": "D", "en": "D"},
    "gradient_saturating": {"zh": "log(1 − D) 的梯度（绝对值）", "en": "gradient of log(1 − D), absolute"},
    "naive_loss": {"zh": "−log D，照公式写", "en": "−log D computed naively"},
    "gradient_naive": {"zh": "它的梯度（绝对值）", "en": "its gradient, absolute"},
    "eps_loss": {"zh": "−log(D + eps)", "en": "−log(D + eps)"},
    "gradient_eps": {"zh": "它的梯度（绝对值）", "en": "its gradient, absolute"},
    "bce_loss": {"zh": "binary_cross_entropy(D, 1)", "en": "binary_cross_entropy(D, 1)"},
    "gradient_bce": {"zh": "它的梯度（绝对值）", "en": "its gradient, absolute"},
    "fused_loss": {"zh": "从 logit 算的损失", "en": "loss from the logit"},
    "gradient_fused": {"zh": "它的梯度（绝对值）", "en": "its gradient, absolute"},
    "discriminator": {"zh": "判别器的 −log(1 − D)", "en": "the discriminator's −log(1 − D)"},
}
CHART = {
    "transform": [{"fold": ["saturating", "eps", "fused"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "z", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(x: float = -20.0, eps: float = 1e-8) -> Generator[Row, None, Metrics]:
    losses: dict[str, Callable[[Tensor], Tensor]] = {
        "saturating": lambda z: (1 - z.sigmoid()).log(),
        "naive": lambda z: -z.sigmoid().log(),
        "eps": lambda z: -(z.sigmoid() + eps).log(),
        "bce": lambda z: binary_cross_entropy(z.sigmoid(), torch.ones_like(z), reduction="none"),
        "fused": lambda z: softplus(-z),
    }
    scan = torch.linspace(-abs(x), abs(x), 61)
    slopes = {name: slope(losses[name], scan) for name in ("saturating", "eps", "fused")}
    for k, z in enumerate(scan.tolist()):
        yield {"z": z, **{name: values[k].item() for name, values in slopes.items()}}
    z = torch.tensor([x])
    gradients = {name: slope(loss, z).item() for name, loss in losses.items()}
    return {
        "probability": z.sigmoid().item(),
        "gradient_saturating": gradients["saturating"],
        **{f"{name}_loss": losses[name](z).item() for name in ("naive", "eps", "bce", "fused")},
        **{f"gradient_{name}": gradients[name] for name in ("naive", "eps", "bce", "fused")},
        "discriminator": -(1 - z.sigmoid()).log().item(),
    }


def slope(loss: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """The size of the gradient of each sample's loss."""
    leaf = z.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf).sum(), leaf)[0].abs()


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
