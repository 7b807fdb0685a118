"""Settings of a run that its log prints: arguments, a configuration, the optimiser."""

import math
import re
from collections.abc import Callable, Mapping

from qa_service.model.values import Value
from qa_service.patterns import lazy_pattern

_MAX_CHARS = 6_000
_DTYPES: Mapping[str, str] = {
    "fp16": "float16", "half": "float16", "use_fp16": "float16", "bf16": "bfloat16", "use_bf16": "bfloat16",
    "bfloat16": "bfloat16",
}  # fmt: skip
"""Switches that choose a dtype."""
_KINDS: Mapping[str, str] = {
    "dtype": r"(?:torch_|params?_|model_|compute_|amp_|mp_|weight_)?dtype|(?:mixed_)?precision",
    "optimizer": r"optim(?:izer)?(?:_type|_name|_class)?|opt(?:_name)?",
    "batch_size": r"(?:total[_ ])?(?:(?:per_device_)?(?:train[_ ])?|global[_ ]|micro_)(?:mini)?_?batch[_ ]?size"
    r"|instantaneous batch size per device|samples_per_gpu|ims_per_batch",
    "clip": r"max_grad_norm|clip_grad(?:_norm)?|grad(?:ient)?_clip(?:_val|ping|_norm)?|clip_norm|max_norm"
    r"|clip_gradients",
    "growth_interval": r"loss_scale_window|growth_interval|fp16_scale_window|scale_window",
    "classes": r"num_?(?:classes|labels)|n_class(?:es)?|nb_classes|vocab_?size|padded_vocab_size",
    "lr": r"learning_?rate|lr0?|base_lr|max_lr",
    "warmup": r"(?:num_|lr_)?warm_?up_(?:steps|iters|updates)",
    "weight_decay": r"weight_decay|wd",
    "eps": r"(?:adam_|optimizer_)?eps(?:ilon)?",
    "momentum": r"momentum",
    "logging_steps": r"logging_steps|log_interval|print_freq|log_every_n_steps",
    "nan_filter": r"logging_nan_inf_filter",
}  # fmt: skip
_SWITCH = "|".join(_DTYPES)
_ALL = "|".join(f"(?P<{kind}>{names})" for kind, names in _KINDS.items())
_SETTING = lazy_pattern(
    rf"(?<![\w./])-{{0,2}}['\"]?(?:(?P<switch>{_SWITCH})|{_ALL})['\"]?(?: \([^)]{{0,80}}\))?\s*(?::|=|\.{{3,}}|\s)\s*"
    r"['\"]?(?P<value>(?!--)[\w.+\-]+)",
    re.IGNORECASE,
)
_FLAG = lazy_pattern(r"--(fp16|bf16|half)(?=\s|$)")
_HINT = lazy_pattern(
    r"fp16|bf16|half|dtype|precision|optim|batch|clip|grad|scale|interval|class|vocab|learning|lr|warm|decay|eps"
    r"|momentum"
    r"|adam|sgd|logging|print_freq|max_norm|16bit|labels",
    re.IGNORECASE,
)
_OPTIMIZER = lazy_pattern(
    r"^\s*(?:optimi[sz]er[\s:=]*)?(?:torch\.optim\.)?(?P<bare>AdamW|Adam|SGD|RMSprop|Adagrad|Adafactor|Lion|LAMB"
    r"|NAdam|RAdam|Adamax)"
    r" ?\($|\b(?:using|with) (?:\w+ )?(?P<used>AdamW|Adam|SGD|RMSprop|Adagrad|Adafactor|Lion|LAMB)\b(?: optimi[sz]er)?"
    r"|\btype=['\"](?P<typed>AdamW|Adam|SGD|RMSprop|Adagrad|Adafactor|Lion|LAMB)['\"]"
    r"|\b(?:optim\.|\$)(?P<made>AdamW|Adam|SGD|RMSprop|Adagrad|Adafactor|Lion|LAMB)\b",
    re.IGNORECASE,
)
_NATIVE = lazy_pattern(
    r"using 16-?bit|automatic mixed precision \(amp\)|native amp|mixed precision training enabled|fp16 enabled",
    re.IGNORECASE,
)
_CONFIGURATION = lazy_pattern(
    r"\b(?:Namespace|\w*(?:Config|Arguments|Args|Optimizer)|AdamW?|SGD)\s?\(|\.{6,}"
    r"|(?<![a-z])['\"]?(?:(?:train_|per_device_train_|micro_)?batch_size|num_epochs|n_epochs|max_epochs"
    r"|weight_decay|num_workers"
    r"|seed|hidden_size|optimizer|optim|num_layers|dropout|warmup_steps|momentum|betas)['\"]?\s*[:=]"
)
_BLANKS = lazy_pattern(r"\s{2,}")
_TRUE = frozenset({"true", "1", "yes", "on", "auto", "o1", "o2"})


def is_configuration(text: str) -> bool:
    """Whether a line prints settings, so that its numbers are no records."""
    return bool(_CONFIGURATION.search(text))


def read_settings(text: str) -> dict[str, Value]:
    """The settings that a line names; the first of each kind."""
    text = _BLANKS.sub(" ", text[:_MAX_CHARS])
    if not _HINT.search(text):
        return {}
    found: dict[str, Value] = {}
    for match in _SETTING.finditer(text):
        kind, word = match.lastgroup, match["value"]
        kind = next(name for name in ("switch", *_KINDS) if match[name]) if kind == "value" else kind
        for key, value in _read_value(kind or "", match["switch"], word).items():
            found.setdefault(key, value)
    for flag in _FLAG.findall(text):
        found.setdefault("dtype", _DTYPES[flag])
    if optimizer := _OPTIMIZER.search(text):
        found.setdefault("optimizer", next(name for name in optimizer.groups() if name).lower())
    if _NATIVE.search(text):
        found.setdefault("dtype", "float16")
    return found


def _read_value(kind: str, switch: str | None, word: str) -> dict[str, Value]:
    lower = word.lower().rstrip(".,-")
    if kind == "switch":
        return {"dtype": _DTYPES[(switch or "").lower()]} if lower in _TRUE else {}
    if kind == "dtype":
        dtype = _dtype(lower)
        return {"dtype": dtype} if dtype else {}
    if kind == "optimizer":
        return {"optimizer": name} if (name := _optimizer(lower)) else {}
    if kind == "nan_filter":
        return {"nan_filter": lower in _TRUE}
    value = _NUMBERS[kind](lower)
    return {kind: value} if value is not None else {}


def _dtype(word: str) -> str:
    for part, dtype in (("bf16", "bfloat16"), ("bfloat16", "bfloat16"), ("fp8", "float8"), ("float8", "float8")):
        if part in word:
            return dtype
    if re.search(r"fp16|float16|half|^16", word):
        return "float16"
    return "float32" if re.search(r"fp32|float32|^32|^single$|^no$", word) else ""


def _optimizer(word: str) -> str:
    known = r"adamw|adamax|nadam|radam|adam|sgd|rmsprop|adagrad|adafactor|adadelta|lion|lamb|lars|muon|novograd"
    r"|shampoo|momentum"
    match = re.search(known, word)
    return match[0] if match else ""


def _positive(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _count(word: str) -> int | None:
    value = _positive(word)
    return int(value) if value is not None and value >= 1 and value == int(value) and value < 1e9 else None


_NUMBERS: Mapping[str, Callable[[str], float | int | None]] = {
    "batch_size": _count, "clip": _positive, "growth_interval": _count, "classes": _count,
    "lr": _positive, "warmup": _count,
    "weight_decay": _positive, "eps": _positive, "momentum": _positive, "logging_steps": _count,
}  # fmt: skip
