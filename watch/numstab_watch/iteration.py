"""The record of the training step in progress."""

from typing import Any


class Iteration:
    """The values recorded so far of the training step in progress; scalars may still be on the device."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.losses: list[Any] = []
        self.norm: Any = None
        self.clip_norm: Any = None
        self.lr: Any = None
        self.scale: Any = None
        self.skipped: Any = False
        self.backwards = 0
        self.carried: Any = None
        self.input_max: Any = None
        self.optimizers: list[int] = []
        """Index of each optimizer that has stepped, or whose step was skipped."""
        self.modules: dict[str, dict[str, Any]] | None = None
        self.seconds = 0.0

    @property
    def stepped(self) -> bool:
        """Whether an optimizer has stepped, or its step was skipped."""
        return bool(self.optimizers)

    def scalars(self) -> list[Any]:
        """All scalars of the step: numbers, and tensors that may still be on the device."""
        return [
            *self.losses,
            self.norm,
            self.clip_norm,
            self.lr,
            self.scale,
            self.skipped,
            self.carried,
            self.input_max,
        ]
