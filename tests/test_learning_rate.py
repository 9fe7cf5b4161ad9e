"""The learning-rate finder: it tries, it stops, it suggests, and it leaves the state alone."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fxgrad import train
from fxgrad.errors import DataError, OptionError
from fxgrad.modes import MODES

rng = np.random.default_rng(0)
X = rng.normal(size=(256, 8)).astype(np.float32)
DATA = {"x": X, "y": X @ np.arange(8, dtype=np.float32)}
BATCHES = train.Batches(DATA, 32)


def loss(params, batch):
    return jnp.mean((batch["x"] @ params - batch["y"]) ** 2)


@pytest.mark.parametrize("mode", MODES)
def test_it_stops_when_the_loss_explodes_and_suggests_a_rate_that_learns(mode):
    found = train.find_learning_rate(loss, optax.sgd, jnp.zeros(8), BATCHES, mode=mode, steps=60)
    assert found.exploded
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 60
    assert found.rates[0] == 1e-7
    np.testing.assert_allclose(np.diff(np.log(found.rates)), np.log(1e8) / 59)
    assert 1e-3 < found.suggestion < 1
    step = train.make_step(loss, optax.sgd(found.suggestion), mode=mode)
    state = train.TrainState.create(jnp.zeros(8), step)
    _, history = train.fit(step, state, BATCHES, epochs=5, progress=False)
    assert history.metrics["loss"][-1] < 0.1 * history.metrics["loss"][0]


def test_the_rates_are_those_that_the_optimizer_was_given():
    found = train.find_learning_rate(
        lambda params, batch: jnp.sum(params), optax.sgd, jnp.zeros(()), [0], steps=20, highest=1e-3
    )
    moved = -np.cumsum([0.0, *found.rates[:-1]])  # the gradient is 1
    np.testing.assert_allclose(found.losses, moved, rtol=1e-5)
    assert not found.exploded


def test_an_optimizer_may_be_made_by_arithmetic_and_with_a_state():
    def make(rate):
        return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.5 * rate))

    found = train.find_learning_rate(loss, make, jnp.zeros(8), BATCHES, steps=30)
    assert found.suggestion is not None


def test_the_callers_state_stays_and_gives_what_the_loss_takes():
    def stateful(params, batch, state, key):
        noise = jax.random.normal(key)
        return loss(params, batch) + 0 * noise, ({"count": state["count"] + 1}, {})

    step = train.make_step(stateful, optax.adam(0.1))
    state = train.TrainState.create(
        jnp.ones(8), step, model_state={"count": jnp.zeros(())}, key=jax.random.key(0)
    )
    train.find_learning_rate(stateful, optax.sgd, state, BATCHES, steps=20)
    assert int(state.step) == 0
    assert state.model_state["count"] == 0
    np.testing.assert_array_equal(state.params, np.ones(8))


def test_the_suggestion_is_where_the_loss_falls_and_not_where_it_is_noisy():
    steps = np.arange(100)
    falling = 5 - 4 / (1 + np.exp(-(steps - 60) / 4)) + np.exp((steps - 85) / 3)
    noisy = falling + np.where(steps < 20, 0.5 * (-1.0) ** steps, 0.0)
    rates = tuple(1e-7 * 1.2**steps)
    found = train.LearningRates(rates, tuple(noisy), tuple(noisy), exploded=True)
    assert rates[57] <= found.suggestion <= rates[63]


def test_a_loss_that_only_grows_has_no_suggestion():
    found = train.find_learning_rate(
        lambda params, batch: batch, optax.sgd, jnp.zeros(()), list(jnp.arange(1.0, 20.0)), steps=19
    )
    assert found.suggestion is None
    assert "never fell" in str(found)


def test_a_loss_that_is_not_finite_ends_it_and_is_valid_json():
    losses = [*jnp.ones(11), jnp.float32(jnp.nan)]
    found = train.find_learning_rate(
        lambda params, batch: batch, optax.sgd, jnp.zeros(()), losses, steps=30
    )
    assert (len(found.losses), found.exploded) == (12, True)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["losses"][-1] is None


def test_it_prints_a_table_and_draws_a_plot(tmp_path):
    found = train.find_learning_rate(loss, optax.sgd, jnp.zeros(8), BATCHES, steps=40)
    told = str(found)
    assert "learning rate" in told
    assert f"The loss fell fastest at {found.suggestion:.1e}." in told
    found.plot(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 1000
    with pytest.raises(DataError, match=r"\.png"):
        found.plot(tmp_path / "rates.bmp")


def test_batches_that_can_be_read_once_end_the_search():
    found = train.find_learning_rate(loss, optax.sgd, jnp.zeros(8), iter([DATA] * 12), steps=40)
    assert len(found.losses) == 12


@pytest.mark.parametrize(
    ("options", "batches", "message"),
    [
        ({"lowest": 0}, BATCHES, "two positive numbers"),
        ({"lowest": 2.0, "highest": 1.0}, BATCHES, "the smaller one first"),
        ({"steps": 3}, BATCHES, "steps=3: write 10 or more"),
        ({"steps": 10.5}, BATCHES, "steps=10.5: write 10 or more, a whole number"),
        ({}, [], "no batches"),
        ({}, DATA, "which is one batch"),
    ],
)
def test_what_makes_no_sense_is_refused(options, batches, message):
    with pytest.raises((OptionError, DataError), match=message):
        train.find_learning_rate(loss, optax.sgd, jnp.zeros(8), batches, **options)


def test_an_optimizer_is_not_what_makes_one():
    with pytest.raises(OptionError, match="has to make one"):
        train.find_learning_rate(
            lambda p, b: (p**2).sum(), optax.sgd(0.1), jnp.ones(2), [jnp.ones(2)]
        )
