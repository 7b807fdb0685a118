"""Measures parameters: the norm of all gradients at each step; now and then, each tensor on its own.

Shares are taken from fixed coordinates of each tensor, 512 at most. Nothing here draws from torch's global generator.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

PROBED_ELEMENTS = 512
"""Coordinates that are compared before and after an update, of each tensor; a small tensor's are repeated."""
MAX_PARAMETERS = 2000
_SMALLEST_FLOAT16 = 2.0**-24


def local_shard(tensor: Any) -> Any:
    """The part of a sharded tensor that this process holds; another tensor as it is."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def gradient_of(parameter: Any) -> Any:
    """The gradient as a dense or coalesced tensor without a graph, or None."""
    gradient = parameter.grad
    if gradient is None:
        return None
    gradient = local_shard(gradient.detach())
    return gradient.coalesce().values() if gradient.layout == torch.sparse_coo else gradient


def total_norm(parameters: Sequence[Any]) -> Any:
    """The 2-norm of all gradients together, a float32 scalar on the device; None if there are none."""
    gradients = [gradient for gradient in map(gradient_of, parameters) if gradient is not None and gradient.numel()]
    if not gradients:
        return None
    norms = norms_of(gradients)
    device = norms[0].device
    return torch.linalg.vector_norm(torch.stack([norm.to(device) for norm in norms]))


def norms_of(tensors: Sequence[Any]) -> Sequence[Any]:
    """The 2-norm of each tensor, accumulated in float32 at least."""
    wide = torch.float64 if any(each.dtype == torch.float64 for each in tensors) else torch.float32
    norms: Sequence[Any] = torch._foreach_norm(list(tensors), 2, dtype=wide)
    return norms


def largest_magnitudes(tensors: Sequence[Any]) -> list[Any]:
    """The largest magnitude of each tensor, nan if it holds one."""
    if tensors and tensors[0].device.type == "cuda":
        return [norm.float() for norm in torch._foreach_norm(list(tensors), math.inf)]
    largest = []
    for tensor in tensors:  # on the CPU, twenty times as fast as the inf-norm
        least, most = torch.aminmax(tensor)
        largest.append(torch.maximum(-least, most).float())
    return largest


class ParameterProbes:
    """Measures each parameter at one step: weights and gradients before the update, weights `after` it."""

    def __init__(self, parameters: Sequence[Any]) -> None:
        self._parameters = list(parameters)
        first = local_shard(self._parameters[0])
        self._device = first.device
        self._dtype = torch.float64 if any(each.dtype == torch.float64 for each in parameters) else torch.float32
        self._coordinates: list[Any] | None = None
        self._weights: Any = None
        self._gradients: Any = None
        self._norms: Any = None
        self._has_gradient: Any = None
        self._signs: Any = None

    @property
    def ready(self) -> bool:
        """Whether weights and gradients were read."""
        return self._weights is not None and self._gradients is not None

    def read_weights(self) -> None:
        """Reads the weights before the update."""
        self._weights = self._probe([each.detach() for each in self._parameters])
        self._gradients = None

    def read_gradients(self) -> None:
        """Reads the gradients that the update will use."""
        gradients = [gradient_of(each) for each in self._parameters]
        self._gradients = self._probe(gradients)
        there = [each for each in gradients if each is not None and each.numel()]
        size = torch.tensor([math.sqrt(each.numel()) for each in there], dtype=self._dtype)
        columns = torch.full((2, len(gradients)), math.nan, dtype=self._dtype, device=self._device)
        index = [at for at, each in enumerate(gradients) if each is not None and each.numel()]
        if there:
            columns[0, index] = self._gather(largest_magnitudes(there))
            columns[1, index] = self._gather(norms_of(there)) / size.to(self._device)
        has = torch.zeros(len(gradients), dtype=torch.bool)
        has[index] = True
        self._norms, self._has_gradient = columns, has

    def after(self) -> tuple[Any, Any]:
        """Reads the weights again; returns the matrix (columns, parameters) and which parameters had a gradient."""
        weights, gradients = self._weights, self._gradients
        moved = self._probe([each.detach() for each in self._parameters]) - weights
        nonzero = gradients != 0
        count = nonzero.sum(1).to(self._dtype)
        still = ((moved == 0) & nonzero).sum(1) / count
        tiny = ((gradients.abs() < _SMALLEST_FLOAT16) & nonzero).sum(1) / count
        signs = gradients.sign()
        agree = (signs * self._signs).sum(1) / count if self._signs is not None else torch.full_like(count, math.nan)
        self._signs = signs
        tensors = [local_shard(each.detach()) for each in self._parameters]
        size = torch.tensor([math.sqrt(each.numel()) for each in tensors], dtype=self._dtype, device=self._device)
        scale = self._gather(norms_of(tensors)) / size
        rows = [scale, moved.square().mean(1).sqrt(), still, 1 - count / gradients.shape[1], tiny, agree]
        matrix = torch.cat([self._norms, torch.stack(rows)])
        self._weights = self._gradients = self._norms = None
        return matrix, self._has_gradient

    def _gather(self, scalars: Sequence[Any]) -> Any:
        return torch.stack([each.to(self._device, self._dtype) for each in scalars])

    def _probe(self, tensors: Sequence[Any]) -> Any:
        """The probed elements as a matrix (tensors, 512); zeros for None."""
        if self._coordinates is None:
            self._coordinates = [_coordinates(local_shard(each)) for each in self._parameters]
        zeros = torch.zeros(PROBED_ELEMENTS, dtype=self._dtype, device=self._device)
        rows = []
        for tensor, coordinates in zip(tensors, self._coordinates, strict=True):
            values = local_shard(tensor) if tensor is not None else None
            if values is None or values.numel() <= int(coordinates[1]):
                rows.append(zeros)
            else:
                rows.append(torch.take(values, coordinates[0]).to(self._device, self._dtype))
        return torch.stack(rows)


def _coordinates(tensor: Any) -> tuple[Any, int]:
    """Fixed places in a flattened tensor, from a generator of their own; and the largest of them."""
    size = tensor.numel()
    if size == 0:
        return torch.zeros(PROBED_ELEMENTS, dtype=torch.long, device=tensor.device), 0
    if size <= PROBED_ELEMENTS:
        places = torch.arange(PROBED_ELEMENTS) % size
    else:
        generator = torch.Generator().manual_seed(size)
        places = torch.randint(size, (PROBED_ELEMENTS,), generator=generator).sort()[0]
    return places.to(tensor.device), int(places.max())


def describe_parameter(name: str, parameter: Any, *, held: bool) -> dict[str, Any]:
    """The description of a parameter in the header. `spread` is the standard deviation of its elements.

    `rows` is the largest difference between a row and the first: 0 where all units were made alike.
    """
    weights = local_shard(parameter.detach())
    fields: dict[str, Any] = {
        "name": name,
        "shape": [int(each) for each in parameter.shape],
        "dtype": str(parameter.dtype).removeprefix("torch."),
        "trained": bool(parameter.requires_grad),
        "held": held,
    }
    if weights.numel() and weights.device.type != "meta":
        values = weights.flatten()[:1_000_000].float()
        fields["rms"] = float(values.square().mean().sqrt())
        fields["spread"] = float(values.std(correction=0))
        if weights.dim() > 1 and weights.shape[0] > 1:
            fields["rows"] = float((weights[:256].float() - weights[0].float()).abs().max())
    return fields


class GradientWitnesses:
    """Watches the gradients of three parameters (first, middle, last) to detect that gradients have changed."""

    def __init__(self, parameters: Sequence[Any]) -> None:
        movable = [each for each in parameters if each.requires_grad]
        self._parameters = [movable[at] for at in sorted({0, len(movable) // 2, len(movable) - 1})] if movable else []

    def signature(self) -> Any:
        """A value that differs from an earlier one if any of the gradients was replaced or changed in place since."""
        gradients = [each.grad for each in self._parameters]
        return [None if each is None else (id(each), each._version) for each in gradients]

    def carried(self) -> Any:
        """The share of the watched parameters whose gradient is not zero, as after a step without `zero_grad`."""
        gradients = [gradient_of(each) for each in self._parameters]
        there = [each.flatten()[:256] for each in gradients if each is not None and each.numel()]
        if not there:
            return 0.0
        return torch.stack([(each != 0).any().float() for each in there]).mean()
