"""The result of a search for the first inf or nan, and descriptions of tensors and lines of code."""

import linecache
import math
import os
import re
import sys
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

Phase = Literal["forward", "backward", "update", "data"]

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_TORCH = os.path.dirname(os.path.abspath(torch.__file__)) + os.sep
_TRACEBACK_LINE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_MAX_CODE = 200
_PREFIXES = ("_scaled_dot_product", "_fused_scaled_dot_product", "_efficient_attention", "_flash_attention")
_NAMES = {
    "linalg_vector_norm": "norm",
    "native_layer_norm": "layer_norm",
    "native_batch_norm": "batch_norm",
    "native_group_norm": "group_norm",
    "_native_batch_norm_legit": "batch_norm",
    "_native_batch_norm_legit_functional": "batch_norm",
    "cudnn_batch_norm": "batch_norm",
    "_to_copy": "to",
    "nll_loss2d_forward": "nll_loss",
    "log_sigmoid_forward": "logsigmoid",
    "to_copy": "to",
    "log1_p": "log1p",
}
"""Kernel, or node of the graph in snake case → the name by which torch's users call it, where no rule gives it."""


@dataclass(frozen=True, kw_only=True)
class FaultOrigin:
    """The operation that made the first inf or nan out of finite numbers, of those that reach the loss or a gradient.

    `operation` is its name in torch, such as "log", also if its gradient is at fault (`phase` "backward"); "" if the
    inf or nan was there before: in the batch (`phase` "data") or in a weight (`phase` "update").
    """

    operation: str
    phase: Phase
    value: float
    """What it made: inf, -inf or nan."""
    place: str = ""
    """File and line of the code that called it, such as "model.py:41"."""
    code: str = ""
    module: str = ""
    """Name of the module that was running, or of the weight that is not finite; else the class of the root."""
    operands: tuple[str, ...] = ()
    """Each operand in words. Of a backward fault: the operands of the forward operation, then the gradient."""
    dtype: str = ""
    hidden: bool = False
    """Whether the result was masked out: the gradient that arrives is 0 where the gradient made of it is not finite."""
    reproduced: bool | None = None
    """Whether a repetition of the step gave the same bits; None if there was none."""

    def to_json(self) -> dict[str, Any]:
        """The fields of the fault, with the value as the string "Infinity", "-Infinity" or "NaN"."""
        fields = asdict(self)
        fields["value"] = "NaN" if math.isnan(self.value) else "Infinity" if self.value > 0 else "-Infinity"
        fields["operands"] = list(self.operands)
        return fields


def operation_name(name: str) -> str:
    """The name of a kernel ("aten::_softmax") or of a node ("SqrtBackward0") as torch's users write it ("sqrt")."""
    name = name.rpartition("::")[2]
    node = re.fullmatch(r"(\w+?)Backward\d*(?:_\w+)?", name)
    if node:
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", node[1]).lower()
    if name in _NAMES:
        return _NAMES[name]
    if name.startswith(_PREFIXES) or name.startswith("scaled_dot_product"):
        return "scaled_dot_product_attention"
    name = name.lstrip("_")
    for end in ("_forward", "_"):
        name = name.removesuffix(end)
    return _NAMES.get(name, name)


def nonfinite_kind(tensor: torch.Tensor) -> str:
    """The empty string if every element is finite; "nan" if one is nan, else "inf". Integers are finite."""
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.numel() == 0:
        return ""
    values = _plain(tensor)
    if values is None or bool(torch.isfinite(values).all()):
        return ""
    return "nan" if bool(torch.isnan(values).any()) else "inf"


def nonfinite_value(tensor: torch.Tensor) -> float:
    """The worst of its elements: nan, else inf, else -inf."""
    values = _plain(tensor)
    if values is None or bool(torch.isnan(values).any()):
        return math.nan
    if values.is_complex() or bool((values == math.inf).any()):
        return math.inf
    return -math.inf


def describe_tensor(tensor: torch.Tensor, name: str = "") -> str:
    """A tensor in words: "float32 (4, 5), 0 … 1, 16 zeros"; the range is that of the finite elements."""
    words = f"{name + ' ' if name else ''}{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
    values = _plain(tensor)
    if values is None or values.numel() == 0 or values.is_complex():
        return words
    if values.dtype == torch.bool:
        return f"{words}, {int(values.sum())} true"
    wide = values.double()
    finite = wide[torch.isfinite(wide)]
    parts = [words]
    if finite.numel():
        least, largest = float(finite.min()), float(finite.max())
        parts.append(f"{least:.4g}" if least == largest else f"{least:.4g} … {largest:.4g}")
        zeros = int((finite == 0).sum())
        if zeros:
            parts.append(f"{zeros} zeros" if zeros > 1 else "1 zero")
    for word, count in (
        ("nan", int(torch.isnan(wide).sum())),
        ("inf", int((wide == math.inf).sum())),
        ("-inf", int((wide == -math.inf).sum())),
    ):
        if count:
            parts.append(f"{count} {word}")
    return ", ".join(parts)


def dtype_name(tensor: torch.Tensor) -> str:
    """The dtype of a tensor without the prefix "torch.", such as "float32"."""
    return str(tensor.dtype).removeprefix("torch.")


def calling_line() -> tuple[str, str]:
    """Place ("model.py:41") and text of the innermost line that is neither torch's nor ours."""
    frame = sys._getframe(1)
    while frame is not None and _is_internal(frame.f_code.co_filename):
        frame = frame.f_back  # type: ignore[assignment]
    return ("", "") if frame is None else _line(frame.f_code.co_filename, frame.f_lineno, frame.f_globals)


def line_of_traceback(traceback: list[str]) -> tuple[str, str]:
    """Place and text of that line in a formatted traceback, as the anomaly mode of autograd keeps it."""
    for entry in reversed(traceback):
        found = _TRACEBACK_LINE.search(entry)
        if found and not _is_internal(found["file"]):
            return _line(found["file"], int(found["line"]), None)
    return "", ""


def _line(file: str, number: int, module_globals: dict[str, Any] | None) -> tuple[str, str]:
    code = linecache.getline(file, number, module_globals).strip()
    return f"{os.path.basename(file)}:{number}", code[:_MAX_CODE]


def _is_internal(file: str) -> bool:
    return file.startswith((_TORCH, _OURS, "<frozen")) or os.path.basename(file) == "contextlib.py"


def _plain(tensor: torch.Tensor) -> torch.Tensor | None:
    """The elements as a dense tensor without a graph; None for what has none (meta, nested, quantised tensors)."""
    if tensor.device.type == "meta" or tensor.is_quantized or tensor.is_nested:
        return None
    values = tensor.detach()
    if values.layout != torch.strided:
        try:
            values = values.coalesce().values() if values.layout == torch.sparse_coo else values.values()
        except (RuntimeError, AttributeError):
            return None
    return values.float() if values.is_floating_point() and values.element_size() == 1 else values
