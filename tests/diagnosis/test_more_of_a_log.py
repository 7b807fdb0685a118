"""Further rules on logs: the number format seen in digits, a jump of the learning rate, a missing loss; each with a
counterexample.
"""

import math
import random

from checking import each_case
from runs_by_hand import constant_level, decay, run_of

from qa_service.diagnosis.engine import diagnose
from qa_service.diagnosis.harm import find_harms
from qa_service.diagnosis.log_rules import gradient_adds_up, number_format, turn_by_schedule
from qa_service.diagnosis.printed_precision import infer_dtype
from qa_service.diagnosis.reading import read_log_text
from qa_service.diagnosis.report import discriminating_question
from qa_service.diagnosis.schedule import lost_at_rate_jump
from qa_service.diagnosis.stalled_loss import classes_at_chance, validation_at_guessing


def rounded(values, bits):
    """The values rounded to this many significant bits."""
    return [
        round(value / 2.0 ** (math.frexp(value)[1] - bits)) * 2.0 ** (math.frexp(value)[1] - bits) for value in values
    ]


def noisy(count=40, seed=1):
    draw = random.Random(seed)
    return [0.4 + 2 * math.exp(-i / 20) * draw.uniform(0.7, 1.3) for i in range(count)]


def test_digits_tell_the_format_that_numbers_were_computed_in():
    assert infer_dtype(run_of(rounded(noisy(), 8))) == "bfloat16"
    assert infer_dtype(run_of([round(value, 4) for value in rounded(noisy(), 8)])) == "bfloat16"
    assert infer_dtype(run_of(noisy(), grad_norm=rounded(noisy(seed=2), 11))) == "float16"


@each_case(
    "losses",
    [
        noisy(),
        [round(value, 4) for value in noisy()],
        [round(value, 2) for value in noisy()],  # too few digits to tell
        [3.125 * count for count in (6, 8, 5, 9, 7, 6, 8, 10, 4, 6)],  # means over 32 samples of 0 and 100
        [1.0, 0.5, 0.25, 0.5, 0.25, 0.5],
    ],
)
def test_digits_of_other_numbers_tell_nothing(losses):
    assert infer_dtype(run_of(losses)) == ""


def test_digits_of_bfloat16_speak_for_swallowed_updates():
    run = run_of(rounded(noisy(), 8))
    assert {each.feature for each in number_format(run)} == {"digits_of_bfloat16"}


def with_rates(after, *, low=1e-3, high=0.06):
    return run_of([*decay(20, 2.0, 0.1), *after], lr=[*constant_level(20, low), *constant_level(len(after), high)])


def test_a_loss_that_is_lost_where_the_rate_jumps_is_sick():
    sick = with_rates([1.6, *constant_level(18, 1.5, 0.05)])
    assert lost_at_rate_jump(sick) is not None
    assert [each.id for each in find_harms(sick)] == ["diverging"]
    assert "rate_rose_again" in {each.feature for each in turn_by_schedule(sick)}
    assert diagnose(sick).hypotheses[0].cause == "no_warmup"


def test_a_loss_that_stays_high_after_the_jump_is_sick_by_the_jump_alone():
    losses = [*decay(20, 2.0, 0.3), *decay(18, 1.85, 1.4)]
    assert [
        each.id for each in find_harms(run_of(losses, lr=[*constant_level(20, 1e-3), *constant_level(18, 0.06)]))
    ] == ["diverging"]
    assert not find_harms(run_of(losses, lr=constant_level(38, 1e-3)))


def test_a_warm_restart_is_healthy():
    assert not find_harms(with_rates(decay(20, 1.2, 0.08)))
    assert not find_harms(with_rates(constant_level(20, 0.2, 0.02), high=0.06))
    assert lost_at_rate_jump(with_rates([1.6, *constant_level(18, 1.5, 0.05)], high=1e-3)) is None


def test_a_gradient_that_adds_up_with_noise_is_seen():
    draw = random.Random(3)
    rising = [2.0 + 0.5 * step * draw.uniform(0.8, 1.2) for step in range(40)]
    run = run_of(decay(40, 1.5, 0.5), grad_norm=rising)
    assert {each.feature for each in gradient_adds_up(run)} == {"gradient_adds_up"}
    steady = run_of(decay(40, 1.5, 0.5), grad_norm=[2.0 * draw.uniform(0.5, 1.5) for _ in range(40)])
    assert not list(gradient_adds_up(steady))


def megatron(losses, norms=None):
    lines = []
    for index, loss in enumerate(losses, start=1):
        own = "" if loss is None else f" lm loss: {loss:.6E} |"
        norm = norms[index - 1] if norms else 1.0
        lines.append(
            f" iteration {10 * index:8d}/    1000 | consumed samples: {320 * index:12d} | elapsed time per iteration "
            f"(ms): 12.3 | learning rate: 1.000E-03 | global batch size:    32 |{own} loss scale: 1.0 | "
            f"grad norm: {norm:.3f} | number of skipped iterations:   0 | number of nan iterations:   0 |"
        )
    return read_log_text("\n".join(lines) + "\n")


def test_a_loss_that_megatron_leaves_out_was_nan():
    losses = [None if index in (8, 20) else value for index, value in enumerate(decay(40, 2.0, 0.4))]
    series = megatron(losses).series["loss"]
    assert [point.line for point in series if math.isnan(point.value)] == [9, 21]
    assert [each.id for each in find_harms(megatron(losses))] == ["nonfinite"]


def test_a_loss_about_0_that_megatron_leaves_out_may_be_negative():
    losses = [None if index % 2 else 0.01 for index in range(40)]
    assert not any(math.isnan(point.value) for point in megatron(losses).series["loss"])
    assert not find_harms(megatron(losses))


def after_initial_spike(last_loss, last_share):
    shares = [0.3, 0.24, 0.25, 0.3, last_share]
    held_out = [254.0, 232.0, 1.5, 1.41, last_loss]
    losses = [5e4, 1e3, 240.0, *[1.45 + 0.05 * (-1) ** index for index in range(37)]]
    step = [7, 15, 23, 31, 39]
    run = run_of(losses, every=5)
    points = run.series["loss"]
    series = {
        "val_loss": tuple(points[at]._replace(value=value) for at, value in zip(step, held_out, strict=True)),
        "val_accuracy": tuple(points[at]._replace(value=value) for at, value in zip(step, shares, strict=True)),
    }
    return run.__class__(**{**{name: getattr(run, name) for name in run.__slots__}, "series": run.series | series})


def test_a_loss_that_comes_down_only_to_guessing_is_sick():
    assert validation_at_guessing(after_initial_spike(1.39, 0.25))
    assert not validation_at_guessing(after_initial_spike(0.5, 0.85))


def test_a_loss_that_happens_to_be_ln_4_is_no_guessing_where_the_accuracy_is_high():
    losses = [*decay(30, 3.0, 1.45), *constant_level(20, math.log(4))]
    assert classes_at_chance(run_of([*constant_level(50, math.log(4))], accuracy=constant_level(50, 0.25))) == 4
    assert classes_at_chance(run_of(losses, accuracy=[*constant_level(30, 0.3), *constant_level(20, 0.52)])) is None


def test_a_constant_loss_that_is_the_clamp_times_the_wrong_answers():
    stuck = run_of([5.7178, 5.7257, 5.7257, 5.7257], accuracy=[0.6446, 0.6448, 0.6448, 0.6448])
    assert [each.id for each in find_harms(stuck)] == ["no_learning"]
    assert diagnose(stuck).hypotheses[0].cause == "loss_clipped"
    assert not find_harms(run_of([0.7178, 0.7157, 0.7157, 0.7157], accuracy=[0.6446, 0.6448, 0.6448, 0.6448]))


def test_a_scale_that_is_reduced_from_1_to_1_is_at_its_floor():
    line = "[deepspeed] fp16 dynamic loss scale overflow! Skipping step. Attempted loss scale: {}, reducing to {}\n"
    assert diagnose(read_log_text(line.format(1, 1))).hypotheses[0].cause == "loss_scale_collapse"
    assert diagnose(read_log_text(line.format(2, 1))).status == "healthy"
    assert diagnose(read_log_text(line.format(65536, 32768))).status == "healthy"


@each_case(
    ("first", "second", "asks"),
    [
        ("adam_stale", "zero_over_zero", "the loss of that very step"),
        ("adam_stale", "gradient_at_zero", "inf or nan"),
        ("gradients_accumulate", "step_too_large", "p.grad"),
        ("loss_clipped", "wrong_output", "last layer"),
        ("batch_norm", "overfitting", "model.eval()"),
        ("chance_labels", "overfitting", "guessing"),
        ("nonfinite_data", "gradient_at_zero", "torch.isfinite(x)"),
    ],
)
def test_two_causes_that_print_the_same_log_are_split_by_a_question(first, second, asks):
    run = run_of(decay(20))
    assert asks in discriminating_question(first, second, run).en
    assert discriminating_question(first, second, run) == discriminating_question(second, first, run)
