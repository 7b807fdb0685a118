"""The faults: what each changes in a setup, the cause it has, the families it applies to.

A fault is admitted only where it does harm: the clean loss of validation in float32 stays well above that of the sound
run of the same family and seed. Where a fault is a format that a sound formula would survive, its `cured` setup must
also be sound, or the harm would have another cause.
"""

import math

# Every loss, change and schedule has the same arguments, whether it uses them or not.
# ruff: noqa: ARG001, ARG005
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.diagnosis.architectures import FAMILIES, Family, Transformer, clean_loss
from bench.diagnosis.runs import LossFunction, Setup

Change = Callable[[Setup], None]
ANY = frozenset(FAMILIES)
CLASSIFIERS = frozenset(name for name, family in FAMILIES.items() if family.classes)
RECURRENT = frozenset({"lstm_chars", "rnn_adding"})
ATTENTION = frozenset({"transformer_classifier", "gpt_mini"})
NORMED = frozenset({"cnn_bn", "resnet8"})
TOKENS = frozenset({"lstm_chars", "gpt_mini", "transformer_classifier"})
PLAIN = ANY - RECURRENT - ATTENTION - NORMED
RELU = frozenset(name for name, family in FAMILIES.items() if nn.ReLU in family.activations)
HALF = frozenset(name for name, family in FAMILIES.items() if family.float16)


@dataclass(frozen=True, kw_only=True)
class Fault:
    id: str
    cause: str
    """Its cause in the table of the diagnosis."""
    apply: Change
    families: frozenset[str] = ANY
    also: frozenset[str] = frozenset()
    """Causes that name another link of the same chain: right, if less exact."""
    cured: Change | None = None
    """What is done instead of `apply`; the run must then be sound."""


def _weights(model: Any) -> list[Any]:
    """The layers with a weight matrix, in their order."""
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def _scale_weights(factor: float) -> Change:
    def change(model: Any) -> Any:
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(factor)
        return model

    return lambda setup: setup.change_model.append(change)


def _scale_recurrent(factor: float) -> Change:
    def change(model: Any) -> Any:
        with torch.no_grad():
            model.cell.weight_hh_l0.mul_(factor)
        return model

    return lambda setup: setup.change_model.append(change)


def _multiply_lr(factor: float) -> Change:
    def apply(setup: Setup) -> None:
        setup.lr *= factor

    return apply


def _constant_weights(setup: Setup) -> None:
    def change(model: Any) -> Any:
        for layer in _weights(model):
            nn.init.constant_(layer.weight, 0.05)
        return model

    setup.change_model.append(change)


def _replace(model: Any, old: tuple[type, ...], new: Callable[[], Any]) -> None:
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, old):
                setattr(module, name, new())


def _saturate(setup: Setup) -> None:
    """Sigmoid units whose inputs are far out on the flat part."""
    family = setup.family

    def change(model: Any) -> Any:
        _replace(model, family.activations, nn.Sigmoid)
        with torch.no_grad():
            for layer in _weights(model)[:-1]:
                layer.weight.mul_(30.0)
        return model

    setup.change_model.append(change)


def _deep_sigmoid(setup: Setup) -> None:
    family = setup.family

    def change(model: Any) -> Any:
        _replace(model, family.activations, nn.Sigmoid)
        return model

    setup.change_model.append(change)


def _dead_bias(setup: Setup) -> None:
    def change(model: Any) -> Any:
        layers = _weights(model)[:-1]
        with torch.no_grad():
            for layer in layers:
                if layer.bias is not None:
                    layer.bias.fill_(-6.0)
        return model

    setup.change_model.append(change)


def _inputs_255(setup: Setup) -> None:
    setup.change_inputs.append(lambda inputs: inputs * 255.0)


def _one_feature(setup: Setup) -> None:
    def change(inputs: Any) -> Any:
        inputs = inputs.clone()
        inputs[..., 0] *= 1e4
        return inputs

    setup.change_inputs.append(change)


def _nan_sample(setup: Setup) -> None:
    def change(inputs: Any) -> Any:
        inputs = inputs.clone()
        inputs[torch.tensor([37, 411])] = math.nan
        return inputs

    setup.change_inputs.append(change)


def _ignored_labels(setup: Setup) -> None:
    """From time to time a batch has no valid label: the mean over none of them is 0/0."""

    def alter(x: Any, y: Any, step: int) -> tuple[Any, Any]:
        return x, torch.full_like(y, -100) if step % 60 == 35 else y

    setup.change_batch.append(alter)


def _nan_labels(setup: Setup) -> None:
    def change(targets: Any, generator: Any) -> Any:
        targets = targets.clone()
        targets[torch.randint(0, len(targets), (2,), generator=generator)] = math.nan
        return targets

    setup.change_targets.append(change)


def _shuffled_labels(setup: Setup) -> None:
    setup.change_targets.append(lambda targets, generator: targets[torch.randperm(len(targets), generator=generator)])


def _flat(output: Any, targets: Any) -> tuple[Any, Any]:
    return output.reshape(-1, output.shape[-1]), targets.reshape(-1)


def _outliers(loss: LossFunction) -> Change:
    """Now and then two samples are sixty times too large, and gradients are clipped: a stable loss takes it."""

    def alter(x: Any, y: Any, step: int) -> tuple[Any, Any]:
        if step % 50 == 40:
            x = x.clone()
            x[:2] *= 60.0
        return x, y

    def apply(setup: Setup) -> None:
        setup.loss, setup.clip = loss, 1.0
        setup.change_batch.append(alter)

    return apply


def _log_softmax_by_hand(family: Family, output: Any, inputs: Any, targets: Any) -> Any:
    logits, classes = _flat(output, targets)
    return -torch.log(torch.softmax(logits, 1)).gather(1, classes[:, None]).mean()


CONFIDENCE = 10.0
"""Multiplies logits, so that a sigmoid reaches exactly 1 within a short run."""


def _binary_loss(family: Family, output: Any, inputs: Any, targets: Any) -> Any:
    logits, classes = _flat(output * CONFIDENCE, targets)
    hot = nn.functional.one_hot(classes, family.classes).to(logits.dtype)
    return nn.functional.binary_cross_entropy_with_logits(logits, hot)


def _eps_in_log(family: Family, output: Any, inputs: Any, targets: Any) -> Any:
    """Binary cross-entropy by hand with 1e-10 + 1 − p, in which float32 loses 1e-10."""
    logits, classes = _flat(output * CONFIDENCE, targets)
    hot = nn.functional.one_hot(classes, family.classes).to(logits.dtype)
    share = torch.sigmoid(logits)
    return -(hot * torch.log(1e-10 + share) + (1 - hot) * torch.log(1e-10 + 1 - share)).mean()


def _use_loss(loss: Callable[..., Any]) -> Change:
    def apply(setup: Setup) -> None:
        setup.loss = loss

    return apply


def _adam_eps_float16(setup: Setup) -> None:
    """Weights in float16 with Adam's eps of 1e-8, which float16 rounds to 0."""
    setup.optimizer, setup.precision, setup.lr = "adam", "float16", setup.family.lr


def _adam_eps_larger(setup: Setup) -> None:
    _adam_eps_float16(setup)
    setup.eps = 1e-4


def _distance_of_equal(setup: Setup) -> None:
    """A penalty on the distance of two outputs, by a bare sqrt; later on two samples are the same."""

    def alter(x: Any, y: Any, step: int) -> tuple[Any, Any]:
        if step >= 45 and step % 45 == 0:
            x, y = x.clone(), y.clone()
            x[1], y[1] = x[0], y[0]
        return x, y

    def loss(family: Family, output: Any, inputs: Any, targets: Any) -> Any:
        first = output[1] if isinstance(output, tuple) else output
        distance = torch.sqrt((first[0] - first[1]).square().sum())
        return clean_loss(family, output, inputs, targets) + 0.01 * distance

    setup.loss = loss
    setup.change_batch.append(alter)


def _norm_of_zero_bias(setup: Setup) -> None:
    """A penalty sqrt(Σ b²) on biases that start at 0: its gradient at step 0 is 0/0."""
    biases: list[Any] = []

    def change(model: Any) -> Any:
        for layer in _weights(model):
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
                biases.append(layer.bias)
        return model

    def loss(family: Family, output: Any, inputs: Any, targets: Any) -> Any:
        penalty = sum(torch.sqrt(bias.square().sum()) for bias in biases)
        return clean_loss(family, output, inputs, targets) + 1e-3 * penalty

    setup.change_model.append(change)
    setup.loss = loss


def _masked_mean(setup: Setup) -> None:
    """A mean over the samples that a mask keeps; now and then it keeps none."""
    count = {"step": 0}

    def loss(family: Family, output: Any, inputs: Any, targets: Any) -> Any:
        count["step"] += 1
        kept = 0.0 if count["step"] % 70 == 50 else 1.0
        whole = clean_loss(family, output, inputs, targets)
        return (whole * kept) / torch.tensor(kept, dtype=whole.dtype)

    setup.loss = loss


def _where_backward(setup: Setup) -> None:
    """An entropy of the positive outputs, where(p > 0, p log p, 0): the other branch still has a gradient, 0·inf."""

    def loss(family: Family, output: Any, inputs: Any, targets: Any) -> Any:
        first = output[1] if isinstance(output, tuple) else output
        share = first * (first > 0)
        entropy = torch.where(share > 0, share * torch.log(share), torch.zeros_like(share)).mean()
        return clean_loss(family, output, inputs, targets) + 0.01 * entropy

    setup.loss = loss


def _empty_row(setup: Setup) -> None:
    """One sample of a batch is padding only, from step 30 on at times: softmax over an empty row."""

    def alter(x: Any, y: Any, step: int) -> tuple[Any, Any]:
        if step >= 30 and step % 40 == 30:
            x = x.clone()
            x[2] = 0
        return x, y

    setup.change_batch.append(alter)


def _summed(setup: Setup) -> None:
    batch = setup.batch
    setup.loss_factor = lambda step: float(batch)


def _no_zero_grad(setup: Setup) -> None:
    setup.zero_grad = False


def _other_parameters(setup: Setup) -> None:
    """The optimizer holds the parameters of another copy of the model."""
    import copy

    setup.parameters = lambda model: copy.deepcopy(model).parameters()


def _forward_overflow(precision: str, scaler: bool) -> Change:
    """A hidden layer's outputs are multiplied by 3e5 and divided again: harmless in float32, inf in float16."""

    def apply(setup: Setup) -> None:
        def change(model: Any) -> Any:
            layer = _weights(model)[0]
            layer.register_forward_hook(lambda module, inputs, output: (output * 60000.0 * 5.0) / 60000.0 / 5.0)
            return model

        setup.change_model.append(change)
        setup.precision = precision  # type: ignore[assignment]
        if scaler:
            setup.loss_scale = 65536.0
        if precision == "float16":
            setup.eps = 1e-4

    return apply


def _small_loss(precision: str, scaler: bool) -> Change:
    """A loss of a small weight in float16 without a scaler: Adam does not mind it, float16 loses its gradients."""

    def apply(setup: Setup) -> None:
        setup.loss_factor = lambda step: 3e-7
        setup.optimizer, setup.lr, setup.eps = "adam", setup.family.lr, 1e-12
        setup.precision = precision  # type: ignore[assignment]
        if scaler:
            setup.loss_scale = 2.0**20

    return apply


def _clip_scaled(unscale_first: bool) -> Change:
    def apply(setup: Setup) -> None:
        setup.optimizer, setup.lr = "sgd", setup.family.sgd_lr
        setup.precision, setup.loss_scale, setup.clip = "autocast_float16", 16384.0, 1.0
        setup.unscale_first = unscale_first

    return apply


def _small_updates(precision: str) -> Change:
    """Updates below half a unit in the last place of bfloat16, that sum up in float32."""

    def apply(setup: Setup) -> None:
        setup.optimizer, setup.lr, setup.steps = "adam", 2.5e-4, 300
        setup.precision = precision  # type: ignore[assignment]

        def change(model: Any) -> Any:
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.dim() > 1:
                        parameter.add_(0.05 * parameter.sign())
            return model

        setup.change_model.append(change)

    return apply


def _stale_moments(setup: Setup) -> None:
    """The loss is multiplied by 1e-4 for 120 steps, then by 1: Adam's second moments are still those of before."""
    setup.optimizer, setup.lr = "adam", setup.family.lr * 4
    setup.loss_factor = lambda step: 1e-4 if step < 120 else 1.0


def _inf_once(setup: Setup) -> None:
    """One gradient is inf at step 60: Adam keeps nan from then on, though no later gradient is bad by itself."""
    count = {"step": -1}

    def loss(family: Family, output: Any, inputs: Any, targets: Any) -> Any:
        count["step"] += 1
        first = output[0] if isinstance(output, tuple) else output
        if count["step"] == 60:
            first.register_hook(lambda gradient: torch.where(gradient > 0, math.inf, gradient))
        return clean_loss(family, output, inputs, targets)

    setup.optimizer, setup.lr, setup.loss = "adam", setup.family.lr, loss


def _bad_batches(setup: Setup) -> None:
    """One batch in thirty has samples a thousand times too large."""

    def alter(x: Any, y: Any, step: int) -> tuple[Any, Any]:
        if step % 30 == 20:
            x = x.clone()
            x[:4] *= 1000.0
        return x, y

    setup.change_batch.append(alter)


def _batch_of_two(setup: Setup) -> None:
    setup.batch = 2


def _stale_statistics(setup: Setup) -> None:
    """Running statistics that hardly move: good in training, bad in evaluation."""

    def change(model: Any) -> Any:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1e-4
        return model

    setup.change_model.append(change)
    setup.change_inputs.append(lambda inputs: inputs * 3.0 + 4.0)


def _double_softmax(family: Family, output: Any, inputs: Any, targets: Any) -> Any:
    logits, classes = _flat(output, targets)
    return nn.functional.cross_entropy(torch.softmax(logits, 1), classes)


def _one_unit_softmax(family: Family, output: Any, inputs: Any, targets: Any) -> Any:
    """Softmax over a single unit is always 1, whatever the weights; binary cross-entropy of it."""
    logits, classes = _flat(output, targets)
    share = torch.softmax(logits[:, :1], 1)
    return nn.functional.binary_cross_entropy(share, (classes[:, None] > 0).to(share.dtype))


def _clamped_loss(setup: Setup) -> None:
    """A sigmoid that is exactly 1 before torch's BCELoss, which clamps log at −100."""

    def loss(family: Family, output: Any, inputs: Any, targets: Any) -> Any:
        logits, classes = _flat(output, targets)
        share = torch.sigmoid(logits[:, :1] * 50.0 + 3000.0)
        return nn.functional.binary_cross_entropy(share, (classes[:, None] > 0).to(share.dtype))

    setup.loss = loss


def _post_norm(warm_up: int) -> Change:
    """Six post-LN blocks at a large learning rate, with or without warm-up."""

    def apply(setup: Setup) -> None:
        family = setup.family
        causal = family.kind == "tokens"

        def change(model: Any) -> Any:
            return Transformer(6, 32, family.classes, causal=causal, post=True)

        setup.change_model.append(change)
        setup.optimizer, setup.lr, setup.steps, setup.batch = "adam", 1e-2, 200, 12
        setup.lr_factor = lambda step: min(1.0, (step + 1) / warm_up) * max(0.05, 1 - step / 200)

    return apply


def _restart(setup: Setup) -> None:
    """The schedule restarts at step 100, with sixty times the learning rate of before."""
    factor = 60.0
    setup.lr_factor = lambda step: 1.0 if step < 100 else factor


def _few_samples(setup: Setup) -> None:
    setup.train_size = 10


FAULTS: tuple[Fault, ...] = (
    Fault(id="lr_x10", cause="step_too_large", apply=_multiply_lr(10)),
    Fault(id="lr_x100", cause="step_too_large", apply=_multiply_lr(100)),
    Fault(id="lr_x1000", cause="step_too_large", apply=_multiply_lr(1000)),
    Fault(id="lr_div1000", cause="step_too_small", apply=_multiply_lr(1e-3)),
    Fault(id="gain_x3", cause="weights_too_large", apply=_scale_weights(3), families=ANY - RECURRENT),
    Fault(id="gain_x10", cause="weights_too_large", apply=_scale_weights(10), families=ANY - RECURRENT),
    Fault(id="gain_x0.3", cause="vanishing_signal", apply=_scale_weights(0.3), families=ANY - RECURRENT),
    Fault(id="gain_x0.1", cause="vanishing_signal", apply=_scale_weights(0.1), families=PLAIN),
    Fault(id="constant_init", cause="symmetric_init", apply=_constant_weights, families=PLAIN | NORMED),
    Fault(
        id="saturated_sigmoid", cause="saturated_activation", apply=_saturate, families=PLAIN,
        also=frozenset({"vanishing_signal", "weights_too_large"}),
    ),
    Fault(
        id="deep_sigmoid", cause="vanishing_signal", apply=_deep_sigmoid, families=PLAIN,
        also=frozenset({"saturated_activation"}),
    ),
    Fault(id="dead_bias", cause="dead_relu", apply=_dead_bias, families=RELU & PLAIN),
    Fault(id="inputs_x255", cause="inputs_not_scaled", apply=_inputs_255, families=ANY - TOKENS),
    Fault(
        id="feature_x1e4", cause="inputs_not_scaled", apply=_one_feature,
        families=frozenset({"mlp4", "mlp16_tanh", "mlp_regression", "rnn_adding", "vae"}),
    ),
    Fault(id="nan_sample", cause="nonfinite_data", apply=_nan_sample, families=ANY - TOKENS),
    Fault(id="ignored_labels", cause="bad_labels", apply=_ignored_labels, families=CLASSIFIERS,
          also=frozenset({"zero_over_zero"})),
    Fault(id="nan_labels", cause="bad_labels", apply=_nan_labels, also=frozenset({"nonfinite_data"}),
          families=frozenset({"mlp_regression", "rnn_adding"})),
    Fault(id="shuffled_labels", cause="chance_labels", apply=_shuffled_labels, families=ANY - {"vae"}),
    Fault(
        id="log_softmax_by_hand", cause="log_of_zero", apply=_outliers(_log_softmax_by_hand),
        families=CLASSIFIERS - TOKENS, cured=_outliers(clean_loss),
    ),
    Fault(
        id="eps_in_log", cause="eps_lost", apply=_use_loss(_eps_in_log), families=CLASSIFIERS,
        cured=_use_loss(_binary_loss), also=frozenset({"log_of_zero"}),
    ),
    Fault(
        id="adam_eps_float16", cause="eps_lost", apply=_adam_eps_float16, cured=_adam_eps_larger,
        families=HALF - NORMED,
    ),
    Fault(id="distance_of_equal", cause="gradient_at_zero", apply=_distance_of_equal, families=ANY - {"vae"}),
    Fault(id="norm_of_zero_bias", cause="gradient_at_zero", apply=_norm_of_zero_bias, families=ANY - {"resnet8"}),
    Fault(id="masked_mean", cause="zero_over_zero", apply=_masked_mean, also=frozenset({"bad_labels"})),
    Fault(id="where_backward", cause="where_backward", apply=_where_backward),
    Fault(
        id="empty_row", cause="empty_attention_row", apply=_empty_row, families=frozenset({"transformer_classifier"}),
    ),
    Fault(id="summed_loss", cause="summed_loss", apply=_summed, also=frozenset({"step_too_large"})),
    Fault(id="no_zero_grad", cause="gradients_accumulate", apply=_no_zero_grad),
    Fault(id="other_parameters", cause="no_update", apply=_other_parameters),
    Fault(
        id="float16_forward", cause="forward_overflow", apply=_forward_overflow("float16", scaler=False),
        cured=_forward_overflow("float32", scaler=False), families=HALF - NORMED,
    ),
    Fault(
        id="scaler_forward", cause="forward_overflow", apply=_forward_overflow("autocast_float16", scaler=True),
        cured=_forward_overflow("float32", scaler=False), families=HALF, also=frozenset({"loss_scale_collapse"}),
    ),
    Fault(
        id="no_scaler", cause="gradient_underflow", apply=_small_loss("autocast_float16", scaler=False),
        cured=_small_loss("float32", scaler=False), families=HALF,
    ),
    Fault(
        id="clip_scaled", cause="clip_before_unscale", apply=_clip_scaled(unscale_first=False),
        cured=_clip_scaled(unscale_first=True), families=HALF,
    ),
    Fault(
        id="bfloat16_weights", cause="update_swallowed", apply=_small_updates("bfloat16"),
        cured=_small_updates("float32"),
    ),
    Fault(id="stale_moments", cause="adam_stale", apply=_stale_moments),
    Fault(id="inf_once", cause="adam_stale", apply=_inf_once),
    Fault(
        id="bad_batches", cause="bad_batches", apply=_bad_batches, families=ANY - TOKENS,
        also=frozenset({"inputs_not_scaled"}),
    ),
    Fault(id="batch_of_two", cause="batch_norm", apply=_batch_of_two, families=NORMED),
    Fault(id="stale_statistics", cause="batch_norm", apply=_stale_statistics, families=NORMED),
    Fault(id="double_softmax", cause="wrong_output", apply=_use_loss(_double_softmax), families=CLASSIFIERS),
    Fault(
        id="one_unit_softmax", cause="wrong_output", apply=_use_loss(_one_unit_softmax), families=CLASSIFIERS - TOKENS,
        also=frozenset({"loss_clipped"}),
    ),
    Fault(
        id="clamped_loss", cause="loss_clipped", apply=_clamped_loss, families=CLASSIFIERS - TOKENS,
        also=frozenset({"saturated_activation"}),
    ),
    Fault(
        id="post_norm", cause="no_warmup", apply=_post_norm(1), cured=_post_norm(80), families=ATTENTION,
        also=frozenset({"step_too_large"}),
    ),
    Fault(id="restart", cause="no_warmup", apply=_restart, also=frozenset({"step_too_large"})),
    Fault(id="recurrent_x4", cause="recurrent_product", apply=_scale_recurrent(4), families=RECURRENT),
    Fault(id="recurrent_x10", cause="recurrent_product", apply=_scale_recurrent(10), families=RECURRENT),
    Fault(id="few_samples", cause="overfitting", apply=_few_samples, families=ANY - {"vae"}),
)  # fmt: skip
