"""Rules on the context of a loss that becomes nan: its parts, the distance between records, earlier epochs, the
accuracy.
"""

from qa_service.diagnosis.engine import diagnose
from qa_service.diagnosis.nan_context_rules import RULES
from qa_service.diagnosis.reading import read_log_text


def features(text: str) -> set[str]:
    """The features that the rules of this module find in a log."""
    run = read_log_text(text)
    return {finding.feature for rule in RULES for finding in rule(run)}


def parts(box: str, total: str) -> str:
    """A log of a loss with three parts, whose last record has these values."""
    lines = [f"step {step} loss {2.5 - step / 100} loss_cls 1.0 loss_box 0.5 loss_obj 1.0" for step in range(0, 60, 10)]
    return "\n".join([*lines, f"step 60 loss {total} loss_cls {box} loss_box nan loss_obj {box}", ""])


def test_one_part_of_a_loss_or_all_of_them():
    assert "nan_in_one_part" in features(parts("1.0", "nan"))
    assert "nan_in_all_parts" in features(parts("nan", "nan"))
    assert not features(parts("1.0", "2.25").replace("nan", "0.5"))


def test_a_nan_between_records_that_are_far_apart_may_be_a_divergence():
    def log(gap: int) -> str:
        values = [2.5, 2.375, 2.25, 2.125, 2.0, 1.875, "nan", "nan"]
        return "".join(f"step {gap * index} loss {value} lr 0.001\n" for index, value in enumerate(values))

    assert "records_far_apart" in features(log(100))
    assert "records_far_apart" not in features(log(5))


def test_data_that_did_no_harm_for_epochs_are_not_to_blame():
    log = "".join(f"epoch {epoch} loss {2.5 - epoch / 10}\n" for epoch in range(1, 8)) + "epoch 8 loss nan\n" * 2
    assert "data_seen_before" in features(log)
    assert "data_seen_before" not in features("epoch 1 loss 2.5\nepoch 2 loss nan\n")


def accuracies(at_nan: float) -> str:
    """A log whose loss becomes nan in step 12, with this accuracy in that step and an accuracy of 0.1 after it."""
    before = "".join(f"step {step} loss {2.5 - step / 10:.2f} acc 0.9\n" for step in range(12))
    after = "".join(f"step {step} loss nan acc 0.1\n" for step in range(13, 20))
    return f"{before}step 12 loss nan acc {at_nan}\n{after}"


def test_the_accuracy_of_the_step_tells_whether_the_weights_are_spoilt():
    assert "accuracy_sound_at_nan" in features(accuracies(0.875))
    assert "accuracy_lost_at_nan" in features(accuracies(0.125))
    assert not {"accuracy_sound_at_nan", "accuracy_lost_at_nan"} & features(accuracies(0.5))


def test_float16_from_the_first_step_on():
    log = "precision=16\n" + "".join(f"Epoch 0 | Batch {100 * n} | Train Loss nan | lr 1e-5\n" for n in range(4))
    assert diagnose(read_log_text(log)).hypotheses[0].cause == "forward_overflow"
