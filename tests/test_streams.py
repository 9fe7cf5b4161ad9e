"""Streams: grain's datasets as sources, resumed anywhere with the same bits."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import subprocess
import sys
import threading

import grain
import numpy as np
import pytest

from fxgrad import train
from fxgrad.errors import DataError

X = np.arange(40)


def doubled(x):
    return {"x": np.asarray(x) * 2}


def tripled(x):
    return {"x": np.asarray(x) * 3}


def noisy(x, generator):
    return {"x": np.asarray(x) + generator.random()}


def not_a_multiple_of_three(example):
    return example["x"] % 3 != 0


def examples(data=X, *, seed=3, transform=doubled):
    return grain.MapDataset.source(data).seed(seed).shuffle().map(transform)


def loader():
    return grain.DataLoader(
        data_source=X,
        sampler=grain.samplers.IndexSampler(
            40, shard_options=grain.sharding.NoSharding(), shuffle=True, num_epochs=1, seed=1
        ),
        operations=[grain.transforms.Batch(4)],
    )


def noisy_batches():
    return grain.MapDataset.source(X).seed(1).shuffle().random_map(noisy).batch(4)


SOURCES = {
    "a map dataset": lambda: train.from_grain(examples().batch(4)),
    "a map dataset in threads": lambda: train.from_grain(noisy_batches(), threads=3),
    "a map dataset with a filter": lambda: train.from_grain(
        examples().filter(not_a_multiple_of_three)
    ),
    "examples of a map dataset": lambda: train.from_grain(
        examples(), batch_size=7, drop_last=False, threads=2
    ),
    "a stream": lambda: train.stream(X, 4, seed=5),
    "an iter dataset": lambda: train.from_grain(examples().batch(4).to_iter_dataset()),
    "an iter dataset with a filter": lambda: train.from_grain(
        examples().to_iter_dataset().filter(not_a_multiple_of_three).batch(3)
    ),
    "an iter dataset with random numbers": lambda: train.from_grain(
        examples(transform=np.asarray).to_iter_dataset().seed(2).random_map(noisy).batch(4)
    ),
    "a window shuffle": lambda: train.from_grain(
        grain.experimental.WindowShuffleIterDataset(
            examples().to_iter_dataset(), window_size=9, seed=1
        ).batch(4)
    ),
    "a data loader": lambda: train.from_grain(loader()),
}


def values(batches):
    return [np.asarray(batch["x"] if isinstance(batch, dict) else batch) for batch in batches]


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("name", SOURCES)
def test_an_epoch_resumed_at_any_batch_goes_on_with_the_same_bits(name):
    source = SOURCES[name]()
    iterator = source.epoch(1)
    positions, whole = [iterator.position()], []
    for batch in iterator:
        whole.extend(values([batch]))
        positions.append(iterator.position())
    assert len(whole) > 4
    assert iterator.position() == positions[-1]  # the end can be saved too
    for count, position in enumerate(json.loads(json.dumps(positions))):
        again = SOURCES[name]().epoch(1, position)
        assert_equal(values(again), whole[count:])


@pytest.mark.parametrize("name", SOURCES)
def test_reading_does_not_change_the_fingerprint(name):
    source = SOURCES[name]()
    list(source.epoch(0))
    assert source.fingerprint == SOURCES[name]().fingerprint


def test_another_process_finds_the_same_fingerprints():
    script = (
        "from tests.test_streams import *\n"
        "print(*(make().fingerprint for make in SOURCES.values()))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [make().fingerprint for make in SOURCES.values()]


def test_each_epoch_of_a_shuffled_map_dataset_has_its_own_order_of_the_same_examples():
    source = train.stream(X, 4, seed=5)
    epochs = [np.concatenate(values(source.epoch(n))) for n in range(3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert {tuple(sorted(epoch)) for epoch in epochs} == {tuple(X)}


def test_a_function_of_the_epoch_makes_each_epochs_dataset():
    source = train.from_grain(lambda n: examples(seed=n).batch(4).to_iter_dataset())
    first, second = (np.concatenate(values(source.epoch(n))) for n in (0, 1))
    assert first.tolist() != second.tolist()
    assert sorted(first) == sorted(second)


@pytest.mark.parametrize(
    "make",
    [
        lambda **o: train.stream(X, 8, **o),
        lambda **o: train.from_grain(examples().batch(8), **o),
        lambda **o: train.from_grain(examples().batch(8).to_iter_dataset(), **o),
    ],
)
def test_the_processes_together_see_the_batches_of_one(make):
    alone = make()
    shards = [make(shard=(index, 2)) for index in range(2)]
    assert {shard.fingerprint for shard in shards} == {alone.fingerprint}
    parts = [values(shard.epoch(1)) for shard in shards]
    together = [np.concatenate(pair) for pair in zip(*parts, strict=True)]
    assert_equal(together, values(alone.epoch(1)))


class Counted:
    """Examples that say which of them were read."""

    def __init__(self):
        self.read = []

    def __len__(self):
        return 40

    def __getitem__(self, index):
        self.read.append(index)
        return np.asarray(index)


def test_a_process_reads_its_own_rows_only_and_a_resumed_epoch_only_the_rest():
    data = Counted()
    source = train.stream(data, 8, shuffle=False, shard=(1, 2), threads=0)
    assert [batch.tolist() for batch in source.epoch(0, 3)] == [[28, 29, 30, 31], [36, 37, 38, 39]]
    assert sorted(data.read) == [*range(28, 32), *range(36, 40)]


def test_what_decides_the_batches_decides_the_fingerprint():
    sources = [
        examples().batch(4),
        examples(seed=4).batch(4),
        examples(X + 1).batch(4),
        examples(X[:39]).batch(4),
        examples(transform=tripled).batch(4),
        examples(transform=lambda x: doubled(x)).batch(4),
        examples().batch(5),
        examples().batch(4, drop_remainder=True),
        examples()[::2].batch(4),
        grain.MapDataset.source(X).map(doubled).batch(4),
        noisy_batches(),
    ]
    found = [train.from_grain(made).fingerprint for made in sources]
    found += [train.from_grain(made.to_iter_dataset()).fingerprint for made in sources]
    found += [train.from_grain(examples(), batch_size=4).fingerprint]
    found += [train.from_grain(examples(), batch_size=4, content="v2").fingerprint]
    found += [train.from_grain(loader()).fingerprint]
    assert len(set(found)) == len(found)


def test_threads_end_with_the_epoch_and_with_close():
    before = set(threading.enumerate())
    source = train.from_grain(examples().batch(4), threads=3)
    list(source.epoch(0))
    iterator = source.epoch(0)
    next(iterator)
    assert len(set(threading.enumerate()) - before) > 0
    iterator.close()
    assert list(iterator) == []
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def test_processes_read_the_same_batches_and_end_with_the_epoch():
    source = train.from_grain(examples().batch(4), processes=2)
    expected = values(train.from_grain(examples().batch(4)).epoch(1))
    iterator = source.epoch(1, 2)
    first = next(iterator)
    assert type(first["x"]) is np.ndarray
    assert iterator.position() == 3
    assert_equal(values(itertools.chain([first], iterator)), expected[2:])
    assert multiprocessing.active_children() == []


def failing(x):
    if x == 17:
        raise ValueError("example 17 is bad")
    return np.asarray(x)


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_comes_with_the_batch_that_it_was_made_for(threads):
    data = grain.MapDataset.source(X).map(failing)
    iterator = train.from_grain(data, batch_size=5, threads=threads).epoch(0)
    assert len([next(iterator) for _ in range(3)]) == 3
    with pytest.raises(ValueError, match="example 17 is bad"):
        next(iterator)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: train.from_grain([1, 2]), "dataset"),
        (lambda: train.from_grain(examples().to_iter_dataset(), batch_size=4), "batch_size"),
        (lambda: train.from_grain(examples().to_iter_dataset(), threads=4), "threads"),
        (lambda: train.from_grain(examples(), threads=-1), "threads"),
        (lambda: train.from_grain(examples(), batch_size=41), "dataset"),
        (lambda: train.from_grain(examples(), batch_size=4, shard=(0, 3)), "batch_size"),
        (lambda: train.stream(X, 0), "batch_size"),
        (lambda: train.stream(X, 4, shard=(2, 2)), "shard"),
    ],
)
def test_what_cannot_be_a_source_is_refused_at_once(make, field):
    with pytest.raises(DataError) as caught:
        make()
    assert caught.value.field == field


def test_a_filter_does_not_go_with_a_batch_size():
    source = train.from_grain(examples().filter(not_a_multiple_of_three), batch_size=4)
    with pytest.raises(DataError, match="the dataset has a filter"):
        list(source.epoch(0))


@pytest.mark.parametrize("position", [{"state": {"wrong": 1}}, {"state": 3}, 5, {"bytes": "{"}])
def test_a_foreign_position_is_refused(position):
    source = train.from_grain(examples().batch(4).to_iter_dataset())
    with pytest.raises(DataError, match="is no position of this dataset"):
        source.epoch(0, position)


def test_image_files_stream(tmp_path):
    from PIL import Image  # noqa: PLC0415

    for place in range(8):
        folder = tmp_path / f"class {place % 2}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), place, np.uint8)).save(folder / f"{place}.png")
    files = train.ImageFiles(tmp_path, size=(4, 4), colour="grey")
    source = train.stream(files, 4, seed=1)
    (first, second) = source.epoch(0)
    seen = np.concatenate([first["image"], second["image"]])[:, 0, 0, 0] * 255
    assert sorted(np.round(seen)) == list(range(8))
    assert first["label"].dtype == np.int32
