"""Which mode wins: the innermost block, then the environment, then the function's own."""

import os
import subprocess
import sys
import threading

import jax.numpy as jnp
import pytest

import fxgrad as fx
from fxgrad.errors import ModeError
from fxgrad.modes import MODES, process_mode, resolve


@pytest.fixture
def environment(monkeypatch):
    """Set FXGRAD_MODE as if the process had started with it."""
    yield lambda name: (monkeypatch.setenv("FXGRAD_MODE", name), process_mode.cache_clear())
    monkeypatch.undo()
    process_mode.cache_clear()


def ran_in(function):
    (mode,) = [m for m, calls in function.stats().calls_by_mode.items() if calls]
    return mode


def make(mode=None):
    return fx.function(lambda x: x + 1, mode=mode)


def test_a_function_without_a_mode_runs_in_the_default_one():
    function = make()
    function(jnp.ones(2))
    assert ran_in(function) == "replay"


@pytest.mark.parametrize("mode", MODES)
def test_a_function_runs_in_its_own_mode(mode):
    function = make(mode)
    function(jnp.ones(2))
    assert ran_in(function) == mode


def test_the_environment_wins_over_the_functions_own_mode(environment):
    environment("eager")
    function = make("static")
    function(jnp.ones(2))
    assert ran_in(function) == "eager"


def test_a_block_wins_over_the_environment(environment):
    environment("eager")
    function = make("eager")
    with fx.mode("static"):
        function(jnp.ones(2))
    assert ran_in(function) == "static"


def test_the_innermost_block_wins_and_leaving_it_restores_the_outer_one():
    with fx.mode("static"):
        with fx.mode("eager"):
            assert resolve(None) == "eager"
        assert resolve("eager") == "static"
    assert resolve("eager") == "eager"


def test_a_block_left_by_an_exception_is_left():
    with pytest.raises(KeyError), fx.mode("eager"):
        raise KeyError
    assert resolve(None) == "replay"


def test_a_block_does_not_reach_into_another_thread():
    seen = []
    with fx.mode("eager"):
        thread = threading.Thread(target=lambda: seen.append(resolve(None)))
        thread.start()
        thread.join()
    assert seen == ["replay"]


@pytest.mark.parametrize("wrong", ["", "Eager", "graph", None, 3, ["eager"]])
def test_a_block_of_no_mode_is_refused_and_the_modes_are_named(wrong):
    with (
        pytest.raises(ModeError, match="'eager' or 'static' or 'replay'") as caught,
        fx.mode(wrong),
    ):
        pass
    assert caught.value.mode == wrong


def test_a_function_of_no_mode_is_refused_where_it_is_made():
    with pytest.raises(ModeError, match="mode='fast' is not a mode"):
        fx.function(lambda x: x, mode="fast")


def test_a_wrong_environment_variable_is_named_at_the_first_call():
    script = "import fxgrad as fx; fx.function(lambda x: x)(1.0)"
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "FXGRAD_MODE": "fast"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode != 0
    assert "FXGRAD_MODE='fast' is not a mode. Write 'eager' or 'static' or 'replay'." in ran.stderr
