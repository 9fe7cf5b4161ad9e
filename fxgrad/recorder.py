"""The one door to JAX's core: hears the operations of a running function, and forces values.

A `Recorder` stands at the bottom of JAX's stack of traces, where eager evaluation stands otherwise.
Autodiff, vmap and custom rules happen above it, so what it hears are plain primitives. What becomes
of them, and where the value of a forced tracer comes from, is its listener's to say.
"""

from __future__ import annotations

import functools
import sys
import sysconfig
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final, NamedTuple, Protocol, cast

import jax
import jax.core
import jax.extend.core as jex
import numpy as np

from fxgrad.places import Frame, Place, place_of_frames

try:
    from jax._src import config as _config
    from jax._src import core as _core
    from jax._src import distributed as _distributed
    from jax._src import linear_util as _lu
    from jax._src import source_info_util
    from jax._src.interpreters import partial_eval as _pe
    from jax._src.lax import lax as _lax
except ImportError as error:  # a JAX that keeps these elsewhere: `self_check` says so
    _import_error: ImportError | None = error
    _config = _core = _distributed = _lax = _lu = _pe = source_info_util = cast(Any, None)
else:
    _import_error = None

# JAX asks `is_concrete` as a mere optimisation in a dozen places. These are the askers that need
# the value: Python's conversions, JAX's own demands, and what is an error in the absence of one.
_DEMANDS: Final = frozenset(
    [
        *("__bool__", "__int__", "__index__", "__hex__", "__oct__", "concrete_or_error"),
        *("_is_slice_element_none_or_constant_or_symbolic", "expand_bool_indices", "fori_loop"),
    ]
)
_PASSED_ON: Final = frozenset(["to_concrete_value", "is_concrete"])
_JAX_FOLDER: Final = jax.__file__.removesuffix("__init__.py")
_STANDARD_LIBRARY: Final = sysconfig.get_paths()["stdlib"]
_JAXPRS: Final = (jex.Jaxpr, getattr(jex, "ClosedJaxpr", jex.Jaxpr))  # one class from 0.11 on
# Operations that eager does not compile as a whole.
_TAKEN_APART: Final = frozenset(["checkpoint", "remat", "remat2"])
# The parameter that holds what a call calls, by the name of the primitive.
_CALLS: Final = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}
# Their parameters have no hash, so their abstract evaluation cannot be cached.
_UNCACHED: Final = frozenset(["custom_lin", "call_hi_primitive_linearized"])


class Slot(NamedTuple):
    """A value of a recording, by its number: arguments first, then in the order they came up."""

    number: int


@dataclass(frozen=True, eq=False)
class Operation:
    """One primitive as it was heard.

    Attributes:
      primitive: JAX's primitive.
      params: its parameters.
      operands: for each input its `Slot`, or a Python or NumPy scalar.
      input_avals: the abstract values of the inputs.
      results: the slots of the outputs.
      output_avals: the abstract values of the outputs.
      has_effects: whether it prints, calls back, or writes a reference.
      context: JAX's settings around it, to be entered again where it is run.
      source: JAX's source information, for errors and views.
    """

    primitive: Any
    params: dict[str, Any]
    operands: tuple[Any, ...]
    input_avals: tuple[Any, ...]
    results: tuple[Slot, ...]
    output_avals: tuple[Any, ...]
    has_effects: bool
    context: Any
    source: Any

    @property
    def name(self) -> str:
        """What it is called: a nested function by its own name, others by their primitive's."""
        return str(self.params.get("name") or self.primitive.name)

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Bind the primitive to other inputs, under the trace that is current."""
        params = self.primitive.get_bind_params(self.params)
        around = source_info_util.user_context(
            self.source.traceback, name_stack=self.source.name_stack
        )
        with around, self.context.manager:
            results = self.primitive.bind(*inputs, **params)
        return results if self.primitive.multiple_results else [results]

    def run_on(self, values: dict[Slot, Any]) -> None:
        """Run on the values of its operands; `values` gains its results."""
        values.update(zip(self.results, self.run(self.inputs_from(values)), strict=True))

    def inputs_from(self, values: Mapping[Slot, Any]) -> list[Any]:
        """The values of its operands, by their slots or as they are."""
        return [values[o] if isinstance(o, Slot) else o for o in self.operands]


class Listener(Protocol):
    """What a `Recorder` tells, and whom it asks."""

    def hear(self, operation: Operation) -> None:
        """An operation has come up."""
        ...

    def capture(self, value: Any) -> Slot:
        """The slot of an array that is no argument and no result: a captured one."""
        ...

    def force(self, slot: Slot) -> Any:
        """The value of a slot that Python needs, as a NumPy array."""
        ...

    def log(self, name: str, value: Any) -> None:
        """A value is observed: a `RecordedTracer`, or what has a value already."""
        ...

    def is_live(self) -> bool:
        """Whether operations are to be run at once from here on, as eager runs them."""
        ...

    def hear_live(self) -> None:
        """An operation has come up and is run at once."""
        ...

    def value(self, slot: Slot) -> Any:
        """While live: the array of a slot."""
        ...


_listener: ContextVar[Listener | None] = ContextVar("fxgrad_listener", default=None)
current_listener: Final = _listener.get
"""The listener of the recording that is under way in this thread, or None."""


class ForeignTracerError(Exception):
    """A function that is being recorded closes over a tracer of an outer transform."""


class RecordedTracer(jax.core.Tracer):
    """Stands for a value of a recording. Python's conversions force it."""

    __slots__ = ("slot",)

    def __init__(self, trace: Recorder, aval: Any, slot: Slot) -> None:
        super().__init__(trace, aval)
        self.slot = slot

    def to_concrete_value(self) -> Any:
        """The value, for the askers that need it; None for those that would only like it."""
        frame = sys._getframe(1)
        while frame.f_code.co_name in _PASSED_ON and frame.f_back is not None:
            frame = frame.f_back
        code = frame.f_code
        if not code.co_filename.startswith(_JAX_FOLDER):
            return None
        # An integer to an integer power is another operation, or an error, by the value.
        is_integer_power = code.co_name == "power" and np.issubdtype(self.dtype, np.integer)
        return self._force() if code.co_name in _DEMANDS or is_integer_power else None

    def __float__(self) -> float:
        return float(self._force())

    def __complex__(self) -> complex:
        return complex(self._force())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self._force(), dtype=dtype)

    def __format__(self, spec: str) -> str:
        return format(self._force()[()], spec)  # [()] makes a scalar of what has no dimensions

    def __repr__(self) -> str:
        if _asked_by_jax():  # which names functions by what they hold, in case of an error
            return f"Recorded({self.aval})"
        value = self._force()
        with running():
            return repr(jax.numpy.asarray(value))

    def __str__(self) -> str:
        return str(self._force())

    def block_until_ready(self) -> RecordedTracer:
        """Nothing has been started that could be waited for."""
        return self

    def item(self, *args: int) -> Any:
        """One element, as a Python number."""
        return self._force().item(*args)

    def tolist(self) -> Any:
        """All elements, as nested lists of Python numbers."""
        return self._force().tolist()

    def _force(self) -> np.ndarray:
        if not self._trace.is_valid():
            raise _core.escaped_tracer_error(self)
        return self._trace.listener.force(self.slot)


class Recorder(jax.core.Trace):
    """Hears every primitive that a function binds."""

    __slots__ = ("_alive", "_count", "listener")

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self.listener = listener
        self._count = 0
        self._alive: dict[Slot, weakref.ref[RecordedTracer]] = {}

    def new_slot(self) -> Slot:
        """The next number."""
        self._count += 1
        return Slot(self._count - 1)

    def tracer(self, aval: Any) -> RecordedTracer:
        """A tracer in a slot of its own."""
        tracer = RecordedTracer(self, aval, self.new_slot())
        self._alive[tracer.slot] = weakref.ref(tracer)
        return tracer

    def alive(self) -> list[Slot]:
        """The slots whose tracers Python still holds: all that can be used from here on."""
        self._alive = {slot: ref for slot, ref in self._alive.items() if ref() is not None}
        return list(self._alive)

    def when_let_go(self, slot: Slot, then: Callable[[], None]) -> weakref.ref[RecordedTracer]:
        """Call `then` when Python lets go of a tracer; keep what this returns until then."""
        tracer = self._alive[slot]()
        assert tracer is not None
        return weakref.ref(tracer, lambda _: then())

    def process_primitive(self, primitive: Any, tracers: Any, params: Any, /) -> Any:
        """Hear one primitive; JAX calls this."""
        if self.listener.is_live():
            self.listener.hear_live()
            values = [self._live(value) for value in tracers]
            with running():
                return primitive.bind(*values, **primitive.get_bind_params(params))
        operands = tuple(self._operand(value) for value in tracers)
        avals = tuple(_core.typeof(value) for value in tracers)
        out_avals, effects = _abstract_eval(primitive, avals, params)
        out_avals = tuple(out_avals) if primitive.multiple_results else (out_avals,)
        results = [self.tracer(aval) for aval in out_avals]
        self.listener.hear(
            Operation(
                primitive=primitive,
                params=params,
                operands=operands,
                input_avals=avals,
                results=tuple(result.slot for result in results),
                output_avals=out_avals,
                has_effects=bool(effects),
                context=_core.current_jaxpr_eqn_context(),
                source=source_info_util.current(),
            )
        )
        return results if primitive.multiple_results else results[0]

    def process_custom_jvp_call(
        self, primitive: Any, fun: Any, jvp: Any, tracers: Any, /, **_: Any
    ) -> Any:
        """No derivative is taken below this trace: just the function, as eager does."""
        with jex.set_current_trace(self):
            return fun.call_wrapped(*tracers)

    def process_custom_vjp_call(
        self, primitive: Any, fun: Any, fwd: Any, bwd: Any, tracers: Any, /, **_: Any
    ) -> Any:
        """No derivative is taken below this trace: just the function, as eager does."""
        with jex.set_current_trace(self):
            return fun.call_wrapped(*tracers)

    def process_shard_map(self, primitive: Any, fun: Any, tracers: Any, /, **params: Any) -> Any:
        """One operation: the body, which runs on shards, is traced into a program of its own."""

        results: list[Any] = []

        def mapped(*args: Any) -> list[Any]:
            results.append(primitive.bind(*args, subfuns=[fun], **params))
            return list(results[0])

        with jex.set_current_trace(self):
            values = jax.jit(mapped)(*tracers)
        return results[0].update(values)

    def stage_value(self, val: Any) -> Any:
        """Lift what is no array of JAX's yet. A NumPy array is copied now: Python may change it."""
        if isinstance(val, jax.Array) and not isinstance(val, np.ndarray):
            return val
        copied = val.copy() if isinstance(val, np.ndarray) else val
        with running():
            return _core.eval_trace.stage_value(copied)

    def _operand(self, value: Any) -> Any:
        if isinstance(value, RecordedTracer) and value._trace is self:
            return value.slot
        if isinstance(value, _core.Tracer):
            raise ForeignTracerError
        if isinstance(value, np.ndarray) and not value.ndim:
            return value.copy()  # Python may change it later
        if isinstance(value, jax.Array | np.ndarray):
            return self.listener.capture(value)
        return value

    def _live(self, value: Any) -> Any:
        return self.listener.value(value.slot) if isinstance(value, RecordedTracer) else value


def record(
    fun: Callable[..., Any], make_arguments: Callable[[Recorder], Any], listener: Listener
) -> tuple[Any, Recorder]:
    """Run `fun` under a new recorder and give back what it returned, tracers and all.

    The recorder stays valid, so that what is returned can be read; `Recorder.invalidate` ends it.
    """
    recorder = Recorder(listener)
    token = _listener.set(listener)
    try:
        with jex.set_current_trace(recorder):
            args, kwargs = make_arguments(recorder)
            return fun(*args, **kwargs), recorder
    except BaseException:
        recorder.invalidate()
        raise
    finally:
        _listener.reset(token)


Bind = Callable[[Any, Sequence[Any], dict[str, Any]], Any]
"""How an intercepted primitive is bound: from it, its inputs and parameters to its results."""


class Interceptor(jax.core.Trace):
    """Hands every primitive to `bind`, under the trace that stood where this one stands now.

    It makes no tracers: values are those of the trace around it, so that nothing is lifted and
    Python's conversions are answered as they are without it.
    """

    __slots__ = ("_around", "_bind")

    def __init__(self, around: Any, bind: Bind) -> None:
        super().__init__()
        self._around = around
        self._bind = bind

    def process_primitive(self, primitive: Any, tracers: Any, params: Any, /) -> Any:
        """Bind one primitive; JAX calls this."""
        with jex.set_current_trace(self._around):
            return self._bind(primitive, tracers, params)

    def process_custom_jvp_call(
        self, primitive: Any, fun: Any, jvp: Any, tracers: Any, /, **params: Any
    ) -> Any:
        """The function and its rule, which may run later, are intercepted when they run."""
        subfuns = (self._intercepted(fun), self._intercepted(jvp))
        with jex.set_current_trace(self._around):
            return primitive.bind(*tracers, subfuns=subfuns, **params)

    def process_custom_vjp_call(
        self, primitive: Any, fun: Any, fwd: Any, bwd: Any, tracers: Any, /, **params: Any
    ) -> Any:
        """The function and its rules, which may run later, are intercepted when they run."""
        subfuns = (self._intercepted(fun), self._intercepted(fwd), self._intercepted(bwd))
        with jex.set_current_trace(self._around):
            return primitive.bind(*tracers, subfuns=subfuns, **params)

    def process_shard_map(self, primitive: Any, fun: Any, tracers: Any, /, **params: Any) -> Any:
        """The body is intercepted when it runs."""
        with jex.set_current_trace(self._around):
            return primitive.bind(*tracers, subfuns=[self._intercepted(fun)], **params)

    def stage_value(self, val: Any) -> Any:
        """A value is lifted as it is without this trace."""
        return self._around.stage_value(val)

    def _intercepted(self, fun: Any) -> Any:
        if isinstance(fun, _lu.WrappedFun):
            return fun.wrap(_call_intercepted, (self._bind,), None)
        return functools.partial(_call_intercepted, fun, self._bind)


def _call_intercepted(fun: Callable[..., Any], bind: Bind, *args: Any, **kwargs: Any) -> Any:
    with intercepting(bind):
        return fun(*args, **kwargs)


@contextmanager
def intercepting(bind: Bind) -> Iterator[None]:
    """Bind every primitive by `bind`, which has a hash and decides by what it is given alone."""
    with jex.set_current_trace(Interceptor(_core.trace_ctx.trace, bind)):
        yield


def intercepted_jaxpr(jaxpr: Any, bind: Bind) -> Any:
    """A jaxpr of the same inputs and outputs whose primitives are bound by `bind`.

    A closed jaxpr gives a closed one, an open one an open one.
    """
    opened = open_jaxpr(jaxpr)

    def run(*inputs: Any) -> Any:
        with intercepting(bind):
            return _core.eval_jaxpr(opened, getattr(jaxpr, "consts", ()), *inputs)

    wrapped = _lu.wrap_init(run, debug_info=opened.debug_info)
    made, _, constants = _pe.trace_to_jaxpr_dynamic(wrapped, [v.aval for v in opened.invars])
    if hasattr(made, "with_consts"):  # one class from 0.11 on
        return made.with_consts(constants)
    return made if jaxpr is opened else _JAXPRS[1](made, constants)


@contextmanager
def running() -> Iterator[None]:
    """Inside a recording: run operations at once instead of recording them."""
    with jex.set_current_trace(_core.eval_trace):
        yield


def open_jaxpr(value: Any) -> Any:
    """The jaxpr inside a closed one; an open one is itself."""
    return getattr(value, "jaxpr", value)


def called_jaxpr(primitive: Any, params: dict[str, Any]) -> Any:
    """The jaxpr that a primitive calls and does nothing else; None for all other primitives."""
    parameter = _CALLS.get(primitive.name)
    return None if parameter is None else params[parameter]


def without_donation(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a call that takes over the memory of none of its inputs."""
    donated = params.get("donated_invars", ())
    return {**params, "donated_invars": (False,) * len(donated)} if any(donated) else params


def names_in(jaxpr: Any) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The file of a traced function, and its inputs and outputs in words; empty if not known."""
    info = getattr(open_jaxpr(jaxpr), "debug_info", None)
    if info is None:
        return "", (), ()
    return (
        getattr(info, "func_filename", None) or "",
        tuple(info.arg_names or ()),
        tuple(info.result_paths or ()),
    )


def is_jaxpr(value: Any) -> bool:
    """Whether `value` is a jaxpr, open or closed."""
    return isinstance(value, _JAXPRS)


def is_literal(atom: Any) -> bool:
    """Whether an input of a jaxpr's equation is a literal and not a variable."""
    return isinstance(atom, jex.Literal)


def scan_parts(
    params: dict[str, Any], inputs: Sequence[Any]
) -> tuple[list[Any], list[Any], list[Any]]:
    """The inputs of a scan: what stays the same, what is carried on, what is gone through."""
    if "num_consts" in params:  # before JAX 0.11
        constants, end = params["num_consts"], params["num_consts"] + params["num_carry"]
        return list(inputs[:constants]), list(inputs[constants:end]), list(inputs[end:])
    constant, carried, gone_through = params["ft_in"].update(inputs).unpack()
    return list(constant), list(carried), list(gone_through)


def written_by(equation: Any) -> list[Any]:
    """The inputs of an equation that are mutable arrays and that it writes."""
    writes = (e for e in equation.effects if type(e).__name__ in ("WriteEffect", "AccumEffect"))
    return [effect.input for effect in writes if hasattr(effect, "input")]


def why_unavailable() -> str:
    """Why this JAX lacks what a recorder needs, or the empty string."""
    if _import_error is None:
        return ""
    return f"JAX {jax.__version__} has moved what the recorder needs: {_import_error}"


is_outermost: Callable[[], bool] = getattr(_core, "trace_state_clean", lambda: False)
"""Whether no transform is under way, so that a call may be recorded."""


# The attribute of a tracer that holds what it is made of, by the transform that it belongs to.
_LAYERS: Final = {"BatchTrace": "val", "JVPTrace": "primal", "LinearizeTrace": "primal"}


def bottom_of(value: Any) -> Any:
    """What a tracer is made of under derivatives and vmaps: another tracer, or an array."""
    while is_tracer(value) and (layer := _LAYERS.get(type(value._trace).__name__)):
        value = getattr(value, layer)
    return value


def is_tracer(value: Any) -> bool:
    """Whether `value` stands for an array inside a JAX transform, without a value of its own."""
    return isinstance(value, jax.core.Tracer)


def transform_of(value: Any) -> str:
    """The transform that a tracer belongs to, in words: ``"vmap of 8 in a derivative"``."""
    trace = type(value._trace).__name__
    if trace not in _LAYERS:
        return "another program" if trace == "DynamicJaxprTrace" else trace
    inner = getattr(value, _LAYERS[trace])
    words = "a derivative"
    if trace == "BatchTrace":
        words = f"vmap of {inner.shape[value.batch_dim]}"
    return f"{words} in {transform_of(inner)}" if is_tracer(inner) else words


def place_of(source: Any) -> Place | None:
    """The user's line behind an operation or an equation, by its source information."""
    return place_of_frames(frames_of(source))


def frames_of(source: Any) -> list[Frame]:
    """File, line and function of each frame behind an operation, innermost first."""
    traceback = source.traceback
    frames = [] if traceback is None else traceback.frames
    return [(frame.file_name, frame.line_num, frame.function_name) for frame in frames]


def inner_function(operation: Operation) -> Callable[..., Any] | None:
    """What eager runs op by op for one operation, as `jax.checkpoint`; None for all others."""
    is_taken_apart = operation.primitive.name in _TAKEN_APART
    jaxpr = operation.params.get("jaxpr") if is_taken_apart else None
    return None if jaxpr is None else functools.partial(_core.eval_jaxpr, jaxpr, ())


def scope_of(source: Any) -> str:
    """The transforms and named scopes around an operation: ``"transpose(jvp(Net))/Dense_0"``."""
    return str(source.name_stack)


def scope_entries(source: Any) -> list[tuple[str, int]]:
    """The named scopes around an operation, outermost first, each with what tells its entries."""
    return [
        (name, id(scope))
        for scope in source.name_stack.stack
        if isinstance(scope, source_info_util.Scope)
        for name in scope.name.split("/")
    ]


def positions_of(source: Any) -> tuple[tuple[Any, int], ...]:
    """The code and the instruction of each frame behind an operation, innermost first."""
    traceback = source.traceback
    return () if traceback is None else tuple(zip(*traceback.raw_frames(), strict=True))


def coordination() -> Any:
    """The client of the key-value store that the processes of a run share.

    None in a run of one process, and in one of many that JAX has not been told to coordinate.
    """
    state = _distributed and _distributed.global_state
    return state.client if state and state.num_processes > 1 else None


def devices_of(lowered: Any) -> tuple[Any, ...]:
    """The devices that a lowered program is for, in order; none where this JAX does not tell."""
    return tuple(getattr(getattr(lowered, "_lowering", None), "_device_list", None) or ())


def trace_context() -> Any:
    """All JAX settings that a compiled program depends on. Compare it whole."""
    return _config.trace_context()


def of_aval(value: Any, aval: Any) -> jax.Array:
    """`value`, which has the shape of `aval`, with its dtype and its weak type."""
    converted: Any = _lax._convert_element_type(value, aval.dtype, weak_type=aval.weak_type)
    return converted


def zeros_of_aval(aval: Any) -> jax.Array:
    """An array of zeros, or random keys made of zeros."""
    if not jax.numpy.issubdtype(aval.dtype, jax.dtypes.prng_key):
        return of_aval(jax.numpy.zeros(aval.shape, aval.dtype), aval)
    data = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(aval.shape, aval.dtype))
    return jax.random.wrap_key_data(jax.numpy.zeros(data.shape, data.dtype), impl=aval.dtype._impl)


def _asked_by_jax() -> bool:
    """Whether JAX's code is the nearest on the stack that is no library's of Python's own."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        filename = frame.f_code.co_filename
        if filename.startswith(_JAX_FOLDER):
            return True
        if not filename.startswith(("<", _STANDARD_LIBRARY)):
            return False
        frame = frame.f_back
    return False


def _abstract_eval(primitive: Any, avals: Any, params: Any) -> tuple[Any, Any]:
    with running():
        if primitive.name in _UNCACHED or primitive.ref_allocating:
            return primitive.abstract_eval(*avals, **params)
        return _pe._cached_abstract_eval(primitive, *avals, **params)
