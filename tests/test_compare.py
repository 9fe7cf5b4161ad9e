"""Comparisons: what is measured, what is predicted from it, and its views as data."""

import dataclasses
import json
import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fxgrad as fx
from fxgrad.comparison.details import details_of
from fxgrad.comparison.measure import largest_difference
from fxgrad.comparison.new_process import in_a_new_process
from fxgrad.comparison.recommendation import recommend
from fxgrad.comparison.sections import memory_section
from fxgrad.comparison.table import rows, sentences
from fxgrad.comparison.timing import Timing
from fxgrad.errors import DataError, ModeError, ValueDependenceError
from fxgrad.execution.stats import Stats
from fxgrad.modes import MODES
from fxgrad.quantities import in_bytes, in_seconds


def fun(x):
    return jnp.sum(jnp.tanh(x @ x))


def timing(first, steady, calls=40):
    stats = Stats(calls + 1, 1, 1, first, 0, 1, 1.0, {"static": calls + 1}, {"static": 1})
    return Timing(first, (), (steady,) * calls, 1, first, stats, None)


IN_A_NEW_PROCESS = """
import json, sys
import jax.numpy as jnp
import fxgrad as fx

def fun(x):
    return jnp.sum(jnp.tanh(x @ x) * jnp.exp(x))

told = [fx.compare(fun, jnp.ones((8, 8)), calls=20, memory=each) for each in (True, True, False)]
json.dump([each.to_dict() for each in told], sys.stdout)
"""


@pytest.fixture(scope="module")
def cold_and_warm():
    done = subprocess.run(
        [sys.executable, "-c", IN_A_NEW_PROCESS], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_a_first_call_in_a_new_process_is_taken_as_it_is(cold_and_warm):
    eager = cold_and_warm[0]["timings"]["eager"]
    assert eager["programs"] >= 5
    assert eager["new_first_seconds"] == eager["first_seconds"]
    assert "compiled before" not in cold_and_warm[0]["recommendation"]["sentence"]


def test_a_first_call_whose_operations_were_compiled_before_is_reckoned(cold_and_warm):
    cold, warm, _ = cold_and_warm
    eager = warm["timings"]["eager"]
    assert eager["programs"] == 0
    assert warm["timings"]["static"]["programs"] == 1
    real = cold["timings"]["eager"]["first_seconds"]
    assert eager["first_seconds"] < real / 10
    assert real / 5 < eager["new_first_seconds"] < 5 * real
    assert "compiled before" in warm["recommendation"]["sentence"]


def test_where_operations_are_not_counted_the_others_first_calls_stand_for_it(cold_and_warm):
    timings = cold_and_warm[2]["timings"]
    assert timings["eager"]["memory_bytes"] is timings["eager"]["new_first_seconds"] is None
    eager = dataclasses.replace(timing(0.001, 0.002), programs=0)
    counted = in_a_new_process({"eager": eager, "static": timing(0.1, 0.0001)})
    assert (counted["eager"].first_seconds, counted["static"].first_seconds) == (0.1, 0.1)


def test_eager_is_not_recommended_for_the_sake_of_what_was_compiled_before():
    eager = dataclasses.replace(timing(0.001, 0.002), programs=0, new_first_seconds=0.5)
    timings = {"eager": eager, "static": timing(0.1, 0.0001)}
    told = recommend(timings, {}, planned_calls=20)
    assert told.mode == "static"
    assert told.predicted_seconds["eager"] == pytest.approx(0.5 + 19 * 0.002)
    assert told.sentence.endswith(
        "eager's operations were compiled before in this process; in a new process its first call "
        "costs more, about 500 ms, and that is counted here."
    )
    measured = fx.compare(fun, jnp.ones((2, 2)), calls=1)
    comparison = dataclasses.replace(measured, timings=timings)
    said = sentences(comparison)
    assert said[0] == f"Recommended: {comparison.recommendation}"
    assert "eager's operations were compiled before" in said[0]
    assert "static overtakes eager at call 54, predicted in this process (46 to 62)." in said


def test_where_no_mode_builds_programs_nothing_is_reckoned():
    eager = dataclasses.replace(timing(0.001, 0.002), programs=0, new_first_seconds=0.5)
    static = dataclasses.replace(timing(0.1, 0.0001), programs=0)
    told = recommend({"eager": eager, "static": static}, {}, planned_calls=20)
    assert (told.mode, "compiled before" in told.sentence) == ("eager", False)


def test_every_mode_makes_the_same_calls():
    comparison = fx.compare(fun, jnp.ones((8, 8)), calls=7, warmup=2)
    assert tuple(comparison.timings) == MODES
    for mode, measured in comparison.timings.items():
        assert measured.stats.calls == 10
        assert measured.stats.calls_by_mode == {mode: 10}
        assert (len(measured.warmup_seconds), len(measured.steady_seconds)) == (2, 7)
        assert math.isclose(measured.total_seconds, sum(measured.all_seconds))
        low, high = measured.spread_seconds
        assert 0 < low <= measured.median_seconds <= high
    assert comparison.timings["static"].stats.programs == 1
    assert comparison.timings["static"].stats.python_runs == 1
    assert comparison.timings["eager"].stats.python_runs == 10


def test_memory_of_the_static_program_counts_arguments_and_outputs():
    comparison = fx.compare(lambda x: x + 1, jnp.ones(1000), calls=1)
    assert comparison.timings["static"].memory_bytes == 8000
    assert comparison.timings["eager"].memory_bytes == 8000
    assert comparison.timings["replay"].memory_bytes is None
    assert (
        fx.compare(fun, jnp.ones((8, 8)), calls=1, memory=False).timings["static"].memory_bytes
        is None
    )


def test_inner_functions_run_in_the_mode_that_is_measured():
    inner = fx.function(lambda x: x + 1, mode="static")
    modes = ("eager",)
    fx.compare(lambda x: inner(x), jnp.ones(3), calls=1, warmup=0, modes=modes, memory=False)
    assert inner.stats().calls_by_mode == {"eager": 2}


def test_a_function_keeps_its_options_and_its_own_cache():
    function = fx.function(lambda x, power: x**power, static_argnames="power")
    comparison = fx.compare(function, jnp.ones(3), 3, calls=2)
    assert comparison.timings["static"].stats.programs == 1
    assert function.stats().calls == 0


def test_donated_arguments_survive_a_comparison():
    x = jnp.ones(3)
    fx.compare(fx.function(lambda x: x + 1, donate_argnames="x"), x, calls=3)
    assert not x.is_deleted()


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
def test_arguments_that_a_jitted_function_takes_over_survive_a_comparison():
    step = jax.jit(lambda state, x: (state["w"] + x, x), donate_argnums=0)
    state, x = {"w": jnp.ones(3)}, jnp.ones(3)
    comparison = fx.compare(lambda state, x: step(state, x)[0] * 2, state, x, calls=3)
    assert {len(timing.all_seconds) for timing in comparison.timings.values()} == {6}
    assert comparison.largest_difference == 0
    assert not state["w"].is_deleted()
    assert comparison.subject.args[0]["w"].tolist() == [1, 1, 1]


def test_a_mode_that_cannot_run_it_is_listed_with_the_reason():
    comparison = fx.compare(lambda x: x if x[0] > 0 else -x, jnp.ones(3), calls=2)
    assert tuple(comparison.timings) == ("eager", "replay")
    assert "Python decides by the value" in comparison.failures["static"]
    assert "static could not run it" in comparison.table()
    assert comparison.largest_difference == 0
    assert len(comparison.break_evens) == 1


def test_a_mode_that_cannot_take_an_argument_is_listed_and_the_others_run():
    comparison = fx.compare(lambda x, how: getattr(jnp, how)(x), jnp.ones(3), "sin", calls=2)
    assert tuple(comparison.timings) == ("eager", "replay")
    assert comparison.failures["static"].startswith("how is a str, which a static graph cannot")
    assert "static cannot run it: how is a str" in comparison.recommendation.sentence


def test_when_no_mode_can_run_it_the_reason_is_raised():
    with pytest.raises(ValueDependenceError):
        fx.compare(lambda x: x if x[0] > 0 else -x, jnp.ones(3), modes=("static",))


def test_an_error_of_the_function_is_raised():
    with pytest.raises(KeyError):
        fx.compare(lambda x: {}["a"], jnp.ones(3))


def test_a_wrong_mode_is_refused():
    with pytest.raises(ModeError, match="'graph' is not a mode"):
        fx.compare(fun, jnp.ones((2, 2)), modes=("eager", "graph"))


def test_no_calls_is_refused():
    with pytest.raises(ValueError, match="calls=0"):
        fx.compare(fun, jnp.ones((2, 2)), calls=0)


def test_time_is_bounded():
    comparison = fx.compare(fun, jnp.ones((8, 8)), calls=100_000, max_seconds=0.0)
    assert len(comparison.timings["eager"].steady_seconds) == 5


def test_the_largest_difference_is_relative_to_the_largest_value_and_sees_every_leaf():
    a = {"x": np.array([1.0, 100.0]), "n": np.array([1, 2]), "y": np.float32(3)}
    b = {"x": np.array([1.0, 101.0]), "n": np.array([1, 2]), "y": np.float32(3)}
    assert largest_difference([a, a]) == 0
    assert math.isclose(largest_difference([a, b]), 0.01)
    assert largest_difference([a, a, b]) == largest_difference([a, b])
    assert largest_difference([a]) is None
    assert largest_difference([{"k": jax.random.key(0)}] * 2) is None
    assert largest_difference([a, {**a, "n": np.array([1, 3])}]) == 0.5
    assert largest_difference([np.array([True]), np.array([False])]) == 1
    assert largest_difference([np.array([3 + 4j]), np.array([3 - 4j])]) == 8 / 5
    assert largest_difference([np.array([1.0]), np.array([np.nan])]) == math.inf
    assert largest_difference([np.array([1.0]), np.array([1.0, 2.0])]) == math.inf
    same = np.array([np.nan, np.inf, -np.inf, 1.0])
    assert largest_difference([same, same.copy()]) == 0
    assert largest_difference([np.array([0.0]), np.array([0.0])]) == 0


def comparison_of(**timings):
    measured = fx.compare(fun, jnp.ones((2, 2)), calls=1)
    return fx.Comparison(
        title="a <b> & c",
        unit="call",
        timings=timings,
        failures={},
        largest_difference=1e-7,
        environment=measured.environment,
    )


def test_the_table_says_what_was_measured():
    comparison = comparison_of(eager=timing(1.0, 0.02), static=timing(1.1, 0.001))
    cells = {row.label: row.cells for row in rows(comparison)}
    assert cells["first call"] == ("1 s", "1.1 s")
    assert cells["median call"] == ("20 ms", "1 ms")
    assert cells["total, 41 calls"] == ("1.8 s", "1.14 s")
    assert cells["break-even call"] == ("–", "7")
    assert cells["memory"] == ("n/a", "n/a")
    assert sentences(comparison) == [
        "Recommended: static from call 7 on; eager for fewer.",
        "static is 20 times as fast as eager, by the median call.",
        "static overtook eager at call 7, measured.",
        "Largest relative difference between the modes' outputs: 1.0e-07.",
    ]
    for text in (*cells, "a <b> & c", "jax "):
        assert text in comparison.table()


def test_a_break_even_beyond_the_calls_is_predicted():
    comparison = comparison_of(eager=timing(1.0, 0.02), static=timing(9.0, 0.001))
    cells = {row.label: row.cells for row in rows(comparison)}
    assert cells["break-even call"] == ("–", "~423")
    assert "static overtakes eager at call 423, predicted (356 to 496)." in sentences(comparison)


def test_json_holds_all_that_was_measured():
    comparison = fx.compare(fun, jnp.ones((2, 2)), calls=3)
    data = json.loads(comparison.to_json())
    assert data == json.loads(json.dumps(comparison.to_dict()))
    assert data["timings"]["static"]["stats"]["programs"] == 1
    assert len(data["timings"]["eager"]["steady_seconds"]) == 3
    assert data["environment"]["versions"]["jax"] == jax.__version__


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (9.996e-4, "1 ms"),
        (0.9999, "1 s"),
        (2.5e-7, "250 ns"),
        (1.5e-6, "1.5 µs"),
        (0.0123, "12.3 ms"),
        (1.0, "1 s"),
        (1234.5, "1234 s"),
    ],
)
def test_durations_have_the_unit_that_fits(seconds, words):
    assert in_seconds(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(None, "n/a"), (12, "12 B"), (2048, "2 KiB"), (1010 << 10, "1010 KiB"), (3 << 30, "3 GiB")],
)
def test_sizes_have_the_unit_that_fits(count, words):
    assert in_bytes(count) == words


@pytest.mark.parametrize(
    ("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")]
)
def test_a_plot_is_written_by_suffix(tmp_path, suffix, magic):
    comparison = comparison_of(eager=timing(1.0, 0.02), static=timing(1.1, 0.001))
    comparison.plot(tmp_path / f"plot{suffix}")
    assert (tmp_path / f"plot{suffix}").read_bytes().startswith(magic)


def test_a_plot_of_another_suffix_is_refused(tmp_path):
    comparison = comparison_of(eager=timing(1.0, 0.02))
    with pytest.raises(DataError, match=r"\.png, \.svg, \.pdf"):
        comparison.plot(tmp_path / "plot.bmp")
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_written_or_returned(tmp_path):
    comparison = fx.compare(jnp.sin, jnp.ones(3), calls=1)
    assert comparison.to_html(tmp_path / "page.html") is None
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert comparison.to_html().startswith("<!doctype html>")


def test_a_comparison_without_memory_has_a_page_without_it():
    without = fx.compare(jnp.sin, jnp.ones(3), calls=1, memory=False)
    details = details_of(without.subject)
    assert (details.memory, details.missing) == (None, {})
    assert details_of(fx.compare(jnp.sin, jnp.ones(3), calls=1).subject).memory is not None


def test_the_page_advises_a_checkpoint_only_where_less_is_held_and_says_how_much():
    def gains(params, x):
        for weights in params:
            with jax.named_scope("layer"):
                x = jnp.sin(jnp.tanh(x @ weights))
        return jnp.sum(x)

    memory = fx.memory(gains, [jnp.full((100, 100), 0.01)] * 6, jnp.ones((64, 100)))
    advised = [note for note in memory_section(memory)["notes"] if "6 × layer" in note]
    gain = in_bytes(memory.backward.savings[0].gain_bytes)
    assert advised[0].startswith(f"jax.checkpoint around 6 × layer would hold {gain} less at the")

    gainless = fx.memory(lambda x: jnp.sum(jnp.sin(x)), jnp.ones(1000))
    assert gainless.backward.savings
    assert not any("would hold" in note for note in memory_section(gainless)["notes"])
