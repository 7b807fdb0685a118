"""Replay of one training step, operation by operation, in search of the first inf or nan.

Every kernel of the forward and of the backward pass is watched by a `TorchDispatchMode`. Each tensor that is not finite
is traced to its *origin*: the operation that made it out of finite numbers. Reported is the origin of what reached the
loss, or else a gradient; an inf or nan that reaches neither is harmless, and nothing is said. An inf that the code
wrote on purpose, as masks do, is no origin; the nan that a later operation makes of it is.

The step is replayed twice from the same state (random numbers, buffers), and the bits are compared.
"""

import contextlib
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.autograd.function import BackwardCFunction
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from numstab_watch.fault import (
    FaultOrigin,
    Phase,
    calling_line,
    describe_tensor,
    dtype_name,
    line_of_traceback,
    nonfinite_kind,
    nonfinite_value,
    operation_name,
)

_MAX_BUFFER_BYTES = 64 << 20
"""The total size in bytes of the buffers that are copied; others are not restored."""
_MAX_OPERANDS = 6
_SELECTIONS = frozenset({"gather", "index", "index_select", "select", "slice", "nll_loss", "take", "narrow", "max"})
"""Operations that pick elements: the gradient of those that are not picked is 0 although nothing is masked."""
_TRANSPARENT = frozenset(
    {"neg", "mul", "div", "view", "squeeze", "unsqueeze", "add", "sub", "expand", "to", "t", "alias"}
)
"""Operations that may stand between an operation and the mask or the selection of its result."""
_OVERWRITES = frozenset({"fill_", "zero_", "copy_", "normal_", "uniform_", "bernoulli_", "random_", "exponential_"})
"""In-place kernels that do not read the tensor that they write to."""
_SINGULAR = frozenset(
    {
        "sqrt", "rsqrt", "pow", "norm", "div", "reciprocal", "log", "log2", "log10", "log1p", "acos", "asin", "acosh",
        "atanh", "cdist", "std", "var", "std_mean", "var_mean", "exp", "exp2", "expm1", "softmax", "log_softmax",
        "atan2", "logsumexp", "prod", "tan", "xlogy", "logit", "mul", "cumprod", "linalg_norm", "pdist", "erfinv",
    }
)  # fmt: skip
"""Operations whose derivative may not be finite although they are: their operands are kept for the backward pass."""

# Private parts of torch: each may be absent, and then less is said.
_sequence_number: Callable[[], int] | None = getattr(getattr(torch._C, "_autograd", None), "_get_sequence_nr", None)
_current_node: Callable[[], Any] | None = getattr(torch._C, "_current_autograd_node", None)


@dataclass(slots=True)
class _Origin:
    """The origin of a tensor that is not finite."""

    index: int
    """Its place in the order of events."""
    fault: FaultOrigin
    intended: bool = False
    """Whether the code wrote the inf on purpose: as a mask, or as -inf for the start of a maximum."""


@dataclass(slots=True)
class _Call:
    """A forward operation, for the backward pass: the line that called it, and its operands if it may be singular."""

    operation: str
    place: str
    code: str
    module: str
    operands: tuple[torch.Tensor, ...] = ()


@dataclass(slots=True)
class _Outcome:
    """The result of one replay: the bits of loss and gradients, and the fault."""

    fault: FaultOrigin | None
    bits: list[torch.Tensor] = field(default_factory=list)


def replay(closure: Callable[[], Any], model: nn.Module | None = None, *, repeat: bool = True) -> FaultOrigin | None:
    """The fault of a step whose loss `closure()` computes and returns; it need not call backward.

    `model` gives the names of modules and weights where the closure does not call it as a whole.
    None if the loss and all gradients are finite. The gradients that parameters hold, the buffers and the states of the
    random generators are as before afterwards. `repeat=False` replays once and leaves `reproduced` at None.
    """

    def step() -> _Outcome:
        return _replay_loss(closure, model)

    return _replayed(step, repeat=repeat)


def replay_update(update: Callable[[], Any], parameters: Sequence[torch.Tensor]) -> FaultOrigin | None:
    """The fault of `update()`, such as `optimizer.step`, that makes a weight inf or nan out of finite gradients.

    The weights are changed; call it on a copy of them.
    """
    state = _State()
    with _Tracker(phase="update") as tracker, state.watching(tracker):
        update()
    state.restore()
    bad = [parameter for parameter in parameters if nonfinite_kind(parameter)]
    return tracker.fault_of(bad) if bad else None


def _replayed(step: Callable[[], _Outcome], *, repeat: bool) -> FaultOrigin | None:
    first = step()
    if first.fault is None or not repeat:
        return first.fault
    second = step()
    same = len(first.bits) == len(second.bits) and all(map(_same_bits, first.bits, second.bits))
    return replace(first.fault, reproduced=same and second.fault is not None)


def _replay_loss(closure: Callable[[], Any], model: nn.Module | None) -> _Outcome:
    state = _State(model)
    gradients: list[torch.Tensor] = []
    try:
        with contextlib.ExitStack() as stack:
            if _sequence_number is None:
                stack.enter_context(torch.autograd.set_detect_anomaly(True, check_nan=False))
            tracker = stack.enter_context(_Tracker())
            stack.enter_context(state.watching(tracker))
            stack.enter_context(torch.enable_grad())
            loss = closure()
            if not isinstance(loss, torch.Tensor):
                raise TypeError(f"the closure must return the loss as a tensor, not {type(loss).__name__}")
            if loss.requires_grad:
                try:
                    gradients = _gradients(loss.sum() if loss.numel() > 1 else loss, tracker)
                except RuntimeError:
                    if not tracker.saw_backward:
                        raise  # else the closure has run the backward pass itself, and freed the graph
    finally:
        state.restore()
    if nonfinite_kind(loss):
        fault = tracker.fault_of([loss])
    elif tracker.saw_backward and not gradients:
        fault = tracker.first_backward_fault()
    else:
        bad = [gradient for gradient in gradients if nonfinite_kind(gradient)]
        fault = tracker.fault_of(bad) if bad else None
    return _Outcome(fault, [loss.detach(), *gradients])


def _gradients(loss: torch.Tensor, tracker: "_Tracker") -> list[torch.Tensor]:
    """The gradients at the leaves of the loss' graph; each node tells the tracker when it begins."""
    leaves, hooks = [], []
    try:
        for node in _nodes(loss.grad_fn):
            for parent, _ in node.next_functions:
                tracker.consumers.setdefault(parent, []).append(node)
            variable = getattr(node, "variable", None)
            if variable is not None:
                leaves.append(variable)
            else:
                hooks.append(node.register_prehook(tracker.entering(node)))
        if loss.grad_fn is None:
            return []
        with torch.autograd.set_multithreading_enabled(False):
            found = torch.autograd.grad(loss, leaves, allow_unused=True) if leaves else ()
        return [gradient for gradient in found if gradient is not None]
    finally:
        for hook in hooks:
            hook.remove()


def _nodes(root: Any) -> Iterator[Any]:
    """Every node of the graph, the root first."""
    seen, stack = set(), [root]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        stack += [parent for parent, _ in node.next_functions]


class _Tracker(TorchDispatchMode):  # type: ignore[misc]
    """Dispatch mode that records, by storage, the operator call in which each non-finite tensor arose."""

    def __init__(self, phase: Phase = "forward") -> None:
        super().__init__()
        self.saw_backward = False
        self.modules: list[tuple[nn.Module, str]] = []
        """The modules that are running, the outermost first, with their names."""
        self.parameter_names: dict[int, str] = {}
        self.consumers: dict[Any, list[Any]] = {}
        """Node of the graph → the nodes of the operations that take its result."""
        self._phase: Phase = phase
        self._origins: dict[int, _Origin] = {}
        self._kept: list[Any] = []  # storages of tensors that are not finite: an address must not be used again
        self._calls: dict[int, _Call] = {}
        self._count = 0
        self._node: Any = None
        self._incoming: tuple[Any, ...] = ()

    def fault_of(self, tensors: Iterable[torch.Tensor]) -> FaultOrigin | None:
        """The earliest origin of these tensors, an intended one only if there is no other."""
        origins = [origin for tensor in tensors if (origin := self._origins.get(_address(tensor))) is not None]
        if not origins:
            origins = [origin for origin in self._origins.values() if not origin.intended]
        best = min(origins, key=lambda origin: (origin.intended, origin.index), default=None)
        return None if best is None else best.fault

    def first_backward_fault(self) -> FaultOrigin | None:
        """The earliest origin in a backward pass that the closure ran itself."""
        origins = [origin for origin in self._origins.values() if origin.fault.phase == "backward"]
        return min(origins, key=lambda origin: origin.index).fault if origins else None

    def entering(self, node: Any) -> Callable[[Any], None]:
        """A pre-hook for a node of the graph: notes the gradient that arrives there."""

        def note(gradients: Any) -> None:
            self._node, self._incoming = node, tuple(gradients)

        return note

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs the kernel, and looks for the origin of what is not finite in its result."""
        kwargs = kwargs or {}
        kernel = func._schema.name.rpartition("::")[2]
        leaves = tree_leaves((args, kwargs))
        operands = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        if kernel in _OVERWRITES:
            operands = operands[1:]
        node = self._running_node()
        dirty = [(operand, kind) for operand in operands if (kind := nonfinite_kind(operand))]
        words = _words_if_in_place(kernel, operands)
        result = func(*args, **kwargs)
        self._count += 1
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        if node is None:
            self._note_call(kernel, operands)
        else:
            self.saw_backward = True
        for output in outputs:
            if nonfinite_kind(output):
                origin = self._origin(kernel, node, operands, words, dirty, leaves, output)
                self._keep(output, origin)
            elif kernel in _OVERWRITES:
                self._origins.pop(_address(output), None)
        return result

    def _running_node(self) -> Any:
        if _current_node is not None:
            return _current_node()
        return self._node

    def _keep(self, tensor: torch.Tensor, origin: _Origin) -> None:
        self._origins[_address(tensor)] = origin
        with contextlib.suppress(RuntimeError, NotImplementedError):  # no storage: sparse and other kinds of tensors
            self._kept.append(tensor.untyped_storage())

    def _note_call(self, kernel: str, operands: list[torch.Tensor]) -> None:
        """Connects the node that autograd has just made for this operation with the line that called it."""
        if _sequence_number is None:
            return
        number = _sequence_number() - 1
        if number not in self._calls:
            name = operation_name(kernel)
            place, code = calling_line()
            kept = tuple(operand.detach() for operand in operands) if name in _SINGULAR else ()
            self._calls[number] = _Call(name, place, code, self._module(), kept)

    def _origin(
        self,
        kernel: str,
        node: Any,
        operands: list[torch.Tensor],
        words: tuple[str, ...] | None,
        dirty: list[tuple[torch.Tensor, str]],
        leaves: list[Any],
        output: torch.Tensor,
    ) -> _Origin:
        sources = [self._source(operand, kind) for operand, kind in dirty]
        for (operand, _), source in zip(dirty, sources, strict=True):
            if _address(operand) == _address(output) and (node is not None or not kernel.endswith("_")):
                return source  # a view of it
        if node is not None and not any(source.fault.phase == "backward" for source in sources):
            given = [source for source in sources if source.fault.phase in ("data", "update") and not source.intended]
            if given:
                return min(given, key=lambda source: source.index)
            hidden = [source for source in sources if not source.intended]
            maker = min(hidden, key=lambda source: source.index).fault if hidden else None
            return self._backward_origin(kernel, node, operands, output, maker)
        blamed = [source for source in sources if not source.intended]
        if blamed:
            return min(blamed, key=lambda source: source.index)
        makes_nan = nonfinite_kind(output) == "nan"
        if sources and not makes_nan and output.numel() >= max(operand.numel() for operand, _ in dirty):
            return sources[0]
        intended = not makes_nan and (bool(sources) or _writes_inf(kernel, operands, leaves))
        if sources and intended and sources[0].fault.operation not in ("", "masked_fill", "full", "where", "fill"):
            return sources[0]  # the first reduction of what was written on purpose is the one to name
        place, code = calling_line()
        fault = FaultOrigin(
            operation=operation_name(kernel),
            phase=self._phase,
            value=nonfinite_value(output),
            place=place,
            code=code,
            module=self._module(),
            operands=words or _words(operands),
            dtype=dtype_name(output),
        )
        return _Origin(self._count, fault, intended)

    def _source(self, operand: torch.Tensor, kind: str) -> _Origin:
        """The origin of a non-finite operand; without a recorded one, it was non-finite before the step: data, mask or
        weight.
        """
        known = self._origins.get(_address(operand))
        if known is not None:
            return known
        is_weight = isinstance(operand, nn.Parameter)
        place, code = calling_line()
        fault = FaultOrigin(
            operation="",
            phase="update" if is_weight or self._phase == "update" else "data",
            value=nonfinite_value(operand),
            place=place,
            code=code,
            module=self.parameter_names.get(id(operand), "") if is_weight else self._module(),
            operands=(describe_tensor(operand),),
            dtype=dtype_name(operand),
        )
        origin = _Origin(self._count, fault, intended=not is_weight and kind == "inf" and _looks_like_mask(operand))
        self._keep(operand, origin)
        return origin

    def _backward_origin(
        self, kernel: str, node: Any, operands: list[torch.Tensor], output: torch.Tensor, maker: FaultOrigin | None
    ) -> _Origin:
        """The origin in a backward kernel; `maker` is the fault of a saved forward value that is not finite."""
        arrived = [each for each in self._incoming if isinstance(each, torch.Tensor)] if self._node is node else []
        hidden = bool(arrived) and all(_is_zero_where_bad(each, output) for each in arrived)
        hidden = hidden and not self._is_selected(node)
        gradient = tuple(describe_tensor(each, "gradient") for each in arrived[:1])
        if maker is not None:
            fault = replace(maker, phase="backward", hidden=hidden, operands=(*maker.operands, *gradient))
            return _Origin(self._count, fault)
        number = getattr(node, "_sequence_nr", lambda: -1)()
        call = self._calls.get(number)
        name = node.name()
        if isinstance(node, BackwardCFunction):  # a backward pass of the user's own
            call, name = _Call("", *calling_line(), ""), kernel
        elif call is None:
            traceback = getattr(node, "metadata", {}).get("traceback_") or []
            place, code = line_of_traceback(traceback)
            call = _Call("", place, code, "")
        fault = FaultOrigin(
            operation=operation_name(name),
            phase="backward",
            value=nonfinite_value(output),
            place=call.place,
            code=call.code,
            module=call.module,
            operands=(*_words(call.operands or operands), *gradient),
            dtype=dtype_name(call.operands[0] if call.operands else output),
            hidden=hidden,
        )
        return _Origin(self._count, fault)

    def _is_selected(self, node: Any) -> bool:
        """Whether the operations that take the result of a node pick elements of it, rather than mask it."""
        for _ in range(len(_TRANSPARENT)):
            following = self.consumers.get(node, [])
            if len(following) != 1:
                return False
            node = following[0]
            name = operation_name(node.name())
            if name in _SELECTIONS:
                return True
            if name not in _TRANSPARENT:
                return False
        return False

    def _module(self) -> str:
        """The innermost running module that has a name; of a root alone, its class."""
        for _, name in reversed(self.modules):
            if name:
                return str(name)
        return str(type(self.modules[0][0]).__name__) if self.modules else ""


class _State:
    """The random generators and buffers at the start of a step, to be restored after it."""

    def __init__(self, model: nn.Module | None = None) -> None:
        self._model = model
        self._generator = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        self._python = random.getstate()
        self._buffers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._bytes = 0

    @contextlib.contextmanager
    def watching(self, tracker: _Tracker) -> Iterator[None]:
        """While it is entered, modules tell the tracker their names, and their buffers are copied when they begin."""
        names: dict[int, str] = {}

        def learn(root: nn.Module) -> None:
            self._copy_buffers(root)
            for name, each in root.named_modules():
                names.setdefault(id(each), name)
            for name, parameter in root.named_parameters():
                tracker.parameter_names.setdefault(id(parameter), name)

        if self._model is not None:
            learn(self._model)

        def before(module: nn.Module, _inputs: Any) -> None:
            if not tracker.modules and id(module) not in names:
                learn(module)
            tracker.modules.append((module, names.get(id(module), "")))

        def after(module: nn.Module, _inputs: Any, _output: Any) -> None:
            if tracker.modules and tracker.modules[-1][0] is module:
                tracker.modules.pop()

        hooks = [register_module_forward_pre_hook(before), register_module_forward_hook(after, always_call=True)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def restore(self) -> None:
        torch.set_rng_state(self._generator)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)
        random.setstate(self._python)
        with torch.no_grad():
            for buffer, copy in self._buffers.values():
                buffer.copy_(copy)

    def _copy_buffers(self, module: nn.Module) -> None:
        for buffer in module.buffers():
            size = buffer.numel() * buffer.element_size()
            if id(buffer) not in self._buffers and self._bytes + size <= _MAX_BUFFER_BYTES:
                self._bytes += size
                self._buffers[id(buffer)] = (buffer, buffer.detach().clone())


def _address(tensor: torch.Tensor) -> int:
    """A number that identifies the memory of a tensor, the same for every view of it."""
    try:
        return tensor.untyped_storage().data_ptr() or id(tensor)
    except (RuntimeError, NotImplementedError):
        return id(tensor)


def _words(operands: Sequence[torch.Tensor]) -> tuple[str, ...]:
    return tuple(describe_tensor(operand) for operand in operands[:_MAX_OPERANDS])


def _words_if_in_place(kernel: str, operands: list[torch.Tensor]) -> tuple[str, ...] | None:
    """The operands in words before an in-place kernel changes the first of them."""
    in_place = kernel.endswith("_") and kernel not in _OVERWRITES
    return _words(operands) if in_place and any(each.is_floating_point() for each in operands) else None


def _writes_inf(kernel: str, operands: list[torch.Tensor], leaves: list[Any]) -> bool:
    """Whether a scalar argument is inf (masks), or the kernel is the logarithm of a mask of zeros and ones."""
    if any(isinstance(leaf, float) and math.isinf(leaf) for leaf in leaves):
        return True
    if kernel != "log" or operands[0].requires_grad:
        return False
    values = operands[0].detach()
    return bool(((values == 0) | (values == 1)).all()) and bool((values == 1).any())


def _looks_like_mask(tensor: torch.Tensor) -> bool:
    """Whether a given tensor is an additive mask: nothing but -inf is not finite, and nothing is above 0."""
    values = tensor.detach()
    return not bool((values > 0).any())


def _is_zero_where_bad(gradient: torch.Tensor, output: torch.Tensor) -> bool:
    """Whether the gradient that arrives is 0 wherever the gradient made of it is not finite."""
    if gradient.shape != output.shape:
        return bool((gradient == 0).all())
    return bool((gradient[~torch.isfinite(output)] == 0).all())


def _same_bits(first: torch.Tensor, second: torch.Tensor) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if first.layout != torch.strided:
        first, second = first.to_dense(), second.to_dense()
    first, second = (each.detach().contiguous().reshape(1, -1).view(torch.uint8) for each in (first, second))
    return bool(torch.equal(first, second))
