"""Precision: which operations compute in fewer bits than their operands hold.

Matrix products and convolutions do, and nothing else. They are where the time goes, and the
hardware adds up their terms in 32 bits. All that a model sums, averages, normalises or
exponentiates by itself stays in float32, and so do parameters, gradients and states. How losses
are scaled for float16 belongs to `train.loss_scale`.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, ParamSpec, TypeVar, get_args

import jax
import jax.numpy as jnp

from fxgrad.errors import OptionError
from fxgrad.recorder import intercepted_jaxpr, intercepting, is_jaxpr, open_jaxpr, why_unavailable

Precision = Literal["f32", "bf16", "f16"]
P = ParamSpec("P")
R = TypeVar("R")

_FORMATS: Final[dict[str, Any]] = {"bf16": jnp.bfloat16, "f16": jnp.float16}
_NARROW: Final = frozenset(map(jnp.dtype, _FORMATS.values()))
_PRODUCTS: Final = frozenset(
    ["dot_general", "conv_general_dilated", "ragged_dot", "ragged_dot_general"]
)
# Primitives that hold jaxprs of the same operations. A kernel's jaxpr works on references and
# says its own dtypes, so that `pallas_call` is not among them.
_HOLDERS: Final = frozenset(
    [
        *("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2"),
        *("scan", "while", "cond"),
    ]
)
# What runs later, by rules that no jaxpr shows.
_RULED: Final = frozenset(["custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"])
_lowered: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()


def check_precision(name: object) -> Precision:
    """Return `name` if it is a precision.

    Raises:
      OptionError: it is none.
    """
    for known in get_args(Precision):
        if name == known:
            return known
    choices = ", ".join(map(repr, get_args(Precision)))
    raise OptionError(f"precision={name!r}: write one of {choices}.", option="precision")


def in_precision(fun: Callable[P, R], precision: Precision) -> Callable[P, R]:
    """The same function, whose matrix products and convolutions compute in fewer bits.

    The operands of a product are rounded to ``bfloat16`` or ``float16``, its terms are added up as
    the hardware does, in float32, and its result is float32 again. So is the product's derivative.
    Everything else is as written: what goes in and comes out, element-wise functions, sums and
    means, softmax, normalisation, and the sum of the gradients of a parameter that is used often.
    This holds for products inside of jit, scan, while, cond, vmap, remat, shard_map and custom
    derivatives too.

    What is not float32 is left alone, and so is a product that asks for more bits by its own
    ``precision=jax.lax.Precision.HIGH`` or ``HIGHEST``, which is how to keep a single product in
    float32. `jax.default_matmul_precision` set to ``"float32"`` asks for it everywhere.

    Args:
      fun: any function of JAX arrays, such as a loss or the `apply` of a model. Python may decide
        by values in it where the mode allows.
      precision: ``"bf16"``, ``"f16"``, or ``"f32"`` for the function as it is.

    Raises:
      OptionError: `precision` is none of these, or this JAX lacks what it takes.
    """
    if check_precision(precision) == "f32":
        return fun
    if problem := why_unavailable():
        raise OptionError(
            f"precision={precision!r} is not available: {problem}", option="precision"
        )
    products = _Products(_Lowered(_FORMATS[precision]))

    @functools.wraps(fun)
    def lowered(*args: P.args, **kwargs: P.kwargs) -> R:
        with intercepting(products):
            return fun(*args, **kwargs)

    return lowered


def summed_in_f32(fun: Callable[P, R]) -> Callable[P, R]:
    """The same function, whose 16-bit products leave no sum over devices to 16 bits.

    Where the terms of a product lie on several devices, each adds up its own, and the shares are
    added up after that, in the dtype of the product's result. Here that is float32, and is rounded
    only then. It is for backward passes: what `in_precision` has lowered is derived into products
    of 16 bits, among them the gradients of the parameters, whose terms are the rows of the batch.

    Args:
      fun: any function of JAX arrays. Its results have the dtypes that they have without this.
    """
    if why_unavailable():
        return fun  # and nothing has been lowered

    @functools.wraps(fun)
    def summed(*args: P.args, **kwargs: P.kwargs) -> R:
        with intercepting(_Products(_Wide())):
            return fun(*args, **kwargs)

    return summed


@dataclass(frozen=True)
class _Products:
    """Binds the products that `change` fits by it, and all else as it is."""

    change: _Lowered | _Wide

    def __call__(self, primitive: Any, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
        if primitive.name in _PRODUCTS and self.change.fits(inputs, params):
            return self.change.bind(primitive, inputs, params)
        if primitive.name in _HOLDERS:
            params = {name: self._held(value) for name, value in params.items()}
        return primitive.bind(*inputs, **primitive.get_bind_params(params))

    def _held(self, value: Any) -> Any:
        if is_jaxpr(value):
            return self._jaxpr(value)
        if type(value) in (tuple, list) and any(map(is_jaxpr, value)):
            return type(value)(self._held(element) for element in value)
        return value

    def _jaxpr(self, jaxpr: Any) -> Any:
        """The jaxpr with its products lowered; the same one each time, so that programs are."""
        made = _lowered.setdefault(jaxpr, {})
        if self.change not in made:
            made[self.change] = intercepted_jaxpr(jaxpr, self) if _has_products(jaxpr) else None
        return jaxpr if made[self.change] is None else made[self.change]


@dataclass(frozen=True)
class _Lowered:
    """A product of float32 in `dtype`."""

    dtype: Any

    def fits(self, inputs: Sequence[Any], params: dict[str, Any]) -> bool:
        """Whether the operands are float32, and nobody has asked for all of their bits."""
        asked = params.get("precision")
        asked = asked if isinstance(asked, tuple) else (asked,)
        is_plain = all(each in (None, jax.lax.Precision.DEFAULT) for each in asked)
        wanted = params.get("preferred_element_type")
        return is_plain and wanted in (None, jnp.float32) and all(map(_is_f32, inputs[:2]))

    def bind(self, primitive: Any, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
        """The product of the rounded operands, in float32."""
        rounded = [_converted(x, self.dtype) if _is_f32(x) else x for x in inputs]
        result = primitive.bind(*rounded, **{**params, "preferred_element_type": None})
        return _converted(result, jnp.float32)


@dataclass(frozen=True)
class _Wide:
    """A product of 16 bits with a result of 32, which is rounded to 16 then."""

    def fits(self, inputs: Sequence[Any], params: dict[str, Any]) -> bool:
        """Whether both operands and the result have one 16-bit format."""
        dtypes = {jnp.result_type(x) for x in inputs[:2]}
        wanted = params.get("preferred_element_type")
        return len(dtypes) == 1 and dtypes <= _NARROW and (wanted is None or {wanted} <= dtypes)

    def bind(self, primitive: Any, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
        """The product, in the operands' dtype; its derivatives are those that it has unwidened."""

        @jax.custom_jvp
        def wide(*inputs: Any) -> Any:
            result = primitive.bind(*inputs, **{**params, "preferred_element_type": jnp.float32})
            return _converted(result, jnp.result_type(inputs[0]))

        # Derived itself, a product of mixed dtypes would meet rules that know of none.
        narrow = functools.partial(primitive.bind, **params)
        wide.defjvp(lambda primals, tangents: jax.jvp(narrow, primals, tangents))
        return wide(*inputs)


def _is_f32(value: Any) -> bool:
    return jnp.result_type(value) == jnp.float32


def _converted(value: Any, dtype: Any) -> jax.Array:
    return jax.lax.convert_element_type(value, dtype)


def _has_products(jaxpr: Any) -> bool:
    return any(
        equation.primitive.name in _PRODUCTS
        or any(map(_has_products, _jaxprs_in(equation.params.values())))
        or equation.primitive.name in _RULED
        for equation in open_jaxpr(jaxpr).eqns
    )


def _jaxprs_in(values: Any) -> list[Any]:
    found = []
    for value in values:
        if is_jaxpr(value):
            found.append(value)
        elif type(value) in (tuple, list):
            found += filter(is_jaxpr, value)
    return found
