"""What the graph of the loss says about how it was made: its last operations, the reduction, the labels."""

from collections import deque
from typing import Any

import torch

_MAX_NODES = 24
_RISKY = ("Sqrt", "Pow", "Norm", "LinalgVectorNorm", "Div", "Log", "Acos", "Asin", "Cdist", "Std", "Where")
_REDUCTIONS = ("none", "mean", "sum")


def loss_facts(loss: Any) -> dict[str, Any]:
    """`operations`: names of the nodes nearest to the loss, breadth first; `reduction`, if a loss node tells it.

    Of a cross-entropy also `classes`, `ignored` (share of the labels), `least_label` and `largest_label`; `labels` is
    their number. `risky` counts operations whose gradient is singular somewhere, in the whole graph.
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
