"""A step of the training while it is under way."""

from typing import Any


class Iteration:
    """What is known of the step that is under way; scalars may still be on the device."""

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
        """Index of each optimizer that has updated the weights, or refused to."""
        self.modules: dict[str, dict[str, Any]] | None = None
        self.seconds = 0.0

    @property
    def stepped(self) -> bool:
        """Whether an optimizer has updated the weights, or refused to."""
        return bool(self.optimizers)

    def scalars(self) -> list[Any]:
        """Those that may still be on the device, and numbers among them."""
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
