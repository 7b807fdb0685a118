"""Rules on the inputs and the labels."""

import math
from collections.abc import Iterator
from statistics import median

from qa_service.diagnosis.layer_rules.findings import findings, log10
from qa_service.diagnosis.layer_rules.formats import swallowed_share
from qa_service.diagnosis.layer_rules.traced_run import TracedRun
from qa_service.model.diagnosis import Finding


def inputs(traced: TracedRun) -> Iterator[Finding]:
    """Findings on the numbers that enter the model: their size, their columns, nan among them."""
    values = traced.first_sampled_modules.get("", {})
    named = (event.step for event in traced.run.events if event.name == "input_not_finite")
    bad = next(named, None)
    if bad is None:
        bad = next(
            (step for step in sorted(traced.modules) if traced.modules[step].get("", {}).get("in_bad", 0) > 0), None
        )
    if bad is not None and traced.loss_is_nonfinite:
        yield from findings(
            "input_not_finite",
            "输入里已经有 nan 或 inf",
            "the input itself holds nan or inf",
            step=bad,
            nonfinite_data=3.5,
        )
    size, columns = values.get("in_rms"), values.get("in_columns", 1.0)
    if size is None or not (traced.is_failing or (traced.large_first_loss and not traced.exceeds_mean_reduction)):
        return
    normed = any("Norm" in kind for _, kind in traced.module_classes[:2])
    share = 0.3 if normed else 1.0
    if columns > 100:
        yield from findings(
            "columns_differ",
            "有一列输入的大小是各列中位数的 {0} 倍",
            "one column of the input is {0} times as large as the median column",
            columns,
            inputs_not_scaled=4.5 * share,
            weights_too_large=-0.5,
            step_too_large=-2.5 * share,
        )
    elif size > 10:
        yield from findings(
            "input_large",
            "输入的均方根是 {0}，没有归一化",
            "the input has an rms of {0}: it is not scaled to about 1",
            size,
            inputs_not_scaled=min(4.5, 2.0 + 1.5 * log10(size / 10)) * share,
            step_too_large=-1.5 * share,
        )
    elif values.get("in_offset", 0) > 20:
        yield from findings(
            "input_offset",
            "输入的均值是标准差的 {0} 倍，没有减去均值",
            "the mean of the input is {0} standard deviations from 0",
            values["in_offset"],
            inputs_not_scaled=1.5 * share,
        )
    elif 0.1 < size < 5 and columns < 30:
        yield from findings(
            "input_usual",
            "输入的大小正常：均方根 {0}",
            "the input has a usual size: rms {0}",
            size,
            inputs_not_scaled=-3.0,
        )


def labels(traced: TracedRun) -> Iterator[Finding]:
    """Findings on targets that are not finite; a batch without a label, over which the mean is 0/0."""
    bad = next((event.step for event in traced.run.events if event.name == "target_not_finite"), None)
    if bad is not None and traced.loss_is_nonfinite:
        yield from findings(
            "target_not_finite",
            "目标值里已经有 nan 或 inf",
            "the targets themselves hold nan or inf",
            step=bad,
            bad_labels=6.0,
            nonfinite_data=-2.0,
        )
    if traced.number("ignored") == 1 and any(not math.isfinite(each) for each in traced.losses):
        yield from findings(
            "no_label_left",
            "出错的那一批里所有标签都被忽略，平均成了 0/0",
            "all labels of the batch at fault are ignored: the mean over none is 0/0",
            bad_labels=5.0,
        )


def targets(traced: TracedRun) -> Iterator[Finding]:
    """Findings on targets of a regression that are far from 1: the loss and its gradient grow with their size."""
    size = traced.number("target_rms")
    if size is None or not size > 100 or not traced.is_failing:
        return
    yield from findings(
        "targets_large",
        "目标值的均方根是 {0}，没有缩放到 1 左右",
        "the targets have an rms of {0}: they are not scaled to about 1",
        size,
        inputs_not_scaled=min(4.5, 2.0 + 1.5 * log10(size / 100)),
        step_too_large=-1.5,
        weights_too_large=-1.5,
    )


def outliers(traced: TracedRun) -> Iterator[Finding]:
    """Findings on single batches with values far beyond those of the others, and the loss of these batches."""
    if not traced.is_failing and not traced.has_spikes:
        return
    sizes = {each.step: each.value for each in traced.run.series.get("input_max", ()) if each.step is not None}
    if len(sizes) < 20:
        return
    usual = median(sizes.values())
    large = sorted(step for step, size in sizes.items() if size > 10 * usual > 0)
    if not 0 < len(large) <= 0.2 * len(sizes):
        return
    yield from findings(
        "batch_with_outliers",
        "第 {0} 步等 {1} 批的输入最大到 {2}，平时是 {3}：这些批里有异常样本",
        "the inputs of {1} batches, first at step {0}, reach {2}; usually it is {3}: these batches hold outliers",
        large[0],
        len(large),
        max(sizes[step] for step in large),
        usual,
        step=large[0],
        bad_batches=5.5,
        adam_stale=-2.5,
        step_too_large=-2.0,
        batch_norm=-1.0,
        overfitting=-1.0,
        inputs_not_scaled=-1.0,
    )


def repeated_samples(traced: TracedRun) -> Iterator[Finding]:
    """Findings on very few different samples: a model that memorises these has learned nothing else."""
    number, batch = traced.different_samples, traced.number("batch_size")
    if number is None or not batch or number > 2 * batch or traced.loss_is_nonfinite:
        return
    yield from findings(
        "few_different_samples",
        "记录下的各批里反复出现同样的样本：总共只有大约 {0} 个不同的样本，一批就有 {1} 个",
        "the same samples come again in all recorded batches: there are only about {0} different ones, and {1} in a "
        "batch",
        number,
        batch,
        overfitting=4.0,
        batch_norm=-1.5,
        chance_labels=-1.5,
        bad_batches=-2.0,
    )


def data_by_elimination(traced: TracedRun) -> Iterator[Finding]:
    """Findings on a run that does not learn although signal, weights and updates are usual: by elimination, the data or
    labels are the cause.
    """
    first = traced.first_update
    if not traced.slow_descent or traced.loss_is_nonfinite or first is None or traced.chance_loss is None:
        return
    if traced.last_loss > 1.05 * traced.start_loss or (traced.first_loss_over_chance or 0.0) < 0.7:
        return  # it rises, as a generator's does, or began far below chance: trained before
    numbers = [*traced.first_sampled_modules.values()]
    if any(values.get("time_steps", 0) >= 20 for values in numbers):
        return  # a gradient that fades through time is not measured everywhere
    usual = 3e-4 < first < 0.05 and 0.3 < (traced.initial_gain or 1.0) < 1.8 and not traced.large_first_loss
    held = all(facts["held"] > 0 for facts in traced.facts.values() if facts["trained"] > 0)
    zeroed = (traced.number("carried") or 0.0) < 0.1
    alive = traced.initial_dead_unit_share[1] < 0.5 and (
        traced.most_saturated_module is None or traced.most_saturated_module[1] < 0.3
    )
    if (
        numbers
        and usual
        and held
        and zeroed
        and alive
        and not traced.has_symmetric_units
        and swallowed_share(traced) < 0.3
    ):
        yield from findings(
            "numbers_are_sound",
            "初始权重、信号、更新的大小都正常（第一次更新是权重的 {0} 倍），损失却降不下去",
            "initial weights, signal and updates have usual sizes (the first update is {0} of the weights), and still "
            "the loss does not fall",
            first,
            chance_labels=1.5,
        )
