"""What an operator may set, each through one environment variable. Nothing else reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from qa_service.errors import BadField
from qa_service.paths import cache_folder, data_folder, shipped


def _setting(variable: str, default: Any, about: str) -> Any:
    metadata = {"variable": variable, "about": about}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Immutable, handed down by constructor. `variables()` lists the names and what they mean."""

    kb: Path = _setting("NUMSTAB_KB", lambda: shipped("kb"), "folder of entries")
    demos: Path = _setting("NUMSTAB_DEMOS", lambda: shipped("demos"), "folder of experiments; their code is run")
    cache: Path = _setting("NUMSTAB_CACHE", cache_folder, "what can be built again: vectors, classifier, encoder, chart bundle")
    data: Path = _setting("NUMSTAB_DATA", data_folder, "what cannot: feedback")
    store: str = _setting("NUMSTAB_STORE", "", "database URL of what is kept; unset: SQLite in the data folder")
    keep_questions: int = _setting("NUMSTAB_KEEP_QUESTIONS", 0, "days that questions are kept, for gaps; 0: none")
    rate: str = _setting("NUMSTAB_RATE", "600/minute", "requests that a client may make; empty: any number")
    origins: str = _setting("NUMSTAB_ORIGINS", "", "web origins that may call the API from a browser, by commas")
    proxies: str = _setting("NUMSTAB_PROXIES", "", "addresses of proxies whose X-Forwarded-For is believed, by commas")
    encoder: str = _setting(
        "NUMSTAB_ENCODER", "use-multilingual", "`use-multilingual`, or a sentence-transformers model by name or folder"
    )
    threshold: float = _setting("NUMSTAB_THRESHOLD", 0.5, "confidence below which a question is not covered")
    deadline: float = _setting("NUMSTAB_DEADLINE", 5.0, "seconds an experiment may run")
    memory: int = _setting("NUMSTAB_MEMORY", 2048, "MiB an experiment may use")
    slots: int = _setting("NUMSTAB_SLOTS", lambda: os.cpu_count() or 1, "experiments that run at once")
    queue: int = _setting("NUMSTAB_QUEUE", 1000, "experiments that may wait; beyond that a request is refused (503)")

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Reads the variables that are set; raises `BadField` for a value of the wrong type."""
        given: dict[str, Any] = {}
        for setting in fields(cls):
            text = env.get(setting.metadata["variable"])
            if text is None or (text == "" and setting.name != "rate"):
                continue
            given[setting.name] = _typed(setting.metadata["variable"], str(setting.type), text)
        return cls(**given)

    @property
    def store_url(self) -> str:
        """The database URL of the store."""
        return self.store or f"sqlite:///{self.data / 'numstab.sqlite'}"

    @classmethod
    def variables(cls) -> dict[str, str]:
        """Variable → what it means; README's table is tested against it."""
        return {setting.metadata["variable"]: setting.metadata["about"] for setting in fields(cls)}


def _typed(variable: str, kind: str, text: str) -> Any:
    types: dict[str, Any] = {"<class 'pathlib.Path'>": Path, "<class 'float'>": float, "<class 'int'>": int}
    try:
        value = types.get(kind, str)(text)
    except ValueError:
        value = None
    if value is None or (isinstance(value, int | float) and not 0 <= value < float("inf")):
        raise BadField(
            zh=f"环境变量 {variable}={text!r} 应当是一个非负的数",
            en=f"the environment variable {variable}={text!r} should be a number that is not negative",
            field=variable,
        )
    return value
