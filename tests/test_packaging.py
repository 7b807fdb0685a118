"""What is shipped: the wheel is whole and runs far from the checkout, the locks lock, no file names a machine."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from qa_service.server.lifecycle import SHUTDOWN_GRACE
from qa_service.settings import SETTINGS_FILE, Settings

ROOT = Path(__file__).resolve().parent.parent

# Written so that the patterns do not find themselves.
REGISTRIES = re.compile(
    r"\bpy[p]i(\.[a-z]+)*\.(org|com|cn|net|io)\b|pythonh[o]sted\.|download\.pyt[o]rch\.|\banac[o]nda\.(org|com)"
    r"|registry\.(np[m]js|yarn)|mirrors?\.[\w.]+/|/simple/?[\s\"'`]",
    re.IGNORECASE,
)
MACHINES = re.compile(r"(?<![\w.$~})-])(/(home|Users|root|work|opt|mnt|media|private)/\w|/tmp/\w|[A-Z]:\\Users)")


def tracked(*under: str) -> list[str]:
    """The files that git knows and that are there."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", *under],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split("\0")
    return [name for name in listed if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built as `make build` does, by the locked tools."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-P", "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs Python with the wheel installed elsewhere and the checkout out of reach: -S skips the editable install."""
    target, elsewhere = tmp_path_factory.mktemp("target"), tmp_path_factory.mktemp("elsewhere")
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index",
         "--no-compile", "--target", str(target), str(wheel)],
        check=True, timeout=120, cwd=elsewhere,
    )  # fmt: skip
    path = os.pathsep.join([str(target), *dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))])
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NUMSTAB_", "PYTHON"))}
    env |= {"PYTHONPATH": path, "NUMSTAB_CACHE": str(elsewhere / "cache"), "NUMSTAB_DATA": str(elsewhere / "data")}
    env |= {"NUMSTAB_DEADLINE": "30"}

    def python(*arguments: str) -> str:
        command = [sys.executable, "-P", "-S", *arguments]
        done = subprocess.run(command, cwd=elsewhere, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = python(
        "-c",
        "import importlib.util as u, qa_service, qa_service.settings as s\n"
        "assert u.find_spec('bench') is None, 'the checkout can be imported'\n"
        "print(qa_service.__file__, s.Settings().kb, s.Settings().demos, sep='\\n')",
    )
    for line in where.splitlines():
        assert Path(line).resolve().is_relative_to(target.resolve()), line
    return python


@pytest.mark.exhaustive
def test_the_wheel_holds_one_package_whole(wheel):
    """Content under _shipped, the page's files, and nothing else beside the package."""
    inside = set(zipfile.ZipFile(wheel).namelist())
    metadata = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    assert {name.split("/")[0] for name in inside} == {"qa_service", metadata}
    content = tracked("kb", "demos")
    pages = tracked("qa_service/fronts/web/templates", "qa_service/fronts/web/static")
    assert len(content) >= 30
    assert {Path(name).parent.name for name in pages} == {"templates", "static"}
    wanted = {f"qa_service/_shipped/{name}" for name in content} | set(pages) | set(tracked("qa_service"))
    assert not wanted - inside
    assert not [name for name in inside if "__pycache__" in name]


@pytest.mark.exhaustive
def test_the_wheel_knows_its_entries(installed):
    """As many as the checkout has files, far from the checkout."""
    entries = json.loads(installed("-m", "qa_service", "entries", "--json"))
    tables = [Path(name) for name in tracked("kb") if name.endswith(".toml")]
    assert {entry["id"] for entry in entries} == {path.stem for path in tables if path.parent.name != "not_covered"}


@pytest.mark.exhaustive
def test_the_wheel_measures(installed):
    """A child of the installed package runs an experiment of the installed package."""
    evidence = json.loads(installed("-m", "qa_service", "run", "pow_vs_sum", "--param", "n=10", "--json"))
    assert evidence["status"] == "ran"
    assert evidence["metrics"]["sum"]["value"] == 15


def test_the_dockerfile_keeps_its_promises():
    """Any base, two stages, not root, a sign of health, and nothing of the checkout in the last stage."""
    lines = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8")).splitlines()
    steps = [line.split(maxsplit=1) for line in lines if re.match(r"[A-Z]+ ", line)]
    starts = [at for at, (word, _) in enumerate(steps) if word == "FROM"]
    assert steps[0][0] == "ARG"
    assert steps[0][1].startswith("BASE=")
    assert [steps[at][1].split()[0] for at in starts] == ["${BASE}", "${BASE}"]
    last = steps[starts[-1] :]
    users = [rest for word, rest in last if word == "USER"]
    assert users
    assert users[-1].split(":")[0] not in ("root", "0")
    assert [word for word, _ in last].index("USER") < [word for word, _ in last].index("CMD")
    assert any(word == "HEALTHCHECK" and "/readyz" in rest for word, rest in last)
    assert all("--from=build" in rest for word, rest in last if word in ("COPY", "ADD"))


def test_the_image_is_given_what_the_wheel_is_made_of():
    """.dockerignore lets in every file that the Dockerfile copies, and pyproject.toml names no other."""
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for names in copied for name in names.split()} == let_in
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {*wheel["only-include"], project["project"]["readme"], *project["project"]["license-files"]} <= let_in


def pins(lock: str) -> dict[tuple[str, str], frozenset[str]]:
    """(package, version) → hashes; fails on a line that pins anything less."""
    found = {}
    for line in re.sub(r" *\\\n *", " ", (ROOT / lock).read_text(encoding="utf-8")).splitlines():
        pin = re.fullmatch(r"([a-z0-9][a-z0-9-]*)==([\w.!+]+)(?: ; [^#]+?)?((?: --hash=sha256:[0-9a-f]{64})+)", line)
        assert pin, f"{lock}: {line[:80]}"
        found[pin[1], pin[2]] = frozenset(pin[3].split())
    return found


def test_both_locks_pin_everything():
    """Exactly and by hash; the smaller lock is part of the larger; torch, alone, is pinned in pyproject.toml."""
    small, large = pins("requirements.lock"), pins("requirements-dev.lock")
    assert len(small) > 50
    assert small.items() <= large.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = {re.split(r"[=<>\[ ]", each)[0] for each in project["project"]["dependencies"]}
    assert asked - {name for name, _ in small} == {"torch"}
    assert any(re.fullmatch(r"torch==[\d.]+", each) for each in project["project"]["dependencies"])
    groups = {each.partition("[")[0] for group in project["dependency-groups"].values() for each in group}
    assert groups <= {name for name, _ in large}


def test_no_file_names_a_registry_or_a_machine():
    """Whoever clones this has other ones."""
    found = []
    for name in tracked():
        text = (ROOT / name).read_bytes()
        if b"\0" not in text:
            for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
                found += [
                    f"{name}:{number}: {hit[0]}" for hit in (REGISTRIES.search(line), MACHINES.search(line)) if hit
                ]
    assert not found


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
def test_a_missing_browser_is_said_and_fails_ci(ci, status, tmp_path):
    """With neither browser nor apt-get on the path."""
    for tool in ("sh", "id", "uname", "cat", "grep"):
        (tmp_path / tool).symlink_to(next(p for p in (Path("/bin") / tool, Path("/usr/bin") / tool) if p.exists()))
    done = subprocess.run(
        [str(tmp_path / "sh"), str(ROOT / "scripts" / "browser.sh")],
        env={"PATH": str(tmp_path), "CI": ci}, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == status
    assert "apt-get install chromium fontconfig fonts-noto-cjk" in done.stderr
    assert "brew install" in done.stderr


def test_the_sbom_names_what_the_lock_pins(tmp_path):
    """Every package, its version and every hash; twice the same file."""
    texts = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        command = [sys.executable, str(ROOT / "scripts" / "sbom.py"), str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        texts.append(Path(done.stdout.strip()).read_text("utf-8"))
    assert texts[0] == texts[1]
    bom = json.loads(texts[0])
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    named = {
        (one["name"], one["version"]): {
            f"--hash=sha256:{each['content']}" for ref in one.get("externalReferences", ()) for each in ref["hashes"]
        }
        for one in bom["components"]
    }
    assert named.pop(next(pair for pair in named if pair[0] == "torch")) == set()
    assert named == {pair: set(hashes) for pair, hashes in pins("requirements.lock").items()}


@pytest.mark.parametrize(
    ("said", "status", "word"),
    [
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', 0, "0 weaknesses known in 1 packages"),
        ('{"dependencies": [{"name": "a", "skip_reason": "not found"}]}', 0, "NOT DONE for 1 of 1"),
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X-1", "fix_versions": ["2"]}]}]}', 1,
         "a 1: X-1, mended in 2"),
        ("", 0, "NOT DONE: pip-audit is not there, or its service cannot be reached"),
    ],
)  # fmt: skip
def test_an_audit_says_what_it_could_not_do(tmp_path, said, status, word):
    """Only a weakness that is known fails; a service that nobody could ask is said, not passed over."""
    double = tmp_path / "audit.py"
    double.write_text(f"print({said!r})\n")
    command = [sys.executable, str(ROOT / "scripts" / "audit.py"), sys.executable, str(double)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, word in done.stdout) == (status, True), done.stdout
    assert ("NOT DONE" in done.stdout) == ("NOT DONE" in word)


def test_the_systemd_unit_calls_commands_that_there_are():
    """And stops no sooner than the server's grace, with its settings where the server looks for them."""
    unit = (ROOT / "deploy" / "numstab.service").read_text("utf-8")
    fields = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    for name in ("ExecStartPre", "ExecStart"):
        words = fields[name].split()[1:]
        done = subprocess.run([sys.executable, "-m", "qa_service", words[0], "--help"], check=True, cwd=ROOT,
                              capture_output=True, text=True, timeout=60)  # fmt: skip
        assert all(word in done.stdout for word in words if word.startswith("--"))
    assert int(fields["TimeoutStopSec"]) > SHUTDOWN_GRACE
    assert int(fields["TimeoutStartSec"]) >= 600, "the first start trains"
    set_there = set(re.findall(r"^Environment=(\w+)=", unit, re.MULTILINE))
    assert set_there <= {*Settings.variables(), SETTINGS_FILE}
