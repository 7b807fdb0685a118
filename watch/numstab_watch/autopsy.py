"""Autopsy of a loss that is not finite: its autograd graph still holds operands, so nothing has to run again.

The nodes are read in the order in which their operations ran. The fault is the first whose operands are finite and
whose result is not. A result that was not saved is computed again from the saved operands. The autopsy knows no line
of code, unless the anomaly mode is on; `replay` does.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from numstab_watch.fault import (
    FaultOrigin,
    describe_tensor,
    dtype_name,
    line_of_traceback,
    nonfinite_kind,
    nonfinite_value,
    operation_name,
)

_SAVED = "_saved_"
_RESULTS = frozenset({"result", "result0", "result1", "result2", "result3", "output"})
_MASKS = frozenset({"masked_fill", "where", "fill"})
_VIEWS = frozenset(
    {"t", "transpose", "permute", "view", "expand", "unsqueeze", "squeeze", "unsafe_view", "alias", "to"}
)
_MAX_OPERANDS = 6

_Saved = Mapping[str, Any]


def _pow(saved: _Saved) -> torch.Tensor:
    return torch.pow(saved["self"], saved["exponent"])


_RECOMPUTED: Mapping[str, Callable[[_Saved], torch.Tensor]] = {
    "log": lambda saved: saved["self"].log(),
    "log2": lambda saved: saved["self"].log2(),
    "log10": lambda saved: saved["self"].log10(),
    "log1p": lambda saved: saved["self"].log1p(),
    "acos": lambda saved: saved["self"].acos(),
    "asin": lambda saved: saved["self"].asin(),
    "atanh": lambda saved: saved["self"].atanh(),
    "acosh": lambda saved: saved["self"].acosh(),
    "div": lambda saved: saved["self"] / saved["other"],
    "mul": lambda saved: saved["self"] * saved["other"],
    "mm": lambda saved: saved["self"] @ saved["mat2"],
    "bmm": lambda saved: saved["self"] @ saved["mat2"],
    "addmm": lambda saved: saved["mat1"] @ saved["mat2"],
    "pow": _pow,
}
"""Operation → its result of the operands that its node saves. A KeyError or TypeError: one of them was not saved."""


def autopsy(loss: torch.Tensor) -> FaultOrigin | None:
    """The operation that made the loss inf or nan, read from its graph; None if it is finite or has no graph.

    Also None if the graph was freed by a backward pass. Takes time in proportion to the saved operands.
    """
    if not nonfinite_kind(loss) or loss.grad_fn is None:
        return None
    with torch.no_grad():
        nodes = _in_order(loss.grad_fn)
        producers: dict[int, Any] = {}
        for node in nodes:
            fault = _fault_of(node, producers)
            if fault is not None:
                return fault
        return _last_finite(loss)


def _fault_of(node: Any, intended: dict[int, Any]) -> FaultOrigin | None:
    """The fault of one node, if its saved tensors show one; those of the nodes before it showed none."""
    operation = operation_name(node.name())
    saved = dict(_saved_values(node))
    tensors = {name: value for name, value in saved.items() if isinstance(value, torch.Tensor)}
    operands = {name: value for name, value in tensors.items() if name not in _RESULTS}
    parents = [parent for parent, _ in node.next_functions]
    masked = operation in _MASKS or any(id(parent) in intended for parent in parents if parent is not None)
    if masked:
        intended[id(node)] = node
    bad = {name: value for name, value in operands.items() if nonfinite_kind(value)}
    if bad:
        return (
            None if masked and not _result_is_nan(tensors) else _blamed_operand(node, operation, bad, parents, masked)
        )
    if operation == "div" and "other" in operands and "self" not in operands and bool((operands["other"] == 0).any()):
        return _fault(node, operation, operands, operands["other"], made=math.nan)  # only the divisor was saved
    result = next((value for name, value in tensors.items() if name in _RESULTS and nonfinite_kind(value)), None)
    if result is None:
        result = _recomputed(operation, saved)
    if result is None or not nonfinite_kind(result) or (masked and nonfinite_kind(result) != "nan"):
        return None
    return _fault(node, operation, operands, result)


def _blamed_operand(
    node: Any, operation: str, bad: Mapping[str, torch.Tensor], parents: list[Any], masked: bool
) -> FaultOrigin | None:
    """An operand is not finite although no earlier node shows why: the data, a weight, or a node that saves nothing."""
    name, value = next(iter(bad.items()))
    if masked:
        return _fault(node, operation, bad, value, made=math.nan)
    producer = _producer(name, parents)
    if producer is None:
        return FaultOrigin(
            operation="",
            phase="data",
            value=nonfinite_value(value),
            operands=(describe_tensor(value),),
            dtype=dtype_name(value),
        )
    weight = getattr(producer, "variable", None)
    if weight is not None:
        return FaultOrigin(
            operation="",
            phase="update",
            value=nonfinite_value(weight),
            operands=(describe_tensor(weight),),
            dtype=dtype_name(weight),
        )
    operands = {key: each for key, each in _saved_values(producer) if isinstance(each, torch.Tensor)}
    return _fault(producer, operation_name(producer.name()), operands, value)


def _producer(name: str, parents: list[Any]) -> Any:
    """The node that made the saved operand `name`; None if it has no gradient, as data has not."""
    order = {"self": 0, "input": 0, "mat1": 1, "mat2": len(parents) - 1, "other": 1, "weight": 1, "target": 1}
    place = order.get(name, 0)
    producer = parents[place] if place < len(parents) else None
    while producer is not None and not hasattr(producer, "variable") and operation_name(producer.name()) in _VIEWS:
        producer = next((parent for parent, _ in producer.next_functions), None)
    return producer


def _last_finite(loss: torch.Tensor) -> FaultOrigin:
    """The fault where no node shows one, as after sums, which save nothing.

    It is placed at the first node from the loss that saves a tensor with dimensions, or that has not exactly one
    operation before it.
    """
    node = loss.grad_fn
    while True:
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if len(parents) != 1 or hasattr(parents[0], "variable"):
            break
        if any(isinstance(value, torch.Tensor) and value.dim() for _, value in _saved_values(node)):
            break
        node = parents[0]
    operands = {name: value for name, value in _saved_values(node) if isinstance(value, torch.Tensor)}
    return _fault(node, operation_name(node.name()), operands, loss)


def _fault(
    node: Any, operation: str, operands: Mapping[str, Any], result: torch.Tensor, made: float | None = None
) -> FaultOrigin:
    place, code = line_of_traceback(getattr(node, "metadata", {}).get("traceback_") or [])
    tensors = [value for name, value in operands.items() if name not in _RESULTS]
    return FaultOrigin(
        operation=operation,
        phase="forward",
        value=nonfinite_value(result) if made is None else made,
        place=place,
        code=code,
        operands=tuple(describe_tensor(tensor) for tensor in tensors[:_MAX_OPERANDS]),
        dtype=dtype_name(tensors[0] if tensors else result),
    )


def _result_is_nan(tensors: Mapping[str, torch.Tensor]) -> bool:
    return any(nonfinite_kind(value) == "nan" for name, value in tensors.items() if name in _RESULTS)


def _recomputed(operation: str, saved: _Saved) -> torch.Tensor | None:
    function = _RECOMPUTED.get(operation)
    if function is None:
        return None
    try:
        return function(saved)
    except (KeyError, TypeError, RuntimeError, AttributeError):
        return None


def _saved_values(node: Any) -> Iterator[tuple[str, Any]]:
    """(name, value) of the tensors and scalars that the node saved, without those freed by a backward pass."""
    for attribute in dir(node):
        if not attribute.startswith(_SAVED) or attribute.endswith("_sym_sizes"):
            continue
        try:
            value = getattr(node, attribute)
        except RuntimeError:
            continue
        if value is not None:
            yield attribute.removeprefix(_SAVED), value


def _in_order(root: Any) -> list[Any]:
    """The nodes in the order in which their operations ran, parents before children."""
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
            continue
        if node in seen:
            continue
        seen.add(node)
        stack.append((node, True))
        stack += [(parent, False) for parent, _ in node.next_functions if parent is not None]
    if all(hasattr(node, "_sequence_nr") for node in order):
        leaves = [node for node in order if hasattr(node, "variable")]
        return leaves + sorted((node for node in order if not hasattr(node, "variable")), key=_sequence_number)
    return order


def _sequence_number(node: Any) -> int:
    return int(node._sequence_nr())
