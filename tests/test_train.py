"""Training: steps, the loop and its history, in every mode."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import fxgrad as fx
from fxgrad import train
from fxgrad.errors import DataError, LossError, OptionError, TrainingWarning
from fxgrad.modes import MODES

every_mode = pytest.mark.parametrize("mode", MODES)
rng = np.random.default_rng(0)
DATA = {
    "x": rng.normal(size=(64, 3)).astype(np.float32),
    "y": rng.normal(size=(64,)).astype(np.float32),
}


def loss(params, batch):
    return jnp.mean((batch["x"] @ params["w"] - batch["y"]) ** 2)


def start(optimizer, **kwargs):
    return train.TrainState.create({"w": jnp.zeros(3)}, optimizer, **kwargs)


@every_mode
def test_a_step_is_plain_gradient_descent(mode):
    optimizer = optax.sgd(0.1)
    step = train.make_step(loss, optimizer, mode=mode)
    state, metrics = step(start(optimizer), DATA)
    value, gradient = jax.value_and_grad(loss)({"w": jnp.zeros(3)}, DATA)
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-6)
    np.testing.assert_allclose(state.params["w"], -0.1 * gradient["w"], rtol=1e-6)
    assert int(state.step) == 1
    assert state.step.dtype == jnp.int32


@every_mode
def test_metrics_come_back_beside_the_loss(mode):
    def with_metrics(params, batch):
        return loss(params, batch), {"sum": jnp.sum(params["w"])}

    optimizer = optax.sgd(0.1)
    _, metrics = train.make_step(with_metrics, optimizer, mode=mode)(start(optimizer), DATA)
    assert set(metrics) == {"loss", "sum"}


@every_mode
def test_a_key_is_folded_with_the_step_and_nothing_else(mode):
    def noisy(params, batch, key):
        return loss(params, batch), {"noise": jax.random.normal(key)}

    optimizer = optax.sgd(0.1)
    step = train.make_step(noisy, optimizer, mode=mode)
    state = start(optimizer, key=jax.random.key(3))
    noises = []
    for _ in range(3):
        state, metrics = step(state, DATA)
        noises.append(float(metrics["noise"]))
    expected = [jax.random.normal(jax.random.fold_in(jax.random.key(3), i)) for i in range(3)]
    np.testing.assert_allclose(noises, expected, rtol=1e-6)


@every_mode
def test_batch_statistics_and_dropout_are_carried_explicitly(mode):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Dense(8)(x))
            return nn.Dense(1)(nn.Dropout(0.5, deterministic=not train)(nn.relu(x)))[:, 0]

    model = fx.from_flax(Net())

    def stateful(params, batch, *, state, key):
        predicted, state = model.apply(params, batch["x"], state=state, key=key, train=True)
        return jnp.mean((predicted - batch["y"]) ** 2), (state, {})

    optimizer = optax.sgd(0.05)
    params, model_state = model.init(jax.random.key(0), DATA["x"], train=False)
    state = train.TrainState.create(
        params, optimizer, model_state=model_state, key=jax.random.key(1)
    )
    step = train.make_step(stateful, optimizer, mode=mode)
    trained, history = train.fit(step, state, train.Batches(DATA, 16), epochs=20, progress=False)
    assert history.metrics["loss"][-4:].mean() < history.metrics["loss"][:4].mean()
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), model_state, trained.model_state)
    assert all(jax.tree.leaves(moved))
    if mode == "static":
        assert step.stats().programs == 1


def test_modes_train_to_the_same_losses():
    optimizer = optax.sgd(0.05, momentum=0.9)
    histories = [
        train.fit(
            train.make_step(loss, optimizer, mode=mode),
            start(optimizer),
            train.Batches(DATA, 16, seed=4),
            epochs=3,
            progress=False,
        )[1]
        for mode in MODES
    ]
    for history in histories[1:]:
        np.testing.assert_allclose(history.metrics["loss"], histories[0].metrics["loss"], rtol=1e-5)


def test_a_donated_state_is_taken():
    optimizer = optax.sgd(0.1)
    state = start(optimizer)
    train.make_step(loss, optimizer, mode="static", donate=True)(state, DATA)
    assert state.params["w"].is_deleted()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda params: 0.0, r"write loss\(params, batch\)"),
        (lambda params, batch, weights: 0.0, r"write loss\(params, batch\)"),
    ],
)
def test_a_loss_of_other_parameters_is_refused_at_once(wrong, message):
    with pytest.raises(LossError, match=message):
        train.make_step(wrong, optax.sgd(0.1))


@every_mode
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda params, batch: params["w"], r"float scalar.*float32\[3\].*jax.numpy.mean"),
        (lambda params, batch: 3, "float scalar"),
        (lambda params, batch: jnp.sum(params["w"] > 0), r"float scalar.*int32\[\]"),
        (lambda params, batch: (loss(params, batch), 3.0), "metrics as a dict"),
        (lambda params, batch, state: loss(params, batch), "model_state=state"),
        (lambda params, batch: (loss(params, batch), {"loss": 3.0}), "metric named 'loss'"),
        (lambda params, batch, key: loss(params, batch), "key=jax.random.key"),
    ],
)
def test_a_loss_that_returns_something_else_is_told_what_to_return(mode, wrong, message):
    optimizer = optax.sgd(0.1)
    with pytest.raises(LossError, match=message):
        train.make_step(wrong, optimizer, mode=mode)(start(optimizer), DATA)


@every_mode
def test_a_loss_with_state_that_returns_no_state_is_told_to(mode):
    optimizer = optax.sgd(0.1)
    state = start(optimizer, model_state={"mean": jnp.zeros(3)})
    with pytest.raises(LossError, match="new_state"):
        train.make_step(lambda params, batch, state: loss(params, batch), optimizer, mode=mode)(
            state, DATA
        )


def test_what_is_no_optimizer_or_no_state_is_refused():
    with pytest.raises(LossError, match=r"0\.1 is not an optimizer: write optax\.sgd"):
        train.make_step(loss, 0.1)
    with pytest.raises(LossError, match="takes a TrainState first, not a dict"):
        train.make_step(loss, optax.sgd(0.1))({"w": jnp.zeros(3)}, DATA)


@every_mode
def test_an_optimizer_that_searches_along_a_line_is_given_what_it_needs(mode):
    optimizer = optax.lbfgs()
    step, state = train.make_step(loss, optimizer, mode=mode), start(optimizer)
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(5):
            state, _ = step(state, DATA)
    best = np.linalg.lstsq(DATA["x"], DATA["y"], rcond=None)[0]
    np.testing.assert_allclose(state.params["w"], best, atol=1e-3)


def test_a_step_is_named_after_its_loss():
    assert repr(train.make_step(loss, optax.sgd(0.1))) == "fx.function(train_step of loss)"


def fitted(batches, epochs=2, **kwargs):
    optimizer = optax.sgd(0.1)
    step = train.make_step(loss, optimizer)
    return train.fit(step, start(optimizer), batches, epochs=epochs, progress=False, **kwargs)


def test_a_history_has_each_step_and_each_epoch():
    state, history = fitted(
        train.Batches(DATA, 16),
        epochs=3,
        evaluate=lambda state: {"test loss": loss(state.params, DATA)},
    )
    assert history.steps == 12 == int(state.step)
    assert len(history.evaluations) == len(history.epoch_seconds) == 3
    np.testing.assert_allclose(
        history.evaluations[-1]["test loss"], loss(state.params, DATA), rtol=1e-6
    )
    assert history.to_dict()["metrics"]["loss"] == history.metrics["loss"].tolist()


def test_a_list_of_batches_is_read_once_for_each_epoch():
    _, history = fitted([DATA, DATA], epochs=3)
    assert history.steps == 6


def test_an_iterator_cannot_serve_two_epochs():
    with pytest.raises(DataError, match="can be read once"):
        fitted(iter([DATA, DATA]), epochs=2)
    _, history = fitted(iter([DATA, DATA]), epochs=1)
    assert history.steps == 2


def test_one_batch_in_place_of_batches_is_told_to_be_wrapped():
    with pytest.raises(DataError, match=r"write train\.Batches"):
        fitted(DATA)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (lambda i: {"loss": jnp.zeros(()), "v": jnp.zeros(3)}, "'v' is not a scalar"),
        (lambda i: {"loss": jnp.zeros(()), "v": {"a": 1}}, "'v' is not a scalar"),
        (lambda i: {"v": jnp.zeros(())}, "have no 'loss'"),
        (lambda i: {"loss": jnp.zeros(()), f"v{i}": jnp.zeros(())}, r"were .*'v0'.*now .*'v1'"),
    ],
)
def test_metrics_that_are_not_the_same_scalars_at_each_step_are_refused(metrics, message):
    step = lambda state, batch: (state, metrics(batch))  # noqa: E731
    with pytest.raises(LossError, match=message):
        train.fit(step, start(optax.sgd(0.1)), [0, 1], epochs=1, progress=False)


@pytest.mark.parametrize("found", [3.0, {"e": {"a": 1.0}}, {"e": "good"}, {"e": np.ones(2)}])
def test_an_evaluation_that_is_no_dict_of_scalars_is_refused(found):
    with pytest.raises(LossError, match="dict of scalars"):
        fitted([DATA], evaluate=lambda state: found)


def test_a_loss_that_is_no_longer_finite_is_warned_of():
    wrong = {**DATA, "y": DATA["y"] * np.float32("nan")}
    with pytest.warns(TrainingWarning, match="mean loss of epoch 1 is nan"):
        fitted([wrong], epochs=1)


def test_no_batches_is_an_error():
    with pytest.raises(DataError, match="epoch 0 has no batches"):
        fitted([])


def test_no_epochs_is_an_error():
    with pytest.raises(ValueError, match="epochs=1 or more"):
        fitted([DATA], epochs=0)


def test_progress_is_a_line_for_each_epoch_and_one_at_the_end_where_there_is_no_terminal(capsys):
    optimizer = optax.sgd(0.1)
    step = train.make_step(loss, optimizer, mode="static")
    train.fit(step, start(optimizer), [DATA], epochs=2, title="fitting")
    lines = capsys.readouterr().err.splitlines()
    starts = ["fitting epoch 1/2", "fitting epoch 2/2", "fitting"]
    assert [line.split("  ")[0] for line in lines] == starts
    assert "loss" in lines[0]
    assert "1 program in" in lines[1]
    assert "compile" in lines[2]


def test_progress_can_be_a_bar_or_nothing(capsys):
    optimizer = optax.sgd(0.1)
    step = train.make_step(loss, optimizer)
    train.fit(step, start(optimizer), [DATA], epochs=2, title="fitting", progress=True)
    assert "fitting" in capsys.readouterr().err
    train.fit(step, start(optimizer), [DATA], epochs=2, title="fitting", progress=False)
    assert capsys.readouterr().err == ""


def compared(loss, batches, epochs=2, **kwargs):
    optimizer = optax.sgd(0.1)
    return train.compare_training(
        loss, optimizer, start(optimizer), batches, epochs=epochs, progress=False, **kwargs
    )


def test_a_mode_that_cannot_train_is_listed_with_the_reason():
    def branching(params, batch):
        return loss(params, batch) if jnp.sum(params["w"]) > 1e9 else 2 * loss(params, batch)

    comparison = compared(branching, [DATA])
    assert tuple(comparison.training) == tuple(comparison.timings) == ("eager", "replay")
    assert "Python decides by the value" in comparison.failures["static"]
    assert "static could not run it" in comparison.table()


def test_a_training_comparison_takes_any_batches_and_one_mode():
    comparison = compared(loss, [DATA, DATA], modes="static")
    assert tuple(comparison.timings) == ("static",)
    assert len(comparison.training["static"].losses) == 4


@pytest.mark.parametrize(("batches", "epochs"), [([DATA], 0), ([], 1)])
def test_a_training_comparison_without_steps_is_refused(batches, epochs):
    with pytest.raises((DataError, OptionError)):
        compared(loss, batches, epochs)


def test_losses_that_are_not_finite_are_told_and_are_valid_json():
    wrong = {**DATA, "y": DATA["y"] * np.float32("nan")}
    comparison = compared(loss, [wrong])
    assert comparison.largest_difference == 0
    assert "Some losses are not finite" in comparison.table()
    assert json.loads(comparison.to_json())["training"]["eager"]["losses"] == [None, None]


def test_a_training_comparison_holds_equal_losses_and_exact_counts():
    optimizer = optax.sgd(0.1)
    comparison = train.compare_training(
        loss,
        optimizer,
        start(optimizer),
        train.Batches(DATA, 16),
        epochs=2,
        evaluate=lambda state: {"test loss": loss(state.params, DATA)},
        progress=False,
    )
    assert comparison.unit == "step"
    assert set(comparison.training) == set(MODES)
    for mode in MODES:
        assert len(comparison.training[mode].losses) == 8
        assert comparison.timings[mode].stats.calls == 8
        assert len(comparison.timings[mode].all_seconds) == 8
    assert comparison.timings["static"].stats.programs == 1
    assert comparison.timings["eager"].stats.python_runs == 8
    assert comparison.largest_difference < 1e-5
    assert "test loss" in comparison.table()
    told = comparison.recommendation
    assert told.planned_calls == 8
    measured = {mode: comparison.timings[mode].total_seconds for mode in MODES}
    eager = comparison.timings["eager"]  # this process may know its operations already
    measured["eager"] += eager.new_first_seconds - eager.first_seconds
    assert told.predicted_seconds == pytest.approx(measured)


def test_a_training_comparison_keeps_a_step_that_can_be_called_again():
    subject = compared(loss, [DATA]).subject
    _, metrics = subject.fun(*subject.args)
    assert np.isclose(metrics["loss"], loss(subject.args[0].params, DATA))


def test_a_plan_for_a_training_is_another_number_of_steps():
    assert compared(loss, [DATA], planned_calls=1000).recommendation.planned_calls == 1000
    with pytest.raises(OptionError, match="planned_calls=0"):
        compared(loss, [DATA], planned_calls=0)
