"""Linen modules as pure functions. All of Linen's collections but ``params`` are the state."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import flax.errors
import jax
from flax import linen as nn

from fxgrad.errors import ModelError

Apply = Callable[..., Any]
Init = Callable[..., tuple[Any, Any]]


def from_linen(module: nn.Module) -> tuple[Init, Apply]:
    """The `init` and `apply` of a `fxgrad.Model` for a Linen module."""
    # What a module sows into a collection is added to what the collection holds, so giving the
    # state back would make it grow. Such collections are only read from, never given.
    sown: set[str] = set()

    def init(key: Any, *inputs: Any, **kwargs: Any) -> tuple[Any, Any]:
        state = dict(module.init(key, *inputs, **kwargs))
        return state.pop("params", {}), state

    def apply(params: Any, *inputs: Any, state: Any = None, key: Any = None, **kwargs: Any) -> Any:
        def run() -> Any:
            given = {name: value for name, value in (state or {}).items() if name not in sown}
            mutable = False if state is None else list(state)
            variables = {"params": params, **given}
            return module.apply(variables, *inputs, rngs=key, mutable=mutable, **kwargs)

        with _told_by(module):
            result = run()
            if state is None:
                return result
            grown = _grown(state, result[1])
            if grown:
                sown.update(grown)
                result = run()
        outputs, changed = result
        return outputs, {**state, **changed}

    return init, apply


def _grown(state: Any, changed: Any) -> set[str]:
    """The collections whose structure is no longer that of the state."""
    return {
        name
        for name, value in changed.items()
        if jax.tree.structure(value) != jax.tree.structure(state[name])
    }


@contextlib.contextmanager
def _told_by(module: nn.Module) -> Iterator[None]:
    """Flax's errors for what `apply` was not given, in this module's words."""
    name = type(module).__name__
    try:
        yield
    except (flax.errors.ScopeParamNotFoundError, flax.errors.ScopeParamShapeError) as error:
        raise ModelError(f"the params are not those of {name}: {_first_line(error)}") from error
    except flax.errors.ScopeCollectionNotFound as error:
        if '"params"' in str(error):
            raise ModelError(f"the params are not those of {name}: {_first_line(error)}") from error
        raise ModelError(_NEEDS_STATE.format(name=name)) from error
    except flax.errors.ModifyScopeVariableError as error:
        raise ModelError(_NEEDS_STATE.format(name=name)) from error
    except flax.errors.InvalidRngError as error:
        raise ModelError(
            f"{name} uses random numbers: call apply(params, …, key=key) with a jax.random key."
        ) from error


_NEEDS_STATE: Final = (
    "{name} uses mutable collections: call apply(params, …, state=state). The state is the second "
    "of the pair that init returned."
)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
