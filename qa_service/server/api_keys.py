"""API keys: shown once when they are made, stored as hashes, each with the scopes that it allows."""

import hashlib
import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from qa_service.errors import BadField
from qa_service.files import write_atomically

Scope = Literal["read", "ask", "operate"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""`read`: GET requests; `ask`: also questions, runs and feedback; `operate`: metrics and the reasons in /readyz."""
_IMPLIED: Mapping[Scope, tuple[Scope, ...]] = {"read": ("read",), "ask": ("ask", "read"), "operate": ("operate",)}
KEY_PREFIX = "nst_"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key's name, scopes and SHA-256: 256 random bits need no slower hash."""

    name: str
    scopes: tuple[Scope, ...]
    sha256: str
    created_at: str  # "made" in the file

    def allows(self, scope: Scope) -> bool:
        """Whether its scopes include or imply this one."""
        return any(scope in _IMPLIED[held] for held in self.scopes)


class ApiKeyStore:
    """The keys of a data folder; several processes may read while one writes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "keys.json"
        self._read: tuple[tuple[int, int], dict[str, ApiKey]] | None = None

    def __len__(self) -> int:
        return len(self.all())

    def all(self) -> dict[str, ApiKey]:
        """SHA-256 → key; read again when the file has changed. Raises `BadField` if it is not a file of keys."""
        try:
            about = self._path.stat()
        except OSError:
            return {}
        stamp = (about.st_mtime_ns, about.st_size)
        if self._read is None or self._read[0] != stamp:
            try:
                keys = [_from_json(row) for row in json.loads(self._path.read_text("utf-8"))]
            except (OSError, ValueError, KeyError, TypeError) as error:
                why = type(error).__name__
                raise BadField(
                    zh=f"{self._path} 不是密钥文件（{why}）",
                    en=f"{self._path} is no file of keys ({why})",
                    field="keys",
                ) from error
            self._read = (stamp, {key.sha256: key for key in keys})
        return self._read[1]

    def find(self, secret: str) -> ApiKey | None:
        """The key with this secret, or None; looked up by its hash, so that no secret is compared.

        While the file is broken no key is valid.
        """
        try:
            return self.all().get(_hash(secret))
        except BadField as error:
            logging.getLogger("numstab").error("%s", error)  # noqa: TRY400
            return None

    def add(self, name: str, scopes: tuple[Scope, ...]) -> str:
        """Adds a key and returns its secret; raises `BadField` if the name already has a key."""
        if any(key.name == name for key in self.all().values()):
            raise BadField(
                zh=f"{name!r} 已经有密钥；用 rotate 更换", en=f"{name!r} has a key; rotate it", field="name"
            )  # fmt: skip
        secret = KEY_PREFIX + secrets.token_urlsafe(32)
        made = datetime.now(UTC).isoformat(timespec="seconds")
        self._write([*self.all().values(), ApiKey(name=name, scopes=scopes, sha256=_hash(secret), created_at=made)])
        return secret

    def revoke(self, name: str) -> ApiKey:
        """Deletes the key of a name, at once; raises `BadField` if there is none."""
        kept = [key for key in self.all().values() if key.name != name]
        revoked = next((key for key in self.all().values() if key.name == name), None)
        if revoked is None:
            names = ", ".join(sorted(key.name for key in self.all().values()))
            raise BadField(
                zh=f"{name!r} 没有密钥。有密钥的：{names}", en=f"{name!r} has no key. There are: {names}", field="name"
            )
        self._write(kept)
        return revoked

    def rotate(self, name: str) -> str:
        """Replaces the key of a name by a new one with the same scopes, and returns its secret."""
        return self.add(name, self.revoke(name).scopes)

    def _write(self, keys: list[ApiKey]) -> None:
        text = json.dumps([_to_json(key) for key in keys], indent=1)
        write_atomically(self._path, lambda file: file.write_text(text, "utf-8"))


def _to_json(key: ApiKey) -> dict[str, Any]:
    return {"name": key.name, "scopes": key.scopes, "sha256": key.sha256, "made": key.created_at}


def _from_json(row: dict[str, Any]) -> ApiKey:
    return ApiKey(name=row["name"], scopes=tuple(row["scopes"]), sha256=row["sha256"], created_at=row["made"])


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
