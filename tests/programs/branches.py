"""Python's `if`, its operators that decide, and its tables, on values."""

import jax.numpy as jnp

from tests.programs.program import program, scalars, vectors, x


@program((x,), (-x,), static=False)
def if_on_a_value(x):
    if x[0] > 0:
        return jnp.sum(x)
    return jnp.sum(x**2)


@program(*vectors([1, 1], [1, -1], [-1, 5], [-1, 0]), static=False)
def nested_ifs(x):
    if x[0] > 0:
        if x[1] > 0:
            return x[0] * x[1]
        return x[0] - x[1]
    doubled = x * 2
    if doubled[1] > 4:
        return jnp.sum(doubled)
    return jnp.prod(doubled)


@program(*vectors(*((a, b, c) for a in (-1, 2) for b in (-2, 1) for c in (-3, 3))), static=False)
def ifs_in_a_row(x):
    for i in range(3):
        x = jnp.sin(x) * 1.5 if x[i] > 0 else x * 0.9 - 0.1
    return jnp.sum(x)


@program(*scalars(-3, -0.5, 0.5, 3), static=False)
def if_chain(x):
    if x < -1:
        y = -x
    elif x < 0:
        y = x**2
    elif x < 1:
        y = x**3
    else:
        y = jnp.sqrt(x)
    return y * 2


@program(*vectors([1, 1], [-1, 1], [1, -1], [-1, -1]), static=False)
def nested_ternaries(x):
    first = x[0] if x[0] > 0 else -2 * x[0]
    return first * (x[1] if x[1] > 0 else (3 * x[1] if first > 1 else x[1] ** 2))


@program(*vectors([1, 1, 0], [1, -1, 1], [-1, 0, 1], [1, -1, -1]), static=False)
def short_circuits(x):
    if (x[0] > 0 and x[1] > 0) or not x[2] > 0:
        return jnp.sum(x**2)
    return jnp.sum(x**3)


@program(*scalars(-1, 0, 0.5, 1, 2), static=False)
def chained_comparison(x):
    return x**2 if 0 < x <= 1 else 3 * x


@program(*vectors([1, 2], [1, -2], [-1, -2]), static=False)
def and_gives_one_of_its_arrays(x):
    chosen = (x[0] > 0 and x[1]) or x[0] * 5
    return chosen * x[1] if chosen is not False else x[0]


@program((x,), (x + 2,), (x - 5,), static=False)
def any_and_all_over_generators(x):
    if all(value > 0 for value in x):
        return jnp.sum(jnp.log(x))
    return jnp.sum(x**2) if any(value > 0 for value in x) else jnp.sum(x)


@program(*vectors([3, 1, 2], [1, 2, 3], [2, 3, 1]), static=False)
def builtin_min_and_max(x):
    return max(x) ** 2 - min(x[0], x[1]) * x[2]


@program(*vectors([3, 1, 2], [1, 2, 3], [2, 3, 1]), static=False)
def sorted_by_python(x):
    return sum(value * (i + 1) for i, value in enumerate(sorted(x)))


@program(*vectors([3, -4], [-3, 4], [-5, -4]), static=False)
def max_with_a_key(x):
    return max(x, key=jnp.abs) ** 3


@program((x,), (x + 2,), static=False)
def truth_of_a_reduced_mask(x):
    return jnp.sum(x) if not (x > 0).all() else jnp.prod(x)


@program(*scalars(0, 1, 2, 7), static=False)
def match_on_an_int(x):
    match int(x):
        case 0:
            return x + 1
        case 1 | 2:
            return x**2
        case n:
            return x / n


@program(*vectors([1, 1], [1, -1], [-1, 1], [-1, -1]), static=False)
def match_on_a_tuple_with_a_guard(x):
    match bool(x[0] > 0), bool(x[1] > 0):
        case True, True:
            return x[0] * x[1]
        case True, _:
            return x[0] ** 2
        case _, is_positive if is_positive:
            return x[1] ** 3
    return jnp.sum(x)


@program(*scalars(0, 1, 2, 3), static=False)
def dict_lookup_by_a_value(x):
    return x * {0: 0.5, 1: 2.0, 2: -1.0}.get(int(x), 10.0)


@program(*vectors([3, 1, 2], [1, 2, 3], [1, 3, 2]), static=False)
def function_chosen_by_a_value(x):
    return jnp.sum([jnp.sin, jnp.cos, jnp.tanh][int(jnp.argmax(x))](x))


@program((x,), static=False)
def decision_on_a_constant(x):
    return jnp.sum(x) if jnp.sum(jnp.arange(3)) == 3 else jnp.prod(x)


@program(*scalars(2, -2), static=False)
def the_same_question_twice(x):
    positive = x > 0
    y = x * 3 if positive else x
    return y**2 if positive else y**3


@program(*scalars(2, -2), static=False)
def an_answer_that_is_not_used(x):
    bool(x > 0)
    return x**2


@program(*vectors([1, 1], [1, 2], [0, -0.0]), static=False)
def equal_values(x):
    return x[0] * 3 if x[0] == x[1] else x[0] * x[1]


@program(*scalars(2, -2, 4), static=False)
def an_empty_side(x):
    y = x**2
    if x > 0:
        pass
    if y > 10:
        y = y / 2
    return y + x


@program(*scalars(2, -2), static=False)
def sides_of_other_shapes(x):
    y = x[None] if x > 0 else jnp.stack([x, x * 2])
    return jnp.sum(y) / y.shape[0]
