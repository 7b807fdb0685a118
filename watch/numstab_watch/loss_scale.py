"""The scale of a loss: what a GradScaler multiplies it with, and whether the gradients still have it."""

from collections.abc import Sequence
from typing import Any

import torch

from numstab_watch import patches


class LossScale:
    """The scale of the losses of a loop, whose GradScaler is found by itself where one is used."""

    def __init__(self, scaler: Any) -> None:
        self.scaler = scaler

    def unscaled(self, root: Any) -> tuple[Any, Any]:
        """A detached copy of the loss divided by the loss scale, and that scale; None if not scaled."""
        if self.scaler is None:
            self.scaler = patches.scaler_of(root)
        loss = root.detach().reshape(()).to(torch.float64 if root.dtype == torch.float64 else torch.float32, copy=True)
        scale = patches.scale_of(root)
        if scale is None and self.scaler is not None and self.scaler.is_enabled():
            scale = getattr(self.scaler, "_scale", None)
            scale = scale.detach().clone() if scale is not None else None
        return (loss / scale.to(loss.device), scale) if scale is not None else (loss, None)

    def is_in_gradients(self, optimizers: Sequence[Any]) -> bool:
        """Whether the gradients of all these optimizers are multiplied by the loss scale at this moment."""
        if self.scaler is None or not optimizers:
            return False
        states = getattr(self.scaler, "_per_optimizer_states", None)
        if states is None:
            return False
        stages = [states[id(each)]["stage"] for each in optimizers if id(each) in states]
        return all(getattr(stage, "name", "READY") == "READY" for stage in stages)
