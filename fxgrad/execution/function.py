"""`fx.function`: one pure function, run in the mode that wins at each call."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, ParamSpec, Protocol, TypeVar, overload

import jax

from fxgrad.errors import ArgumentError
from fxgrad.execution.eager import Eager
from fxgrad.execution.explain import Explanation, History
from fxgrad.execution.method import BoundFunction, method_of
from fxgrad.execution.options import UNSET, Options, names
from fxgrad.execution.replay import Replay
from fxgrad.execution.static import Static
from fxgrad.execution.stats import Counts, Stats, total
from fxgrad.modes import Mode, check_mode, resolve
from fxgrad.paths import call_shape_of
from fxgrad.places import place_of_function
from fxgrad.replay.paths import PathTree

P = ParamSpec("P")
R = TypeVar("R")


class Runner(Protocol):
    """What each mode offers: a call, and exact counts of what it did."""

    counts: Counts

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function with these arguments."""
        ...


# The table of modes. Each row makes the runner of one mode for one function.
_RUNNERS: Final[dict[Mode, Callable[[Callable[..., Any], Options, History], Runner]]] = {
    "eager": lambda fun, options, history: Eager(fun, options),
    "static": Static,
    "replay": Replay,
}


class Function(Generic[P, R]):
    """A pure function that runs in any mode. Made by `function`."""

    def __init__(
        self,
        fun: Callable[P, R],
        mode: Mode | None,
        options: Options,
        *,
        watch_remaking: bool = True,
    ) -> None:
        functools.update_wrapper(self, fun, updated=())
        self._fun = fun
        self._mode: Mode | None = mode
        self._options = options
        self._watch_remaking = watch_remaking
        self._bound: dict[int, tuple[weakref.ref[Any], Function[..., R]]] = {}
        self._bound_lock = threading.Lock()
        self.clear()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function in the mode that wins here."""
        return self._runners[resolve(self._mode)](args, kwargs)

    def stats(self) -> Stats:
        """Exact counts of calls, Python runs, programs and misses, and compile seconds."""
        return total({mode: runner.counts for mode, runner in self._runners.items()})

    def explain(self) -> Explanation:
        """Why each program was compiled, against the nearest earlier one, and what to change.

        For replay also what each line costs at which Python asks for a value.
        """
        name = getattr(self, "__qualname__", None) or repr(self._fun)
        place = place_of_function(self._fun)
        return self._history.explanation(name, place, self._replay.decisions())

    def tree(self, *args: Any, **kwargs: Any) -> PathTree:
        """The paths that replay has recorded: decisions with their lines, values seen, hits.

        Given arguments, those of calls with such arguments only; nothing runs.
        """
        return self._replay.tree(args, kwargs)

    @property
    def _replay(self) -> Replay:
        replay = self._runners["replay"]
        assert isinstance(replay, Replay)
        return replay

    def clear(self) -> None:
        """Drop every compiled program, count and explanation."""
        self._history = History(self._fun, watch_remaking=self._watch_remaking)
        self._runners: dict[Mode, Runner] = {
            mode: make(self._fun, self._options, self._history) for mode, make in _RUNNERS.items()
        }

    def lower(self, *args: P.args, **kwargs: P.kwargs) -> jax.stages.Lowered:
        """The static graph for these arguments, as `jax.jit` lowers it: text, cost, compile.

        Raises:
          ValueDependenceError: Python needs a value.
        """
        return self.trace(*args, **kwargs).lower()

    def trace(self, *args: P.args, **kwargs: P.kwargs) -> jax.stages.Traced:
        """The static graph for these arguments, as `jax.jit` traces it: its jaxpr.

        Raises:
          ValueDependenceError: Python needs a value.
        """
        static = self._runners["static"]
        assert isinstance(static, Static)
        return static.trace(args, kwargs)

    def in_mode(self, mode: Mode) -> Function[P, R]:
        """A new Function of the same code and options, with its own mode and an empty cache."""
        return Function(self._fun, check_mode(mode), self._options, watch_remaking=False)

    def spared(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, and new arrays for all of them if a call may take over some."""
        return jax.tree.map(copied, args) if self.donates else args

    @property
    def donates(self) -> frozenset[str]:
        """The names of the arguments whose buffers a compiled call may take over."""
        return self._options.donate_argnames

    def __repr__(self) -> str:
        name = getattr(self, "__qualname__", repr(self._fun))
        own = "" if self._mode is None else f", mode={self._mode!r}"
        return f"fx.function({name}{own})"

    def __reduce__(self) -> str:
        # As with plain functions, a copy is the function itself, and a reference is by name.
        return getattr(self, "__qualname__", "function")

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Function[P, R]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> BoundFunction[R]: ...
    def __get__(
        self, instance: object | None, owner: type | None = None
    ) -> Function[P, R] | BoundFunction[R]:
        if instance is None:
            return self
        if not jax.tree_util.all_leaves([instance]):
            return BoundFunction(self, instance, instance_is_argument=True)
        return BoundFunction(self._function_of(instance), instance, instance_is_argument=False)

    def _function_of(self, instance: object) -> Function[..., R]:
        """The Function of one instance, with a cache of its own that dies with the instance."""
        key = id(instance)
        with self._bound_lock:
            if key not in self._bound:
                self._bound[key] = self._make_bound(instance, key)
            return self._bound[key][1]

    def _make_bound(self, instance: object, key: int) -> tuple[weakref.ref[Any], Function[..., R]]:
        try:
            alive = weakref.ref(instance, lambda _: self._bound.pop(key, None))
        except TypeError:
            raise ArgumentError(
                f"{self!r} is a method of {type(instance).__name__}, whose instances cannot be "
                "referenced weakly. Add '__weakref__' to its __slots__, or register the class "
                "as a pytree.",
                path="self",
            ) from None
        method, options = method_of(self._fun, alive), self._options.without_first(self._fun)
        return alive, Function(method, self._mode, options, watch_remaking=False)


@overload
def function(
    fun: Callable[P, R],
    *,
    mode: Mode | None = ...,
    static_argnames: str | Iterable[str] = ...,
    donate_argnames: str | Iterable[str] = ...,
    in_shardings: Any = ...,
    out_shardings: Any = ...,
) -> Function[P, R]: ...
@overload
def function(
    fun: None = ...,
    *,
    mode: Mode | None = ...,
    static_argnames: str | Iterable[str] = ...,
    donate_argnames: str | Iterable[str] = ...,
    in_shardings: Any = ...,
    out_shardings: Any = ...,
) -> Callable[[Callable[P, R]], Function[P, R]]: ...
def function(
    fun: Callable[..., Any] | None = None,
    *,
    mode: Mode | None = None,
    static_argnames: str | Iterable[str] = (),
    donate_argnames: str | Iterable[str] = (),
    in_shardings: Any = UNSET,
    out_shardings: Any = UNSET,
) -> Any:
    """Make a `Function`: a pure function that runs in the mode that wins at each call.

    The mode of a call is the innermost `fx.mode` block's, else that of ``FXGRAD_MODE``, else
    `mode`, else ``"replay"``. Called inside a JAX transform or another Function, it becomes part
    of that.

    On a method of a class that is a pytree, ``self`` is an argument like any other. On a method of
    any other class, each instance has its own compiled programs, and what a static program reads
    from ``self`` is read while tracing and not again.

    Args:
      fun: a pure function of pytrees of arrays. Left out, `function` is a decorator with options:
        ``@fx.function(mode="eager")``.
      mode: ``"eager"``, ``"static"``, ``"replay"``, or None to leave it to the surroundings.
      static_argnames: arguments that are plain hashable Python values and part of the program;
        `jax.jit`'s option. Eager passes them on.
      donate_argnames: arguments whose buffers the program may use for its outputs; they must not
        be used after the call. Replay takes them over once every outcome has been seen; eager
        leaves them alone.
      in_shardings: shardings for the positional arguments that are not static, as for `jax.jit`;
        eager moves the arguments there first.
      out_shardings: shardings for the outputs, as for `jax.jit`; eager moves the outputs there.

    Returns:
      A `Function` with the name, docstring and signature of `fun`.

    Raises:
      ModeError: `mode` is not a mode.
      ArgumentError: `fun` cannot be called, or has no parameter of a name given.
    """
    if mode is not None:
        check_mode(mode)
    if fun is None:
        return functools.partial(
            function,
            mode=mode,
            static_argnames=static_argnames,
            donate_argnames=donate_argnames,
            in_shardings=in_shardings,
            out_shardings=out_shardings,
        )
    if not callable(fun):
        raise ArgumentError(
            f"fx.function takes a function, not {fun!r}. With options, write "
            "@fx.function(mode=…) above the function.",
            path="fun",
        )
    options = Options(names(static_argnames), names(donate_argnames), in_shardings, out_shardings)
    _check_names(fun, options)
    return Function(fun, mode, options)


AnyFunction = Function[..., Any] | BoundFunction[Any]


def as_function(fun: Callable[..., Any]) -> AnyFunction:
    """`fun` itself if it is a Function or a method that is one, else a Function of it."""
    return fun if isinstance(fun, Function | BoundFunction) else function(fun)


def copied(leaf: Any) -> Any:
    """A new array of equal values; what is no array of JAX is itself."""
    return jax.numpy.copy(leaf) if isinstance(leaf, jax.Array) else leaf


def _check_names(fun: Callable[..., Any], options: Options) -> None:
    call_shape = call_shape_of(fun)
    if call_shape is None:
        return
    if any(p.kind is p.VAR_KEYWORD for p in call_shape.parameters.values()):
        return
    for option in ("static_argnames", "donate_argnames"):
        for name in sorted(getattr(options, option)):
            if name not in call_shape.parameters:
                raise ArgumentError(
                    f"{option} names {name!r}, but the parameters are {call_shape}.", path=name
                )
