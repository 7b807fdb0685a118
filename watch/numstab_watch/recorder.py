"""`watch(model, optimizer)`: follows a training loop that stays as it is, and writes a trace of bounded size."""

import atexit
import functools
import hashlib
import math
import os
import platform
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, ParamSpec

import torch

from numstab_watch import patches
from numstab_watch.cadence import Cadence
from numstab_watch.graph import loss_facts, target_facts
from numstab_watch.modules import ModuleProbes, first_tensor, share_bad, tensors_in
from numstab_watch.parameters import (
    MAX_PARAMETERS,
    ParameterProbes,
    describe_parameter,
    gradient_of,
    largest_of,
    local,
    total_norm,
)
from numstab_watch.trace import PARAMETER_COLUMNS, STEP_COLUMNS, TRACE_SCHEMA, Trace

Level = Literal["steps", "layers", "forensic"]
Arguments = ParamSpec("Arguments")
FLUSH_STEPS = 256
"""Steps between two flushes: what a killed process loses at most. In a header, `window` is the current one."""
_WINDOW_SECONDS = 30.0
_MAX_WINDOW = 4096
_MAX_NAMES = 8
_LABEL_FACTS = ("classes", "labels", "ignored", "least_label", "largest_label", "target_bad")
_open: "weakref.WeakSet[Watch]" = weakref.WeakSet()


class NonFiniteError(FloatingPointError):
    """The loss or a gradient is nan or inf, and the watch was asked to stop there (`stop=True`)."""


def watch(
    model: Any,
    optimizer: Any = None,
    *,
    path: str | os.PathLike[str] = "numstab-trace.jsonl.gz",
    every: int | None = None,
    level: Level = "layers",
    budget: float = 0.02,
    stop: bool = False,
    scaler: Any = None,
    closure: Callable[[], Any] | None = None,
    names: bool = True,
) -> "Watch":
    """Records the training of `model` from now on: losses, gradients, updates, and at sampled steps its layers.

    `optimizer` is one, or several in a list; without one, call `step(loss=…)` after each update.
    `every` measures parameters at each such step, and layers at each tenth of these; by default as often as `budget`,
    a share of the training's time, allows. `level` is "steps" (no hooks on layers), "layers", or "forensic" (layers as
    often as parameters). `stop` raises NonFiniteError at the first loss or gradient that is not finite, before the
    update; by default nothing is ever raised, and the training is the same, bit for bit, as without a watch.
    A `scaler` is found by itself where one is used. `closure` computes the loss of the current batch once more: with
    it, a nan that only the gradient has is traced to its line as well. `names=False` hides the names of modules.
    """
    if level not in ("steps", "layers", "forensic"):
        raise ValueError(f'level is {level!r}; it must be "steps", "layers" or "forensic"')
    if every is not None and every < 1:
        raise ValueError(f"every is {every}; it must be 1 or more")
    if not 0 < budget <= 1:
        raise ValueError(f"budget is {budget}; it must be a share of the time, above 0 and at most 1")
    return Watch(
        model,
        optimizer,
        path=os.fspath(path),
        every=every,
        level=level,
        budget=budget,
        stop=stop,
        scaler=scaler,
        closure=closure,
        names=names,
    )


def _guarded(method: Callable[..., None]) -> Callable[..., None]:
    """The method, from which no error gets into the user's loop: recording ends instead, and the trace says so."""

    @functools.wraps(method)
    def guarded(self: "Watch", *args: Any, **kwargs: Any) -> None:
        if self.closed or self._busy or self._pid != os.getpid():
            return
        self._busy = True  # what a replay runs is not of the loop
        try:
            with torch.no_grad():
                method(self, *args, **kwargs)
        except NonFiniteError:
            raise
        except Exception as error:  # whatever it is, the training goes on
            self._give_up(error)
        finally:
            self._busy = False

    return guarded


class _RootHook:
    """Hook before the forward pass. A copy of the model, in memory or in a file, does not take the watch with it."""

    def __init__(self, owner: "Watch") -> None:
        self._owner = weakref.ref(owner)

    def __call__(self, module: Any, args: Any, kwargs: Any) -> None:
        owner = self._owner()
        if owner is not None and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            owner.forward_starts(module, args, kwargs)

    def __deepcopy__(self, memo: Any) -> "_RootHook":
        copy = _RootHook.__new__(_RootHook)
        copy._owner = lambda: None  # type: ignore[assignment]
        return copy

    def __reduce__(self) -> Any:
        return _silent_hook, ()


def _silent_hook() -> Callable[..., None]:
    hook = _RootHook.__new__(_RootHook)
    hook._owner = lambda: None  # type: ignore[assignment]
    return hook


class _Iteration:
    """What is known of the step that is under way; scalars may still be on the device."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.losses: list[Any] = []
        self.norm: Any = None
        self.clip_norm: Any = None
        self.lr: Any = None
        self.scale: Any = None
        self.skipped: Any = False
        self.backwards = 0
        self.carried: Any = None
        self.input_max: Any = None
        self.optimizers: list[int] = []
        """Index of each optimizer that has updated the weights, or refused to."""
        self.modules: dict[str, dict[str, Any]] | None = None
        self.seconds = 0.0

    @property
    def stepped(self) -> bool:
        """Whether an optimizer has updated the weights, or refused to."""
        return bool(self.optimizers)


class Watch:
    """An open recording; `watch()` makes it. A context manager, which closes it."""

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        *,
        path: str,
        every: int | None,
        level: Level,
        budget: float,
        stop: bool,
        scaler: Any,
        closure: Callable[[], Any] | None,
        names: bool,
    ) -> None:
        self.closed = self._busy = False
        self.path = ""
        """The file that is written."""
        self.window = FLUSH_STEPS
        """Steps between two flushes."""
        self.fault: dict[str, Any] | None = None
        """Where the first inf or nan came from, once there is one and it was found."""
        self._pid = os.getpid()
        self._model = model
        self._optimizers = [_unwrapped(each) for each in _as_list(optimizer)]
        self._scaler = scaler
        self._closure = closure
        self._stop = stop
        self._names = names
        self._budget = budget
        self._handles: list[Any] = []
        self._iteration = _Iteration(0)
        self._pending: list[tuple[str, int, Any]] = []
        self._alarmed: set[str] = set()
        self._steps = 0
        self._skips = 0
        self._in_step = False
        self._with_closure = False
        self._measured = False
        self._forwards = 0
        self._sampling = False
        self._seen_gradients = False
        self._signature: Any = None
        self._unread_norm: Any = None
        self._stopped_at = self._stepped_before = -1
        self._before_cost = self._flush_cost = 0.0
        self._fresh = False
        self._loss: float | None = None
        self._facts: dict[str, Any] = {}
        self._input: Any = None
        self._found: dict[str, Any] | None = None
        self._probes: ParameterProbes | None = None
        self._module_probes: ModuleProbes | None = None
        self._trace: Trace = Trace(path, {})
        self._begin(path, every, level)

    @_guarded
    def _begin(self, path: str, every: int | None, level: Level) -> None:
        """Looks at the model, and puts hooks and wrappers in place."""
        model, budget = self._model, self._budget
        for each in tuple(_open):
            if each._model is model:
                each.close("replaced")
        self._parameters, self._labels, self._left_out = self._choose_parameters()
        self._all = [each for group in self._groups() for each in group] or list(model.parameters())
        self._own = {id(each) for each in self._all}
        movable = [each for each in self._all if each.requires_grad]
        self._witnesses = [movable[at] for at in sorted({0, len(movable) // 2, len(movable) - 1})] if movable else []
        tenth = None if every is None else every * (1 if level == "forensic" else 10)
        self._input_cadence = Cadence(budget * 0.1, dense=256, growth=1.05, every=1 if every is not None else None)
        self._norm_cadence = Cadence(budget * 0.3, dense=256, growth=1.05, every=1 if every is not None else None)
        self._parameter_cadence = Cadence(budget * 0.3, dense=16, growth=1.25, every=every)
        layers_growth = 1.25 if level == "forensic" else 1.6
        self._module_cadence = Cadence(budget * 0.3, dense=3, growth=layers_growth, every=tenth)
        if self._parameters:
            self._probes = ParameterProbes(self._parameters)
        if level != "steps" and not _is_compiled(model):
            self._module_probes = ModuleProbes(model)
        self._trace = Trace(_free_path(path), self._header(level))
        self.path = self._trace.path
        self._tick = self._flushed = time.perf_counter()
        self._unflushed = 0
        self._attach()

    # What the loop may call

    def step(self, loss: Any = None, **scalars: Any) -> None:
        """Ends a step of a loop without a torch optimizer, or adds its loss and other values to the trace."""
        self._manual_step(loss, scalars)

    def log(self, **scalars: Any) -> None:
        """Adds values, such as `val_loss`, to the current step."""
        self._log(scalars)

    def note(self, kind: str) -> None:
        """Adds an event with a name, such as "hidden_nan", once."""
        if not self.closed:
            self._note(kind)

    def close(self, reason: str = "closed") -> None:
        """Writes the rest, and leaves model, optimizer and torch as they were. A second call does nothing."""
        if self.closed:
            return
        self._finish(reason)
        self._detach()

    def __enter__(self) -> "Watch":  # noqa: PYI034  # Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close("closed" if kind is None else f"exception {kind.__name__}")

    # What hooks and wrappers call

    @_guarded
    def forward_starts(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The model is called with these arguments, to be trained."""
        self._end_if_over()
        header = self._trace.header
        if "batch" not in header:
            header["batch"] = next((len(each) for each in tensors_in([*args, *kwargs.values()]) if each.dim()), None)
            header["training"] = bool(module.training)
            header["autocast"] = _autocast_dtype(str(header["device"]))
        given = first_tensor([*args, *kwargs.values()])
        self._input = None if given is None else weakref.ref(given)
        self._forwards += 1
        if given is not None and self._forwards == 1 and not _capturing(given):
            self._measure_input(given)
        probes = self._module_probes
        if probes is not None and self._forwards == 1 and self._module_cadence.due(self._iteration.step):
            self._sampling = True
            probes.start(args, kwargs)

    @_guarded
    def backward_starts(self, root: Any) -> None:
        """See `patches.Listener`."""
        if self._module_probes is not None:
            self._module_probes.stop()
        self._end_if_over()
        iteration = self._iteration
        if self._fresh and iteration.step < 64 and len(self._optimizers) == 1:
            iteration.carried = self._carried_gradient()
        self._fresh = False
        self._signature = self._gradient_signature()
        loss, scale = self._unscaled(root)
        if _capturing(loss):
            return
        iteration.scale = scale if scale is not None else iteration.scale
        if "loss" not in self._trace.header and root.grad_fn is not None:
            output = self._module_probes.output if self._module_probes is not None else None
            self._trace.header["loss"] = loss_facts(root) | target_facts(root, output)
        if self._module_probes is not None:
            self._module_probes.output = None
        self._loss = float(loss)
        if self._unread_norm is not None:  # of the step before: the device has computed it by now
            self._check_norm(self._unread_norm)
            self._unread_norm = None
        if not math.isfinite(self._loss) and "loss" not in self._alarmed:
            self._found = self._dissect(root)
            facts = loss_facts(root) | target_facts(root)
            self._facts = {key: each for key, each in facts.items() if key in _LABEL_FACTS}
            given = self._input() if self._input is not None else None
            if given is not None:
                self._facts["input_bad"] = float(share_bad(given))

    @_guarded
    def backward_ended(self, root: Any) -> None:
        """See `patches.Listener`."""
        loss, self._loss = self._loss, None
        if loss is None:
            return
        touched = self._gradient_signature() != self._signature
        self._seen_gradients |= touched
        if not touched and self._seen_gradients:
            self._found = None
            return  # the loss of another model
        iteration = self._iteration
        if not (self._in_step and iteration.losses):  # of a closure that is called several times, the first
            iteration.losses.append(loss)
        iteration.backwards += 1
        if self._measured and self._probes is not None and iteration.backwards == 1:
            self._probes.read_gradients()
        if not math.isfinite(loss):
            self._loss_alarm(loss)

    @_guarded
    def clipped(self, parameters: list[Any], norm: Any, limit: float) -> None:
        """See `patches.Listener`."""
        if not parameters or id(parameters[0]) not in self._own:
            return
        self._trace.header["clip"] = limit
        norm = local(norm.detach()) if not hasattr(norm, "full_tensor") else norm.detach().full_tensor()
        if self._scaled_still():
            self._note("clip_before_unscale", clip=limit)
            self._iteration.clip_norm = norm.float() / self._iteration.scale.to(norm.device)
        else:
            self._iteration.clip_norm = norm.float()

    @_guarded
    def scaler_steps(self, scaler: Any, optimizer: Any) -> None:
        """See `patches.Listener`."""
        if scaler.is_enabled():
            self._scaler = scaler
            self._trace.header.setdefault("scaler", _scaler_settings(scaler))
        self._stepped_before = self._stopped_at

    @_guarded
    def scaler_stepped(self, scaler: Any, optimizer: Any) -> None:
        """See `patches.Listener`."""
        index = self._index(optimizer)
        if index is None or not scaler.is_enabled() or self._stopped_at != self._stepped_before:
            return
        self._iteration.skipped = True
        self._iteration.optimizers.append(index)
        if self._iteration.lr is None:
            self._iteration.lr = _learning_rate(self._optimizers[index])
        self._skips += 1
        if self._iteration.norm is None and self._iteration.clip_norm is None:
            self._iteration.norm = math.inf
        self._after_step()

    @_guarded
    def step_starts(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """An optimizer is about to update the weights."""
        index = self._index(optimizer)
        if index is None:
            return
        if index in self._iteration.optimizers:  # no backward pass since: it runs inside, in a closure
            self._end_iteration()
        iteration = self._iteration
        self._in_step = True
        self._with_closure = any(callable(each) for each in (*args, *kwargs.values()))
        iteration.lr = iteration.lr if iteration.lr is not None else _learning_rate(optimizer)
        found_inf = getattr(optimizer, "found_inf", None)
        if isinstance(found_inf, torch.Tensor):
            iteration.skipped = found_inf.detach().clone()
        if not self._with_closure:
            self._take_norm(index, getattr(optimizer, "grad_scale", None))
        started = time.perf_counter()
        self._measured = False
        if index == 0 and self._probes is not None and self._parameter_cadence.due(iteration.step):
            self._measured = True
            self._probes.read_weights()
            if not self._with_closure:
                self._probes.read_gradients()
            self._before_cost = time.perf_counter() - started

    @_guarded
    def step_ended(self, optimizer: Any, _args: Any, _kwargs: Any) -> None:
        """It has updated them."""
        index = self._index(optimizer)
        if index is None:
            return
        iteration = self._iteration
        if self._with_closure:
            self._take_norm(index, None)
        if self._measured and self._probes is not None and self._probes.ready:
            started = time.perf_counter()
            self._pending.append(("p", iteration.step, self._probes.after()))
            self._parameter_cadence.spend(time.perf_counter() - started + self._before_cost)
            self._measured = False
        self._in_step = self._with_closure = False
        self._stopped_at += 1
        iteration.optimizers.append(index)
        self._after_step()

    # Inside

    def _after_step(self) -> None:
        now = time.perf_counter()
        self._iteration.seconds += now - self._tick
        self._tick = now
        self._unflushed += 1
        first = self._steps == 16
        if first or self._unflushed >= self.window or now - self._flushed > _WINDOW_SECONDS:
            if self._flush_cost > 0.1 * self._budget * (now - self._flushed) and self._steps > FLUSH_STEPS:
                self.window = min(2 * self.window, _MAX_WINDOW)
                self._trace.header["window"] = self.window
            self._flush()
            self._flushed = time.perf_counter()
            self._flush_cost = self._flushed - now
            self._unflushed = 0

    def _end_if_over(self) -> None:
        """Ends the iteration if a new forward or backward pass begins another.

        So it does after an update, and where gradients were set to zero without one: a loop that skips a bad step
        by itself, or never calls `step`.
        """
        iteration = self._iteration
        if self._in_step:
            return
        if iteration.stepped or (iteration.backwards and self._seen_gradients and not self._carried_gradient()):
            if not iteration.stepped:
                self._after_step()
            self._end_iteration()

    def _end_iteration(self) -> None:
        """Makes a row of the step, and begins the next."""
        iteration = self._iteration
        if iteration.modules is None and self._sampling and self._module_probes is not None:
            iteration.modules = self._module_probes.take()
            self._module_cadence.spend(self._module_probes.cost)
        self._sampling = False
        self._pending.append(("s", iteration.step, iteration))
        if iteration.modules:
            self._pending.append(("m", iteration.step, (iteration.modules, iteration.scale)))
        self._steps = iteration.step + 1
        self._iteration = _Iteration(self._steps)
        self._forwards = 0
        self._fresh = True

    def _flush(self) -> None:
        self._resolve()
        header = self._trace.header
        header["steps"] = self._steps
        header["skipped"] = self._skips
        if header["rank"] == 0 or self._alarmed:
            self._trace.write()

    def _resolve(self) -> None:
        """Makes lines of what is pending: here the scalars leave the device."""
        pending, self._pending = self._pending, []
        scalars: list[Any] = []
        for kind, _, content in pending:
            if kind == "s":
                scalars += [each for each in _scalars(content) if isinstance(each, torch.Tensor)]
            elif kind == "m":
                scalars += [each for values in content[0].values() for each in values.values()]
                scalars.append(content[1])
            elif kind == "x":
                scalars += content.values()
        numbers = _read([each for each in scalars if isinstance(each, torch.Tensor)])
        for kind, step, content in pending:
            if kind == "s":
                self._trace.add("s", step, self._step_row(content, numbers))
            elif kind == "p":
                self._trace.add("p", step, _parameter_row(*content))
            elif kind == "m":
                self._trace.add("m", step, self._module_row(content[0], content[1], numbers))
            else:
                self._trace.add(kind, step, {key: _number(each, numbers) for key, each in content.items()})

    def _step_row(self, iteration: _Iteration, numbers: Mapping[int, float]) -> list[Any]:
        losses = [_number(each, numbers) for each in iteration.losses]
        whole = math.fsum(losses) if losses and all(map(math.isfinite, losses)) else _worst(losses)
        if whole is not None and iteration.backwards > 1 and not self._divided():
            whole /= len(losses)
        norm = iteration.clip_norm if iteration.clip_norm is not None else iteration.norm
        skipped = iteration.skipped
        if isinstance(skipped, torch.Tensor):
            skipped = bool(_number(skipped, numbers))
            self._skips += skipped
        values = {
            "loss": whole,
            "grad_norm": _number(norm, numbers),
            "lr": _number(iteration.lr, numbers),
            "loss_scale": _number(iteration.scale, numbers),
            "skipped": int(skipped),
            "seconds": iteration.seconds,
            "backwards": iteration.backwards,
            "carried": _number(iteration.carried, numbers),
            "optimizer": iteration.optimizers[0] if iteration.optimizers else None,
            "input_max": _number(iteration.input_max, numbers),
        }
        return [values[column] for column in STEP_COLUMNS]

    def _divided(self) -> bool:
        """Whether the loop divides the loss by the number of passes before an update, so that their sum is the mean."""
        operations = [each for each in self._trace.header.get("loss", {}).get("operations", []) if each != "Mul"]
        return operations[:1] == ["Div"]

    def _module_row(self, modules: Mapping[str, Any], scale: Any, numbers: Mapping[int, float]) -> dict[str, Any]:
        factor = _number(scale, numbers) or 1.0
        row: dict[str, Any] = {}
        for name, values in modules.items():
            kept = {key: _number(each, numbers) for key, each in values.items()}
            for key, each in kept.items():
                if key.startswith("grad") and isinstance(each, float):
                    kept[key] = each / factor
            row[self._label(name)] = kept
        return row

    def _measure_input(self, given: Any) -> None:
        """The largest magnitude of the batch."""
        if self._input_cadence.due(self._iteration.step):
            started = time.perf_counter()
            self._iteration.input_max = largest_of([given.detach()])[0]
            self._input_cadence.spend(time.perf_counter() - started)

    def _take_norm(self, index: int, grad_scale: Any) -> None:
        iteration = self._iteration
        if iteration.clip_norm is not None:
            norm = iteration.clip_norm
        elif self._norm_cadence.due(iteration.step):
            started = time.perf_counter()
            norm = total_norm(self._groups()[index])
            self._norm_cadence.spend(time.perf_counter() - started)
        else:
            return
        if norm is None:
            return
        if isinstance(grad_scale, torch.Tensor):
            norm = norm / grad_scale.to(norm.device)
        if iteration.norm is not None and iteration.clip_norm is None:
            norm = (norm.square() + iteration.norm**2).sqrt()
        if norm.device.type == "cpu":
            norm = float(norm)
            self._check_norm(norm)
        elif not _capturing(norm):
            self._unread_norm = norm
        iteration.norm = norm

    def _check_norm(self, norm: Any) -> None:
        if math.isfinite(float(norm)) or {"loss", "gradient"} & self._alarmed or self._iteration.skipped is not False:
            return
        named = [(label, gradient_of(each)) for label, each in zip(self._labels, self._parameters, strict=True)]
        named = [(label, each) for label, each in named if each is not None and each.numel()]
        bad = [
            (label, float(most))
            for (label, _), most in zip(named, largest_of([each for _, each in named]), strict=True)
            if not math.isfinite(float(most))
        ]
        if bad:
            self._alarm("gradient", bad[0][1], gradients=[label for label, _ in bad[:_MAX_NAMES]])

    def _loss_alarm(self, value: float) -> None:
        if "loss" not in self._alarmed:
            self._alarm("loss", value)

    def _alarm(self, what: str, value: float, **details: Any) -> None:
        """Notes the first value that is not finite, with the weights that are not; writes the file at once."""
        self._alarmed.add(what)
        step = self._iteration.step
        bad = [
            label
            for label, each in zip(self._labels, self._parameters, strict=True)
            if not bool(torch.isfinite(local(each.detach())).all())
        ]
        states = any(
            isinstance(value, torch.Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all())
            for optimizer in self._optimizers
            for state in optimizer.state.values()
            if isinstance(state, dict)
            for value in state.values()
        )
        self._trace.event(
            step,
            {"alarm": what, "value": value, "weights": bad[:_MAX_NAMES], "bad_state": states, **self._facts, **details},
        )
        if self.fault is None:
            self.fault = self._replay() or self._found
            if self.fault is not None:
                self._trace.event(step, {"fault": self._hidden(self.fault)})
        self._found = None
        self._flush()
        self._tell(what, value, step)
        if self._stop:
            raise NonFiniteError(f"the {what} is {value} at step {step}; the trace is in {self._trace.path}")

    def _tell(self, what: str, value: float, step: int) -> None:
        fault = self.fault or {}
        origin = f", first made by {fault['operation']}" if fault.get("operation") else ""
        place = f" in {fault['place']}" if origin and fault.get("place") else ""
        thing = f"{value} in the gradient" if what == "gradient" else f"{value} loss"
        text = f"numstab: {thing} at step {step}{origin}{place} → numstab diagnose {self._trace.path}"
        if what == "gradient" and self._closure is None:
            text += "\nnumstab: for the line that made it: watch(…, closure=lambda: loss_function(model(x), y))"
        print(text, file=sys.stderr, flush=True)

    def _dissect(self, root: Any) -> dict[str, Any] | None:
        """What the graph of a loss that is not finite says of its origin."""
        try:
            from numstab_watch.autopsy import autopsy

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _as_fields(autopsy(root))
        except Exception as error:  # a search that fails is no reason to stop recording
            self._note("search_failed", error=type(error).__name__)
            return None

    def _replay(self) -> dict[str, Any] | None:
        if self._closure is None or _distributed():
            return None
        try:
            from numstab_watch.replay import replay

            with warnings.catch_warnings(), torch.enable_grad():
                warnings.simplefilter("ignore")
                return _as_fields(replay(self._closure, self._model))
        except Exception as error:  # the same
            self._note("search_failed", error=type(error).__name__)
            return None

    def _hidden(self, fault: Mapping[str, Any]) -> dict[str, Any]:
        if self._names:
            return dict(fault)
        kept = {key: each for key, each in fault.items() if key not in ("place", "code")}
        return kept | {"module": self._label(str(fault.get("module", "")))}

    def _note(self, kind: str, **details: Any) -> None:
        """An event that is noted once."""
        if kind not in self._alarmed:
            self._alarmed.add(kind)
            self._trace.event(self._iteration.step, {"note": kind, **details})

    @_guarded
    def _manual_step(self, loss: Any, scalars: Mapping[str, Any]) -> None:
        if scalars:
            self._pending.append(("x", self._iteration.step, _kept(scalars)))
        if loss is not None and not self._iteration.losses:
            value = loss.detach().float().clone() if isinstance(loss, torch.Tensor) else float(loss)
            self._iteration.losses.append(value)
            if not math.isfinite(float(value)):
                self._loss_alarm(float(value))
        if not self._optimizers:
            if self._iteration.norm is None and self._norm_cadence.due(self._iteration.step):
                self._iteration.norm = total_norm(self._all)
            self._iteration.optimizers.append(0)
            self._after_step()
            self._end_iteration()

    @_guarded
    def _log(self, scalars: Mapping[str, Any]) -> None:
        if scalars:
            self._pending.append(("x", self._iteration.step, _kept(scalars)))

    @_guarded
    def _finish(self, reason: str) -> None:
        if self._loss is not None and not math.isfinite(self._loss):  # the backward pass itself has raised
            self._stop = False
            self._loss_alarm(self._loss)
        if self._iteration.stepped or self._iteration.losses:
            self._end_iteration()
        self._trace.event(max(self._steps - 1, 0), {"end": reason}, last=True)
        self._flush()

    def _give_up(self, error: Exception) -> None:
        """Ends the recording after an error of its own."""
        with_context = f"{type(error).__name__}: {error}"[:300]
        try:
            self._trace.event(self._iteration.step, {"error": with_context}, last=True)
            self._pending = [each for each in self._pending if each[0] == "s"]
            if self.path:
                self._flush()
        except Exception as second:  # nothing more can be done for the file
            with_context += f"; {type(second).__name__}: {second}"[:300]
        self._detach()
        print(f"numstab: recording ended by an error of its own ({with_context})", file=sys.stderr, flush=True)

    def _attach(self) -> None:
        for optimizer in self._optimizers:
            self._handles.append(optimizer.register_step_pre_hook(self.step_starts))
            self._handles.append(optimizer.register_step_post_hook(self.step_ended))
        if not _is_compiled(self._model) and isinstance(self._model, torch.nn.Module):
            self._handles.append(self._model.register_forward_pre_hook(_RootHook(self), with_kwargs=True, prepend=True))
        patches.subscribe(self)
        _open.add(self)
        atexit.register(_close_at_exit, weakref.ref(self))
        _watch_exceptions()

    def _detach(self) -> None:
        self.closed = True
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._module_probes is not None:
            self._module_probes.stop()
        patches.unsubscribe(self)
        _open.discard(self)

    def _header(self, level: str) -> dict[str, Any]:
        held = {id(each) for group in self._groups() for each in group}
        distributed = _distributed()
        modules = [
            {"name": self._label(name), "class": type(each).__name__} for name, each in self._model.named_modules()
        ]
        return {
            "schema": TRACE_SCHEMA,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": str(local(self._all[0]).device) if self._all else "cpu",
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "level": level,
            "window": FLUSH_STEPS,
            "rank": torch.distributed.get_rank() if distributed else 0,
            "world": torch.distributed.get_world_size() if distributed else 1,
            "columns": {"s": list(STEP_COLUMNS), "p": list(PARAMETER_COLUMNS)},
            "model": {"class": type(self._model).__name__, "modules": modules[:MAX_PARAMETERS]},
            "parameters": [
                describe_parameter(label, each, held=not held or id(each) in held)
                for label, each in zip(self._labels, self._parameters, strict=True)
            ],
            "parameters_left_out": self._left_out,
            "optimizers": [_optimizer_settings(each) for each in self._optimizers],
        }

    def _choose_parameters(self) -> tuple[list[Any], list[str], int]:
        named = [
            (name, each)
            for name, each in self._model.named_parameters()
            if each.is_floating_point() and not isinstance(each, torch.nn.parameter.UninitializedParameter)
        ]
        chosen = named[:: -(-len(named) // MAX_PARAMETERS)] if named else []
        return [each for _, each in chosen], [self._label(name) for name, _ in chosen], len(named) - len(chosen)

    def _groups(self) -> list[list[Any]]:
        return [[each for group in one.param_groups for each in group["params"]] for one in self._optimizers]

    def _index(self, optimizer: Any) -> int | None:
        optimizer = _unwrapped(optimizer)
        return next((at for at, each in enumerate(self._optimizers) if each is optimizer), None)

    def _label(self, name: str) -> str:
        """The name, or if names are to be hidden, a hash of each of its parts that is not a number."""
        if self._names or not name:
            return name
        parts = name.split(".")
        return ".".join(part if part.isdigit() else hashlib.sha256(part.encode()).hexdigest()[:8] for part in parts)

    def _unscaled(self, root: Any) -> tuple[Any, Any]:
        """The loss as a float scalar of its own, and the scale it was multiplied with, or None."""
        if self._scaler is None:
            self._scaler = patches.scaler_of(root)
        loss = root.detach().reshape(()).to(torch.float64 if root.dtype == torch.float64 else torch.float32, copy=True)
        scale = patches.scale_of(root)
        if scale is None and self._scaler is not None and self._scaler.is_enabled():
            scale = getattr(self._scaler, "_scale", None)
            scale = scale.detach().clone() if scale is not None else None
        return (loss / scale.to(loss.device), scale) if scale is not None else (loss, None)

    def _scaled_still(self) -> bool:
        """Whether the gradients are multiplied with the scale of a GradScaler at this moment."""
        if self._scaler is None or self._iteration.scale is None or not self._optimizers:
            return False
        states = getattr(self._scaler, "_per_optimizer_states", None)
        if states is None:
            return False
        stages = [states[id(each)]["stage"] for each in self._optimizers if id(each) in states]
        return all(getattr(stage, "name", "READY") == "READY" for stage in stages)

    def _gradient_signature(self) -> Any:
        gradients = [each.grad for each in self._witnesses]
        return [None if each is None else (id(each), each._version) for each in gradients]

    def _carried_gradient(self) -> Any:
        """Share of three tensors that hold a gradient other than zero."""
        gradients = [gradient_of(each) for each in self._witnesses]
        there = [each.flatten()[:256] for each in gradients if each is not None and each.numel()]
        if not there:
            return 0.0
        return torch.stack([(each != 0).any().float() for each in there]).mean()


def _autocast_dtype(device: str) -> str:
    """The dtype that operations are cast to, "" without autocast."""
    kind = device.partition(":")[0]
    if not torch.is_autocast_enabled(kind):
        return ""
    return str(torch.get_autocast_dtype(kind)).removeprefix("torch.")


def _distributed() -> bool:
    return bool(torch.distributed.is_available() and torch.distributed.is_initialized())


def _as_list(optimizer: Any) -> list[Any]:
    if optimizer is None:
        return []
    return list(optimizer) if isinstance(optimizer, Iterable) and not hasattr(optimizer, "step") else [optimizer]


def _unwrapped(optimizer: Any) -> Any:
    """The torch optimizer inside a wrapper that holds it as `optimizer`."""
    for _ in range(4):
        inner = getattr(optimizer, "optimizer", None)
        if inner is None or not hasattr(inner, "param_groups"):
            break
        optimizer = inner
    return optimizer


def _is_compiled(model: Any) -> bool:
    return hasattr(model, "_orig_mod") or isinstance(model, torch.jit.ScriptModule)


def _capturing(tensor: Any) -> bool:
    """Whether a CUDA graph is being captured, during which nothing may be read."""
    return tensor.device.type == "cuda" and bool(torch.cuda.is_current_stream_capturing())


def _learning_rate(optimizer: Any) -> Any:
    lr = optimizer.param_groups[0].get("lr")
    return lr.detach().clone() if isinstance(lr, torch.Tensor) else lr


def _optimizer_settings(optimizer: Any) -> dict[str, Any]:
    """Class and settings of each group; tensors of parameters are counted only."""
    groups = []
    for group in optimizer.param_groups[:32]:
        kept: dict[str, Any] = {"parameters": len(group["params"])}
        for key, value in group.items():
            if isinstance(value, torch.Tensor) and value.numel() == 1:
                value = float(value)  # noqa: PLW2901
            if isinstance(value, bool | int | float):
                kept[key] = value
            elif isinstance(value, tuple) and all(isinstance(each, int | float) for each in value):
                kept[key] = list(value)
        groups.append(kept)
    return {"class": type(optimizer).__name__, "groups": groups}


def _scaler_settings(scaler: Any) -> dict[str, Any]:
    return {
        "growth_interval": int(scaler.get_growth_interval()),
        "growth_factor": float(scaler.get_growth_factor()),
        "backoff_factor": float(scaler.get_backoff_factor()),
    }


def _scalars(iteration: _Iteration) -> list[Any]:
    return [
        *iteration.losses,
        iteration.norm,
        iteration.clip_norm,
        iteration.lr,
        iteration.scale,
        iteration.skipped,
        iteration.carried,
        iteration.input_max,
    ]


def _read(scalars: list[Any]) -> dict[int, float]:
    """The id of each scalar → its value, with one copy from each device."""
    by_device: dict[Any, list[Any]] = {}
    for each in scalars:
        by_device.setdefault(each.device, []).append(each)
    numbers: dict[int, float] = {}
    for device, tensors in by_device.items():
        dtype = torch.float32 if device.type == "mps" else torch.float64
        values = torch.stack([each.detach().reshape(()).to(dtype) for each in tensors]).tolist()
        numbers.update(zip(map(id, tensors), values, strict=True))
    return numbers


def _number(value: Any, numbers: Mapping[int, float]) -> Any:
    return numbers.get(id(value)) if isinstance(value, torch.Tensor) else value


def _worst(losses: list[float]) -> float | None:
    return next((each for each in losses if not math.isfinite(each)), None)


def _parameter_row(matrix: Any, has_gradient: Any) -> list[list[Any]]:
    """One list for each parameter, in the order of the columns; null where nothing could be measured."""
    weights = PARAMETER_COLUMNS.index("weight_rms"), PARAMETER_COLUMNS.index("update_rms")
    rows = []
    for values, has in zip(matrix.T.tolist(), has_gradient.tolist(), strict=True):
        if has:
            unknown = range(PARAMETER_COLUMNS.index("unchanged"), len(values))
            rows.append([None if at in unknown and math.isnan(each) else each for at, each in enumerate(values)])
        else:
            rows.append([each if at in weights else None for at, each in enumerate(values)])
    return rows


def _kept(scalars: Mapping[str, Any]) -> dict[str, Any]:
    kept = {}
    for key, value in list(scalars.items())[:64]:
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            kept[str(key)[:64]] = value.detach().clone()
        elif isinstance(value, bool | int | float):
            kept[str(key)[:64]] = value
    return kept


def _as_fields(fault: Any) -> dict[str, Any] | None:
    if fault is None:
        return None
    fields: dict[str, Any] = dict(fault) if isinstance(fault, Mapping) else fault.to_json()
    return fields


def _free_path(path: str) -> str:
    """The path, numbered if another open watch of this process writes there."""
    taken = {os.path.abspath(each.path) for each in _open if each.path}
    stem, dot, ending = os.path.basename(path).partition(".")
    candidate, number = path, 2
    while os.path.abspath(candidate) in taken:
        candidate = os.path.join(os.path.dirname(path), f"{stem}-{number}{dot}{ending}")
        number += 1
    return candidate


def _close_at_exit(reference: "weakref.ref[Watch]") -> None:
    owner = reference()
    if owner is not None:
        owner.close("exit")


_excepthook: Any = None


def _watch_exceptions() -> None:
    """Lets an exception that ends the program close the open watches, with its name, before it is printed."""
    global _excepthook  # noqa: PLW0603  # one hook for the process
    if _excepthook is not None:
        return
    _excepthook = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        for each in tuple(_open):
            each.close(f"exception {kind.__name__}")
        _excepthook(kind, error, traceback)

    sys.excepthook = hook
