"""The callback for Lightning: `Trainer(callbacks=[LightningCallback()])`."""

from typing import Any

try:
    from lightning.pytorch import Callback
except ImportError:  # the package under its older name
    from pytorch_lightning import Callback  # type: ignore[assignment]

from numstab_watch.recorder import Watch, watch


class LightningCallback(Callback):
    """Opens a watch when the training begins and closes it at its end or failure. Takes the options of `watch`."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self.watch: Watch | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Opens the watch on the module and all its optimizers."""
        self.watch = watch(pl_module, trainer.optimizers, **self._options)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Tells the watch of the batch: a `training_step` need not call the module as a whole."""
        if self.watch is not None:
            self.watch.forward_starts(pl_module, (batch,), {})

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Adds the metrics of the validation."""
        if self.watch is not None and not trainer.sanity_checking:
            metrics = {key: each for key, each in trainer.callback_metrics.items() if key.startswith("val")}
            self.watch.log(**metrics)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Closes the watch with the name of the exception."""
        if self.watch is not None:
            self.watch.close(f"exception {type(exception).__name__}")

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Closes the watch."""
        if self.watch is not None:
            self.watch.close()
