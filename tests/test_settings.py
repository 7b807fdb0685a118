"""Settings from the environment and from a file, and how they are shown."""

import json
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from processes import TIMEOUT_SECONDS

from qa_service.__main__ import main
from qa_service.errors import BadField
from qa_service.settings import SETTINGS_FILE, Settings

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def settings_file(tmp_path):
    """Writes a settings file and returns the environment that names it."""

    def write(text: str, **env: str) -> dict[str, str]:
        (tmp_path / "settings.toml").write_text(text, "utf-8")
        return {SETTINGS_FILE: str(tmp_path / "settings.toml"), **env}

    return write


def test_environment_variables_override_the_settings_file(settings_file, tmp_path):
    """Folders are relative to the file; a setting in neither has its default."""
    env = settings_file('threshold = 0.7\nslots = 3\nkb = "my"\nlog = "json"\nlog_questions = true', NUMSTAB_SLOTS="5")
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


def test_the_settings_file_is_read_from_the_config_folder(tmp_path, monkeypatch):
    """The folder is used if NUMSTAB_SETTINGS is not set; without a file there, defaults apply."""
    monkeypatch.setattr("qa_service.settings.config_folder", lambda: tmp_path)
    assert Settings.load({}).queue == Settings().queue
    (tmp_path / "settings.toml").write_text("queue = 7")
    assert Settings.load({}).queue == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("treshold = 1", "'treshold'; the nearest is 'threshold'"),
        ("kepp_questions = 1", "'kepp_questions'; the nearest is 'keep_questions'"),
        ('deadline = "soon"', "deadline='soon' should be a number"),
        ("slots = [1]", "slots should be text or a number, not an array"),
        ('origins = ["https://a.example"]', "origins should be text or a number, not an array"),
        ("[kb]", "kb should be text or a number, not a table"),
        ("slots = 1.5", "slots='1.5' should be a number"),
        ("queue = -1", "queue='-1' should be a number that is not negative"),
        ('log = "xml"', "NUMSTAB_LOG should be logfmt or json, not 'xml'"),
        ("slots = ", "is no TOML"),
    ],
)
def test_invalid_settings_files_are_rejected(settings_file, text, message):
    """The message names the setting and what is allowed."""
    with pytest.raises(BadField) as rejected:
        Settings.load(settings_file(text))
    assert message in rejected.value.en
    assert rejected.value.zh != rejected.value.en


def test_a_missing_settings_file_is_an_error(tmp_path, capsys):
    env = {SETTINGS_FILE: str(tmp_path / "none.toml")}
    assert main(["settings"], env) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_an_unreadable_settings_file_is_reported_without_a_traceback(monkeypatch, capsys):
    """A folder on its path may deny access, as that of a systemd unit's credentials can."""

    def deny(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", deny)
    assert main(["settings"], {SETTINGS_FILE: "credentials/settings.toml"}) == 2
    assert "settings.toml cannot be read: Permission denied" in capsys.readouterr().err


def test_settings_are_shown_without_secrets(settings_file, capsys):
    """Each has its value and its source; passwords are masked wherever the URL holds them."""
    env = settings_file('store = "postgresql+psycopg://me:s3cret@db/numstab?sslpassword=hid3"')
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
    """The README's table has a row for each variable, with the name in the file where that differs."""
    readme = (ROOT / "README.md").read_text("utf-8")
    rows = [line for line in readme.splitlines() if line.startswith("| `")]
    for each in fields(Settings):
        variable = each.metadata["variable"]
        row = next((row for row in rows if f"`{variable}`" in row), None)
        assert row, variable
        assert each.name == variable.removeprefix("NUMSTAB_").lower() or f"`{each.name}`" in row
    assert SETTINGS_FILE in readme


def test_the_settings_module_imports_nothing_heavy():
    """Every child process and every command imports it."""
    import subprocess

    code = (
        "import sys, qa_service.settings; print({'sqlalchemy', 'numpy', 'opentelemetry', 'fastapi'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=TIMEOUT_SECONDS
    )
    assert done.stdout.strip() == "set()"
