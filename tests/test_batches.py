"""`Batches`: each example once, in an order that seed and epoch decide, and nothing shared."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from fxgrad.data.batches import Batches
from fxgrad.errors import DataError

# Seed 7, epochs 0 and 1, under NumPy 2.4.6 and 2.5.5.
FIRST = [8, 0, 7, 1, 3, 6, 2, 4, 5, 9]
SECOND = [9, 0, 8, 6, 7, 1, 3, 4, 2, 5]


def ten() -> dict[str, np.ndarray]:
    labels = np.arange(10, dtype=np.int32)
    return {"image": np.repeat(labels, 4).reshape(10, 2, 2).astype(np.float32), "label": labels}


def labels_of(batches: Batches, epoch: int) -> list[int]:
    return np.concatenate([batch["label"] for batch in batches.epoch(epoch)]).tolist()


@pytest.mark.parametrize(
    ("batch_size", "drop_last", "lengths"),
    [
        (1, True, [1] * 10),
        (3, True, [3, 3, 3]),
        (3, False, [3, 3, 3, 1]),
        (5, True, [5, 5]),
        (5, False, [5, 5]),
        (10, True, [10]),
        (11, False, [10]),
    ],
)
def test_an_epoch_has_as_many_batches_as_len_says(
    batch_size: int, drop_last: bool, lengths: list[int]
) -> None:
    batches = Batches(ten(), batch_size, drop_last=drop_last)
    assert [len(batch["label"]) for batch in batches.epoch(0)] == lengths
    assert len(batches) == len(lengths)
    assert batches.examples == 10


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_holds_each_example_once(shuffle: bool) -> None:
    batches = Batches(ten(), 3, shuffle=shuffle, drop_last=False)
    for epoch in range(5):
        assert sorted(labels_of(batches, epoch)) == list(range(10))


def test_the_arrays_stay_together_in_dtype_and_row() -> None:
    for batch in Batches(ten(), 3).epoch(0):
        assert batch["image"].shape == (3, 2, 2)
        assert batch["image"].dtype == np.float32
        assert batch["label"].dtype == np.int32
        np.testing.assert_array_equal(batch["image"][:, 0, 0], batch["label"])


def test_the_order_is_the_same_on_every_machine() -> None:
    batches = Batches(ten(), 5, seed=7)
    assert labels_of(batches, 0) == FIRST
    assert labels_of(batches, 1) == SECOND


def test_an_epoch_does_not_depend_on_the_epochs_before_it() -> None:
    straight = Batches(ten(), 5, seed=7)
    for epoch in range(3):
        labels_of(straight, epoch)
    assert labels_of(straight, 3) == labels_of(Batches(ten(), 5, seed=7), 3)


def test_two_epochs_may_be_read_at_once() -> None:
    batches = Batches(ten(), 5, seed=7)
    alone = labels_of(batches, 0), labels_of(batches, 1)
    pairs = list(zip(batches.epoch(0), batches.epoch(1), strict=True))
    together = tuple(np.concatenate([pair[i]["label"] for pair in pairs]).tolist() for i in (0, 1))
    assert together == alone


def test_seeds_and_epochs_give_different_orders() -> None:
    orders = {
        tuple(labels_of(Batches(ten(), 5, seed=seed), epoch))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def test_the_global_random_state_is_left_alone_and_has_no_say() -> None:
    state = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(1)  # noqa: NPY002
        expected = np.random.random()  # noqa: NPY002
        np.random.seed(1)  # noqa: NPY002
        assert labels_of(Batches(ten(), 5, seed=7), 0) == FIRST
        assert np.random.random() == expected  # noqa: NPY002
    finally:
        np.random.set_state(state)  # noqa: NPY002


def test_without_shuffle_the_order_is_that_of_the_arrays() -> None:
    batches = Batches(ten(), 5, shuffle=False)
    assert labels_of(batches, 0) == labels_of(batches, 9) == list(range(10))


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_batch_is_a_copy(shuffle: bool) -> None:
    arrays = ten()
    for batch in Batches(arrays, 10, shuffle=shuffle).epoch(0):
        for name, array in batch.items():
            assert not np.shares_memory(array, arrays[name])
            array[:] = -1
    np.testing.assert_array_equal(arrays["label"], np.arange(10))


def test_batches_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Batches(ten(), 5).seed = 1  # type: ignore[misc]


def test_the_options_are_keywords() -> None:
    with pytest.raises(TypeError):
        Batches(ten(), 5, 0)  # type: ignore[misc]


def refusal(arrays: dict[str, np.ndarray], batch_size: int = 1, **options: int) -> DataError:
    with pytest.raises(DataError) as caught:
        Batches(arrays, batch_size, **options)  # type: ignore[arg-type]
    assert caught.value.path is None
    return caught.value


def test_no_arrays_are_refused() -> None:
    assert refusal({}).field == "arrays"


def test_different_lengths_are_refused_by_both_names_and_lengths() -> None:
    error = refusal({"image": np.zeros((10, 2)), "other": np.zeros(10), "label": np.zeros(9)})
    assert error.field == "label"
    assert "arrays['image'] has length 10 and arrays['label'] has length 9" in str(error)


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("shape", [(), (0,), (0, 28, 28)])
def test_an_array_without_examples_is_refused(shape: tuple[int, ...], drop_last: bool) -> None:
    error = refusal({"image": np.zeros(shape)}, drop_last=drop_last)
    assert error.field == "image"
    assert str(shape) in str(error)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_one_is_refused(batch_size: int) -> None:
    error = refusal(ten(), batch_size)
    assert error.field == "batch_size"
    assert f"batch_size={batch_size} is below 1" in str(error)


def test_a_batch_larger_than_the_data_is_refused_with_both_remedies() -> None:
    error = refusal(ten(), 11)
    assert error.field == "batch_size"
    assert str(error) == (
        "batch_size=11 is more than the 10 examples. Write batch_size=10 or less, "
        "or drop_last=False."
    )


def test_a_seed_below_zero_is_refused_at_once() -> None:
    assert refusal(ten(), 5, seed=-1).field == "seed"


def test_an_epoch_below_zero_is_refused_at_the_call() -> None:
    with pytest.raises(DataError, match="epoch=-1") as caught:
        Batches(ten(), 5).epoch(-1)
    assert caught.value.field == "epoch"


@pytest.mark.parametrize(
    ("arrays", "batch_size", "message"),
    [
        ((np.ones(3), np.ones(3)), 2, "arrays is a tuple"),
        ({"x": [1, 2, 3]}, 2, "is a list. Write numpy.asarray"),
        ({"x": np.ones(3)}, 2.5, "batch_size=2.5 is a float"),
        ({"x": np.ones(3)}, "2", "batch_size='2' is a str"),
    ],
)
def test_arguments_of_another_type_are_refused(arrays, batch_size, message):
    with pytest.raises(DataError, match=re.escape(message)):
        Batches(arrays, batch_size)


def test_iterating_without_an_epoch_says_what_to_write():
    with pytest.raises(DataError, match=r"batches\.epoch\(0\)"):
        iter(Batches({"x": np.ones(3)}, 2))


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_begun_anywhere_goes_on_with_the_same_bits(shuffle: bool, drop_last: bool) -> None:
    batches = Batches(ten(), 3, seed=7, shuffle=shuffle, drop_last=drop_last)
    whole = list(batches.epoch(2))
    for start in range(len(batches) + 1):
        rest = list(batches.epoch(2, start))
        assert len(rest) == len(whole) - start
        for batch, expected in zip(rest, whole[start:], strict=True):
            np.testing.assert_array_equal(batch["label"], expected["label"])
            np.testing.assert_array_equal(batch["image"], expected["image"])


@pytest.mark.parametrize("start", [-1, 4, 1.0, True, "1", None])
def test_a_start_that_is_no_place_in_the_epoch_is_refused_at_the_call(start: object) -> None:
    with pytest.raises(DataError, match=r"is no place in an epoch of 3 batches") as caught:
        Batches(ten(), 3).epoch(0, start)  # type: ignore[arg-type]
    assert caught.value.field == "start"


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_processes_together_see_the_batches_of_one(count: int) -> None:
    alone = Batches(ten(), 4, seed=7)
    shards = [Batches(ten(), 4, seed=7, shard=(index, count)) for index in range(count)]
    assert {len(shard) for shard in shards} == {len(alone)}
    for whole, *parts in zip(
        alone.epoch(3, 1), *(shard.epoch(3, 1) for shard in shards), strict=True
    ):
        together = np.concatenate([part["image"] for part in parts])
        np.testing.assert_array_equal(together, whole["image"])
    assert {shard.fingerprint for shard in shards} == {alone.fingerprint}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard": (2, 2)}, "process 2 is not one of 2, which are 0..1"),
        ({"shard": (-1, 2)}, "process -1 is not one of 2"),
        ({"shard": (0, 0)}, "process 0 is not one of 0"),
        ({"shard": 2}, "shard=2 is not a pair of whole numbers"),
        ({"shard": (0, 3)}, "batch_size has 4 rows, which 3 processes cannot share evenly"),
        ({"shard": (0, 4), "drop_last": False}, "the last batch has 2 rows, which 4 processes"),
    ],
)
def test_a_share_that_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        Batches(ten(), 4, **options)  # type: ignore[arg-type]


def test_the_fingerprint_is_that_of_content_and_options() -> None:
    same = Batches(ten(), 4, seed=1).fingerprint
    # Changes only if the way of describing data does, which makes every checkpoint's data foreign.
    assert same == "0c329c6d59321e90dcda7d015212a00da6089671aee16e1a31687a5a0348c533"
    reordered = dict(reversed(ten().items()))
    assert Batches(reordered, 4, seed=1).fingerprint == same
    changed = ten()
    changed["image"][9, 1, 1] += 1
    others = [
        Batches(ten(), 4, seed=2),
        Batches(ten(), 5, seed=1),
        Batches(ten(), 4, seed=1, shuffle=False),
        Batches(ten(), 4, seed=1, drop_last=False),
        Batches(changed, 4, seed=1),
        Batches({"image": ten()["image"], "name": ten()["label"]}, 4, seed=1),
        Batches({**ten(), "label": ten()["label"].astype(np.int64)}, 4, seed=1),
        Batches({**ten(), "image": ten()["image"].reshape(10, 4)}, 4, seed=1),
    ]
    assert len({same, *(batches.fingerprint for batches in others)}) == 9
