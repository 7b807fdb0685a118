"""The benchmark of the diagnosis: faults do harm, logs are printed as trainers print them, and its statistics are
right.
"""

import ast
import math
import re

import pytest
from checking import each_case

from bench.diagnosis import rule_sets
from bench.diagnosis.architectures import FAMILIES, HELD_OUT
from bench.diagnosis.faults import FAULTS
from bench.diagnosis.healthy import TRAPS, grid
from bench.diagnosis.printers import LOG_PRINTERS, PRINT_INTERVAL, metric_logger
from bench.diagnosis.runs import RecordedRun, default_setup, read_runs, train, write_runs
from bench.diagnosis.score import DiagnosedRun, Share, names_cause_of_sudden_nan, visibility_of
from bench.diagnosis.suite import is_healthy_run, measure_harm
from bench.diagnosis.threads import load_threads, split_threads

CAUSES = {
    "step_too_large",
    "weights_too_large",
    "vanishing_signal",
    "saturated_activation",
    "dead_relu",
    "symmetric_init",
    "summed_loss",
    "inputs_not_scaled",
    "nonfinite_data",
    "bad_labels",
    "log_of_zero",
    "eps_lost",
    "gradient_at_zero",
    "zero_over_zero",
    "empty_attention_row",
    "where_backward",
    "forward_overflow",
    "gradient_underflow",
    "loss_scale_collapse",
    "clip_before_unscale",
    "update_swallowed",
    "step_too_small",
    "bad_batches",
    "adam_stale",
    "gradients_accumulate",
    "no_update",
    "batch_norm",
    "no_warmup",
    "recurrent_product",
    "wrong_output",
    "chance_labels",
    "hidden_nan",
    "poisoned_average",
    "loss_clipped",
    "hardware",
    "overfitting",
    "undertrained",
    "out_of_memory",
    "shapes",
}
NAN, INF = math.nan, math.inf
_sound: dict[tuple[str, int], RecordedRun] = {}


def sound_run(family, seed=0):
    """The run of a family of trainings without a fault, trained once."""
    if (family, seed) not in _sound:
        _sound[family, seed] = train(default_setup(FAMILIES[family], seed))[0]
    return _sound[family, seed]


def run_by_hand(**changes):
    """A run of 40 steps with given values: the loss halves every 10 steps, the gradient norm is 2, no update is
    skipped.
    """
    steps = 40
    run = RecordedRun(
        id="made/by_hand/0", family="mlp4", fault="", cause="", seed=0, lr=0.001, batch=32, classes=4,
        loss=[1.5 * 0.5 ** (step / 10) for step in range(steps)], grad_norm=[2.0] * steps, lr_series=[0.001] * steps,
        loss_scale=[None] * steps, skipped=[False] * steps, accuracy=[0.25 + step / 80 for step in range(steps)],
        validation=[(19, 0.7, 0.5), (39, 0.2, 0.9)], inputs=(-1.0, 1.0, 0.5),
    )  # fmt: skip
    for name, value in changes.items():
        setattr(run, name, value)
    return run


def with_loss(index, value):
    run = run_by_hand()
    run.loss[index] = value
    return run


def numbers(pattern, text):
    return [float(each.replace("E", "e")) for each in re.findall(pattern, text)]


# --- Faults and healthy runs ---


def test_twelve_families_of_which_four_are_held_out():
    assert len(FAMILIES) == 12
    assert len(HELD_OUT) == 4
    assert set(FAMILIES) >= HELD_OUT


def test_every_fault_names_causes_of_the_table_and_families_that_exist():
    assert len({fault.id for fault in FAULTS}) == len(FAULTS) >= 22
    for fault in FAULTS:
        assert {fault.cause, *fault.also} <= CAUSES, fault.id
        assert fault.families, fault.id
        assert fault.families <= set(FAMILIES), fault.id


@each_case("fault", FAULTS)
def test_every_fault_changes_the_setup_of_each_family_that_it_applies_to(fault):
    for name in fault.families:
        setup, before = (default_setup(FAMILIES[name], 0) for _ in range(2))
        fault.apply(setup)
        assert setup != before


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize(
    ("family", "fault"),
    [
        ("mlp4", "lr_div1000"), ("mlp4", "gain_x10"), ("mlp4", "dead_bias"), ("mlp4", "nan_sample"),
        ("mlp4", "shuffled_labels"), ("mlp4", "log_softmax_by_hand"), ("mlp4", "eps_in_log"),
        ("mlp4", "adam_eps_float16"), ("mlp4", "distance_of_equal"), ("mlp4", "norm_of_zero_bias"),
        ("mlp4", "masked_mean"), ("mlp4", "where_backward"), ("mlp4", "no_zero_grad"), ("mlp4", "other_parameters"),
        ("mlp4", "scaler_forward"), ("mlp4", "no_scaler"), ("mlp4", "clip_scaled"), ("mlp4", "one_unit_softmax"),
        ("mlp_regression", "nan_labels"), ("mlp_regression", "lr_x100"),
    ],
)  # fmt: skip
def test_a_fault_does_harm_and_its_cure_does_not(family, fault):
    chosen = next(each for each in FAULTS if each.id == fault)
    setup = default_setup(FAMILIES[family], 0)
    chosen.apply(setup)
    assert measure_harm(train(setup)[0], sound_run(family)).harmful
    if chosen.cured is not None:
        setup = default_setup(FAMILIES[family], 0)
        chosen.cured(setup)
        assert not measure_harm(train(setup)[0], sound_run(family)).harmful


def test_a_sound_run_learns_and_is_harmless_beside_itself():
    run = sound_run("mlp4")
    assert is_healthy_run(run, FAMILIES["mlp4"].learns_by)
    assert measure_harm(run, run).harmless


def test_a_run_is_the_same_when_it_is_repeated():
    again, _ = train(default_setup(FAMILIES["mlp4"], 0))
    assert again.loss == sound_run("mlp4").loss


def test_the_grid_of_a_family_without_float16_leaves_float16_out():
    cells = {cell for cell, _ in grid(FAMILIES["lstm_chars"], 0)}
    assert "healthy_sgd_float32" in cells
    assert not any("float16" in cell and "bfloat16" not in cell for cell in cells)


@pytest.mark.parametrize("id_", ["scaler_starts_high", "short_samples", "frozen_backbone"])
def test_traps_alarm_and_are_healthy(id_):
    trap = next(trap for trap in TRAPS if trap.id == id_)
    setup = trap.make(0)
    run, _ = train(setup)
    assert trap.rises or is_healthy_run(run, setup.family.learns_by)
    if id_ == "scaler_starts_high":
        assert sum(run.skipped) >= 10


def test_runs_are_read_as_they_were_written(tmp_path):
    run = with_loss(3, INF)
    write_runs(tmp_path / "runs.jsonl.gz", [run])
    assert read_runs(tmp_path / "runs.jsonl.gz") == [run]


def test_the_values_of_the_diagnosis_have_every_step_and_no_line():
    run = run_by_hand(grad_norm=[None] * 40).as_training_run()
    assert "grad_norm" not in run.series
    assert len(run.series["loss"]) == 40
    assert run.series["val_loss"][1] == (39, None, 0.2)


# --- Printers ---


def test_hugging_face_prints_the_mean_of_a_window_and_hides_nan():
    run = with_loss(7, NAN)
    text = LOG_PRINTERS["hf_trainer"](run)
    rows = [ast.literal_eval(line) for line in text.splitlines() if line.startswith("{'loss'")]
    assert len(rows) == len(run.loss) // PRINT_INTERVAL
    assert rows[0]["loss"] == round(sum(run.loss[:5]) / 5, 4)
    before = run.loss[5] + run.loss[6]
    assert rows[1]["loss"] == round((before * (1 + 1 / 3) + run.loss[8] + run.loss[9]) / 5, 4)
    assert "nan" not in text


def test_hugging_face_prints_a_dead_run_as_a_loss_of_zero():
    text = LOG_PRINTERS["hf_trainer"](run_by_hand(loss=[NAN] * 40, grad_norm=[NAN] * 40))
    assert text.startswith("{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 0.001, 'epoch': 0.25}")


def test_tqdm_prints_every_step_to_three_digits_on_one_line_an_epoch():
    run = run_by_hand()
    text = LOG_PRINTERS["tqdm"](run)
    assert numbers(r"\bloss=([\d.e+-]+)", text) == [float(f"{loss:.3g}") for loss in run.loss]
    assert text.count("\r") == 38
    assert numbers(r"val_loss: ([\d.]+)", text) == [0.7, 0.2]


def test_keras_prints_the_running_mean_which_one_nan_makes_nan():
    run = with_loss(22, NAN)
    text = re.sub(r"\x1b\[\d+m", "", LOG_PRINTERS["keras"](run))
    losses = re.findall(r"(?<!val_)loss: (\S+)", text)
    assert losses[0] == "1.5000"
    assert losses[1] == f"{(run.loss[0] + run.loss[1]) / 2:.4f}"
    assert losses[21] != "nan"
    assert set(losses[22:]) == {"nan"}
    assert "val_accuracy: 0.9000 - val_loss: 0.2000" in text


def test_mmengine_prints_means_of_an_interval_with_four_decimals():
    run = run_by_hand()
    text = LOG_PRINTERS["mmengine"](run)
    first = sum(run.loss[:5]) / 5
    assert "Epoch(train)  [1][ 5/20]  lr: 1.0000e-03  " in text
    assert numbers(r"  loss: ([\d.]+)", text)[0] == round(first, 4)
    assert numbers(r"accuracy/top1: ([\d.]+)", text) == [50.0, 90.0]


def test_megatron_leaves_out_a_loss_that_is_nan_or_of_skipped_updates_only():
    run = run_by_hand(loss_scale=[1024.0] * 40)
    run.loss[6] = NAN
    run.skipped[10:15] = [True] * 5
    lines = [line for line in LOG_PRINTERS["megatron"](run).splitlines() if "consumed samples" in line]
    assert "lm loss: " in lines[0]
    assert "lm loss" not in lines[1]
    assert "lm loss" not in lines[2]
    assert "grad norm" not in lines[2]
    assert "number of skipped iterations:   5" in lines[2]
    assert numbers(r"lm loss: (\S+)", lines[0]) == [float(f"{sum(run.loss[:5]) / 5:.6E}")]
    assert " loss scale: 1024.0 |" in lines[0]


def test_nanogpt_prints_single_losses_and_nothing_of_the_gradient():
    run = with_loss(10, INF)
    text = LOG_PRINTERS["nanogpt"](run)
    assert re.findall(r"iter (\d+): loss (\S+),", text)[2] == ("10", "inf")
    assert "step 20: train loss " in text
    assert "norm" not in text


def test_a_metric_logger_keeps_one_inf_in_its_average_for_ever():
    norms = [2.0] * 40
    norms[3] = INF
    last = metric_logger(run_by_hand(grad_norm=norms)).splitlines()[-1]
    assert "grad_norm: 2.0000 (inf)" in last


# --- Published rule sets ---


def names(alarms):
    return [alarm.name for alarm in alarms]


def module(step=0, **values):
    row = {
        "step": step, "layer": "0", "kind": "module", "class": "ReLU", "absmax": 1.0, "absmean": 0.5, "std": 1.0,
        "zero": 0.5, "silent": 0.0, "above5": 0.0, "above9": 0.0, "least": 0.0, "variance_in": 1.0,
    }  # fmt: skip
    return row | values


def parameter(step=0, layer="0.weight", **values):
    row = {
        "step": step, "layer": layer, "kind": "parameter", "weight_mean": 0.1, "weight_variance": 0.01,
        "weight_max": 0.3, "ratio": 0.01, "moved_mean": 0.001, "unchanged": 0.0, "grad_mean": 0.01, "grad_norm": 1.0,
        "grad_zero": 0.1,
    }  # fmt: skip
    return row | values


@pytest.mark.parametrize("name", rule_sets.RULE_SETS)
def test_a_rule_set_is_silent_on_a_textbook_run(name):
    run = run_by_hand(
        layers=[row for step in (0, 10, 20) for row in (module(step), parameter(step))],
        accuracy=[0.25 + step / 80 for step in range(40)],
    )
    assert rule_sets.RULE_SETS[name](run) == []


def test_sagemaker_counts_units_over_time_and_tiny_gradients():
    rows = [row for step in (0, 10) for row in (module(step, silent=0.6), parameter(step, grad_mean=1e-8))]
    assert names(rule_sets.sagemaker(run_by_hand(layers=rows))) == ["DeadRelu", "VanishingGradient"]


def test_autotrainer_looks_only_where_the_accuracy_stays_low():
    rows = [parameter(grad_norm=1e-6), parameter(layer="1.weight", grad_norm=1.0)]
    assert rule_sets.autotrainer(run_by_hand(layers=rows)) == []
    low = run_by_hand(layers=rows, validation=[(39, 1.4, 0.3)])
    assert "vanishing gradient" in names(rule_sets.autotrainer(low))


def test_deeplocalize_names_the_first_tensor_that_is_not_finite():
    rows = [module(0), module(10, absmax=INF), parameter(10, grad_norm=NAN)]
    assert names(rule_sets.deeplocalize(run_by_hand(layers=rows))) == ["forward of 0 at 10"]


def test_deepdiagnosis_calls_a_layer_with_many_zeros_dead():
    assert names(rule_sets.deepdiagnosis(run_by_hand(layers=[module(zero=0.8)]))) == ["dead node"]


def test_umlaut_minds_inputs_and_the_learning_rate():
    assert names(rule_sets.umlaut(run_by_hand(inputs=(0.0, 255.0, 100.0), lr=0.05))) == [
        "input not normalised", "learning rate high",
    ]  # fmt: skip


def test_thedeepchecker_compares_the_first_loss_with_that_of_chance():
    assert "unexpected initial loss" in names(rule_sets.thedeepchecker(with_loss(0, 40.0)))


def test_losslint_finds_nan_spikes_and_standstill():
    assert names(rule_sets.losslint(with_loss(20, NAN))) == ["nan_inf"]
    assert names(rule_sets.losslint(with_loss(20, 90.0))) == ["loss_spike"]
    assert names(rule_sets.losslint(run_by_hand(loss=[1.0] * 40))) == ["stagnation"]


# --- Scores and threads ---


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilsons_interval_has_its_published_values(right, total, low, high):
    assert Share(right, total).interval() == pytest.approx((low, high), abs=5e-5)


def test_a_share_of_nothing_is_no_number():
    assert str(Share(0, 0)) == "–"


def diagnosed_run(status, *causes, **changes):
    return DiagnosedRun(
        run_by_hand(cause="log_of_zero", also=["eps_lost"], group="faulty", **changes), "tqdm", status, causes, 0.9
    )


def test_a_cause_counts_only_if_the_run_is_called_sick():
    assert diagnosed_run("sick", "log_of_zero").first_is_right(strict=True)
    assert not diagnosed_run("undecided", "log_of_zero").first_is_right(strict=True)
    assert diagnosed_run("undecided", "bad_labels", "log_of_zero").two_are_right(strict=True)
    assert not diagnosed_run("healthy", "log_of_zero").two_are_right(strict=False)


def test_a_link_of_the_same_chain_is_right_when_not_strict():
    answer = diagnosed_run("sick", "eps_lost")
    assert answer.first_is_right(strict=False)
    assert not answer.first_is_right(strict=True)


def test_what_a_log_shows_of_a_fault():
    assert visibility_of(with_loss(30, NAN)) == "sudden nan"
    assert visibility_of(run_by_hand(loss=[1.0] * 20 + [9.0, 90.0, NAN] + [NAN] * 17)) == "visible"
    assert visibility_of(run_by_hand(loss=[1.5] * 40)) == "visible"
    assert visibility_of(run_by_hand(validation=[(19, 0.2, 0.9), (39, 0.7, 0.5)])) == "visible"
    assert (
        visibility_of(run_by_hand(classes=0, loss=[1.0 - step / 80 for step in range(40)])) == "no warning but slowness"
    )


def test_the_group_of_a_sudden_nan_is_right_even_where_the_cause_is_not():
    assert names_cause_of_sudden_nan(diagnosed_run("undecided", "zero_over_zero"))
    assert not names_cause_of_sudden_nan(diagnosed_run("sick", "step_too_large"))


def test_forty_threads_a_quarter_healthy_split_by_hash():
    threads = load_threads()
    assert len({thread.id for thread in threads}) == len(threads) == 40
    assert sum(not thread.cause for thread in threads) == 10
    halves = split_threads()
    assert [len(half) for half in halves.values()] == [20, 20]
    for thread in threads:
        assert (thread.accepted - {""}) <= CAUSES, thread.id
        assert thread.said_by
        assert re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", thread.id)
        assert thread.log.strip()
