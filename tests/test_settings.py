"""What an operator sets, from the environment and a file, and what of it is shown."""

import json
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from qa_service.__main__ import main
from qa_service.errors import BadField
from qa_service.settings import SETTINGS_FILE, Settings

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def written(tmp_path):
    """Writes a file of settings and gives the environment that names it."""

    def write(text: str, **env: str) -> dict[str, str]:
        (tmp_path / "settings.toml").write_text(text, "utf-8")
        return {SETTINGS_FILE: str(tmp_path / "settings.toml"), **env}

    return write


def test_the_file_counts_and_the_environment_wins(written, tmp_path):
    """Numbers, words, folders relative to the file; what neither says has its default."""
    env = written('threshold = 0.7\nslots = 3\nkb = "my"\nlog = "json"\nlog_questions = true', NUMSTAB_SLOTS="5")
    settings = Settings.load(env)
    assert (settings.threshold, settings.slots, settings.log, settings.log_questions) == (0.7, 5, "json", 1)
    assert settings.kb == tmp_path / "my"
    assert settings.queue == Settings().queue
    sources = Settings.sources(env)
    assert (sources["slots"], sources["threshold"], sources["queue"]) == (
        "NUMSTAB_SLOTS",
        env[SETTINGS_FILE],
        "default",
    )


def test_the_platforms_folder_is_looked_in(tmp_path, monkeypatch):
    """Without NUMSTAB_SETTINGS; without a file there, defaults."""
    monkeypatch.setattr("qa_service.settings.config_folder", lambda: tmp_path)
    assert Settings.load({}).queue == Settings().queue
    (tmp_path / "settings.toml").write_text("queue = 7")
    assert Settings.load({}).queue == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("treshold = 1", "'treshold'; the nearest is 'threshold'"),
        ("kepp_questions = 1", "'kepp_questions'; the nearest is 'keep_questions'"),
        ('deadline = "soon"', "deadline='soon' should be a number"),
        ("slots = [1]", "slots='' should be a number"),
        ("slots = 1.5", "slots='1.5' should be a number"),
        ("queue = -1", "queue='-1' should be a number that is not negative"),
        ('log = "xml"', "NUMSTAB_LOG should be logfmt or json, not 'xml'"),
        ("slots = ", "is no TOML"),
    ],
)
def test_what_a_file_may_not_hold_is_named(written, text, said):
    """With the file, the name and what is allowed."""
    with pytest.raises(BadField) as refused:
        Settings.load(written(text))
    assert said in refused.value.en
    assert refused.value.zh != refused.value.en


def test_a_file_that_is_named_must_be_there(tmp_path, capsys):
    env = {SETTINGS_FILE: str(tmp_path / "none.toml")}
    assert main(["settings"], env) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_a_file_out_of_reach_is_said_and_no_traceback(monkeypatch, capsys):
    """A folder on the way that we may not enter, as a unit's credentials can be."""

    def refuse(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    assert main(["settings"], {SETTINGS_FILE: "credentials/settings.toml"}) == 2
    assert "settings.toml cannot be read: Permission denied" in capsys.readouterr().err


def test_what_is_in_force_is_shown_without_secrets(written, capsys):
    """Value and source of every setting; no password, however the URL holds it."""
    env = written('store = "postgresql+psycopg://me:s3cret@db/numstab?sslpassword=hid3"')
    assert main(["settings", "--json"], env) == 0
    out = capsys.readouterr().out
    assert "s3cret" not in out
    assert "hid3" not in out
    shown = json.loads(out)
    assert set(shown) == {each.name for each in fields(Settings)}
    assert shown["store"] == {
        "value": "postgresql+psycopg://me:***@db/numstab?sslpassword=***",
        "from": env[SETTINGS_FILE],
    }
    assert main(["settings"], env) == 0
    out = capsys.readouterr().out
    assert "s3cret" not in out
    assert any(line.startswith("slots") and line.endswith("(default)") for line in out.splitlines())


def test_every_setting_is_documented():
    """Each variable has a row of the table; its name in the file is the variable's, or stands in the row."""
    readme = (ROOT / "README.md").read_text("utf-8")
    rows = [line for line in readme.splitlines() if line.startswith("| `")]
    for each in fields(Settings):
        variable = each.metadata["variable"]
        row = next((row for row in rows if f"`{variable}`" in row), None)
        assert row, variable
        assert each.name == variable.removeprefix("NUMSTAB_").lower() or f"`{each.name}`" in row
    assert SETTINGS_FILE in readme


def test_reading_settings_imports_nothing_heavy():
    """Every child process and every command begins with it."""
    import subprocess

    code = (
        "import sys, qa_service.settings; print({'sqlalchemy', 'numpy', 'opentelemetry', 'fastapi'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    assert done.stdout.strip() == "set()"
