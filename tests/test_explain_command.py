"""``fxgrad explain`` on functions with one planted trouble each: the data that it writes."""

import json
from pathlib import Path

import pytest

from fxgrad.cli.main import main

PLANTED = Path(__file__).with_name("explained.py")


@pytest.fixture
def explained(tmp_path):
    """Explains a function of the planted file, and gives the data."""

    def explain(function, *makers, calls=20, mode="replay"):
        arguments = ["explain", f"{PLANTED}:{function}", "--calls", str(calls), "--mode", mode]
        for maker in makers:
            arguments += ["--args", f"{PLANTED}:{maker}"]
        path = tmp_path / "data.json"
        assert main([*arguments, "--json", str(path)]) == 0
        return json.loads(path.read_text())

    return explain


def differences(data):
    """The kinds of all differences, and the advice for them."""
    compilations = data["explanation"]["compilations"]
    kinds = [fact["kind"] for each in compilations for fact in each["differences"]]
    return kinds, " ".join(words for each in compilations for words in each["advice"])


def test_a_clean_function_is_one_program_that_both_modes_run_alike(explained):
    data = explained("clean", "ones")
    assert (data["stats"]["calls"], data["stats"]["programs"]) == (20, 1)
    assert (data["stats"]["python_runs"], data["stats"]["host_reads"]) == (1, 0)
    assert data["stats"]["compiled_share"] == 1
    explanation = data["explanation"]
    assert [each["cause"] for each in explanation["compilations"]] == ["first call"]
    assert explanation["decisions"] == explanation["fallbacks"] == []
    assert data["impurity"] is None
    assert data["verdict"] == "Nothing forces a value: static and replay cost the same."


@pytest.mark.parametrize("mode", ["static", "replay"])
def test_a_function_that_retraces_by_shape(explained, mode):
    data = explained("clean", "of_some_length", mode=mode)
    kinds, advice = differences(data)
    assert kinds == ["shape", "shape"]
    assert "keep shapes fixed" in advice
    first = data["explanation"]["compilations"][1]["differences"][0]
    assert first["path"] == "x"
    assert data["stats"]["programs"] == 3


def test_several_makers_take_turns(explained):
    data = explained("clean", "ones", "longer", calls=4)
    (fact,) = data["explanation"]["compilations"][1]["differences"]
    assert (fact["before"], fact["after"]) == ("f32[4]", "f32[5]")
    assert data["explanation"]["compilations"][1]["call"] == 2


@pytest.mark.parametrize("mode", ["static", "replay"])
def test_a_function_that_retraces_by_dtype(explained, mode):
    kinds, advice = differences(explained("clean", "of_some_dtype", mode=mode))
    assert kinds == ["dtype"]
    assert "convert to one dtype" in advice


def test_a_function_that_is_recorded_for_each_python_number(explained):
    data = explained("scaled", "with_a_number", calls=40)
    kinds, advice = differences(data)
    assert kinds == ["Python value"] * 39
    assert "jnp.asarray(x)" in advice
    assert data["stats"]["python_runs"] == 40
    assert "40 of 40 calls" in data["verdict"]
    assert "Static takes a Python number as an input" in data["verdict"]
    assert "32 values" in data["explanation"]["fallbacks"][0]
    assert explained("scaled", "with_a_number", mode="static")["stats"]["programs"] == 1


def test_a_lambda_that_is_remade_for_each_call(explained):
    data = explained("activated", "with_a_lambda", mode="static", calls=6)
    kinds, advice = differences(data)
    assert kinds == ["static value"] * 5
    assert "made anew for this call" in advice
    assert "outside the loop" in advice
    assert data["stats"]["programs"] == 6


def test_a_line_that_forces_a_number_at_each_call(explained):
    data = explained("shown", "same", calls=3)
    (decision,) = data["explanation"]["decisions"]
    assert decision["place"]["line"] == "level = float(x[0])"
    assert decision["cost"] == "a host read"
    assert (decision["count"], decision["on_paths"]) == (1, 1)
    assert "fx.log" in decision["advice"]
    assert "x and not float(x)" in decision["advice"]
    assert data["stats"]["host_reads"] == 3
    assert "3 host reads in 3 calls" in data["verdict"]


def test_a_branch_whose_outcomes_were_all_seen_costs_nothing(explained):
    data = explained("branching", "of_some_sign", calls=60)
    (decision,) = data["explanation"]["decisions"]
    assert decision["place"]["line"] == "if x[0] > 0:"
    assert (decision["cost"], decision["advice"]) == ("nothing", "")
    assert sorted(decision["values"]) == ["False", "True"]
    assert data["stats"]["python_runs"] == 2
    assert "replay costs what static would" in data["verdict"]


def test_a_branch_with_an_outcome_that_was_not_seen_reads_once_a_call(explained):
    (decision,) = explained("branching", "ones", calls=30)["explanation"]["decisions"]
    assert decision["cost"] == "one host read for the whole call"
    assert "call with arguments for the others once" in decision["advice"]


def test_a_line_with_forty_values_falls_to_eager(explained):
    data = explained("shown", "of_some_value", calls=40)
    (decision,) = data["explanation"]["decisions"]
    assert (decision["cost"], decision["count"]) == ("Python", 32)
    assert "bool(x > limit)" in decision["advice"]
    assert 0 < data["stats"]["compiled_share"] < 1
    (fallback,), (instead,) = data["explanation"]["fallbacks"], data["explanation"]["instead"]
    assert "32 different values" in fallback
    assert "ask for what repeats" in instead
    assert "the rest runs as eager" in data["verdict"]


@pytest.mark.parametrize("mode", ["static", "replay"])
def test_a_function_that_reads_a_counter_is_not_pure(explained, mode):
    data = explained("counting", "ones", mode=mode)
    assert data["impurity"]["place"]["line"] == "return x * next(_count)"
    assert "other values of Python's" in data["impurity"]["what"]
    assert "pass what changes as an argument" in data["impurity"]["advice"]
    assert data["stats"]["python_runs"] == 1  # nothing else would tell
    assert data["verdict"].startswith("It is not pure: multiply gets other values")
    assert "Python ran in 1 of 20 calls, and the others went on" in data["verdict"]


def test_a_global_counter_is_recorded_anew_and_nothing_else_is_guessed(explained):
    data = explained("counting_in_a_global", "ones", calls=6)
    assert data["stats"]["python_runs"] == 6
    assert "Python ran at each of 6 calls, so that nothing old was used" in data["verdict"]
    again = data["explanation"]["compilations"][1:]
    assert {each["cause"] for each in again} == {"same call again"}
    assert {words for each in again for words in each["advice"]} == {
        "the arguments are like those of an earlier call: what has changed is what the function "
        "reads besides them"
    }


def test_an_operation_of_one_run_only_is_named(explained):
    impurity = explained("now_and_then", "ones", calls=1)["impurity"]
    assert impurity["what"].endswith("does not happen in one of the runs")
    assert impurity["place"]["line"] == "return jnp.sum(x[: 4 - next(_count) % 2])"


@pytest.mark.parametrize("mode", ["static", "replay"])
def test_a_function_that_changes_its_argument_is_not_pure(explained, mode):
    data = explained("changing", "with_a_state", calls=3, mode=mode)
    assert data["impurity"]["what"] == "the call changes its argument: state['calls']"
    assert "change a copy and return it" in data["impurity"]["advice"]
    assert "It is not pure: the call changes its argument" in data["verdict"]


@pytest.mark.filterwarnings("ignore:Python iterable type 'generator':DeprecationWarning")
def test_a_function_that_returns_a_generator_runs_in_eager(explained):
    data = explained("generating", "ones")
    (fallback,), (instead,) = data["explanation"]["fallbacks"], data["explanation"]["instead"]
    assert "returns an object that Python made" in fallback
    assert "run a generator" in instead
    assert data["stats"]["compiled_share"] == 0
    assert "Nothing runs compiled" in data["verdict"]


def test_an_object_among_the_arguments_is_named(explained):
    data = explained("of_an_object", "with_an_object")
    assert "an argument is a Box" in data["explanation"]["fallbacks"][0]
    assert "static_argnames" in data["explanation"]["fallbacks"][0]


@pytest.mark.parametrize(
    ("function", "maker", "line", "advice"),
    [
        ("masked", "ones", "return x[x > 0]", "jax.numpy.where(mask, x, 0)"),
        ("sized", "whole", "return jnp.zeros(int(x[0]))", "pad to a fixed size"),
    ],
)
def test_what_to_write_depends_on_what_python_asked_for(explained, function, maker, line, advice):
    (decision,) = explained(function, maker, calls=3)["explanation"]["decisions"]
    assert decision["place"]["line"] == line
    assert advice in decision["advice"]


def test_random_keys_are_pure(explained):
    assert explained("random", "key")["impurity"] is None


@pytest.mark.parametrize("mode", ["static", "replay"])
def test_a_function_that_takes_over_its_arguments_is_called_with_new_ones(explained, mode):
    data = explained("taking_over", "ones", calls=12, mode=mode)
    assert (data["impurity"], data["stats"]["programs"]) == (None, 1)


def test_a_string_that_static_cannot_take_is_told_in_the_verdict(explained):
    verdict = explained("steered", "with_a_string", calls=3)["verdict"]
    assert verdict.startswith("Nothing forces a value, but static cannot run it: how is a str")


@pytest.mark.parametrize("function", ["through_numpy", "with_a_constant"])
def test_an_array_that_numpy_makes_anew_of_equal_values_is_pure(explained, function):
    assert explained(function, "ones", calls=3)["impurity"] is None


def test_an_array_that_numpy_makes_anew_of_other_values_is_not_pure(explained):
    impurity = explained("with_a_counted_constant", "ones", calls=3)["impurity"]
    assert "is returned by the next run" in impurity["what"]


def test_a_report_prints_every_part_with_what_to_write_instead(capsys):
    target, maker = f"{PLANTED}:shown", f"{PLANTED}:of_some_value"
    assert main(["explain", target, "--args", maker, "--calls", "40"]) == 0
    printed = capsys.readouterr().out
    for words in ("40 calls", "compilations: 1", "lines that force values: 1", "→ if the value"):
        assert words in printed
    assert "not as it could be: 1" in printed
    assert "explained.py" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["broken", "ones"], "broken failed: RuntimeError: inside"),
        (["clean"], "cannot be called with 0 argument(s)"),
        (["branching", "ones", "--mode", "static"], "if x[0] > 0:"),
        (["clean", "ones", "--json", "absent/data.json"], "absent, which does not exist"),
    ],
)
def test_what_the_user_got_wrong_is_told(capsys, arguments, words):
    function, *maker = arguments
    options = ["--args", f"{PLANTED}:{maker[0]}", *maker[1:]] if maker else []
    assert main(["explain", f"{PLANTED}:{function}", *options]) == 2
    assert words in capsys.readouterr().err
