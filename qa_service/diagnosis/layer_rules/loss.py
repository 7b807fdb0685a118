"""Rules on the reduction of the loss and on the outputs it is given."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from qa_service.diagnosis.layer_rules.findings import findings
from qa_service.diagnosis.layer_rules.traced_run import TracedRun
from qa_service.model.diagnosis import Finding


def reduction(traced: TracedRun) -> Iterator[Finding]:
    """Findings on a loss that adds up the samples of the batch."""
    operations = str(traced.run.settings.get("operations", "")).split()
    if traced.run.settings.get("scaler") and operations[:1] == ["Mul"]:
        operations = operations[1:]
    head = next((each for each in operations if each != "ToCopy"), "")
    kind = str(traced.run.settings.get("loss", ""))
    summed = traced.run.settings.get("reduction") == "sum" and head == kind
    slow = traced.is_failing or traced.slow_descent
    if (summed or head == "Sum" or traced.exceeds_mean_reduction or _is_sum_of_errors(traced)) and (
        slow or (traced.first_update or 0) > 0.05
    ):
        labels = traced.number("labels") or traced.number("batch_size") or 0.0
        yield from findings(
            "loss_is_summed",
            "损失是对整个批求和得到的（一批 {0} 个），梯度也就大了这么多倍",
            "the loss is the sum over the batch ({0} in a batch), and so the gradient is that many times larger",
            labels,
            summed_loss=1.0 if traced.is_scale_free else 4.0,
            step_too_large=0.0 if traced.is_scale_free else -1.0,
        )
    elif traced.run.settings.get("reduction") == "mean" and not traced.exceeds_mean_reduction:
        yield from findings("loss_is_mean", "损失是批内平均", "the loss is a mean over the batch", summed_loss=-4.0)


def _is_sum_of_errors(traced: TracedRun) -> bool:
    """Whether the loss is the mean of the squared errors times the number of samples, or of all their values."""
    batch, width = traced.number("batch_size") or 0.0, traced.first_sampled_modules.get("", {}).get("out_width", 1.0)
    sums = {batch, batch * width} if batch > 1 else set()
    return traced.loss_over_mse is not None and any(abs(traced.loss_over_mse / each - 1) < 0.02 for each in sums)


def loss_input(traced: TracedRun) -> Iterator[Finding]:
    """Findings on the outputs that the loss is given: probabilities instead of logits, one unit under a softmax."""
    operations = str(traced.run.settings.get("operations", "")).split()
    chain = [each for each in operations if each not in ("ToCopy", "AccumulateGrad", "View", "Squeeze", "Unsqueeze")]
    for before, after in pairwise(chain):
        if (before, after) in (("LogSoftmax", "Softmax"), ("BinaryCrossEntropyWithLogits", "Sigmoid")):
            yield from findings(
                "probabilities_into_logits",
                f"损失要的是 logits，得到的却是概率：{after} 之后又做了一次 {before}",
                f"the loss takes logits and gets probabilities: {before} after {after}",
                wrong_output=4.5,
            )
            return
    yield from _constant_output(traced, chain)
    values = traced.first_sampled_modules.get("", {})
    if values.get("out_sums_to_1") == 1 and values.get("out_width") == 1:
        yield from findings(
            "softmax_over_one",
            "模型只有一个输出，softmax 之后恒等于 1",
            "the model has one output, and a softmax over one number is always 1",
            wrong_output=5.0,
        )
    elif values.get("out_sums_to_1") == 1 and "LogSoftmax" in operations[:6]:
        yield from findings(
            "probabilities_into_logits",
            "模型输出的已经是概率，损失又做了一次 softmax",
            "the model returns probabilities, and the loss takes the softmax of them once more",
            wrong_output=4.5,
        )
    elif traced.is_failing and values.get("out_sums_to_1") == 0 and traced.chance_loss is not None:
        yield from findings("output_is_logits", "输出是 logits", "the output is logits", wrong_output=-3.0)


def _constant_output(traced: TracedRun, chain: Sequence[str]) -> Iterator[Finding]:
    """Findings on a binary cross-entropy whose gradient is 0: a softmax over one unit, or probabilities of exactly 0
    and 1.
    """
    if not traced.gradient_zero or "BinaryCrossEntropy" not in chain[:3]:
        return
    if "Softmax" in chain[:4]:
        yield from findings(
            "softmax_over_one",
            "二元交叉熵之前是 softmax，而所有梯度恰好为零：对一个输出做 softmax 恒等于 1",
            "a softmax stands before the binary cross-entropy, and all gradients are exactly 0: over one output it is "
            "always 1",
            wrong_output=5.0,
        )
    elif traced.first_loss > 5:
        yield from findings(
            "probabilities_at_clamp",
            "二元交叉熵为 {0}，所有梯度恰好为零：概率已经是 0 或 1，对数被截断",
            "the binary cross-entropy is {0} and all gradients are exactly 0: probabilities are 0 or 1, and the "
            "logarithm is clamped",
            traced.first_loss,
            loss_clipped=3.0,
        )
