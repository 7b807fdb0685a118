"""API keys: shown once when they are created, stored as hashes, each with the scopes that it allows.

They are stored in a file of the data folder or, if several machines share the store, in its database.
"""

import hashlib
import logging
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from qa_service.errors import BadField, StoreUnavailable
from qa_service.files import write_atomically
from qa_service.settings import Settings

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from qa_service.store import Store

Scope = Literal["read", "ask", "operate"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""`read`: GET requests; `ask`: also questions, runs and feedback; `operate`: metrics and the reasons in /readyz."""
_IMPLIED: Mapping[Scope, tuple[Scope, ...]] = {"read": ("read",), "ask": ("ask", "read"), "operate": ("operate",)}
API_KEY_PREFIX = "nst_"
_REFRESH_SECONDS, _RETRY_SECONDS = 1.0, 5.0  # between two readings of the database; after one that failed
_FIRST_READ_SECONDS = 1.0  # that a starting service waits for the first reading


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key's name, scopes and SHA-256: 256 random bits need no slower hash."""

    name: str
    scopes: tuple[Scope, ...]
    sha256: str
    made: str
    """The time of creation, in ISO 8601."""

    def allows(self, scope: Scope) -> bool:
        """Whether its scopes include or imply this one."""
        return any(scope in _IMPLIED[held] for held in self.scopes)


class ApiKeyStore:
    """The keys of a data folder; several processes may read while one writes.

    With a `database`, for machines that share a PostgreSQL, new keys are stored there; those of the folder remain valid
    on this machine.
    """

    def __init__(self, folder: Path, database: "Store | None" = None) -> None:
        self._path = folder / "keys.json"
        self._read: tuple[tuple[int, int], dict[str, ApiKey]] | None = None
        self._database = database
        self._shared: dict[str, ApiKey] = {}
        self._refreshed = threading.Event()

    @classmethod
    def of(cls, settings: Settings) -> "ApiKeyStore":
        """The keys of a service with these settings: in the store's database, unless that is SQLite, a local file."""
        if not settings.store or settings.store.startswith("sqlite"):
            return cls(settings.data)
        from qa_service.store import Store

        return cls(settings.data, Store(settings.store))

    def __len__(self) -> int:
        return len(self.all())

    def all(self) -> dict[str, ApiKey]:
        """SHA-256 → key, read anew. Raises `BadField` if the file is damaged, and `StoreUnavailable`."""
        self.refresh()
        return self._in_file() | self._shared

    def refresh(self) -> None:
        """Reads the keys of the database, if there is one; raises `StoreUnavailable`."""
        if self._database is not None:
            self._shared = {row["sha256"]: _from_row(row) for row in self._database.api_keys()}
            self._refreshed.set()

    @contextmanager
    def refreshing(self) -> Iterator[None]:
        """For the block, reads the database every second in a thread, so that `find` sees what other machines change.

        While the database cannot be reached, the keys that were read last remain valid.
        """
        if self._database is None:
            yield
            return
        ended = threading.Event()
        thread = threading.Thread(target=self._keep_refreshing, args=(ended,), daemon=True, name="keys")
        thread.start()
        self._refreshed.wait(_FIRST_READ_SECONDS)
        try:
            yield
        finally:
            ended.set()
            thread.join(_REFRESH_SECONDS)
            self.close()

    def close(self) -> None:
        """Closes the connections to the database; the next use opens new ones."""
        if self._database is not None:
            self._database.close()

    def find(self, secret: str) -> ApiKey | None:
        """The key with this secret, or None. It is looked up by its hash, so that no timing depends on stored secrets.

        While the file is damaged, none of its keys is valid. Does not query the database.
        """
        found = _hash(secret)
        try:
            key = self._in_file().get(found)
        except BadField as error:
            logging.getLogger("numstab").error("%s", error)  # noqa: TRY400
            key = None
        return key or self._shared.get(found)

    def add(self, name: str, scopes: tuple[Scope, ...]) -> str:
        """Adds a key and returns its secret; raises `BadField` if the name has a key, and `StoreUnavailable`."""
        secret = API_KEY_PREFIX + secrets.token_urlsafe(32)
        made = datetime.now(UTC).isoformat(timespec="seconds")
        key = ApiKey(name=name, scopes=scopes, sha256=_hash(secret), made=made)
        if any(each.name == name for each in self.all().values()) or not self._keep(key):
            raise BadField(zh=f"{name!r} 已经有密钥；用 rotate 更换", en=f"{name!r} has a key; rotate it", field="name")
        return secret

    def revoke(self, name: str) -> ApiKey:
        """Deletes the key of a name and returns it; raises `BadField` if there is none, and `StoreUnavailable`."""
        keys = self.all().values()
        revoked = next((key for key in keys if key.name == name), None)
        if revoked is None:
            names = ", ".join(sorted(key.name for key in keys))
            raise BadField(
                zh=f"{name!r} 没有密钥。有密钥的：{names}", en=f"{name!r} has no key. There are: {names}", field="name"
            )
        kept = [key for key in self._in_file().values() if key.name != name]
        if len(kept) < len(self._in_file()):
            self._write(kept)
        if self._database is not None:
            self._database.delete_api_key(name)
            self.refresh()
        return revoked

    def rotate(self, name: str) -> str:
        """Replaces the key of a name by a new one with the same scopes, and returns its secret."""
        return self.add(name, self.revoke(name).scopes)

    def _in_file(self) -> dict[str, ApiKey]:
        """The keys of the folder, read again when the file has changed. Raises `BadField`."""
        try:
            about = self._path.stat()
        except OSError:
            return {}
        stamp = (about.st_mtime_ns, about.st_size)
        if self._read is None or self._read[0] != stamp:
            try:
                keys = _file_schema().validate_json(self._path.read_bytes())
            except (OSError, ValueError) as error:
                why = type(error).__name__
                raise BadField(
                    zh=f"{self._path} 不是密钥文件（{why}）",
                    en=f"{self._path} is no file of keys ({why})",
                    field="keys",
                ) from error
            self._read = (stamp, {key.sha256: key for key in keys})
        return self._read[1]

    def _keep(self, key: ApiKey) -> bool:
        """Stores a new key; False if another machine has just added one of the same name."""
        if self._database is None:
            self._write([*self._in_file().values(), key])
            return True
        row = {"name": key.name, "scopes": " ".join(key.scopes), "sha256": key.sha256, "made": key.made}
        is_new = self._database.add_api_key(row)
        self.refresh()
        return is_new

    def _keep_refreshing(self, ended: threading.Event) -> None:
        seconds = 0.0
        while not ended.wait(seconds):
            seconds = _REFRESH_SECONDS
            try:
                self.refresh()
            except StoreUnavailable:
                seconds = _RETRY_SECONDS

    def _write(self, keys: list[ApiKey]) -> None:
        data = _file_schema().dump_json(keys, indent=1, ensure_ascii=True)
        write_atomically(self._path, lambda file: file.write_bytes(data))


def _from_row(row: dict[str, str]) -> ApiKey:
    scopes = tuple(scope for scope in SCOPES if scope in row["scopes"].split())
    return ApiKey(name=row["name"], scopes=scopes, sha256=row["sha256"], made=row["made"])


@cache
def _file_schema() -> "TypeAdapter[list[ApiKey]]":
    """Reads and writes the file; made at its first use, as commands without keys need no pydantic."""
    from pydantic import TypeAdapter

    return TypeAdapter(list[ApiKey])


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
