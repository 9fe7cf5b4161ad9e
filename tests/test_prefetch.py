"""Prefetching: the same batches, positions and errors in the same places, and no thread left."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fxgrad import train
from fxgrad.errors import DataError


def batches():
    return train.Batches({"x": np.arange(24, dtype=np.float32)}, 4, seed=1)


def prefetching():
    return [thread for thread in threading.enumerate() if thread.name == "fxgrad-prefetch"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    gc.collect()
    for thread in prefetching():
        thread.join(10)
    assert prefetching() == []


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("start", [0, 2, 6])
def test_the_batches_and_their_positions_are_those_of_the_source(size, start):
    source = train.prefetch(batches(), size)
    assert (len(source), source.fingerprint) == (6, batches().fingerprint)
    iterator = source.epoch(3, start)
    for count, expected in enumerate(batches().epoch(3, start), start):
        assert iterator.position() == count
        batch = next(iterator)
        assert isinstance(batch["x"], jax.Array)
        np.testing.assert_array_equal(batch["x"], expected["x"])
    assert list(iterator) == []
    assert iterator.position() == 6


def test_reading_ahead_does_not_shift_a_position_of_grains():
    grain = pytest.importorskip("grain")
    data = grain.MapDataset.range(24).shuffle(seed=1).batch(4).to_iter_dataset()
    source = train.prefetch(train.from_grain(data), 3)
    iterator = source.epoch(0)
    whole = [next(iterator) for _ in range(2)]
    position = iterator.position()
    whole += list(iterator)
    rest = list(source.epoch(0, position))
    np.testing.assert_array_equal(rest, whole[2:])


def test_no_more_than_size_batches_are_made_ahead():
    made = []
    enough, more = threading.Event(), threading.Event()

    def counting():
        for number in range(100):
            made.append(number)
            if number == 2:
                enough.set()
            if number == 3:
                more.set()
            yield np.float32(number)

    iterator = train.prefetch(counting(), 3)
    assert enough.wait(10)
    assert not more.wait(0.1)
    next(iterator)
    assert more.wait(10)
    iterator.close()
    assert len(made) == 4


def test_an_error_comes_after_the_batches_that_were_made_before_it():
    def failing():
        yield np.float32(1)
        yield np.float32(2)
        raise ValueError("the third is bad")

    iterator = train.prefetch(failing(), 5)
    assert [float(next(iterator)) for _ in range(2)] == [1, 2]
    assert iterator.position() == 2
    with pytest.raises(ValueError, match="the third is bad"):
        next(iterator)
    assert list(iterator) == []


def test_an_error_of_placing_comes_in_its_place():
    def place(batch):
        if batch == 2:
            raise RuntimeError("no room")
        return batch

    iterator = train.prefetch(iter([1, 2, 3]), place=place)
    assert next(iterator) == 1
    with pytest.raises(RuntimeError, match="no room"):
        next(iterator)


def test_closing_ends_the_thread_and_the_source():
    ended = threading.Event()

    def endless():
        try:
            while True:
                yield np.zeros(1, np.float32)
        finally:
            ended.set()

    iterator = train.prefetch(endless())
    next(iterator)
    iterator.close()
    assert ended.wait(10)
    assert list(iterator) == []


def test_losing_the_iterator_ends_the_thread():
    def endless():
        while True:
            yield np.zeros(1, np.float32)

    iterator = train.prefetch(endless())
    next(iterator)
    (thread,) = prefetching()
    del iterator
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_an_error_in_the_consumer_ends_the_thread():
    def consume():
        for _ in train.prefetch(batches(), 1).epoch(0):
            raise KeyError("in the step")

    with pytest.raises(KeyError):
        consume()


def test_batches_are_placed_by_a_sharding_a_device_or_a_function():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.P("data"))
    device = jax.devices()[3]
    assert next(train.prefetch(batches(), place=sharding).epoch(0))["x"].sharding == sharding
    assert next(train.prefetch(batches(), place=device).epoch(0))["x"].devices() == {device}
    assert next(train.prefetch(iter([1]), place=lambda batch: -batch)) == -1
    with jax.default_device(device):
        assert next(train.prefetch(batches()).epoch(0))["x"].devices() == {device}


def test_a_training_ends_with_the_same_bits_prefetched_or_not():
    def loss(params, batch):
        return jnp.mean((batch["x"] * params - 1) ** 2)

    optimizer = optax.sgd(0.001)
    step = train.make_step(loss, optimizer, mode="static")
    state = train.TrainState.create(jnp.float32(0), optimizer)
    ends = [
        train.fit(step, state, source, epochs=3, progress=False)[0].params
        for source in (batches(), train.prefetch(batches()), train.prefetch(batches(), 9))
    ]
    assert ends[0] == ends[1] == ends[2] != 0


def test_a_function_that_places_counts_and_where_it_places_does_not():
    devices = jax.devices()

    def placed_by(device, scale):
        return lambda batch: jax.device_put(jax.tree.map(lambda x: x * scale, batch), device)

    def fingerprint(place):
        return train.prefetch(batches(), place=place).fingerprint

    assert fingerprint(devices[0]) == fingerprint(None) == batches().fingerprint
    assert fingerprint(placed_by(devices[0], 1)) == fingerprint(placed_by(devices[1], 1))
    assert fingerprint(placed_by(devices[0], 1)) != fingerprint(placed_by(devices[0], 2))
    assert fingerprint(placed_by(devices[0], 1)) != fingerprint(None)
    assert fingerprint(jax.jit(lambda x: x + 1)) != fingerprint(jax.jit(lambda x: x + 2))
    assert train.prefetch([1], place=placed_by(devices[0], 1)).fingerprint is None


def test_a_list_of_batches_is_prefetched_for_every_epoch():
    source = train.prefetch([np.zeros(2, np.float32), np.ones(2, np.float32)])
    for epoch in range(2):
        assert [float(batch[0]) for batch in source.epoch(epoch, 1)] == [1.0]


@pytest.mark.parametrize(("options", "field"), [({"size": 0}, "size"), ({"size": 1.5}, "size")])
def test_a_size_that_cannot_be_is_refused(options, field):
    with pytest.raises(DataError) as caught:
        train.prefetch(batches(), **options)
    assert caught.value.field == field


def test_a_place_that_cannot_be_is_refused():
    with pytest.raises(DataError, match=r"Give a jax\.sharding\.Sharding, a device, or a function"):
        train.prefetch(iter([1]), place="gpu")


ROWS_OF_A_PROCESS = """
import sys
import jax
import jax.numpy as jnp
import numpy as np
from fxgrad import train

jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{sys.argv[1]}", 2, int(sys.argv[2]))
mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
sharding = jax.sharding.NamedSharding(mesh, jax.P("data"))
arrays = {"x": np.arange(24, dtype=np.float32)}
shard = (jax.process_index(), jax.process_count())
mine = train.prefetch(train.Batches(arrays, 4, seed=1, shard=shard), place=sharding)
for batch, whole in zip(mine.epoch(0), train.Batches(arrays, 4, seed=1).epoch(0), strict=True):
    assert batch["x"].shape == (4,)
    (local,) = batch["x"].addressable_shards
    np.testing.assert_array_equal(local.data, whole["x"][local.index])
print("the same batches")
"""


def test_the_rows_of_two_processes_become_one_global_array():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", ROWS_OF_A_PROCESS, port, str(index)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for index in range(2)
    ]
    try:
        for process in running:
            out, errors = process.communicate(timeout=120)
            assert (process.returncode, out) == (0, "the same batches\n"), errors
    finally:
        for process in running:
            process.kill()
            process.wait()
