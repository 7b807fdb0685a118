"""Reads from the autograd graph of a loss how it was computed: its last operations, reduction and labels."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import torch

_MAX_NODES = 24
_GUARDED = ("Log", "Log2", "Log10", "Sqrt", "Rsqrt", "Pow")
_RISKY = ("Sqrt", "Pow", "Norm", "LinalgVectorNorm", "Div", "Log", "Acos", "Asin", "Cdist", "Std", "Where")
_REDUCTIONS = ("none", "mean", "sum")
_ERRORS = ("MseLoss", "SmoothL1Loss", "HuberLoss")
"""Nodes of losses on numbers: each saves the outputs and the targets."""
_MOST = 1_000_000
"""The largest number of elements of the targets that are examined."""


def loss_facts(loss: Any) -> dict[str, Any]:
    """Facts about a loss from its graph; an empty dictionary without a graph. `operations`: the names of the nodes
    nearest to the loss, breadth first; `reduction`, if a loss node tells it.

    `kind` is that node's name. Of a cross-entropy also `classes`; `labels`, their number; `ignored`, a share of them;
    of the others `least_label`, `largest_label` and `kinds_of_labels`, the number of different ones. `risky` counts
    operations whose gradient is singular somewhere, in the whole graph; `guarded` names those near the loss whose
    operand is a sum with a constant, such as log(x + eps).
    """
    if loss.grad_fn is None:
        return {}
    facts: dict[str, Any] = {"operations": []}
    risky: dict[str, int] = {}
    seen = {loss.grad_fn}
    queue = deque([loss.grad_fn])
    while queue and len(seen) < 20_000:
        node = queue.popleft()
        name = _operation(node)
        if len(facts["operations"]) < _MAX_NODES:
            facts["operations"].append(name)
            if name in _GUARDED and _has_constant(node):
                facts["guarded"] = sorted({*facts.get("guarded", ()), name})
            if "reduction" not in facts:
                _read_loss_node(node, name, facts)
        if name in _RISKY:
            risky[name] = risky.get(name, 0) + 1
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                queue.append(following)
    if risky:
        facts["risky"] = risky
    return facts


def target_facts(loss: Any, output: Any = None) -> dict[str, Any]:
    """Statistics of the targets of a regression, from the graph of its loss: built in, or mean((output − target)²).

    `target_rms`; `target_spread`, the standard deviation of each column over the batch, as an rms over the columns;
    `error_rms` of output − target. So target_spread² / error_rms² is the loss of predicting the mean, over the loss.
    `target_bad` is the share that is not finite. Empty for another loss. A written-out error saves only the difference;
    the targets then follow from `output`, the first tensor that the model returned.
    """
    found = next(_errors(loss, output), None)
    if found is None:
        return {}
    target, error = (each.detach()[: max(1, _MOST * len(each) // each.numel())].float() for each in found)
    return {
        "target_rms": _rms(target),
        "target_spread": _rms(target - target.mean(0)),
        "error_rms": _rms(error),
        "target_bad": float((~torch.isfinite(target)).float().mean()),
    }


def _errors(loss: Any, output: Any) -> Iterator[tuple[Any, Any]]:
    """(targets, outputs − targets) of the errors nearest to the loss, breadth first."""
    queue, seen = deque([loss.grad_fn]), 0
    while queue and seen < _MAX_NODES:
        node = queue.popleft()
        seen += node is not None
        if node is None:
            continue
        name = _operation(node)
        if name in _ERRORS:
            given: Any = getattr(node, "_saved_self", None)
            target: Any = getattr(node, "_saved_target", None)
            tensors = isinstance(given, torch.Tensor) and isinstance(target, torch.Tensor)
            if tensors and given.shape == target.shape and target.dim() and target.numel():
                yield target, given - target
        elif name == "Pow" and getattr(node, "_saved_exponent", None) == 2:
            yield from _written_out(node, output)
        queue += [following for following, _ in node.next_functions]


def _written_out(node: Any, output: Any) -> Iterator[tuple[Any, Any]]:
    """As `_errors`, for a squared difference written out, of which one side does not depend on the weights."""
    error = getattr(node, "_saved_self", None)
    difference = node.next_functions[0][0]
    if not isinstance(error, torch.Tensor) or difference is None or _operation(difference) != "Sub":
        return
    sides = [following is not None for following, _ in difference.next_functions]
    if output is not None and output.shape == error.shape and sum(sides) == 1 and error.dim() and error.numel():
        error = error if sides[0] else -error
        yield output.detach() - error, error


def _rms(tensor: Any) -> float:
    return float(tensor.square().mean().sqrt())


def _has_constant(node: Any) -> bool:
    """Whether the operand is a sum of which one side is no function of the weights."""
    operand = node.next_functions[0][0] if node.next_functions else None
    if operand is None or _operation(operand) != "Add":
        return False
    return any(following is None for following, _ in operand.next_functions)


def _operation(node: Any) -> str:
    name = str(node.name()).rpartition("::")[2]
    return name.partition("Backward")[0] or name


def _read_loss_node(node: Any, name: str, facts: dict[str, Any]) -> None:
    reduction = getattr(node, "_saved_reduction", None)
    if isinstance(reduction, int) and 0 <= reduction < len(_REDUCTIONS):
        facts["reduction"] = _REDUCTIONS[reduction]
        facts["kind"] = name
    if not name.startswith("NllLoss"):
        return
    target, scores = getattr(node, "_saved_target", None), getattr(node, "_saved_self", None)
    if not isinstance(target, torch.Tensor) or not isinstance(scores, torch.Tensor) or not target.numel():
        return
    facts["classes"] = int(scores.shape[1 if scores.dim() > 1 else 0])
    facts["labels"] = target.numel()
    kept = target[target != getattr(node, "_saved_ignore_index", -100)]
    facts["ignored"] = 1 - kept.numel() / target.numel()
    if kept.numel():
        facts["least_label"], facts["largest_label"] = int(kept.min()), int(kept.max())
        facts["kinds_of_labels"] = int(kept.unique().numel())
