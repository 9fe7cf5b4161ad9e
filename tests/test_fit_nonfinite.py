"""Losses that are not finite: warned of, skipped, stopped at, raised; and never saved as good."""

import jax.numpy as jnp
import numpy as np
import pytest

from fxgrad import train
from fxgrad.errors import NonFiniteError, OptionError, TrainingWarning
from fxgrad.train.nonfinite import save_batch
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
    with pytest.warns(TrainingWarning, match=r"the loss of step 7 is nan\. Its batch is in"):
        _, history = fit(
            broken_at(), epochs=4, checkpoints=tmp_path, save_every=2, on_nonfinite="stop"
        )
    assert history.stopped == "the loss of step 7 is nan"
    assert history.steps == 8
    assert np.isnan(history.metrics["loss"][7])
    with np.load(tmp_path / "nonfinite-step-7.npz") as saved:
        for name, array in batch_of(7).items():
            np.testing.assert_array_equal(saved[name], array)
    with train.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps()[-1] == 6
        assert bits(checkpoints.restore(start()).state) == bits(fit(steps=6)[0])


def test_to_raise_says_which_step_and_where_its_batch_is(tmp_path):
    with pytest.raises(NonFiniteError, match=r"fx\.diverge\(step, state, batch\)") as caught:
        fit(broken_at(), epochs=4, log_file=tmp_path / "log.jsonl", on_nonfinite="raise")
    assert caught.value.step == BAD
    assert caught.value.saved == tmp_path / "nonfinite-step-7.npz"
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
    assert caught.value.step == bad
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


def test_parameters_that_became_nan_under_a_finite_loss_are_not_saved(tmp_path):
    inner = make_step()

    def step(state, batch):
        state, metrics = inner(state, batch)
        if int(state.step) == 10:
            state = state.replace(params={"w": state.params["w"].at[1].set(jnp.nan)})
        return state, metrics

    with pytest.warns(TrainingWarning, match="step 9 has made parameters NaN"):
        _, history = fit(step, epochs=2, checkpoints=tmp_path, on_nonfinite="stop")
    assert history.stopped == "step 9 has made parameters NaN"
    assert train.Checkpoints(tmp_path).steps() == (5,)
    with np.load(tmp_path / "nonfinite-step-9.npz") as saved:
        np.testing.assert_array_equal(saved["x"], batch_of(9)["x"])


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


def test_any_batch_can_be_saved(tmp_path):
    batch = {"x": (jnp.ones(2, jnp.bfloat16) * 3, np.arange(3)), "n": 4}
    path = save_batch(batch, tmp_path / "new" / "batch.npz")
    with np.load(path, allow_pickle=False) as saved:
        assert {name: saved[name].tolist() for name in saved} == {
            "['x'][0]": [3, 3],
            "['x'][1]": [0, 1, 2],
            "n": 4,
        }
    assert [p.name for p in path.parent.iterdir()] == ["batch.npz"]
