"""The callback for the Trainer of transformers: `Trainer(…, callbacks=[HuggingFaceCallback()])`."""

import math
from typing import Any

from transformers import TrainerCallback

from numstab_watch.recorder import Watch, watch


class HuggingFaceCallback(TrainerCallback):
    """Opens a watch when the training begins and closes it at its end. Takes the options of `watch`.

    The trainer's log keeps nan losses back (`logging_nan_inf_filter`); the watch sees each loss itself. Values that the
    trainer logs, such as `eval_loss`, are added to the trace.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self.watch: Watch | None = None

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **kwargs: Any
    ) -> None:
        """Opens the watch; only the main process writes."""
        self.watch = watch(model, optimizer, **self._options)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Adds what the trainer logs of evaluations."""
        if self.watch is None or not logs:
            return
        names = {key: "val_" + key.removeprefix("eval_") for key in logs if key.startswith("eval_")}
        values = {names[key]: logs[key] for key in names if isinstance(logs[key], int | float)}
        self.watch.log(
            **{key: each for key, each in values.items() if "per_second" not in key and "runtime" not in key}
        )
        hidden = logs.get("loss") == 0.0 and not math.isfinite(float(logs.get("grad_norm", 0.0)))
        if hidden:
            self.watch.note("hidden_nan")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Closes the watch."""
        if self.watch is not None:
            self.watch.close()
