"""Decisions: what each line that forces a value has seen, and what it costs."""

import json

import jax.numpy as jnp
import pytest

import fxgrad as fx


def decide(x):
    if x[0] > 0:
        return x * 2
    return x * int(x[1])


def explained(function):
    return {d.place.line: d for d in function.explain().decisions}


def test_a_decision_has_its_line_its_values_and_its_cost():
    function = fx.function(decide)
    function(jnp.array([1.0, 2.0]))
    (decision,) = function.explain().decisions
    assert decision.place.filename.endswith("test_decisions.py")
    assert decision.place.line == "if x[0] > 0:"
    assert (decision.values, decision.count, decision.on_paths) == (("True",), 1, 1)
    assert decision.cost == "a host read"
    assert "quiet" in decision.reason


def test_the_cost_falls_when_the_tree_is_folded_and_when_it_is_closed():
    def sign(x):
        return x * 2 if x[0] > 0 else x * 3

    function = fx.function(sign)
    for _ in range(30):
        function(jnp.ones(2))
    (decision,) = function.explain().decisions
    assert decision.cost == "one host read for the whole call"
    for i in range(80):
        function(jnp.ones(2) * (-1.0) ** i)
    (decision,) = function.explain().decisions
    assert (decision.cost, decision.values) == ("nothing", ("True", "False"))


def test_a_value_that_never_repeats_is_told_with_what_to_write_instead():
    def show(x):
        print(f"{float(x[0]):.1f}", end="")
        return x + 1

    function = fx.function(show)
    for i in range(40):
        function(jnp.full(2, float(i)))
    (decision,) = function.explain().decisions
    assert decision.cost == "Python"
    assert decision.count == 32
    assert "fx.log" in decision.advice
    assert "values were seen here" in str(function.explain())
    assert 0 < function.stats().compiled_share < 1


def halve(x):
    while jnp.sum(x) > 1:
        x = x / 2
    return x


def halve_and_break(x):
    while True:
        if jnp.sum(x) < 1:
            break
        x = x / 2
    return x


@pytest.mark.parametrize("fun", [halve, halve_and_break])
def test_a_loop_is_said_to_cost_a_read_and_not_to_be_seen_to_its_end(fun):
    function = fx.function(fun)
    for i in range(60):
        function(jnp.full(2, 10.0 + i % 3))
    (decision,) = function.explain().decisions
    assert decision.cost == "one host read for the whole call"
    assert "one host read a call" in decision.advice
    assert "jax.lax.while_loop" in decision.advice
    assert "for the others once" not in decision.advice


def test_a_decision_in_each_turn_of_a_bounded_loop_is_no_decision_on_a_turn():
    def signs(x):
        for i in range(3):
            if x[i] > 0:
                x = x * 2
        return x

    function = fx.function(signs)
    for x in ([1.0, 1.0, 1.0], [1.0, -1.0, 1.0]):
        function(jnp.array(x))
    (decision,) = function.explain().decisions
    assert "for the others once" in decision.advice


def test_every_line_is_listed_once_in_the_order_it_was_met():
    function = fx.function(decide)
    for x in ([1.0, 2.0], [-1.0, 2.0], [-1.0, 3.0]):
        function(jnp.array(x))
    assert list(explained(function)) == ["if x[0] > 0:", "return x * int(x[1])"]
    assert explained(function)["return x * int(x[1])"].count == 2


def test_an_explanation_is_data_and_prints():
    function = fx.function(decide)
    function(jnp.array([1.0, 2.0]))
    explanation = function.explain()
    assert json.loads(json.dumps(explanation.to_dict()))["decisions"][0]["cost"] == "a host read"
    assert "decision at" in str(explanation)


def test_the_tree_of_some_arguments_is_theirs_only():
    function = fx.function(decide)
    two, three = jnp.array([1.0, 2.0]), jnp.array([1.0, 2.0, 3.0])
    function(two), function(three)
    assert len(function.tree().segments) == 4
    assert len(function.tree(two).segments) == 2
    assert function.tree(jnp.ones(7)).segments == ()
