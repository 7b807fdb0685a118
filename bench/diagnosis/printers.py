"""Prints a run as trainers print it: their rounding, their intervals, and what they leave out.

Times, rates and memory are made up, since no run has them; everything else is the run's.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from bench.diagnosis.runs import RecordedRun

PRINT_INTERVAL = 5
"""Steps between the lines of the formats that print at an interval."""
STEPS_PER_EPOCH = 20
"""Steps in an epoch of the logs that are printed."""


def _validation_at(run: RecordedRun, first: int, last: int) -> tuple[float, float | None] | None:
    """The validation that took place after one of the steps `first` … `last`, if any."""
    for step, loss, accuracy in run.validation:
        if first <= step <= last:
            return loss, accuracy
    return None


def _windows(run: RecordedRun, every: int = PRINT_INTERVAL) -> Iterator[tuple[int, int]]:
    """(first step, last step) of each interval that is printed."""
    for first in range(0, len(run.loss) - every + 1, every):
        yield first, first + every - 1


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def hugging_face(run: RecordedRun) -> str:
    """The log of the Hugging Face Trainer with its nan filter: a loss that is not finite is replaced by the mean so
    far.
    """
    lines = []
    for first, last in _windows(run):
        total = 0.0
        for index, loss in enumerate(run.loss[first : last + 1]):
            total += loss if math.isfinite(loss) else total / (1 + index)
        shown: dict[str, float] = {"loss": round(total / PRINT_INTERVAL, 4)}
        norm = run.grad_norm[last]
        if norm is not None:
            shown["grad_norm"] = norm
        shown |= {"learning_rate": run.lr_series[last], "epoch": round((last + 1) / STEPS_PER_EPOCH, 2)}
        lines.append(str(shown))
        done, steps = last + 1, len(run.loss)
        bar = "█" * (10 * done // steps)
        lines.append(f" {100 * done // steps:2d}%|{bar:10s}| {done}/{steps} [00:{done // 10:02d}<00:12, 9.87it/s]")
        if held := _validation_at(run, first, last):
            evaluated = {"eval_loss": held[0]}
            if held[1] is not None:
                evaluated["eval_accuracy"] = held[1]
            evaluated |= {
                "eval_runtime": 0.0721, "eval_samples_per_second": 2663.9, "eval_steps_per_second": 83.2,
                "epoch": round((last + 1) / STEPS_PER_EPOCH, 2),
            }  # fmt: skip
            lines.append(str(evaluated))
    return "\n".join(lines) + "\n"


def _significant(value: float) -> str:
    """A number as tqdm shows it: three significant digits, without leading zeros of the exponent."""
    text = f"{value:.3g}".replace("e+0", "e+").replace("e-0", "e-")
    return text if len(text) < len(str(value)) else str(value)


def tqdm_postfix(run: RecordedRun) -> str:
    """The output of a loop with tqdm and set_postfix: every step, separated by carriage returns."""
    epochs = []
    for start in range(0, len(run.loss), STEPS_PER_EPOCH):
        stop = min(start + STEPS_PER_EPOCH, len(run.loss))
        updates = []
        for step in range(start, stop):
            done, total = step - start + 1, stop - start
            shown = f"loss={_significant(run.loss[step])}, lr={_significant(run.lr_series[step])}"
            accuracy = run.accuracy[step]
            if accuracy is not None:
                shown += f", acc={_significant(accuracy)}"
            bar = "█" * (10 * done // total)
            updates.append(
                f"Epoch {start // STEPS_PER_EPOCH + 1}: {100 * done // total:3d}%|{bar:10s}| {done}/{total} "
                f"[00:0{done // 10}<00:01, 14.31it/s, {shown}]"
            )
        text = "\r".join(updates)
        if held := _validation_at(run, start, stop - 1):
            text += f"\nEpoch {start // STEPS_PER_EPOCH + 1} val_loss: {held[0]:.4f}"
        epochs.append(text)
    return "\n".join(epochs) + "\n"


def _keras_number(value: float) -> str:
    return f"{value:.4f}" if abs(value) > 1e-3 else f"{value:.4e}"


def keras(run: RecordedRun) -> str:
    """The output of Keras 3: the running mean of the epoch, which one nan makes nan. The line is redrawn in place."""
    epochs = math.ceil(len(run.loss) / STEPS_PER_EPOCH)
    lines = []
    for epoch in range(epochs):
        start, stop = epoch * STEPS_PER_EPOCH, min((epoch + 1) * STEPS_PER_EPOCH, len(run.loss))
        lines.append(f"Epoch {epoch + 1}/{epochs}")
        drawn = []
        for step in range(start, stop):
            done, total = step - start + 1, stop - start
            means = []
            accuracies = [each for each in run.accuracy[start : step + 1] if each is not None]
            if accuracies:
                means.append(f"accuracy: {_keras_number(_mean(accuracies))}")
            means.append(f"loss: {_keras_number(_mean(run.loss[start : step + 1]))}")
            held = _validation_at(run, start, stop - 1)
            if done == total and held:
                if held[1] is not None:
                    means.append(f"val_accuracy: {_keras_number(held[1])}")
                means.append(f"val_loss: {_keras_number(held[0])}")
            bar = "━" * (20 * done // total)
            drawn.append(
                f"\x1b[1m{done:2d}/{total}\x1b[0m \x1b[32m{bar}\x1b[0m\x1b[37m{'━' * (20 - len(bar))}\x1b[0m "
                f"\x1b[1m0s\x1b[0m 3ms/step - {' - '.join(means)}"
            )
        lines.append("\r".join(drawn))
    return "\n".join(lines) + "\n"


def mmengine(run: RecordedRun) -> str:
    """The log of MMEngine: means over the interval, four decimals, fields separated by two spaces."""
    lines = []
    for first, last in _windows(run):
        epoch, within = last // STEPS_PER_EPOCH + 1, last % STEPS_PER_EPOCH + 1
        fields = [f"lr: {run.lr_series[last]:.4e}", "eta: 0:00:12", "time: 0.0102", "data_time: 0.0008", "memory: 214"]
        norms = [norm for norm in run.grad_norm[first : last + 1] if norm is not None]
        if norms:
            fields.append(f"grad_norm: {_mean(norms):.4f}")
        loss = _mean(run.loss[first : last + 1])
        fields.append(f"loss: {loss:.4f}")
        lines.append(
            f"2024/05/14 10:{last // 60 % 60:02d}:{last % 60:02d} - mmengine - INFO - "
            f"Epoch(train)  [{epoch}][{within:2d}/{STEPS_PER_EPOCH}]  " + "  ".join(fields)
        )
        if (held := _validation_at(run, first, last)) and held[1] is not None:
            lines.append(
                f"2024/05/14 10:{last // 60 % 60:02d}:{last % 60:02d} - mmengine - INFO - "
                f"Epoch(val) [{epoch}][6/6]    accuracy/top1: {100 * held[1]:.4f}  data_time: 0.0010  time: 0.0041"
            )
    return "\n".join(lines) + "\n"


def megatron(run: RecordedRun) -> str:
    """The log of Megatron-LM: the mean over updates that were made; a loss that is nan, or of skipped ones only, is
    absent.
    """
    lines = []
    steps = len(run.loss)
    for first, last in _windows(run):
        window = range(first, last + 1)
        made = [run.loss[step] for step in window if not run.skipped[step]]
        skipped = PRINT_INTERVAL - len(made)
        nan_iterations = sum(run.skipped[step] and not math.isfinite(run.loss[step]) for step in window)
        line = (
            f" [2024-05-14 10:{last // 60 % 60:02d}:{last % 60:02d}] iteration {last + 1:8d}/{steps:8d} | "
            f"consumed samples: {(last + 1) * run.batch:12d} | elapsed time per iteration (ms): 12.3 | "
            f"learning rate: {run.lr_series[last]:.6E} | global batch size: {run.batch:5d} |"
        )
        average = sum(made) / max(1, len(made))
        if average > 0:
            line += f" lm loss: {average:.6E} |"
        line += f" loss scale: {run.loss_scale[last] or 1.0:.1f} |"
        norm = run.grad_norm[last]
        if norm is not None and not run.skipped[last]:
            line += f" grad norm: {norm:.3f} |"
        line += f" number of skipped iterations: {skipped:3d} | number of nan iterations: {nan_iterations:3d} |"
        lines.append(line)
        if held := _validation_at(run, first, last):
            perplexity = math.exp(min(20, held[0])) if math.isfinite(held[0]) else held[0]
            text = (
                f" validation loss at iteration {last + 1} | lm loss value: {held[0]:.6E} | lm loss PPL: "
                f"{perplexity:.6E} | "
            )
            lines += ["-" * len(text), text, "-" * len(text)]
    return "\n".join(lines) + "\n"


def nanogpt(run: RecordedRun) -> str:
    """The log of nanoGPT: the loss of single steps, four decimals; nothing but the loss."""
    lines = []
    for step, loss in enumerate(run.loss):
        if step % PRINT_INTERVAL == 0:
            lines.append(f"iter {step}: loss {loss:.4f}, time 12.34ms, mfu {'-100.00' if step < 25 else '3.21'}%")
        if held := _validation_at(run, step, step):
            lines.append(f"step {step + 1}: train loss {_mean(run.loss[max(0, step - 9) : step + 1]):.4f}, "
                         f"val loss {held[0]:.4f}")  # fmt: skip
    return "\n".join(lines) + "\n"


def metric_logger(run: RecordedRun) -> str:
    """The output of torchvision's MetricLogger: the median of the last twenty, and in parentheses the mean of all so
    far.
    """
    lines = []
    steps = len(run.loss)
    for first in range(0, steps, PRINT_INTERVAL):
        fields = [f"lr: {run.lr_series[first]:.6f}"]
        for name, values in (("loss", run.loss), ("loss_scale", run.loss_scale), ("grad_norm", run.grad_norm)):
            known = [value for value in values[: first + 1] if value is not None]
            if known:
                latest = sorted(known[-20:], key=lambda value: (math.isnan(value), value))
                fields.append(f"{name}: {latest[(len(latest) - 1) // 2]:.4f} ({_mean(known):.4f})")
        lines.append(
            f"Epoch: [0]  [{first:4d}/{steps}]  eta: 0:00:12  {'  '.join(fields)}  time: 0.0123  data: 0.0004  "
            "max mem: 214"
        )
    return "\n".join(lines) + "\n"


LOG_PRINTERS: Mapping[str, Callable[[RecordedRun], str]] = {
    "hf_trainer": hugging_face, "tqdm": tqdm_postfix, "keras": keras, "mmengine": mmengine, "megatron": megatron,
    "nanogpt": nanogpt,
}  # fmt: skip


def _hugging_face_head(run: RecordedRun) -> str:
    """The lines that the Trainer logs before the first step; they say only that a 16-bit format is used, not which."""
    steps = len(run.loss)
    lines = ["Using auto half precision backend"] if run.precision != "float32" else []
    lines += [
        "***** Running training *****", f"  Num examples = {run.batch * STEPS_PER_EPOCH:,}",
        f"  Num Epochs = {math.ceil(steps / STEPS_PER_EPOCH)}", f"  Instantaneous batch size per device = {run.batch}",
        f"  Total train batch size (w. parallel, distributed & accumulation) = {run.batch}",
        "  Gradient Accumulation steps = 1", f"  Total optimization steps = {steps}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _no_head(_: RecordedRun) -> str:
    return ""


def _namespace(run: RecordedRun) -> str:
    """The arguments of a user's own script, as argparse prints them."""
    return (
        f"Namespace(batch_size={run.batch}, epochs={math.ceil(len(run.loss) / STEPS_PER_EPOCH)}, lr={run.lr}, "
        f"optimizer='{run.optimizer}', precision='{_short(run.precision)}', seed={run.seed}, workers=4)\n"
    )


def _short(precision: str) -> str:
    return {"float16": "fp16", "autocast_float16": "fp16", "bfloat16": "bf16", "autocast_bfloat16": "bf16"}.get(
        precision, "fp32"
    )


def _mmengine_head(run: RecordedRun) -> str:
    """The part of the configuration that MMEngine prints with every run."""
    name = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}[run.optimizer]
    own = ", momentum=0.9" if name == "SGD" else ""
    cast = run.precision.startswith("autocast_")
    half = f", dtype='{run.precision.removeprefix('autocast_')}'" if cast else ""
    wrapper = "AmpOptimWrapper" if cast else "OptimWrapper"
    return (
        "2024/05/14 10:00:00 - mmengine - INFO - Config:\n"
        f"optim_wrapper = dict(\n    optimizer=dict(lr={run.lr}{own}, type='{name}'),\n"
        f"    type='{wrapper}'{half})\n"
        f"train_dataloader = dict(\n    batch_size={run.batch},\n    num_workers=4)\n\n"
    )


def _megatron_head(run: RecordedRun) -> str:
    """The arguments that Megatron-LM always prints."""
    kind = _short(run.precision)
    dtype = {"fp16": "torch.float16", "bf16": "torch.bfloat16"}.get(kind, "torch.float32")
    given = {
        "bf16": kind == "bf16", "fp16": kind == "fp16",
        "global_batch_size": run.batch, "lr": run.lr, "lr_warmup_iters": 0, "micro_batch_size": run.batch,
        "optimizer": "sgd" if run.optimizer == "sgd" else "adam", "params_dtype": dtype, "train_iters": len(run.loss),
    }  # fmt: skip
    lines = ["------------------------ arguments ------------------------"]
    lines += [f"  {name} {'.' * (47 - len(name))} {value}" for name, value in given.items()]
    return "\n".join([*lines, "-------------------- end of arguments ---------------------", ""])


def _nanogpt_head(run: RecordedRun) -> str:
    """The values that were given to nanoGPT on its command line."""
    dtype = run.precision.removeprefix("autocast_")
    return (
        f"Overriding: batch_size = {run.batch}\nOverriding: learning_rate = {run.lr}\n"
        f"Overriding: dtype = {dtype}\ntokens per iteration will be: {run.batch * 64:,}\n"
        f"using {'fused AdamW: False' if run.optimizer != 'sgd' else 'SGD'}\n"
    )


HEAD_PRINTERS: Mapping[str, Callable[[RecordedRun], str]] = {
    "hf_trainer": _hugging_face_head, "tqdm": _namespace, "keras": _no_head, "mmengine": _mmengine_head,
    "megatron": _megatron_head, "nanogpt": _nanogpt_head,
}  # fmt: skip
"""Printer → the function that gives the lines before the first line of training: arguments, or a configuration."""
WITH_HEAD = " with its head"
"""Added to the id of a printer: the view of a log that begins with its head."""
