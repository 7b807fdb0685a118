"""What clients use to find and describe the MCP server: the registry's file, the skill, the document."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from processes import TIMEOUT_SECONDS

from qa_service import __version__
from qa_service.fronts.mcp.prompts import PROMPTS
from qa_service.fronts.mcp.resources import INDEXES, TEMPLATES
from qa_service.fronts.mcp.tools import TOOLS
from qa_service.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SKILL = (ROOT / "skills" / "numstab" / "SKILL.md").read_text("utf-8")
DOCUMENT = (ROOT / "docs" / "mcp.md").read_text("utf-8")


def test_the_registrys_file_names_this_version_and_our_settings():
    described = json.loads((ROOT / "server.json").read_text("utf-8"))
    (package,) = described["packages"]
    assert described["version"] == package["version"] == __version__
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", described["name"])
    assert len(described["description"]) <= 100
    assert [argument["value"] for argument in package["packageArguments"]] == ["mcp"]
    assert {each["name"] for each in package["environmentVariables"]} <= set(Settings.variables())


def test_the_registrys_package_is_one_that_we_build_and_proves_that_it_is_ours():
    """The package has a command of its own name, which `uvx` starts, and its README contains the server's name in the
    registry.
    """
    described = json.loads((ROOT / "server.json").read_text("utf-8"))
    (package,) = described["packages"]
    project = tomllib.loads((ROOT / "wheels" / "core" / "pyproject.toml").read_text("utf-8"))["project"]
    assert package["identifier"] == project["name"] in project["scripts"]
    readme = (ROOT / "wheels" / "core" / project["readme"]).read_text("utf-8")
    assert f"<!-- mcp-name: {described['name']} -->" in readme


def test_the_skill_is_described_within_its_limits_and_names_every_tool():
    head, _, body = SKILL.removeprefix("---\n").partition("\n---\n")
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    assert set(fields) == {"name", "description"}
    assert fields["name"] == "numstab"
    assert len(fields["description"]) <= 1024
    assert all(f"`{name}`" in body for name in TOOLS)


def commands() -> list[str]:
    """The commands of the skill that need no trained classifier."""
    blocks = re.findall(r"```sh\n(.*?)```", SKILL, re.DOTALL)
    lines = (line.strip() for block in blocks for line in block.splitlines() if line.strip())
    return [line for line in lines if not line.startswith("numstab ask")]


@pytest.mark.parametrize("command", commands())
def test_the_skills_commands_run(command, terminal, cache, tmp_path):
    """Every skill command exits 0; --seeds is cut to 1 to save time."""
    command = re.sub(r"--seeds \d+", "--seeds 1", command)
    env = {"NUMSTAB_CACHE": str(cache), "NUMSTAB_DATA": str(tmp_path), "NUMSTAB_DEADLINE": "240"}
    result = terminal(*shlex.split(command)[1:], env=env)
    assert result.returncode == 0, result.stderr
    assert result.stdout


def test_the_skill_has_commands():
    """Without commands in the skill, the previous test would pass without running any."""
    assert len(commands()) >= 3


def test_other_commands_do_not_import_the_protocol():
    code = (
        "import sys\n"
        "from qa_service.app import fronts\n"
        "assert any(front.__name__.endswith('.mcp') for front in fronts())\n"
        "heavy = {'mcp', 'mcp_types', 'starlette', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=TIMEOUT_SECONDS)


def test_the_document_lists_all_there_is():
    """The document on MCP names every tool, resource and prompt of the server."""
    for name in (*TOOLS, *PROMPTS, *INDEXES, *(template.uri for template in TEMPLATES)):
        assert f"`{name}`" in DOCUMENT
