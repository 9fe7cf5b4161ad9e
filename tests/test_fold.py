"""Folding: a quiet tree becomes one program that decides by itself, with eager's results."""

import functools
import itertools
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fxgrad as fx
from fxgrad.replay.code import Block, Code, Literal
from fxgrad.replay.program import Programs
from fxgrad.replay.promotion import FIRST_PATIENCE

replay = functools.partial(fx.function, mode="replay")


def call_until_folded(function, *args):
    """Calls on known paths, until the tree has been quiet for long enough."""
    for _ in range(2 * FIRST_PATIENCE):
        function(*args)


def served(function):
    """How the calls of the only tree are served, in words."""
    (root,) = [segment for segment in function.tree().segments if segment.parent is None]
    return root.served


def decide_in_a_row(n):
    @replay
    def decide(x, y):
        for i in range(n):
            y = jnp.sin(y) * 1.5 if x[i] > 0 else y * 0.9 - 0.1
        return y

    return decide


def visit_all(decide, n):
    y = jnp.linspace(-1.0, 1.0, 4)
    for signs in itertools.product([-1.0, 1.0], repeat=n):
        x = jnp.array(signs)
        np.testing.assert_allclose(decide(x, y), decide.__wrapped__(x, y), rtol=1e-5, atol=1e-6)
    return x, y


def test_ten_decisions_in_a_row_are_21_programs_and_a_folded_one_for_1024_paths():
    decide = decide_in_a_row(10)
    x, y = visit_all(decide, 10)
    assert decide.stats().python_runs == 1024
    assert decide.stats().programs <= 21
    call_until_folded(decide, x, y)
    assert decide.stats().programs <= 22
    assert served(decide) == "one program, no host read"
    host_reads = decide.stats().host_reads
    visit_all(decide, 10)
    assert decide.stats().host_reads == host_reads
    assert decide.stats().python_runs == 1024
    assert decide.stats().programs <= 22


def size_of_folded(n):
    decide = decide_in_a_row(n)
    call_until_folded(decide, *visit_all(decide, n))
    (tree,) = decide._replay._recordings.trees()
    return tree.promoted.folded.block.size


def test_what_follows_decisions_is_shared_so_a_program_grows_with_their_number():
    sizes = [size_of_folded(n) for n in (4, 6, 8)]
    assert sizes[2] - sizes[1] <= sizes[1] - sizes[0] + 4


def test_a_loop_with_fifty_trip_counts_is_three_programs_and_a_rolled_one():
    @replay
    def count(x, limit):
        while jnp.sum(x) < limit:
            x = x + 1.0
        return x

    for _ in range(2):
        for trips in range(50):
            result = count(jnp.zeros(2), jnp.float32(2 * trips))
            np.testing.assert_array_equal(result, np.full(2, trips, np.float32))
    stats = count.stats()
    assert stats.python_runs == 50
    assert stats.programs <= 4
    (tree,) = count._replay._recordings.trees()
    assert tree.promoted.folded.block.size < 20  # and not some for each trip count
    count(jnp.zeros(2), jnp.float32(20))
    assert count.stats().host_reads == stats.host_reads + 1


def test_a_loop_that_goes_on_for_longer_than_ever_before_is_recorded_further():
    @replay
    def count(x, limit):
        turns = 0
        while jnp.sum(x) < limit:
            x, turns = x + 1.0, turns + 1
        return x, turns

    for _ in range(30):
        assert count(jnp.zeros(2), jnp.float32(10))[1] == 5
    assert served(count) == "one program, one host read"
    for turns in (9, 0, 7, 9, 2):
        assert count(jnp.zeros(2), jnp.float32(2 * turns))[1] == turns
    assert count.stats().python_runs == 5


def test_a_loop_with_a_break_and_a_last_turn_closes():
    def search(x, wanted):
        for _ in range(6):
            if jnp.abs(x - wanted) < 0.5:
                break
            x = x + 1.0
        return x * 2

    function = replay(search)
    wanted = [jnp.float32(value) for value in range(9)]
    for _ in range(4):
        for value in wanted:
            found, expected = function(jnp.float32(0), value), search(jnp.float32(0), value)
            np.testing.assert_array_equal(found, expected)
    assert served(function) == "one program, no host read"


def test_what_a_loop_leaves_of_its_last_two_turns_is_there():
    def halve(x):
        before = x
        while jnp.max(x) > 1:
            before, x = x, x / 2
        return before, x, jnp.max(before) - jnp.max(x)

    function = replay(halve)
    starts = [jnp.array([1.0, 2.0**power]) for power in (-1, 1, 2, 5, 7)]
    for start in starts * 6:
        jax.tree.map(np.testing.assert_array_equal, function(start), halve(start))
    assert served(function).startswith("one program")


def test_a_loop_that_collects_every_turn_is_right_folded_or_not():
    def collect(x):
        seen = []
        while jnp.max(x) > 1:
            x = x / 2
            seen.append(jnp.sum(x))
        return jnp.stack(seen) if seen else x

    function = replay(collect)
    starts = [jnp.array([1.0, 2.0**power]) for power in (-1, 1, 2, 5, 7)]
    for start in starts * 6:
        np.testing.assert_array_equal(function(start), collect(start))


def two_conditions(x):
    y = x
    while jnp.max(x) > 1 and jnp.sum(y) < 40:
        y, x = y + x, x / 2
    return x, y


def two_tests_in_a_for(x):
    total = jnp.zeros(())
    for i in range(12):
        x = x * 0.7
        if jnp.max(x) < 0.5:
            return total, x
        total = total + jnp.sum(x) * i
        if total > 20:
            break
    return total, -x


def break_in_the_middle(x):
    seen = x
    while True:
        x = x / 2
        if jnp.max(x) < 1:
            break
        seen = seen + x
        if jnp.min(seen) > 7:
            return x, seen
        x = x + 0.125
        if jnp.sum(x) > 100:
            break
    return seen, x


@pytest.mark.parametrize("fun", [two_conditions, two_tests_in_a_for, break_in_the_middle])
def test_loops_with_several_decisions_in_a_turn_are_rolled(fun):
    function = replay(fun)
    starts = [jnp.array([start, 2.0]) for start in (0.1, 2.0, 3.0, 9.0, 17.0, 40.0, 80.0, 300.0)]
    for start in starts * 6:
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-6), function(start), fun(start)
        )
    assert served(function).startswith("one program")
    (tree,) = function._replay._recordings.trees()
    assert "loop" in kinds_of_lines(tree.promoted.folded.block)


def kinds_of_lines(block):
    for line in block.code.lines:
        yield type(line.action).__name__.lower()
        for part in vars(line.action).values():
            for inner in part if isinstance(part, tuple) else [part]:
                if isinstance(inner, Block):
                    yield from kinds_of_lines(inner)


def test_a_counting_loop_shares_its_programs_and_is_rolled():
    def descend(x, tolerance):
        for i in range(60):
            x = x - x / (i + 2) * 0.5
            if jnp.max(jnp.abs(x)) < tolerance:
                break
        return x, i

    function = replay(descend)
    for tolerance in (0.5, 0.3, 0.2, 0.9, 0.25) * 6:
        found = function(jnp.ones(3), jnp.float32(tolerance))
        expected = descend(jnp.ones(3), jnp.float32(tolerance))
        assert found[1] == expected[1]
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    assert function.stats().programs <= 6
    (tree,) = function._replay._recordings.trees()
    assert "loop" in kinds_of_lines(tree.promoted.folded.block)


def test_gradients_through_a_loop_of_several_lengths():
    def loss(x):
        while jnp.sum(x**2) < 10:
            x = x * 1.5
        return jnp.sum(x**3)

    function = replay(jax.value_and_grad(loss))
    for start in [jnp.full(3, value) for value in (0.2, 0.5, 1.0, 2.0)] * 8:
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-5),
            function(start),
            jax.value_and_grad(loss)(start),
        )
    assert function.stats().python_runs == 4


def test_an_outcome_that_was_not_seen_is_pythons_to_run():
    def fun(x):
        return jnp.sum(x) if x[0] > 0 else jnp.prod(x)

    function = replay(fun)
    up = jnp.array([2.0, 3.0])
    call_until_folded(function, up)
    assert served(function) == "one program, one host read"
    np.testing.assert_array_equal(function(-up), fun(-up))
    assert function.stats().python_runs == 2
    for _ in range(4 * FIRST_PATIENCE):
        np.testing.assert_array_equal(function(-up), fun(-up))
        np.testing.assert_array_equal(function(up), fun(up))
    assert served(function) == "one program, no host read"


def test_a_value_raised_by_python_is_raised_from_a_folded_tree_too():
    def fun(x):
        if x[0] > 5:
            raise KeyError("large")
        return x + 1

    function = replay(fun)
    for _ in range(3 * FIRST_PATIENCE):
        function(jnp.zeros(2))
    for _ in range(3):
        with pytest.raises(KeyError, match="large"):
            function(jnp.full(2, 9.0))


def outputs_by_sign(x):
    if x[0] > 0:
        return {"value": x * 2, "word": "up", "count": 3}
    return {"value": x * 3, "word": "down", "count": 10**15}


def shapes_by_sign(x):
    return x[:1] if x[0] > 0 else (x, x.astype(jnp.int32))


def weak_by_sign(x):
    return jnp.asarray(2.0) * 1 if x[0] > 0 else jnp.sum(x)


def skipped_step(x):
    return x - 1 if jnp.all(jnp.isfinite(x)) and x[0] > 0 else x


def keys_by_sign(x):
    key = jax.random.key(3)
    return jax.random.split(key) if x[0] > 0 else jax.random.split(jax.random.fold_in(key, 1))


def same_twice(x):
    y = x * 2 if x[0] > 0 else x * 3
    return y, y, x


@pytest.mark.parametrize(
    "fun",
    [outputs_by_sign, shapes_by_sign, weak_by_sign, skipped_step, keys_by_sign, same_twice],
)
def test_outputs_are_eagers_before_and_after_folding(fun):
    function = replay(fun)
    x = jnp.array([1.5, -2.0])
    for arg in [x, -x, x * 2] * 12:
        found, expected = function(arg), fun(arg)
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
            assert type(a) is type(b)
            if isinstance(b, jax.Array):
                assert a.aval == b.aval  # with its weak type
                a, b = (jax.random.key_data(k) if "key" in str(k.dtype) else k for k in (a, b))
            np.testing.assert_array_equal(a, b)
    assert served(function).startswith("one program")


def test_a_step_that_may_be_skipped_closes_and_reads_nothing():
    function = replay(skipped_step)
    for x in [jnp.ones(2), -jnp.ones(2), jnp.ones(2) / 0] * 12:
        function(x)
    assert served(function) == "one program, no host read"


def test_an_array_returned_as_it_came_is_the_callers_own():
    function = replay(lambda x, y: (x, y + 1))
    x = jnp.ones(3)
    for _ in range(5):
        assert function(x, x)[0] is x


def test_a_numpy_array_returned_as_it_came_is_an_array_of_jaxs_before_and_after_folding():
    function = replay(lambda x: x if x[0] > 0 else x + 1)
    buffer = np.ones(3, np.float32)
    kept = [function(buffer) for _ in range(3)]
    buffer[:] = 5
    kept += [function(sign * np.ones(3, np.float32)) for sign in [-1, 1] * 15]
    assert all(isinstance(result, jax.Array) for result in kept)
    assert [float(result[0]) for result in kept] == [1.0] * 3 + [0.0, 1.0] * 15


def test_effects_happen_once_a_call_however_often_it_is_called():
    told = []

    @replay
    def fun(x):
        jax.debug.callback(lambda y: told.append(float(y)), x[0])
        return x * 2 if x[0] > 0 else x * 3

    for i in range(4 * FIRST_PATIENCE):
        fun(jnp.full(2, float(i % 3 - 1)))
        jax.effects_barrier()
    assert told == [float(i % 3 - 1) for i in range(4 * FIRST_PATIENCE)]
    assert "effects" in served(fun)


def test_decisions_on_integers_floats_and_arrays_of_flags():
    def fun(x):
        n = int(jnp.sum(x > 0))
        scale = 2.0 if float(x[0]) == -0.0 else float(n)
        return jnp.sum(x[x > 0]) * scale + jnp.sum(jnp.arange(n + 1.0))

    function = replay(fun)
    inputs = [jnp.array(v) for v in ([0.0, 1.0, 2.0], [-0.0, -1.0, 2.0], [3.0, 3.0, 3.0])]
    for x in inputs * 15:
        np.testing.assert_allclose(function(x), fun(x), rtol=1e-6)
    assert function.stats().python_runs == 3


def test_zero_and_minus_zero_and_not_a_number_are_different_values():
    def fun(x):
        return str(float(x))

    function = replay(fun)
    values = [0.0, -0.0, float("nan"), float("inf"), 1.0]
    for value in values * 20:
        assert function(jnp.float32(value)) == fun(jnp.float32(value))


def test_captured_arrays_are_read_by_the_folded_program():
    table = jnp.arange(4.0)
    buffer = np.ones(4, np.float32)

    @replay
    def fun(x):
        return x + table if x[0] > 0 else x * buffer

    for sign in [1.0, -1.0] * 20:
        x = jnp.full(4, sign)
        np.testing.assert_array_equal(fun(x), fun.__wrapped__(x))
    assert served(fun) == "one program, no host read"


SCALE = 2.0


def test_a_global_given_another_value_is_noticed_after_folding():
    global SCALE

    def fun(x):
        return x * SCALE if x[0] > 0 else x

    function = replay(fun)
    for _ in range(2 * FIRST_PATIENCE):
        function(jnp.ones(2)), function(-jnp.ones(2))
    try:
        SCALE = 3.0
        np.testing.assert_array_equal(function(jnp.ones(2)), [3.0, 3.0])
    finally:
        SCALE = 2.0
    np.testing.assert_array_equal(function(jnp.ones(2)), [2.0, 2.0])


def test_python_numbers_stay_numbers_beside_arrays_of_their_type():
    function = replay(lambda x: (type(x).__name__, x * 1))
    scalar = jnp.asarray(2.0)
    for _ in range(3):
        assert function(2.0) == ("float", 2.0)
        assert function(scalar)[0] != "float"
        assert function(jnp.float32(2)[None])[0] != "float"


def test_settings_are_told_after_folding():
    function = replay(lambda x: jnp.log(x))
    function(jnp.ones(2)), function(jnp.ones(2))
    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        function(-jnp.ones(2))
    with jax.disable_jit():
        np.testing.assert_array_equal(function(jnp.ones(2)), [0.0, 0.0])


def test_donated_arguments_are_taken_over_once_the_tree_is_closed():
    @functools.partial(fx.function, mode="replay", donate_argnames="state")
    def step(state, x):
        return state + x if x[0] > 0 else state

    state = jnp.zeros(4)
    for i in range(4 * FIRST_PATIENCE):
        before, state = state, step(state, jnp.full(4, float(i % 2)))
    assert before.is_deleted()
    np.testing.assert_array_equal(state, np.full(4, 2.0 * FIRST_PATIENCE, np.float32))


def test_only_the_paths_that_are_used_are_folded_where_all_would_be_too_many():
    @replay
    def fun(x, y):
        n = int(x)
        for _ in range(200):
            y = jnp.sin(y) + n
        return y

    y = jnp.ones(2)
    for i in range(20):
        fun(jnp.int32(i), y)
    for _ in range(400):
        fun(jnp.int32(1), y)
    assert served(fun) == "one program, one host read"
    np.testing.assert_allclose(fun(jnp.int32(7), y), fun.__wrapped__(jnp.int32(7), y), rtol=1e-5)


def test_dispatch_does_not_walk_recorded_paths():
    """A closed tree of 256 paths is one lookup, and reads nothing."""
    decide = decide_in_a_row(8)
    x, y = visit_all(decide, 8)
    call_until_folded(decide, x, y)
    hits = sum(segment.hits for segment in decide.tree().segments)
    for _ in range(10):
        decide(x, y)
    assert sum(segment.hits for segment in decide.tree().segments) == hits


def block(number):
    return Block([], Code((), (Literal(np.float32(number), jax.typeof(np.float32(0))),)))


@pytest.mark.parametrize("limits", [(2, 1 << 40), (100, 1 << 20)])
def test_programs_are_bounded_by_count_and_bytes_and_come_back(limits, monkeypatch):
    programs = Programs(*limits)
    monkeypatch.setattr("fxgrad.replay.program.PROGRAMS", programs)
    made = [programs.get(block(i)) for i in range(6)]
    for _ in range(3):
        for i, program in enumerate(made):
            assert float(program()[0]) == i
    assert len(programs) == 2
    assert sum(program.jitted is not None for program in made) == 2
    assert programs.get(block(3)) is made[3]


def test_effects_are_not_repeated_when_a_global_is_given_another_value():
    global SCALE
    told = []

    @replay
    def fun(x):
        jax.debug.callback(lambda y: told.append(float(y)), x[0])
        return x * SCALE

    fun(jnp.ones(2)), fun(jnp.ones(2))
    try:
        SCALE = 3.0
        np.testing.assert_array_equal(fun(jnp.ones(2)), [3.0, 3.0])
    finally:
        SCALE = 2.0
    jax.effects_barrier()
    assert told == [1.0, 1.0, 1.0]


def test_a_tree_has_a_bound_and_what_is_past_it_runs_in_eager(monkeypatch):
    monkeypatch.setattr("fxgrad.replay.session.MAX_RECORDED", 40)

    @replay
    def count(x, limit):
        while jnp.sum(x) < limit:
            x = x + 1.0
        return x

    for turns in (3, 60, 60, 5, 80, 3) * 5:
        result = count(jnp.zeros(2), jnp.float32(2 * turns))
        np.testing.assert_array_equal(result, np.full(2, turns, np.float32))
    assert any("operations are recorded" in reason for reason in count.explain().fallbacks)
    assert 0 < count.stats().compiled_share < 1
    assert any(decision.cost == "Python" for decision in count.explain().decisions)


def test_weak_types_stay_weak_so_dtypes_do_not_depend_on_the_number_of_calls():
    def fun(x, w):
        return w * 2 if x > 0 else w + 1

    def count(n, w):
        i = 0
        while i < n:
            w = w + i
            i += 1
        return w

    for function, arg in ((replay(fun), jnp.float32(1)), (replay(count), jnp.int32(5))):
        with jax.numpy_dtype_promotion("standard"):
            dtypes = {str((function(arg, jnp.asarray(2)) + jnp.int8(1)).dtype) for _ in range(30)}
        assert dtypes == {"int8"}


def test_weak_types_under_x64():
    captured = jnp.asarray(1.0)

    def fun(w, x):
        if x > 0:
            return w + 1
        return (x, w * 2) if x < -1 else x

    with jax.enable_x64(True):
        function = replay(fun)
        for value in [1.0, -2.0, -0.5] * 12:
            arguments = (captured, jnp.float32(value))
            found, expected = function(*arguments), fun(*arguments)
            jax.tree.map(np.testing.assert_array_equal, found, expected)
            assert [a.dtype for a in jax.tree.leaves(found)] == [
                a.dtype for a in jax.tree.leaves(expected)
            ]


def test_a_python_bool_is_not_an_array_of_one():
    function = replay(lambda b: b + b)
    for _ in range(3):
        function(jnp.array(True))
    assert function(True) == 2


@pytest.mark.parametrize("other", ["raise", "structure"])
def test_keys_come_out_of_a_tree_that_may_miss(other):
    def fun(x, key):
        new = jax.random.split(key)[0]
        if x > 0:
            return {"key": new}
        if other == "raise":
            raise ValueError("no")
        return x + 1

    function = replay(fun)
    for _ in range(3 * FIRST_PATIENCE):
        found = function(jnp.float32(1), jax.random.key(0))["key"]
        expected = fun(jnp.float32(1), jax.random.key(0))["key"]
        assert jnp.array_equal(jax.random.key_data(found), jax.random.key_data(expected))
        if other == "structure":
            assert function(jnp.float32(-1), jax.random.key(0)) == 0
    assert served(function).startswith("one program")


@pytest.mark.parametrize("constant", [jnp.nan, float("nan"), np.float32("nan"), -0.0])
def test_constants_that_are_not_equal_to_themselves_are_the_same_constants(constant):
    def fun(x):
        y = jnp.where(x > 5, x, constant)
        return y if x[0] > 0 else -y

    function = replay(fun)
    for sign in [1.0, -1.0] * 12:
        np.testing.assert_array_equal(function(sign * jnp.ones(2)), fun(sign * jnp.ones(2)))
    assert function.explain().fallbacks == ()


def test_a_decision_that_another_thread_is_recording_is_not_taken_for_closed():
    go, inside = threading.Event(), threading.Event()

    def fun(x, a, b):
        if a > 0:
            if b > 0:
                if threading.current_thread() is not threading.main_thread():
                    inside.set()
                    go.wait(20)
                return x + 1.0
            return x + 2.0
        return x * 3.0

    function = replay(fun)
    x, up, down = jnp.ones(2), jnp.float32(1), jnp.float32(-1)
    function(x, down, down)
    thread = threading.Thread(target=lambda: function(x, up, up))
    thread.start()
    inside.wait(20)
    for _ in range(12):
        function(x, down, down)
    go.set()
    thread.join()
    np.testing.assert_array_equal(function(x, up, up), [2.0, 2.0])
    np.testing.assert_array_equal(function(x, up, down), [3.0, 3.0])


def test_what_is_left_of_a_tree_by_pruning_is_not_taken_for_closed():
    def fun(x, a, b, c):
        if a > 0:
            return x + 1.0 if b > 0 else x + 2.0
        if c > 0:
            return x * 3.0
        for i in range(66):
            if x[i] > 0:
                x = x + 0.5 * (i + 1)
        return x

    function = replay(fun)
    x, up, down = jnp.ones(70), jnp.float32(1), jnp.float32(-1)
    calls = [(down, up, down), *[(down, up, up)] * 8, (up, up, up), (up, down, up)]
    for arguments in [*calls, *[(down, up, up)] * 80, (up, up, up), (up, down, up)]:
        np.testing.assert_allclose(function(x, *arguments), fun(x, *arguments), rtol=1e-6)


def test_the_reverse_jacobian_forces_nothing():
    function = replay(jax.jacrev(lambda v: jnp.tanh(v) * v[0]))
    for i in range(5):
        function(jnp.ones(3) * i)
    stats = function.stats()
    assert (stats.python_runs, stats.host_reads) == (1, 0)
