"""The formats of logs: one row each. Values are read by `harvest`; a row says how to recognise a line and its step.

To add a format, add a row, and a printer of its lines to tests/log_printers.py.
"""

import re
from dataclasses import dataclass

from qa_service.parsing.logs.harvest import NUMBER_PATTERN
from qa_service.patterns import lazy_pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFormat:
    """A format: a line has it if one of the `hints` occurs in it, and `line` is found in it."""

    id: str
    name: str
    """The framework, as people write it."""
    hints: tuple[str, ...]
    """Substrings, one of which each line has: a quick test before the pattern."""
    line: re.Pattern[str]
    """May have the groups `step`, `epoch`, `of` (steps per epoch) and `scale` (the loss scale after a skipped update).

    Any other group is the name of the value that it holds. A digit at the end of a group's name is left out.
    """
    sign: str = ""
    """The value of `in` that it shows, if any."""
    in_bits: bool = False
    """Whether its losses are in base 2."""
    step_in_epoch: bool = False
    """Whether its step is counted anew in each epoch."""
    first_epoch: int = 1
    """The number of the first epoch, where steps are counted within epochs."""
    running_mean: bool = False
    """Whether its losses are means since the epoch began, so that one nan poisons all that follow."""


def _format(
    id_: str,
    name: str,
    hints: tuple[str, ...],
    line: str,
    *,
    sign: str = "",
    in_bits: bool = False,
    step_in_epoch: bool = False,
    first_epoch: int = 1,
    running_mean: bool = False,
) -> LogFormat:
    bounded = line.replace(r"\d+", r"\d{1,20}")  # a longer run of digits would take quadratic time
    pattern = lazy_pattern(bounded.replace("NUM", NUMBER_PATTERN), re.IGNORECASE)
    return LogFormat(
        id=id_, name=name, hints=hints, line=pattern, sign=sign, in_bits=in_bits, step_in_epoch=step_in_epoch,
        first_epoch=first_epoch, running_mean=running_mean,
    )  # fmt: skip


def format_of(text: str) -> tuple[LogFormat, re.Match[str]] | None:
    """The first format that a line has, and where its pattern was found; None if it has none."""
    for form in TRAINER_LOG_FORMATS:
        for hint in form.hints:
            if hint in text:
                if match := form.line.search(text):
                    return form, match
                break
    return None


def named_groups(match: re.Match[str]) -> dict[str, str]:
    """The groups of a format's pattern that were found, "step2" as "step"."""
    return {name.rstrip("0123456789"): word for name, word in match.groupdict().items() if word is not None}


TRAINER_LOG_FORMATS = (
    _format(
        "hf_trainer", "Hugging Face Trainer", ("{'",), r"\{(?:'[^{}]*)?'(?:eval_"
        r"|train_)?loss'?: *'?(?:tensor\()?NUM", sign="hf_trainer"
    ),
    _format(
        "llama_factory", "LLaMA-Factory", ('"current_steps"',), r'"current_steps": *(?P<step>\d+)', sign="hf_trainer"
    ),
    _format(
        "fairseq", "fairseq", ("| epoch", '| {"epoch"'),
        r"train(?:_inner)? *\| epoch +(?P<epoch>\d+)(?:: +(?P<step>\d+) */ *(?P<of>\d+))?.*loss[= ]"
        r"|^\|? *epoch +(?P<epoch2>\d+)(?:: +(?P<step2>\d+) */ *(?P<of2>\d+))?.*loss=.*(?:nll_loss|gnorm|wps)="
        r"|valid *\| epoch +(?P<epoch3>\d+) .*loss "
        r'|(?:train(?:_inner)?|valid\w*) *\| \{"epoch": *(?P<epoch4>\d+)',
        sign="fairseq", in_bits=True, step_in_epoch=True,
    ),
    _format(
        "trainer_state", "Hugging Face trainer_state.json",
        ('"loss":', '"grad_norm":', '"learning_rate":', '"step":', '"epoch":'),
        r'^\s*(?:\{\s*)?"(?:epoch|grad_norm|learning_rate|loss|step)": *NUM', sign="hf_trainer",
    ),
    _format(
        "deepspeed", "DeepSpeed", ("OVERFLOW!", "overflow", "loss scale"),
        r"(?:\[deep(?:speed|scale)\].*?|^)overflow(?:.*?reducing to (?P<scale>NUM))?"
        r"|grad overflow on iteration:? *(?P<step>\d+)"
        r"|reducing dynamic loss scale from NUM to (?P<scale2>NUM)",
        sign="deepspeed",
    ),
    _format(
        "deepspeed_step", "DeepSpeed", ("skipped=",), r"step=(?P<step>\d+), skipped=\d+, lr=\[", sign="deepspeed"
    ),
    _format(
        "apex", "Apex AMP", ("Gradient overflow", "gradient overflow", "overflow detected"),
        r"(?:gradient overflow|overflow detected).*?(?:reducing|setting) loss scale to:? *(?P<scale>NUM)"
        r"|gradient overflow\. +skipping step",
    ),
    _format(
        "neox", "GPT-NeoX", ("samples/sec",), r"samples/sec: NUM \| iteration +(?P<step>\d+)/", sign="megatron"
    ),
    _format(
        "megatron", "Megatron-LM", ("iteration",),
        r"iteration +(?P<step>\d+)/ *\d+ \| *(?:consumed|elapsed)|validation loss at (?:the end of training"
        r"|iteration (?P<step2>\d+)).*\|",
        sign="megatron",
    ),
    _format(
        "mmengine", "MMEngine", ("(train)", "(val)"),
        r"epoch\((?:train|val)\) +\[(?P<epoch>\d+)\]\[ *(?P<step>\d+)/ *(?P<of>\d+)\]"
        r"|iter\((?:train|val)\) +\[ *(?P<step2>\d+)/",
        sign="mmengine", step_in_epoch=True,
    ),
    _format(
        "mmcv", "MMCV", ("lr:", "(val)"),
        r"epoch \[(?P<epoch>\d+)\]\[(?P<step>\d+)/(?P<of>\d+)\]\s+lr:|iter \[(?P<step2>\d+)/\d+\]\s+lr:",
        sign="mmengine", step_in_epoch=True,
    ),
    _format(
        "paddle_detection", "PaddleDetection", ("learning_rate:", "ppdet"),
        r"epoch: \[(?P<epoch>\d+)\] \[ *(?P<step>\d+)/ *(?P<of>\d+)\] +learning_rate:",
        sign="paddle", step_in_epoch=True, first_epoch=0,
    ),
    _format(
        "metric_logger", "torchvision MetricLogger", ("eta:",),
        r"(?:epoch: \[(?P<epoch>\d+)(?:/\d+)?\]|\w{1,20}:) +\[ *(?P<step>\d+)/ *(?P<of>\d+)\] +eta:",
        step_in_epoch=True, first_epoch=0, running_mean=True,
    ),
    _format(
        "detectron2", "Detectron2", ("iter:",), r"\beta: \S.{0,24}?\biter: (?P<step>\d+) +(?:total_)?loss"
    ),
    _format(
        "timm", "timm", ("Train:", "Test"),
        r"(?:train|test(?: \(\w+\))?): +(?:(?P<epoch>\d+) +)?\[ *(?P<step>\d+)/ *(?P<of>\d+)\b.*loss: *NUM",
        step_in_epoch=True, first_epoch=0,
    ),
    _format(
        "paddle", "Paddle", ("global step", "global_step:", "epoch:"),
        r"global step (?P<step>\d+), epoch: \d+, batch|epoch: \[\d+/\d+\], global_step: (?P<step2>\d+)"
        r"|epoch: \d+, iter: (?P<step3>\d+), lr: NUM, '?loss|\[(?:train|eval)\] epoch: *\d+, iter: (?P<step4>\d+)/",
        sign="paddle",
    ),
    _format(
        "paddle_classification", "PaddleClas", ("[Iter:",),
        r"\[epoch *(?P<epoch>\d+)/\d+\] ?\[iter: *(?P<step>\d+)/ *(?P<of>\d+)\]", sign="paddle", step_in_epoch=True,
    ),
    _format(
        "torchtitan", "TorchTitan", ("grad_norm:", "tps:"),
        r"step: +(?P<step>\d+) +loss: +NUM +(?:grad_norm:|memory:)",
    ),
    _format("torchtune", "torchtune", ("|Loss:", "|loss:"), r"^(?P<epoch>\d+)\|(?P<step>\d+)\|loss: *NUM"),
    _format(
        "maxtext", "MaxText", ("completed step:",), r"completed step: (?P<step>\d+), .*loss: *NUM", sign="jax"
    ),
    _format(
        "mlx", "MLX", ("Iter ",),
        r"^iter (?P<step>\d+): (?:train loss NUM, (?:learning rate|it/sec)|val loss NUM, val took)",
    ),
    _format(
        "nanogpt", "nanoGPT", ("iter", "step"),
        r"^(?:iter|steps?) (?P<step>\d+)[:;] (?:train )?loss NUM",
    ),
    _format(
        "pytorch_tutorial", "PyTorch", ("] loss:",), r"^\[(?P<epoch>\d+), +(?P<step>\d+)\] loss: *NUM",
        step_in_epoch=True,
    ),
    _format(
        "espnet", "ESPnet", ("epoch:", "epoch results:"),
        r"(?P<epoch>\d+)epoch:(?:train|valid):\d+-(?P<step>\d+)batch:|(?P<epoch2>\d+)epoch results: \[train\]",
        step_in_epoch=True,
    ),
    _format(
        "opennmt", "OpenNMT", ("xent:",), r"step +(?P<step>\d+)/ *\d+; .*xent: *NUM"
    ),
    _format(
        "tensorflow_estimator", "TensorFlow", (", step = ", "global step", "per-step time"),
        r"loss = NUM, step = (?P<step>\d+)|global step (?P<step2>\d+): loss = NUM"
        r"|step (?P<step3>\d+) per-step time NUMs",
        sign="keras",
    ),
    _format(
        "caffe", "Caffe", (", loss = ", ", lr = "), r"iteration (?P<step>\d+)(?: \([^)]*\))?, (?:loss|lr) = NUM"
    ),
    _format(
        "darknet_yolo2", "YOLOv2", ("nGT",),
        r"(?P<step>\d+): nGT \d+.*loss: x (?P<loss_x>NUM), y (?P<loss_y>NUM), w (?P<loss_w>NUM), h (?P<loss_h>NUM)"
        r", conf (?P<loss_conf>NUM), cls (?P<loss_cls>NUM), total (?P<loss>NUM)",
    ),
    _format(
        "darknet", "Darknet", (" avg",),
        r"^\s*(?:\([^)]*\)\s*)?(?P<step>\d+): (?P<loss>-?NUM), (?P<loss_average>-?NUM) avg(?: loss)?, (?P<lr>NUM) rate",
    ),
    _format("darknet_region", "Darknet", ("Avg IOU", "Avg (IOU"), r"region(?: \d+)? avg \(?iou: *-?NUM"),
    _format(
        "keras", "Keras", ("loss:",),
        r"(?:(?P<step>\d+)/(?P<of>\d+)|^) *(?:[\[━].*)?(?:m?s|us)/(?:step|epoch|sample).*loss: "
        r"|(?P<step2>\d+)/(?P<of2>\d+) \[[=>.]+\].*loss: "
        r"|(?P<step3>\d+)/(?P<of3>\d+) - (?:ETA: )?[\d:]+m?s? .*loss: |eta: \S+ - loss: "
        r"|^ *-? *(?:\d+s - )?loss: *NUM - ",
        sign="keras", step_in_epoch=True, running_mean=True,
    ),
    _format(
        "lightning", "Lightning", ("v_num", "Epoch"),
        r"epoch (?P<epoch>\d+):.*\| *(?P<step>\d+)/(?P<of>\d+) \[.*v_num",
        sign="lightning", step_in_epoch=True, first_epoch=0,
    ),
    _format("tqdm", "tqdm", ("it/s", "s/it", "%|"), r"\d+%\|[^|]*\| *(?P<step>\d+)/(?P<of>\d+) .*?NUM"),
)  # fmt: skip
"""Tried in this order: the first that a line has is its format."""

PLAIN_FORMAT = LogFormat(id="plain", name="", hints=(), line=lazy_pattern(""))
"""A hand-written training loop: lines of "key: number" pairs with the same keys."""
TABLE_FORMAT = LogFormat(id="table", name="", hints=(), line=lazy_pattern(""))
"""Rows under a header that names the columns."""
ULTRALYTICS = LogFormat(
    id="ultralytics", name="Ultralytics YOLO", hints=(),
    line=lazy_pattern(r"gpu_mem.*box_loss|box_loss.*cls_loss", re.IGNORECASE), sign="ultralytics",
)  # fmt: skip
"""A table; its line is the header."""
STABLE_BASELINES = LogFormat(id="stable_baselines", name="Stable-Baselines3", hints=(), line=lazy_pattern(""))
"""A box of names and values for each report."""
COMPOSER = LogFormat(
    id="composer", name="Composer", hints=(),
    line=lazy_pattern(r"^(?:[\[,] ?(?:epoch|batch|step)=(?P<step>\d+)(?:/\d+)?\]?)+:?", re.IGNORECASE)
)  # fmt: skip
"""A heading with the step, and a line for each value."""
COQUI = LogFormat(
    id="coqui", name="Coqui TTS", hints=(),
    line=lazy_pattern(
        r"^\s*--> +(?:TIME: .*?-- )?STEP: +(?P<step_in_epoch>\d+)/(?P<of>\d+) +-- +GLOBAL_STEP: +(?P<step>\d+)"
    ),
)  # fmt: skip
"""The same with the step of the whole run."""
BY_ID = {
    each.id: each
    for each in (*TRAINER_LOG_FORMATS, PLAIN_FORMAT, TABLE_FORMAT, ULTRALYTICS, STABLE_BASELINES, COMPOSER, COQUI)
}
