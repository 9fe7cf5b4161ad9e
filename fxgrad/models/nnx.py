"""NNX modules as pure functions.

A module's variables fall into three parts: parameters (`nnx.Param`), random streams
(`nnx.RngState`), which are made from the key of each call and never carried along, and the rest,
which is the state.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from fxgrad.errors import ModelError

Apply = Callable[..., Any]
Init = Callable[..., tuple[Any, Any]]
Parts = tuple[Any, nnx.State, nnx.State, nnx.State]


def from_nnx_factory(make: Callable[[nnx.Rngs], Any]) -> tuple[Init, Apply]:
    """The `init` and `apply` of a `fxgrad.Model` for a function that makes a module."""

    def make_module(key: Any) -> nnx.Module:
        module = make(nnx.Rngs(key))
        if not isinstance(module, nnx.Module):
            raise ModelError(
                f"fx.from_flax was given {make!r}, which made {module!r} from an nnx.Rngs instead "
                "of an nnx.Module. For a Linen module write fx.from_flax(Net())."
            )
        return module

    def init(key: Any, *_: Any) -> tuple[Any, Any]:
        _graph, params, _streams, state = _split(make_module(key))
        return nnx.to_pure_dict(params), nnx.to_pure_dict(state)

    @functools.cache
    def parts() -> Parts:
        return _split(nnx.eval_shape(lambda: make_module(jax.random.key(0))))

    return init, _apply(parts)


def from_nnx_instance(module: nnx.Module) -> tuple[Init, Apply]:
    """The `init` and `apply` of a `fxgrad.Model` for the present values of a module."""
    parts = _split(module)
    values = jax.tree.map(jnp.copy, (nnx.to_pure_dict(parts[1]), nnx.to_pure_dict(parts[3])))

    def init(key: Any, *_: Any) -> tuple[Any, Any]:
        return jax.tree.map(jnp.copy, values)

    return init, _apply(lambda: parts)


def _apply(parts: Callable[[], Parts]) -> Apply:
    def apply(
        params: Any,
        *inputs: Any,
        state: Any = None,
        key: Any = None,
        train: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        graph, param_variables, streams, state_variables = parts()
        if state is None and nnx.to_flat_state(state_variables):
            raise ModelError(
                f"{_name(graph)} has variables that are no parameters "
                f"({', '.join(map(str, nnx.to_pure_dict(state_variables)))}): call "
                "apply(params, …, state=state). The state is the second of the pair that init "
                "returned."
            )
        seeded = _seed(streams, key)
        counts = _counts(seeded)
        module = nnx.merge(
            graph,
            _with_values(param_variables, params, f"params of {_name(graph)}"),
            seeded,
            _with_values(state_variables, state or {}, f"state of {_name(graph)}"),
        )
        outputs = module(*inputs, **_in_training_mode(module, train), **kwargs)
        _, _, used, new_state = _split(module)
        if key is None and any(a is not b for a, b in zip(counts, _counts(used), strict=True)):
            raise ModelError(
                f"{_name(graph)} drew random numbers: call apply(params, …, key=key), or "
                "train=False where it has none to draw."
            )
        return outputs if state is None else (outputs, _values_like(state_variables, new_state))

    return apply


def _in_training_mode(module: Any, train: bool | None) -> dict[str, bool]:
    """Put the module into training or evaluation mode; the argument for one that takes `train`."""
    if train is None:
        return {}
    module.train() if train else module.eval()
    parameters = inspect.signature(type(module).__call__).parameters
    return {"train": train} if "train" in parameters else {}


def _name(graph: Any) -> str:
    nodes = getattr(graph, "nodes", ())
    return getattr(getattr(nodes[0], "type", None), "__name__", "this module") if nodes else "it"


def _split(module: Any) -> Parts:
    graph, params, streams, state = nnx.split(module, nnx.Param, nnx.RngState, ...)
    return graph, params, streams, state


def _with_values(variables: nnx.State, values: Any, whose: str) -> nnx.State:
    """New variables like `variables` that hold `values`: merging does not copy."""
    known = nnx.to_flat_state(variables)
    given = dict(_flat(values))
    missing = [path for path, _ in known if path not in given]
    extra = [path for path in given if path not in dict(known)]
    if missing or extra:
        told = [*(f"{_dotted(path)} is missing" for path in missing)]
        told += [f"{_dotted(path)} is not one of them" for path in extra]
        raise ModelError(f"these are not the {whose}: {', '.join(told[:4])}.")
    return nnx.from_flat_state({path: _filled(leaf, given[path]) for path, leaf in known})


def _flat(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from _flat(value, (*path, name))
    else:
        yield path, values


def _filled(leaf: Any, value: Any) -> Any:
    return leaf.replace(value) if isinstance(leaf, nnx.Variable) else value


def _values_like(variables: nnx.State, state: nnx.State) -> Any:
    """The values of `state` that `variables` have too, without what a call has made anew."""
    known = {path for path, _ in nnx.to_flat_state(variables)}
    kept = {path: leaf for path, leaf in nnx.to_flat_state(state) if path in known}
    return nnx.to_pure_dict(nnx.from_flat_state(kept))


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def _seed(streams: nnx.State, key: Any) -> nnx.State:
    """Every stream from its own fold of `key`, so that no two layers draw the same numbers.

    A stream that was split, for layers made by `nnx.vmap`, holds an array of keys.
    """
    seeded = {}
    for i, (path, variable) in enumerate(nnx.to_flat_state(streams)):
        shape = variable.get_value().shape
        if isinstance(variable, nnx.RngKey):
            folded = jax.random.fold_in(_stream_key(key, variable.tag), i)
            value = jax.random.split(folded, shape) if shape else folded
        else:
            value = jnp.zeros(shape, jnp.uint32)
        seeded[path] = variable.replace(value)
    return nnx.from_flat_state(seeded)


def _stream_key(key: Any, stream: str) -> Any:
    if key is None:
        return jax.random.key(0)  # never drawn from: `apply` checks the counts
    if isinstance(key, Mapping):
        if stream not in key and "default" not in key:
            raise ModelError(f"the module has a random stream {stream!r}; the keys given: {[*key]}")
        return key.get(stream, key.get("default"))
    return key


def _counts(streams: nnx.State) -> list[Any]:
    """The counts themselves: drawing a number replaces its stream's count, traced or not."""
    variables = nnx.to_flat_state(streams)
    return [v.get_value() for _, v in variables if isinstance(v, nnx.RngCount)]
