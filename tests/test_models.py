"""Flax modules as pure functions: state and randomness go in and come out, nothing is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import fxgrad as fx
from fxgrad.errors import ModelError


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(4)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(x)
        return nn.Dropout(0.5, deterministic=not train)(x)


class NnxNet(nnx.Module):
    def __init__(self, *, rngs):
        self.dense = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.5, rngs=rngs)
        self.first = nnx.Dropout(0.5, rngs=rngs)
        self.second = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.second(self.first(self.norm(self.dense(x))))


def make_linen():
    return fx.from_flax(LinenNet())


def make_nnx():
    return fx.from_flax(lambda rngs: NnxNet(rngs=rngs))


def make_nnx_from_instance():
    return fx.from_flax(NnxNet(rngs=nnx.Rngs(7)))


every_kind = pytest.mark.parametrize("make", [make_linen, make_nnx, make_nnx_from_instance])
x = jnp.arange(24.0).reshape(8, 3)
key = jax.random.key(1)


@every_kind
def test_training_returns_a_new_state_and_leaves_the_old_one(make):
    model = make()
    params, state = model.init(jax.random.key(0), x)
    before = jax.tree.map(np.asarray, state)
    _, new_state = model.apply(params, x, state=state, key=key, train=True)
    assert jax.tree.structure(new_state) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, state, before)
    same = jax.tree.map(np.array_equal, state, new_state)
    assert not any(jax.tree.leaves(same))


@every_kind
def test_the_same_key_draws_the_same_numbers_and_another_key_others(make):
    model = make()
    params, state = model.init(jax.random.key(0), x)
    run = lambda k: model.apply(params, x, state=state, key=k, train=True)[0]  # noqa: E731
    np.testing.assert_array_equal(run(key), run(key))
    assert not np.array_equal(run(key), run(jax.random.key(2)))


@every_kind
def test_training_without_a_key_is_an_error_that_says_so(make):
    model = make()
    params, state = model.init(jax.random.key(0), x)
    with pytest.raises(ModelError, match=r"key=key"):
        model.apply(params, x, state=state, train=True)


@every_kind
def test_a_model_with_state_called_without_it_is_an_error_that_says_so(make):
    model = make()
    params, _ = model.init(jax.random.key(0), x)
    with pytest.raises(ModelError, match=r"state=state"):
        model.apply(params, x, train=False)


@every_kind
@pytest.mark.parametrize("mode", ["eager", "static"])
def test_evaluation_needs_no_key_and_both_modes_agree_with_gradients(make, mode):
    model = make()
    params, state = model.init(jax.random.key(0), x)

    def loss(params):
        return jnp.mean(model.apply(params, x, state=state, train=False)[0] ** 2)

    value, gradient = fx.function(jax.value_and_grad(loss), mode=mode)(params)
    expected, expected_gradient = jax.value_and_grad(loss)(params)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        gradient,
        expected_gradient,
    )


@pytest.mark.parametrize("mode", ["eager", "static"])
@every_kind
def test_a_training_call_runs_in_every_mode(make, mode):
    model = make()
    params, state = model.init(jax.random.key(0), x)

    @fx.function(mode=mode)
    def step(params, state, key):
        return model.apply(params, x, state=state, key=key, train=True)

    outputs, new_state = step(params, state, key)
    expected, expected_state = model.apply(params, x, state=state, key=key, train=True)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        new_state,
        expected_state,
    )


def test_two_dropout_layers_of_one_module_do_not_share_their_mask():
    class TwoDropouts(nnx.Module):
        def __init__(self, rngs):
            self.a, self.b = nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.a(x), self.b(x)

    model = fx.from_flax(TwoDropouts)
    params, state = model.init(key, x)
    assert (params, state) == ({}, {})
    a, b = model.apply(params, jnp.ones(100), key=key, train=True)
    assert not np.array_equal(a, b)


def test_a_dropout_only_module_evaluates_without_state_or_key():
    model = fx.from_flax(lambda rngs: nnx.Dropout(0.5, rngs=rngs))
    np.testing.assert_array_equal(model.apply({}, x, train=False), x)


def test_init_of_a_factory_depends_on_the_key_and_of_an_instance_does_not():
    kernels = [make_nnx().init(jax.random.key(k))[0]["dense"]["kernel"] for k in (0, 1)]
    assert not np.array_equal(*kernels)
    kernels = [
        make_nnx_from_instance().init(jax.random.key(k))[0]["dense"]["kernel"] for k in (0, 1)
    ]
    np.testing.assert_array_equal(*kernels)


def test_applying_leaves_the_module_instance_as_it_was():
    module = NnxNet(rngs=nnx.Rngs(0))
    before = np.asarray(module.norm.mean.get_value())
    model = fx.from_flax(module)
    params, state = model.init(key)
    model.apply(params, x, state=state, key=key, train=True)
    np.testing.assert_array_equal(before, module.norm.mean.get_value())


def test_a_linen_module_without_mutable_collections_needs_no_state():
    model = fx.from_flax(nn.Dense(2))
    params, state = model.init(key, x)
    assert state == {}
    assert model.apply(params, x).shape == (8, 2)


def test_a_hand_written_model_is_just_its_two_functions():
    model = fx.Model(lambda key, x: ({"w": jnp.ones(3)}, {}), lambda params, x: x @ params["w"])
    params, _ = model.init(key, x)
    np.testing.assert_allclose(model.apply(params, x), x.sum(1))


@pytest.mark.parametrize("wrong", [LinenNet, 3, "Net"])
def test_what_is_no_module_is_refused(wrong):
    with pytest.raises(ModelError, match="from_flax takes"):
        fx.from_flax(wrong)


def test_a_factory_that_makes_no_module_is_refused_when_called():
    model = fx.from_flax(lambda rngs: 3)
    with pytest.raises(ModelError, match="made 3 from"):
        model.init(key)


def test_an_nnx_module_that_takes_train_itself_is_given_it():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x, train=False):
            return self.dropout(x, deterministic=not train)

    model = fx.from_flax(Net)
    kept = model.apply({}, jnp.ones(100), key=key, train=True)
    assert 0 < np.count_nonzero(kept) < 100
    np.testing.assert_array_equal(model.apply({}, jnp.ones(100), train=False), 1.0)


@pytest.mark.parametrize(
    "make", [lambda: nnx.Linear(3, 2, rngs=nnx.Rngs(0)), lambda: lambda r: nnx.Linear(3, 2, rngs=r)]
)
def test_params_that_are_not_the_models_are_named(make):
    model = fx.from_flax(make())
    params, _ = model.init(key)
    with pytest.raises(ModelError, match="not the params of Linear: bias is missing, kernel is"):
        model.apply({}, x)
    with pytest.raises(ModelError, match=r"other\.w is not one of them"):
        model.apply({**params, "other": {"w": x}}, x)


def test_linen_params_that_are_not_the_models_are_named():
    model = fx.from_flax(nn.Dense(2))
    with pytest.raises(ModelError, match="the params are not those of Dense"):
        model.apply({}, x)
    with pytest.raises(ModelError, match="the params are not those of Dense"):
        model.apply({"kernel": jnp.ones((9, 9)), "bias": jnp.ones(2)}, x)


def test_an_nnx_module_with_a_plain_array_keeps_it_in_its_state():
    class Positions(nnx.Module):
        def __init__(self, rngs):
            self.positions = nnx.data(jnp.arange(3.0))
            self.dense = nnx.Linear(3, 2, rngs=rngs)

        def __call__(self, x):
            return self.dense(x + self.positions)

    model = fx.from_flax(Positions)
    params, state = model.init(key)
    outputs, new_state = model.apply(params, x, state=state)
    assert outputs.shape == (8, 2)
    np.testing.assert_array_equal(new_state["positions"], np.arange(3.0))


def test_an_nnx_stack_of_layers_has_a_key_for_each():
    @nnx.split_rngs(splits=4)
    @nnx.vmap
    def make_layers(rngs):
        return nnx.Dropout(0.5, rngs=rngs)

    class Stack(nnx.Module):
        def __init__(self, rngs):
            self.layers = make_layers(rngs)

        def __call__(self, x):
            return nnx.vmap(lambda layer, x: layer(x), in_axes=(0, None))(self.layers, x)

    model = fx.from_flax(Stack)
    masks = np.asarray(model.apply({}, jnp.ones(64), key=key, train=True))
    assert masks.shape == (4, 64)
    assert len({mask.tobytes() for mask in masks}) == 4


def test_a_variable_that_an_nnx_call_makes_is_not_carried_along():
    class Keeping(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(3, rngs=rngs)

        def __call__(self, x):
            self.seen = nnx.Intermediate(x)
            return self.norm(x)

    model = fx.from_flax(Keeping)
    params, state = model.init(key)
    for _ in range(3):
        _, new_state = model.apply(params, x, state=state, train=True)
        assert jax.tree.structure(new_state) == jax.tree.structure(state)
        state = new_state


def test_a_collection_that_a_linen_module_sows_into_holds_the_last_call_only():
    class Sowing(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.sow("losses", "penalty", jnp.mean(x**2))
            return nn.Dense(3)(x)

    model = fx.from_flax(Sowing())
    params, state = model.init(key, x)
    step = fx.function(lambda params, state, x: model.apply(params, x, state=state), mode="static")
    for scale in (1.0, 2.0, 3.0):
        _, state = step(params, state, x * scale)
        np.testing.assert_allclose(state["losses"]["penalty"][0], jnp.mean((x * scale) ** 2))
        assert len(state["losses"]["penalty"]) == 1
    assert step.stats().programs == 1
