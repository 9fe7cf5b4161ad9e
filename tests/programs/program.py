"""What a program of the corpus is, how one is added, and the inputs that many of them share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp


@dataclass(frozen=True, eq=False)
class Program:
    """A function, the argument lists that reach all of its paths, and whether static runs it."""

    fun: Callable[..., Any]
    inputs: tuple[tuple[Any, ...], ...]
    static: bool = True

    def __str__(self):
        return self.fun.__name__


PROGRAMS: list[Program] = []

x = jnp.linspace(-1.0, 2.0, 6)
matrix = jnp.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])  # symmetric, positive
images = jnp.sin(jnp.arange(36.0)).reshape(1, 6, 6, 1)


def program(*inputs, static=True):
    """Add a function to the corpus."""

    def add(fun):
        PROGRAMS.append(Program(fun, inputs, static))
        return fun

    return add


def scalars(*numbers):
    """An argument list of one scalar for each number."""
    return tuple((jnp.float32(number),) for number in numbers)


def vectors(*rows):
    """An argument list of one vector for each row."""
    return tuple((jnp.array(row, jnp.float32),) for row in rows)
