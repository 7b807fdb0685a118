"""The documents agree with the code: commands run, tables are complete, links have targets."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
from checking import each_case
from processes import TIMEOUT_SECONDS

from qa_service import errors
from qa_service.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "qa_service"
DOCUMENTS = [ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md", "CHANGELOG.md")]
DOCUMENTS += sorted((ROOT / "docs" / "decisions").glob("*.md"))


def commands() -> list[str]:
    """Every `numstab …` line of the shell blocks of the README."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("numstab ")]


@pytest.mark.parametrize("command", commands())
def test_readme_commands_run(command, terminal, cache, tmp_path, monkeypatch):
    """The commands run as written, in a checkout."""
    monkeypatch.chdir(ROOT)
    env = {"NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(tmp_path), "NUMSTAB_DEADLINE": "240"}
    result = terminal(*shlex.split(command)[1:], env=env)
    assert result.returncode == 0, result.stderr
    assert result.stdout


def test_readme_commands_are_found():
    """Without any command, the previous test would pass without checking anything."""
    assert len(commands()) >= 6


def test_readme_transcript_is_reproduced(service):
    """In both languages, the README shows the short answer with its numbers and the claims that prove it."""
    from qa_service.model import Request, Verdict
    from qa_service.presentation import prose
    from qa_service.presentation.numbers import format_number

    for document, lang in (("README.md", "en"), ("README.zh.md", "zh")):
        text = (ROOT / document).read_text(encoding="utf-8")
        question = re.search(r'make ask Q="(.+?)"', text)
        assert question
        answer = service.answer(Request(question=question[1], brief=True))
        assert answer.entry is not None
        transcript = re.search(r"```text\n(.*?)```", text, re.DOTALL)
        assert transcript
        shown = "".join(transcript[1].split())
        short = prose.fill_text(answer.entry.short[lang], answer.entry, answer.evidence, lang)
        assert "".join(short.split()) in shown
        proof = answer.evidence[0]
        for claim, verdict in zip(proof.claims, proof.verdicts, strict=True):
            if claim.proves == "short":
                value = format_number(proof.run.measured[claim.metric], lang)
                assert "".join(f"{claim.says[lang]}[{claim.metric}={value}".split()) in shown
                assert verdict is Verdict.HOLDS


def test_readme_documents_every_setting():
    """Each setting is in the table with its description from settings.py."""
    for variable, description in Settings.variables().items():
        assert f"`{variable}`" in README
        assert description.split(",")[0].split(";")[0].strip("`").replace("`", "") in README.replace("`", "")


def test_readme_documents_every_route(service, settings):
    """The README lists the routes of the API and those for operators."""
    from qa_service.app import create_app

    for path in create_app(service, settings).openapi()["paths"]:
        if path.startswith("/api/") or path in ("/livez", "/readyz", "/metrics"):
            assert path in README, path


def test_readme_documents_every_command(terminal):
    """Every command that `numstab --help` lists."""
    listed = re.findall(r"^    (\w+)  ", terminal("--help", env={}).stdout, re.MULTILINE)
    assert len(listed) > 10
    for name in listed:
        assert f"`numstab {name}" in README, name


def test_readme_documents_every_error_code():
    codes = {error.code for error in errors.BadRequest.__subclasses__()}
    assert len(codes) >= 9
    for code in codes:
        assert f"`{code}`" in README


def test_error_tree_is_complete():
    """The docstring of errors.py names each of its exceptions."""
    classes = [name for name in vars(errors) if isinstance(vars(errors)[name], type) and name[0].isupper()]
    for name in classes:
        if issubclass(vars(errors)[name], Exception):
            assert name in (errors.__doc__ or "")


@each_case("path", DOCUMENTS)
def test_relative_links_have_targets(path):
    for target in re.findall(r"\]\(([^)#\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@each_case("path", sorted(set(re.findall(r"`([\w./]+\.(?:py|js))`(?!\])", CONTRIBUTING))))
def test_modules_named_in_contributing_exist(path):
    """Each path in backticks, from qa_service/ or from the repository's root."""
    assert (PACKAGE / path).is_file() or (ROOT / path).is_file()


def test_contributing_describes_every_folder_and_file_of_the_package():
    """The table has a row for every folder and file, and every row names one that exists."""
    table = re.search(r"\| Folder or file \|.*?\n\n", CONTRIBUTING, re.DOTALL)
    assert table
    rows = re.findall(r"^\| (`.*?) \|", table[0], re.MULTILINE)
    described = {name for row in rows for name in re.findall(r"`(.+?)`", row)}
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    files = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}
    assert described == folders | files


def test_contributing_lists_the_layers_of_the_contract():
    """The layers are in the order of pyproject.toml."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = next(contract for contract in contracts["contracts"] if contract["type"] == "layers")["layers"]
    assert "```text\n" + "\n".join(layers) + "\n```" in CONTRIBUTING


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "docs" / "reliability.md"], ids=lambda path: path.name)
def test_tests_named_in_documents_exist(path):
    """A name that ends in … is the beginning of a test's name."""
    sources = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("*.py")}
    functions = re.findall(r"^def (test_\w+)", "\n".join(sources.values()), re.MULTILINE)
    for name, dots in re.findall(r"`(?:tests/)?(test_\w+(?:\.py)?)(…?)`", path.read_text(encoding="utf-8")):
        if name.endswith(".py"):
            assert name in sources
        else:
            assert any(test.startswith(name) if dots else test == name for test in functions), name


def test_make_help_lists_the_targets():
    """`make help` lists the targets for everyday use."""
    result = subprocess.run(
        ["make", "help"], capture_output=True, text=True, check=True, cwd=ROOT, timeout=TIMEOUT_SECONDS
    )
    for target in ("ask", "serve", "test", "test-all", "check", "bench", "help"):
        assert re.search(rf"^{target}\s", result.stdout, re.MULTILINE), target
