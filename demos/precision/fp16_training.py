"""Small gradients become 0 in float16 and nothing is learned; a loss scaled before backward learns like float32.

Net: 2 - `width` - 1, ReLU, weights N(0, 1/2) and N(0, 1/(2·width)), biases 0; 256 points x ~ N(0, 1), target sin(2·x₁);
`n` steps of full gradient descent. The mean squared error is multiplied by `loss_mult` and the learning rate divided by
it, so that float32 takes the very same steps at any `loss_mult`; only the size of the gradients changes. Six ways, from
the same weights: fp32; pure fp16 (weights, activations, loss, gradients, update); mixed fp16 (float32 master weights
and loss, the rest in float16) without loss scaling and with `scale`; pure bf16; mixed bf16 (unscaled). A step whose
gradients are not all finite is skipped. MSE is that of the float32 net with the weights at the end.

Zero gradients: the fraction of those that are not 0 in float32, at the first step. Unchanged: the fraction of the
parameters that the last step left as they were, bit for bit. Source: Micikevicius et al. 2018, Mixed precision
training; Kalamkar et al. 2019, A study of BFLOAT16 for deep learning training.
"""

from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "用 float16 和 bfloat16 训练", "en": "Training in float16 and bfloat16"}
PARAMS = {
    "width": {"zh": "隐藏层宽度", "en": "hidden units", "unit": "unit", "ge": 1, "le": 128},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 1, "le": 400},
    "lr": {"zh": "学习率", "en": "learning rate", "ge": 0, "le": 10},
    "scale": {"zh": "损失缩放的倍数", "en": "loss scale", "ge": 1, "le": 16777216},
    "loss_mult": {"zh": "损失的权重", "en": "weight of the loss", "ge": 1e-12, "le": 1},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "fp32": {"zh": "float32", "en": "float32"},
    "fp16": {"zh": "纯 float16", "en": "pure float16"},
    "mixed": {"zh": "混合 float16，不放大损失", "en": "mixed float16, no loss scaling"},
    "scaled": {"zh": "混合 float16，放大损失", "en": "mixed float16, loss scaled"},
    "bf16": {"zh": "纯 bfloat16", "en": "pure bfloat16"},
    "bf16_mixed": {"zh": "混合 bfloat16", "en": "mixed bfloat16"},
}
METRICS = {
    "start_mse": {"zh": "训练前的 MSE", "en": "MSE before training"},
    "fp32_mse": {"zh": "float32：MSE", "en": "float32: MSE"},
    "fp16_mse": {"zh": "纯 float16：MSE", "en": "pure float16: MSE"},
    "mixed_mse": {"zh": "混合 float16，不放大：MSE", "en": "mixed float16, unscaled: MSE"},
    "scaled_mse": {"zh": "混合 float16，放大损失：MSE", "en": "mixed float16, loss scaled: MSE"},
    "bf16_mse": {"zh": "纯 bfloat16：MSE", "en": "pure bfloat16: MSE"},
    "bf16_mixed_mse": {"zh": "混合 bfloat16：MSE", "en": "mixed bfloat16: MSE"},
    "fp16_over_fp32": {"zh": "纯 float16 与 float32 的 MSE 之比", "en": "MSE, pure float16 over float32"},
    "mixed_over_fp32": {"zh": "混合不放大与 float32 的 MSE 之比", "en": "MSE, mixed unscaled over float32"},
    "scaled_over_fp32": {"zh": "混合放大与 float32 的 MSE 之比", "en": "MSE, mixed scaled over float32"},
    "bf16_over_fp32": {"zh": "纯 bfloat16 与 float32 的 MSE 之比", "en": "MSE, pure bfloat16 over float32"},
    "bf16_mixed_over_fp32": {"zh": "混合 bfloat16 与 float32 的 MSE 之比", "en": "MSE, mixed bfloat16 over float32"},
    "scaled_gap": {"zh": "混合放大与 float32 的相对差", "en": "relative gap, mixed scaled to float32"},
    "fp16_zero_grads": {"zh": "纯 float16：变成 0 的梯度", "en": "pure float16: gradients that became 0"},
    "mixed_zero_grads": {"zh": "混合不放大：变成 0 的梯度", "en": "mixed unscaled: gradients that became 0"},
    "scaled_zero_grads": {"zh": "混合放大：变成 0 的梯度", "en": "mixed scaled: gradients that became 0"},
    "bf16_zero_grads": {"zh": "纯 bfloat16：变成 0 的梯度", "en": "pure bfloat16: gradients that became 0"},
    "fp32_unchanged": {"zh": "float32：最后一步没动的参数", "en": "float32: parameters the last step left alone"},
    "fp16_unchanged": {"zh": "纯 float16：最后一步没动的参数", "en": "pure float16: parameters left alone"},
    "bf16_unchanged": {"zh": "纯 bfloat16：最后一步没动的参数", "en": "pure bfloat16: parameters left alone"},
    "scaled_skipped": {"zh": "混合放大：跳过的步数", "en": "mixed scaled: skipped steps", "unit": "step"},
}
CHART = {
    "transform": [{"fold": ["fp32", "fp16", "mixed", "scaled", "bf16", "bf16_mixed"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": {"size": 12}},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative", "scale": {"type": "log"}},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]
Weights = list[Tensor]
KINDS = {  # format of the working copy, are the weights kept in float32, is the loss scaled
    "fp32": (torch.float32, True, False),
    "fp16": (torch.float16, False, False),
    "mixed": (torch.float16, True, False),
    "scaled": (torch.float16, True, True),
    "bf16": (torch.bfloat16, False, False),
    "bf16_mixed": (torch.bfloat16, True, False),
}


def run(
    width: int = 32, n: int = 200, lr: float = 0.05, scale: float = 65536.0, loss_mult: float = 1e-6
) -> Generator[Row, None, Metrics]:
    x = torch.randn(256, 2)
    y = (2 * x[:, :1]).sin()
    start = [
        torch.randn(2, width) * 0.5**0.5,
        torch.zeros(width),
        torch.randn(width, 1) * (0.5 / width) ** 0.5,
        torch.zeros(1),
    ]
    kept = {kind: [w.clone() if master else w.to(form) for w in start] for kind, (form, master, _) in KINDS.items()}
    zero: dict[str, float] = {}
    unchanged: dict[str, float] = {}
    skipped = dict.fromkeys(KINDS, 0)
    first = gradients(start, x, y, torch.float32, True, loss_mult)
    alive = [g != 0 for g in first]
    every = max(1, n // 20)
    yield {"step": 0} | {kind: mse(weights, x, y) for kind, weights in kept.items()}
    for step in range(1, n + 1):
        for kind, (form, master, scaled) in KINDS.items():
            factor = scale if scaled else 1.0
            grads = gradients(kept[kind], x, y, form, master, loss_mult * factor)
            if step == 1:
                zero[kind] = share_of([(g == 0)[a] for g, a in zip(grads, alive, strict=True)])
            before = kept[kind]
            if torch.cat([g.flatten() for g in grads]).isfinite().all():
                kept[kind] = [
                    w - (g.float() * (lr / loss_mult / factor)).to(w.dtype) for w, g in zip(before, grads, strict=True)
                ]
            else:
                skipped[kind] += 1
            if step == n:
                unchanged[kind] = share_of([old == new for old, new in zip(before, kept[kind], strict=True)])
        if step % every == 0 or step == n:
            yield {"step": step} | {kind: mse(weights, x, y) for kind, weights in kept.items()}
    end = {kind: mse(weights, x, y) for kind, weights in kept.items()}
    measured: Metrics = (
        {"start_mse": mse(start, x, y)}
        | {f"{kind}_mse": value for kind, value in end.items()}
        | {f"{kind}_over_fp32": value / end["fp32"] for kind, value in end.items() if kind != "fp32"}
        | {f"{kind}_zero_grads": zero[kind] for kind in ("fp16", "mixed", "scaled", "bf16")}
        | {f"{kind}_unchanged": unchanged[kind] for kind in ("fp32", "fp16", "bf16")}
        | {"scaled_gap": abs(end["scaled"] / end["fp32"] - 1), "scaled_skipped": skipped["scaled"]}
    )
    return measured


def gradients(weights: Weights, x: Tensor, y: Tensor, form: torch.dtype, wide_loss: bool, weight: float) -> Weights:
    """Gradients of weight·MSE: activations and gradients in `form`, the loss in float32 or in `form` as well."""
    work = [w.to(form).detach().requires_grad_() for w in weights]
    out = forward(work, x.to(form))
    loss = (out.float() - y).square().mean() * weight if wide_loss else (out - y.to(form)).square().mean() * weight
    return list(torch.autograd.grad(loss, work))


def forward(weights: Weights, x: Tensor) -> Tensor:
    w1, b1, w2, b2 = weights
    return torch.relu(x @ w1 + b1) @ w2 + b2


def mse(weights: Weights, x: Tensor, y: Tensor) -> float:
    """In float32, whatever the weights are kept in."""
    return float((forward([w.float() for w in weights], x) - y).double().square().mean())


def share_of(masks: list[Tensor]) -> float:
    found = torch.cat([mask.flatten() for mask in masks])
    return float(found.double().mean()) if len(found) else 0.0


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
