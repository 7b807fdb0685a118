"""Writes the SBOM of the wheel as CycloneDX 1.6: every package of requirements.lock with its hashes, and torch.

python3 scripts/sbom.py FOLDER     writes FOLDER/numstab-VERSION.cdx.json beside the wheel

Standard library only. Reproducible: the same inputs give the same file, including its serial number.
"""

import json
import re
import sys
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def components() -> list[dict[str, Any]]:
    """A component for each pin of the lock, and for torch, which pyproject.toml pins without a hash (decision 2)."""
    lock = re.sub(r" *\\\n *", " ", (ROOT / "requirements.lock").read_text("utf-8"))
    found = [_component(*pin) for pin in re.findall(r"^([a-z0-9-]+)==([\w.!+]+)(.*)$", lock, re.MULTILINE)]
    torch = re.search(r"torch==([\d.]+)", (ROOT / "pyproject.toml").read_text("utf-8"))
    assert torch, "pyproject.toml pins torch exactly"
    return sorted([*found, _component("torch", torch[1], "")], key=lambda one: str(one["bom-ref"]))


def bom() -> dict[str, Any]:
    """The SBOM as a JSON object."""
    version = re.search(r'__version__ = "(.+)"', (ROOT / "qa_service" / "__init__.py").read_text("utf-8"))
    assert version, "qa_service says its version"
    parts = components()
    serial = uuid.uuid5(uuid.NAMESPACE_URL, version[1] + json.dumps(parts))
    application = {"type": "application", "bom-ref": "numstab", "name": "numstab", "version": version[1],
           "purl": f"pkg:pypi/numstab@{version[1]}", "licenses": [{"license": {"id": "MIT"}}]}  # fmt: skip
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": application},
        "components": parts,
        "dependencies": [{"ref": "numstab", "dependsOn": [one["bom-ref"] for one in parts]}],
    }


def _component(name: str, version: str, rest: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{version}"
    component: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if hashes := re.findall(r"--hash=sha256:([0-9a-f]{64})", rest):
        # `hashes` of a component are those of one file, but the lock has one file for each platform
        component["externalReferences"] = [
            {"type": "distribution", "url": purl, "hashes": [{"alg": "SHA-256", "content": one} for one in hashes]}
        ]
    if marker := re.search(r";\s*(.*?)\s*(?:--hash|$)", rest):
        component["properties"] = [{"name": "numstab:marker", "value": marker[1]}]
    return component


if __name__ == "__main__":
    document = bom()
    path = Path(sys.argv[1]) / f"numstab-{document['metadata']['component']['version']}.cdx.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    print(path)
