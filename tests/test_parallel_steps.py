"""One step on many devices: equal losses, less memory, and nothing sent but what theory says."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import fxgrad as fx
from fxgrad import parallel, train
from tests.meshes import LAYOUTS, NETWORKS, OPTIMIZER, losses_on_one_device, training

# Only the order of float32 sums differs. Each of four steps may add a few roundings of 1.2e-7 to a
# loss; the largest relative difference seen on three versions of JAX is 4.5e-7.
ROUNDING = 16 * 1.2e-7

every_layout = pytest.mark.parametrize("layout", LAYOUTS)
every_network = pytest.mark.parametrize("network", NETWORKS)


@pytest.fixture(scope="module")
def wanted():
    return {network: losses_on_one_device(network) for network in NETWORKS}


def run(subject):
    """The losses of all batches, and the last state."""
    state, losses = subject.state, []
    for number in range(len(subject.network.batches)):
        state, metrics = subject.step(state, subject.batch(number))
        losses.append(float(metrics["loss"]))
    return losses, state


def facts(collective):
    return (collective.kind, collective.axes, collective.bytes, collective.devices, collective.runs)


def lie_alike(one, other):
    alike = jax.tree.map(lambda a, b: a.sharding.is_equivalent_to(b.sharding, a.ndim), one, other)
    return all(jax.tree.leaves(alike))


@every_network
@every_layout
def test_losses_are_those_of_one_device_and_nothing_else_is_compiled(network, layout, wanted):
    subject = training(network, layout)
    losses, last = run(subject)
    np.testing.assert_allclose(losses, wanted[network], rtol=ROUNDING)
    assert lie_alike(last, subject.state)
    assert subject.step.stats().programs == 1


@every_network
@every_layout
def test_the_compiled_program_sends_what_theory_says(network, layout):
    subject = training(network, layout)
    found = parallel.collectives(subject.step, subject.state, subject.batch())
    assert Counter(map(facts, found)) == Counter(map(facts, subject.expected()))
    assert found.payloads() == subject.expected().payloads()
    assert found.sent_bytes == subject.expected().sent_bytes


@every_layout
def test_each_device_holds_what_the_layout_says(layout):
    subject = training("transformer", layout)
    planned = parallel.explain(subject.state, subject.mesh, subject.rules)
    held = dict.fromkeys(jax.devices(), 0)
    for leaf in jax.tree.leaves(subject.state):
        for shard in leaf.addressable_shards:
            held[shard.device] += shard.data.nbytes
    assert set(held.values()) == {planned.device_bytes}
    compiled = subject.step.lower(subject.state, subject.batch()).compile()
    rows = subject.batch().addressable_shards[0].data.nbytes
    analysis = compiled.memory_analysis()
    assert analysis.argument_size_in_bytes == planned.device_bytes + rows


def test_more_devices_hold_less_each():
    state = NETWORKS["mlp"].start()
    rules = parallel.fsdp(whole_below=0)
    counts = [parallel.explain(state, {"fsdp": size}, rules).device_bytes for size in (1, 2, 4, 8)]
    step = 4  # the number of steps stays whole
    np.testing.assert_array_equal(
        np.subtract(counts, step), (counts[0] - step) / np.array([1, 2, 4, 8])
    )


@pytest.mark.parametrize("mode", ["replay", "eager"])
def test_other_modes_run_the_same_step_on_the_mesh(mode, wanted):
    subject = training("mlp", "all three", mode=mode)
    losses, last = run(subject)
    np.testing.assert_allclose(losses, wanted["mlp"], rtol=ROUNDING)
    assert lie_alike(last, subject.state)
    if mode == "replay":
        assert subject.step.stats().programs == 1
        assert subject.step.stats().compiled_share == 1


@pytest.mark.parametrize("mode", ["static", "replay", "eager"])
def test_a_python_number_in_the_batch_is_left_as_it_is(mode):
    subject = training("mlp", "fsdp")
    weighted = parallel.sharded(
        lambda params, batch: batch["weight"] * subject.network.loss(params, batch["rows"]),
        subject.mesh,
        subject.rules,
    )
    step = train.make_step(weighted, OPTIMIZER, mode=mode)
    _, single = subject.step(subject.state, subject.batch())
    _, double = step(subject.state, {"rows": subject.batch(), "weight": 2.0})
    np.testing.assert_allclose(double["loss"], 2 * single["loss"], rtol=ROUNDING)


def test_a_state_on_a_mesh_is_given_away_and_its_source_is_kept():
    source = NETWORKS["mlp"].start()
    subject = training("mlp", "fsdp", donate=True)
    state = parallel.place(source, subject.mesh, subject.rules)
    subject.step(state, subject.batch())
    assert state.params["up"]["kernel"].is_deleted()
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(source))
    jax.block_until_ready(source)


@pytest.mark.parametrize("mode", ["static", "replay"])
def test_a_loss_that_is_left_alone_has_the_same_values(mode, wanted):
    subject = training("mlp", "fsdp")
    step = train.make_step(subject.network.loss, OPTIMIZER, mode=mode)
    state, losses = subject.state, []
    for number in range(4):
        state, metrics = step(state, subject.batch(number))
        losses.append(float(metrics["loss"]))
    np.testing.assert_allclose(losses, wanted["mlp"], rtol=ROUNDING)


def test_without_gathering_again_parameters_are_sent_once():
    subject = training("mlp", "fsdp")
    loss = parallel.sharded(subject.network.loss, subject.mesh, subject.rules, regather=False)
    step = train.make_step(loss, OPTIMIZER, mode="static")
    found = parallel.collectives(step, subject.state, subject.batch())
    layout = parallel.explain(subject.state.params, subject.mesh, subject.rules)
    theory = parallel.expected(layout, regather=False).without_reduce_scatter()
    assert found.payloads() == theory.payloads()
    whole = sum(p.bytes for p in layout.placements if p.device_bytes < p.bytes)
    assert found.payloads()["all-gather", ("fsdp",)] == whole


def test_random_numbers_and_batch_statistics_are_those_of_one_device():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.BatchNorm(use_running_average=not train, name="norm")(nn.Dense(64)(x))
            return nn.Dense(32)(nn.Dropout(0.5, deterministic=not train)(x))

    def loss(params, batch, state, key):
        predicted, state = model.apply(params, batch["x"], state=state, key=key, train=True)
        return jnp.mean((predicted - batch["y"]) ** 2), (state, {})

    model, batch = fx.from_flax(Net()), NETWORKS["mlp"].batches[0]
    params, model_state = model.init(jax.random.key(0), batch["x"], train=False)
    alone = train.TrainState.create(
        params, OPTIMIZER, model_state=model_state, key=jax.random.key(1)
    )
    mesh, rules = parallel.mesh(fsdp=2), parallel.fsdp(whole_below=64)
    there = parallel.place(alone, mesh, rules)
    step = train.make_step(parallel.sharded(loss, mesh, rules), OPTIMIZER, mode="static")
    for _ in range(3):
        alone, metrics = train.make_step(loss, OPTIMIZER, mode="static")(alone, batch)
        there, found = step(there, parallel.batch(batch, mesh))
        np.testing.assert_allclose(found["loss"], metrics["loss"], rtol=ROUNDING)
    for one, other in zip(
        *map(jax.tree.leaves, (alone.model_state, there.model_state)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_collectives_in_a_loop_count_for_each_turn():
    mesh, rules = parallel.mesh(), parallel.Rules()

    def in_turns(params, batch):
        def turn(total, _):
            here = jax.lax.with_sharding_constraint(jnp.sum(batch @ (params + total)), whole)
            return here, None

        return jax.lax.scan(turn, jnp.float32(0), None, length=5)[0]

    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    params = parallel.place(jnp.ones(4), mesh, rules)
    found = parallel.collectives(
        in_turns, params, parallel.batch(np.ones((8, 4), np.float32), mesh)
    )
    (each,) = found
    assert (each.kind, each.bytes, each.axes, each.runs) == ("all-reduce", 4, ("data",), 5)
    assert found.payloads() == {("all-reduce", ("data",)): 20}
    assert "test_parallel_steps.py" in each.place
