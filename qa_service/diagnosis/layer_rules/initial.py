"""Rules on the weights as they were before the first step."""

import math
from collections.abc import Iterator

from qa_service.diagnosis.layer_rules.findings import findings
from qa_service.diagnosis.layer_rules.traced_run import TracedRun
from qa_service.model.diagnosis import Finding


def initial_weights(traced: TracedRun) -> Iterator[Finding]:
    """Findings on the initial weights compared with He's, and the outputs and the signal growth at the first step."""
    gain = traced.initial_gain
    if gain is None or not (traced.is_failing or (traced.large_first_loss and not traced.exceeds_mean_reduction)):
        return
    normed = traced.has_normalisation
    saturated = traced.most_saturated_module is not None and traced.most_saturated_module[1] > 0.5
    if gain > (2.5 if normed else 1.8):
        yield from findings(
            "initial_weights_large",
            "初始权重的均方根是 He 初始化 √(2/fan_in) 的 {0} 倍",
            "the initial weights are {0} times as large as He's √(2/fan-in)",
            gain,
            weights_too_large=1.0 if saturated else min(3.5, 1.0 + 2 * math.log2(gain / 1.8)),
            vanishing_signal=-1.0,
        )
    elif gain < 0.3 and not normed and len(traced.weights) >= 4 and not traced.has_symmetric_units:
        yield from findings(
            "initial_weights_small",
            "初始权重只有 He 初始化 √(2/fan_in) 的 {0} 倍，每过一层信号和梯度都变小",
            "the initial weights are only {0} of He's √(2/fan-in): signal and gradient shrink with every layer",
            gain,
            vanishing_signal=4.0 if gain < 0.15 else 3.0,
            step_too_small=-1.5,
            chance_labels=-1.5,
        )
    elif 0.3 < gain < 1.5:
        yield from findings(
            "initial_weights_usual",
            "初始权重的大小正常：是 He 初始化的 {0} 倍（torch 的默认值约为 0.41）",
            "the initial weights have a usual size: {0} times He's (torch's own give 0.41)",
            gain,
            weights_too_large=-2.0,
        )
    if traced.initial_output_over_loss > 0.85:
        yield from findings(
            "outputs_dominate_the_loss",
            "第一个损失 {0} 几乎全是输出自己的平方：目标与它相比很小",
            "nearly all of the first loss, {0}, is the square of the output itself: the targets are small beside it",
            traced.first_loss,
            weights_too_large=2.5,
            inputs_not_scaled=1.5,
            step_too_large=-1.0,
            vanishing_signal=-1.5,
            chance_labels=-2.0,
        )
    factor = signal_growth(traced)
    if factor is not None and factor > 1.5 and (traced.first_loss_over_chance or 0) > 3:
        yield from findings(
            "signal_grows_with_depth",
            "第一步时信号每过一层就变成 {0} 倍，初始损失是随机猜测的 {1} 倍",
            "at the first step the signal grows {0}-fold per layer, and the loss is {1} times that of chance",
            factor,
            traced.first_loss_over_chance or 0.0,
            weights_too_large=1.5,
        )


def signal_growth(traced: TracedRun) -> float | None:
    """The factor of the signal's rms per layer of weights at the first step; None for fewer than three layers."""
    sizes = [
        values["rms"] / values["in_rms"]
        for name, values in traced.first_sampled_modules.items()
        if values.get("in_rms", 0) > 0 and values.get("rms", 0) > 0 and f"{name}.weight" in traced.facts
    ]
    return math.exp(math.fsum(map(math.log, sizes)) / len(sizes)) if len(sizes) >= 3 else None


def symmetry(traced: TracedRun) -> Iterator[Finding]:
    """Findings on layers whose units were initialised alike."""
    if traced.has_symmetric_units:
        name = next(each for each in traced.weights if traced.facts[each].get("init_rows") == 0)
        yield from findings(
            "units_made_alike",
            "{layer} 等层的各行初始值完全相同：所有单元学到的是同一个东西",
            "all rows of {layer} and other layers began equal: all units of a layer learn the same",
            layer=name,
            symmetric_init=6.0,
            weights_too_large=-1.5,
            vanishing_signal=-1.5,
            dead_relu=-1.0,
        )
    elif traced.is_failing and any("init_rows" in traced.facts[each] for each in traced.weights):
        yield from findings(
            "units_made_different",
            "各层单元的初始值互不相同",
            "the units of each layer began with different weights",
            symmetric_init=-3.0,
        )
