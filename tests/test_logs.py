# ruff: noqa: E501 - lines of logs are as long as they are
"""Logs within questions: formats, values, and the signs derived from them. A healthy log gives no sign of sickness."""

import math

import pytest
from checking import each_case
from hypothesis import given
from hypothesis import strategies as st

from qa_service.diagnosis.reading import read_log_text
from qa_service.parsing.logs import describe_log, read_log
from qa_service.parsing.observations import observe

HF_NAN = """\
{'loss': 2.4113, 'grad_norm': 18.2, 'learning_rate': 4.8e-05, 'epoch': 0.01}
{'loss': 3.9021, 'grad_norm': 97.4, 'learning_rate': 4.7e-05, 'epoch': 0.02}
{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 4.6e-05, 'epoch': 0.03}
{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 4.5e-05, 'epoch': 0.04}
"""
TRAINER_STATE = """\
{
  "log_history": [
    {
      "epoch": 0.1,
      "grad_norm": 1.31,
      "learning_rate": 2e-05,
      "loss": 1.92,
      "step": 10
    },
    {
      "epoch": 0.2,
      "grad_norm": 1.22,
      "learning_rate": 2e-05,
      "loss": 1.71,
      "step": 20
    },
    {
      "epoch": 0.3,
      "grad_norm": NaN,
      "learning_rate": 2e-05,
      "loss": NaN,
      "step": 30
    }
  ]
}
"""
LLAMA_FACTORY = """\
{"current_steps": 5, "total_steps": 300, "loss": 1.4, "lr": 1e-05, "epoch": 0.05, "percentage": 1.67}
{"current_steps": 10, "total_steps": 300, "loss": 1.3, "lr": 2e-05, "epoch": 0.1, "percentage": 3.33}
{"current_steps": 15, "total_steps": 300, "loss": NaN, "lr": 3e-05, "epoch": 0.15, "percentage": 5.0}
"""
TQDM = (
    " 10%|█         | 100/1000 [00:10<01:30, 10.00it/s, loss=0.81]\r 20%|██        | 200/1000 [00:20<01:20, 10.00it/s, loss=0.74]"
    "\r 30%|███       | 300/1000 [00:30<01:10, 10.00it/s, loss=nan]"
)
KERAS = """\
Epoch 1/20
  1/469 [..............................] - ETA: 2:01 - loss: 2.3121 - accuracy: 0.0938
469/469 [==============================] - 3s 6ms/step - loss: nan - accuracy: 0.0987 - val_loss: nan - val_accuracy: 0.0980
Epoch 2/20
469/469 [==============================] - 3s 6ms/step - loss: nan - accuracy: 0.0987 - val_loss: nan - val_accuracy: 0.0980
"""
KERAS_3 = """\
Epoch 4/9
\x1b[1m313/313\x1b[0m \x1b[32m━━━━━━━━━━━━━━━━━━━━\x1b[0m\x1b[37m\x1b[0m \x1b[1m2s\x1b[0m 5ms/step - accuracy: 0.5000 - loss: 0.6931 - val_accuracy: 0.5000 - val_loss: 0.6931
313/313 ━━━━━━━━━━━━━━━━━━━━ 2s 5ms/step - accuracy: 0.5000 - loss: 0.6932
313/313 ━━━━━━━━━━━━━━━━━━━━ 2s 5ms/step - accuracy: 0.5000 - loss: 0.6931
313/313 ━━━━━━━━━━━━━━━━━━━━ 2s 5ms/step - accuracy: 0.5000 - loss: 0.6932
"""
MEGATRON = """\
 iteration      100/  500000 | consumed samples:        25600 | elapsed time per iteration (ms): 812.3 | learning rate: 1.500E-05 | global batch size:   256 | lm loss: 8.812345E+00 | loss scale: 65536.0 | grad norm: 2.113 | number of skipped iterations:   0 | number of nan iterations:   0 |
 iteration      200/  500000 | consumed samples:        51200 | elapsed time per iteration (ms): 811.9 | learning rate: 3.000E-05 | global batch size:   256 | lm loss: 7.412345E+00 | loss scale: 65536.0 | grad norm: 1.713 | number of skipped iterations:   0 | number of nan iterations:   0 |
 iteration      300/  500000 | consumed samples:        76800 | elapsed time per iteration (ms): 812.0 | learning rate: 4.500E-05 | global batch size:   256 | lm loss: NAN | loss scale: 1.0 | grad norm: nan | number of skipped iterations:   0 | number of nan iterations:   1 |
"""
NEOX = """\
 samples/sec: 33.2 | iteration       10/  320000 | elapsed time per iteration (ms): 963.1 | learning rate: 9.375E-06 | approx flops per GPU: 41.2TFLOPS | lm_loss: 1.08E+01 | loss scale: 4294967296.0 | number of skipped iterations:   0 |
 samples/sec: 33.1 | iteration       20/  320000 | elapsed time per iteration (ms): 964.0 | learning rate: 1.875E-05 | approx flops per GPU: 41.2TFLOPS | lm_loss: NAN | loss scale: 4294967296.0 | number of skipped iterations:   0 |
"""
DEEPSPEED = """\
[deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 65536, reducing to 32768
[deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 32768, reducing to 16384
[deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 16384, reducing to 8192
[deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: 8192, reducing to 4096
"""
NANOGPT = """\
step 0: train loss 10.9541, val loss 10.9532
iter 0: loss 10.9546, time 31221.01ms, mfu -100.00%
iter 10: loss 9.3120, time 412.55ms, mfu 31.02%
iter 20: loss nan, time 410.13ms, mfu 31.04%
"""
MMENGINE = """\
2024/01/02 10:11:12 - mmengine - INFO - Epoch(train)  [1][ 50/1466]  lr: 1.0e-03  eta: 2:01:44  time: 0.41  data_time: 0.01  memory: 6124  grad_norm: 12.1  loss: 4.12  loss_cls: 2.05  loss_bbox: 2.07
2024/01/02 10:11:32 - mmengine - INFO - Epoch(train)  [1][100/1466]  lr: 2.0e-03  eta: 2:00:44  time: 0.41  data_time: 0.01  memory: 6124  grad_norm: nan  loss: nan  loss_cls: 1.98  loss_bbox: nan
"""
MMCV = """\
2022-05-01 10:00:00,123 - mmdet - INFO - Epoch [1][50/7330]\tlr: 1.978e-03, eta: 14:21:11, time: 0.588, data_time: 0.05, memory: 3784, loss_rpn_cls: 0.61, loss_cls: 1.20, loss: 1.9, grad_norm: 9.1
2022-05-01 10:00:30,123 - mmdet - INFO - Epoch [1][100/7330]\tlr: 3.976e-03, eta: 14:10:11, time: 0.577, data_time: 0.01, memory: 3784, loss_rpn_cls: nan, loss_cls: nan, loss: nan, grad_norm: nan
"""
YOLO = """\
      Epoch    GPU_mem   box_loss   cls_loss   dfl_loss  Instances       Size
      1/100      2.31G      1.834      2.745      1.345         23        640: 100%|██████████| 120/120 [00:15<00:00,  7.61it/s]
      2/100      2.35G      1.611      2.102      1.288         31        640: 100%|██████████| 120/120 [00:15<00:00,  7.70it/s]
      3/100      2.35G        nan        nan        nan         18        640: 100%|██████████| 120/120 [00:15<00:00,  7.72it/s]
"""
PADDLE = """\
\x1b[32m[2022-07-27 08:53:11,036] [    INFO]\x1b[0m - global step 10, epoch: 1, batch: 10, loss: 0.712, accu: 0.51, speed: 2.1 step/s, learning rate: 0.00002000
\x1b[32m[2022-07-27 08:53:16,036] [    INFO]\x1b[0m - global step 20, epoch: 1, batch: 20, loss: nan, accu: 0.50, speed: 2.1 step/s, learning rate: 0.00002000
"""
TORCHTITAN = """\
[rank0]:[titan] 2025-01-01 - root - INFO - \x1b[31mstep:  1  \x1b[32mloss: 12.2403  \x1b[35mgrad_norm:  1.8402  \x1b[33mmemory: 40.11GiB(42.2%)  \x1b[34mtps: 1,201\x1b[39m
[rank0]:[titan] 2025-01-01 - root - INFO - \x1b[31mstep: 10  \x1b[32mloss: 10.9115  \x1b[35mgrad_norm:  2.1003  \x1b[33mmemory: 44.93GiB(47.3%)  \x1b[34mtps: 7,310\x1b[39m
[rank0]:[titan] 2025-01-01 - root - INFO - \x1b[31mstep: 20  \x1b[32mloss:     nan  \x1b[35mgrad_norm:     nan  \x1b[33mmemory: 44.93GiB(47.3%)  \x1b[34mtps: 7,301\x1b[39m
"""
FAIRSEQ = """\
2023-01-01 | INFO | train_inner | epoch 001:    100 / 5000 loss=14.21, nll_loss=13.9, ppl=15293, wps=31000, gnorm=2.1, clip=12, loss_scale=128, train_wall=30
2023-01-01 | INFO | fairseq.trainer | gradient overflow detected, ignoring gradient, setting loss scale to: 64.0
2023-01-01 | INFO | train_inner | epoch 001:    200 / 5000 loss=12.10, nll_loss=11.8, ppl=3565, wps=31000, gnorm=1.9, clip=8, loss_scale=64, train_wall=30
"""
PLAIN = """\
step:  12|loss: 3.1| norm: 0.9
step:  13|loss: 2.9| norm: 0.8
step:  14|loss: nan| norm: nan
"""
TABLE = """\
epoch | train_loss | val_loss | lr
1 | 0.912 | 0.981 | 0.01
2 | 0.713 | 0.792 | 0.01
3 | nan | nan | 0.01
"""
SAMPLES = {
    "hf_trainer": (HF_NAN, "in:hf_trainer what:zero where:loss what:nan where:gradient what:growing when:later"),
    "trainer_state": (TRAINER_STATE, "in:hf_trainer what:nan where:loss where:gradient when:later"),
    "llama_factory": (LLAMA_FACTORY, "in:hf_trainer what:nan where:loss when:later"),
    "tqdm": (TQDM, "what:nan where:loss when:later"),
    "keras": (KERAS, "in:keras what:nan where:loss when:later"),
    "megatron": (MEGATRON, "in:megatron what:nan where:loss where:gradient when:later what:minimum where:scale"),
    "neox": (NEOX, "in:megatron what:nan where:loss when:later"),
    "deepspeed": (
        DEEPSPEED,
        "in:deepspeed in:float16 in:grad_scaler what:inf where:gradient what:skip what:shrinking where:scale",
    ),
    "nanogpt": (NANOGPT, "what:nan where:loss when:later"),
    "mmengine": (MMENGINE, "in:mmengine what:nan where:loss where:gradient when:later"),
    "mmcv": (MMCV, "in:mmengine what:nan where:loss where:gradient when:later"),
    "ultralytics": (YOLO, "in:ultralytics what:nan where:loss"),
    "paddle": (PADDLE, "in:paddle what:nan where:loss when:later"),
    "torchtitan": (TORCHTITAN, "what:nan where:loss where:gradient when:later"),
    "plain": (PLAIN, "what:nan where:loss when:later"),
    "table": (TABLE, "what:nan where:loss when:later"),
}
KERAS_AT_CHANCE = "in:keras what:chance where:loss where:metric"


def _signs(text: str) -> set[str]:
    return {str(each.sign) for each in observe(text)}


@each_case("form", SAMPLES)
def test_each_format_is_recognised_and_its_signs_are_read(form):
    """The format is recognised in spite of colours, ranks and progress bars."""
    text, signs = SAMPLES[form]
    reading = read_log(text)
    assert reading is not None
    assert reading.format == form
    assert _signs(text) == set(signs.split())


@each_case("form", SAMPLES)
def test_a_log_is_read_within_prose_in_either_language(form):
    """The prose is kept apart, and the log has the same signs as without it."""
    text, signs = SAMPLES[form]
    for before, after in (("跑出来是这样：", "请问什么原因？"), ("This is what it prints:", "What can I do?")):
        whole = f"{before}\n{text}\n{after}"
        assert set(signs.split()) <= _signs(whole)
        prose = read_log(whole).prose
        assert before in prose and after in prose and "nan" not in prose


def test_keras_3_at_chance_is_recognised():
    """The bar of Keras 3, colours included; the loss stays at ln 2."""
    reading = read_log(KERAS_3)
    assert [reading.format, reading.classes] == ["keras", 2]
    assert _signs(KERAS_3) == {*KERAS_AT_CHANCE.split(), "what:finite"}


def test_series_and_the_first_nonfinite_value():
    """Values are kept by line and step; the first bad one names its line and its key."""
    reading = read_log("my run:\n" + TORCHTITAN)
    assert [(point.line, point.step, point.value) for point in reading.series["loss"][:2]] == [
        (2, 1, 12.2403), (3, 10, 10.9115),
    ]  # fmt: skip
    line, key = reading.first_nonfinite
    assert [line.number, line.step, key] == [4, 20, "loss"]
    assert math.isnan(line.values[key])
    components = read_log(MMENGINE)
    assert components.first_nonfinite[0].values["loss_cls"] == 1.98


def test_the_learning_rate_is_that_of_the_failure():
    """It is the rate at the first value that is not finite, or the last rate of a finite log."""
    assert read_log(HF_NAN).lr == 4.6e-05
    assert read_log(LLAMA_FACTORY.replace("NaN", "1.2")).lr == 3e-05
    assert read_log(NANOGPT).lr is None


def test_logs_are_described_in_one_line():
    """The description, in both languages, names what matters in each kind of log."""
    assert describe_log(read_log(DEEPSPEED), "en") == "Log · 4 lines · DeepSpeed OVERFLOW ×4, scale 65536→4096"
    assert describe_log(read_log(DEEPSPEED), "zh") == "日志 · 4 行 · DeepSpeed OVERFLOW ×4，缩放系数 65536→4096"
    assert describe_log(read_log(TORCHTITAN), "en") == "Log · 3 lines · TorchTitan, loss nan from step 20"
    assert describe_log(read_log(TORCHTITAN), "zh") == "日志 · 3 行 · TorchTitan，第 20 步起 loss 为 nan"


def _losses(values, line="{{'loss': {value}, 'grad_norm': 1.1, 'learning_rate': 2e-05, 'epoch': {epoch:.2f}}}"):
    return "\n".join(line.format(value=value, epoch=0.3 + index / 50) for index, value in enumerate(values))


HEALTHY = {
    "a fall with noise": _losses([round(2.5 * 0.97**i + 0.1 * math.sin(i * i), 4) for i in range(80)]),
    "converged": _losses([0.0021, 0.0013, 0.0044, 0.0009, 0.0051, 0.0012, 0.0016, 0.0011]),
    "the first lines of a language model": _losses([10.83, 10.82, 10.79, 10.71, 10.55, 10.31]),
    "a language model near 1.1": _losses([1.13, 1.08, 1.11, 1.07, 1.12, 1.09, 1.10]),
    "a slow fall through ln 2": _losses([0.6990, 0.6962, 0.6941, 0.6920, 0.6899, 0.6871]),
    "a start of the loss scale": DEEPSPEED + _losses([2.1, 1.9, 1.8, 1.7]),
    "a hovering loss scale": "\n".join(
        f"Epoch: [0]  [{i:4d}/1251]  eta: 0:10:00  lr: 0.0001  loss: {2 - i / 40:.4f} (1.9)  loss_scale: {s}  grad_norm: 0.39 (nan)"
        for i, s in enumerate([65536, 65536, 32768, 65536, 65536, 32768, 65536])
    ),
    "keras": KERAS.replace("nan", "0.2121").replace("0.0987", "0.9123").replace("0.0980", "0.9301"),
    "fairseq": FAIRSEQ,
    "a warm-up": _losses([3.1, 3.0, 2.8, 2.9, 2.6], line="step 3 loss {value} gnorm 0.8 lr 1e-6 epoch {epoch:.2f}"),
    "negative losses": _losses([-0.011, -0.013, 0.004, -0.021, -0.009, -0.1, 0.2]),
    "accuracy 1": _losses([0.3, 0.2, 0.1, 0.1], line="epoch {epoch:.1f} loss {value} accuracy 1.0"),
}
SICK = {
    "what:nan", "what:zero", "what:flat", "what:chance", "what:growing", "what:shrinking", "what:spike", "what:minimum",
    "when:first_step", "when:later",
}  # fmt: skip


@each_case("name", HEALTHY)
def test_a_healthy_log_gives_no_sign_of_sickness(name):
    """Noise, convergence, warm-up, a starting loss scale and a poisoned running mean are healthy."""
    assert read_log(HEALTHY[name]) is not None
    assert not _signs(HEALTHY[name]) & SICK


@each_case(
    ("values", "signs"),
    [
        ([2.1, 2.0, 1.9, 1.8, 9.7, 9.9, 9.6, 9.8], {"what:spike"}),
        ([2.1, 2.0, 1.9, 1.8, 9.7, 3.1, 1.9, 1.8], {"what:spike", "what:recovered"}),
        ([2.3020, 2.3031, 2.3025, 2.3022, 2.3029, 2.3024], {"what:chance"}),
        ([1.7123] * 6, {"what:flat"}),
        ([1.2, 1.4, 3.9, 11.2, 58.1], {"what:growing"}),
        ([0.9, 0.0, 0.0, 0.0], {"what:zero"}),
        (["nan"] * 4, {"what:nan"}),
        ([0.8, 0.9, "inf"], {"what:inf", "when:later"}),
    ],
)
def test_signs_follow_from_the_values(values, signs):
    """The rules on the loss: spike, recovery, chance, constant, growth, zero, non-finite."""
    found = _signs(_losses(values))
    assert found - {"where:loss", "in:hf_trainer", "when:later", "what:finite"} == signs - {"when:later"}
    assert signs <= found
    assert ("what:finite" in found) == (not signs & {"what:nan", "what:inf"})


def test_nan_from_the_first_record_is_told_from_an_excerpt():
    """Only a log that contains the beginning of a run can say that the run began with nan."""
    begin = "\n".join(f"step {step} loss nan lr 0.1" for step in (10, 20, 30))
    later = "\n".join(f"step {step} loss nan lr 0.1" for step in (4010, 4020, 4030))
    assert "when:first_step" in _signs(begin)
    assert not {"when:first_step", "when:later"} & _signs(later)


@each_case(
    ("line", "signs"),
    [
        ("RuntimeError: Function 'LogBackward0' returned nan values in its 0th output.", "what:nan when:backward"),
        (
            "Exception: Current loss scale already at minimum - cannot decrease scale anymore.",
            "what:minimum where:scale",
        ),
        ("FloatingPointError: Minimum loss scale reached (0.0001).", "what:minimum where:scale in:fairseq"),
        ("FloatingPointError: invalid value (nan) encountered in jit(step)", "what:nan in:jax"),
        ("RuntimeError: probability tensor contains either `inf`, `nan` or element < 0", "what:nan where:logit"),
        ("ValueError: autodetected range of [nan, nan] is not finite", "what:nan"),
        ("RuntimeWarning: divide by zero encountered in log", "what:inf in:numpy"),
        ("IndexError: Target 10 is out of bounds.", "where:label"),
        ("ValueError: Expected more than 1 value per channel when training", "in:batch_norm"),
        ("Attempted loss scale: 65536, reducing to 32768", "what:skip where:scale in:float16 in:grad_scaler"),
        ("WARNING: found NaN in local forward loss calculation", "what:nan where:loss in:megatron"),
    ],
)
def test_known_messages_are_recognised(line, signs):
    """They are recognised alone and within a traceback."""
    for text in (line, f'Traceback (most recent call last):\n  File "train.py", line 7, in <module>\n{line}'):
        assert set(signs.split()) <= _signs(text)


@each_case("line", ["torch.OutOfMemoryError: CUDA out of memory.", "RuntimeError: size mismatch, m1: [3 x 4]"])
def test_messages_that_are_not_about_numbers_give_no_sign(line):
    assert not _signs(line)


@each_case("text", ["lr 0.1 and loss nan, what now?", "学习率 0.1，loss 是 nan", "loss: 0.5", "epoch 3 loss nan?"])
def test_a_sentence_is_no_log(text):
    """A question that mentions a loss, a rate or an epoch with its value is not read as a log."""
    assert read_log(text) is None


_PIECES = st.sampled_from(
    [
        *(sample for sample, _ in SAMPLES.values()),
        "\r",
        "\n",
        "nan",
        "loss: ",
        "'loss': ",
        "| ",
        "1e999",
        "\x1b[31m",
        "{",
    ]
)


@given(st.lists(_PIECES | st.text(max_size=20), max_size=8).map("".join))
def test_any_text_is_read(text):
    """No mixture of logs and garbage raises an error, and the result can be described."""
    reading = read_log(text)
    observe(text)
    if reading:
        assert describe_log(reading, "zh") and describe_log(reading, "en")


def test_a_very_long_log_is_counted_whole():
    """Lines in the middle are counted by their shape, and the first nan is found wherever it stands."""
    lines = [f"step {step} loss {2 - step / 3000:.4f} lr 0.001" for step in range(2500)]
    lines[1700] = "step 1700 loss nan lr 0.001"
    reading = read_log("\n".join(["why is this?", *lines, "what can I do?"]))
    assert reading.count == 2500
    assert reading.prose.split("\n") == ["why is this?", "what can I do?"]
    assert [reading.first_nonfinite[0].step, reading.lr] == [1700, 0.001]
    overflows = [DEEPSPEED.splitlines()[0]] * 900
    assert read_log("\n".join(overflows)).overflows == 900
    assert describe_log(read_log(TABLE + "4 | 0.5 | 0.6 | 0.01\n" * 900), "en").startswith("Log · 903 ")


@each_case(
    ("text", "words"),
    [
        (
            "每一步的范数都在 60 以上，阈值设成 1 好像没有用：{'loss': 2.9, 'grad_norm': 63.1}",
            "每一步的范数都在 60 以上，阈值设成 1 好像没有用：",
        ),
        (
            "{'loss': 0.04, 'grad_norm': 0.06} is a gradient as small as this a problem for training?",
            "is a gradient as small as this a problem for training?",
        ),
        ("2024-05-01 12:00:03 INFO trainer step 20 metrics {'loss': 2.3, 'grad_norm': 1.2}", ""),
        ("{'loss': 2.3, 'grad_norm': 1.2}", ""),
    ],
)
def test_what_is_said_on_the_line_of_a_record_is_prose(text, words):
    """A sentence before or after the values belongs to the question; words printed by the program do not."""
    reading = read_log(text)
    assert reading is not None
    assert " ".join(reading.prose.split()) == words


@pytest.mark.parametrize("quotes", ['""', "“”", "``"])
def test_a_sentence_that_quotes_a_message_is_the_question(quotes):
    """The quoted message is read as a log, the rest of the line as the question; a scaler's index is no loss scale."""
    message = "Gradient overflow.  Skipping step, loss scaler 0 reducing loss scale to ***"
    text = f"In each epoch my run prints {quotes[0]}{message}{quotes[1]} a few times. Is this normal, or is it broken?"
    log = read_log(text)
    assert "Is this normal" in log.prose and "Skipping" not in log.prose
    assert log.series == {} and read_log_text(text).series == {}
    assert next(str(each.sign) for each in log.observations) == "what:skip"


def test_a_log_that_stays_finite_says_so():
    """At least three losses without nan or overflow give the sign "finite", which counts against entries about nan."""
    log = "\n".join(f"iteration {step}: loss: {2 - step / 100}" for step in (1, 20, 40))
    assert "what:finite" in _signs(f"Two runs with one seed part.\n{log}\nWhy?")
    assert "what:finite" not in _signs(f"Two runs with one seed part.\n{log[:30]}\nWhy?")
    assert "what:finite" not in _signs(f"Why?\n{log}\niteration 60: loss: nan")
    assert "what:finite" not in _signs(
        f"Why?\n{log}\nGradient overflow.  Skipping step, loss scaler 0 reducing loss scale to 8.0"
    )
