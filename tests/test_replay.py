"""Replay: paths are recorded once, shared, followed and bounded, and results stay eager's."""

import functools
import itertools
import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import fxgrad as fx
from fxgrad import recorder
from fxgrad.errors import ImpureWarning, ModeError
from fxgrad.replay.self_check import self_check
from fxgrad.replay.session import MAX_CHILDREN

x = jnp.linspace(-1.0, 2.0, 6)
replay = functools.partial(fx.function, mode="replay")


def test_n_decisions_in_a_row_build_2n_plus_1_programs_for_all_paths():
    n = 5

    @replay
    def decide(x):
        for i in range(n):
            x = jnp.sin(x) * 1.5 if x[i] > 0 else x * 0.9 - 0.1
        return x

    paths = set()
    for signs in itertools.product([-1.0, 1.0], repeat=n):
        start = jnp.array(signs)
        np.testing.assert_allclose(decide(start), decide.__wrapped__(start), rtol=1e-6)
        paths.add(signs)
    stats = decide.stats()
    assert len(paths) == 2**n
    assert stats.programs <= 2 * n + 1


def test_a_loop_with_fifty_trip_counts_builds_three_programs_at_most():
    @replay
    def count(x, limit):
        turns = 0
        while jnp.sum(x) < limit:
            x, turns = x + 1.0, turns + 1
        return x, turns

    for trips in range(50):
        result, turns = count(jnp.zeros(2), jnp.float32(2 * trips))
        assert turns == trips
        np.testing.assert_allclose(result, float(trips))
    assert count.stats().programs <= 3
    assert count.stats().python_runs == 50
    count(jnp.zeros(2), jnp.float32(20))
    assert count.stats().python_runs == 50


def test_a_miss_runs_python_once_more_and_no_operation_twice():
    seen = []

    @replay
    def fun(x):
        jax.debug.callback(lambda y: seen.append(float(y)), x[0])
        return x * 2 if x[0] > 0 else x * 3

    for value in (1.0, 1.0, -1.0, -1.0, 1.0):
        fun(jnp.full(2, value))
        jax.effects_barrier()
    assert seen == [1.0, 1.0, -1.0, -1.0, 1.0]
    assert fun.stats().python_runs == 2


def test_ordered_effects_keep_their_order_on_every_path():
    def fun(x, say):
        jax.debug.callback(lambda y: say("a", y), x[0], ordered=True)
        if x[0] > 0:
            jax.debug.callback(lambda y: say("b", y), x[1], ordered=True)
        jax.debug.callback(lambda y: say("c", y), x[2], ordered=True)
        return jnp.sum(x)

    told = {"eager": [], "replay": []}
    for mode, log in told.items():
        function = fx.function(
            functools.partial(fun, say=lambda *what, log=log: log.append(str(what))), mode=mode
        )
        for start in (x, -x, x, -x):
            function(start)
            jax.effects_barrier()
    assert told["replay"] == told["eager"]
    assert len(told["eager"]) == 10


def test_an_exception_is_raised_at_every_call_from_the_users_line():
    @replay
    def fun(x):
        if jnp.sum(x) > 0:
            raise KeyError("positive")
        return x

    for _ in range(3):
        with pytest.raises(KeyError, match="positive") as caught:
            fun(x)
        assert caught.traceback[-1].path.name == "test_replay.py"
        np.testing.assert_array_equal(fun(-x), -x)
    assert fun.stats().python_runs == 3 + 1


def test_effects_before_an_exception_happen_once_a_call():
    seen = []

    @replay
    def fun(x):
        jax.debug.callback(lambda y: seen.append(float(y)), x[0])
        raise KeyError

    for _ in range(3):
        with pytest.raises(KeyError):
            fun(x)
        jax.effects_barrier()
    assert len(seen) == 3


def test_python_integers_are_exact():
    @replay
    def fun(x):
        count = 1
        while jnp.max(x) < 100:
            x, count = x * 2, count * 10
        return x, count

    _, count = fun(jnp.full(2, 1e-3))
    assert count == 10**17
    assert fun(jnp.full(2, 1e-3))[1] == 10**17


def test_outputs_keep_python_values_inputs_and_identity():
    marker = ("a", None, 3, True)

    @replay
    def fun(x, y):
        z = x + 1
        return {"z": z, "again": z, "input": y, "python": marker, "array": np.arange(3)}

    for _ in range(2):
        y = jnp.ones(2)
        result = fun(x, y)
        assert result["input"] is y
        assert result["again"] is result["z"]
        assert result["python"] == marker
        result["array"][0] = 99
    assert fun(x, y)["array"][0] == 0


def test_an_object_that_python_made_is_made_anew_at_every_call():
    class Box:
        pass

    @replay
    def fun(x):
        return Box(), x + 1

    with pytest.warns(ImpureWarning, match="returns an object that Python made"):
        boxes = [fun(x)[0]]
    boxes += [fun(x)[0] for _ in range(2)]
    assert len({id(box) for box in boxes}) == 3
    assert "returns an object" in fun.explain().fallbacks[0]


def test_a_rebound_global_and_closure_variable_are_noticed():
    def make():
        factor = 2.0

        def rebind(value):
            nonlocal factor
            factor = value

        return replay(lambda x: x * factor), rebind

    function, rebind = make()
    np.testing.assert_allclose(function(x), x * 2)
    rebind(5.0)
    np.testing.assert_allclose(function(x), x * 5)
    rebind(2.0)
    np.testing.assert_allclose(function(x), x * 2)


def test_arrays_that_the_caller_changes_later_change_nothing():
    captured = np.ones(3)
    argument = np.ones(3, np.float32)
    function = replay(lambda y: y + jnp.asarray(captured, jnp.float32))
    first = function(argument)
    argument[:] = 50
    np.testing.assert_allclose(first, 2.0)
    np.testing.assert_allclose(function(argument), 51.0)


def test_a_function_that_is_not_pure_is_named_and_runs_in_eager():
    calls = []

    @replay
    def fun(x):
        calls.append(1)
        x = jnp.sin(x) if len(calls) > 1 else jnp.cos(x)
        return x * 2 if x[0] > 0 else x * 3

    fun(jnp.array([0.1, 0.2]))
    with pytest.warns(ImpureWarning, match=r"sin where cos was recorded.*test_replay.py"):
        result = fun(jnp.array([-2.0, 0.2]))
    np.testing.assert_allclose(result, jnp.sin(jnp.array([-2.0, 0.2])) * 3)
    assert "cannot be replayed: sin where cos" in fun.explain().fallbacks[0]
    fun(x)
    assert len(calls) == 4  # recorded, followed, eager, eager
    assert fun.stats().python_runs == 4


def test_values_that_never_repeat_do_not_fill_the_table():
    @replay
    def fun(x):
        logged = float(x[0])
        return x * logged

    for i in range(3 * MAX_CHILDREN):
        np.testing.assert_allclose(fun(jnp.full(2, i / 7)), (i / 7) ** 2, rtol=1e-5)
    programs = fun.stats().programs
    for i in range(20):
        fun(jnp.full(2, 100.0 + i))
    assert fun.stats().programs == programs
    (reason,) = fun.explain().fallbacks
    assert "different values were seen" in reason
    assert "test_replay.py" in reason


def test_a_python_number_stays_what_it_is_and_does_not_fill_the_table():
    function = replay(lambda x, rate: (x * rate, rate * 2, isinstance(rate, float)))
    for i in range(100):
        product, double, is_float = function(x, i / 3)
        np.testing.assert_allclose(product, x * (i / 3), rtol=1e-6)
        assert (double, is_float) == (i / 3 * 2, True)
    assert function.stats().programs <= 3
    assert function.stats().compiled_share == 1
    (reason,) = function.explain().fallbacks
    assert "pass an array" in reason


@pytest.mark.parametrize("shape", [(), (3,)])
def test_a_buffer_that_the_function_writes_is_read_when_it_is_used(shape):
    def fun(x):
        buffer = np.zeros(shape, np.float32)
        for _ in range(3):
            buffer[...] += 1
            x = x + buffer
        later = jnp.asarray(buffer)
        buffer[...] = 50
        return (x + later) * (1.0 if x[0] > 0 else 2.0)

    function = replay(fun)
    for start in (jnp.ones(3), -jnp.ones(3) * 90, jnp.ones(3)):
        np.testing.assert_allclose(function(start), fun(start))


def test_callbacks_that_hold_different_lists_are_different():
    yes, no = [], []

    def log_to(log, x):
        jax.debug.callback(lambda y: log.append(float(y)), jnp.sum(x), ordered=True)

    @replay
    def fun(x):
        if jnp.sum(x) > 0:
            log_to(yes, x)
        else:
            log_to(no, x)
        return x

    for start in (x, -x, -x, x):
        fun(start)
        jax.effects_barrier()
    np.testing.assert_allclose((yes, no), ([3.0, 3.0], [-3.0, -3.0]), rtol=1e-5)


def test_jax_settings_entered_inside_are_part_of_the_program():
    def fun(x, key):
        with jax.threefry_partitionable(bool(jnp.sum(x) > 0)):
            return jax.random.uniform(key, (4,))

    function, key = replay(fun), jax.random.key(3)
    for start in (x, -x, x, -x):
        np.testing.assert_array_equal(function(start, key), fun(start, key))


SETTING = 2.0


def test_a_global_read_by_an_inner_function_and_a_replaced_default_are_noticed(monkeypatch):
    def fun(x, scale=2.0):
        return jax.grad(lambda y: jnp.sum(y) * SETTING * scale)(x)

    function = replay(fun)
    np.testing.assert_allclose(function(x), 4.0)
    monkeypatch.setitem(globals(), "SETTING", 5.0)
    np.testing.assert_allclose(function(x), 10.0)
    fun.__defaults__ = (3.0,)
    np.testing.assert_allclose(function(x), 15.0)


def test_integer_powers_are_decided_by_the_exponent():
    function = replay(lambda x, n: x**n)
    base = jnp.array([2, 3])
    np.testing.assert_array_equal(function(base, jnp.int32(2)), [4, 9])
    with pytest.raises(TypeError):
        function(base, jnp.int32(-1))


def test_arrays_made_of_numbers_and_of_numpy_are_arrays():
    table = np.arange(3.0, dtype=np.float32)
    outputs = replay(lambda x: (jnp.asarray(3), jnp.asarray(2.5), jnp.asarray(table), x))(x)
    for found, expected in zip(outputs, (jnp.asarray(3), jnp.asarray(2.5), table, x), strict=True):
        assert isinstance(found, jax.Array)
        np.testing.assert_array_equal(found, expected)
    assert outputs[0].weak_type


def test_a_function_that_waits_for_a_thread_that_calls_it_does_not_hang():
    other = -x

    @replay
    def fun(x):
        if jnp.sum(x) > 0:
            thread = threading.Thread(target=fun, args=(other,))
            thread.start()
            thread.join(60)
            assert not thread.is_alive()
        return x + 1

    np.testing.assert_allclose(fun(x), x + 1)


def test_an_interrupt_keeps_the_effects_before_it():
    seen = []

    @replay
    def fun(x):
        jax.debug.callback(lambda y: seen.append(float(y)), x[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fun(x)
    jax.effects_barrier()
    assert len(seen) == 1


def test_dictionaries_that_cannot_be_sorted_run_in_eager():
    function = replay(lambda d: d["a"] + d[1])
    np.testing.assert_allclose(function({1: x, "a": x}), 2 * x)


def test_concurrent_calls_record_and_replay_the_same_results():
    @replay
    def fun(x):
        while jnp.sum(x) < 10:
            x = x * 1.5 + 0.1
        return x

    inputs = [jnp.full(3, 0.1 * i) for i in range(12)]
    expected = [fun.__wrapped__(y) for y in inputs]
    failures = []
    start = threading.Barrier(8)

    def work(offset):
        start.wait()
        for i in range(60):
            k = (i + offset) % len(inputs)
            if not np.allclose(fun(inputs[k]), expected[k], rtol=1e-5):
                failures.append(k)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert fun.stats().calls == 480


def test_a_replayed_function_inside_another_and_inside_transforms_runs_inline():
    inner = replay(lambda x: x * 2 if jnp.sum(x) > 0 else x * 3)
    outer = replay(lambda x: inner(x) + 1)
    for start in (x, -x, x, -x):
        np.testing.assert_allclose(outer(start), outer.__wrapped__(start), rtol=1e-6)
    assert outer.stats().python_runs == 2
    total = replay(lambda x: jnp.sum(inner(x) ** 2))
    np.testing.assert_allclose(jax.grad(total)(x), 8 * x, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(total)(-x), -18 * x, rtol=1e-6)


def test_a_function_that_closes_over_an_outer_tracer_runs_inline():
    def outer(y):
        inner = replay(lambda x: x * y)
        return jnp.sum(inner(x))

    np.testing.assert_allclose(jax.grad(outer)(2.0), jnp.sum(x), rtol=1e-6)


def test_effects_of_a_function_that_closes_over_an_outer_tracer_happen_once():
    seen = []

    def outer(y):
        def fun(x):
            jax.debug.callback(lambda v: seen.append(float(v)), x[0])
            return jnp.sum(x * y)

        return replay(fun)(x)

    jax.grad(outer)(2.0)
    jax.effects_barrier()
    assert seen == [-1.0]


def test_hessian_and_jacobian_through_decisions():
    def fun(x):
        while jnp.sum(x**2) < 50:
            x = x * 1.5 + jnp.sin(x)
        return jnp.sum(x**3)

    for derivative in (jax.hessian(fun), jax.jacfwd(fun), jax.jacrev(jax.grad(fun))):
        function = replay(derivative)
        for _ in range(2):
            np.testing.assert_allclose(function(x), derivative(x), rtol=1e-4)
        assert function.stats().python_runs == 1


def test_sharded_inputs_and_shard_map():
    mesh = jax.make_mesh((4,), ("data",), devices=jax.devices()[:4])
    spec = PartitionSpec("data")
    y = jax.device_put(jnp.arange(8.0), NamedSharding(mesh, spec))

    @replay
    def fun(y):
        summed = jax.shard_map(
            lambda block: jax.lax.psum(block, "data"),
            mesh=mesh,
            in_specs=spec,
            out_specs=PartitionSpec(),
        )(y)
        return y * 2 if summed[0] > 3 else y

    for _ in range(2):
        np.testing.assert_allclose(fun(y), fun.__wrapped__(y))
    assert fun(y).sharding.is_equivalent_to(y.sharding, 1)
    assert fun.stats().python_runs == 1


def test_printing_a_value_reads_it(capsys):
    @replay
    def fun(x):
        print(f"{jnp.sum(x):.1f}", x[0])
        return x + 1

    fun(x)
    assert capsys.readouterr().out == "3.0 -1.0\n"


def test_the_recorder_answers_no_idle_question():
    @replay
    def fun(x):
        return jnp.sum(jnp.power(x, jnp.asarray(2)) + jnp.asarray(x[0]) + x.astype(jnp.float32))

    fun(x)
    fun(x)
    assert fun.stats().host_reads == 0


def test_a_jax_that_cannot_be_recorded_leaves_the_other_modes(monkeypatch):
    monkeypatch.setattr(recorder, "_abstract_eval", lambda *_: ([], ()))
    self_check.cache_clear()
    try:
        function = replay(lambda x: x + 1)
        with pytest.raises(ModeError, match=r"cannot be recorded.*'eager' or 'static'"):
            function(x)
        for mode in ("eager", "static"):
            with fx.mode(mode):
                np.testing.assert_allclose(function(x), x + 1)
    finally:
        monkeypatch.undo()
        self_check.cache_clear()


def test_nothing_warns_in_an_ordinary_recording():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replay(lambda x: x * 2 if x[0] > 0 else x)(x)


def test_the_tree_shows_decisions_with_their_lines_values_and_hits():
    @replay
    def fun(x):
        if x[0] > 0:
            return x
        raise ValueError

    assert str(fun.tree()) == "nothing recorded"
    for start in (x, -x, -x):
        try:
            fun(start)
        except ValueError:
            assert start is x
    root, python, output = fun.tree().segments
    assert (root.end, root.parent, root.hits) == ("decision", None, 3)
    assert root.place.line == "if x[0] > 0:"
    assert (python.end, python.answer, python.parent, python.hits) == ("python", "False", 0, 1)
    assert (output.end, output.answer, output.parent, output.hits) == ("output", "True", 0, 2)
    assert "then test_replay.py" in str(fun.tree()).replace("tests/", "")
    assert fun.tree().to_dict()["segments"][0]["place"]["line"] == "if x[0] > 0:"


def test_the_tree_of_a_long_loop_is_no_deeper_than_python_allows():
    @replay
    def count(x):
        turns = 0
        while x > 0:
            x, turns = x - 1, turns + 1
        return turns

    assert count(jnp.float32(1500)) == 1500
    assert len(count.tree().segments) == 1502
    assert len(str(count.tree()).splitlines()) == 1502
    assert count.stats().programs <= 3


def test_an_array_that_outlives_the_run_is_told():
    kept = []

    def collect(x):
        kept.append(jnp.sum(x))
        return x * 2

    with pytest.warns(ImpureWarning, match="collect keeps an array of its run"):
        replay(collect)(x)
