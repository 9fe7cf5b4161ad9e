"""Exceptions and context managers around values."""

import contextlib

import jax
import jax.numpy as jnp

from tests.programs.program import program, scalars, vectors, x


class TooLargeError(Exception):
    """Carries the array that was too large."""

    def __init__(self, value):
        super().__init__("too large")
        self.value = value


class MuchTooLargeError(TooLargeError):
    pass


def checked(value):
    if value > 100:
        raise MuchTooLargeError(value)
    if value > 10:
        raise TooLargeError(value)
    return value


@program((x,), (-x,), static=False)
def exception_on_a_value(x):
    try:
        if jnp.sum(x) > 0:
            raise ValueError("positive")
        return jnp.sum(x**2)
    except ValueError:
        return jnp.sum(x**3)


@program(*scalars(2, 5, 20), static=False)
def exceptions_of_two_classes_from_a_function_called(x):
    try:
        return checked(x**2)
    except MuchTooLargeError:
        return jnp.log(x)
    except TooLargeError as error:
        return error.value * 0.1


@program(*scalars(2, -2), static=False)
def else_and_finally(x):
    log = []
    try:
        y = checked(x**2 * (3 if x > 0 else 1))
    except TooLargeError:
        y = x
    else:
        y = x**3
    finally:
        log.append(x * 0.5)
    return y + log[0]


@program(*scalars(2, -2), static=False)
def return_in_a_finally_block_comes_last(x):
    parts = []

    def act():
        try:
            return jnp.sin(x) if x > 0 else checked(x * -100)
        finally:
            parts.append(jnp.cos(x))

    try:
        return act() + parts[0]
    except MuchTooLargeError as error:
        return error.value * parts[0]


@program(*scalars(1, 4, 20), static=False)
def raised_again_from_another(x):
    try:
        try:
            checked(x**2)
        except TooLargeError as error:
            raise ArithmeticError(x) from error
    except ArithmeticError as error:
        return error.__cause__.value * 2 + error.args[0]
    return x


@program(*vectors([1, 2, 3], [1, -2, 3], [-1, -2, -3]), static=False)
def exceptions_in_a_loop(x):
    def root(value):
        if value < 0:
            raise ValueError
        return jnp.sqrt(value)

    total = x[0]
    for value in x:
        try:
            total = total + root(value)
        except ValueError:
            total = total * 2
    return total


@program(*scalars(0.5, 2), static=False)
def assertion_on_a_value(x):
    try:
        assert x < 1, "large"
        return x**2
    except AssertionError:
        return x**3


@program(*scalars(1, 4), static=False)
def exception_out_of_a_derivative(x):
    try:
        return jax.grad(lambda y: checked(y**2) * y)(x)
    except TooLargeError:
        return x * 3


@program(*scalars(1, 4), static=False)
def suppressed_by_a_context_manager(x):
    y = x
    with contextlib.suppress(TooLargeError):
        y = checked(x**2) + 1
        y = checked(y * 3)
    return y * x


class Scale:
    """A context manager that keeps what it was given, and swallows what is too large."""

    def __init__(self, scale):
        self.scale = scale

    def __enter__(self):
        self.scale = self.scale * 2
        return self

    def __exit__(self, kind, error, traceback):
        self.scale = self.scale + 1
        return kind is not None and issubclass(kind, TooLargeError)


@program(*scalars(1, 4), static=False)
def context_manager_with_a_state(x):
    with Scale(x) as scale:
        scale.scale = scale.scale * checked(x**2)
    return scale.scale


@program(*scalars(1, 4), static=False)
def context_manager_that_is_a_generator(x):
    values = [x]

    @contextlib.contextmanager
    def appended():
        try:
            yield values
        except TooLargeError as error:
            values.append(error.value)

    with appended() as held:
        held.append(checked(x**2) * 2)
    return values[0] * values[1]


@program(*vectors([1, 1], [20, 1], [20, 200]), static=False)
def exception_group(x):
    errors = []
    for value in x:
        try:
            checked(value)
        except TooLargeError as error:
            errors.append(error)
    y = x[0]
    try:
        if errors:
            raise ExceptionGroup("too large", errors)
    except* MuchTooLargeError as group:
        y = y + group.exceptions[0].value
    except* TooLargeError:
        y = y * 2
    return y


@program(*scalars(0, 1, 5), static=False)
def python_raises_by_itself(x):
    try:
        return x * (6 // int(x)) + [2.0, 3.0][int(x)]
    except ZeroDivisionError:
        return x + 7
    except IndexError:
        return x**2
