"""Rules on what the layers return: saturated and silent units."""

from collections.abc import Iterator

from qa_service.diagnosis.layer_rules.findings import findings
from qa_service.diagnosis.layer_rules.traced_run import TracedRun
from qa_service.model.diagnosis import Finding


def saturation(traced: TracedRun) -> Iterator[Finding]:
    """Findings on sigmoid and tanh units that are saturated, on the flat part of the function, from the first steps
    on.
    """
    if traced.most_saturated_module is None or not (traced.is_failing or traced.last_loss > 0.5 * traced.start_loss):
        return
    name, share = traced.most_saturated_module
    values = traced.first_sampled_modules.get("", {})
    if share > 0.5:
        yield from findings(
            "saturated_from_start",
            "{layer} 有 {0}% 的输出从一开始就在饱和区，那里的导数近于零",
            "{0} % of the outputs of {layer} are saturated from the start, where the slope is almost zero",
            100 * share,
            layer=name,
            saturated_activation=1.5 if values.get("in_rms", 1) > 10 else 3.8,
        )
    elif share < 0.2:
        yield from findings(
            "not_saturated",
            "sigmoid/tanh 没有饱和：一开始最多 {0}%",
            "the sigmoid and tanh units are not saturated: {0} % at most at the start",
            100 * share,
            saturated_activation=-2.0,
        )


def dead_units(traced: TracedRun) -> Iterator[Finding]:
    """Findings on units that return 0 for every sample, step after step."""
    if not (traced.loss_is_stuck or traced.slow_descent) or not traced.modules:
        return
    name, share = traced.initial_dead_unit_share
    if share >= 0.9:
        yield from findings(
            "silent_from_start",
            "{layer} 从第一步起就有 {0}% 的单元对所有样本输出零",
            "{0} % of the units of {layer} are 0 for every sample from the first step on",
            100 * share,
            layer=name,
            dead_relu=5.0,
            chance_labels=-2.0,
            no_update=-2.5,
            step_too_small=-1.5,
        )
        return
    if not traced.loss_is_stuck:
        return
    end = max(traced.modules)
    found = traced.dead_unit_share("silent", end) or traced.dead_unit_share("silent_now", end)
    if found is None:
        return
    name, share = found
    if share >= 0.6:
        large = (traced.first_update or 0) > 0.05
        later = traced.initial_dead_unit_share[1] < 0.3 and min(traced.losses, default=0.0) < 0.5 * traced.start_loss
        weight = 0.8 if later else 1.5 if large or traced.initial_dead_unit_share[1] > 0.5 * share else 2.5
        yield from findings(
            "silent_in_window",
            "{layer} 有 {0}% 的单元在最近几次记录里对所有样本都输出零",
            "{0} % of the units of {layer} were 0 for every sample of the last records",
            100 * share,
            step=end,
            layer=name,
            dead_relu=weight,
            step_too_large=1.0 if large else 0.0,
        )
    elif share < 0.3:
        yield from findings(
            "units_alive",
            "没有死掉的 ReLU 层：持续为零的单元最多 {0}%",
            "no layer of rectifiers has died: {0} % of the units are silent at most",
            100 * share,
            dead_relu=-2.0,
        )


def faded_signal(traced: TracedRun) -> Iterator[Finding]:
    """Findings on outputs that at the first step hardly differ between samples: each layer passes on less of its
    input.
    """
    if (
        not traced.input_insensitive
        or not traced.is_failing
        or traced.has_symmetric_units
        or traced.initial_dead_unit_share[1] > 0.9
    ):
        return
    values = traced.first_sampled_modules.get("", {})
    yield from findings(
        "outputs_alike",
        "第一步时，不同样本的输出几乎一样：差别只有输出大小的 {0} 倍，信号在各层里消失了",
        "at the first step the outputs for different samples differ by only {0} of their size: the signal is lost on "
        "its way through the layers",
        values["out_spread"] / values["out_rms"],
        vanishing_signal=2.5,
        chance_labels=-1.5,
        step_too_small=-1.0,
    )
