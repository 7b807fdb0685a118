"""The metadata of the published wheels, derived from those of the checkout: nothing is listed twice."""

import re
import tomllib
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

WHEELS = Path(__file__).resolve().parent
WHOLE = "whole"
"""The extra of numstab-core that brings all that the checkout needs."""


class PublishedMetadata(MetadataHookInterface):
    """Fills in `dependencies` and `optional-dependencies` when a wheel is built."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Those of the core, or of the whole: the core with everything, at the same version."""
        needed = of_core(metadata["version"]) if metadata["name"] == "numstab-core" else of_whole(metadata["version"])
        metadata |= needed


def of_core(version: str) -> dict[str, Any]:
    """The classifier and what the checkout needs, less what an extra brings; the extras, and one of them all."""
    checkout = project()
    chosen = tomllib.loads((WHEELS / "core" / "pyproject.toml").read_text("utf-8"))["tool"]["numstab"]["extras"]
    known = {name_of(each): each for each in checkout["dependencies"]}
    extras = {extra: [known[name] for name in names] for extra, names in chosen.items()}
    in_an_extra = dict.fromkeys(each for needed in extras.values() for each in needed)
    core = [each for each in known.values() if each not in in_an_extra]
    return {
        "dependencies": [f"numstab-model=={version}", *core],
        "optional-dependencies": extras | {WHOLE: [*in_an_extra]} | checkout["optional-dependencies"],
    }


def of_whole(version: str) -> dict[str, Any]:
    """The core of the same version with the extra `whole`; the checkout's extras."""
    return {
        "dependencies": [f"numstab-core[{WHOLE}]=={version}"],
        "optional-dependencies": project()["optional-dependencies"],
    }


def project() -> dict[str, Any]:
    """The table `project` of the checkout's pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((WHEELS.parent / "pyproject.toml").read_text("utf-8"))["project"]
    return table


def name_of(requirement: str) -> str:
    """The distribution that a requirement such as "plotext<6" names."""
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return found[0]
