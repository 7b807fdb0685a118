"""The texts of a diagnosis: verdict, margins, the question that tells two causes apart, what a run does not show."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from qa_service.diagnosis.causes import CAUSES
from qa_service.diagnosis.curves import (
    end_level,
    finite_records,
    format_text,
    noise_deviation,
    number_setting,
    rate_at,
    records,
    rolling_medians,
    setting,
    start_level,
    values_of,
)
from qa_service.diagnosis.nonfinite_harm import lasting_nonfinite
from qa_service.diagnosis.schedule_rules import turning_point
from qa_service.diagnosis.skipping_harm import loss_scale_trend, skipped_steps
from qa_service.model.diagnosis import Cause, Certainty, CurveMark, DiagnosisStatus, Harm, Hypothesis
from qa_service.model.training_run import Record, TrainingRun
from qa_service.model.values import Text

UNREADABLE_TEXT = Text(
    "没有读到训练日志：一条损失、一句报错也没有认出来。",
    "No training log could be read: no loss and no message was recognised.",
)
CERTAINTY_TEXTS: Mapping[Certainty, Text] = {
    "certain": Text("确定", "certain"),
    "likely": Text("很可能", "likely"),
    "possible": Text("可能", "possible"),
}
_WATCH = "watch = numstab.watch(model, optimizer)"


def sick_verdict(status: DiagnosisStatus, harms: Sequence[Harm], hypotheses: Sequence[Hypothesis]) -> Text:
    """The verdict on a run with harms, in a sentence or two."""
    harm = harms[0].text
    if not hypotheses:
        if status == "not_numerics":
            return Text(f"看不出数值问题。{harm.zh}。", f"Nothing here is a matter of numerics. {harm.en}.")
        return Text(
            f"{harm.zh}；原因从这份记录里看不出来。", f"{harm.en}; what causes it cannot be told from this record."
        )
    first = CAUSES[hypotheses[0].cause].name
    word = CERTAINTY_TEXTS[hypotheses[0].certainty]
    if status == "not_numerics":
        return Text(
            f"不是数值问题：{first.zh}（{word.zh}）。{harm.zh}。",
            f"Not a matter of numerics: {_lower(first.en)} ({word.en}). {harm.en}.",
        )
    if status == "undecided" and len(hypotheses) == 2:
        second = CAUSES[hypotheses[1].cause].name
        return Text(
            f"{harm.zh}。两种原因都说得通：{first.zh}，或{second.zh}。",
            f"{harm.en}. Two causes fit: {_lower(first.en)}, or {_lower(second.en)}.",
        )
    if hypotheses[0].certainty == "possible" and len(hypotheses) == 2:
        second = CAUSES[hypotheses[1].cause].name
        return Text(
            f"{harm.zh}。最可能的原因：{first.zh}（{word.zh}），其次：{second.zh}。",
            f"{harm.en}. The most probable cause: {_lower(first.en)} ({word.en}); the next: {_lower(second.en)}.",
        )
    return Text(f"{first.zh}（{word.zh}）。{harm.zh}。", f"{first.en}: {word.en}. {harm.en}.")


def _lower(name: str) -> str:
    """A name within a sentence; ReLU, Adam and other proper names keep their capital."""
    head = name.split(maxsplit=1)[0].rstrip("',.")
    return (
        name if any(letter.isupper() for letter in head[1:]) or head.startswith("Adam") else name[0].lower() + name[1:]
    )


def healthy_verdict(run: TrainingRun) -> Text:
    """The verdict on a run without a harm."""
    values = values_of(finite_records(records(run, "loss")))
    if len(values) < 5:
        return Text(
            "这几行里看不出毛病；记录太短，只能说到这里。",
            "Nothing is wrong in these few lines; they are too few to say more.",
        )
    first, last = start_level(values), end_level(values)
    if last < 0.95 * first:
        return format_text(
            "健康：损失从 {first} 降到 {last}，没有发现问题。",
            "Healthy: the loss falls from {first} to {last} and nothing goes wrong.",
            first=first,
            last=last,
        )
    return Text("看不出毛病。", "Nothing is wrong in what is shown.")


def consequence_of(cause: Cause) -> Text:
    """Why a cause is not the first one: it follows from another."""
    return Text(f"它是“{cause.name.zh}”的后果", f"it is a consequence: {_lower(cause.name.en)}")


# margins of a healthy run


def harmless_anomalies(run: TrainingRun) -> tuple[Text, ...]:
    """Observations that look alarming in a healthy run and are harmless: recovered nans, skipped updates, spikes,
    averages.
    """
    return tuple(
        each
        for part in (_recovered_nonfinite, _adjusted_loss_scale, _recovered_spike, _nan_in_average)
        for each in part(run)
    )


def _recovered_nonfinite(run: TrainingRun) -> Iterator[Text]:
    for key in ("loss", "grad_norm"):
        bad = [point for point in records(run, key) if not math.isfinite(point.value)]
        if bad and lasting_nonfinite(records(run, key)) is None:
            yield format_text(
                "{key} 有 {count} 次不是有限数（最早在{at}），之后都恢复了",
                "{key} is not finite {count} times (first at {at}) and recovers each time",
                key=key,
                count=str(len(bad)),
                at=bad[0],
            )


def _nan_in_average(run: TrainingRun) -> Iterator[Text]:
    bad = lasting_nonfinite(records(run, "grad_norm"))
    if bad:
        yield format_text(
            "梯度范数从{at}起印成 {value}，损失却照常变化：那是平均值里留着一个旧的 nan，或是被跳过的更新",
            "The gradient norm is printed as {value} from {at} on while the loss goes on as usual: an "
            "average that holds an "
            "old nan, or updates that are skipped",
            at=bad,
            value=bad.value,
        )


def _adjusted_loss_scale(run: TrainingRun) -> Iterator[Text]:
    skipped, scales = skipped_steps(run), finite_records(records(run, "loss_scale"))
    if skipped or loss_scale_trend(run):
        last = (
            f"，系数停在 {scales[-1].value:g}" if scales else "",
            f" and the scale is at {scales[-1].value:g}" if scales else "",
        )
        yield Text(
            f"跳过了 {skipped} 次更新{last[0]}：放大系数在找自己的位置，这是正常的",
            f"{skipped} updates are skipped{last[1]}: the loss scale finds its place, which is normal",
        )


def _recovered_spike(run: TrainingRun) -> Iterator[Text]:
    points = finite_records(records(run, "loss"))
    values = values_of(points)
    if len(values) < 12:
        return
    spread, smoothed = noise_deviation(values), rolling_medians(values)
    high = max(range(1, len(values) - 1), key=lambda index: values[index] - smoothed[index])
    if values[high] - smoothed[high] > 8 * spread > 0 and values[high] > 1.5 * abs(smoothed[high]):
        yield format_text(
            "{at}的尖峰（{value}）恢复了", "The spike at {at} ({value}) recovers", at=points[high], value=values[high]
        )


# what to do next

_GROUPS: Mapping[str, frozenset[str]] = {
    "rate": frozenset({"step_too_large", "no_warmup", "recurrent_product", "summed_loss", "weights_too_large",
                       "inputs_not_scaled", "gradients_accumulate", "adam_stale"}),
    "formula": frozenset({"log_of_zero", "eps_lost", "gradient_at_zero", "zero_over_zero", "empty_attention_row",
                          "where_backward", "bad_labels", "nonfinite_data"}),
    "format": frozenset({"forward_overflow", "gradient_underflow", "loss_scale_collapse", "clip_before_unscale",
                         "update_swallowed"}),
    "still": frozenset({"no_update", "step_too_small", "vanishing_signal", "dead_relu", "symmetric_init",
                        "saturated_activation"}),
    "labels": frozenset({"chance_labels", "wrong_output", "loss_clipped"}),
}  # fmt: skip
_PAIRS: tuple[tuple[frozenset[str], Text], ...] = (
    (frozenset({"step_too_large", "no_warmup"}),
     Text("学习率减到十分之一、其余不变再跑：还会在同一处出事吗？不会，是步子太大；出事晚一点而已，是缺预热。",
          "Run it with a tenth of the rate: does it still turn at the same place? If never, the steps "
          "are too large; if only "
          "later, the warm-up is missing.")),
    (frozenset({"step_too_large", "weights_too_large"}),
     Text("更新之前的第一个损失是多少？远高于瞎猜水平，是初始权重；正常，是学习率。",
          "What is the loss before the first update? Far above guessing: the initial weights; usual: the rate.")),
    (frozenset({"weights_too_large", "inputs_not_scaled"}),
     Text("x.std() 是多少？在 0.1 到 10 之间，是权重；否则是输入。",
          "What is x.std()? Between 0.1 and 10 it is the weights; otherwise the inputs.")),
    (frozenset({"summed_loss", "inputs_not_scaled"}),
     Text("批量减半，第一个损失也减半吗？会，是求和；不会，是输入。",
          "Halve the batch: is the first loss halved too? If so, it is the sum; if not, the inputs.")),
    (frozenset({"summed_loss", "weights_too_large"}),
     Text("批量减半，第一个损失也减半吗？会，是求和；不会，是权重。",
          "Halve the batch: is the first loss halved too? If so, it is the sum; if not, the weights.")),
    (frozenset({"nonfinite_data", "bad_labels"}),
     Text("出事的那个批次：torch.isfinite(x).all() 为真吗？为假是输入；为真就看 y.min()、y.max() 和有效标签数。",
          "In that batch, is torch.isfinite(x).all() true? If not, it is the input; if so, look at "
          "y.min(), y.max() and the "
          "count of valid labels.")),
    (frozenset({"no_update", "step_too_small"}),
     Text("一步之后有没有任何一个权重变了？没有，是没有更新；有，是步子太小。",
          "Has any weight changed after one step? If none has, nothing is updated; if some have, the "
          "steps are too small.")),
    (frozenset({"vanishing_signal", "chance_labels"}),
     Text("只用 20 个样本能不能学到零损失？能，是标签；不能，是梯度传不到前面的层。",
          "Can it learn 20 samples by heart? If so, it is the labels; if not, the gradient does not "
          "reach the first layers.")),
    (frozenset({"vanishing_signal", "dead_relu"}),
     Text("第一层的梯度恰好是 0，还是很小？恰好是 0，是死掉的 ReLU；很小，是梯度消失。",
          "Is the first layer's gradient exactly 0 or tiny? Exactly 0: dead ReLUs; tiny: it vanishes.")),
    (frozenset({"batch_norm", "chance_labels"}),
     Text("用 model.train() 在验证集上算损失，会变好吗？会，是批量归一化；不会，是数据或标签。",
          "Does the validation loss improve with model.train()? If so, it is batch norm; if not, the data or "
          "the labels.")),
    (frozenset({"adam_stale", "zero_over_zero"}),
     Text("出事那一步，损失本身就是 nan 吗？是，是 0/0；损失有限、前一步的梯度是 inf，是 Adam 记住了它。",
          "Is the loss of that very step nan? If so, it is 0/0; if finite after a gradient of inf, Adam keeps it.")),
    (frozenset({"adam_stale", "gradient_at_zero"}),
     Text("最后一个有限损失之后，梯度里是 inf 还是 nan？是 inf，是 Adam 记住了它；是 nan，是公式的导数。",
          "After the last finite loss, does a gradient hold inf or nan? inf: Adam keeps it; nan: a derivative.")),
    (frozenset({"gradients_accumulate", "step_too_large"}),
     Text("backward 之前，每个 p.grad 都是 None 或 0 吗？不是，是梯度没有清零；是，就是步子太大。",
          "Is every p.grad None or 0 before backward? If not, gradients add up; if so, the steps are too large.")),
    (frozenset({"loss_clipped", "wrong_output"}),
     Text("最后一层有几个输出？只有一个却接 softmax，是输出错；不是，就是概率到了 0 或 1，被截断。",
          "How many units has the last layer? One with a softmax: the output is wrong; else a probability of 0 or 1 "
          "is clamped.")),
    (frozenset({"batch_norm", "overfitting"}),
     Text("用 model.eval() 在训练集上算损失：还低吗？低，是过拟合；高，是批量归一化的统计量。",
          "Is the loss of the training data low in model.eval() too? If so, it overfits; if not, it is batch norm.")),
    (frozenset({"chance_labels", "overfitting"}),
     Text("训练早期，验证准确率高过瞎猜吗？高过，是过拟合；从没高过，抽 20 对样本和标签看看。",
          "Was validation ever better than guessing? If so, it overfits; if never, look at 20 labels.")),
    *((frozenset({"nonfinite_data", other}),
       Text("出事的那个批次：torch.isfinite(x).all() 为真吗？为假是数据；为真是公式。",
            "In that batch, is torch.isfinite(x).all() true? If not, it is the data; if so, a formula."))
      for other in ("gradient_at_zero", "zero_over_zero", "log_of_zero", "eps_lost", "where_backward")),
    (frozenset({"forward_overflow", "loss_scale_collapse"}),
     Text("不放大的损失本身是有限数吗？不是，是前向溢出；是，问题在梯度。",
          "Is the unscaled loss itself finite? If not, the forward pass overflows; if so, it is the gradients.")),
)  # fmt: skip
_BETWEEN: Mapping[frozenset[str], Text] = {
    frozenset({"rate", "formula"}): Text(
        "学习率减到十分之一再跑：nan 还在同一步出现吗？在，是数据或公式；不在，是步子。",
        "Run it with a tenth of the rate: does the nan come at the same step? If so, it is the data or a "
        "formula; if not, "
        "the steps.",
    ),
    frozenset({"rate", "format"}): Text(
        "用 float32 跑同一段：还出事吗？还出，是步子；不出，是数值格式。",
        "Run the same part in float32: does it still happen? If so, it is the steps; if not, the format.",
    ),
    frozenset({"formula", "format"}): Text(
        "用 float32 跑同一个批次：还是 nan 吗？是，是数据或公式；不是，是数值格式。",
        "Run the same batch in float32: is it still nan? If so, it is the data or a formula; if not, the format.",
    ),
    frozenset({"still", "format"}): Text(
        "用 float32 跑 100 步：损失动了吗？动了，是数值格式；没动，与格式无关。",
        "Run 100 steps in float32: does the loss move? If so, it is the format; if not, it is not.",
    ),
    frozenset({"still", "labels"}): Text(
        "只用 20 个样本能不能学到零损失？能，是标签；不能，是模型或步子。",
        "Can it learn 20 samples by heart? If so, it is the labels; if not, the model or the steps.",
    ),
    frozenset({"formula"}): Text(
        "用 torch.autograd.set_detect_anomaly(True) 重跑出事的批次：报错里是哪个函数？",
        "Run that batch under torch.autograd.set_detect_anomaly(True): which function does the error name?",
    ),
    frozenset({"rate"}): Text(
        "更新之前的第一个损失和梯度范数各是多少？", "What are the loss and the gradient norm before the first update?"
    ),
    frozenset({"still"}): Text(
        "各层梯度的 rms，以及一步之后权重变化的比例，各是多少？",
        "What is the rms of the gradient in each layer, and how much of its weights does a step change?",
    ),
}
CONTROL_RUNS_QUESTION = Text(
    "把学习率减到十分之一、数据类型换成 float32，各跑一次：哪一次好了？",
    "Run it once with a tenth of the rate and once in float32: which of the two is healthy?",
)
"""Asked where no question is known that tells two causes apart."""


def discriminating_question(first: str, second: str, run: TrainingRun) -> Text | None:
    """The one question that tells two causes apart; None if none is known."""
    both = frozenset({first, second})
    found = next((text for pair, text in _PAIRS if pair == both), None)
    if found is not None:
        return found
    groups = frozenset(name for name, members in _GROUPS.items() if members & both)
    lacking = not setting(run, "dtype") and "format" in groups
    return None if lacking and len(groups) == 1 else _BETWEEN.get(groups)


def line_to_add(run: TrainingRun, cause: str) -> str:
    """The line of code whose output would tell more; "" where none would."""
    if cause == "hidden_nan" or (
        run.format in ("hf_trainer", "trainer_state", "llama_factory") and run.source == "log"
    ):
        return "TrainingArguments(..., logging_nan_inf_filter=False, logging_steps=1)"
    if not cause or not CAUSES[cause].is_numerical:
        return ""
    if run.source == "trace":
        return "" if run.fault else "watch = numstab.watch(model, optimizer, closure=lambda: loss_fn(model(x), y))"
    return "" if run.source == "trial" else _WATCH


def unseen_facts(run: TrainingRun) -> tuple[Text, ...]:
    """Data that a diagnosis needs and the log does not show; empty for traces and trials."""
    return tuple(_unseen(run)) if run.source == "log" else ()


def _unseen(run: TrainingRun) -> Iterator[Text]:
    if not records(run, "lr") and rate_at(run, None) is None:
        yield Text("学习率", "the learning rate")
    if not records(run, "grad_norm"):
        yield Text("梯度范数（裁剪之前的）", "the gradient norm, before clipping")
    if not setting(run, "dtype"):
        yield Text("数据类型", "the dtype")
    if not setting(run, "optimizer"):
        yield Text("优化器", "the optimizer")
    if not run.from_start and number_setting(run, "resumed") is None:
        yield Text("训练开头的几步", "the first steps of the run")
    if run.cut:
        yield Text("中间略去的部分", "the part in the middle that was left out")


# marks on the curve


def curve_marks(run: TrainingRun) -> tuple[CurveMark, ...]:
    """The places on the curves that the report mentions."""
    return tuple(_marks(run))


def _marks(run: TrainingRun) -> Iterator[CurveMark]:
    turn = turning_point(run)
    for key in ("loss", "grad_norm", "val_loss"):
        points = records(run, key)
        if bad := lasting_nonfinite(points):
            yield CurveMark(
                series=key,
                step=_x(points, bad),
                text=format_text("这里起是 {value}", "{value} from here on", value=bad.value),
            )
        if key == "loss" and turn is not None and turn in points and math.isfinite(turn.value):
            yield CurveMark(series=key, step=_x(points, turn), text=Text("从这里开始变坏", "it turns here"))
    spiky = finite_records(records(run, "loss"))
    values = values_of(spiky)
    if len(values) >= 12 and turn is None:
        high = max(range(len(values)), key=lambda index: values[index])
        if 2 < high < len(values) - 2 and values[high] > 3 * abs(median(values)):
            yield CurveMark(
                series="loss", step=_x(spiky, spiky[high]), text=Text("尖峰，恢复了", "a spike that recovers")
            )


def _x(points: Sequence[Record], point: Record) -> float:
    """The place of a record on the x axis: its step, or its index where steps are not known for all."""
    if point.step is not None and all(each.step is not None for each in points):
        return float(point.step)
    return float(points.index(point))
