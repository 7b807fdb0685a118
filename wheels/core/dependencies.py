"""The dependencies of numstab-core, derived from those of numstab: nothing is listed twice."""

import re
import tomllib
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

CORE = Path(__file__).resolve().parent


class NumstabDependencies(MetadataHookInterface):
    """Fills in `dependencies` and `optional-dependencies` when the wheel is built."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Every dependency of numstab that no extra of the core brings, and the trained classifier."""
        metadata |= requirements(metadata["version"])


def requirements(version: str) -> dict[str, Any]:
    """`dependencies` and `optional-dependencies` of this version."""
    whole = tomllib.loads((CORE.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    chosen = tomllib.loads((CORE / "pyproject.toml").read_text("utf-8"))["tool"]["numstab"]["extras"]
    known = {name_of(each): each for each in whole["dependencies"]}
    extras = {extra: [known[name] for name in names] for extra, names in chosen.items()}
    in_an_extra = {name_of(each) for needed in extras.values() for each in needed}
    core = [each for name, each in known.items() if name not in in_an_extra]
    return {
        "dependencies": [f"numstab-model=={version}", *core],
        "optional-dependencies": extras | whole["optional-dependencies"],
    }


def name_of(requirement: str) -> str:
    """The distribution that a requirement such as "plotext<6" names."""
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return found[0]
