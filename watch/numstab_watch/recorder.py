"""`watch(model, optimizer)`: follows a training loop that stays as it is, and writes a trace of bounded size."""

import functools
import math
import os
import sys
import time
import weakref
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Literal, ParamSpec

import torch

from numstab_watch import patches
from numstab_watch.cadence import MeasurementSchedule
from numstab_watch.forward_hook import ForwardHook
from numstab_watch.graph import loss_facts, target_facts
from numstab_watch.header import MeasuredParameters, autocast_dtype, is_compiled, is_distributed, trace_header
from numstab_watch.iteration import Iteration
from numstab_watch.loss_scale import LossScale
from numstab_watch.modules import ModuleProbes, first_tensor, nonfinite_share, tensors_in
from numstab_watch.names import TraceNames
from numstab_watch.open_watches import add_watch, close_watches_of, free_path, remove_watch
from numstab_watch.optimizers import (
    current_learning_rate,
    has_nonfinite_state,
    optimizers_in,
    scaler_settings,
    unwrapped,
)
from numstab_watch.origin import alarm_text, origin_by_replay, origin_in_graph
from numstab_watch.parameters import (
    GradientWitnesses,
    ParameterProbes,
    gradient_of,
    largest_magnitudes,
    local_shard,
    total_norm,
)
from numstab_watch.pending import PendingRows
from numstab_watch.trace import Trace

Level = Literal["steps", "layers", "forensic"]
Arguments = ParamSpec("Arguments")
FLUSH_STEPS = 256
"""Steps between two flushes: what a killed process loses at most. In a header, `window` is the current one."""
_WINDOW_SECONDS = 30.0
_MAX_WINDOW = 4096
_MAX_NAMES = 8
_LABEL_FACTS = ("classes", "labels", "ignored", "least_label", "largest_label", "target_bad")


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
        """The origin of the first inf or nan; None before there is one, or if it was not found."""
        self._pid = os.getpid()
        self._model = model
        self._optimizers = optimizers_in(optimizer)
        self._loss_scale = LossScale(scaler)
        self._closure = closure
        self._stop = stop
        self._names = TraceNames(shown=names)
        self._budget = budget
        self._handles: list[Any] = []
        self._iteration = Iteration(0)
        self._pending = PendingRows(self._names)
        self._alarmed: set[str] = set()
        self._steps = 0
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
        close_watches_of(model)
        measured = MeasuredParameters(model, self._names)
        self._parameters, self._labels = measured.parameters, measured.labels
        self._all = [each for group in self._groups() for each in group] or list(model.parameters())
        self._own = {id(each) for each in self._all}
        self._witnesses = GradientWitnesses(self._all)
        tenth = None if every is None else every * (1 if level == "forensic" else 10)
        self._input_cadence = MeasurementSchedule(
            budget * 0.1, dense=256, growth=1.05, every=1 if every is not None else None
        )
        self._norm_cadence = MeasurementSchedule(
            budget * 0.3, dense=256, growth=1.05, every=1 if every is not None else None
        )
        self._parameter_cadence = MeasurementSchedule(budget * 0.3, dense=16, growth=1.25, every=every)
        layers_growth = 1.25 if level == "forensic" else 1.6
        self._module_cadence = MeasurementSchedule(budget * 0.3, dense=3, growth=layers_growth, every=tenth)
        if self._parameters:
            self._probes = ParameterProbes(self._parameters)
        if level != "steps" and not is_compiled(model):
            self._module_probes = ModuleProbes(model)
        device = str(local_shard(self._all[0]).device) if self._all else "cpu"
        header = trace_header(
            model, self._optimizers, measured, self._names, device=device, level=level, window=FLUSH_STEPS
        )
        self._trace = Trace(free_path(path), header)
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
        """Hook before a training forward pass: records batch size, mode and input; starts module probes when due."""
        self._end_if_over()
        header = self._trace.header
        if "batch" not in header:
            header["batch"] = next((len(each) for each in tensors_in([*args, *kwargs.values()]) if each.dim()), None)
            header["training"] = bool(module.training)
            header["autocast"] = autocast_dtype(str(header["device"]))
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
        """Records the loss and its scale before a backward pass; if the loss is not finite, searches its graph for the
        origin.
        """
        if self._module_probes is not None:
            self._module_probes.stop()
        self._end_if_over()
        iteration = self._iteration
        if self._fresh and iteration.step < 64 and len(self._optimizers) == 1:
            iteration.carried = self._witnesses.carried()
        self._fresh = False
        self._signature = self._witnesses.signature()
        loss, scale = self._loss_scale.unscaled(root)
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
            self._found = self._search(origin_in_graph, root)
            facts = loss_facts(root) | target_facts(root)
            self._facts = {key: each for key, each in facts.items() if key in _LABEL_FACTS}
            given = self._input() if self._input is not None else None
            if given is not None:
                self._facts["input_bad"] = float(nonfinite_share(given))

    @_guarded
    def backward_ended(self, root: Any) -> None:
        """Records that a backward pass of a loss has ended; warns if the loss is not finite."""
        loss, self._loss = self._loss, None
        if loss is None:
            return
        touched = self._witnesses.signature() != self._signature
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
        """Records the limit and the norm of clipped gradients, and whether they still carry the loss scale."""
        if not parameters or id(parameters[0]) not in self._own:
            return
        self._trace.header["clip"] = limit
        norm = local_shard(norm.detach()) if not hasattr(norm, "full_tensor") else norm.detach().full_tensor()
        if self._iteration.scale is not None and self._loss_scale.is_in_gradients(self._optimizers):
            self._note("clip_before_unscale", clip=limit)
            self._iteration.clip_norm = norm.float() / self._iteration.scale.to(norm.device)
        else:
            self._iteration.clip_norm = norm.float()

    @_guarded
    def scaler_steps(self, scaler: Any, optimizer: Any) -> None:
        """Remembers the GradScaler, which is about to step."""
        if scaler.is_enabled():
            self._loss_scale.scaler = scaler
            self._trace.header.setdefault("scaler", scaler_settings(scaler))
        self._stepped_before = self._stopped_at

    @_guarded
    def scaler_stepped(self, scaler: Any, optimizer: Any) -> None:
        """Records that the GradScaler has skipped the step of an optimizer."""
        index = self._index(optimizer)
        if index is None or not scaler.is_enabled() or self._stopped_at != self._stepped_before:
            return
        self._iteration.skipped = True
        self._iteration.optimizers.append(index)
        if self._iteration.lr is None:
            self._iteration.lr = current_learning_rate(self._optimizers[index])
        self._pending.skips += 1
        if self._iteration.norm is None and self._iteration.clip_norm is None:
            self._iteration.norm = math.inf
        self._after_step()

    @_guarded
    def step_starts(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Hook before an update: records learning rate and gradient norm; reads weights and gradients if they are
        due.
        """
        index = self._index(optimizer)
        if index is None:
            return
        if index in self._iteration.optimizers:  # no backward pass since: it runs inside, in a closure
            self._end_iteration()
        iteration = self._iteration
        self._in_step = True
        self._with_closure = any(callable(each) for each in (*args, *kwargs.values()))
        iteration.lr = iteration.lr if iteration.lr is not None else current_learning_rate(optimizer)
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
        """Hook after an update: adds the statistics of parameters if they were read, and finishes the step."""
        index = self._index(optimizer)
        if index is None:
            return
        iteration = self._iteration
        if self._with_closure:
            self._take_norm(index, None)
        if self._measured and self._probes is not None and self._probes.ready:
            started = time.perf_counter()
            self._pending.add_parameters(iteration.step, *self._probes.after())
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
        if iteration.stepped or (iteration.backwards and self._seen_gradients and not self._witnesses.carried()):
            if not iteration.stepped:
                self._after_step()
            self._end_iteration()

    def _end_iteration(self) -> None:
        """Adds a row for the step, and begins the next."""
        iteration = self._iteration
        if iteration.modules is None and self._sampling and self._module_probes is not None:
            iteration.modules = self._module_probes.take()
            self._module_cadence.spend(self._module_probes.cost)
        self._sampling = False
        self._pending.add_step(iteration)
        self._steps = iteration.step + 1
        self._iteration = Iteration(self._steps)
        self._forwards = 0
        self._fresh = True

    def _flush(self) -> None:
        self._pending.write_to(self._trace)
        header = self._trace.header
        header["steps"] = self._steps
        header["skipped"] = self._pending.skips
        if header["rank"] == 0 or self._alarmed:
            self._trace.write()

    def _measure_input(self, given: Any) -> None:
        """Records the largest magnitude of the batch."""
        if self._input_cadence.due(self._iteration.step):
            started = time.perf_counter()
            self._iteration.input_max = largest_magnitudes([given.detach()])[0]
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
            for (label, _), most in zip(named, largest_magnitudes([each for _, each in named]), strict=True)
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
            if not bool(torch.isfinite(local_shard(each.detach())).all())
        ]
        self._trace.event(
            step,
            {
                "alarm": what,
                "value": value,
                "weights": bad[:_MAX_NAMES],
                "bad_state": has_nonfinite_state(self._optimizers),
                **self._facts,
                **details,
            },
        )
        if self.fault is None:
            replayable = self._closure is not None and not is_distributed()
            replayed = self._search(origin_by_replay, self._closure, self._model) if replayable else None
            self.fault = replayed or self._found
            if self.fault is not None:
                self._trace.event(step, {"fault": self._names.of_fault(self.fault)})
        self._found = None
        self._flush()
        advice = self._closure is None
        text = alarm_text(what, value, step, self.fault or {}, self._trace.path, advice=advice)
        print(text, file=sys.stderr, flush=True)
        if self._stop:
            raise NonFiniteError(f"the {what} is {value} at step {step}; the trace is in {self._trace.path}")

    def _search(self, search: Callable[..., dict[str, Any] | None], *args: Any) -> dict[str, Any] | None:
        """The result of a search for the origin of an inf or nan; None if it finds nothing or raises."""
        try:
            return search(*args)
        except Exception as error:  # a search that fails is no reason to stop recording
            self._note("search_failed", error=type(error).__name__)
            return None

    def _note(self, kind: str, **details: Any) -> None:
        """Adds an event of this kind, unless there is one already."""
        if kind not in self._alarmed:
            self._alarmed.add(kind)
            self._trace.event(self._iteration.step, {"note": kind, **details})

    @_guarded
    def _manual_step(self, loss: Any, scalars: Mapping[str, Any]) -> None:
        self._pending.add_scalars(self._iteration.step, scalars)
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
        self._pending.add_scalars(self._iteration.step, scalars)

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
            self._pending.keep_steps_only()
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
        if not is_compiled(self._model) and isinstance(self._model, torch.nn.Module):
            self._handles.append(
                self._model.register_forward_pre_hook(ForwardHook(self), with_kwargs=True, prepend=True)
            )
        patches.subscribe(self)
        add_watch(self, self._model)

    def _detach(self) -> None:
        self.closed = True
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._module_probes is not None:
            self._module_probes.stop()
        patches.unsubscribe(self)
        remove_watch(self)

    def _groups(self) -> list[list[Any]]:
        return [[each for group in one.param_groups for each in group["params"]] for one in self._optimizers]

    def _index(self, optimizer: Any) -> int | None:
        optimizer = unwrapped(optimizer)
        return next((at for at, each in enumerate(self._optimizers) if each is optimizer), None)


def _capturing(tensor: Any) -> bool:
    """Whether a CUDA graph is being captured, during which nothing may be read."""
    return tensor.device.type == "cuda" and bool(torch.cuda.is_current_stream_capturing())


_excepthook: Any = None
