"""What to write instead, for each kind of difference that made a program be compiled again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fxgrad.differences import Difference, DifferenceKind

_SAME_CALL: Final = (
    "a call like this one was compiled before. Either its program is gone, by jax.clear_caches() "
    "or .clear(), or what has changed is nothing that fxgrad watches",
)

PURE: Final = (
    "a function is replayed by its arguments and the values it read: pass what changes as an "
    "argument, such as a counter as an array or a random key, and return what is new; observe "
    "with fx.log"
)
LEAVE_ARGUMENTS: Final = (
    "static and replay call it with containers of their own, and the caller's stay as they are: "
    "change a copy and return it, such as {**state, 'count': count}"
)
PLAIN_OUTPUT: Final = (
    "return arrays in tuples, lists, dicts or registered pytrees; run a generator or make the "
    "object outside of the function"
)
REPEATING: Final = (
    "ask for what repeats, bool(x > limit); observe with fx.log(name, value); keep long loops in "
    "the graph with jax.lax.while_loop or jax.lax.scan"
)

CHANGED_UNSEEN: Final = (
    "the arguments are like those of an earlier call: what has changed is what the function reads "
    "besides them"
)

_ADVICE: Final[dict[DifferenceKind, str]] = {
    "shape": (
        "keep shapes fixed: drop or pad the last, smaller batch; pad lengths to a few sizes; "
        "pass a size that varies inside an array, not as a shape"
    ),
    "dtype": "convert to one dtype before the call: jnp.asarray(x, dtype=…)",
    "weak type": (
        "a Python number is weakly typed, and so is an array made of nothing else; other arrays "
        "are not: pass the same one each time, such as jnp.float32(x)"
    ),
    "static value": (
        "each new value of a static argument is a new program: if it only enters the arithmetic, "
        "take it out of static_argnames; if it is a setting, use few values"
    ),
    "Python value": (
        "a number or a string of Python's belongs to the path in replay, and each new one is "
        "recorded by a run of Python: to make a number an input, pass an array: jnp.asarray(x)"
    ),
    "tree structure": (
        "keep the same keys, lengths and container types at each call; put zeros and a mask in "
        "place of what is absent"
    ),
    "call form": "call the function in the same form each time: by position, or by keyword",
    "transform": (
        "a derivative or a batched version is a program of its own: make a Function of the outer "
        "computation, such as fx.function(jax.grad(f)), to see and keep it as one"
    ),
    "sharding": "place inputs the same way each time: jax.device_put(x, sharding), or in_shardings",
    "device": (
        "an array that jax.device_put has committed to a device and one that is uncommitted are "
        "different inputs: place all inputs once, before the loop"
    ),
    "mesh": "enter the same jax.set_mesh(…) around each call",
    "JAX config": "set JAX options once, before the first call",
}


def advise(facts: Sequence[Difference]) -> tuple[str, ...]:
    """One sentence for each kind of difference, in order; for no difference, what that means."""
    if not facts:
        return _SAME_CALL
    return tuple(dict.fromkeys(_advise_one(fact) for fact in facts))


def _advise_one(fact: Difference) -> str:
    before, after = _identity_name(fact.before), _identity_name(fact.after)
    if fact.kind == "static value" and after and before == after:
        return (
            f"{fact.path} is an object made anew for this call, equal to itself only: make it "
            "once, outside the loop, or give its class __eq__ and __hash__"
        )
    return _ADVICE[fact.kind]


def _identity_name(words: str) -> str:
    """The name in ``<function f at 0x7f…>``: the repr of what compares by identity; else empty."""
    name, at, _ = words.partition(" at 0x")
    return name if at and words.startswith("<") else ""
