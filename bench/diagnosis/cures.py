"""Whether the cure of the first cause makes the run healthy: it is done to the faulty setup, which is trained again."""

import math
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

import torch

from bench.diagnosis.architectures import clean_loss
from bench.diagnosis.faults import FAULTS
from bench.diagnosis.more_families import family_of
from bench.diagnosis.runs import RecordedRun, Setup, default_setup, train
from bench.diagnosis.score import SICK_STATUSES, TRACE_VIEW, Share, diagnose_views
from bench.diagnosis.suite import measure_harm

Cure = Callable[[Setup], None]
_TENTHS = 3
"""The largest power of ten by which a learning rate is changed."""


class CureOutcome(NamedTuple):
    """A faulty run, the first cause that was named, and whether its cure made the run healthy."""

    run: RecordedRun
    cause: str
    healthy: bool


def _rate(factor: float) -> Cure:
    def change(setup: Setup) -> None:
        setup.lr *= factor

    return change


def _initial_weights(setup: Setup) -> None:
    """Gives the model the initial weights of its family; parameters that the family lacks stay as they are."""

    def change(model: Any) -> Any:
        fresh = setup.family.make_model().state_dict()
        own = model.state_dict()
        model.load_state_dict(
            {key: fresh[key] if key in fresh and fresh[key].shape == own[key].shape else own[key] for key in own}
        )
        return model

    setup.change_model.append(change)


def _scaled_inputs(setup: Setup) -> None:
    def change(inputs: Any) -> Any:
        return (inputs - inputs.mean(0)) / (inputs.std(0) + 1e-6)

    setup.change_inputs.append(change)


def _finite_samples(setup: Setup) -> None:
    """Samples with a nan or inf are left out of each batch, as are those without a label."""

    def alter(x: Any, y: Any, _: int) -> tuple[Any, Any]:
        good = torch.isfinite(x.float()).flatten(1).all(1) & torch.isfinite(y.float()).reshape(len(y), -1).all(1)
        if not y.is_floating_point():
            good &= (y.reshape(len(y), -1) >= 0).any(1)
        return (x[good], y[good]) if good.any() else (x, y.clamp(min=0))

    setup.change_batch.append(alter)


def _stable_loss(setup: Setup) -> None:
    setup.loss, setup.loss_factor = clean_loss, lambda _: 1.0


def _float32(setup: Setup) -> None:
    setup.precision, setup.loss_scale, setup.unscale_first = "float32", None, True


def _eps(setup: Setup) -> None:
    _stable_loss(setup)
    setup.eps = max(setup.eps, 1e-4 if setup.precision == "float16" else setup.eps)


def _zero_grad(setup: Setup) -> None:
    setup.zero_grad = True


def _own_parameters(setup: Setup) -> None:
    setup.parameters = lambda model: model.parameters()


def _schedule(setup: Setup) -> None:
    """A linear warm-up over the first tenth of the steps, multiplied by a linear decay to 0.05."""
    steps = setup.steps
    setup.lr_factor = lambda step: min(1.0, (step + 1) / (0.1 * steps)) * max(0.05, 1 - step / steps)


def _clip(setup: Setup) -> None:
    setup.clip = 1.0


def _all_samples(setup: Setup) -> None:
    setup.train_size = default_setup(setup.family, setup.seed).train_size


def _right_labels(setup: Setup) -> None:
    setup.change_targets.clear()


def _usual_momentum(setup: Setup) -> None:
    def change(model: Any) -> Any:
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 0.1
        return model

    setup.change_model.append(change)


def _no_empty_rows(setup: Setup) -> None:
    setup.change_batch.clear()


CURES: dict[str, Sequence[Cure]] = {
    "step_too_large": [_rate(0.1**power) for power in range(1, _TENTHS + 1)],
    "step_too_small": [_rate(10.0**power) for power in range(1, _TENTHS + 1)],
    "no_warmup": [_schedule], "adam_stale": [_stable_loss], "bad_batches": [_clip],
    "weights_too_large": [_initial_weights], "vanishing_signal": [_initial_weights],
    "symmetric_init": [_initial_weights], "saturated_activation": [_initial_weights], "dead_relu": [_initial_weights],
    "recurrent_product": [_initial_weights], "inputs_not_scaled": [_scaled_inputs],
    "nonfinite_data": [_finite_samples], "bad_labels": [_finite_samples], "chance_labels": [_right_labels],
    "overfitting": [_all_samples], "batch_norm": [_usual_momentum], "empty_attention_row": [_no_empty_rows],
    "forward_overflow": [_float32], "gradient_underflow": [_float32], "update_swallowed": [_float32],
    "clip_before_unscale": [_float32], "loss_scale_collapse": [_float32], "eps_lost": [_eps],
    "gradients_accumulate": [_zero_grad], "no_update": [_own_parameters],
    **dict.fromkeys(
        ("log_of_zero", "gradient_at_zero", "zero_over_zero", "where_backward", "summed_loss", "wrong_output",
         "loss_clipped"), (_stable_loss,),
    ),
}  # fmt: skip
"""Cause → what its report says to change, as changes of a setup: the first that helps counts."""


def _is_healthy(run: RecordedRun, sound: RecordedRun) -> bool:
    verdict = measure_harm(run, sound)
    return not verdict.harmful and math.isfinite(run.learned[1])


def cure_runs(runs: Sequence[RecordedRun], seed: int = 0) -> Iterator[CureOutcome]:
    """The outcome for one recorded run of each fault, drawn at random: its first cause by the trace, and what the cure
    of that does.
    """
    torch.set_num_threads(1)
    draw = Random(seed)
    for fault in FAULTS:
        recorded = [run for run in runs if run.fault == fault.id and run.group == "faulty" and run.trace]
        if not recorded:
            continue
        run = draw.choice(recorded)
        answer = next(diagnose_views([run], [TRACE_VIEW]))
        cause = answer.causes[0] if answer.status in SICK_STATUSES and answer.causes else ""
        yield CureOutcome(run, cause, any(_helps(cure, fault.apply, run) for cure in CURES.get(cause, ())))


def _helps(cure: Cure, apply: Cure, run: RecordedRun) -> bool:
    family = family_of(run.family)
    sound, _ = train(default_setup(family, run.seed))
    setup = default_setup(family, run.seed)
    apply(setup)
    cure(setup)
    return _is_healthy(train(setup)[0], sound)


def main(runs: Sequence[RecordedRun]) -> None:
    """Prints each run as soon as it is trained, and the share that is healthy."""
    cured = []
    for each in cure_runs(runs):
        print(
            f"{each.run.id}: {each.cause or 'nothing named'}: {'healthy' if each.healthy else 'not healthy'}",
            flush=True,
        )
        cured.append(each)
    print("healthy by the cure of the first cause:", Share(sum(each.healthy for each in cured), len(cured)))
