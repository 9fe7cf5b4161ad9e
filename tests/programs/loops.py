"""Loops that end by values."""

import jax
import jax.numpy as jnp

from tests.programs.program import program, scalars, vectors, x


@program((x * 0.1,), (x,), (x * 9,), static=False)
def while_on_a_value(x):
    while jnp.max(jnp.abs(x)) > 0.5:
        x = x * 0.5
    return jnp.sum(x)


@program((x,), (x - 5,), (x + 5,), static=False)
def early_exit(x):
    total = x[0]
    for value in x:
        if value > 1:
            break
        total = total + value**2
    return total


@program(*scalars(0.5, 3, 8, 40), static=False)
def while_else(x):
    turns = 0
    while x > 1:
        if turns == 3:
            break
        x, turns = x / 3, turns + 1
    else:
        return x * 2
    return jnp.log(x)


@program(*vectors([1, 2, 3], [1, -2, 3], [-1, 2, 3]), static=False)
def for_else(x):
    product = x[0]
    for value in x:
        if value < 0:
            break
        product = product * value
    else:
        product = -product
    return product


@program(*vectors([1, 2, 3], [1, -2, 3], [-1, 2, -3]), static=False)
def continue_past_some(x):
    total = jnp.zeros(())
    for i, value in enumerate(x):
        if value < 0:
            continue
        total = total + value ** (i + 1)
    return total


@program(*scalars(0, 1, 2, 5, 11), static=False)
def trip_count_by_a_value(x):
    y = x + 1
    for i in range(int(x)):
        y = jnp.sin(y) + i * x
    return y


@program(*scalars(1, 6, 7, 12), static=False)
def collatz(x):
    total = x * 0.1
    while x > 1:
        x = x / 2 if x % 2 == 0 else 3 * x + 1
        total = total + jnp.log(x)
    return total


@program(*vectors([9, 1, 1, 1], [1, 1, 9, 1], [1, 1, 1, 1]), static=False)
def return_out_of_nested_loops(x):
    for i, row in enumerate(x.reshape(2, 2)):
        for value in row:
            if value > 5:
                return value * (i + 1)
    return jnp.sum(x**2)


@program(*scalars(0.5, 5, 60), static=False)
def while_inside_a_derivative(x):
    def halve(y):
        while y > 1:
            y = y / (3 + jnp.sin(y))
        return y

    return jax.grad(halve)(x) * x


@program(*scalars(1, 3, 30), static=False)
def endless_loop_with_a_break(x):
    while True:
        x = jnp.sqrt(x)
        if x < 1.2:
            break
    return x**2


@program(*vectors([1, 1], [3, 1], [1, 4], [3, 5]), static=False)
def loops_in_loops(x):
    a, b = x
    while a > 0:
        left = b
        while left > 2:
            left = left / 2
            a = a + left * 0.1
        a = a - 1.5
    return a * b


@program(*scalars(1, 4, 20), static=False)
def walrus_in_the_condition(x):
    y = x
    while (y := y / 3) > 1:
        x = x + jnp.sin(y)
    return x * y


@program((x,), (x[:0],), (-x[:3],), static=False)
def no_turns_on_an_empty_array(x):
    total = jnp.zeros(())
    for value in x:
        if value > 0:
            total = total + value**2
    return total


@program(*vectors([1, -1, 1, 1], [1, 1, 1, 1], [-1, -1, 1, -1]), static=False)
def state_machine(x):
    state, total = "idle", jnp.zeros(())
    for value in x:
        if state == "idle" and value > 0:
            state = "busy"
        elif state == "busy":
            total = total + value**2
            state = "idle" if value < 0 else "busy"
    return total + x[0]


@program(*scalars(0.3, 1.5, 4), static=False)
def loop_over_two_arrays_from_behind(x):
    y = x
    for a, b in zip(reversed(range(4)), jnp.arange(4.0), strict=True):
        if y > b:
            y = y - a * x * 0.1
    return y * x


@program(*scalars(1, 10, 100), static=False)
def a_value_of_the_turn_before(x):
    before = after = x
    while after > 1:
        before, after = after, after / 4
    return before * after


@program(*scalars(0, 1, 3), static=False)
def python_numbers_come_out_of_a_loop(x):
    turns, y = 0, x
    while y > 0.5:
        y, turns = y / 2, turns + 1
    return x * turns + x ** (turns + 1)
