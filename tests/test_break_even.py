"""Break-evens and recommendations, on timings made up for the purpose."""

import dataclasses
import json
import random

import jax.numpy as jnp
import pytest

import fxgrad as fx
from fxgrad.comparison.break_even import (
    break_evens,
    measured_break_even,
    predict_break_even,
)
from fxgrad.comparison.cheapest import stages
from fxgrad.comparison.curves import crossings, curves
from fxgrad.comparison.entrant import Entrant
from fxgrad.comparison.recommendation import recommend
from fxgrad.comparison.table import sentences
from fxgrad.comparison.timing import Timing
from fxgrad.errors import OptionError
from fxgrad.execution.stats import Stats
from fxgrad.modes import MODES
from fxgrad.replay.promotion import FIRST_PATIENCE

STATS = Stats(1, 1, 1, 1.0, 0, 1, 1.0, {"static": 1}, {"static": 1})
WHY = "model.py:12: if x > 0:\nHere Python decides by the value of an array, and …"


def timing(first, steady, calls=40, warmup=()):
    return Timing(first, tuple(warmup), (steady,) * calls, 1, first, STATS, None)


def scattered(first, median, by=0.2, warmup=()):
    """Steady calls of this median, of which a third are by so much faster and a third slower."""
    calls = [median * factor for factor in (1 - by, 1, 1 + by)] * 13
    return dataclasses.replace(timing(first, 0.0, warmup=warmup), steady_seconds=tuple(calls))


def comparison_of(planned_calls=None, failures=None, **timings):
    measured = fx.compare(jnp.sin, jnp.ones(2), calls=1)
    return dataclasses.replace(
        measured, timings=timings, failures=failures or {}, planned_calls=planned_calls
    )


@pytest.mark.parametrize(
    ("fast", "slow", "call"),
    [
        ((10.0, 1.0), (1.0, 2.0), 11),  # after 10 calls both have taken 19
        ((10.0, 1.0), (1.0, 2.5), 8),
        ((1.0, 1.0), (2.0, 2.0), 1),
        ((2.0, 1.0), (2.0, 2.0), 2),
        ((2.0, 1.0), (1.0, 1.0), None),
    ],
)
def test_a_predicted_break_even_is_the_measured_one_of_calls_that_cost_as_predicted(
    fast, slow, call
):
    fast, slow = timing(*fast), timing(*slow)
    measured = measured_break_even(fast.all_seconds, slow.all_seconds)
    assert measured == call
    assert predict_break_even(fast, slow, measured) == call


def test_a_prediction_that_the_calls_have_refuted_is_not_told():
    fast, slow = timing(1.0, 1.0), timing(1.5, 2.0)
    fast = dataclasses.replace(fast, warmup_seconds=(500.0,))
    slow = dataclasses.replace(slow, warmup_seconds=(2.0,))
    (found,) = break_evens({"eager": slow, "static": fast})
    assert (found.measured, found.predicted) == (None, 500)


def test_a_break_even_must_last():
    assert measured_break_even([5, 1, 1, 1, 9, 1, 1], [4, 3, 3, 1, 1, 1, 1]) is None
    assert measured_break_even([5, 1, 1, 1, 5, 1, 1], [4, 3, 3, 1, 1, 2, 3]) == 7


def test_every_pair_of_modes_has_a_break_even():
    (found,) = break_evens({"eager": timing(1.0, 2.0), "static": timing(10.0, 1.0)})
    assert (found.mode, found.over, found.predicted, found.measured) == (
        "static",
        "eager",
        11,
        11,
    )


def test_a_prediction_from_few_calls_is_what_many_calls_that_cost_the_same_measure():
    made = random.Random(0)
    for _ in range(300):
        heads = [[made.randint(1, 3000) for _ in range(made.randint(1, 10))] for _ in range(2)]
        fast, slow = made.randint(1, 20), made.randint(21, 60)
        fast_long = [*heads[0], *[fast] * 3000]
        slow_long = [*heads[1], *[slow] * 3000]
        found = measured_break_even(fast_long, slow_long)
        short = [
            timing(head[0], steady, calls=6, warmup=head[1:])
            for head, steady in zip(heads, (fast, slow), strict=True)
        ]
        measured = measured_break_even(*(t.all_seconds for t in short))
        assert predict_break_even(*short, measured) == found


def test_a_warm_up_that_is_longer_in_one_mode_is_counted_whole():
    eager = timing(100.0, 2.0, calls=37, warmup=(2.0, 2.0))
    replay = timing(110.0, 0.0, calls=31, warmup=[1.0] * 7 + [90.0, 0.0])
    assert predict_break_even(replay, eager, None) == 55  # 207 against 98 + 2 for each call
    assert stages({"eager": eager, "replay": replay})[-1].start == 55


def test_a_mode_that_is_ahead_behind_and_ahead_again_overtakes_the_last_time():
    eager = timing(10.0, 2.0)
    replay = timing(9.0, 1.0, warmup=[1.0] * 7 + [40.0])
    (found,) = break_evens({"eager": eager, "replay": replay})
    assert (found.mode, found.measured, found.predicted) == ("replay", 40, 40)
    told = recommend({"eager": eager, "replay": replay}, {})
    assert [(s.mode, s.start) for s in told.stages] == [("replay", 1), ("eager", 9), ("replay", 40)]
    assert told.sentence == ("replay from call 40 on; replay up to call 8, eager up to call 39.")


def test_the_range_of_a_prediction_holds_it_and_is_open_where_medians_may_be_equal():
    eager, static = timing(1.0, 0.02), timing(9.0, 0.001)
    (found,) = break_evens({"eager": eager, "static": static})
    assert found.between == (356, 496)
    assert not found.is_tie
    (near,) = break_evens({"replay": timing(2.0, 0.0103), "static": timing(9.0, 0.01)})
    assert near.predicted == 23_335
    assert near.between[0] == 5973
    assert near.between[1] is None
    (tied,) = break_evens({"replay": scattered(2.0, 0.0103), "static": scattered(9.0, 0.01)})
    assert tied.is_tie
    assert not near.is_tie  # by calls that were all alike, three in a hundred are a difference


def test_medians_of_calls_that_scatter_tie_sooner():
    steady = [1.0, 2.0, 3.0] * 5
    scattered = dataclasses.replace(timing(1.0, 0.0), steady_seconds=tuple(steady))
    assert timing(1.0, 2.0).median_margin == pytest.approx(0.1)
    assert scattered.median_margin > 0.9
    (found,) = break_evens({"eager": scattered, "static": timing(1.0, 1.5)})
    assert found.is_tie


def test_medians_within_each_others_ranges_tie_and_have_no_crossing_and_one_stage():
    eager = timing(0.1, 0.02)
    replay, static = scattered(19.8, 0.00111), scattered(21.0, 0.001)
    timings = {"eager": eager, "static": static, "replay": replay}
    assert len(stages(timings)) == 3
    told = recommend(timings, {})
    assert (told.mode, told.ties) == ("static", ("replay",))
    assert [stage.mode for stage in told.stages] == ["eager", "static"]
    assert told.sentence.startswith("static from call 1102 on; eager for fewer. static and replay")
    said = " ".join(sentences(comparison_of(**timings)))
    assert "static and replay cost the same within their spread" in said
    assert "static overtakes replay" not in said
    assert "static overtakes eager" in said


def test_for_a_huge_plan_a_small_difference_without_any_spread_counts():
    timings = {"eager": timing(1.0, 0.00104), "static": timing(1.0, 0.001)}
    told = recommend(timings, {}, planned_calls=2_600_000)
    assert told.predicted_seconds["eager"] - told.predicted_seconds["static"] > 100
    assert (told.mode, told.ties, told.is_sure) == ("static", (), True)


def test_a_plan_between_modes_whose_ranges_overlap_goes_to_the_simpler():
    timings = {"static": scattered(1.0, 0.00104), "replay": scattered(1.0, 0.001)}
    told = recommend(timings, {}, planned_calls=1_000_000)
    assert (told.mode, told.ties) == ("static", ("replay",))


def test_a_failure_without_a_line_is_told_by_its_own_words():
    timings = {"eager": timing(1.0, 0.02), "replay": timing(1.5, 0.001)}
    told = recommend(timings, {"static": "how is a str, which a static graph cannot take: …."})
    assert told.sentence.endswith(
        "static cannot run it: how is a str, which a static graph cannot take: …."
    )
    cell = "notebook cell, line 3: if x > 0:\nHere …"
    told = recommend(timings, {"static": cell})
    assert told.sentence.endswith("asks for a value at notebook cell, line 3 (if x > 0:).")


def test_the_sentence_and_the_stages_of_a_recommendation_say_the_same():
    made = random.Random(4)
    for _ in range(200):
        timings = {
            mode: scattered(made.randint(1, 400), made.randint(1, 12), made.random() / 2)
            for mode in made.sample(MODES, made.randint(2, 3))
        }
        told = recommend(timings, {})
        assert told.stages[-1].mode == told.mode
        assert not {stage.mode for stage in told.stages} & set(told.ties)
        first = told.sentence.split(".")[0]
        assert (first == f"{told.mode} from the first call on") == (len(told.stages) == 1)


def test_with_a_plan_the_cheapest_for_it_is_recommended_with_its_total():
    timings = {"eager": timing(1.0, 0.02), "static": timing(9.0, 0.001)}
    few, many = (recommend(timings, {}, planned_calls=calls) for calls in (100, 10_000))
    assert (few.mode, many.mode) == ("eager", "static")
    assert few.predicted_seconds == pytest.approx({"eager": 2.98, "static": 9.099})
    assert few.sentence == (
        "eager for 100 calls: 2.98 s, against 9.1 s in static. static overtakes eager only at "
        "call 423."
    )
    assert many.sentence == (
        "static for 10000 calls: 19 s, against 201 s in eager. static overtakes eager at call 423."
    )
    assert few.is_sure
    assert many.is_sure
    assert many.margin_seconds["static"] == pytest.approx(((0.9) ** 2 + 0.5**2) ** 0.5, rel=1e-2)


def test_near_the_break_even_both_modes_tie_and_the_simpler_is_recommended():
    timings = {"static": timing(9.0, 0.001), "eager": timing(1.0, 0.02)}
    told = recommend(timings, {}, planned_calls=430)
    assert told.predicted_seconds["static"] < told.predicted_seconds["eager"]
    assert (told.mode, told.ties, told.is_sure) == ("eager", ("static",), False)
    assert told.sentence == (
        "eager for 430 calls: 9.58 s, against 9.43 s in static. eager and static cost the same "
        "for 430 calls, within their spread."
    )


def test_without_a_plan_the_recommendation_is_by_the_number_of_calls():
    timings = {
        "eager": timing(1.0, 0.02),
        "static": scattered(9.0, 0.001),
        "replay": scattered(9.1, 0.00102),
    }
    told = recommend(timings, {})
    assert (told.mode, told.ties, told.predicted_seconds) == ("static", ("replay",), {})
    assert told.sentence == (
        "static from call 423 on; eager for fewer. static and replay cost the same for a steady "
        "call, within their spread; replay also runs Python decisions."
    )


def test_a_mode_that_never_overtakes_is_not_recommended():
    told = recommend({"eager": timing(1.0, 0.02), "static": timing(2.0, 0.03)}, {})
    assert told.sentence == "eager from the first call on."
    assert told.stages == stages({"eager": timing(1.0, 0.02)})


def test_of_equal_steady_calls_the_first_ones_decide():
    told = recommend({"eager": timing(2.0, 0.01), "static": timing(1.0, 0.01)}, {})
    assert told.sentence == (
        "static from the first call on. static and eager cost the same for a steady call, within "
        "their spread."
    )


def test_a_mode_that_could_not_run_is_mentioned_with_the_line():
    timings = {"eager": timing(1.0, 0.02), "replay": timing(1.5, 0.001)}
    told = recommend(timings, {"static": WHY}, unit="step", planned_calls=900)
    assert told.sentence == (
        "replay for 900 steps: 2.4 s, against 19 s in eager. replay overtakes eager at step 28. "
        "static cannot run it: Python asks for a value at model.py:12 (if x > 0:)."
    )


def test_one_mode_alone_is_no_choice():
    timings = {"eager": timing(1.0, 0.02)}
    assert str(recommend(timings, {})) == "eager, the only mode that was measured."
    assert str(recommend(timings, {"static": WHY})).startswith(
        "eager, the only mode of those asked for that can run it. static cannot run it: "
    )


def test_few_steady_calls_are_said_to_be_few():
    timings = {"eager": timing(1.0, 0.02, calls=3), "static": timing(1.0, 0.001, calls=3)}
    told = recommend(timings, {})
    assert told.sentence.endswith(" That is by 3 steady calls only.")
    assert not told.is_sure


def test_stages_are_told_beyond_the_measured_calls_and_need_not_hold_every_mode():
    timings = {
        "eager": timing(0.0, 10.0, calls=2),
        "replay": timing(100.0, 5.0, calls=2),
        "static": timing(1000.0, 1.0, calls=2),
    }
    found = [(stage.mode, stage.start) for stage in stages(timings)]
    assert found == [("eager", 1), ("replay", 22), ("static", 227)]
    for calls in (21, 22, 226, 227):
        cheapest = min(timings, key=lambda mode: timings[mode].seconds_of(calls))
        assert cheapest == max(pair for pair in zip_starts(found) if pair[0] <= calls)[1]
    between = {**timings, "replay": timing(900.0, 5.0, calls=2)}
    assert [(s.mode, s.start) for s in stages(between)] == [("eager", 1), ("static", 113)]


def zip_starts(found):
    return [(start, mode) for mode, start in found]


def test_the_recommendation_is_in_the_table_and_in_the_data():
    comparison = comparison_of(900, eager=timing(1.0, 0.02), static=timing(1.1, 0.001))
    told = comparison.recommendation
    assert sentences(comparison)[0] == f"Recommended: {told}"
    assert str(told) in comparison.table()
    data = json.loads(comparison.to_json())
    assert data["planned_calls"] == 900
    assert data["recommendation"] == json.loads(json.dumps(told.to_dict()))
    assert data["recommendation"]["mode"] == "static"
    assert data["break_evens"][0]["between"] == list(comparison.break_evens[0].between)


def test_a_plan_of_no_calls_is_refused():
    with pytest.raises(OptionError, match="planned_calls=0"):
        fx.compare(jnp.sin, jnp.ones(2), planned_calls=0)


def test_the_calls_of_replay_up_to_its_fold_are_no_steady_ones():
    def halve(x):
        while jnp.max(x) > 1:
            x = x / 2
        return x

    comparison = fx.compare(halve, jnp.full(3, 100.0), calls=5, warmup=0)
    eager, replay = comparison.timings["eager"], comparison.timings["replay"]
    assert len(replay.head_seconds) == 1 + FIRST_PATIENCE
    assert len(replay.steady_seconds) == 5
    assert len(eager.head_seconds) == 1
    assert len(eager.all_seconds) == len(replay.all_seconds)


def test_a_program_that_is_built_late_in_the_warm_up_ends_it():
    entrant = Entrant("static", fx.function(lambda x: x + 1, mode="static"))
    for size in (2, 2, 2, 3, 3, 4):
        entrant.call(jnp.ones(size))
    found = entrant.timing(jnp.ones(4), warmup=0, settling=4, memory=False)
    assert (len(found.head_seconds), len(found.steady_seconds)) == (4, 2)


def test_a_comparison_keeps_its_subject_for_more_views():
    x = jnp.ones(3)
    fun = fx.function(lambda x: x + 1, donate_argnames="x")
    comparison = fx.compare(fun, x, calls=1)
    fun(x)
    assert comparison.subject.fun is fun
    assert comparison.subject.args[0].tolist() == [1, 1, 1]
    assert comparison == dataclasses.replace(comparison, subject=None)
    assert "subject" not in comparison.to_dict()
    assert "Subject(" not in repr(comparison)


def test_the_plot_tells_predicted_crossings_from_measured_ones():
    measured = comparison_of(eager=timing(1.0, 0.02), static=timing(1.1, 0.001))
    (crossing,) = crossings(measured)
    assert (crossing.call, crossing.is_measured) == (7, True)
    assert [curve.predicted for curve in curves(measured)] == [None, None]
    predicted = comparison_of(eager=timing(1.0, 0.02), static=timing(3.0, 0.001))
    (crossing,) = crossings(predicted)
    assert (crossing.call, crossing.is_measured) == (107, False)
    assert crossing.label == "static overtakes\nat call 107, predicted"
    assert crossing.seconds == pytest.approx(3 + 106 * 0.001)
    eager = curves(predicted)[0]
    assert eager.predicted == (128, pytest.approx(1 + 127 * 0.02))
    assert eager.measured[-1] == pytest.approx(1.8)


def test_the_plot_leaves_out_what_is_far_away_a_tie_or_at_the_first_call():
    assert not crossings(comparison_of(eager=timing(1.0, 0.02), static=timing(30.0, 0.001)))
    assert not crossings(comparison_of(eager=timing(1.0, 0.02), static=timing(0.9, 0.001)))
    near = {"replay": scattered(1.0, 0.0201), "static": scattered(1.02, 0.02)}
    assert not crossings(comparison_of(**near))


def random_timings(made):
    """Three modes whose calls cost whole numbers, so that sums are exact."""
    return {
        mode: timing(
            made.randint(1, 4000),
            made.randint(1, 40),
            calls=made.randint(6, 30),
            warmup=[made.randint(1, 300) for _ in range(made.randint(0, 9))],
        )
        for mode in made.sample(MODES, made.randint(2, 3))
    }


def test_every_stage_is_the_cheapest_mode_from_its_start_to_the_next_one():
    made = random.Random(1)
    for _ in range(200):
        timings = random_timings(made)
        found = stages(timings)
        assert found[0].start == 1
        for calls in (made.randint(1, 60), made.randint(1, 5000), *(s.start for s in found)):
            stage = [stage for stage in found if stage.start <= calls][-1]
            totals = {mode: t.seconds_of(calls) for mode, t in timings.items()}
            assert totals[stage.mode] == min(totals.values())


def test_what_a_recommendation_by_the_number_of_calls_says_holds_for_every_number():
    made = random.Random(2)
    for _ in range(200):
        timings = random_timings(made)
        told = recommend(timings, {})
        start = told.sentence.split(" on")[0].split()[-1]
        start = 1 if start == "call" else int(start)
        others = set(timings) - {told.mode, *told.ties}
        for calls in (start, start + made.randint(0, 60), start + made.randint(0, 5000)):
            totals = {mode: t.seconds_of(calls) for mode, t in timings.items()}
            assert all(totals[told.mode] < totals[other] for other in others)
        if told.sentence.split(".")[0].endswith(" for fewer"):
            (first, *_) = told.stages
            fewer = made.randint(1, start - 1)
            assert f"; {first.mode} for fewer" in told.sentence
            assert timings[first.mode].seconds_of(fewer) == min(
                t.seconds_of(fewer) for t in timings.values()
            )


def test_for_a_plan_no_mode_is_cheaper_than_the_recommended_one_and_those_that_tie():
    made = random.Random(3)
    for _ in range(200):
        timings, calls = random_timings(made), made.randint(1, 2000)
        told = recommend(timings, {}, planned_calls=calls)
        cheapest = min(told.predicted_seconds, key=told.predicted_seconds.__getitem__)
        assert cheapest in (told.mode, *told.ties)
        assert told.sentence.startswith(f"{told.mode} for {calls} call")
        far = told.predicted_seconds[told.mode] - told.predicted_seconds[cheapest]
        assert far <= sum(told.margin_seconds[mode] for mode in (told.mode, cheapest))
