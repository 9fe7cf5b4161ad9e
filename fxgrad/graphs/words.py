"""The words of a graph: shapes, scopes, parameters."""

from __future__ import annotations

import re
from typing import Any, Final

import jax

from fxgrad.graphs.record import Phase
from fxgrad.recorder import is_jaxpr, is_literal, open_jaxpr
from fxgrad.signature import array_in_words

_DETAIL: Final = 240  # characters
_SMALL: Final = 4  # equations
# What JAX writes for its transforms and for its own primitives with something inside. The rest of a
# name stack are scopes that modules or users have named.
_TRANSFORM: Final = re.compile(
    r"(jvp|transpose|vmap|pmap|linearize|remat\w*|checkpoint|jit|pjit|closed_call|core_call)\((.*)\)"
)
_CALLS: Final = frozenset(["jit", "pjit", "closed_call", "core_call"])
_INSIDE: Final = re.compile(
    r"while|body|cond|body_pred|scan|branch_\d+_fun|closed_call|core_call|pjit|checkpoint|remat\d?"
    r"|rematted_computation|eval_jaxpr|custom_jvp_call|custom_vjp_call\w*|shard_map"
)
_BACKWARD: Final = re.compile(r"(?:^|/|\()transpose\(\w*\(*jvp\(")
_FORWARD: Final = re.compile(r"(?:^|/|\()jvp\(")


def in_words(aval: Any) -> str:
    """Shape and dtype of an abstract value; of a token or a reference its own words."""
    if not hasattr(aval, "shape"):
        return str(aval)
    return array_in_words(aval.shape, aval.dtype)


def modules_in(scope: str) -> list[str]:
    """The named scopes of a name stack, without transforms: ``"transpose(jvp(Net))/Dense_0"``.

    Nested functions and loops, which are groups of their own, are left out.
    """
    found = []
    for name in scope.split("/"):
        while transform := _TRANSFORM.fullmatch(name):
            name = "" if transform[1] in _CALLS else transform[2]
        found.append(name)
    return [name for name in found if name and not _INSIDE.fullmatch(name)]


def phase_in(scope: str) -> Phase | None:
    """The pass that a name stack tells of; None if it does not."""
    if _BACKWARD.search(scope):
        return "backward"
    return "forward" if _FORWARD.search(scope) else None


def branch_name(number: int, count: int) -> str:
    """Which branch of a choice it is."""
    if count == 2:
        return ("if false", "if true")[number]
    return f"if {number}"


def has_more_inside(equation: Any) -> bool:
    """Whether an equation holds functions of some size: not the sum of a reduction."""
    leaves = jax.tree.leaves(list(equation.params.values()), is_leaf=is_jaxpr)
    return any(len(open_jaxpr(leaf).eqns) > _SMALL for leaf in leaves if is_jaxpr(leaf))


def detail_of(equation: Any) -> str:
    """The parameters in words, and the scalars among the inputs."""
    words = [
        f"{name}={value}"
        for name, value in equation.params.items()
        if value is not None and not is_jaxpr(value) and not callable(value) and name != "branches"
    ]
    scalars = [f"input {i} is {a.val}" for i, a in enumerate(equation.invars) if is_literal(a)]
    return ", ".join([*scalars, *words])[:_DETAIL]
