"""Linen modules as pure functions. All of Linen's collections but ``params`` are the state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.errors
from flax import linen as nn

from fxgrad.errors import ModelError

Apply = Callable[..., Any]
Init = Callable[..., tuple[Any, Any]]


def from_linen(module: nn.Module) -> tuple[Init, Apply]:
    """The `init` and `apply` of a `fxgrad.Model` for a Linen module."""

    def init(key: Any, *inputs: Any, **kwargs: Any) -> tuple[Any, Any]:
        state = dict(module.init(key, *inputs, **kwargs))
        return state.pop("params", {}), state

    def apply(params: Any, *inputs: Any, state: Any = None, key: Any = None, **kwargs: Any) -> Any:
        variables = {"params": params, **(state or {})}
        mutable = False if state is None else list(state)
        try:
            result = module.apply(variables, *inputs, rngs=key, mutable=mutable, **kwargs)
        except (flax.errors.ScopeCollectionNotFound, flax.errors.ModifyScopeVariableError) as error:
            raise _needs(module, "mutable collections", "state=state") from error
        except flax.errors.InvalidRngError as error:
            raise _needs(module, "random numbers", "key=key") from error
        if state is None:
            return result
        outputs, changed = result
        return outputs, {**state, **changed}

    return init, apply


def _needs(module: nn.Module, what: str, argument: str) -> ModelError:
    return ModelError(
        f"{type(module).__name__} uses {what}: call apply(params, …, {argument}). The state is the "
        "second of the pair that init returned."
    )
