"""Memory: eager at its worst by hand and against the arrays that JAX holds, and what is kept."""

import functools
import gc
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import fxgrad as fx
from fxgrad.cli import demo
from fxgrad.errors import ArgumentError
from fxgrad.footprint.compiled import THE_STATIC_PROGRAM, THIS_PATH
from fxgrad.footprint.eager import peak_bytes
from fxgrad.observed import observe

SIZE = 4000
LAYERS = 6


@pytest.fixture
def x():
    return jnp.full(1000, 0.5)


def deep(x):
    for _ in range(LAYERS):
        x = jnp.sin(x)
    return jnp.sum(x)


def held(memory):
    return {holding.label: holding.bytes for holding in memory.eager.held}


def held_outside(fun, *args):
    """What Python holds at the worst moment: `jax.live_arrays` sees nothing inside an operation."""
    eager = fx.memory(fun, *args).eager
    return eager.bytes - eager.inner_bytes


def test_a_chain_that_lets_go_holds_its_argument_and_two_values(x):
    def chain(x):
        for _ in range(9):
            x = jnp.sin(x)
        return x

    memory = fx.memory(chain, x)
    assert memory.eager.bytes == peak_bytes(observe(chain, (x,))) == 3 * SIZE
    assert (memory.eager.number, memory.eager.operations) == (1, 9)
    assert memory.eager.operation == "sin"
    assert held(memory) == {"x": SIZE, "sin": 2 * SIZE}


def test_a_chain_that_keeps_holds_all_by_the_lines_that_made_them(x):
    def keep(x):
        kept = [x]
        for _ in range(9):
            kept.append(jnp.sin(kept[-1]))
        last = jnp.cos(kept[-1])
        return kept, last

    memory = fx.memory(keep, x)
    assert memory.eager.bytes == 11 * SIZE
    lines = {h.place.line: (h.bytes, h.count) for h in memory.eager.held if h.place}
    assert lines == {
        "kept.append(jnp.sin(kept[-1]))": (9 * SIZE, 9),
        "last = jnp.cos(kept[-1])": (SIZE, 1),
    }
    assert [h.shapes for h in memory.eager.held] == [("f32[1000]",)] * 3


def test_the_worst_moment_is_what_jax_holds_in_a_real_run(x):
    sampled = []

    def sample():
        sampled.append(sum(array.nbytes for array in jax.live_arrays()))

    def fun(x):
        kept = [x]
        for _ in range(5):
            kept.append(jnp.sin(kept[-1]))
            sample()
        small = jnp.sum(kept[-1])
        del kept[1:4]
        wide = jnp.concatenate([x, x, x])
        sample()
        return small, wide

    fun(x)
    sampled.clear()
    gc.collect()
    before = sum(array.nbytes for array in jax.live_arrays())
    fun(x)
    real = max(sampled) - before + SIZE
    assert held_outside(fun, x) == real


def test_what_a_gradient_holds_is_what_jax_holds_in_a_real_run(x):
    sampled = []

    @jax.custom_vjp
    def sampling(x):
        return x

    def backward(_, g):
        g = g * 2.0
        sampled.append(sum(array.nbytes for array in jax.live_arrays()))
        return (g,)

    sampling.defvjp(lambda x: (x, None), backward)

    def loss(x):
        for _ in range(LAYERS):
            x = sampling(jnp.sin(x))
        return jnp.sum(x)

    jax.grad(loss)(x)
    sampled.clear()
    gc.collect()
    before = sum(array.nbytes for array in jax.live_arrays())
    jax.grad(loss)(x)
    real = max(sampled) - before + SIZE
    assert held_outside(jax.grad(loss), x) == real
    assert real > LAYERS * SIZE


def test_an_array_that_comes_twice_counts_once_and_a_reshape_is_a_copy(x):
    assert peak_bytes(observe(lambda a, b: -a, (x, x))) == 2 * SIZE
    assert peak_bytes(observe(lambda a: a.reshape(10, 100), (x,))) == 2 * SIZE
    assert peak_bytes(observe(lambda a: a.reshape(1000), (x,))) == SIZE
    assert peak_bytes(observe(lambda a: jax.device_put(a), (x,))) == SIZE


def test_captured_arrays_are_told_apart(x):
    memory = fx.memory(lambda a: a + x, jnp.ones(1000))
    assert held(memory) == {"a": SIZE, "captured arrays": SIZE, "add": SIZE}
    assert memory.eager.bytes_of("captured") == SIZE


def test_a_nested_function_takes_what_its_program_takes_in_between():
    matrix = jnp.ones((100, 100))
    power = jax.jit(lambda a: (a @ a) @ a)
    in_between = power.lower(matrix).compile().memory_analysis().temp_size_in_bytes
    assert in_between >= matrix.nbytes
    memory = fx.memory(lambda a: power(a) + 1.0, matrix)
    assert (memory.eager.number, memory.eager.inner_bytes) == (0, in_between)
    assert memory.eager.bytes == 2 * matrix.nbytes + in_between


def test_a_deep_loss_keeps_one_array_for_each_layer(x):
    memory = fx.memory(deep, x)
    assert memory.backward.of == "its gradient by argument 0"
    assert memory.backward.bytes == LAYERS * SIZE
    (kept,) = memory.backward.kept
    assert (kept.place.line, kept.count) == ("x = jnp.sin(x)", LAYERS)
    assert memory.backward.recompute_flops >= LAYERS * 1000
    assert memory.gradient.eager.bytes > (LAYERS + 1) * SIZE


def test_a_step_that_takes_the_derivative_itself_is_told_the_same(x):
    memory = fx.memory(lambda x: x - 0.1 * jax.grad(deep)(x), x)
    assert memory.backward.of == "the function"
    assert memory.backward.bytes == LAYERS * SIZE
    assert memory.gradient is None


def test_a_step_of_two_derivatives_in_turn_keeps_the_larger_one(x):
    def step(x):
        first = jax.grad(deep)(x)
        return first + jax.grad(lambda x: jnp.sum(jnp.sin(jnp.sin(x))))(x)

    assert fx.memory(step, x).backward.bytes == LAYERS * SIZE


def test_a_checkpointed_loss_keeps_nothing_and_makes_it_again(x):
    memory = fx.memory(jax.checkpoint(deep), x)
    assert (memory.backward.bytes, memory.backward.kept) == (0, ())
    assert memory.gradient.eager.operation.startswith(("checkpoint", "remat"))
    assert memory.gradient.eager.inner_bytes >= LAYERS * SIZE


def test_the_gradient_of_a_loss_is_compiled_with_and_without_checkpoint(x):
    gradient = fx.memory(deep, x).gradient
    plain = jax.jit(jax.grad(deep)).lower(x).compile().memory_analysis()
    assert gradient.plain.temporary_bytes == plain.temp_size_in_bytes
    assert gradient.checkpointed.of == "jax.grad(jax.checkpoint(f))"
    assert gradient.checkpointed.argument_bytes == SIZE
    assert gradient.why_not == ""


def test_a_static_argument_of_a_loss_stays_what_it_is(x):
    loss = fx.function(lambda x, how: jnp.sum(getattr(jnp, how)(x)), static_argnames="how")
    memory = fx.memory(loss, x, "sin")
    assert memory.gradient.why_not == memory.why_not_static == ""
    assert memory.gradient.plain.output_bytes == SIZE


def test_a_loss_that_decides_by_values_says_why_its_gradient_is_not_compiled(x):
    def loss(x):
        return jnp.sum(x) if x[0] > 0 else jnp.sum(-x)

    gradient = fx.memory(loss, x).gradient
    assert gradient.plain is None
    assert "if x[0] > 0" in gradient.why_not


def test_checkpoint_is_advised_around_the_parts_and_not_around_the_whole(x):
    def loss(x):
        with jax.named_scope("net"):
            for number in range(3):
                with jax.named_scope(f"block_{number}"):
                    for _ in range(LAYERS):
                        x = jnp.sin(x)
        return jnp.sum(x)

    best, *_, whole = fx.memory(loss, x).backward.savings
    assert (best.label, best.count, best.grouped_by) == ("net/block_*", 3, "scope")
    assert best.kept_bytes == 3 * LAYERS * SIZE
    assert best.saved_bytes == 3 * LAYERS * SIZE - 2 * SIZE  # two inputs are kept instead
    assert best.made_again_bytes == LAYERS * SIZE
    assert (whole.label, whole.gain_bytes) == ("net", 0)


@pytest.mark.parametrize("length", [10, 100])
def test_making_a_scan_again_costs_all_of_its_turns(x, length):
    def loss(x):
        return jnp.sum(jax.lax.scan(lambda c, _: (jnp.sin(c), None), x, None, length=length)[0])

    # A sine and a cosine for each of 1,000 numbers at each turn.
    flops = fx.memory(loss, x).backward.recompute_flops
    assert flops == pytest.approx(2 * 1000 * length, rel=0.1)


def as_it_is(fun):
    return fun


def by_line(around, params, x):
    for weights in params:
        x = around(lambda x, weights: jnp.tanh(x @ weights))(x, weights)
    return jnp.sum(x)


def by_scope(around, params, x):
    def block(x, weights):
        x = x @ weights
        x = jnp.tanh(x)
        return jnp.sin(x)

    for weights in params:
        with jax.named_scope("block"):
            x = around(block)(x, weights)
    return jnp.sum(x)


def by_layers_of_several_turns(around, params, x):
    def layer(x, weights):
        for _ in range(3):
            x = jnp.sin(x @ weights)
        return x

    for number, weights in enumerate(params):
        with jax.named_scope(f"layer_{number}"):
            x = around(layer)(x, weights)
    return jnp.sum(x)


@pytest.mark.parametrize("loss", [by_line, by_scope, by_layers_of_several_turns])
@pytest.mark.parametrize("derive_by", ["params", "x"])
def test_what_a_saving_claims_is_what_jax_checkpoint_saves(loss, derive_by):
    params, x = [jnp.full((100, 100), 0.01)] * 10, jnp.ones((64, 100))

    def backward(around):
        by_params = functools.partial(loss, around)
        by_x = lambda x, params: loss(around, params, x)  # noqa: E731
        given = (by_params, params, x) if derive_by == "params" else (by_x, x, params)
        return fx.memory(*given).backward

    plain, checkpointed = backward(as_it_is), backward(jax.checkpoint)
    best = plain.savings[0]
    assert best.count == 10
    assert plain.bytes - best.saved_bytes == checkpointed.bytes == 9 * x.nbytes
    assert checkpointed.savings == ()


def test_a_loop_whose_turns_keep_what_their_inputs_would_be_gains_nothing(x):
    (saving,) = fx.memory(deep, x).backward.savings
    assert (saving.count, saving.kept_bytes) == (LAYERS, LAYERS * SIZE)
    assert (saving.saved_bytes, saving.gain_bytes) == (SIZE, 0)


def test_a_line_that_is_reached_from_two_places_is_a_part_for_each(x):
    def twice(x):
        return jnp.sin(jnp.sin(x))

    saving = fx.memory(lambda x: jnp.sum(twice(jnp.exp(twice(x)))), x).backward.savings[0]
    assert (saving.count, saving.kept_bytes) == (2, 4 * SIZE)
    assert saving.saved_bytes == 4 * SIZE  # one input is the argument, the other is kept by exp


def test_the_static_program_is_the_compilers_account(x):
    memory = fx.memory(jnp.sin, x)
    analysis = jax.jit(jnp.sin).lower(x).compile().memory_analysis()
    assert memory.compiled.of == THE_STATIC_PROGRAM
    assert memory.compiled.argument_bytes == memory.compiled.output_bytes == SIZE
    assert memory.compiled.temporary_bytes == analysis.temp_size_in_bytes
    assert memory.compiled.bytes == 2 * SIZE + analysis.temp_size_in_bytes
    assert memory.why_not_static == ""


def test_a_program_that_decides_by_values_is_told_by_its_path(x):
    def halve(x):
        while jnp.sum(x) > 1:
            x = x / 2
        return x

    memory = fx.memory(halve, x)
    assert memory.compiled.of == THIS_PATH
    assert memory.compiled.argument_bytes == SIZE
    assert memory.compiled.output_bytes > SIZE  # the values that Python asked for are read
    assert "while jnp.sum(x) > 1" in memory.why_not_static
    assert held_outside(halve, x) == 3 * SIZE


def test_a_donated_argument_stays_and_its_place_is_taken(x):
    step = fx.function(lambda state: state * 2.0, donate_argnames="state")
    memory = fx.memory(step, x)
    assert memory.compiled.aliased_bytes == memory.compiled.bytes == SIZE
    assert not x.is_deleted()


def test_an_argument_that_a_jitted_function_takes_over_stays(x):
    step = jax.jit(lambda state: jnp.sum(state * 2.0), donate_argnums=0)
    memory = fx.memory(step, x)
    assert held(memory)["state"] == SIZE
    assert memory.gradient.plain is not None
    assert not x.is_deleted()


def test_a_method_a_key_and_numbers_are_arguments():
    class Layer:
        @fx.function
        def forward(self, key, n):
            return jax.random.normal(key, (1000,)) * n

    memory = fx.memory(Layer().forward, jax.random.key(0), 3)
    assert memory.eager.bytes_of("argument") == jax.random.key(0).nbytes == 8
    assert memory.eager.held[-1].label == "key"
    assert memory.title == "forward"


def test_an_empty_function_takes_nothing():
    memory = fx.memory(lambda: None)
    assert (memory.eager.bytes, memory.eager.number, memory.eager.held) == (0, None, ())
    assert memory.backward is None
    assert "no operation" in str(memory)


def test_a_function_without_operations_holds_its_arguments(x):
    memory = fx.memory(lambda a, n: a, x, 7)
    assert (memory.eager.bytes, held(memory)) == (SIZE, {"a": SIZE})


def test_integers_have_no_gradient():
    assert fx.memory(lambda n: jnp.sum(n), jnp.arange(4)).gradient is None


def test_a_sharded_array_counts_what_one_device_holds():
    mesh = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.device_put(jnp.ones(8000), NamedSharding(mesh, PartitionSpec("d")))
    assert peak_bytes(observe(jnp.sin, (spread,))) == 2 * SIZE
    whole = jax.device_put(jnp.ones(1000), NamedSharding(mesh, PartitionSpec()))
    assert peak_bytes(observe(jnp.sin, (whole,))) == 2 * SIZE


@pytest.fixture
def spread():
    """4,000 bytes on each of eight devices, by a mesh whose axis is explicit."""
    mesh = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Explicit,))
    return jax.device_put(jnp.ones((8, 1000)), NamedSharding(mesh, PartitionSpec("d")))


def test_a_nested_function_on_an_explicit_mesh_is_asked_what_it_takes_there(spread):
    memory = fx.memory(jax.nn.relu, spread)
    assert (memory.eager.bytes, memory.eager.inner_bytes) == (2 * SIZE, 0)
    assert memory.compiled.argument_bytes == SIZE


@pytest.mark.parametrize("around", [lambda f: f, jax.checkpoint])
def test_a_loss_on_an_explicit_mesh_has_its_gradient_measured(spread, around):
    memory = fx.memory(around(lambda x: jnp.sum(jnp.sin(jnp.sin(x)))), spread)
    assert memory.gradient.plain.argument_bytes == SIZE
    assert memory.gradient.eager.bytes_of("argument") == SIZE
    assert not any("could not be asked" in note for note in memory.notes)


def test_a_number_that_cannot_be_derived_is_measured_without_its_gradient(x):
    memory = fx.memory(lambda x: jax.lax.while_loop(lambda c: c < 3, lambda c: c + x[0], 0.0), x)
    assert memory.gradient is memory.backward is None
    assert any("has no gradient by argument 0: ValueError" in note for note in memory.notes)


def test_a_numpy_array_counts_as_put_on_the_device_once():
    assert peak_bytes(observe(jnp.sin, (np.ones(1000, np.float32),))) == 2 * SIZE


def test_a_training_step_of_a_network_keeps_its_activations():
    params = demo.init(jax.random.key(0))
    batch = {"image": jnp.ones((64, 28, 28)), "label": jnp.zeros(64, jnp.int32)}
    memory = fx.memory(jax.grad(demo.loss), params, batch)
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    assert memory.eager.bytes > 2 * weights
    assert {h.label for h in memory.eager.held if h.kind == "argument"} == {"params", "batch"}
    pixels, hidden = 64 * 784 * 4, 64 * 128 * 4
    assert memory.backward.bytes > pixels + hidden
    assert max(memory.backward.kept, key=lambda h: h.bytes).shapes[0] == "f32[64,784]"


def test_a_jitted_function_is_one_operation_and_says_so(x):
    memory = fx.memory(jax.jit(deep), x)
    assert any("single compiled operation" in note for note in memory.notes)


def test_memory_is_data_and_prints(x):
    memory = fx.memory(deep, x)
    data = json.loads(json.dumps(memory.to_dict()))
    assert data["eager"]["bytes"] == memory.eager.bytes
    assert data["backward"]["savings"][0]["kept_bytes"] == LAYERS * SIZE
    for words in ("eager at its worst", "x = jnp.sin(x)", "argument x", "jax.checkpoint"):
        assert words in str(memory)


def test_what_is_no_function_is_refused():
    with pytest.raises(ArgumentError, match="takes a function, not 3"):
        fx.memory(3)


def test_an_observed_run_tells_what_was_alive(x):
    def fun(x):
        a = jnp.sin(x)
        b = jnp.cos(a)
        del a
        return jnp.tan(b)

    observed = observe(fun, (x,))
    (argument,), (a, b, _) = observed.arguments, (op.results[0] for op in observed.operations)
    assert observed.lifetimes[a] == (0, 2)
    assert observed.lifetimes[b] == (1, 3)
    assert observed.lifetimes[argument] == (-1, 3)
    assert set(observed.values) == {argument, *observed.returned}
