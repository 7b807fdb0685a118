"""At initialisation a Post-LN net has gradients several times larger near the output than a Pre-LN net as deep.

Two nets of L = `layers` residual blocks, branch f(h) = relu(h W) V, W and V ~ N(0, 1/width), no biases, share their
random numbers; inputs N(0, 1), `batch` × `width`. Pre-LN: h ← h + f(LN(h)), with one LN after the last block.
Post-LN: h ← LN(h + f(h)). LN is layer normalisation over the units, eps 1e-5, without γ and β. Loss: ½·(sum over
units, mean over samples) of (output − y)², y ~ N(0, 1). A block's gradient is the norm of the gradients of its W and V
together, in float64; the nets run in float32.

In the Pre-LN net the sum grows: the variance of h after block l is about 1 + l/2, so a block changes the normalised
output less and less, and its gradient is smaller by a factor of the order of √L. That is an order of magnitude and no
prediction of the ratio.
Source: Xiong et al. 2020, On layer normalization in the Transformer architecture (arXiv:2002.04745).
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

TITLE = {"zh": "Pre-LN 与 Post-LN 的梯度", "en": "Gradients of Pre-LN and Post-LN"}
PARAMS = {
    "layers": {"zh": "残差块数", "en": "residual blocks", "ge": 1, "le": 200},
    "width": {"zh": "每层宽度", "en": "width", "ge": 3, "le": 128},
    "batch": {"zh": "样本数", "en": "samples", "ge": 1, "le": 256},
}
LIMITS = [{"product": ["layers", "width", "batch"], "le": 1000000}]
COLUMNS = {
    "layer": {"zh": "第几块", "en": "block"},
    "pre": {"zh": "Pre-LN", "en": "Pre-LN"},
    "post": {"zh": "Post-LN", "en": "Post-LN"},
}
METRICS = {
    "pre_last": {"zh": "Pre-LN：最后一块的梯度", "en": "Pre-LN: gradient of the last block"},
    "post_last": {"zh": "Post-LN：最后一块的梯度", "en": "Post-LN: gradient of the last block"},
    "last_ratio": {"zh": "最后一块：Post-LN 与 Pre-LN 之比", "en": "last block: Post-LN over Pre-LN"},
    "pre_first": {"zh": "Pre-LN：第一块的梯度", "en": "Pre-LN: gradient of the first block"},
    "post_first": {"zh": "Post-LN：第一块的梯度", "en": "Post-LN: gradient of the first block"},
    "pre_last_over_first": {"zh": "Pre-LN：最后一块与第一块之比", "en": "Pre-LN: last block over first"},
    "post_last_over_first": {"zh": "Post-LN：最后一块与第一块之比", "en": "Post-LN: last block over first"},
    "sqrt_layers": {"zh": "√L（数量级）", "en": "√L, the order of magnitude"},
    "pre_variance": {"zh": "Pre-LN：最后一块之后 h 的方差", "en": "Pre-LN: variance of h after the last block"},
    "theory_pre_variance": {"zh": "Pre-LN：方差的理论值 1 + L/2", "en": "Pre-LN: variance in theory, 1 + L/2"},
}
CHART = {
    "transform": [{"fold": ["pre", "post"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": True},
    "encoding": {
        "x": {"field": "layer", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(layers: int = 50, width: int = 64, batch: int = 64) -> Generator[Row, None, Metrics]:
    x, y = torch.randn(batch, width), torch.randn(batch, width)
    weights = [torch.randn(2, width, width) / math.sqrt(width) for _ in range(layers)]
    pre, variance = gradients(x, y, weights, before=True)
    post, _ = gradients(x, y, weights, before=False)
    every = math.ceil(layers / 100)
    for layer in range(layers):
        if layer % every == 0 or layer == layers - 1:
            yield {"layer": layer + 1, "pre": pre[layer], "post": post[layer]}
    return {
        "pre_last": pre[-1],
        "post_last": post[-1],
        "last_ratio": post[-1] / pre[-1],
        "pre_first": pre[0],
        "post_first": post[0],
        "pre_last_over_first": pre[-1] / pre[0],
        "post_last_over_first": post[-1] / post[0],
        "sqrt_layers": math.sqrt(layers),
        "pre_variance": variance,
        "theory_pre_variance": 1 + layers / 2,
    }


def gradients(x: Tensor, y: Tensor, weights: list[Tensor], *, before: bool) -> tuple[list[float], float]:
    """The gradient norm of every block, and the variance of h behind the last."""
    trained = [w.clone().requires_grad_() for w in weights]
    h = x
    for w in trained:
        branch = (normal(h) if before else h) @ w[0]
        h = h + branch.relu() @ w[1]
        h = h if before else normal(h)
    output = normal(h) if before else h
    loss = 0.5 * (output - y).square().sum(1).mean()
    found = torch.autograd.grad(loss, trained)
    return [float(g.double().norm()) for g in found], float(h.detach().double().square().mean())


def normal(h: Tensor) -> Tensor:
    return layer_norm(h, (h.shape[1],))


if __name__ == "__main__":
    torch.manual_seed(0)

    def show() -> Generator[Row, None, None]:
        print((yield from run()))

    for row in show():
        print(row)
