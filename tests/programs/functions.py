"""Python's functions, generators, classes and containers, with values that decide in them."""

import functools
import heapq
import itertools
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax.numpy as jnp

from tests.programs.program import program, scalars, vectors, x


@program((x * 0.3,), (x,), (x * 3,), static=False)
def recursion_on_a_value(x):
    return jnp.sum(x) if jnp.max(x) < 1 else recursion_on_a_value(x / 2)


@program(*scalars(0, 1, 2, 5), static=False)
def mutual_recursion(x):
    def even(n):
        return n + x if n < 1 else odd(n - 1) * 2

    def odd(n):
        return n - x if n < 1 else even(n - 1) + x

    return even(x)


@program(*scalars(0, 1, 4, 6), static=False)
def tree_recursion(x):
    def fibonacci(n):
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2) * 0.5

    return fibonacci(x) * x


@program(*scalars(0.5, 3, 30), static=False)
def generator_that_a_value_ends(x):
    def halves(y):
        while y > 1:
            y = y / 2
            yield y

    return sum(halves(x), start=x)


@program(*scalars(1, 5), static=False)
def generator_that_is_sent_values(x):
    def accumulate():
        total = x * 0
        while total < 10:
            total = total + (yield total)

    sums = accumulate()
    y = next(sums)
    for step in (x, x**2, x**3):
        try:
            y = sums.send(step)
        except StopIteration:
            return y * 2
    return y


@program(*vectors([1, 2, -3, 4], [-1, 2, 3, 4], [1, 2, 3, 4]), static=False)
def takewhile_and_reduce(x):
    positive = itertools.takewhile(lambda value: value > 0, x)
    return functools.reduce(lambda a, b: a * b + 1, positive, x[1])


@program(*scalars(1, -1, 4), static=False)
def closure_with_nonlocal_state(x):
    total = x

    def add(value):
        nonlocal total
        if value > 0:
            total = total + value**2

    for scale in (1.0, -2.0, 3.0):
        add(x * scale)
    return total


@program(*scalars(2, -2), static=False)
def lambda_made_by_a_value(x):
    act = (lambda y: y * x) if x > 0 else (lambda y: y**2 - x)
    return act(act(x))


@program(*scalars(0.5, 3, 30), static=False)
def list_built_in_a_loop(x):
    values = [x]
    while values[-1] > 1:
        values.append(values[-1] / 3)
    return jnp.mean(jnp.stack(values) ** 2)


@program(*vectors([1, 2, 3], [1, -2, 3], [-1, -2, -3]), static=False)
def dict_built_in_a_loop(x):
    groups = {}
    for value in x:
        groups.setdefault("up" if value > 0 else "down", []).append(value)
    return sum(len(group) * sum(group) ** 2 for group in groups.values())


@program(*vectors([1, 2, 3], [1, -2, 3], [-1, -2, -3]), static=False)
def comprehension_with_a_condition(x):
    return sum([value**2 for value in x if value > 0], start=x[0])


@program(*vectors([0, 1, 1], [0, 1, 2], [2, 2, 2]), static=False)
def set_of_integers(x):
    return jnp.sum(x**2) * len({int(value) for value in x})


class Clamp:
    """A callable object that was given a limit."""

    def __init__(self, limit):
        self.limit = limit

    def __call__(self, y):
        return self.limit * jnp.tanh(y) if y > self.limit else y


@program(*vectors([1, 2], [2, 1]), static=False)
def callable_object_holds_an_array(x):
    return Clamp(x[1])(x[0]) ** 2


@dataclass(frozen=True)
class Particle:
    """Data with a property that is decided by a value."""

    place: Any
    speed: Any

    @property
    def is_inside(self):
        return self.place > 0

    def moved(self):
        return replace(self, place=self.place + self.speed, speed=self.speed * 0.9)


@program(*vectors([1, -1], [2, -0.9], [-1, 1]), static=False)
def method_and_property_of_a_dataclass(x):
    particle = Particle(*x)
    for _ in range(3):
        particle = particle.moved() if particle.is_inside else replace(particle, place=x[0] * 2)
    return particle.place * particle.speed


class Step(NamedTuple):
    """What a step gives back."""

    value: Any
    is_last: bool


@program(*scalars(0.5, 2, 7), static=False)
def named_tuple_tells_the_end(x):
    def step(y):
        return Step(y**2 / 3, bool(y < 3))

    made = step(x)
    while not made.is_last:
        made = step(made.value * 0.4)
    return made.value


@program(*vectors([3, 1, 2], [1, 2, 3]), static=False)
def heap_of_arrays(x):
    heap = list(x)
    heapq.heapify(heap)
    while len(heap) > 1:
        small = heapq.heappop(heap)
        heapq.heapreplace(heap, heap[0] + small * 0.5)
    return heap[0] ** 2


@program(*scalars(2, -2), static=False)
def keyword_arguments_made_by_a_value(x):
    options = {"axis": 0} if x > 0 else {"keepdims": True}
    return jnp.sum(jnp.mean(jnp.outer(jnp.arange(1.0, 3.0), x[None]) ** 2, **options)) * x


@program(*scalars(1, 2, 3), static=False)
def results_kept_by_number(x):
    kept = {}

    def power(n):
        if n not in kept:
            kept[n] = x if n == 0 else power(n - 1) * x
        return kept[n]

    return power(int(x)) + power(1)
