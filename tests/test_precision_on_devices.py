"""Precision on eight devices: the shares of a gradient are added up in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import fxgrad as fx
from fxgrad import parallel, train
from fxgrad.errors import LossError
from fxgrad.modes import MODES
from tests.meshes import LAYOUTS, OPTIMIZER, training

NARROW = ("bf16[", "f16[")


class Net(nn.Module):
    """A convolution, a loop with a shared weight, and a layer that is computed twice."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (3, 3))(x).mean(axis=(1, 2))
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (8, 8))
        x = jax.lax.scan(lambda carry, _: (jnp.tanh(carry @ kernel), None), x, None, length=3)[0]
        return nn.remat(nn.Dense)(4)(x)


def net_loss(params, batch):
    return jnp.mean(fx.from_flax(Net()).apply(params, batch) ** 2)


def sums_over_devices(step, state, batch):
    """The results of every all-reduce and reduce-scatter of a compiled step, as XLA writes them."""
    text = step.lower(state, batch).compile().as_text()
    lines = [line.split("=", 1)[1] for line in text.splitlines() if "=" in line]
    found = [line for line in lines if " all-reduce" in line or " reduce-scatter" in line]
    return [line.split("(%")[0].rpartition(" ")[0] for line in found]


def begun(params, step, mesh):
    return parallel.place(train.TrainState.create(params, step), mesh, parallel.Rules())


@pytest.mark.parametrize(("precision", "network"), [("bf16", "mlp"), ("f16", "transformer")])
@pytest.mark.parametrize("layout", ["data", "fsdp"])
def test_no_gradient_is_added_up_over_devices_in_16_bits(precision, layout, network):
    subject = training(network, layout)
    loss = parallel.sharded(subject.network.loss, subject.mesh, subject.rules)
    # With a split parameter, a loss that is left alone sends what the compiler likes.
    for each in (loss, subject.network.loss)[: 1 if layout == "fsdp" else 2]:
        step = train.make_step(each, OPTIMIZER, mode="static", precision=precision)
        start = train.TrainState.create(subject.network.start().params, step)
        state = parallel.place(start, subject.mesh, subject.rules)
        sums = sums_over_devices(step, state, subject.batch())
        assert any("f32[" in line for line in sums)
        assert [line for line in sums if any(name in line for name in NARROW)] == []


def test_nor_those_of_a_convolution_a_loop_and_a_layer_that_is_computed_twice():
    images = np.ones((16, 6, 6, 1), np.float32)
    params, _ = fx.from_flax(Net()).init(jax.random.key(0), images)
    step = train.make_step(net_loss, optax.sgd(0.1), mode="static", precision="f16")
    mesh = parallel.mesh(**LAYOUTS["data"])
    sums = sums_over_devices(step, begun(params, step, mesh), parallel.batch(images, mesh))
    assert any("f32[8,8]" in line for line in sums)
    assert [line for line in sums if any(name in line for name in NARROW)] == []


@pytest.mark.parametrize("mode", MODES)
def test_shares_that_float16_cannot_hold_together_make_the_same_step_as_on_one_device(mode):
    """The rows' shares of the gradient are ±40,000: two of them are more than float16 has."""
    step = train.make_step(
        lambda params, batch: jnp.sum(batch @ params), optax.sgd(1.0), mode=mode, precision="f16"
    )
    rows = np.repeat(np.float32([4e4, 4e4, -4e4, -4e4, 1, 0, 0, 0]), 4).reshape(8, 4)
    mesh = parallel.mesh()
    state = begun(jnp.full((4, 4), 0.1), step, mesh)
    state = state.replace(loss_scale=train.LossScale.create(1.0))
    state, metrics = step(state, parallel.batch(rows, mesh))
    assert metrics["skipped"] == 0
    np.testing.assert_allclose(state.params, np.full((4, 4), 0.1 - 1))


def test_a_step_in_fewer_bits_can_be_differentiated_itself():
    """Its backward pass has products with results of 32 bits, whose derivatives have 16 again."""

    def after(rate, precision):
        step = train.make_step(net_loss, optax.sgd(rate), mode="static", precision=precision)
        state, _ = step(train.TrainState.create(params, step), images)
        return net_loss(state.params, images)

    images = jax.random.normal(jax.random.key(1), (4, 6, 6, 1))
    params, _ = fx.from_flax(Net()).init(jax.random.key(0), images)
    lowered = jax.grad(after)(jnp.float32(0.1), "bf16")
    np.testing.assert_allclose(lowered, jax.grad(after)(jnp.float32(0.1), "f32"), rtol=0.1)


def test_parameters_without_a_gradient_are_refused():
    step = train.make_step(lambda p, b: jnp.sum(p["w"]), optax.sgd(1.0), precision="bf16")
    state = train.TrainState.create({"w": jnp.ones(2), "n": jnp.ones(2, jnp.int32)}, step)
    with pytest.raises(LossError, match="the parameters hold int32, which has no gradient"):
        step(state, None)
