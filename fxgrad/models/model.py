"""A model as two pure functions, and `from_flax`, which makes them from a Flax module.

The two Flax APIs stand side by side in `linen` and `nnx`; Flax is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fxgrad.errors import ModelError
from fxgrad.precision import Precision, in_precision


@dataclass(frozen=True)
class Model:
    """A model: how its parameters begin, and what it computes from them. Both are pure.

    Attributes:
      init: ``init(key, *inputs) -> (params, state)``. `key` is a JAX random key, `inputs` are
        sample inputs whose shapes and dtypes matter. `params` is a pytree that an optimizer
        changes; `state` is a pytree that the model itself changes, such as batch statistics, and
        ``{}`` for a model that has none.
      apply: ``apply(params, *inputs) -> outputs`` or, given the state,
        ``apply(params, *inputs, state=state, key=key) -> (outputs, new_state)``. Whatever is
        random in it, such as dropout, comes from `key`.
    """

    init: Callable[..., tuple[Any, Any]]
    apply: Callable[..., Any]


def from_flax(module: Any, *, precision: Precision = "f32") -> Model:
    """Make a `Model` from a Flax module, Linen or NNX.

    Mutable collections (Linen) and all variables that are no parameters (NNX) are the model's
    explicit `state`; random streams are seeded by the explicit `key`, one key for all of them, or
    a dict with a key for each stream. Keyword arguments of `apply` go to the module.

    * Linen: ``fx.from_flax(Net())``, a module instance. The `params` are its ``"params"``
      collection, the `state` every other one. A collection that is sown into holds what the last
      call has sown.
    * NNX: ``fx.from_flax(lambda rngs: Net(rngs=rngs))``, a function or class that makes the module
      from an `nnx.Rngs`; or a module instance, whose present values `init` then returns, whatever
      the key. ``apply(…, train=True)`` puts the module into training mode, ``train=False`` into
      evaluation mode, as its own ``train()`` and ``eval()`` do, and is passed on to a module whose
      ``__call__`` has a parameter of that name. Variables that a call makes anew, such as sown
      ones, are not part of the new state.

    Args:
      module: a `flax.linen.Module`, an `flax.nnx.Module`, or a function from `nnx.Rngs` to one.
      precision: of the matrix products and convolutions of `apply`, as for `train.in_precision`;
        parameters, state and outputs keep their dtypes.

    Raises:
      OptionError: `precision` is none.
      ModelError: `module` is none of these; or, when called, `apply` lacks a state or a key that
        the module needs.
    """
    from flax import linen as nn  # noqa: PLC0415  Flax takes a second to import
    from flax import nnx  # noqa: PLC0415

    from fxgrad.models.linen import from_linen  # noqa: PLC0415
    from fxgrad.models.nnx import from_nnx_factory, from_nnx_instance  # noqa: PLC0415

    if isinstance(module, nn.Module):
        init, apply = from_linen(module)
    elif isinstance(module, nnx.Module):
        init, apply = from_nnx_instance(module)
    elif callable(module) and not (isinstance(module, type) and issubclass(module, nn.Module)):
        init, apply = from_nnx_factory(module)
    else:
        raise ModelError(
            f"fx.from_flax takes a Linen module (an instance: Net()), an NNX module, or a function "
            f"from nnx.Rngs to one; not {module!r}."
        )
    return Model(init, in_precision(apply, precision))
