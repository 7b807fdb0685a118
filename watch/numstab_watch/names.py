"""Names of modules and parameters in a trace: unchanged, or replaced by hashes."""

import hashlib
from collections.abc import Mapping
from typing import Any


class TraceNames:
    """The names that a trace gives; `shown=False` hides those of the model behind hashes."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown

    def label(self, name: str) -> str:
        """The name, or if names are to be hidden, a hash of each of its parts that is not a number."""
        if self._shown or not name:
            return name
        parts = name.split(".")
        return ".".join(part if part.isdigit() else hashlib.sha256(part.encode()).hexdigest()[:8] for part in parts)

    def of_fault(self, fault: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a fault; if names are to be hidden, without its place and code."""
        if self._shown:
            return dict(fault)
        kept = {key: each for key, each in fault.items() if key not in ("place", "code")}
        return kept | {"module": self.label(str(fault.get("module", "")))}
