"""What is distributed: wheels that are complete without the checkout, locks that pin everything, no paths of a
machine.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from processes import TIMEOUT_SECONDS

from qa_service import __version__
from qa_service.server.lifecycle import SHUTDOWN_GRACE
from qa_service.settings import SETTINGS_FILE, Settings

ROOT = Path(__file__).resolve().parent.parent
WHEELS = ROOT / "wheels"
ABSENT = {"torch", "scipy", "sklearn", "faiss", "sentence_transformers", "transformers", "vl_convert", "fastapi",
          "jinja2", "sqlalchemy", "alembic", "prometheus_client", "limits", "ziamath", "fontTools"}  # fmt: skip
"""What the extras of the light wheel bring."""

# Written so that the patterns do not match themselves.
REGISTRIES = re.compile(
    r"\bpy[p]i(\.[a-z]+)*\.(org|com|cn|net|io)\b|pythonh[o]sted\.|download\.pyt[o]rch\.|\banac[o]nda\.(org|com)"
    r"|registry\.(np[m]js|yarn)|mirrors?\.[\w.]+/|/simple/?[\s\"'`]",
    re.IGNORECASE,
)
MACHINES = re.compile(r"(?<![\w.$~})-])(/(home|Users|root|work|opt|mnt|media|private)/\w|/tmp/\w|[A-Z]:\\Users)")


def tracked_files(*under: str) -> list[str]:
    """The files that git tracks and that exist."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", *under],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split("\0")
    return [name for name in listed if name and (ROOT / name).is_file()]


def built(project: Path, folder: Path) -> Path:
    """The wheel of a project, built with the locked tools."""
    command = [sys.executable, "-P", "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(project)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of a checkout, as `pip wheel .` and the Dockerfile build it."""
    return built(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed_python(wheel, tmp_path_factory):
    """Runs Python with the wheel installed and the checkout not importable: -S skips the editable install."""
    target, workdir = tmp_path_factory.mktemp("target"), tmp_path_factory.mktemp("workdir")
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index",
         "--no-compile", "--target", str(target), str(wheel)],
        check=True, timeout=120, cwd=workdir,
    )  # fmt: skip
    path = os.pathsep.join([str(target), *dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))])
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NUMSTAB_", "PYTHON"))}
    env |= {"PYTHONPATH": path, "NUMSTAB_CACHE": str(workdir / "cache"), "NUMSTAB_DATA": str(workdir / "data")}
    env |= {"NUMSTAB_DEADLINE": "240"}

    def python(*arguments: str) -> str:
        command = [sys.executable, "-P", "-S", *arguments]
        done = subprocess.run(command, cwd=workdir, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    paths = python(
        "-c",
        "import importlib.util as u, qa_service, qa_service.settings as s\n"
        "assert u.find_spec('bench') is None, 'the checkout can be imported'\n"
        "print(qa_service.__file__, s.Settings().kb, s.Settings().demos, sep='\\n')",
    )
    for line in paths.splitlines():
        assert Path(line).resolve().is_relative_to(target.resolve()), line
    return python


@pytest.mark.exhaustive
def test_the_wheel_contains_the_package_and_its_content(wheel):
    """Content is under _shipped, templates and static files beside their code; nothing else is in the wheel."""
    files = set(zipfile.ZipFile(wheel).namelist())
    metadata = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    assert {name.split("/")[0] for name in files} == {"numstab", "qa_service", metadata}
    content = tracked_files("kb", "demos", "watch/numstab_watch")
    assets = tracked_files("qa_service/fronts/web/templates", "qa_service/fronts/web/static")
    assert len(content) >= 30
    assert {Path(name).parent.name for name in assets} == {"templates", "static"}
    expected = {f"qa_service/_shipped/{name}" for name in content} | {*assets, *tracked_files("numstab", "qa_service")}
    assert not expected - files
    assert not [name for name in files if "__pycache__" in name]


@pytest.mark.exhaustive
def test_the_installed_package_lists_every_entry(installed_python):
    """It finds as many as the checkout has, without access to the checkout."""
    entries = json.loads(installed_python("-m", "qa_service", "entries", "--json"))
    entry_files = [Path(name) for name in tracked_files("kb") if name.endswith(".toml")]
    assert {entry["id"] for entry in entries} == {
        path.stem for path in entry_files if path.parent.name not in ("not_covered", "clues")
    }


@pytest.mark.exhaustive
def test_the_installed_package_runs_an_experiment(installed_python):
    """The child process runs an experiment of the installed package."""
    evidence = json.loads(installed_python("-m", "qa_service", "run", "pow_vs_sum", "--param", "n=10", "--json"))
    assert evidence["status"] == "ran"
    assert evidence["metrics"]["sum"]["value"] == 15


@pytest.fixture(scope="module")
def core_wheel(tmp_path_factory) -> Path:
    """The light wheel as `make build` builds it."""
    return built(WHEELS / "core", tmp_path_factory.mktemp("core"))


@pytest.fixture(scope="module")
def whole_wheel(tmp_path_factory) -> Path:
    """The wheel of numstab, which only requires the core with its extras, as `make build` builds it."""
    return built(WHEELS / "whole", tmp_path_factory.mktemp("whole"))


def requirements(wheel: Path) -> dict[str, set[str]]:
    """The requirements that a wheel states, by extra ("" for those without one)."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        metadata = archive.read(name).decode()
    found: dict[str, set[str]] = {}
    for stated in re.findall(r"^Requires-Dist: (.+)$", metadata, re.MULTILINE):
        requirement, _, marker = stated.partition(";")
        extra = re.search(r"extra == ['\"](\w+)", marker)
        found.setdefault(extra[1] if extra else "", set()).add(requirement.strip())
    return found


@pytest.mark.exhaustive
def test_the_light_wheel_has_the_files_of_a_checkout_and_fewer_requirements(wheel, core_wheel):
    """It requires nothing that measures, trains or encodes; with its extras it requires what a checkout does, and the
    model.
    """
    checkout, light = requirements(wheel), requirements(core_wheel)
    for heavy in ("torch", "scipy", "scikit-learn", "faiss-cpu", "sentence-transformers", "vl-convert-python"):
        assert not any(re.match(rf"{heavy}\b", each) for each in light[""]), heavy
        assert any(re.match(rf"{heavy}\b", each) for each in checkout[""]), heavy
    assert set.union(*light.values()) == set.union(*checkout.values()) | {f"numstab-model=={__version__}"}
    content, light_content = (
        {name for name in zipfile.ZipFile(each).namelist() if ".dist-info/" not in name} for each in (wheel, core_wheel)
    )
    assert light_content == content


@pytest.mark.exhaustive
def test_the_whole_is_built_on_the_light_wheel(wheel, whole_wheel, core_wheel):
    """It has only metadata, and requires the core of the same version with the extra `whole`."""
    assert {name.partition("/")[0] for name in zipfile.ZipFile(whole_wheel).namelist()} == {
        f"numstab-{__version__}.dist-info"
    }
    checkout, light, whole = (requirements(each) for each in (wheel, core_wheel, whole_wheel))
    assert whole == {**checkout, "": {f"numstab-core[whole]=={__version__}"}}
    assert light[""] | light["whole"] == checkout[""] | {f"numstab-model=={__version__}"}
    for each in (whole_wheel, core_wheel):
        assert any(name.endswith("licenses/LICENSE") for name in zipfile.ZipFile(each).namelist())


@pytest.mark.exhaustive
def test_the_wheels_share_no_file(whole_wheel, core_wheel):
    """Otherwise removing one would break the other: they share no path and, except for the licence, no content."""
    whole, core = (
        dict(row.split(",")[:2] for row in archive.read(name).decode().splitlines())
        for archive in map(zipfile.ZipFile, (whole_wheel, core_wheel))
        for name in archive.namelist()
        if name.endswith(".dist-info/RECORD")
    )
    assert len(core) > 500
    assert not whole.keys() & core.keys()
    shared = {path for path, digest in whole.items() if digest in core.values() and digest}
    assert {path.rpartition("/")[2] for path in shared} <= {"LICENSE", "WHEEL"}


LATER = "99.0"


@pytest.fixture(scope="module")
def index(wheel, whole_wheel, core_wheel, tmp_path_factory) -> dict[str, Path]:
    """Folders of wheels: `now` has those of this version, `later` of the next, `former` the single wheel of former
    releases.

    The packages that they require are there as wheels without any module.
    """
    folders = {name: tmp_path_factory.mktemp(name) for name in ("now", "former", "later", "source")}
    names = set.union(*requirements(wheel).values()) | {"numstab-model"}
    for number, folder in ((__version__, folders["now"]), (LATER, folders["later"])):
        for name in names:
            stand_in(re.split(r"[=<>\[ ]", name)[0], number if name == "numstab-model" else version_for(name), folder)
    shutil.copy(wheel, folders["former"])
    for each in (whole_wheel, core_wheel):
        shutil.copy(each, folders["now"])
    for name in tracked_files("wheels", "numstab", "qa_service", "kb", "demos", "watch", "pyproject.toml", "README.md",
                              "LICENSE"):  # fmt: skip
        (folders["source"] / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folders["source"] / name)
    init = folders["source"] / "qa_service" / "__init__.py"
    init.write_text(init.read_text("utf-8").replace(f'"{__version__}"', f'"{LATER}"'), "utf-8")
    for name in ("whole", "core"):
        shutil.copy(built(folders["source"] / "wheels" / name, tmp_path_factory.mktemp(name)), folders["later"])
    return folders


def version_for(requirement: str) -> str:
    """A version that fits a requirement such as "plotext<6"."""
    stated = re.search(r"(==|<|>=)([\d.]+)", requirement)
    if stated is None:
        return "1"
    return "0" if stated[1] == "<" else stated[2]


def stand_in(name: str, version: str, folder: Path) -> None:
    """Writes a wheel without any module, so that pip finds a requirement installed."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


class Environment:
    """A virtual environment that starts empty; pip installs our wheels there, and other packages come from the tests'
    own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)

    def pip(self, command: str, *arguments: str) -> None:
        """Runs a pip command on the environment, and asserts that it succeeds."""
        options = ["--yes"] if command == "uninstall" else ["--quiet", "--no-index"]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "--isolated", "--python", str(self.folder / "bin" / "python"), command,
             *options, *arguments],
            capture_output=True, text=True, check=False, timeout=240, cwd=self.folder,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def numstab(self, *arguments: str, command: str = "numstab") -> str:
        """What a command of this environment prints."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("NUMSTAB_", "PYTHON"))}
        env |= {"PYTHONPATH": sysconfig.get_path("purelib"), "NUMSTAB_CACHE": str(self.folder / "cache")}
        done = subprocess.run([str(self.folder / "bin" / command), *arguments], env=env, cwd=self.folder,
                              capture_output=True, text=True, check=False, timeout=120)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def works(self, version: str = __version__, command: str = "numstab") -> bool:
        """Whether numstab there has the right version and all its entries."""
        entries = {
            path.stem for path in (ROOT / "kb").rglob("*.toml") if path.parent.name not in ("not_covered", "clues")
        }
        return (
            self.numstab("--version", command=command).split()[1] == version
            and {each["id"] for each in json.loads(self.numstab("entries", "--json", command=command))} == entries
        )

    def ours(self) -> list[Path]:
        """All files of our packages that are installed there."""
        (site,) = (self.folder / "lib").glob("python*/site-packages")
        scripts = [path for path in (self.folder / "bin").iterdir() if path.name.startswith("numstab")]
        return [*scripts, *site.glob("numstab*/**/*"), *site.glob("qa_service/**/*")]


@pytest.fixture
def environment(tmp_path) -> Environment:
    return Environment(tmp_path / "env")


@pytest.mark.exhaustive
@pytest.mark.parametrize("first", [(), ("numstab-core",)], ids=["the whole at once", "the core before"])
def test_the_whole_is_installed_on_the_core_and_removed_without_it(environment, index, first):
    """Tested in either order; when both are removed, nothing is left."""
    found = ("--find-links", str(index["now"]))
    for name in (*first, "numstab"):
        environment.pip("install", *found, name)
        assert environment.works()
    environment.pip("uninstall", "numstab")
    assert environment.works(command="numstab-core")
    environment.pip("uninstall", "numstab-core", "numstab-model")
    assert environment.ours() == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["numstab", "numstab-core"])
def test_an_upgrade_takes_both(environment, index, name):
    """Upgrading numstab also upgrades numstab-core; upgrading only the core does not install numstab."""
    environment.pip("install", "--find-links", str(index["now"]), name)
    environment.pip("install", "--find-links", str(index["later"]), "--upgrade", name)
    assert environment.works(LATER)


@pytest.mark.exhaustive
def test_a_whole_with_files_of_its_own_is_removed_first(environment, index):
    """docs/installing.md says so, as pip would otherwise remove its files after it has written those of the core."""
    environment.pip("install", "--find-links", str(index["former"]), "--find-links", str(index["now"]), "--no-deps",
                    str(next(index["former"].glob("*.whl"))))  # fmt: skip
    assert environment.works()
    environment.pip("uninstall", "numstab")
    environment.pip("install", "--find-links", str(index["later"]), "numstab")
    assert environment.works(LATER)


@pytest.fixture(scope="module")
def light_python(core_wheel, tmp_path_factory):
    """A function that runs `numstab` of the light wheel in a Python that cannot import what its extras bring."""
    target, folder = tmp_path_factory.mktemp("light"), tmp_path_factory.mktemp("light-work")
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index",
         "--no-compile", "--target", str(target), str(core_wheel)], check=True, timeout=120, cwd=folder,
    )  # fmt: skip
    path = os.pathsep.join([str(target), *dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))])
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NUMSTAB_", "PYTHON"))}
    env |= {"PYTHONPATH": path, "NUMSTAB_DATA": str(folder / "data"), "NUMSTAB_CACHE": str(folder / "cache")}
    toys = ROOT / "tests" / "toys"
    env |= {"NUMSTAB_KB": str(toys / "kb"), "NUMSTAB_DEMOS": str(toys / "demos")}
    start = (
        "import importlib.abc, sys\n"
        "class Absent(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {ABSENT!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from qa_service.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )

    def run(*arguments: str, light: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-S", *(["-c", start] if light else ["-m", "qa_service"]), *arguments]
        return subprocess.run(
            command, cwd=folder, env=env | more, capture_output=True, text=True, timeout=120, check=False
        )

    done = run("prepare", "--export", str(folder / "dist"), light=False)
    assert done.returncode == 0, done.stderr
    (model,) = (folder / "dist").glob("*.whl")
    taken = run("prepare", "--from", str(model), NUMSTAB_CACHE=str(folder / "light-cache"))
    assert taken.returncode == 0, taken.stderr
    env["NUMSTAB_CACHE"] = str(folder / "light-cache")
    return run


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("command", "status", "says"),
    [
        (("ask", "counting numbers two", "--no-run"), 0, "counting"),
        (("ask", "counting numbers two"), 0, "✓"),
        (("entries", "--json"), 0, '"counting"'),
        (("experiments",), 0, "counts"),
        (("settings",), 0, "python"),
        (("serve", "--lang", "en"), 2, "numstab-core[serve]"),
        (("gaps", "--lang", "zh"), 2, "numstab-core["),
    ],
)
def test_the_light_wheel_works_without_what_it_leaves_out(light_python, command, status, says):
    """Texts work, and runs in a Python that has torch; features that need an extra name it."""
    done = light_python(*command, NUMSTAB_PYTHON=sys.executable, NUMSTAB_DEADLINE="60")
    assert done.returncode == status, done.stdout + done.stderr
    assert says in done.stdout + done.stderr


def test_the_dockerfile_builds_in_two_stages_and_runs_unprivileged():
    """Any base image can be set; there is a health check; the last stage copies only from the first."""
    lines = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8")).splitlines()
    steps = [line.split(maxsplit=1) for line in lines if re.match(r"[A-Z]+ ", line)]
    stages = [index for index, (word, _) in enumerate(steps) if word == "FROM"]
    assert steps[0][0] == "ARG"
    assert steps[0][1].startswith("BASE=")
    assert [steps[index][1].split()[0] for index in stages] == ["${BASE}", "${BASE}"]
    last = steps[stages[-1] :]
    users = [rest for word, rest in last if word == "USER"]
    assert users
    assert users[-1].split(":")[0] not in ("root", "0")
    assert [word for word, _ in last].index("USER") < [word for word, _ in last].index("CMD")
    assert any(word == "HEALTHCHECK" and "/readyz" in rest for word, rest in last)
    assert all("--from=build" in rest for word, rest in last if word in ("COPY", "ADD"))


def test_dockerignore_admits_what_the_wheel_is_built_from():
    """.dockerignore admits exactly the files that the Dockerfile copies; pyproject.toml names no other."""
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for names in copied for name in names.split()} == admitted
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {*wheel["only-include"], project["project"]["readme"], *project["project"]["license-files"]} <= admitted


def pinned_hashes(lock: str) -> dict[tuple[str, str], frozenset[str]]:
    """(package, version) → hashes; fails on a line that pins anything less."""
    hashes = {}
    for line in re.sub(r" *\\\n *", " ", (ROOT / lock).read_text(encoding="utf-8")).splitlines():
        pin = re.fullmatch(r"([a-z0-9][a-z0-9-]*)==([\w.!+]+)(?: ; [^#]+?)?((?: --hash=sha256:[0-9a-f]{64})+)", line)
        assert pin, f"{lock}: {line[:80]}"
        hashes[pin[1], pin[2]] = frozenset(pin[3].split())
    return hashes


def test_both_locks_pin_versions_and_hashes():
    """The smaller lock is part of the larger; torch alone is pinned in pyproject.toml instead."""
    small, large = pinned_hashes("requirements.lock"), pinned_hashes("requirements-dev.lock")
    assert len(small) > 50
    assert small.items() <= large.items()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    required = {re.split(r"[=<>\[ ]", each)[0] for each in project["project"]["dependencies"]}
    assert required - {name for name, _ in small} == {"torch"}
    assert "torch>=2.4" in project["project"]["dependencies"]
    assert re.fullmatch(r"torch==[\d.]+", project["tool"]["numstab"]["torch"])
    groups = {each.partition("[")[0] for group in project["dependency-groups"].values() for each in group}
    assert groups <= {name for name, _ in large}


def test_no_file_names_a_registry_or_a_machine():
    """No tracked file names a package registry or an absolute path of a machine."""
    found = []
    for name in tracked_files():
        text = (ROOT / name).read_bytes()
        if b"\0" not in text:
            for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
                found += [
                    f"{name}:{number}: {hit[0]}" for hit in (REGISTRIES.search(line), MACHINES.search(line)) if hit
                ]
    assert not found


@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 1)])
def test_a_missing_browser_is_reported_and_fails_ci(ci, status, tmp_path):
    """The script runs with neither a browser nor apt-get on its PATH."""
    for tool in ("sh", "id", "uname", "cat", "grep"):
        (tmp_path / tool).symlink_to(next(p for p in (Path("/bin") / tool, Path("/usr/bin") / tool) if p.exists()))
    done = subprocess.run(
        [str(tmp_path / "sh"), str(ROOT / "scripts" / "browser.sh")],
        env={"PATH": str(tmp_path), "CI": ci}, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    assert done.returncode == status
    assert "apt-get install chromium fontconfig fonts-noto-cjk" in done.stderr
    assert "brew install" in done.stderr


def test_the_sbom_lists_what_the_lock_pins(tmp_path):
    """It has every package with its version and hashes, and is the same each time."""
    texts = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        command = [sys.executable, str(ROOT / "scripts" / "sbom.py"), str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        texts.append(Path(done.stdout.strip()).read_text("utf-8"))
    assert texts[0] == texts[1]
    bom = json.loads(texts[0])
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    components = {
        (component["name"], component["version"]): {
            f"--hash=sha256:{each['content']}"
            for ref in component.get("externalReferences", ())
            for each in ref["hashes"]
        }
        for component in bom["components"]
    }
    assert components.pop(next(pair for pair in components if pair[0] == "torch")) == set()
    assert components == {pair: set(hashes) for pair, hashes in pinned_hashes("requirements.lock").items()}


@pytest.mark.parametrize(
    ("report", "status", "message"),
    [
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', 0, "0 vulnerabilities known in 1 packages"),
        ('{"dependencies": [{"name": "a", "skip_reason": "not found"}]}', 2, "NOT DONE for 1 of 1"),
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X-1", "fix_versions": ["2"]}]}]}', 1,
         "a 1: X-1, fixed in 2"),
        ("", 2, "NOT DONE: pip-audit is not there, or its service cannot be reached"),
    ],
)  # fmt: skip
def test_the_audit_reports_what_it_could_not_check(tmp_path, report, status, message):
    """Known vulnerabilities fail it, and so do packages or services that could not be checked."""
    fake_audit = tmp_path / "audit.py"
    fake_audit.write_text(f"print({report!r})\n")
    command = [sys.executable, str(ROOT / "scripts" / "audit.py"), sys.executable, str(fake_audit)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    assert (done.returncode, message in done.stdout) == (status, True), done.stdout
    assert ("NOT DONE" in done.stdout) == ("NOT DONE" in message)


def test_the_systemd_unit_uses_existing_commands_and_settings():
    """Its stop timeout exceeds the server's grace period, and its start timeout suffices for training."""
    unit = (ROOT / "deploy" / "numstab.service").read_text("utf-8")
    fields = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    for name in ("ExecStartPre", "ExecStart"):
        arguments = fields[name].split()[1:]
        done = subprocess.run([sys.executable, "-m", "qa_service", arguments[0], "--help"], check=True, cwd=ROOT,
                              capture_output=True, text=True, timeout=TIMEOUT_SECONDS)  # fmt: skip
        assert all(word in done.stdout for word in arguments if word.startswith("--"))
    assert int(fields["TimeoutStopSec"]) > SHUTDOWN_GRACE
    assert int(fields["TimeoutStartSec"]) >= 600, "the first start trains"
    variables = set(re.findall(r"^Environment=(\w+)=", unit, re.MULTILINE))
    assert variables <= {*Settings.variables(), SETTINGS_FILE}
