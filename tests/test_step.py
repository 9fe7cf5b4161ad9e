"""What a step does beside descending: skips, averages, scales, accumulates, and tells."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fxgrad import train
from fxgrad.errors import LossError, OptionError
from fxgrad.modes import MODES

every_mode = pytest.mark.parametrize("mode", MODES)
rng = np.random.default_rng(0)
DATA = {
    "x": rng.normal(size=(64, 3)).astype(np.float32),
    "y": rng.normal(size=(64,)).astype(np.float32),
}
POISON = {**DATA, "y": DATA["y"] * np.float32("nan")}


def loss(params, batch):
    return jnp.mean((batch["x"] @ params["w"] - batch["y"]) ** 2)


def stateful(params, batch, state):
    return loss(params, batch), ({"mean": jnp.mean(batch["y"])}, {})


def begin(step, **kwargs):
    return train.TrainState.create({"w": jnp.zeros(3)}, step, **kwargs)


def same(one, other):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, one, other)))


@every_mode
def test_a_step_that_is_not_finite_changes_nothing_but_the_number_of_the_step(mode):
    step = train.make_step(
        stateful, optax.adam(0.1), mode=mode, skip_nonfinite=True, ema=0.9, donate=False
    )
    state = begin(step, model_state={"mean": jnp.zeros(())})
    before, first = step(state, DATA)
    after, metrics = step(before, POISON)
    assert (float(first["skipped"]), float(metrics["skipped"])) == (0, 1)
    assert np.isnan(metrics["loss"])
    assert int(after.step) == int(before.step) + 1
    assert same(before.replace(step=after.step), after)
    resumed, _ = step(after, DATA)
    unharmed, _ = step(before, DATA)
    assert same(resumed.replace(step=unharmed.step), unharmed)
    if mode != "eager":
        assert (step.stats().programs, step.stats().host_reads) == (1, 0)


@every_mode
def test_a_gradient_that_is_not_finite_is_skipped_though_the_loss_is(mode):
    def root(params, batch):
        return jnp.sum(jnp.sqrt(params["w"]))

    step = train.make_step(root, optax.sgd(0.1), mode=mode, skip_nonfinite=True)
    state, metrics = step(begin(step), DATA)
    assert (float(metrics["loss"]), float(metrics["skipped"])) == (0, 1)
    assert same(state.params, {"w": np.zeros(3)})


def test_without_the_option_the_step_takes_what_is_not_finite():
    step = train.make_step(loss, optax.sgd(0.1))
    state, metrics = step(begin(step), POISON)
    assert "skipped" not in metrics
    assert np.isnan(state.params["w"]).all()


@every_mode
def test_the_average_follows_the_parameters_in_float32(mode):
    step = train.make_step(loss, optax.sgd(0.3), mode=mode, ema=0.5, donate=True)
    state = train.TrainState.create({"w": jnp.zeros(3), "n": jnp.zeros(2, jnp.bfloat16)}, step)
    expected = np.zeros(3, np.float32)
    for _ in range(4):
        state, _ = step(state, DATA)
        expected = 0.5 * expected + 0.5 * np.asarray(state.params["w"])
    np.testing.assert_allclose(state.ema["w"], expected, rtol=1e-6)
    assert state.ema["n"].dtype == jnp.float32
    averaged = state.averaged()
    assert averaged.params["n"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(averaged.params["w"], state.ema["w"])


@every_mode
def test_small_steps_with_multisteps_are_one_step_with_the_big_batch(mode):
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))
    small = train.make_step(loss, optax.MultiSteps(optimizer, 4), mode=mode)
    big = train.make_step(loss, optimizer, mode=mode)
    slowly, at_once = begin(small), begin(big)
    for _ in range(3):
        for rows in np.split(np.arange(64), 4):
            slowly, _ = small(slowly, jax.tree.map(lambda a: a[rows], DATA))  # noqa: B023
        at_once, _ = big(at_once, DATA)
    np.testing.assert_allclose(slowly.params["w"], at_once.params["w"], rtol=1e-5)
    assert int(slowly.step) == 12
    if mode != "eager":
        assert (small.stats().programs, small.stats().host_reads) == (1, 0)


@every_mode
def test_the_norm_of_the_gradients_is_told_before_they_are_clipped(mode):
    optimizer = optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(1.0))
    step = train.make_step(loss, optimizer, mode=mode, gradient_norm=True)
    state, metrics = step(begin(step), DATA)
    gradient = jax.grad(loss)({"w": jnp.zeros(3)}, DATA)["w"]
    np.testing.assert_allclose(metrics["gradient_norm"], np.linalg.norm(gradient), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(state.params["w"]), 0.1, rtol=1e-5)


SCHEDULE = optax.warmup_cosine_decay_schedule(0.0, 0.1, warmup_steps=3, decay_steps=8)
INJECTED = optax.inject_hyperparams(optax.adamw)(SCHEDULE)


@every_mode
@pytest.mark.parametrize(
    "optimizer",
    [
        INJECTED,
        optax.chain(optax.clip_by_global_norm(1.0), INJECTED),
        optax.MultiSteps(INJECTED, 1),
        optax.inject_hyperparams(lambda clip: optax.chain(optax.clip(clip), INJECTED))(1.0),
    ],
    ids=["alone", "in a chain", "in MultiSteps", "in another"],
)
def test_the_learning_rate_of_each_step_is_told(mode, optimizer):
    step = train.make_step(loss, optimizer, mode=mode)
    state = begin(step)
    rates = []
    for _ in range(5):
        state, metrics = step(state, DATA)
        rates.append(float(metrics["learning_rate"]))
    with jax.numpy_dtype_promotion("standard"):
        expected = [SCHEDULE(i) for i in range(5)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    if mode != "eager":
        assert step.stats().programs == 1


def test_a_learning_rate_that_the_state_does_not_hold_is_not_told():
    step = train.make_step(loss, optax.adam(SCHEDULE))
    assert set(step(begin(step), DATA)[1]) == {"loss"}


def test_the_loss_may_tell_the_learning_rate_but_no_other_of_the_steps_own_metrics():
    def telling(name):
        return lambda params, batch: (loss(params, batch), {name: jnp.asarray(7.0)})

    step = train.make_step(telling("learning_rate"), INJECTED)
    assert step(begin(step), DATA)[1]["learning_rate"] == 7
    step = train.make_step(telling("skipped"), optax.sgd(0.1), skip_nonfinite=True)
    with pytest.raises(LossError, match="metric named 'skipped'"):
        step(begin(step), DATA)


@every_mode
def test_a_loss_in_float16_is_scaled_up_again_after_enough_good_steps(mode):
    step = train.make_step(loss, optax.sgd(0.01), mode=mode, precision="f16")
    state = begin(step).replace(loss_scale=train.LossScale.create(4.0, interval=2))
    scales, skips = [], []
    for batch in (DATA, DATA, DATA, POISON, DATA, DATA):
        state, metrics = step(state, batch)
        scales.append(float(metrics["loss_scale"]))
        skips.append(float(metrics["skipped"]))
    assert scales == [4, 8, 8, 4, 4, 8]
    assert skips == [0, 0, 0, 1, 0, 0]
    if mode != "eager":
        assert (step.stats().programs, step.stats().host_reads) == (1, 0)


def test_a_planted_overflow_is_skipped_and_the_loss_is_told_unscaled():
    step = train.make_step(loss, optax.sgd(0.01), precision="f16")
    huge = {**DATA, "x": DATA["x"] * np.float32(1e6)}
    state, metrics = step(begin(step), huge)
    assert metrics["skipped"] == 1
    assert same(state.params, {"w": np.zeros(3)})
    _, metrics = step(state, DATA)
    np.testing.assert_allclose(metrics["loss"], loss({"w": jnp.zeros(3)}, DATA), rtol=1e-3)


@pytest.mark.parametrize("scale", [1.0, 2.0**10])
def test_a_scale_stays_at_1_or_above_and_is_a_power_of_two(scale):
    scaled = train.LossScale.create(scale)
    for _ in range(12):
        scaled = scaled.after(jnp.asarray(False))
    assert scaled.scale == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": 0.5}, r"scale=0\.5: write a power of two"),
        ({"scale": 1000.0}, "scale=1000.0"),
        ({"scale": float("nan")}, "scale=nan"),
        ({"scale": float("inf")}, "scale=inf"),
        ({"scale": 1e39}, "scale=1e"),
        ({"scale": 2.0**128}, "scale=3.4"),
        ({"interval": 0}, "interval=0: write a whole number"),
        ({"interval": 1.5}, "interval=1.5"),
    ],
)
def test_a_scale_is_a_power_of_two_that_float32_has_and_an_interval_is_whole(options, words):
    with pytest.raises(OptionError, match=words):
        train.LossScale.create(**options)


@every_mode
def test_a_scale_that_has_grown_without_end_comes_down_again(mode):
    """Gradients of 0 never overflow, so that nothing but float32's own end stops the doubling."""
    step = train.make_step(loss, optax.sgd(0.01), mode=mode, precision="f16")
    state = begin(step).replace(loss_scale=train.LossScale.create(interval=1))
    still = {name: np.zeros_like(values) for name, values in DATA.items()}
    for _ in range(200):
        state, metrics = step(state, still)
    assert (metrics["skipped"], metrics["loss_scale"]) == (0, 2.0**127)
    skips = 0
    while skips < 130:
        state, metrics = step(state, DATA)
        if not metrics["skipped"]:
            break
        skips += 1
    assert 100 < skips < 130
    assert np.isfinite(state.params["w"]).all()
    assert np.any(state.params["w"])


def test_gradients_in_float16_are_divided_by_a_scale_that_float16_does_not_have():
    scale = train.LossScale.create(2.0**17)
    divided = scale.divide(jnp.asarray([2.0**15], jnp.float16))
    assert (divided[0], divided.dtype) == (0.25, jnp.float16)


@every_mode
def test_all_options_at_once_are_one_program(mode):
    step = train.make_step(
        loss,
        optax.MultiSteps(optax.chain(optax.clip_by_global_norm(1.0), INJECTED), 2),
        mode=mode,
        donate=True,
        precision="f16",
        skip_nonfinite=True,
        ema=0.99,
        gradient_norm=True,
    )
    state = begin(step)
    for _ in range(4):
        state, metrics = step(state, DATA)
    assert set(metrics) == {"loss", "skipped", "loss_scale", "gradient_norm", "learning_rate"}
    assert all(value.shape == () and value.dtype == jnp.float32 for value in metrics.values())
    if mode != "eager":
        assert (step.stats().programs, step.stats().host_reads) == (1, 0)


def test_a_state_is_made_from_the_step_or_from_the_optimizer_alone():
    optimizer = optax.adam(0.1)
    step = train.make_step(loss, optimizer, mode="static")
    assert same(begin(step), begin(optimizer))
    assert same(begin(step.in_mode("eager")), begin(optimizer))
    assert begin(train.make_step(loss, optimizer, ema=0.9)).ema is not None
    for wrong in (3, loss, lambda state, batch: (state, {})):
        with pytest.raises(LossError, match="neither an Optax optimizer nor a step"):
            begin(wrong)


@pytest.mark.parametrize(
    ("made_with", "given", "message"),
    [
        ({"ema": 0.9}, {}, "the state's ema is None: write TrainState.create"),
        ({"precision": "f16"}, {}, "the state's loss_scale is None: write TrainState.create"),
        ({}, {"ema": 0.9}, r"leave the state's ema as it is: write make_step\(…, ema=0.999"),
        ({}, {"precision": "f16"}, "leave the state's loss_scale as it is"),
    ],
)
def test_a_state_that_does_not_fit_the_step_is_told(made_with, given, message):
    step = train.make_step(loss, optax.sgd(0.1), **made_with)
    with pytest.raises(LossError, match=message):
        step(begin(train.make_step(loss, optax.sgd(0.1), **given)), DATA)


@pytest.mark.parametrize("options", [{"ema": 1.0}, {"ema": 0.0}, {"precision": "fp16"}])
def test_options_that_make_no_sense_are_refused_at_once(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        train.make_step(loss, optax.sgd(0.1), **options)


def test_a_state_without_an_average_has_none_to_give():
    with pytest.raises(LossError, match=r"no average.*ema=0\.999"):
        begin(optax.sgd(0.1)).averaged()
