"""Seeds: every random number of a training from one integer."""

from __future__ import annotations

import hashlib

import jax
import numpy as np

from fxgrad.errors import OptionError


class Seed:
    """Independent streams of random numbers, each with a name, all decided by one integer.

    A stream depends on the integer and its own name only, so asking for one more changes no other,
    and the order of asking does not matter.

    ```python
    seed = train.Seed(0)
    params, _ = model.init(seed.key("init"), x)
    state = train.TrainState.create(params, optimizer, key=seed.key("training"))
    batches = train.Batches(arrays, 64, seed=seed.integer("data"))
    ```

    Raises:
      OptionError: `value` is no whole number, or below 0.
    """

    def __init__(self, value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
            raise OptionError(f"Seed({value!r}): write a whole number from 0 on.", option="value")
        self.value = int(value)

    def __repr__(self) -> str:
        return f"Seed({self.value})"

    def key(self, name: str) -> jax.Array:
        """The random key of the stream `name`: a typed JAX key, from 64 bits of SHA-256."""
        low, high = np.frombuffer(self._digest(name)[:8], "<u4")
        return jax.random.fold_in(jax.random.key(low), high)

    def integer(self, name: str) -> int:
        """The seed of the stream `name` for others, such as `Batches` or NumPy; 0 to 2^31 - 1."""
        return int.from_bytes(self._digest(name)[8:12], "little") >> 1

    def _digest(self, name: str) -> bytes:
        return hashlib.sha256(f"fxgrad seed {self.value}: {name}".encode()).digest()
