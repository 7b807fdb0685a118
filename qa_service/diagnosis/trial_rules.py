"""Rules on trials of a model: the operation at fault, and the changes that cure the run. Other runs give no findings.

Two kinds of evidence. The fault names the operation with its operands: nearly certain where one operation is the cause
(a logarithm of 0, an empty row of attention). The changes that cure tell causes that are a matter of size: the step,
the weights, the inputs, the format.
"""

import math
import re
import statistics
from collections.abc import Callable, Iterable, Iterator

from qa_service.model.diagnosis import Finding
from qa_service.model.training_run import Intervention, OperationFault, TrainingRun
from qa_service.model.values import Text

_Rule = Callable[[TrainingRun], Iterable[Finding]]

_CERTAIN, _STRONG, _LIKELY, _SOME = 7.0, 4.5, 2.5, 1.0
"""Weights of facts: one that hardly any other cause explains; one that few explain; one that the cause makes likelier;
a hint.
"""
_LOGARITHMS = frozenset({"log", "log2", "log10", "log1p", "xlogy", "logit", "special_xlogy"})
_QUOTIENTS = frozenset(
    {"div", "reciprocal", "std", "var", "std_mean", "var_mean", "mean", "rsqrt", "atan2", "remainder"}
)
_SINGULAR_GRADIENTS = frozenset(
    {
        "sqrt", "norm", "pow", "acos", "asin", "acosh", "atanh", "cdist", "std", "var", "rsqrt", "linalg_norm", "pdist",
        "atan2", "std_mean", "var_mean", "erfinv", "reciprocal",
    }
)  # fmt: skip
_DOMAINS = frozenset({"acos", "asin", "acosh", "atanh", "sqrt", "rsqrt", "pow", "erfinv"})
_ATTENTION = frozenset({"softmax", "scaled_dot_product_attention", "log_softmax"})
_LABEL_LOSSES = frozenset(
    {"ctc_loss", "nll_loss", "nll_loss2d", "nll_loss_nd", "cross_entropy_loss", "binary_cross_entropy", "kl_div"}
)
_REDUCED = ("float16", "bfloat16", "float8")
_SMALL_RANGE = ("float16", "float8")
"""Formats that end far below float32: an operation that makes inf of finite operands in them has left their range."""
_EPS = re.compile(r"\beps(?:ilon)?\b|\b1(?:\.0*)?e-\d+|0\.0{4,}1|\btiny\b|finfo", re.IGNORECASE)
_MEAN = re.compile(r"\.mean\(|mean\(|/\s*(?:len|\w*(?:count|num|denom|total|n_)\w*|\w*mask\w*\.sum)", re.IGNORECASE)
_BATCH_NORM_LEAST = 2
"""A batch norm that has at most this many values per channel has no usable statistics."""
_MIN_CLASSES = 2
_LARGE_TARGETS = 100.0
_UNDERFLOW_SHARE = 0.2
_OVERSHOOT = 2.0
_FEW, _NEARLY_ALL = 4, 0.8
_SETTLED, _FLOOR_SHARE = 40, 0.005


def faulty_operation(run: TrainingRun) -> Iterator[Finding]:
    """Findings on the causes that the operation with the first inf or nan points to."""
    fault = run.fault
    if fault is None or _is_consequence(run, fault):
        return
    if not fault.operation:
        yield from _nonfinite_input(run, fault)
    elif fault.phase == "update":
        yield _finding(run, "optimizer_made_it", "eps_lost", _STRONG if fault.operation == "div" else _SOME)
    elif fault.phase == "backward":
        yield from _backward(run, fault)
    else:
        yield from _forward(run, fault)
    if fault.reproduced is False:
        yield _finding(run, "not_reproduced", "hardware", _LIKELY)


def _is_consequence(run: TrainingRun, fault: OperationFault) -> bool:
    """Whether gradients or weights were not finite before the operation ran: it only passes on what it was given."""
    for event in run.events:
        if event.step is None or fault.step is None or fault.phase == "data":
            continue
        if event.name == "alarm_gradient" and event.step < fault.step:
            return True
        if event.name == "alarm_loss" and event.step <= fault.step and "not finite:" in event.text:
            return True
    return False


def _nonfinite_input(run: TrainingRun, fault: OperationFault) -> Iterator[Finding]:
    """Findings on an inf or nan that was there before any operation: in the batch, the targets or the weights."""
    if fault.phase == "data" and run.settings.get("bad_targets") and not run.settings.get("bad_inputs"):
        yield _finding(run, "given_in_targets", "bad_labels", _CERTAIN)
    elif fault.phase == "data":
        yield _finding(run, "given_in_batch", "nonfinite_data", _CERTAIN)
    else:
        yield _finding(run, "weights_not_finite", "weights_too_large", _SOME)


def _backward(run: TrainingRun, fault: OperationFault) -> Iterator[Finding]:
    if fault.hidden:
        yield _finding(run, "hidden_by_mask", "where_backward", _CERTAIN)
        yield _finding(run, "hidden_by_mask", "gradient_at_zero", -_CERTAIN)
        yield _finding(run, "hidden_by_mask", "log_of_zero", -_STRONG)
    elif fault.operation in _SINGULAR_GRADIENTS:
        yield _finding(run, "singular_gradient", "gradient_at_zero", _CERTAIN)
    elif fault.operation in _LOGARITHMS:
        yield _finding(run, "gradient_of_logarithm", "log_of_zero", _STRONG)
    elif fault.operation in _ATTENTION:
        yield _finding(run, "gradient_of_softmax", "empty_attention_row", _STRONG)
    elif fault.operation == "div":
        yield _finding(run, "gradient_of_quotient", "zero_over_zero", _STRONG)
    else:
        yield from _overflow(run, fault)


def _forward(run: TrainingRun, fault: OperationFault) -> Iterator[Finding]:
    zero = any(_least(operand) == 0 or " zero" in operand for operand in fault.operands)
    if fault.operation in _LOGARITHMS:
        guarded = "Log" in str(run.settings.get("guarded", "")).split()
        lost = (guarded or bool(_EPS.search(fault.code))) and zero
        yield _finding(run, "logarithm", "log_of_zero", _LIKELY if lost else _STRONG)
        if lost:
            yield _finding(run, "eps_without_effect", "eps_lost", _CERTAIN)
    elif fault.operation in _ATTENTION and (_has_mask(fault) or (not fault.operands and math.isnan(fault.value))):
        yield _finding(run, "only_masked", "empty_attention_row", _CERTAIN)
    elif fault.operation in _LABEL_LOSSES:
        yield _finding(run, "loss_of_labels", "bad_labels", _CERTAIN)
        yield _finding(run, "loss_of_labels", "log_of_zero", -_STRONG)
    elif fault.operation in _DOMAINS and fault.value != fault.value:  # nan: outside the domain
        yield _finding(run, "outside_domain", "gradient_at_zero", _STRONG)
    elif fault.operation in _QUOTIENTS and (zero or fault.operation != "div"):
        certain = zero and fault.operation == "div" and math.isnan(fault.value)  # 0/0: the operands say so
        yield _finding(run, "quotient", "zero_over_zero", _CERTAIN if certain else _STRONG if zero else _LIKELY)
        if _EPS.search(fault.code):
            yield _finding(run, "eps_without_effect", "eps_lost", _STRONG)
        if fault.operation in ("std", "var", "mean", "std_mean", "var_mean"):
            yield _finding(run, "too_few_values", "zero_over_zero", _LIKELY)
    else:
        yield from _overflow(run, fault)


def _overflow(run: TrainingRun, fault: OperationFault) -> Iterator[Finding]:
    """Findings on a result beyond the largest number of its format."""
    if fault.dtype.startswith(_SMALL_RANGE):
        yield _finding(run, "reduced_overflow", "forward_overflow", _CERTAIN if run.source == "trial" else _STRONG)
        failed = {each.id for each in run.interventions if not each.healthy}
        for id_, cause in (("inputs", "inputs_not_scaled"), ("init", "weights_too_large"), ("clip", "summed_loss")):
            if id_ in failed:
                yield _finding(run, "reduced_overflow", cause, -_SOME)
    elif fault.dtype.startswith(_REDUCED):
        yield _finding(run, "reduced_overflow", "forward_overflow", _STRONG)
    elif fault.operation in ("exp", "exp2", "expm1", "sinh", "cosh", "tan"):
        yield _finding(run, "exponential", "forward_overflow", _LIKELY)
    elif fault.step is not None and fault.step <= 1:
        yield _finding(run, "overflow_at_start", "weights_too_large", _SOME)
    else:
        yield _finding(run, "overflow_later", "step_too_large", _SOME)


def evidence_of_cures(run: TrainingRun) -> Iterator[Finding]:
    """Findings from the interventions: for causes whose cure makes the run healthy, against those whose cure does
    not.
    """
    tried = {each.id: each for each in run.interventions}
    if "as_is" not in tried or tried["as_is"].healthy:
        return
    cured = {id_ for id_, each in tried.items() if each.healthy}
    if len(tried) > _FEW and len(cured) >= _NEARLY_ALL * (len(tried) - 1):
        return  # nearly every change cures: the failure is not reproducible, and no change tells anything
    failed = tried.keys() - cured
    smaller = [id_ for id_ in ("lr/10", "lr/100") if id_ in cured]
    if smaller == ["lr/10"] and "lr/100" in failed:
        yield _cure(tried["lr/10"], "step_too_large", _SOME)
    elif smaller:
        yield _cure(tried[smaller[0]], "step_too_large", _LIKELY if cured & {"init", "inputs", "mean"} else _STRONG)
    elif {"lr/10", "lr/100"} <= failed:
        yield _no_cure(tried["lr/100"], "step_too_large", -_STRONG)
    yield from _scale_cures(tried, cured, smaller=bool(smaller))
    if "float32" in cured:
        cause_weight = -_SOME if smaller else _LIKELY
        yield _cure(tried["float32"], "forward_overflow", cause_weight)
    elif "float32" in failed and not (run.fault and run.fault.dtype.startswith(_SMALL_RANGE)):
        yield _no_cure(tried["float32"], "forward_overflow", -_LIKELY)
    yield from _independent_cures(run, tried, cured, smaller=bool(smaller))


def _independent_cures(
    run: TrainingRun, tried: dict[str, Intervention], cured: set[str], *, smaller: bool
) -> Iterator[Finding]:
    """Findings from cures that no smaller step explains; if a smaller step cures too, eps, loss and eval mode are no
    evidence.
    """
    if "skip_sample" in cured:
        yield _cure(tried["skip_sample"], "nonfinite_data", _LIKELY)
    for id_, cause, weight in (
        ("eps", "eps_lost", _STRONG),
        ("stable_loss", "log_of_zero" if run.fault else "wrong_output", _LIKELY),
        ("eval", "batch_norm", _LIKELY),
    ):
        if id_ in cured and not smaller:
            yield _cure(tried[id_], cause, weight)
    larger = next((id_ for id_ in ("lr*10", "lr*100") if id_ in cured), None)
    if larger is not None:
        yield _cure(tried[larger], "step_too_small", _STRONG)


def _scale_cures(tried: dict[str, Intervention], cured: set[str], *, smaller: bool) -> Iterator[Finding]:
    """Findings from scaling inputs, weights or a summed loss: each makes the step too large, so a smaller step cures
    too.
    """
    if "inputs" in cured:
        yield _cure(tried["inputs"], "inputs_not_scaled", _STRONG)
    elif "inputs" in tried:
        yield _no_cure(tried["inputs"], "inputs_not_scaled", -_LIKELY)
    if "init" in cured:
        yield _cure(tried["init"], "weights_too_large", _LIKELY if "inputs" in cured else _STRONG)
    elif "init" in tried:
        yield _no_cure(tried["init"], "weights_too_large", -_LIKELY)
    if "mean" in cured:
        yield _cure(tried["mean"], "summed_loss", _STRONG + _SOME if smaller else _STRONG)
    elif "mean" not in tried and "clip" in tried:  # the rung before: it is left out where the loss is no sum
        yield _setting("half_is_not_half", "summed_loss", -_STRONG)


def _output_layer(run: TrainingRun) -> Iterator[Finding]:
    """Findings on probabilities where the loss takes logits, a softmax over one unit, targets that are far from 1."""
    settings = run.settings
    if settings.get("softmax_before_cross_entropy") is True:
        yield _setting("probabilities_into_cross_entropy", "wrong_output", _CERTAIN)
        for cause in ("vanishing_signal", "chance_labels", "dead_relu", "step_too_small"):
            yield _setting("probabilities_into_cross_entropy", cause, -_LIKELY)  # probabilities bound the gradient
    if settings.get("softmax_of_one_unit") is True:
        yield _setting("softmax_of_one_unit", "wrong_output", _CERTAIN)
    floor = _floor_of_double_softmax(run)
    if floor is not None:
        yield _setting("floor_of_double_softmax", "wrong_output", _LIKELY, f"{floor:.4g}")
    size = settings.get("target_rms")
    if isinstance(size, float) and _LARGE_TARGETS < size < math.inf:
        yield _setting("targets_large", "inputs_not_scaled", _STRONG + _SOME, f"{size:.3g}")


def setup_faults(run: TrainingRun) -> Iterator[Finding]:
    """Findings on faults that are there before the first step: in outputs, the weights that the optimizer holds,
    statistics of too few values.
    """
    if run.source != "trial":
        return
    settings = run.settings
    yield from _output_layer(run)
    if settings.get("labels_in_range") is False and run.fault is not None:
        yield _setting("labels_out_of_range", "bad_labels", _STRONG)
    if settings.get("not_in_optimizer"):
        yield _setting("not_in_optimizer", "no_update", _STRONG, str(settings["not_in_optimizer"]))
    if settings.get("unchanged"):
        reduced = str(settings.get("dtype", "")).startswith(_REDUCED)
        yield _setting(
            "unchanged_weights", "update_swallowed" if reduced else "no_update", _LIKELY, str(settings["unchanged"])
        )
    values = settings.get("batch_norm_values")
    if isinstance(values, int | float) and values <= _BATCH_NORM_LEAST:
        yield _setting("few_values_in_batch_norm", "batch_norm", _STRONG, f"{values:g}")
    zeros = settings.get("zero_gradients")
    if isinstance(zeros, float) and zeros > _UNDERFLOW_SHARE and str(settings.get("dtype", "")).startswith("float16"):
        yield _setting("gradients_of_zero", "gradient_underflow", _LIKELY, f"{zeros:.0%}")
    rate, curvature = settings.get("lr"), settings.get("largest_curvature")
    if settings.get("optimizer") == "SGD" and isinstance(rate, float) and isinstance(curvature, float):
        product = rate * curvature
        if product > _OVERSHOOT:
            yield _setting("beyond_curvature", "step_too_large", _STRONG, f"{product:.3g}")


RULES: tuple[_Rule, ...] = (faulty_operation, evidence_of_cures, setup_faults)


_FACTS: dict[str, Text] = {
    "optimizer_made_it": Text("优化器的更新自己造出了它", "the update of the optimizer made it"),
    "not_reproduced": Text("重放同一步，得到的位不一样", "a repetition of the same step gave other bits"),
    "given_in_batch": Text("没有哪个算子造出它：批次里本来就有", "no operation made it: it was in the batch"),
    "given_in_targets": Text(
        "没有哪个算子造出它：目标里本来就有，输入里没有",
        "no operation made it: it was in the targets, and not in the inputs",
    ),
    "weights_not_finite": Text(
        "没有哪个算子造出它：权重已经不是有限数", "no operation made it: a weight had it already"
    ),
    "hidden_by_mask": Text(
        "前向结果被遮掉了，反向仍然算到它：传来的梯度是 0，0·inf 或 0/0 给出 nan",
        "the forward pass masks the result, the backward pass does not: the gradient that arrives is 0, and 0·inf or "
        "0/0 is nan",
    ),
    "singular_gradient": Text(
        "前向有限，导数在这个操作数上没有界", "the result is finite, its derivative has no bound there"
    ),
    "gradient_of_logarithm": Text("对数的导数 1/x 溢出", "the derivative 1/x of the logarithm overflows"),
    "gradient_of_softmax": Text("softmax 的梯度不是有限数", "the gradient of the softmax is not finite"),
    "gradient_of_quotient": Text("除法的梯度除以 0", "the gradient of the quotient divides by 0"),
    "logarithm": Text("对数的操作数是 0 或负数", "the operand of the logarithm is 0 or negative"),
    "eps_without_effect": Text(
        "代码里加了 eps，操作数却还是 0", "the code adds an eps, and the operand is 0 all the same"
    ),
    "only_masked": Text("有一行全被遮住，只剩 -inf", "a row is masked as a whole: nothing but -inf is left"),
    "loss_of_labels": Text(
        "损失没有可以取平均的标签", "the loss has no label to average over, or one outside its range"
    ),
    "outside_domain": Text("操作数在定义域之外", "the operand is outside the domain"),
    "quotient": Text("除数是 0", "the divisor is 0"),
    "too_few_values": Text("一个值算不出标准差", "one value has no standard deviation"),
    "reduced_overflow": Text(
        "操作数有限，结果超出这种格式的最大数", "finite operands, a result beyond the largest number of the format"
    ),
    "exponential": Text("指数函数溢出", "the exponential overflows"),
    "overflow_at_start": Text("开始时就溢出", "it overflows at the very start"),
    "overflow_later": Text("训练几步以后才溢出", "it overflows only after some steps"),
}

_SETTINGS: dict[str, Text] = {
    "probabilities_into_cross_entropy": Text(
        "cross_entropy 收到的每一行非负、和为 1：softmax 做了两次",
        "the rows that cross_entropy gets are not negative and sum to 1: the softmax is taken twice",
    ),
    "floor_of_double_softmax": Text(
        "损失停在 {}，正是把概率当作 logits 时交叉熵的下限",
        "the loss settles on {}, the least that cross-entropy can be of probabilities taken for logits",
    ),
    "targets_large": Text(
        "目标值的均方根是 {}，没有缩放到 1 左右", "the targets have an rms of {}: they are not scaled to about 1"
    ),
    "half_is_not_half": Text(
        "半个批次的损失不是一半：损失不是求和", "half the batch does not give half the loss: it is no sum"
    ),
    "softmax_of_one_unit": Text("只有一个输出单元的 softmax 恒为 1", "a softmax over one unit is always 1"),
    "labels_out_of_range": Text(
        "标签不在类别范围内，或全部被忽略", "labels are outside the classes, or all are ignored"
    ),
    "not_in_optimizer": Text("优化器里没有这些参数：{}", "the optimizer does not hold {}"),
    "unchanged_weights": Text(
        "第一步之后这些权重一位也没变，梯度却不是 0：{}",
        "the first update left {} as they were though their gradients are not 0",
    ),
    "few_values_in_batch_norm": Text("BatchNorm 每个通道只有 {} 个值", "batch normalisation has {} values a channel"),
    "gradients_of_zero": Text("{} 的梯度恰好是 0", "{} of the gradients are exactly 0"),
    "beyond_curvature": Text(
        "学习率乘最大曲率是 {}，超过 2", "the learning rate times the largest curvature is {}, above 2"
    ),
}


def _finding(run: TrainingRun, feature: str, cause: str, weight: float) -> Finding:
    assert run.fault
    fact, where = _FACTS[feature], _where(run.fault)
    return Finding(
        feature=f"trial_{feature}",
        cause=cause,
        weight=weight,
        text=Text(f"{where.zh}：{fact.zh}", f"{where.en}: {fact.en}"),
        step=run.fault.step,
        layer=run.fault.module,
    )


def _where(fault: OperationFault) -> Text:
    """The operation with its phase, line and operands."""
    operands = f" ({'; '.join(fault.operands)})" if fault.operands else ""
    at = fault.place or fault.module
    name = fault.operation
    if not name:
        return Text(
            f"{fault.value}{'，' + at if at else ''}{operands}", f"{fault.value}{' at ' + at if at else ''}{operands}"
        )
    zh = {"backward": f"{name} 的反向", "update": f"更新里的 {name}"}.get(fault.phase, name)
    en = {"backward": f"the backward pass of {name}", "update": f"{name} in the update"}.get(fault.phase, name)
    return Text(f"{zh}{'（' + at + '）' if at else ''}{operands}", f"{en}{' at ' + at if at else ''}{operands}")


def _cure(tried: Intervention, cause: str, weight: float) -> Finding:
    detail = tried.detail or tried.id
    return Finding(
        feature=f"trial_cured_by_{tried.id}",
        cause=cause,
        weight=weight,
        text=Text(f"只改一处就好了：{detail}", f"one change makes it healthy: {detail}"),
    )


def _no_cure(tried: Intervention, cause: str, weight: float) -> Finding:
    detail = tried.detail or tried.id
    return Finding(
        feature=f"trial_not_cured_by_{tried.id}",
        cause=cause,
        weight=weight,
        text=Text(f"这样改没有用：{detail}", f"this change does not help: {detail}"),
    )


def _setting(feature: str, cause: str, weight: float, value: str = "") -> Finding:
    text = _SETTINGS[feature]
    return Finding(
        feature=f"trial_{feature}", cause=cause, weight=weight, text=Text(text.zh.format(value), text.en.format(value))
    )


def _floor_of_double_softmax(run: TrainingRun) -> float | None:
    """The least cross-entropy of probabilities taken for logits, ln(1 + (C − 1)/e), if the loss has settled on it."""
    classes, losses = run.settings.get("classes"), [record.value for record in run.series.get("loss", ())]
    if not isinstance(classes, int) or classes < _MIN_CLASSES or len(losses) < _SETTLED:
        return None
    floor, last = math.log(1 + (classes - 1) / math.e), statistics.median(losses[-_SETTLED // 4 :])
    return floor if min(losses) > (1 - _FLOOR_SHARE) * floor and last < (1 + 5 * _FLOOR_SHARE) * floor else None


def _has_mask(fault: OperationFault) -> bool:
    return any("-inf" in operand or "bool" in operand for operand in fault.operands)


def _least(operand: str) -> float | None:
    """The least value that the description of an operand states; None if it states none."""
    found = re.search(r"\), (-?[\d.]+(?:e[-+]?\d+)?)", operand)
    return float(found[1]) if found else None
