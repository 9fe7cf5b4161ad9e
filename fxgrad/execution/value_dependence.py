"""Python asked for a value that a static graph does not have: which line, and what to write."""

from __future__ import annotations

from typing import Final

import jax

from fxgrad.errors import ValueDependenceError
from fxgrad.places import raising_place

VALUE_ERRORS: Final = (
    jax.errors.ConcretizationTypeError,  # bool(x), float(x), x.item(), a traced shape or bound
    jax.errors.TracerArrayConversionError,  # np.asarray(x)
    jax.errors.TracerIntegerConversionError,  # a_list[x], range(x)
    jax.errors.NonConcreteBooleanIndexError,  # x[x > 0]
)

_REPLAY = 'run it in replay, which compiles the paths that Python takes: mode="replay"'
_EAGER = 'run it as a dynamic graph: mode="eager"'
_WAYS_OUT: Final[dict[type[Exception], tuple[str, str]]] = {
    jax.errors.TracerBoolConversionError: (
        "Python decides by the value of an array",
        "keep both sides in the graph: jax.lax.cond, jax.lax.while_loop or jax.numpy.where",
    ),
    jax.errors.TracerArrayConversionError: (
        "NumPy asks for the values of an array",
        "use the function of the same name in jax.numpy",
    ),
    jax.errors.TracerIntegerConversionError: (
        "Python needs an array as an index or a count",
        "index a jax.numpy array instead of a Python sequence, or loop with jax.lax.fori_loop",
    ),
    jax.errors.NonConcreteBooleanIndexError: (
        "a boolean mask makes an array whose size depends on values",
        "keep the size fixed: jax.numpy.where(mask, x, 0)",
    ),
    jax.errors.ConcretizationTypeError: (
        "Python needs the value of an array",
        "if it is an argument that is a plain Python value, name it in static_argnames; "
        "if it is a size, give a fixed one (size=…)",
    ),
}


def explain_value_dependence(error: Exception) -> ValueDependenceError | None:
    """The same error in the user's words, or None when no line of the user's is behind it."""
    place = raising_place(error.__traceback__)
    if place is None:
        return None
    what, way_out = next(words for kind, words in _WAYS_OUT.items() if isinstance(error, kind))
    return ValueDependenceError(
        f"{place}: {place.line}\n"
        f"Here {what}, and a static graph is traced before there are any. Either\n"
        f"  {_REPLAY}\n"
        f"  {_EAGER}, or with fx.mode('eager'): …\n"
        f"  {way_out}",
        filename=place.filename,
        lineno=place.lineno,
        line=place.line,
    )
