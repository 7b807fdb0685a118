"""Lines of logs that the reader was not written for: snippets of many printers, and the kinds of sentences in them."""

from pathlib import Path

from checking import each_case

from bench.diagnosis.lines import read_snippets, unread
from qa_service.diagnosis.engine import diagnose
from qa_service.diagnosis.reading import read_log_text

FOLDER = Path(__file__).parents[1] / "bench" / "diagnosis"


@each_case("name", ["snippets_a.txt", "snippets_b.txt", "snippets_c.txt"])
def test_almost_every_line_of_the_snippets_is_read(name):
    snippets = read_snippets(FOLDER / name)
    missed = [line.text for snippet in snippets for line, _ in unread(snippet)]
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
    """A metric that is undefined is nan by nature, and the run is healthy."""
    lines = []
    for step in range(1, 13):
        lines.append(str({"loss": round(2.0 / step, 4), "grad_norm": 1.5, "learning_rate": 5e-05, "epoch": step / 4}))
        if step % 3 == 0:
            held = f"'eval_loss': {2.1 / step:.4f}, 'eval_precision': nan, 'eval_f1': nan, 'eval_runtime': 3.2"
            lines.append(f"{{{held}, 'epoch': {step / 4}}}")
    run = read_log_text("\n".join(lines) + "\n")
    assert (len(run.series["loss"]), len(run.series["val_loss"])) == (12, 4)
    assert diagnose(run).status == "healthy"
