"""`BucketedBatches`: each example once, padded to its bucket, and few programs for a run."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import fxgrad as fx
from fxgrad import train
from fxgrad.errors import BucketError, DataError

LENGTHS = np.random.default_rng(0).integers(1, 60, 50)
EXAMPLES = {
    "tokens": [np.arange(length, dtype=np.int32) + 1 for length in LENGTHS],
    "vectors": [np.full((length, 2), length, np.float32) for length in LENGTHS],
    "label": np.arange(50, dtype=np.int32),
}
BUCKETS = fx.Buckets((8, 20, 60))


def make(**options):
    return train.BucketedBatches(EXAMPLES, **{"batch_size": 4, "buckets": BUCKETS, **options})


@pytest.mark.parametrize(
    "options", [{}, {"shuffle": False}, {"tokens_per_batch": 100, "batch_size": None}]
)
def test_an_epoch_holds_each_example_once_in_its_bucket(options):
    batches = make(**options)
    seen = []
    epoch = list(batches.epoch(0))
    assert len(epoch) == len(batches)
    for batch in epoch:
        rows, bucket = batch["tokens"].shape
        assert rows == batches.rows(bucket)
        np.testing.assert_array_equal(batch["mask"], fx.mask(batch["length"], bucket))
        for row in np.flatnonzero(batch["length"]):
            label, length = int(batch["label"][row]), int(batch["length"][row])
            seen.append(label)
            assert (length, bucket) == (LENGTHS[label], BUCKETS.bucket_of(LENGTHS[label]))
            np.testing.assert_array_equal(batch["tokens"][row, :length], EXAMPLES["tokens"][label])
            assert not batch["tokens"][row, length:].any()
            assert (batch["vectors"][row, :length] == length).all()
    assert sorted(seen) == list(range(50))


def test_rows_that_fill_a_batch_up_are_empty():
    batches = make(value=-1)
    empty = [batch for batch in batches.epoch(0) if (batch["length"] == 0).any()]
    assert empty
    for batch in empty:
        rows = batch["length"] == 0
        assert not batch["mask"][rows].any()
        assert (batch["tokens"][rows] == -1).all()


def test_dropping_the_last_leaves_only_whole_batches():
    batches = make(drop_last=True)
    epoch = list(batches.epoch(0))
    assert len(epoch) == len(batches) < len(make())
    assert all((batch["length"] > 0).all() for batch in epoch)


def test_a_token_budget_makes_larger_batches_of_short_examples():
    batches = make(batch_size=None, tokens_per_batch=130, multiple_of=2)
    assert [batches.rows(edge) for edge in BUCKETS.edges] == [16, 6, 2]
    for batch in batches.epoch(0):
        assert batch["tokens"].size <= 130


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_begun_anywhere_goes_on_with_the_same_bits(shuffle):
    whole = list(make(shuffle=shuffle).epoch(2))
    for start in range(len(whole) + 1):
        rest = list(make(shuffle=shuffle).epoch(2, start))
        assert len(rest) == len(whole) - start
        for batch, expected in zip(rest, whole[start:], strict=True):
            assert batch.keys() == expected.keys()
            for name in batch:
                np.testing.assert_array_equal(batch[name], expected[name], strict=True)


def test_seed_and_epoch_decide_the_order():
    orders = {
        tuple(tuple(batch["label"]) for batch in make(seed=seed).epoch(epoch))
        for seed in range(2)
        for epoch in range(3)
    }
    assert len(orders) == 6


def test_the_processes_together_see_the_batches_of_one():
    shards = [make(shard=(index, 2)) for index in range(2)]
    assert {shard.fingerprint for shard in shards} == {make().fingerprint}
    for whole, *parts in zip(make().epoch(1), *(s.epoch(1) for s in shards), strict=True):
        for name in whole:
            together = np.concatenate([part[name] for part in parts])
            np.testing.assert_array_equal(together, whole[name], strict=True)


@pytest.mark.parametrize("mode", ["static", "replay"])
def test_a_run_compiles_one_program_for_each_bucket_at_most(mode):
    @fx.function(mode=mode)
    def masked_mean(batch):
        return jnp.mean(batch["vectors"][..., 0], where=batch["mask"])

    batches = make(batch_size=None, tokens_per_batch=100)
    for epoch in range(3):
        for batch in batches.epoch(epoch):
            real = batch["length"].astype(np.float32)
            expected = (real * real).sum() / real.sum()
            np.testing.assert_allclose(masked_mean(batch), expected, rtol=1e-6)
    assert masked_mean.stats().programs == len(BUCKETS)


def test_buckets_are_planned_for_the_examples():
    batches = train.BucketedBatches(EXAMPLES, 4)
    assert batches.buckets == fx.plan_buckets(LENGTHS)


def test_what_decides_the_batches_decides_the_fingerprint():
    changed = [*EXAMPLES["tokens"]]
    changed[7] = changed[7] + 1
    found = [
        make(),
        make(seed=1),
        make(shuffle=False),
        make(batch_size=5),
        make(drop_last=True),
        make(value=1),
        make(buckets=fx.Buckets((8, 60))),
        make(batch_size=None, tokens_per_batch=100),
        train.BucketedBatches({**EXAMPLES, "tokens": changed}, 4, buckets=BUCKETS),
    ]
    assert len({batches.fingerprint for batches in found}) == len(found)
    assert make().fingerprint == found[0].fingerprint


def test_an_example_longer_than_the_largest_bucket_is_refused_by_its_place():
    where = int(np.argmax(LENGTHS))
    with pytest.raises(BucketError) as caught:
        make(buckets=fx.Buckets((8, 20)))
    assert str(caught.value) == (
        f"examples['tokens'][{where}] has length {LENGTHS[where]}; the largest bucket is 20. "
        f"Add a bucket of at least {LENGTHS[where]}, or cut the example."
    )


@pytest.mark.parametrize(
    ("examples", "options", "field"),
    [
        ({}, {}, "examples"),
        ([np.ones(3)], {}, "examples"),
        ({"x": []}, {}, "examples"),
        ({"x": [np.ones(3)], "y": [1, 2]}, {}, "examples"),
        ({"x": [1, 2]}, {}, "examples"),
        ({"mask": [np.ones(3)]}, {}, "mask"),
        ({"x": [np.ones(3), np.ones(2, np.int32)]}, {}, "x"),
        ({"x": [np.ones((3, 2)), np.ones((3, 1))]}, {}, "x"),
        ({"x": [np.ones(3)], "y": [np.ones(2)]}, {}, "y"),
        ({"x": [np.ones(3)]}, {"batch_size": None}, "batch_size"),
        ({"x": [np.ones(3)]}, {"tokens_per_batch": 3}, "batch_size"),
        ({"x": [np.ones(3)]}, {"batch_size": 0}, "batch_size"),
        ({"x": [np.ones(3)]}, {"batch_size": 4, "multiple_of": 3}, "batch_size"),
        ({"x": [np.ones(3)]}, {"drop_last": True}, "drop_last"),
        ({"x": [np.ones(3)]}, {"seed": -1}, "seed"),
        ({"x": [np.ones(3)]}, {"shard": (0, 3)}, "a batch of bucket 3"),
    ],
)
def test_what_cannot_be_batched_is_refused_by_its_field(examples, options, field):
    with pytest.raises(DataError) as caught:
        train.BucketedBatches(examples, **{"batch_size": 4, **options})
    assert caught.value.field == field
