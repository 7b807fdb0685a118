"""Lines of logs that were not known when the reader of logs was written: snippets of many printers, by kind."""

import math
from pathlib import Path

import pytest
from checking import each_case

from bench.diagnosis.lines import read_snippets, unread_lines
from qa_service.diagnosis.engine import diagnose
from qa_service.diagnosis.reading import read_log_text
from qa_service.parsing.logs.names import meaning_of

FOLDER = Path(__file__).parents[1] / "bench" / "diagnosis"


@each_case("name", ["snippets_a.txt", "snippets_b.txt", "snippets_c.txt"])
def test_almost_every_line_of_the_snippets_is_read(name):
    snippets = read_snippets(FOLDER / name)
    missed = [line.text for snippet in snippets for line, _ in unread_lines(snippet)]
    assert len(snippets) >= 20 and len(missed) <= 1, missed


@each_case(
    ("line", "key", "value"),
    [
        ("Avg. training loss over the last 100 batches = 1.25", "loss", 1.25),
        ("Validation loss over 3 shards: 0.75", "val_loss", 0.75),
        ("0.7313 loss @ step 400", "loss", 0.7313),
        ("Train loss 120 0.5312 Grad Norm 1.25", "loss", 0.5312),
        ("第12个epoch结束，平均损失为0.3712，用时32秒", "loss", 0.3712),
        ("train: {'loss': 0.52, 'acc': 0.81} valid: {'loss': 0.61, 'acc': 0.77}", "val_loss", 0.61),
        ("step:3 - actor/pg_loss:0.01 - actor/grad_norm:0.32", "grad_norm", 0.32),
    ],
)
def test_a_value_is_read_from_a_sentence(line, key, value):
    assert [point.value for point in read_log_text(line + "\n").series.get(key, ())] == [value]


@each_case("line", ["Loss function: cross entropy, label smoothing = 0.1", "We expect a loss near 2.3"])
def test_prose_is_no_record(line):
    assert not read_log_text(line + "\n").series


def test_indented_lines_of_a_block_belong_to_its_loss():
    run = read_log_text("[step=10/5000]\n    train/CrossEntropyLoss=10.81\n    optim/total_grad_norm=3.2\n")
    assert [point.value for point in run.series["grad_norm"]] == [3.2]


def test_interleaved_dictionaries_of_training_and_evaluation():
    """A metric that is undefined may be nan in a healthy run."""
    lines = []
    for step in range(1, 13):
        lines.append(str({"loss": round(2.0 / step, 4), "grad_norm": 1.5, "learning_rate": 5e-05, "epoch": step / 4}))
        if step % 3 == 0:
            held = f"'eval_loss': {2.1 / step:.4f}, 'eval_precision': nan, 'eval_f1': nan, 'eval_runtime': 3.2"
            lines.append(f"{{{held}, 'epoch': {step / 4}}}")
    run = read_log_text("\n".join(lines) + "\n")
    assert (len(run.series["loss"]), len(run.series["val_loss"])) == (12, 4)
    assert diagnose(run).status == "healthy"


def values_at(text: str) -> dict[str, float]:
    """The last value of each series of a log."""
    return {key: points[-1].value for key, points in read_log_text(text).series.items()}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Schritt 40: Verlust = 0,4213, Lernrate = 0,001", {"loss": 0.4213, "lr": 0.001}),
        ("perda: 1.234,56 | taxa_de_aprendizado: 0,01", {"loss": 1234.56, "lr": 0.01}),
        ("step 3 loss 12,345 lr 0.001", {"loss": 12345.0}),
        ("2024-01-02 10:00:00,123 loss: 2", {"loss": 2.0}),
    ],
)
def test_a_comma_is_a_decimal_one_where_the_line_has_no_point(line, expected):
    read = values_at(line + "\n")
    assert {key: read[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("train loss 0.5 acc 0.8 | val loss 0.7 acc 0.6", {"accuracy": 0.8, "val_accuracy": 0.6}),
        (
            "Tr L: 0.5 A: 80.5 | Va L: 0.7 A: 60.5",
            {"loss": 0.5, "accuracy": 80.5, "val_loss": 0.7, "val_accuracy": 60.5},
        ),
        ("Epoch 4, Loss: 1.5, Train: 0.45, Val: 0.41, Test: 0.4", {"accuracy": 0.45, "val_accuracy": 0.41}),
        ("[Epoch 2] validation: accuracy=0.75", {"val_accuracy": 0.75}),
        ("loss: 0.5 (val: 0.7)", {"loss": 0.5, "val_loss": 0.7}),
    ],
)
def test_a_value_belongs_to_the_part_of_the_data_that_was_named_last(line, expected):
    read = values_at(line + "\n")
    assert {key: read.get(key) for key in expected} == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[iter: 3] [loss]: 0.25 [lr]: 0.001", {"loss": 0.25, "lr": 0.001}),
        ("│ val_loss │ 0.25 │", {"val_loss": 0.25}),
        ("step 7 L=2.25 |g|=0.75 ", {"loss": 2.25, "grad_norm": 0.75}),
        ("lr: 0.1, loss: 3.5, top-1: 19.5, top-5: 41.5", {"loss": 3.5, "accuracy": 19.5, "top-5": 41.5}),
        ("Train net output #1: loss = 2.5 (* 20 = 50 loss)", {"loss": 2.5}),
    ],
)
def test_a_name_is_found_in_brackets_cells_bars_and_before_its_own_number(line, expected):
    read = values_at(line + "\n")
    assert {key: read.get(key) for key in expected} == expected


def test_a_number_that_begins_a_line_is_its_step_if_it_counts_on():
    counted = read_log_text("100 | loss 2.5 | lr 0.1\n200 | loss 2.25 | lr 0.1\n")
    assert [point.step for point in counted.series["loss"]] == [100, 200]
    ranked = read_log_text("1 | loss 2.5 | lr 0.1\n0 | loss 2.25 | lr 0.1\n1 | loss 2.0 | lr 0.1\n")
    assert [point.step for point in ranked.series["loss"]] == [None] * 3


def test_a_cell_below_a_blank_one_keeps_its_column():
    table = (
        "  Iteration    Epoch    LearnRate    TrainingLoss    ValidationLoss\n"
        "          0        0         0.01                             2.125\n"
        "         50        1         0.01             1.5                  \n"
    )
    run = read_log_text(table)
    assert [(point.step, point.value) for point in run.series["val_loss"]] == [(0, 2.125)]
    assert [(point.step, point.value) for point in run.series["loss"]] == [(50, 1.5)]


def test_a_header_of_two_lines_names_its_columns():
    table = (
        "| Epoch | Iteration | Mini-batch | Mini-batch | Base Learning |\n"
        "|       |           |  Accuracy  |    Loss    |     Rate      |\n"
        "|   1   |     50    |   87.50%   |   0.4125   |     0.01      |\n"
    )
    read = values_at(table)
    assert (read["accuracy"], read["loss"], read["lr"]) == (87.5, 0.4125, 0.01)


def test_values_inside_a_container_and_beside_their_name_are_read():
    nested = '{"event": "step", "step": 3, "metrics": {"loss": 2.5, "lr": 0.1}}\n' * 2
    assert values_at(nested) == {"loss": 2.5, "lr": 0.1}
    assert values_at('{"key": "eval_accuracy", "value": 0.75, "step": 4}\n' * 2)["val_accuracy"] == 0.75


@each_case(
    ("name", "most"),
    [
        ("snippets_f.txt", 4),
        ("snippets_g.txt", 4),
        ("snippets_h.txt", 2),
        ("snippets_i.txt", 6),
        ("snippets_j.txt", 9),
        ("snippets_k.txt", 10),
        ("snippets_q.txt", 0),
        ("snippets_r.txt", 7),
        ("snippets_s.txt", 0),
        ("snippets_t.txt", 0),
        ("snippets_u.txt", 1),
        ("snippets_v.txt", 1),
    ],
)
def test_lines_of_the_later_sets_are_read_but_for_a_few(name, most):
    snippets = read_snippets(FOLDER / name)
    missed = [line.text for snippet in snippets for line, _ in unread_lines(snippet)]
    assert len(missed) <= most, missed


@each_case(
    ("text", "expected"),
    [
        ("iter 30 || A_L: nan B_L: 0.5\n", {"a_l": math.nan, "b_l": 0.5}),
        ("B: 1.5 | C: 2.25 | T: 3.75 || ETA: 1 day\n", {"loss": 3.75}),
        ("tag: train/loss  step: 100  value: 1.25\n", {"loss": 1.25}),
        ("12: learn: 0.75\ttotal: 1s\n13: learn: 0.5\ttotal: 2s\n", {"loss": 0.5}),
        ("12: learn: 0.75\ttotal: 1s\n13: learn: 0.875\ttotal: 2s\n", {"learn": 0.875}),
        ("# step rmse_val lr\n0 0.5 0.01\n100 0.25 0.01\n", {"rmse_val": 0.25, "lr": 0.01}),
        ("epoch/iter: 20/5399  total_loss: 24.5  lr: 3.5e-04\n", {"loss": 24.5, "lr": 3.5e-4}),
        ("loss 0.5 flat 0.25\n", {"loss": 0.5, "flat": 0.25}),
        ("step 3 7.5 s run, 2.25 loss, 0.125 LR\n" * 2, {"loss": 2.25}),
        ("lossAverage   0.25\ngradNormAverage   1.5\n" * 2, {"loss": 0.25, "grad_norm": 1.5}),
    ],
)
def test_a_record_is_known_by_what_is_around_its_values(text, expected):
    read = values_at(text)
    assert all(math.isclose(read.get(key, -1), value) or math.isnan(value) for key, value in expected.items()), read
    assert expected.keys() <= read.keys()


def test_bare_values_are_losses_only_of_a_log_that_names_none():
    bare = "".join(f"tensor({value}, device='cuda:0')\n" for value in (2.5, 2.25, 2.0))
    assert [point.value for point in read_log_text(bare).series["loss"]] == [2.5, 2.25, 2.0]
    assert len(read_log_text("step 1 loss 3.5 lr 0.1\n" + bare).series["loss"]) == 1
    assert not read_log_text("0.5\n0.25\n").series


def test_a_rate_that_is_printed_once_is_a_record_beside_losses():
    nnunet = "Epoch 0\nCurrent learning rate: 0.01\ntrain_loss 0.5\nval_loss 0.75\n"
    assert [point.value for point in read_log_text(nnunet).series["lr"]] == [0.01]
    assert "lr" not in read_log_text("Current learning rate: 0.01\n").series


def series_of(*lines: str) -> dict[str, list[float]]:
    """The values of each series of a log."""
    read = read_log_text("\n".join(lines) + "\n").series
    return {key: [point.value for point in points] for key, points in read.items()}


@each_case("name", ["snippets_l.txt", "snippets_n.txt"])
def test_lines_of_other_printers_are_mostly_read(name):
    snippets = read_snippets(FOLDER / name)
    missed = [line.text for snippet in snippets for line, _ in unread_lines(snippet)]
    assert len(missed) <= 3, missed


@each_case(
    ("name", "meaning"),
    [
        ("total_val_loss", "val_loss"), ("Vali Loss", "val_loss"), ("mean_train_accuracy", "accuracy"),
        ("验证集平均损失", "val_loss"), ("训练集的准确率", "accuracy"), ("потери на валидации", "val_loss"),
        ("当前步", "step"), ("grad_l2", "grad_norm"), ("score_at_iteration", "step"), ("loss_over_the_last", ""),
        ("box_loss", ""), ("loss_weight", ""), ("value_loss", ""),
    ],
)  # fmt: skip
def test_a_name_is_known_by_its_parts(name, meaning):
    assert meaning_of(name) == meaning


@each_case(
    ("lines", "expected"),
    [
        (("At step 40 the D loss is 2.5 and the G loss is 0.5", "At step 50 the D loss is 2.25 and the G loss is 0.75"),
         {"d_loss": [2.5, 2.25], "g_loss": [0.5, 0.75]}),
        (("it 3: total 3.75 = box 1.5 + cls 2.25", "it 4: total 3.5 = box 1.25 + cls 2.25"), {"loss": [3.75, 3.5]}),
        (("1 1.5 0.001", "2 1.25 0.001", "3 nan 0.001"), {"loss": [1.5, 1.25, math.nan]}),
        (("train 050 1.5e-01 99.5 100.0", "train 100 1.4e-01 99.6 100.0"), {"loss": [0.15, 0.14]}),
        (("           MRR    hit@10   hit@1", "l(raw):  0.25   0.5   0.125"), {"l_raw.mrr": [0.25]}),
        (("loss (train/val): 0.5/0.75",), {"loss": [0.5], "val_loss": [0.75]}),
        (("(10, 'loss', 0.5, 'lr', 0.25)", "(20, 'loss', 0.375, 'lr', 0.25)"), {"loss": [0.5, 0.375]}),
        (("epoch 3 loss 0.75 -> 0.5",), {"loss": [0.5]}),
        (("Training acc: [0.25 0.5 0.75]",), {"accuracy": [0.25], "training_acc.2": [0.75]}),
        (("epoch 1 loss[loss=0.5, ctc=1.5], tot[loss=0.75, ctc=1.75]",), {"loss": [0.5], "tot.loss": [0.75]}),
    ],
)  # fmt: skip
def test_kinds_of_lines_are_read_by_their_form(lines, expected):
    read = series_of(*lines)
    assert {key: str(read.get(key)) for key in expected} == {key: str(values) for key, values in expected.items()}


@each_case(
    "lines",
    [
        [f"10:00:{second:02d} worker 3 fetched shard {second} of 4000 in 0.4{second} s" for second in range(10, 20)],
        [f"GPU {index}: 61.5 C, 12.{index} GB used, 81.{index} % busy" for index in range(8)],
        ["dropout: 0.1", "momentum: 0.9", "weight_decay: 0.01"],
        [f"192.168.0.{index} served in 0.{index} s" for index in range(1, 8)],
        ["The loss is at 2.3 after an hour and I do not know why, it was 2.1 before."],
    ],
)
def test_what_recurs_but_tells_nothing_of_a_training_is_no_record(lines):
    assert not series_of(*lines)


@each_case(
    ("lines", "expected"),
    [
        (("val, round, loss, acc ==> 002, 0.75, 0.5",), {"val_loss": [0.75], "val_accuracy": [0.5]}),
        (("[Epoch 3/20] Train mean loss/score: 0.5/0.75",), {"loss": [0.5], "score": [0.75]}),
        (("epoch 3 train/val loss: 0.5/0.75",), {"loss": [0.5], "val_loss": [0.75]}),
        (("loss = 3.75 = 1.5 (cls) + 2.25 (box)",), {"loss": [3.75], "cls": [1.5], "box": [2.25]}),
        (("loss=nan (nan) lr=0.25",), {"loss": [math.nan]}),
        (("step 12k | loss 2.5 | 1.2M tok/s",), {"loss": [2.5]}),
        (("ep 3: loss = 1.25×10^-2, lr = 5.0 x 10^-4",), {"loss": [0.0125], "lr": [0.0005]}),
        (("step 1 loss \N{MINUS SIGN}0.5 lr 0.1",), {"loss": [-0.5]}),
        (("loss:0.5 0.25 1.5 lr: 0.1",), {"loss": [0.5], "loss.1": [0.25], "loss.2": [1.5]}),
        (("epoch 3 loss 0.5", "Epoch 3: reducing learning rate of group 0 to 5.0e-05."), {"lr": [5e-5]}),
        (("overflow, still update, loss scale adjust to 1024.0", "step 1 loss 0.5"), {"loss_scale": [1024.0]}),
        (("检测到溢出，损失缩放系数调整为 512", "step 1 loss 0.5"), {"loss_scale": [512.0]}),
        (("GRU | Epoch 3 | Train: 0.5 | Val: 0.75", "GRU | Epoch 4 | Train: 0.25 | Val: 0.5"), {"loss": [0.5, 0.25]}),
        (("T_loss 0.5 T_acc 0.25", "V_loss 0.75 V_acc 0.125"), {"loss": [0.5], "val_loss": [0.75]}),
        (("Epoch 3 | Train p=1.5 total=2.5 | Val p=1.25 total=2.25 | lr=0.1",), {"val_p": [1.25], "val_total": [2.25]}),
        (("| step | losses | lr |", "| 100 | [0.5, 0.25] | 0.1 |"), {"losses.1": [0.25], "lr": [0.1]}),
        (("current training loss is :", "0.5"), {"loss": [0.5]}),
        (("| AverageReturn | 12.5 |", "| QFunctionLoss | 0.5 |"), {"average_return": [12.5]}),
        (("losses/q1_loss 12.5 36000", "losses/q1_loss 11.5 37000"), {"losses/q1_loss": [12.5, 11.5]}),
        (("[Metrics] F1(k=20): 0.5 - NDCG(k=20): 0.25",), {"f1@20": [0.5], "ndcg@20": [0.25]}),
        (("step 3 loss: {'a': 0.5, 'b': 0.25}",), {"loss_a": [0.5], "loss_b": [0.25]}),
        (("Average return per training episode: -12.5",) * 2, {"average_return": [-12.5] * 2}),
        (("epoch 3 loss=0.5 test_acc=0.75 (1212.5 ex/s)",), {"val_accuracy": [0.75]}),
        ((" 1%|▏ | 16/60 [00:55<4:54, 2.96s/it, loss=0.5][rank0]: Traceback (most recent call last):",),
         {"loss": [0.5]}),
    ],
)  # fmt: skip
def test_more_kinds_of_lines_are_read_by_their_form(lines, expected):
    read = series_of(*lines)
    assert {key: str(read.get(key)) for key in expected} == {key: str(values) for key, values in expected.items()}, read


@each_case(
    "line",
    [
        "I reduced the learning rate to 1e-4 at epoch 12 and the loss is still nan.",
        "We set the learning rate to 0.001 and the loss weight to 0.5, and train for 90 epochs on 8 GPUs.",
        "把学习率从 0.01 降到 0.001 之后就正常了，奖励每步 0 到 5，训练 20 轮。",
        "熵正则项变成 nan，策略有概率为 0 的动作",
        "python 四舍五入 round(2.5) 为什么是 2 怎么改成 3 显示",
        "  --loss LOSS        weight of the loss (default: 1.0)",
        "| ResNet-50 | 25.6M | 76.13 | 92.86 |",
    ],
)
def test_sentences_of_a_question_are_no_record(line):
    assert not series_of(line)
