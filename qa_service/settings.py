"""The settings, read from environment variables and from a TOML file; the environment takes precedence.

No other module reads the environment for settings.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from qa_service.errors import BadField
from qa_service.paths import bundled, cache_folder, config_folder, data_folder

SETTINGS_FILE = "NUMSTAB_SETTINGS"
"""The environment variable with the file's path; default: `settings.toml` in the platform's configuration folder."""

LOG_FORMATS = ("logfmt", "json")
SANDBOX_MODES = ("required", "off")
_ORIGIN = re.compile(r"\*|https?://(?:\*\.)?[A-Za-z0-9.-]+(?::(?:\d+|\*))?")
"""`*`, or an http(s) origin as the CSP directive frame-ancestors takes it, with `*.` or `:*` as wildcards."""
_TOML_TYPES: dict[type, tuple[str, str]] = {list: ("数组", "an array"), dict: ("表", "a table")}
_SHARED = re.compile(r"(?:redis|valkey)s?://[^/?#\s]")


def _setting(variable: str, default: Any, about: str) -> Any:
    """A dataclass field with its environment variable and meaning; a callable default is called for each instance."""
    metadata = {"variable": variable, "about": about}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings in force; immutable, passed to constructors. `variables()` lists names and meanings."""

    kb: Path = _setting("NUMSTAB_KB", lambda: bundled("kb"), "folder of entries")
    demos: Path = _setting("NUMSTAB_DEMOS", lambda: bundled("demos"), "folder of experiments; their code is run")
    cache: Path = _setting(
        "NUMSTAB_CACHE", cache_folder, "folder of cached files: vectors, classifier, encoder, chart bundle"
    )
    data: Path = _setting("NUMSTAB_DATA", data_folder, "folder of stored data: feedback, API keys")
    store: str = _setting("NUMSTAB_STORE", "", "database URL of the store; unset: SQLite in the data folder")
    shared: str = _setting(
        "NUMSTAB_SHARED",
        "",
        "address of a Valkey or Redis through which workers and machines share rates and runs; unset: none",
    )
    keep_questions: int = _setting("NUMSTAB_KEEP_QUESTIONS", 0, "days that unanswered questions are stored; 0: none")
    rate: str = _setting("NUMSTAB_RATE", "600/minute", "requests that a client may make; empty: any number")
    origins: str = _setting("NUMSTAB_ORIGINS", "", "web origins whose pages may call the API, separated by commas")
    embed: str = _setting(
        "NUMSTAB_EMBED", "", "web origins whose pages may show an entry in a frame, separated by commas; `*`: all"
    )
    hosts: str = _setting(
        "NUMSTAB_HOSTS", "", "host names by which the service may be addressed, separated by commas; empty: any"
    )
    url: str = _setting(
        "NUMSTAB_URL", "", "address at which readers reach the service, for the links in answers to chat programs"
    )
    proxies: str = _setting(
        "NUMSTAB_PROXIES", "", "addresses of proxies whose X-Forwarded-For is trusted, separated by commas"
    )
    encoder: str = _setting(
        "NUMSTAB_ENCODER", "use-multilingual", "`use-multilingual`, or a sentence-transformers model by name or folder"
    )
    threshold: float = _setting("NUMSTAB_THRESHOLD", 0.55, "confidence below which a question is not covered")
    deadline: float = _setting("NUMSTAB_DEADLINE", 5.0, "seconds an experiment may run")
    memory: int = _setting("NUMSTAB_MEMORY", 2048, "MiB an experiment may use")
    sandbox: str = _setting(
        "NUMSTAB_SANDBOX",
        "required",
        "`required`: no experiment runs unless it can be confined; `off`: unconfined, as on macOS, which cannot",
    )
    python: str = _setting(
        "NUMSTAB_PYTHON", "", "Python that runs experiments, and a reader's model in `numstab try`; this one if unset"
    )
    writer: str = _setting(
        "NUMSTAB_WRITER", "", "OpenAI-compatible address of a language model for `numstab ask --reword`; unset: none"
    )
    writer_model: str = _setting("NUMSTAB_WRITER_MODEL", "", "name of that model")
    writer_key: str = _setting("NUMSTAB_WRITER_KEY", "", "key of that address, if it needs one")
    slots: int = _setting("NUMSTAB_SLOTS", lambda: os.cpu_count() or 1, "experiments that run at once")
    cluster: str = _setting(
        "NUMSTAB_CLUSTER", "", "host:port of a Ray cluster whose machines run the experiments; empty: this machine does"
    )
    queue: int = _setting("NUMSTAB_QUEUE", 1000, "experiments that may wait; beyond that a request is refused (503)")
    runs_on_disk: int = _setting("NUMSTAB_RUNS_ON_DISK", 0, "MiB of runs cached on disk; 0: memory only")
    log: str = _setting("NUMSTAB_LOG", "logfmt", "format of the log on standard error: `logfmt` or `json`")
    log_questions: int = _setting("NUMSTAB_LOG_QUESTIONS", 0, "1: questions are logged; 0: no part of any question")
    traces: str = _setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT", "", "address of an OpenTelemetry collector, for traces; needs numstab[traces]"
    )

    def __post_init__(self) -> None:
        """Raises `BadField` for a word that is not among those allowed, or for a malformed address or origin."""
        for variable, value, allowed in (
            ("NUMSTAB_LOG", self.log, LOG_FORMATS),
            ("NUMSTAB_SANDBOX", self.sandbox, SANDBOX_MODES),
        ):
            if value not in allowed:
                raise BadField(
                    zh=f"{variable} 应当是 {' 或 '.join(allowed)}，不能是 {value!r}",
                    en=f"{variable} should be {' or '.join(allowed)}, not {value!r}",
                    field=variable,
                )

        if self.shared and not _SHARED.match(self.shared):
            raise BadField(  # without its value, which may have a password
                zh="NUMSTAB_SHARED 不是地址：应当像 redis://主机:6379/0，或以 rediss、valkey、valkeys 开头",
                en="NUMSTAB_SHARED is no address: expected such as redis://host:6379/0, or one that begins with "
                "rediss, valkey or valkeys",
                field="NUMSTAB_SHARED",
            )
        if self.writer and not re.match(r"https?://[^/]", self.writer):
            raise BadField(
                zh=f"NUMSTAB_WRITER 应当以 http:// 或 https:// 开头，不能是 {self.writer!r}",
                en=f"NUMSTAB_WRITER should begin with http:// or https://, unlike {self.writer!r}",
                field="NUMSTAB_WRITER",
            )
        for origin in self.embed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise BadField(
                    zh=f"NUMSTAB_EMBED 里的 {origin!r} 不是来源：应当像 https://blog.example，或者是 *",
                    en=f"in NUMSTAB_EMBED {origin!r} is no origin: expected such as https://blog.example, or *",
                    field="NUMSTAB_EMBED",
                )

    @property
    def embed_origins(self) -> tuple[str, ...]:
        """The origins whose pages may show an entry in a frame."""
        return tuple(word.strip() for word in self.embed.split(",") if word.strip())

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Settings from environment variables only; raises `BadField` for a value of the wrong type."""
        return cls(**_from_env(env))

    @classmethod
    def load(cls, env: Mapping[str, str]) -> "Settings":
        """Settings from the file, overridden by the environment.

        Raises `BadField` for a file that cannot be read or is not TOML, an unknown name, or an invalid value.
        """
        return cls(**(_from_file(settings_file(env)) | _from_env(env)))

    @classmethod
    def sources(cls, env: Mapping[str, str]) -> dict[str, str]:
        """Field → the source of its value: the variable's name, the file's path, or "default"."""
        file, from_file, from_env = settings_file(env), _from_file(settings_file(env)), _from_env(env)
        return {
            each.name: each.metadata["variable"]
            if each.name in from_env
            else str(file)
            if each.name in from_file
            else "default"
            for each in fields(cls)
        }

    def redacted_values(self) -> dict[str, str]:
        """Field → its value as text, without passwords and keys."""
        shown = {each.name: redact_url(str(getattr(self, each.name))) for each in fields(self)}
        return {**shown, "writer_key": "***" if self.writer_key else ""}

    @property
    def store_url(self) -> str:
        """The database URL of the store."""
        return self.store or f"sqlite:///{self.data / 'numstab.sqlite'}"

    @classmethod
    def variables(cls) -> dict[str, str]:
        """Environment variable → its meaning; README's table is tested against it."""
        return {setting.metadata["variable"]: setting.metadata["about"] for setting in fields(cls)}


def redact_url(text: str) -> str:
    """Replaces passwords and keys in a URL by ***."""
    text = re.sub(r"(://[^/@:\s]*:)[^@/\s]+@", r"\1***@", text)
    return re.sub(r"([?&](?:password|sslpassword|key|token)=)[^&\s]+", r"\1***", text)


def settings_file(env: Mapping[str, str]) -> Path | None:
    """The path of the settings file, None if there is none; raises `BadField` if it is named but missing."""
    named_path = env.get(SETTINGS_FILE)
    path = Path(named_path) if named_path else config_folder() / "settings.toml"
    try:
        exists = path.is_file()
    except OSError as error:  # no permission for a folder of the path
        why = error.strerror
        raise BadField(zh=f"{path} 读不了：{why}", en=f"{path} cannot be read: {why}", field=SETTINGS_FILE) from error
    if named_path and not exists:
        raise BadField(
            zh=f"{SETTINGS_FILE}={named_path!r}：没有这个文件",
            en=f"{SETTINGS_FILE}={named_path!r}: there is no such file",
            field=SETTINGS_FILE,
        )
    return path if exists else None


def _from_env(env: Mapping[str, str]) -> dict[str, Any]:
    """Field → value of each variable that is set; an empty one counts as unset, except for the rate: no limit."""
    values: dict[str, Any] = {}
    for setting in fields(Settings):
        text = env.get(setting.metadata["variable"])
        if text is None or (text == "" and setting.name != "rate"):
            continue
        values[setting.name] = _parse_value(setting.metadata["variable"], str(setting.type), text)
    return values


def _from_file(path: Path | None) -> dict[str, Any]:
    """Field → value of the file's settings; a relative folder is relative to the file. Raises `BadField`."""
    if path is None:
        return {}
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadField(
            zh=f"{path} 不是 TOML：{error}", en=f"{path} is no TOML: {error}", field=SETTINGS_FILE
        ) from error
    known = {setting.name: setting for setting in fields(Settings)}
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            nearest = difflib.get_close_matches(name, known, 1, cutoff=0)[0]
            raise BadField(
                zh=f"{path}：没有名为 {name!r} 的设置；最接近的是 {nearest!r}",
                en=f"{path}: there is no setting {name!r}; the nearest is {nearest!r}",
                field=name,
            )
        if not isinstance(value, str | int | float):
            zh, en = _TOML_TYPES.get(type(value), ("日期或时间", "a date or time"))
            raise BadField(
                zh=f"{path}：{name} 应当是文字或数，不能是{zh}",
                en=f"{path}: {name} should be text or a number, not {en}",
                field=name,
            )
        text = str(int(value)) if isinstance(value, bool) else str(value)
        typed = _parse_value(f"{path}: {name}", str(known[name].type), text)
        values[name] = path.parent / typed if isinstance(typed, Path) else typed
    return values


def _parse_value(variable: str, kind: str, text: str) -> Any:
    """The text as the type of a field, given as `str(field.type)`; raises `BadField`, also for a negative number."""
    types: dict[str, Any] = {"<class 'pathlib.Path'>": Path, "<class 'float'>": float, "<class 'int'>": int}
    try:
        value = types.get(kind, str)(text)
    except ValueError:
        value = None
    if value is None or (isinstance(value, int | float) and not 0 <= value < float("inf")):
        raise BadField(
            zh=f"设置 {variable}={text!r} 应当是一个非负的数",
            en=f"the setting {variable}={text!r} should be a number that is not negative",
            field=variable,
        )
    return value
