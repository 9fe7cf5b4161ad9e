"""Divergence: a planted cause of each kind, the first NaN or infinity, and what is left alone."""

import json
import math

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from flax import nnx
from jax.experimental import io_callback

import fxgrad as fx
from fxgrad.cli.demo import init, loss
from fxgrad.divergence.causes import find_cause, in_highest_precision
from fxgrad.divergence.difference import Tolerance, gap_between, ulps_between
from fxgrad.divergence.finds import run_and_note
from fxgrad.divergence.locate import locate
from fxgrad.divergence.program import Program, run_as_is
from fxgrad.divergence.reference import reference_values
from fxgrad.errors import OptionError
from fxgrad.observed import observe

MATRIX = jax.random.normal(jax.random.key(0), (256, 256))
FAST_MATH = {"xla_cpu_enable_fast_math": True}


def contracted(a, b, product):
    rest = a * b - product  # one fused multiply-add, which has the rounding error of the product
    return rest * 1e3


def cancelling(x):
    noise = jnp.exp(x) * jnp.exp(-x) - 1
    return noise * 1e6


def summed_columns(x):
    return x.T @ jnp.exp(x[0])


def in_bfloat16(x):
    return jnp.tanh(jnp.exp(x) * x + x).astype(jnp.float32)


def regrouped(x, y):
    return (x + y) - y


def contracted_arguments():
    a = MATRIX[0]
    b = a + 1
    return a, b, a * b


def place_of(site):
    return site.place.filename == __file__, site.place.line


# Causes, planted.


def test_fusion_is_found_at_the_line_of_the_subtraction_and_the_compiled_side_is_nearer():
    found = fx.diverge(contracted, *contracted_arguments()).found
    assert place_of(found.site) == (
        True,
        "rest = a * b - product  # one fused multiply-add, which has the rounding error of "
        "the product",
    )
    assert (found.site.number, found.site.count, found.site.operation) == (2, 3, "sub")
    assert found.cause.kind == "fusion"
    assert found.cause.trials[-1].remaining == 0
    assert found.nearer.side == "compiled"
    assert (found.nearer.eager, found.nearer.compiled) == (1, 0)


def test_the_difference_is_that_of_the_worst_element():
    arguments = contracted_arguments()
    gap = fx.diverge(contracted, *arguments).found.gap
    eager = arguments[0] * arguments[1] - arguments[2]
    compiled = jax.jit(lambda a, b, c: a * b - c)(*arguments)
    assert gap.eager == eager[gap.index] == 0
    assert gap.compiled == compiled[gap.index]
    assert gap.absolute == jnp.max(jnp.abs(compiled))
    assert gap.relative == 1
    assert gap.ulps == ulps_between(eager[gap.index], compiled[gap.index]) > 1e8
    assert 0 < gap.beyond <= gap.size == 256


def test_another_order_of_a_sum_is_found_at_the_product():
    found = fx.diverge(summed_columns, MATRIX, rtol=1e-7).found
    assert found.site.operation == "dot_general"
    assert place_of(found.site) == (True, "return x.T @ jnp.exp(x[0])")
    assert found.cause.kind == "reduction order"
    assert found.cause.trials[-1].remaining == 0
    truth = np.asarray(MATRIX, float).T @ np.exp(np.asarray(MATRIX[0], float))
    error = np.max(np.abs(np.asarray(summed_columns(MATRIX)) - truth)) / np.max(np.abs(truth))
    assert found.nearer.eager == pytest.approx(error, rel=1e-3)


def test_a_sum_is_the_cause_of_what_cancels_after_it():
    table = jax.random.normal(jax.random.key(1), (256, 256))

    def rest(x, known):
        total = x.T @ jnp.exp(x[0])
        return total - known

    found = fx.diverge(rest, table, summed_columns(table)).found
    assert found.site.operation == "sub"
    assert found.cause.kind == "reduction order"
    assert found.cause.trials[-1].removed == "equation 5, which sums up, in a program of its own"
    assert found.first_bits.operation == "dot_general"


def test_another_order_of_a_sum_stays_below_the_default_tolerance():
    assert fx.diverge(summed_columns, MATRIX) is None


def test_excess_precision_is_found_where_a_rounding_is_left_out():
    found = fx.diverge(in_bfloat16, MATRIX.astype(jnp.bfloat16)).found
    assert found.cause.kind == "excess precision"
    assert found.cause.trials[-1].remaining == 0
    assert found.nearer.side == "compiled"
    assert found.site.operation == "convert_element_type"


def test_fast_math_is_found_by_the_option_that_is_passed():
    y = jnp.full(MATRIX.shape, 1e6)
    divergence = fx.diverge(regrouped, MATRIX, y, compiler_options=FAST_MATH)
    assert list(divergence.diverging) == ["compiled"]
    assert divergence.found.cause.kind == "fast-math"
    assert divergence.found.cause.trials[-1].removed == "xla_cpu_enable_fast_math=False"
    assert divergence.found.nearer.side == "compiled"
    assert set(divergence.failures) == {"static", "replay"}


def test_fast_math_that_loses_a_nan_is_a_divergence_and_eagers_nan_is_named():
    divergence = fx.diverge(lambda x: jnp.log(x) * 0.0, MATRIX, compiler_options=FAST_MATH)
    assert divergence.found.cause.kind == "fast-math"
    assert divergence.found.gap.relative == math.inf
    assert divergence.found.nearer.side == "eager"
    assert list(divergence.first_nonfinite) == ["eager"]
    assert divergence.first_nonfinite["eager"].site.operation == "log"


def test_constant_folding_is_found_where_only_captured_arrays_make_the_difference():
    captured = jnp.abs(MATRIX[0, :64]) * 3
    known = jnp.exp(captured)

    def rest(known):
        return (jnp.exp(captured) - known) * 1e6

    divergence = fx.diverge(rest, known)
    assert divergence.found.cause.kind == "constant folding"
    assert divergence.found.cause.trials[-1].remaining == 0
    assert divergence.found.first_bits.operation == "exp"
    assert divergence.found.site.operation == "sub"


class Accelerator(Program):
    """Compiled products read 16 bits unless they ask for more, as on TPUs and with TF32."""

    def compiled_values(self, wanted, *, run=run_as_is, **changes):
        def rounding(operation, inputs):
            if operation.primitive.name in ("dot_general", "jit"):
                inputs = [jax.lax.reduce_precision(v, 8, 7) for v in inputs]
            return run(operation, inputs)

        chosen = run if run is in_highest_precision else rounding
        return super().compiled_values(wanted, run=chosen, **changes)


def test_matmul_precision_is_found_when_the_highest_makes_both_agree():
    # Every precision is float32's on a CPU, so the coarse products are planted.
    program = Accelerator(observe(lambda x: jnp.tanh(jax.lax.dot(x, x)), (MATRIX,)))
    sighting = locate(program, program.outputs, Tolerance())
    cause = find_cause(program, sighting, Tolerance())
    assert program.operations[sighting.number].primitive.name == "dot_general"
    assert cause.kind == "matmul precision"
    assert cause.trials[-1].vanished


def test_a_cause_that_nothing_removes_is_unknown():
    class Wrong(Program):
        """Stands for a compiler's bug: the outputs are wrong however they are compiled."""

        def compiled_values(self, wanted, **changes):
            values = super().compiled_values(wanted, **changes)
            return {
                s: v + 1 if s in self.outputs or s in self.given else v for s, v in values.items()
            }

    observed = observe(lambda x: jax.lax.neg(x), (jnp.arange(3),))
    program = Wrong(observed)
    sighting = locate(program, program.outputs, Tolerance())
    assert sighting.gap.ulps == 1
    cause = find_cause(program, sighting, Tolerance())
    assert cause.kind == "unknown"
    assert [(trial.kind, trial.vanished) for trial in cause.trials] == [("fusion", False)] * 2


# Locating.


class Shy(Program):
    """A program whose difference is gone when more than three values are looked at."""

    def compiled_values(self, wanted, **changes):
        if len(wanted) > 3:
            return self.eager_values(list(wanted))
        values = super().compiled_values(wanted, **changes)
        planted = {s for n in range(5, len(self.operations)) for s in self.operations[n].results}
        return {s: v * 1.01 if s in planted else v for s, v in values.items()}


def test_a_difference_that_hides_when_all_values_are_returned_is_found_by_halves():
    def chain(x):
        for _ in range(10):
            x = jax.lax.sin(x)
        return x

    program = Shy(observe(chain, (jnp.ones(3),)))
    sighting = locate(program, program.outputs, Tolerance())
    assert (sighting.seen, sighting.number) == ("one", 5)
    assert sighting.gap.relative == pytest.approx(0.01 / 1.01, rel=1e-3)


def test_a_multiply_and_an_add_that_become_one_are_found_though_returning_both_parts_them():
    assert fx.diverge(contracted, *contracted_arguments()).found.seen == "one"


def test_both_ways_of_looking_find_the_same_equation():
    program = Program(observe(summed_columns, (MATRIX,)))
    everything = locate(program, program.outputs, Tolerance(rtol=1e-7))
    by_halves = locate(program, program.outputs, Tolerance(rtol=1e-7), most_bytes=0)
    assert (everything.seen, by_halves.seen) == ("all", "one")
    assert everything.slot == by_halves.slot
    assert everything.gap == by_halves.gap


def test_what_leaves_eager_and_reaches_no_diverging_output_is_not_named():
    def two(a, b, product):
        return jnp.sum(a * b - product) + 1e6, contracted(b, a, product)

    found = fx.diverge(two, *contracted_arguments()).found
    assert place_of(found.site)[1].startswith("rest = a * b")


# NaN and infinity.


def test_the_first_nan_is_named_in_every_mode_with_the_infinity_that_it_is_made_of():
    def ratio(x):
        top = jnp.exp(x * 80)
        return top / (1 + jnp.exp(x * 79))

    divergence = fx.diverge(ratio, jnp.array([0.0, 2.0]))
    assert divergence.found is None
    assert set(divergence.first_nonfinite) == {"eager", "static", "replay"}
    for find in divergence.first_nonfinite.values():
        assert find.kind == "nan"
        assert find.site.place.line == "return top / (1 + jnp.exp(x * 79))"
        assert find.site.operation == "div"
        assert find.made_of.place.line == "top = jnp.exp(x * 80)"
        assert find.made_of.operation == "exp"


def test_the_turn_of_a_scan_and_the_line_in_its_body_are_named():
    def doubling(x):
        def turn(carry, factor):
            carry = carry * factor
            rest = 5.0 - carry
            return carry, jnp.log(rest)

        return jax.lax.scan(turn, x, jnp.full(10, 1.7))

    site = fx.diverge(doubling, jnp.float32(1)).first_nonfinite["static"].site
    assert site.within == ("loop, turn 4 of 10",)
    assert site.place.line == "return carry, jnp.log(rest)"
    assert site.operation == "log"


def test_a_scan_that_runs_backwards_has_the_numbers_of_its_rows():
    def backwards(x):
        return jax.lax.scan(lambda c, y: (c, c / y), 1.0, x, reverse=True)[1]

    site = fx.diverge(backwards, jnp.array([1.0, 0.0, 2.0, 3.0])).first_nonfinite["eager"].site
    assert site.within == ("loop, turn 2 of 4, run backwards",)
    assert site.reads == ("f32[] 1", "f32[] 0")


def test_the_turn_of_a_while_and_the_branch_of_a_cond_are_named():
    def falling(x):
        def turn(state):
            x, count = state
            rooted = jax.lax.cond(x > 0, lambda x: jnp.sqrt(x - 1), lambda x: x, x)
            return rooted, count + 1

        return jax.lax.while_loop(lambda state: state[1] < 9, turn, (x, 0))

    site = fx.diverge(falling, jnp.float32(1.9)).first_nonfinite["replay"].site
    assert site.within == ("while, turn 2", "cond, branch 1")
    assert site.place.line.startswith("rooted = ")
    assert site.operation == "sqrt"


def test_a_nan_within_a_checkpointed_custom_derivative_is_followed():
    @jax.custom_vjp
    def sine(x):
        return jnp.sin(x)

    def backward(x, ct):
        return (ct / (x - x),)

    sine.defvjp(lambda x: (sine(x), x), backward)

    def slope(x):
        return jax.grad(lambda x: jnp.sum(jax.checkpoint(sine)(x)))(x)

    find = fx.diverge(slope, jnp.ones(3)).first_nonfinite["static"]
    assert (find.kind, find.site.operation) == ("inf", "div")


def test_the_nan_of_a_gradient_is_traced_to_the_forward_operation_that_a_where_hides():
    def slope(x):
        return jax.grad(lambda x: jnp.sum(jnp.where(x > 0, jnp.sqrt(x), 0.0)))(x)

    site = fx.diverge(slope, jnp.array([-1.0, 4.0])).first_nonfinite["eager"].site
    assert site.operation == "sqrt"
    assert site.reads == ("f32[2] from -1 to 4",)


def test_what_overflows_in_half_precision_is_an_infinity():
    find = fx.diverge(lambda x: jnp.sum(x * x), jnp.full(4, 300, jnp.float16))
    assert {f.kind for f in find.first_nonfinite.values()} == {"inf"}


def test_a_decision_by_a_value_leads_to_the_branch_that_python_took():
    def grown(x):
        while jnp.sum(x) < 100:
            x = x * 1.5
        return x / (x - x) if x[0] > 3 else x

    divergence = fx.diverge(grown, jnp.ones(4))
    assert divergence.failures["static"].startswith("ValueDependenceError: ")
    assert set(divergence.first_nonfinite) == {"eager", "replay"}
    assert divergence.first_nonfinite["replay"].site.operation == "div"


LOWER = np.tri(4, dtype=bool)
HUGE = np.array([[3e38, 3e38], [0, 1]])


def masked_scores(x):
    return jnp.where(LOWER, x, -jnp.inf)


def masked_rows(x):
    return jax.lax.scan(lambda c, row: (c, jnp.where(row > 0, row, -jnp.inf)), 0.0, x)[1]


@pytest.mark.parametrize("jit", [lambda f: f, jax.jit], ids=["plain", "jit"])
@pytest.mark.parametrize(
    ("fun", "x", "operation", "kind"),
    [
        (lambda x: jnp.exp(masked_scores(x) + 200), np.ones((4, 4)), "exp", "inf"),
        (lambda x: jnp.sum(jnp.where(x > 0, x, -jnp.inf), 1), HUGE, "reduce_sum", "inf"),
        (jnp.log, np.array([np.nan, -1, 2]), "log", "nan"),
        (jnp.exp, np.array([np.inf, 200]), "exp", "inf"),
        (lambda x: jnp.flip(jnp.exp(x))[:1], np.array([np.inf, 200]), "exp", "inf"),
        (lambda x: jnp.stack([1 / x, jnp.full(2, jnp.inf)]), np.array([0.0, 1]), "div", "inf"),
    ],
    ids=["mask", "sum", "nan", "inf", "moved", "stacked"],
)
def test_what_is_made_beside_what_is_given_is_named(fun, x, operation, kind, jit):
    find = fx.diverge(jit(fun), jnp.asarray(x, jnp.float32)).first_nonfinite["static"]
    assert (find.site.operation, find.kind) == (operation, kind)


@pytest.mark.parametrize("jit", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_what_is_made_beside_what_was_made_before_is_named_if_only_that_is_returned(jit):
    def scaled(x):
        grown = jnp.exp(x)
        return (grown * 1e38)[1:]

    site = fx.diverge(jit(scaled), jnp.array([89.0, 10.0])).first_nonfinite["eager"].site
    assert (site.operation, site.reads[0]) == (
        "mul",
        "f32[2] from 22026.5 to 22026.5 and 1 infinite",
    )


def test_the_turn_is_named_that_makes_one_and_not_one_that_is_masked_or_given_one():
    def turns(x):
        def turn(total, row):
            masked = jnp.where(row > 50, total, -jnp.inf)
            hidden = jnp.where(row > 0, jnp.log(row), 0.0)
            return total, (masked, jnp.exp(row), hidden)

        return jax.lax.scan(turn, x[0], x)[1]

    find = fx.diverge(turns, jnp.array([-1.0, 3.0, 100.0, 3.0])).first_nonfinite["eager"]
    assert find.site.operation == "exp"
    assert find.site.within == ("loop, turn 3 of 4",)


def test_a_mask_that_is_written_where_nothing_is_followed_hides_no_nan():
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.PartitionSpec("rows")

    def sharded(fun):
        return jax.jit(jax.shard_map(fun, mesh=mesh, in_specs=rows, out_specs=rows))

    x = jnp.arange(8.0) - 1
    assert fx.diverge(sharded(lambda x: jnp.where(x > 0, x, -jnp.inf)), x) is None
    find = fx.diverge(sharded(lambda x: jnp.where(x > 0, -jnp.inf, jnp.log(x))), x)
    assert find.first_nonfinite["eager"].kind == "nan"


def test_the_derivative_by_an_integer_is_no_number_to_compare():
    def pulled(x):
        return jax.vjp(lambda n, x: n.astype(x.dtype) * x, jnp.arange(3), x)[1](jnp.ones(3))

    assert fx.diverge(pulled, jnp.ones(3)) is None


def test_what_is_read_tells_how_much_of_it_is_not_finite():
    rest = fx.diverge(lambda x: x - jnp.max(x), jnp.array([jnp.inf, 1.0]))
    log = fx.diverge(jnp.log, jnp.array([jnp.nan, -1.0, 2.0]))
    infinite = ("f32[2] from 1 to 1 and 1 infinite", "f32[] inf")
    assert rest.first_nonfinite["eager"].site.reads == infinite
    assert log.first_nonfinite["eager"].site.reads == ("f32[3] from -1 to 2 and 1 NaN",)


def test_an_infinity_that_only_compiling_makes_is_named_in_the_compiled_modes():
    def twice(x, y, z):
        ratio = x / y
        return ratio / z  # compiled, x / (y * z), and the product is too small for a float32

    small = jnp.full(3, 1e-30), jnp.full(3, 1e-30), jnp.full(3, 1e-20)
    divergence = fx.diverge(twice, *small)
    assert set(divergence.first_nonfinite) == {"static", "replay"}
    assert divergence.first_nonfinite["static"].site.number == 2


def test_a_program_that_is_asked_for_what_it_holds_returns_no_values():
    program = Program(observe(lambda x: jnp.log(jnp.sin(x)), (jnp.full((64, 64), -1.0),)))
    leaves = jax.tree.leaves(program.compiled_notes(run_and_note))
    assert {(leaf.dtype.name, leaf.shape) for leaf in leaves} == {("bool", (2,))}
    assert [np.asarray(made).tolist() for made in leaves[::2]] == [[False, False], [True, False]]


# What is left alone.


@pytest.mark.parametrize(
    ("fun", "args"),
    [
        (lambda x: jax.nn.softmax(jnp.where(jnp.tri(4) > 0, x, -jnp.inf)), (jnp.ones((4, 4)),)),
        (lambda x: jnp.where(x > 0, jnp.log(x), 0.0), (MATRIX,)),
        (lambda x: jnp.max(x, initial=-jnp.inf), (MATRIX,)),
        (lambda x: x * 2, (jnp.array([jnp.nan, jnp.inf, 1.0]),)),
        (masked_scores, (jnp.ones((4, 4)),)),
        (jax.jit(masked_scores), (jnp.ones((4, 4)),)),
        (masked_rows, (jnp.eye(4),)),
        (lambda x: jnp.where(x > 0, jnp.log(x), x), (jnp.array([jnp.nan, -1.0]),)),
        (lambda x: {"loss": x.sum(), "accuracy": math.nan}, (jnp.ones(3),)),
        (lambda x: {"a": [x, 1.5, None], "n": 3}, (MATRIX,)),
        (lambda x: x * 2, (np.ones(3),)),
        (lambda: jnp.arange(3), ()),
    ],
    ids=[
        *("mask", "where", "initial", "given", "masked output", "masked in jit", "masked in scan"),
        *("masked beside given", "constant", "no arrays", "numpy", "no arguments"),
    ],
)
def test_nothing_is_reported_of(fun, args):
    assert fx.diverge(fun, *args) is None


def test_a_masked_nan_is_reported_on_demand():
    divergence = fx.diverge(lambda x: jnp.where(x > 0, jnp.log(x), 0.0), MATRIX, masked=True)
    assert divergence.first_nonfinite["eager"].site.operation == "log"


def test_a_nan_made_of_given_infinities_is_reported():
    find = fx.diverge(lambda x: x - x, jnp.array([jnp.inf])).first_nonfinite["eager"]
    assert (find.kind, find.site.operation, find.made_of) == ("nan", "sub", None)


def test_keys_integers_and_bools_agree():
    def drawn(key, n):
        x = jax.random.normal(key, (100,))
        return jax.random.split(key), x, jnp.argmax(x), x > 0, n + 1

    assert fx.diverge(drawn, jax.random.key(1), 3) is None


def test_an_integer_that_follows_from_a_divergence_leads_back_to_it():
    found = fx.diverge(lambda x: jnp.argmax(cancelling(x)), MATRIX).found
    assert found.site.place.line == "noise = jnp.exp(x) * jnp.exp(-x) - 1"


def attention_key_bias(bias, x):
    """Adding to all keys shifts all scores of a query alike, so the gradient is zero."""

    def head(bias):
        scores = jnp.sin(x) @ (jnp.cos(x) + bias).T
        return jnp.sum((jax.nn.softmax(scores) @ x) ** 2)

    return jax.grad(head)(bias)


def test_an_output_that_is_zero_but_for_rounding_is_forgiven_unless_atol_is_given():
    arguments = jnp.zeros(16), MATRIX[:32, :16]
    assert fx.diverge(attention_key_bias, *arguments) is None
    assert fx.diverge(attention_key_bias, *arguments, atol=0.0).found is not None


def test_what_is_zero_in_eager_only_is_not_forgiven():
    def is_number(x):
        return (x * 0 / (x * 0) == x * 0 / (x * 0)).astype(jnp.float32)

    divergence = fx.diverge(is_number, jnp.ones(3), compiler_options=FAST_MATH)
    gap = divergence.diverging["compiled"].gap
    assert (gap.eager, gap.compiled) == (0, 1)


def test_atol_allows_a_difference():
    arguments = contracted_arguments()
    size = float(jnp.max(jnp.abs(jax.jit(contracted)(*arguments))))
    assert fx.diverge(contracted, *arguments, atol=size) is None
    assert fx.diverge(contracted, *arguments, atol=size / 2).found is not None


@pytest.mark.parametrize("option", ["rtol", "atol"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_tolerance_that_is_none_is_refused(option, value):
    with pytest.raises(OptionError, match=option):
        fx.diverge(jnp.sin, 1.0, **{option: value})


def test_an_exception_of_the_function_passes():
    with pytest.raises(ZeroDivisionError):
        fx.diverge(lambda x: x / (1 // 0), 1.0)


# What runs, and how often.


def test_a_training_step_agrees_and_python_runs_once_for_each_mode():
    runs = []
    optimizer = optax.sgd(0.1)

    def step(params, state, batch):
        runs.append(1)
        value, gradient = jax.value_and_grad(loss)(params, batch)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    params = init(jax.random.key(0))
    image = jax.random.normal(jax.random.key(1), (64, 28, 28))
    batch = {"image": image, "label": jnp.arange(64) % 10}
    assert fx.diverge(step, params, optimizer.init(params), batch) is None
    assert len(runs) == 3


def test_what_prints_or_calls_back_does_so_once_and_what_it_gave_is_used_again():
    calls = []

    def doubled(x):
        calls.append(1)
        return np.asarray(x) * 2

    def calling(x):
        x = io_callback(doubled, jax.ShapeDtypeStruct(x.shape, x.dtype), x, ordered=True)
        return cancelling(x)

    divergence = fx.diverge(calling, MATRIX)
    assert len(calls) == 1
    assert list(divergence.diverging) == ["compiled"]
    assert "once" in divergence.failures["static"]
    assert divergence.found.site.operation == "sub"


def test_a_printing_function_prints_once(capfd):
    def printing(x):
        jax.debug.print("value {}", x)
        return x + 1

    assert fx.diverge(printing, jnp.float32(1)) is None
    jax.effects_barrier()
    assert capfd.readouterr().out.count("value") == 1


def counted(count, result=None):
    """Calls back to Python, which counts its calls."""

    def note(x):
        count.append(1)
        return None if result is None else result(x)

    return note


def test_looking_for_a_nan_repeats_no_effect_that_stands_beside_it(capfd):
    calls = []

    @jax.jit
    def rooted(x):
        io_callback(counted(calls), None, x, ordered=False)
        jax.debug.print("value {}", x)
        io_callback(counted(calls, np.sum), jax.ShapeDtypeStruct((), x.dtype), x)

        def turn(total, factor):
            jax.debug.callback(counted(calls), total, ordered=True)
            return total * factor, jnp.log(total - 2)

        return jax.lax.scan(turn, x[0], x)

    site = fx.diverge(rooted, jnp.ones(3)).first_nonfinite["eager"].site
    jax.effects_barrier()
    assert (site.operation, site.within) == ("log", ("jit rooted", "loop, turn 1 of 3"))
    assert len(calls) == 2 + 3
    assert capfd.readouterr().out.count("value") == 1


def test_a_nan_behind_an_effect_is_named_at_the_equation_around_both():
    calls = []

    @jax.jit
    def rooted(x):
        x = io_callback(counted(calls, np.negative), jax.ShapeDtypeStruct(x.shape, x.dtype), x)
        return jnp.log(x)

    site = fx.diverge(rooted, jnp.ones(3)).first_nonfinite["eager"].site
    assert (site.operation, len(calls)) == ("jit rooted", 1)


def test_what_is_written_to_a_mutable_array_is_what_is_read_from_it():
    def mutating(x):
        box = jax.new_ref(x)
        box[...] = jnp.log(box[...])
        return box[...] * 2

    find = fx.diverge(mutating, -jnp.ones(3)).first_nonfinite["eager"]
    assert find.site.operation == "log"


def test_a_mutable_array_stands_aside():
    def mutating(x):
        box = jax.new_ref(x)
        box[...] = box[...] * 2
        return jnp.sqrt(box[...])

    find = fx.diverge(mutating, -jnp.ones(3)).first_nonfinite["compiled"]
    assert find.site.operation == "sqrt"


def test_options_methods_and_donated_arguments_of_a_function_are_kept():
    class Scale:
        def __init__(self, by):
            self.by = by

        @fx.function(donate_argnames="x", static_argnames="how")
        def apply(self, x, how):
            return x * self.by if how == "multiplied" else cancelling(x)

    x = MATRIX + 0
    scale = Scale(jnp.float32(2))
    assert fx.diverge(scale.apply, x, "multiplied") is None
    assert fx.diverge(scale.apply, x, "other").found.cause.kind == "fusion"
    np.testing.assert_array_equal(x, MATRIX)


def test_a_function_keeps_its_counts():
    function = fx.function(cancelling)
    function(MATRIX)
    before = function.stats().to_dict()
    assert fx.diverge(function, MATRIX).found is not None
    assert function.stats().to_dict() == before


@pytest.mark.parametrize("ask", [fx.diverge, fx.memory, fx.graph])
@pytest.mark.parametrize("around", [lambda f: f, lambda f: jax.jit(lambda x: f(x) + 1)])
def test_a_jitted_function_that_donates_leaves_the_arrays_alive(ask, around):
    x = jnp.array([-1.0, 2.0])
    rooted = jax.jit(lambda x: jnp.log(x * 2), donate_argnums=0)
    asked = ask(around(rooted), x)
    np.testing.assert_array_equal(x, [-1.0, 2.0])
    if ask is fx.diverge:
        assert asked.first_nonfinite["static"].site.operation == "log"


def test_the_causes_are_tried_on_living_arrays_where_a_jitted_function_donates():
    a, b, product = contracted_arguments()
    multiply = jax.jit(lambda a, b: a * b, donate_argnums=0)
    found = fx.diverge(lambda a: (multiply(a, b) - product) * 1e3, a).found
    assert found.cause.kind == "fusion"
    np.testing.assert_array_equal(a, MATRIX[0])


def test_an_argument_that_is_changed_in_place_is_named():
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)

    def step(model, optimizer, x):
        value, gradient = nnx.value_and_grad(lambda model: (model(x) ** 2).sum())(model)
        optimizer.update(model, gradient)
        return value

    divergence = fx.diverge(step, model, optimizer, jnp.ones((4, 3)))
    assert divergence.changed_arguments == ("model", "optimizer")
    assert (divergence.found, divergence.first_nonfinite) == (None, {})
    assert "model and optimizer changed in place: eager" in str(divergence)
    assert fx.diverge(lambda model, x: model(x), model, jnp.ones((4, 3))) is None


def test_a_list_or_a_number_that_is_changed_in_place_is_seen():
    def count(state, history, x):
        state["calls"] += 1
        history.append(x)
        return x * 2

    divergence = fx.diverge(count, {"calls": 0}, [jnp.ones(2)], jnp.ones(2))
    assert divergence.changed_arguments == ("state", "history")


def test_arrays_on_several_devices_are_compared():
    mesh = jax.make_mesh((8,), ("rows",))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows"))
    x = jax.device_put(MATRIX, rows)
    assert fx.diverge(lambda x: x @ x, x) is None
    site = fx.diverge(lambda x: jnp.log(x), x).first_nonfinite["static"].site
    assert site.operation == "log"


# Differences and the reference.


@pytest.mark.parametrize(
    ("dtype", "step"),
    [
        (np.float32, 2.0**-23),
        (np.float64, 2.0**-52),
        (np.float16, 2.0**-10),
        (ml_dtypes.bfloat16, 2.0**-7),
    ],
)
def test_an_ulp_is_one_step_of_the_dtype_across_zero_too(dtype, step):
    one, next_one, zero = dtype(1), dtype(1 + step), dtype(0)
    assert ulps_between(one, next_one) == 1
    assert ulps_between(-one, -next_one) == 1
    smallest = np.asarray(1, f"u{zero.nbytes}").view(dtype)[()]
    assert ulps_between(-smallest, smallest) == 2
    assert ulps_between(zero, -zero) == 0
    assert ulps_between(one, dtype(math.nan)) is None


def test_an_element_that_cancels_is_measured_by_the_size_of_the_array():
    a = np.array([1.0, 1e-9], np.float32)
    gap = gap_between(a, a + np.array([0, 1e-8], np.float32), Tolerance())
    assert not gap.diverges
    assert gap.relative == pytest.approx(1e-8, rel=1e-3)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        (np.int64, 2**60, 2**60 + 1),
        (np.uint64, 2**64 - 2, 2**64 - 1),
        (np.int64, -(2**63), 2**63 - 1),
        (np.int8, -128, 127),
        (np.bool_, False, True),
    ],
)
def test_integers_of_any_size_are_compared_as_they_are(dtype, low, high):
    a, b = np.array([0, low], dtype), np.array([0, high], dtype)
    assert not gap_between(a, a, Tolerance()).diverges
    for gap in (gap_between(a, b, Tolerance()), gap_between(b, a, Tolerance())):
        assert (gap.beyond, gap.index, gap.ulps) == (1, (1,), high - low)
        assert gap.absolute == float(high - low)
    assert gap_between(a, b, Tolerance(atol=1.0)).diverges == (high - low > 1)


def test_a_masks_constant_is_not_the_size_of_an_array():
    a = np.array([1.0, 2.0, -1e9, -1e9], np.float32)
    gap = gap_between(a, a * np.array([1, 1.01, 1, 1], np.float32), Tolerance())
    assert gap.diverges
    assert gap.index == (1,)
    assert gap.relative == pytest.approx(0.02 / 2.02, rel=1e-3)


def test_equal_infinities_and_nans_are_no_difference():
    a = np.array([math.inf, -math.inf, math.nan, 1], np.float32)
    assert not gap_between(a, a, Tolerance()).diverges
    assert gap_between(a, a[::-1], Tolerance()).beyond == 4


def widened(function, *args):
    """What the reference has, and what the same function gives for float64 arguments."""
    program = Program(observe(function, args))
    reference = reference_values(program, program.outputs)
    with jax.enable_x64(True):
        wide = [jnp.asarray(np.asarray(arg, float)) for arg in args]
        expected = [np.asarray(leaf) for leaf in jax.tree.leaves(function(*wide))]
    return [reference.values[slot] for slot in program.outputs], expected, reference


def nested(x):
    @jax.checkpoint
    def inner(x):
        return jax.nn.silu(x) + jax.nn.logsumexp(x)

    def turn(carry, y):
        carry = jax.lax.cond(jnp.sum(carry) > 0, jnp.sin, jnp.cos, carry + y)
        return carry, inner(carry)

    carry, ys = jax.lax.scan(turn, x, jnp.stack([x, -x]), reverse=True)
    carry = jax.lax.while_loop(lambda c: jnp.sum(c**2) > 0.1, lambda c: c / 3, carry)
    return jnp.zeros_like(x).at[1].add(carry[0]), jnp.sort(jnp.cumsum(ys)), carry @ ys[0]


@pytest.mark.parametrize(
    "fun",
    [
        nested,
        lambda x: jax.grad(lambda x: sum(jnp.sum(y) for y in nested_once(x)))(x),
        lambda x: jnp.linalg.solve(jnp.outer(x, x) + jnp.eye(4, dtype=x.dtype), x),
        lambda x: jnp.fft.fft(x).real,
    ],
    ids=["nested", "gradient", "solve", "fft"],
)
def test_the_reference_is_what_float64_gives(fun):
    values, expected, reference = widened(fun, MATRIX[0, :4])
    assert reference.rounded_from is None
    for value, wide in zip(values, expected, strict=True):
        assert value.dtype == np.float64
        np.testing.assert_allclose(value, wide, rtol=1e-12, atol=1e-14)


def nested_once(x):
    def turn(carry, y):
        return jnp.sin(carry * y), jax.nn.logsumexp(carry)

    return jax.lax.scan(turn, x, jnp.stack([x, -x]))


def test_roundings_to_16_bits_are_left_out_of_the_reference():
    values, expected, _ = widened(lambda x: x + 0, MATRIX[0])
    np.testing.assert_array_equal(values[0], expected[0])
    program = Program(observe(lambda x: x.astype(jnp.bfloat16) * 3, (MATRIX[0],)))
    reference = reference_values(program, program.outputs)
    np.testing.assert_array_equal(
        reference.values[program.outputs[0]], np.asarray(MATRIX[0], float) * 3
    )


def test_what_reads_the_bits_of_a_float_ends_the_reference_and_says_so():
    def bits(x):
        return jax.lax.bitcast_convert_type(jnp.sin(x), jnp.int32)

    program = Program(observe(bits, (MATRIX[0],)))
    reference = reference_values(program, program.outputs)
    assert program.operations[reference.rounded_from].primitive.name == "bitcast_convert_type"


def test_random_numbers_are_the_same_in_the_reference():
    program = Program(observe(lambda key: jax.random.uniform(key, (9,)), (jax.random.key(0),)))
    reference = reference_values(program, program.outputs)
    assert reference.rounded_from is None
    drawn = np.asarray(jax.random.uniform(jax.random.key(0), (9,)), float)
    np.testing.assert_allclose(reference.values[program.outputs[0]], drawn, rtol=0, atol=1e-7)


# Views.


@pytest.mark.parametrize(
    ("fun", "args", "options"),
    [
        (contracted, contracted_arguments(), {}),
        (lambda x: jnp.log(x) * 0.0, (MATRIX,), {"compiler_options": FAST_MATH}),
        (lambda x: jnp.log(x), (MATRIX,), {}),
    ],
)
def test_a_divergence_is_json(fun, args, options):
    divergence = fx.diverge(fun, *args, **options)
    assert json.loads(divergence.to_json()) == divergence.to_dict()


def test_a_divergence_prints_where_how_far_who_is_nearer_and_why():
    lines = str(fx.diverge(contracted, *contracted_arguments())).splitlines()
    number = contracted.__code__.co_firstlineno + 1
    assert lines[0] == (
        "contracted: static and replay leave eager at equation 2 of 3, sub, "
        f"tests/test_diverge.py:{number}"
    )
    assert lines[1].strip().startswith("rest = a * b - product")
    assert "relative error 1 (" in lines[2]
    assert lines[3] == "  nearer to float64: compiled (eager 1, compiled 0)"
    assert lines[4] == (
        "  cause: fusion — with every equation behind barriers, and no fusion, the difference is 0"
    )
    assert "one instruction" in lines[5]
