"""The formats of logs: one row each. Values are read by `harvest`; a row says how to recognise a line and its step.

To add a format, add a row and a sample to tests/test_logs.py.
"""

import re
from dataclasses import dataclass

from qa_service.parsing.logs.harvest import NUMBER


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFormat:
    """A format: a line has it if one of the `hints` occurs in it, and `line` is found in it."""

    id: str
    name: str
    """The framework, as people write it."""
    hints: tuple[str, ...]
    """Substrings, one of which each line has: a quick test before the pattern."""
    line: re.Pattern[str]
    """May have the groups `step`, `epoch`, and `scale` (the loss scale after a skipped update)."""
    sign: str = ""
    """The value of `in` that it shows, if any."""
    in_bits: bool = False
    """Whether its losses are in base 2."""


def _format(
    id_: str, name: str, hints: tuple[str, ...], line: str, *, sign: str = "", in_bits: bool = False
) -> LogFormat:
    pattern = re.compile(line.replace("NUM", NUMBER), re.IGNORECASE)
    return LogFormat(id=id_, name=name, hints=hints, line=pattern, sign=sign, in_bits=in_bits)


FORMATS = (
    _format(
        "hf_trainer", "Hugging Face Trainer", ("{'",), r"\{(?:'[^{}]*)?'(?:eval_"
        r"|train_)?loss'?: *'?NUM", sign="hf_trainer"
    ),
    _format(
        "llama_factory", "LLaMA-Factory", ('"current_steps"',), r'"current_steps": *(?P<step>\d+)', sign="hf_trainer"
    ),
    _format(
        "trainer_state", "Hugging Face trainer_state.json", ('"loss":', '"grad_norm":', '"learning_rate":', '"step":'),
        r'^\s*(?:\{\s*)?"(?:epoch|grad_norm|learning_rate|loss|step)": *NUM', sign="hf_trainer",
    ),
    _format(
        "deepspeed", "DeepSpeed", ("OVERFLOW!", "overflow", "loss scale"),
        r"\[deep(?:speed|scale)\].*?overflow(?:.*?reducing to (?P<scale>NUM))?"
        r"|grad overflow on iteration:? *(?P<step>\d+)"
        r"|reducing dynamic loss scale from NUM to (?P<scale2>NUM)",
        sign="deepspeed",
    ),
    _format(
        "apex", "Apex AMP", ("Gradient overflow", "gradient overflow"),
        r"gradient overflow.*?(?:reducing|setting) loss scale to:? *(?P<scale>NUM)|gradient overflow\. +skipping step",
    ),
    _format(
        "neox", "GPT-NeoX", ("samples/sec",), r"samples/sec: NUM \| iteration +(?P<step>\d+)/", sign="megatron"
    ),
    _format(
        "megatron", "Megatron-LM", ("iteration",), r"iteration +(?P<step>\d+)/ *\d+ \|", sign="megatron"
    ),
    _format(
        "fairseq", "fairseq", ("| epoch",),
        r"train(?:_inner)? *\| epoch +(?P<epoch>\d+)(?:: +(?P<step>\d+) */)?.*loss=",
        sign="fairseq", in_bits=True,
    ),
    _format(
        "mmengine", "MMEngine", ("(train)",),
        r"epoch\(train\) +\[(?P<epoch>\d+)\]\[ *(?P<step>\d+)/|iter\(train\) +\[ *(?P<step2>\d+)/", sign="mmengine",
    ),
    _format(
        "mmcv", "MMCV", ("lr:",),
        r"epoch \[(?P<epoch>\d+)\]\[(?P<step>\d+)/\d+\]\s+lr:|iter \[(?P<step2>\d+)/\d+\]\s+lr:", sign="mmengine",
    ),
    _format(
        "metric_logger", "torchvision MetricLogger", ("eta:",),
        r"epoch: \[(?P<epoch>\d+)\] +\[ *(?P<step>\d+)/ *\d+\] +eta:"
    ),
    _format(
        "paddle", "Paddle", ("global step", "global_step:", "epoch:"),
        r"global step (?P<step>\d+), epoch: \d+, batch|epoch: \[\d+/\d+\], global_step: (?P<step2>\d+)"
        r"|epoch: \d+, iter: (?P<step3>\d+), lr: NUM, '?loss",
        sign="paddle",
    ),
    _format("torchtitan", "TorchTitan", ("grad_norm:",), r"step: +(?P<step>\d+) +loss: +NUM +grad_norm:"),
    _format(
        "nanogpt", "nanoGPT", ("iter", "step"),
        r"^(?:iter|steps?) (?P<step>\d+)[:;] (?:train )?loss NUM",
    ),
    _format(
        "keras", "Keras", ("loss:",),
        r"(?:(?P<step>\d+)/\d+|^) *(?:[\[━].*)?(?:m?s|us)/(?:step|epoch|sample).*loss: |\d+/\d+ \[[=>.]+\].*loss: "
        r"|eta: \S+ - loss: |^ *- *loss: NUM - ",
        sign="keras",
    ),
    _format(
        "lightning", "Lightning", ("v_num", "Epoch"),
        r"epoch (?P<epoch>\d+):.*\| *(?P<step>\d+)/\d+ \[.*v_num", sign="lightning",
    ),
    _format("tqdm", "tqdm", ("it/s", "s/it", "%|"), r"\d+%\|.*?\| *(?P<step>\d+)/\d+ .*?NUM"),
)  # fmt: skip
"""Tried in this order: the first that a line has is its format."""

PLAIN = LogFormat(id="plain", name="", hints=(), line=re.compile(""))
"""A loop of one's own: lines of "key: number" pairs with the same keys."""
TABLE = LogFormat(id="table", name="", hints=(), line=re.compile(""))
"""Rows under a header that names the columns."""
ULTRALYTICS = LogFormat(
    id="ultralytics", name="Ultralytics YOLO", hints=(),
    line=re.compile(r"gpu_mem.*box_loss|box_loss.*cls_loss", re.IGNORECASE), sign="ultralytics",
)  # fmt: skip
"""A table; its line is the header."""
BY_ID = {each.id: each for each in (*FORMATS, PLAIN, TABLE, ULTRALYTICS)}
