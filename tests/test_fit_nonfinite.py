"""Losses that are not finite: warned of, skipped, stopped at, raised; and never saved as good."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fxgrad import train
from fxgrad.errors import DataError, NonFiniteError, OptionError, TrainingWarning
from fxgrad.train.kept_batch import save_batch
from tests.trainings import DATA, batches, bits, fit, make_step, start

BAD = 7


def broken_at(bad=BAD):
    """A step whose loss and parameters are NaN from step `bad` on."""
    inner = make_step()

    def step(state, batch):
        if int(state.step) == bad:
            batch = {**batch, "y": batch["y"] * np.float32("nan")}
        return inner(state, batch)

    return step


def batch_of(step):
    epoch, number = divmod(step, 5)
    return list(batches().epoch(epoch))[number]


def test_to_stop_keeps_the_batch_and_the_last_good_checkpoint(tmp_path):
    with pytest.warns(TrainingWarning, match=r"the loss of step 8 is nan\. Its batch is in"):
        _, history = fit(
            broken_at(), epochs=4, checkpoints=tmp_path, save_every=2, on_nonfinite="stop"
        )
    assert history.stopped == "the loss of step 8 is nan"
    assert history.steps == 8
    assert np.isnan(history.metrics["loss"][7])
    with np.load(tmp_path / "nonfinite-step-8.npz") as saved:
        for name, array in batch_of(7).items():
            np.testing.assert_array_equal(saved[name], array)
    with train.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps()[-1] == 6
        assert bits(checkpoints.restore(start()).state) == bits(fit(steps=6)[0])


def test_to_raise_says_which_step_and_where_its_batch_is(tmp_path):
    with pytest.raises(NonFiniteError, match=r"fx\.diverge\(step, state, batch\)") as caught:
        fit(broken_at(), epochs=4, log_file=tmp_path / "log.jsonl", on_nonfinite="raise")
    assert caught.value.step == BAD + 1
    assert caught.value.saved == tmp_path / "nonfinite-step-8.npz"
    assert caught.value.saved.exists()


def test_without_a_folder_the_batch_is_not_saved_and_that_is_said():
    with pytest.raises(NonFiniteError, match="Pass checkpoints or log_file") as caught:
        fit(broken_at(), epochs=4, on_nonfinite="raise")
    assert caught.value.saved is None


@pytest.mark.parametrize("bad", [0, 1, 63, 64, 65, 99])
def test_the_right_batch_is_saved_however_late_its_loss_is_read(tmp_path, bad):
    numbered = [
        {name: a[i % 5 :][:8] + np.float32(i) for name, a in DATA.items()} for i in range(100)
    ]
    inner = make_step()

    def step(state, batch):
        state, metrics = inner(start(), batch)
        is_bad = jnp.asarray(batch["x"] == numbered[bad]["x"]).all()
        return state, {**metrics, "loss": jnp.where(is_bad, jnp.inf, metrics["loss"])}

    with pytest.raises(NonFiniteError) as caught:
        fit(step, numbered, epochs=1, log_file=tmp_path / "log.jsonl", on_nonfinite="raise")
    assert caught.value.step == bad + 1
    with np.load(caught.value.saved) as saved:
        np.testing.assert_array_equal(saved["x"], numbered[bad]["x"])


def test_to_warn_goes_on_and_saves_no_bad_state(tmp_path):
    with pytest.warns(TrainingWarning) as warned:
        _, history = fit(broken_at(), epochs=3, checkpoints=tmp_path)
    texts = [str(warning.message) for warning in warned]
    assert history.steps == 15
    assert any("the state after 10 steps is not saved" in text for text in texts)
    assert any("mean loss of epoch 2 is nan" in text for text in texts)
    assert train.Checkpoints(tmp_path).steps() == (5,)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_parameters_that_became_bad_under_a_finite_loss_are_not_saved(tmp_path, bad):
    inner = make_step()

    def step(state, batch):
        state, metrics = inner(state, batch)
        if int(state.step) == 10:
            state = state.replace(params={"w": state.params["w"].at[1].set(bad)})
        return state, metrics

    with pytest.warns(
        TrainingWarning, match=r"after step 10 has infinities or NaN in params\['w'\]"
    ):
        _, history = fit(step, epochs=2, checkpoints=tmp_path, on_nonfinite="stop")
    assert history.stopped == "the state after step 10 has infinities or NaN in params['w']"
    assert train.Checkpoints(tmp_path).steps() == (5,)
    with np.load(tmp_path / "nonfinite-step-10.npz") as saved:
        np.testing.assert_array_equal(saved["x"], batch_of(9)["x"])


def test_what_was_not_finite_at_the_beginning_may_stay_so(tmp_path):
    """A mask of infinities and a best loss so far; a NaN beside them is still seen."""

    def step(state, batch):
        made = state["made"] + 1
        mask = jnp.where(made == 12, jnp.array([-jnp.inf, jnp.nan]), state["mask"])
        best = jnp.minimum(state["best"], 1.0 / made)
        return {"made": made, "mask": mask, "best": best}, {"loss": best}

    begin = {"made": jnp.array(0), "mask": jnp.array([-jnp.inf, 0.0]), "best": jnp.array(jnp.inf)}
    with pytest.warns(
        TrainingWarning, match=r"15 steps .* infinities or NaN in the state\['mask'\]"
    ):
        train.fit(step, begin, [DATA] * 5, epochs=3, checkpoints=tmp_path, progress=False)
    assert train.Checkpoints(tmp_path).steps() == (5, 10)


def test_a_training_that_could_never_be_saved_does_not_end_well(tmp_path):
    with (
        pytest.warns(TrainingWarning) as warned,
        pytest.raises(NonFiniteError, match="10 steps were made and no checkpoint"),
    ):
        fit(broken_at(0), epochs=2, checkpoints=tmp_path)
    assert any("the state after 5 steps is not saved" in str(w.message) for w in warned)
    assert train.Checkpoints(tmp_path).steps() == ()


def skipping_at(*bad):
    """A step that meets a NaN at these steps, and skips them."""
    inner = make_step(skip_nonfinite=True)

    def step(state, batch):
        if int(state.step) in bad:
            batch = {**batch, "y": batch["y"] * np.float32("nan")}
        return inner(state, batch)

    return step


def test_skipped_steps_are_counted_and_left_out_of_the_means(tmp_path):
    with pytest.warns(TrainingWarning, match="2 of 5 steps of epoch 2 were skipped"):
        _, history = fit(skipping_at(7, 9), epochs=2, checkpoints=tmp_path, on_nonfinite="skip")
    assert history.metrics["skipped"].sum() == 2
    restored = train.Checkpoints(tmp_path).restore(start())
    assert restored.step == 10
    kept = history.metrics["loss"][[5, 6, 8]]
    assert restored.metrics["loss"] == pytest.approx(kept.mean())


@pytest.mark.parametrize("policy", ["stop", "raise"])
def test_a_step_that_was_skipped_has_done_no_harm(policy):
    with pytest.warns(TrainingWarning, match="1 of 5 steps of epoch 2 were skipped"):
        _, history = fit(skipping_at(7), epochs=2, on_nonfinite=policy)
    assert history.steps == 10


def test_a_step_that_cannot_skip_is_told_how_to():
    with pytest.raises(OptionError, match="skip_nonfinite=True"):
        fit(epochs=1, on_nonfinite="skip")


BATCHES = {
    "a dict": {"x": np.arange(3, dtype=np.float32), "y": np.ones((2, 0), np.int8)},
    "an array": np.arange(3),
    "a tuple": ({"x": jnp.ones(2, jnp.bfloat16) * 3}, [np.arange(3), 4, 2.5, "é"]),
    "the names of NumPy's own parameters": {"file": np.arange(2), "allow_pickle": np.ones(1)},
    "keys and records": {"key": jax.random.key(3), "r": np.zeros(2, [("a", "i4"), ("b", "f8")])},
    "Python's objects": {"x": np.arange(2), "names": np.array(["a", None], object)},
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_any_batch_can_be_saved_and_comes_back(tmp_path, batch):
    path = tmp_path / "new" / "batch.npz"
    left_out = save_batch(batch, path)
    assert left_out == (("names",) if "names" in batch else ())
    assert [p.name for p in path.parent.iterdir()] == ["batch.npz"]
    loaded = train.load_batch(path, like=batch)
    assert jax.tree.structure(loaded) == jax.tree.structure(batch)
    for one, other in zip(jax.tree.leaves(loaded), jax.tree.leaves(batch), strict=True):
        assert getattr(one, "dtype", type(one)) == getattr(other, "dtype", type(other))
        if getattr(other, "dtype", None) == jax.random.key(3).dtype:
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        assert np.array_equal(one, other)


def test_a_saved_batch_is_numpys_own_format_and_is_not_read_as_another(tmp_path):
    save_batch({"x": np.arange(3), "n": 4}, tmp_path / "batch.npz")
    with np.load(tmp_path / "batch.npz", allow_pickle=False) as saved:
        assert {name: saved[name].tolist() for name in saved} == {"x": [0, 1, 2], "n": 4}
    with pytest.raises(DataError, match=r"holds \['n', 'x'\], and the batch has \['x'\]"):
        train.load_batch(tmp_path / "batch.npz", like={"x": np.arange(3)})
    with pytest.raises(DataError, match="has no array 'y'"):
        train.load_batch(tmp_path / "batch.npz", like={"x": 1, "n": 1, "y": np.ones(2)})


def test_a_batch_that_cannot_be_saved_does_not_hide_the_loss(tmp_path):
    (tmp_path / "nonfinite-step-8.npz").mkdir()
    with pytest.raises(NonFiniteError, match=r"step 8 is nan\. Its batch could not be saved"):
        fit(broken_at(), epochs=4, log_file=tmp_path / "log.jsonl", on_nonfinite="raise")


def test_what_no_array_can_hold_is_left_out_of_the_saved_batch_and_named(tmp_path):
    def step(state, batch):
        return state, {"loss": jnp.array(jnp.nan)}

    data = [{"x": np.arange(2), "names": np.array(["a", None], object)}]
    log = tmp_path / "log.jsonl"
    with pytest.raises(NonFiniteError, match=r"npz, without names, which no array can hold\."):
        train.fit(step, 0, data, steps=1, log_file=log, on_nonfinite="raise", progress=False)


def test_a_batch_that_is_not_finite_itself_is_told_instead_of_a_search():
    data = {**DATA, "y": np.where(np.arange(40) == 3, np.float32("inf"), DATA["y"])}
    with pytest.raises(NonFiniteError, match="batch itself holds NaN or infinity in y"):
        fit(data=train.Batches(data, 8, shuffle=False), epochs=1, on_nonfinite="raise")
