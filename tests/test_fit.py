"""`fit`: when it ends, when it evaluates and saves, and resuming to the same bits."""

import json
import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fxgrad import train
from fxgrad.errors import CheckpointError, DataError, LossError, OptionError, TrainingWarning
from fxgrad.modes import MODES
from tests.trainings import DATA, batches, bits, fit, make_step, mean_square, start, told


class StopsAt:
    """Ends the run after so many steps, as if there had been no more time."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, training):
        if training.step == self.step:
            training.stop("out of time")


@pytest.mark.parametrize(
    ("options", "steps", "epochs"),
    [
        ({"epochs": 3}, 15, 3),
        ({"steps": 12}, 12, 2),
        ({"steps": 10}, 10, 2),
        ({"steps": 3}, 3, 0),
        ({"steps": 7, "epochs": 3}, 7, 1),
        ({"steps": 70, "epochs": 3}, 15, 3),
    ],
)
def test_a_training_ends_by_steps_or_epochs_whichever_is_first(options, steps, epochs):
    state, history = fit(**options)
    assert history.steps == int(state.step) == steps
    assert len(history.epoch_seconds) == epochs
    assert history.stopped is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "not told when to end: write epochs=10"),
        ({"steps": 0}, "steps=1 or more"),
        ({"epochs": 1, "evaluate_every": 0}, "evaluate_every=1 or more"),
        ({"epochs": 1, "save_every": -1}, "save_every=1 or more"),
        ({"steps": 2.5}, r"steps=2.5: write a whole number"),
        ({"epochs": 1.5}, r"epochs=1.5: write a whole number"),
        ({"steps": True}, "steps=True: write a whole number"),
        ({"epochs": 1, "evaluate_every": 3}, "does nothing without evaluate="),
        ({"epochs": 1, "save_every": 3}, "does nothing without checkpoints="),
        ({"epochs": 1, "on_nonfinite": "skp"}, "write 'warn', 'skip', 'stop', 'raise'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        fit(**options)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"epochs": 2}, (5, 10)),
        ({"steps": 7}, (5, 7)),
        ({"epochs": 2, "evaluate_every": 4}, (4, 8, 10)),
        ({"epochs": 2, "evaluate_every": 5}, (5, 10)),
        ({"steps": 3, "evaluate_every": 5}, (3,)),
    ],
)
def test_evaluations_come_after_epochs_or_steps_and_after_the_last_step(options, steps):
    _, history = fit(evaluate=mean_square, **options)
    assert history.evaluation_steps == steps
    assert all(set(evaluation) == {"size"} for evaluation in history.evaluations)


def test_an_endless_stream_serves_as_many_steps_as_are_asked_for():
    stream = (DATA for _ in iter(int, 1))
    _, history = fit(data=stream, steps=9)
    assert history.steps == 9
    with pytest.raises(DataError, match="can be read once"):
        fit(data=iter([DATA, DATA]), steps=3)


def test_the_seconds_of_a_training_sum_to_the_whole():
    def slowly(state):
        return {"size": jnp.linalg.norm(state.params["w"])}

    _, history = fit(epochs=2, evaluate=slowly)
    time = history.time
    assert time.total == sum(time.to_dict().values())
    assert min(time.to_dict().values()) >= 0
    assert time.compile > 0 < time.evaluation
    assert time.saving == 0
    assert "compile" in str(time)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("options", "saving"), [({"evaluate_every": 4}, {"save_every": 3}), ({}, {})]
)
def test_a_resumed_training_has_the_bits_of_one_that_never_stopped(tmp_path, mode, options, saving):
    options = {"epochs": 3, "evaluate": mean_square, **options}
    step = make_step(mode)
    state, history = fit(step, **options)
    for stop in (4, 5, 14):
        saving = {**saving, "checkpoints": tmp_path / str(stop)}
        fit(step, callbacks=[StopsAt(stop)], **saving, **options)
        resumed, whole = fit(step, **saving, **options)
        assert bits(resumed) == bits(state)
        # A run that is stopped evaluates its end.
        assert whole.evaluation_steps == tuple(sorted({*history.evaluation_steps, stop}))
        assert whole.metrics["loss"].tobytes() == history.metrics["loss"].tobytes()
        assert whole.metrics["noise"].tobytes() == history.metrics["noise"].tobytes()
        assert len(whole.epoch_seconds) == 3


def test_a_finished_training_returns_at_once(tmp_path):
    options = {"epochs": 2, "evaluate": mean_square, "checkpoints": tmp_path}
    state, history = fit(**options)
    step = make_step()
    again, same = fit(step, **options)
    assert step.stats().calls == 0
    assert bits(again) == bits(state)
    assert told(same) == told(history)
    longer, more = fit(**{**options, "epochs": 3})
    assert bits(longer) == bits(fit(epochs=3)[0])
    assert more.evaluation_steps == (5, 10, 15)


def test_progress_says_from_where_a_training_goes_on(tmp_path, capsys):
    fit(epochs=1, checkpoints=tmp_path)
    fit(epochs=2, checkpoints=tmp_path, progress=None)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train  goes on after step 5"
    assert lines[1].startswith("train epoch 2/2")


def test_what_was_not_saved_is_made_again(tmp_path):
    class DiedError(Exception):
        pass

    def dying(state, batch):
        if int(state.step) == 8:
            raise DiedError
        return step(state, batch)

    step = make_step()
    with pytest.raises(DiedError):
        fit(dying, epochs=3, checkpoints=tmp_path, save_every=3)
    resumed, whole = fit(step, epochs=3, checkpoints=tmp_path, save_every=3)
    state, history = fit(step, epochs=3)
    assert step.stats().calls == 8 + (15 - 6) + 15
    assert bits(resumed) == bits(state)
    assert told(whole) == told(history)


def test_a_training_with_other_data_does_not_go_on(tmp_path):
    fit(epochs=1, checkpoints=tmp_path)
    with pytest.raises(CheckpointError, match=r"trained on other batches: .*another folder"):
        fit(data=batches(seed=4), epochs=2, checkpoints=tmp_path)
    with pytest.warns(TrainingWarning, match="no fingerprint"):
        fit(data=[DATA], epochs=2, checkpoints=tmp_path)
    with pytest.warns(TrainingWarning, match="no fingerprint"):
        fit(data=[DATA, DATA], epochs=3, checkpoints=tmp_path)


def test_a_folder_that_holds_a_training_is_not_begun_anew(tmp_path):
    fit(epochs=1, checkpoints=tmp_path)
    with pytest.raises(CheckpointError, match="pass resume=True to go on, or another folder"):
        fit(epochs=1, checkpoints=tmp_path, resume=False)


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(start(), step=3)
    with pytest.raises(CheckpointError, match="was not saved by this fit"):
        fit(epochs=1, checkpoints=tmp_path)


def test_the_newest_good_checkpoint_is_gone_on_from(tmp_path):
    with train.Checkpoints(tmp_path) as checkpoints:
        fit(epochs=2, checkpoints=checkpoints)
    newest = max(tmp_path.glob("0*"))
    largest = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[::-1])
    with pytest.warns(TrainingWarning):
        resumed, whole = fit(epochs=2, checkpoints=tmp_path)
    state, history = fit(epochs=2)
    assert bits(resumed) == bits(state)
    assert told(whole) == told(history)


def test_the_best_checkpoint_is_the_best_evaluation(tmp_path):
    checkpoints = train.Checkpoints(tmp_path, keep_last=1, best="size", best_is="max")
    evaluations = iter([{"size": 1.0}, {"size": 3.0}, {"size": 2.0}])
    with checkpoints:
        fit(epochs=3, checkpoints=checkpoints, evaluate=lambda state: next(evaluations))
        assert checkpoints.steps() == (10, 15)
        assert checkpoints.restore(start(), step="best").step == 10


def test_the_best_checkpoint_is_none_that_has_the_name_from_the_steps_only(tmp_path):
    """The steps' losses are about 1; a checkpoint of a state that was not evaluated has none."""
    checkpoints = train.Checkpoints(tmp_path, keep_last=9)
    evaluations = iter([1000.0, 998.0, 999.0])
    with checkpoints:
        fit(
            steps=12,
            evaluate=lambda state: {"loss": next(evaluations)},
            evaluate_every=4,
            save_every=2,
            checkpoints=checkpoints,
        )
        assert checkpoints.steps() == (2, 4, 6, 8, 10, 12)
        restored = [checkpoints.restore(start(), step=step) for step in checkpoints.steps()]
        assert [one.metrics.get("loss") for one in restored] == [None, 1000, None, 998, None, 999]
        assert [step.step for step in restored if "noise" in step.metrics] == [4, 6, 8, 10, 12]
        assert checkpoints.restore(start(), step="best").step == 8


def test_checkpoints_may_be_used_in_any_thread(tmp_path):
    """Signals are heard in the main thread only; another one trains without them."""
    results = []
    thread = threading.Thread(
        target=lambda: results.append(fit(epochs=1, checkpoints=tmp_path)[1].steps)
    )
    thread.start()
    thread.join()
    assert results == [5]


def test_any_step_and_any_state_will_do(tmp_path):
    @jax.jit
    def step(state, batch):
        error = batch["x"] @ state - batch["y"]
        return state - 0.1 * batch["x"].T @ error / 8, {"loss": jnp.mean(error**2)}

    state, history = train.fit(
        step, jnp.zeros(3), batches(), epochs=2, checkpoints=tmp_path, progress=False
    )
    assert history.steps == 10
    again, _ = train.fit(
        step, jnp.zeros(3), batches(), epochs=2, checkpoints=tmp_path, progress=False
    )
    assert bits(again) == bits(state)


def test_metrics_may_be_plain_numbers():
    def step(state, batch):
        return state + 1, {"loss": 1 / (state + 1), "count": state}

    state, history = train.fit(step, 0, [1, 2, 3], epochs=2, progress=False)
    assert state == 6
    assert history.metrics["loss"].tolist() == [1 / n for n in range(1, 7)]
    assert history.metrics["count"].tolist() == [*range(6)]


@pytest.mark.parametrize("name", ["step", "epoch", "seconds", "evaluation"])
def test_a_metric_named_like_a_field_of_the_log_is_refused(name):
    def step(state, batch):
        return state, {"loss": 1.0, name: 2.0}

    with pytest.raises(LossError, match="have names that the log needs"):
        train.fit(step, 0, [1], epochs=1, progress=False)


def test_a_step_may_give_its_old_state_away(tmp_path):
    step = make_step(donate=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # where donation is not implemented
        state, _ = fit(step, epochs=2, checkpoints=tmp_path, save_every=2)
    assert bits(state) == bits(fit(epochs=2)[0])


def test_seeds_give_streams_that_depend_on_the_name_only():
    seed = train.Seed(5)
    other = train.Seed(5).key("other")
    assert jnp.array_equal(jax.random.key_data(seed.key("other")), jax.random.key_data(other))
    numbers = {train.Seed(value).integer(name) for value in range(50) for name in ("a", "b")}
    assert len(numbers) == 100
    keys = [train.Seed(v).key(n) for v in range(50) for n in ("a", "b")]
    assert len({jax.random.key_data(key).tobytes() for key in keys}) == 100
    assert all(0 <= number < 2**31 for number in numbers)
    with pytest.raises(OptionError, match="write a whole number"):
        train.Seed(-1)


def test_a_history_is_plain_values(tmp_path):
    _, history = fit(epochs=1, evaluate=mean_square)
    plain = json.loads(json.dumps(history.to_dict()))
    assert plain["metrics"]["loss"] == history.metrics["loss"].tolist()
    assert plain["evaluation_steps"] == [5]
    assert np.isclose(sum(plain["time"].values()), history.time.total)
    assert "5 steps, 1 epochs" in repr(history)


def test_a_run_may_tell_of_other_metrics_than_the_run_before_it(tmp_path):
    """NaN in the history where a step told of none; in the log and in the means nothing."""
    plain, telling = make_step(), make_step(gradient_norm=True)
    fit(plain, epochs=1, checkpoints=tmp_path)
    fit(telling, epochs=2, checkpoints=tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    state, history = fit(plain, steps=13, checkpoints=tmp_path)
    assert bits(state) == bits(fit(plain, steps=13)[0])
    norms = history.metrics["gradient_norm"]
    assert np.isnan(norms).tolist() == [True] * 5 + [False] * 5 + [True] * 3
    assert not np.isnan(history.metrics["loss"]).any()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [*range(1, 14)]
    assert [line.get("gradient_norm") for line in lines] == [
        None if np.isnan(norm) else norm for norm in norms
    ]


def test_steps_of_a_run_that_could_not_skip_count_as_made(tmp_path):
    fit(steps=8, checkpoints=tmp_path, on_nonfinite="stop")
    recorded = []

    class Hears:
        def on_epoch_end(self, training, means):
            recorded.append(means)

    skipping = make_step(skip_nonfinite=True)
    options = {"checkpoints": tmp_path, "on_nonfinite": "skip", "callbacks": [Hears()]}
    _, history = fit(skipping, epochs=2, **options)
    assert recorded[0]["skipped"] == 0
    assert recorded[0]["loss"] == history.metrics["loss"][5:].mean()


@pytest.mark.parametrize("given", [str, train.Checkpoints])
def test_a_second_training_in_a_folder_makes_no_step_and_touches_nothing(tmp_path, given):
    fit(steps=3, checkpoints=tmp_path)
    second = make_step()
    with train.Checkpoints(tmp_path):
        before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
        with pytest.raises(CheckpointError, match="is being written by"):
            fit(second, epochs=2, checkpoints=given(tmp_path))
        assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert second.stats().calls == 0


def test_checkpoints_are_closed_after_a_training_if_it_opened_them(tmp_path):
    checkpoints = train.Checkpoints(tmp_path, keep_last=3)
    fit(steps=3, checkpoints=checkpoints)
    fit(steps=4, checkpoints=train.Checkpoints(tmp_path))
    with checkpoints:
        fit(steps=5, checkpoints=checkpoints)
        with pytest.raises(CheckpointError, match="is being written by"):
            fit(steps=6, checkpoints=tmp_path)
