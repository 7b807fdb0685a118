"""The distribution `numstab-watch`: it can be built, contains only its package, and works alone."""

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from qa_service.paths import watch_folder

WATCH = Path(__file__).resolve().parent.parent.parent / "watch"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-P", "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(WATCH)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_only_the_package(wheel):
    files = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert files == {f"numstab_watch/{each.name}" for each in (WATCH / "numstab_watch").glob("*.py")}
    assert wheel.name.startswith("numstab_watch-0.1.0-")


def test_the_wheel_needs_torch_alone(wheel, tmp_path):
    """Installed into a folder without the checkout, it records and imports neither trainers nor numstab."""
    install = [
        sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index",
        "--no-compile", "--target", str(tmp_path / "site"), str(wheel),
    ]  # fmt: skip
    subprocess.run(install, check=True, timeout=120, cwd=tmp_path)
    program = """
import sys, torch
from numstab_watch import watch
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
with watch(model, optimizer, path="trace.jsonl"):
    for step in range(5):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
others = {"transformers", "accelerate", "lightning", "pytorch_lightning", "qa_service", "numpy.testing"}
print(sorted(others & sys.modules.keys()), len(open("trace.jsonl").read().splitlines()) > 10)
"""
    path = os.pathsep.join([str(tmp_path / "site"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-P", "-S", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False,
        timeout=120, env=environment | {"PYTHONPATH": path},
    )  # fmt: skip
    assert done.stdout.strip() == "[] True", done.stderr


def test_it_depends_on_torch_alone():
    project = tomllib.loads((WATCH / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dependencies"] == ["torch>=2.4"]


def test_a_checkout_has_the_package():
    assert (watch_folder() / "numstab_watch" / "__init__.py").is_file()
