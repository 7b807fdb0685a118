"""Rules on batch norms, and on residual blocks that end in a norm."""

import math
from collections.abc import Iterator

from qa_service.diagnosis.layer_rules.findings import findings
from qa_service.diagnosis.layer_rules.traced_run import TracedRun
from qa_service.model.diagnosis import Finding


def running_statistics(traced: TracedRun) -> Iterator[Finding]:
    """Findings on batch norm in a model that has learned its training data and is no good in validation."""
    held_out = [each.value for each in traced.run.series.get("val_loss", ()) if math.isfinite(each.value)]
    normed = any("BatchNorm" in kind for kind in traced.run.module_classes.values())
    if (
        normed
        and len(held_out) >= 3
        and traced.worse_final_loss > 10 * traced.last_loss
        and min(held_out) > 0.5 * traced.start_loss
    ):
        yield from findings(
            "normed_and_learned",
            "训练损失降到 {0}，验证损失一直不低于 {1}，而模型用批归一化：评估用的是另一套统计量",
            "the training loss falls to {0}, that of validation is never below {1}, and the model has batch norms, "
            "which use other statistics in evaluation",
            traced.last_loss,
            min(held_out),
            batch_norm=2.0,
            chance_labels=-2.0,
        )


def batch_statistics(traced: TracedRun) -> Iterator[Finding]:
    """Findings on batch norm over one or two numbers."""
    counts = [
        (values["batch_count"], name)
        for modules in traced.modules.values()
        for name, values in modules.items()
        if values.get("batch_count", 0) > 0
    ]
    if not counts or not (traced.is_failing or traced.slow_descent or "val_loss" in traced.run.series):
        return
    count, name = min(counts)
    if count <= 4:
        yield from findings(
            "batch_norm_over_few",
            "{layer} 的批归一化每个通道只对 {0} 个数求统计",
            "the batch norm {layer} takes its statistics from {0} numbers per channel",
            count,
            layer=name,
            batch_norm=3.5 if count <= 2 else 2.0,
        )
    elif count >= 16 and traced.is_failing and not traced.worse_final_loss > 10 * traced.last_loss:
        yield from findings(
            "batch_norm_over_many",
            "批归一化每个通道对 {0} 个数求统计，足够多",
            "the batch norms take their statistics from {0} numbers per channel, which is enough",
            count,
            batch_norm=-1.0,
        )


def post_norm_without_warm_up(traced: TracedRun) -> Iterator[Finding]:
    """Findings on post-norm residual blocks under Adam from full rate on."""
    rates = [record.value for record in traced.run.series.get("lr", ())]
    if not traced.is_failing or not traced.is_scale_free or not rates or not post_norm(traced):
        return
    if rates[0] >= 0.5 * max(rates):
        yield from findings(
            "post_norm_at_full_rate",
            "残差块的归一化在后（post-LN），学习率从第一步起就是最大值的 {0}%，没有预热",
            "the residual blocks are normalised after the sum (post-LN), and the learning rate begins at {0} % of its "
            "maximum, without warm-up",
            100 * rates[0] / max(rates),
            no_warmup=2.0,
        )


def post_norm(traced: TracedRun) -> bool:
    """Whether a block with two layer norms or more ends in one, in the order in which they ran."""
    blocks: dict[str, list[str]] = {}
    for name, kind in traced.module_classes:
        if kind in ("LayerNorm", "RMSNorm") or "Linear" in kind:
            parts = name.split(".")
            for depth in range(1, len(parts)):
                blocks.setdefault(".".join(parts[:depth]), []).append(kind)
    inner = [kinds for kinds in blocks.values() if 2 <= sum("Norm" in kind for kind in kinds) <= 3 and len(kinds) <= 10]
    return bool(inner) and all("Norm" in kinds[-1] for kinds in inner)
