"""A latent of a VAE stays in use only if it explains more variance than the KL weighs; otherwise its KL falls to 0.

A linear VAE: encoder mean V x, one learned log-variance per latent, decoder W z, `latents` latents, data of `pixels`
dimensions with mean 0. Their covariance has `factors` directions of variance λ_i = pixels·0.2/i and 0.01 in all others,
so each pixel has a variance of order 1. The loss is c/2·(squared error over a sample) + β·KL, in expectation over data
and noise (the covariance is used, nothing is drawn but the starting weights, normal with standard deviation 0.1):

summed    c = 1, the squared error summed over the pixels, a decoder variance of 1
averaged  c = 2/pixels, the squared error averaged over the pixels (a plain MSELoss) beside a KL summed over the latents

Both trained with Adam at rate 0.02 for `n` steps; with `warm_up`, β grows linearly from 0 over the first half of them.
Theory: at the optimum a direction is in use if λ_i > β/c, with a KL of ln(c·λ_i/β)/2; otherwise the encoder ignores it.
A latent counts as active if its KL exceeds 0.01. Source: Lucas et al. 2019, Don't blame the ELBO! A linear VAE
perspective on posterior collapse; Kingma & Welling 2014, Auto-encoding variational Bayes.
"""

import math
from collections.abc import Generator

import torch
from torch import Tensor

TITLE = {"zh": "VAE 的 KL 降到 0：后验坍缩", "en": "The KL of a VAE falls to 0: posterior collapse"}
PARAMS = {
    "beta": {"zh": "KL 的权重 β", "en": "weight β of the KL", "ge": 0, "le": 1000},
    "pixels": {"zh": "像素数", "en": "pixels", "ge": 8, "le": 256},
    "latents": {"zh": "隐变量数", "en": "latents", "ge": 1, "le": 16},
    "factors": {"zh": "数据里真正的因子数", "en": "factors in the data", "ge": 1, "le": 8},
    "warm_up": {"zh": "β 从 0 预热", "en": "warm β up from 0"},
    "n": {"zh": "训练步数", "en": "training steps", "unit": "step", "ge": 10, "le": 1000},
}
COLUMNS = {
    "step": {"zh": "步", "en": "step"},
    "averaged": {"zh": "KL，误差按像素平均", "en": "KL, error averaged over pixels"},
    "summed": {"zh": "KL，误差按像素求和", "en": "KL, error summed over pixels"},
}
METRICS = {
    "averaged": {"zh": "KL，误差按像素平均", "en": "KL, error averaged over pixels"},
    "summed": {"zh": "KL，误差按像素求和", "en": "KL, error summed over pixels"},
    "theory_averaged": {"zh": "KL 的理论值，平均", "en": "KL in theory, averaged"},
    "theory_summed": {"zh": "KL 的理论值，求和", "en": "KL in theory, summed"},
    "active_averaged": {"zh": "在用的隐变量数，平均", "en": "active latents, averaged"},
    "active_summed": {"zh": "在用的隐变量数，求和", "en": "active latents, summed"},
    "explained_averaged": {"zh": "重建解释的方差，平均", "en": "variance reconstructed, averaged"},
    "explained_summed": {"zh": "重建解释的方差，求和", "en": "variance reconstructed, summed"},
    "largest_variance": {"zh": "最大的 λ", "en": "largest λ"},
    "threshold": {"zh": "平均时的门槛 β/c", "en": "threshold β/c, averaged"},
}
CHART = {
    "transform": [{"fold": ["averaged", "summed"], "as": ["series", "value"]}],
    "mark": {"type": "line", "point": False},
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
        "color": {"field": "series", "type": "nominal"},
    },
}

Row = dict[str, float]
Metrics = dict[str, float]


def run(
    beta: float = 1.0, pixels: int = 64, latents: int = 4, factors: int = 3, warm_up: bool = False, n: int = 400
) -> Generator[Row, None, Metrics]:
    variances = torch.full((pixels,), 0.01).double()
    variances[:factors] = 0.2 * pixels / torch.arange(1, factors + 1).double()
    weights = {"averaged": 2 / pixels, "summed": 1.0}
    models = {way: start(pixels, latents) for way in weights}
    adams = {way: torch.optim.Adam(model, lr=0.02, fused=True) for way, model in models.items()}
    reached = {way: terms(model, variances) for way, model in models.items()}
    for step in range(1, n + 1):
        now = beta * min(1.0, 2 * step / n) if warm_up else beta
        for way, weight in weights.items():
            error, kl = reached[way]
            adams[way].zero_grad()
            (weight / 2 * error + now * kl.sum()).backward()
            adams[way].step()
            reached[way] = terms(models[way], variances)
        yield {"step": step} | {way: kl.sum().item() for way, (_, kl) in reached.items()}
    metrics: Metrics = {"largest_variance": variances.max().item(), "threshold": beta / weights["averaged"]}
    for way, weight in weights.items():
        error, kl = reached[way]
        metrics[way] = max(kl.sum().item(), 0.0)  # rounding may leave it just below 0
        metrics[f"theory_{way}"] = theory(variances, beta / weight, latents)
        metrics[f"active_{way}"] = int((kl > 0.01).sum())
        metrics[f"explained_{way}"] = 1 - error.item() / variances.sum().item()
    return metrics


def start(pixels: int, latents: int) -> list[Tensor]:
    """V (latents × pixels), W (pixels × latents) and the log-variances of the latents, which start at 0."""
    weights = [0.1 * torch.randn(latents, pixels), 0.1 * torch.randn(pixels, latents), torch.zeros(latents)]
    return [weight.double().requires_grad_() for weight in weights]


def terms(model: list[Tensor], variances: Tensor) -> tuple[Tensor, Tensor]:
    """The expected squared error of a sample, summed over its pixels, and the expected KL of each latent."""
    encoder, decoder, log_variance = model
    residual = torch.eye(len(variances), dtype=torch.float64) - decoder @ encoder
    noise = (log_variance.exp() * decoder.square().sum(0)).sum()
    error = (residual.square() * variances).sum() + noise
    second_moment = (encoder.square() * variances).sum(1)
    return error, 0.5 * (second_moment + log_variance.exp() - 1 - log_variance)


def theory(variances: Tensor, threshold: float, latents: int) -> float:
    """The KL at the optimum: ln(λ/threshold)/2 over the `latents` largest variances above the threshold."""
    used = [variance for variance in variances.tolist()[:latents] if variance > threshold]
    return sum(math.log(variance / threshold) / 2 for variance in used) if threshold else math.inf


if __name__ == "__main__":

    def show() -> Generator[Row, None, None]:
        torch.manual_seed(0)
        print((yield from run()))

    for row in show():
        print(row)
