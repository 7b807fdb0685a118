"""Rules on the loss scale, the number format and the architecture."""

import re
from collections.abc import Iterator

from qa_service.diagnosis.curves import (
    finite_records,
    first_nonfinite,
    format_text,
    is_adaptive,
    records,
    setting,
    uses_bfloat16,
    uses_float16,
    uses_full_precision,
)
from qa_service.diagnosis.evidence import feature_findings
from qa_service.diagnosis.nan_rules import onset
from qa_service.diagnosis.nonfinite_harm import loss_keys
from qa_service.diagnosis.printed_precision import infer_dtype
from qa_service.diagnosis.skipping_harm import loss_scale_trend, skipped_steps
from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import TrainingRun


def loss_scale(run: TrainingRun) -> Iterator[Finding]:
    """Findings if the loss scale goes down to its floor, or more than three updates are skipped."""
    scales = finite_records(records(run, "loss_scale"))
    if loss_scale_trend(run) == "staircase":
        text = format_text(
            "损失缩放系数 {first} → {last}（{at}），没有停下",
            "The loss scale goes {first} → {last} ({at}) without finding its place",
            first=scales[0].value,
            last=scales[-1].value,
            at=scales[-1],
        )
        yield from feature_findings("scale_falls", text, scales[0], scales[-1])
        if first := onset(run, *loss_keys(run)):
            text = format_text(
                "缩放系数下降时，损失本身也是 {value}（{at}）",
                "While the scale falls, the loss itself is {value} ({at})",
                value=first.bad.value,
                at=first.bad,
            )
            yield from feature_findings("scale_falls_and_loss_not_finite", text, first.bad)
    elif (count := skipped_steps(run)) > 3:
        text = format_text("跳过了 {count} 次更新", "{count} updates are skipped", count=str(count))
        yield from feature_findings("updates_skipped", text, *scales[-1:])


def number_format(run: TrainingRun) -> Iterator[Finding]:
    """Findings on the number format: from the settings, the grid of printed numbers, and that of Adam's state."""
    feature = (
        "bfloat"
        if uses_bfloat16(run)
        else "single"
        if uses_full_precision(run)
        else "half"
        if uses_float16(run)
        else ""
    )
    words = {
        "bfloat": ("用 bfloat16 训练", "Trained in bfloat16"),
        "single": ("用 float32 训练", "Trained in float32"),
        "half": ("用 float16 训练", "Trained in float16"),
    }
    if feature:
        yield from feature_findings(feature, format_text(*words[feature]))
    if grid := infer_dtype(run):
        text = format_text(
            "打印出来的数都落在 {grid} 的格点上：权重和梯度本身就是 {grid}，没有 float32 的副本",
            "Every printed number lies on the grid of {grid}: weights and gradients themselves are {grid}, "
            "with no copy in float32",
            grid=grid,
        )
        yield from feature_findings(f"digits_of_{grid}", text)
    losses = records(run, "loss")
    pure = (
        feature == "half"
        and run.source == "trace"
        and not setting(run, "autocast")
        and "autocast" not in setting(run, "dtype")
        and "mixed" not in setting(run, "dtype")
    )
    early = first_nonfinite(losses)
    if pure and setting(run, "dtype") and is_adaptive(run) and early in (1, 2) and run.from_start:
        text = format_text(
            "权重和 Adam 的状态都是 float16，eps 存不下", "Weights and Adam's state are float16, where its eps is 0"
        )
        yield from feature_findings("half_state", text, losses[early])


def network_architecture(run: TrainingRun) -> Iterator[Finding]:
    """Findings on whether the model is recurrent, by the settings or the name of the run."""
    names = " ".join([setting(run, "model"), setting(run, "architecture"), run.name.lower()])
    if re.search(r"\b(?:rnn|lstm|gru|seq2seq)", names):
        yield from feature_findings("recurrent", format_text("这是循环网络", "This is a recurrent net"))
