"""Buckets: the plan is the best that there is, and padding keeps every number in its place."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fxgrad as fx
from fxgrad.errors import BucketError, OptionError


def cost_of(sizes, edges, step_cost=lambda size: size):
    return sum(step_cost(min(edge for edge in edges if edge >= size)) for size in sizes)


def least_cost(sizes, most, step_cost=lambda size: size, compiling=0):
    """Over every choice of edges among the sizes, by trying them all."""
    seen = sorted(set(sizes))
    return min(
        cost_of(sizes, (*edges, seen[-1]), step_cost) + compiling * (len(edges) + 1)
        for count in range(min(most, len(seen)))
        for edges in itertools.combinations(seen[:-1], count)
    )


SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@settings(max_examples=300, deadline=None)
@given(SIZES, st.integers(1, 5))
def test_no_choice_of_edges_costs_less(sizes, most):
    buckets = fx.plan_buckets(sizes, max_buckets=most)
    assert len(buckets) <= most
    assert buckets.edges[-1] == max(sizes)
    assert cost_of(sizes, buckets.edges) == least_cost(sizes, most)
    assert buckets.padding == pytest.approx(1 - sum(sizes) / cost_of(sizes, buckets.edges))


@settings(max_examples=200, deadline=None)
@given(
    SIZES,
    st.lists(st.integers(0, 9), min_size=41, max_size=41),
    st.integers(0, 60),
    st.integers(1, 3),
)
def test_no_choice_costs_less_under_any_cost_with_compiling_counted(sizes, rises, compiling, times):
    costs = list(itertools.accumulate(rises))
    buckets = fx.plan_buckets(
        sizes, max_buckets=5, step_cost=lambda s: costs[s], compile_seconds=compiling, repeats=times
    )
    spent = cost_of(sizes * times, buckets.edges, lambda s: costs[s]) + compiling * len(buckets)
    assert spent == least_cost(sizes * times, 5, lambda s: costs[s], compiling)


def test_a_plan_for_many_sizes_is_that_of_the_quadratic_programme():
    generator = np.random.default_rng(0)
    sizes = np.minimum(generator.lognormal(6, 1, 3000).astype(int) + 1, 8192)
    seen, counts = np.unique(sizes, return_counts=True)
    through = np.concatenate([[0], np.cumsum(counts)])
    best = np.concatenate([[0.0], np.full(len(seen), np.inf)])
    for _ in range(8):
        spent = best[:-1, None] + (through[None, 1:] - through[:-1, None]) * seen[None, :]
        spent[np.tril_indices(len(seen), -1)] = np.inf
        best = np.concatenate([[np.inf], spent.min(axis=0)])
    buckets = fx.plan_buckets(sizes)
    assert cost_of(sizes.tolist(), buckets.edges) == best[-1]


def test_compiling_that_costs_much_leaves_one_bucket_and_none_leaves_all():
    sizes = [10, 20, 30, 40]
    seconds = {"step_cost": lambda size: 0.001 * size}
    assert fx.plan_buckets(sizes, compile_seconds=100, **seconds).edges == (40,)
    assert fx.plan_buckets(sizes, compile_seconds=0, **seconds).edges == (10, 20, 30, 40)
    often = fx.plan_buckets(sizes, compile_seconds=1, repeats=100, **seconds)
    assert often.edges == (20, 40)


def test_buckets_print_and_tell_their_bucket():
    buckets = fx.plan_buckets([100, 100, 120, 500], max_buckets=2)
    assert str(buckets) == "2 buckets: 120, 500; 4.7% of the cost is padding"
    assert [buckets.bucket_of(size) for size in (0, 1, 120, 121, 500)] == [120, 120, 120, 500, 500]
    assert buckets.to_dict() == {"edges": [120, 500], "padding": pytest.approx(40 / 860)}
    assert buckets == fx.Buckets((120, 500))
    assert str(fx.Buckets((120, 500))) == "2 buckets: 120, 500"


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"sizes": []}, "sizes"),
        ({"sizes": [0, 3]}, "sizes"),
        ({"sizes": [1.5]}, "sizes"),
        ({"sizes": [1], "max_buckets": 0}, "max_buckets"),
        ({"sizes": [1], "repeats": 0}, "repeats"),
        ({"sizes": [1, 2], "step_cost": lambda size: -size}, "step_cost"),
        ({"sizes": [1, 2], "step_cost": lambda size: 1 / size}, "step_cost"),
        ({"sizes": [1, 2], "step_cost": lambda size: math.nan}, "step_cost"),
        ({"sizes": [1, 2], "compile_seconds": 1}, "step_cost"),
        ({"sizes": [1], "step_cost": float, "compile_seconds": -1}, "compile_seconds"),
    ],
)
def test_a_plan_that_cannot_be_made_is_refused_by_its_option(options, option):
    with pytest.raises(OptionError) as caught:
        fx.plan_buckets(**options)
    assert caught.value.option == option


@pytest.mark.parametrize("edges", [(), (0, 1), (2, 1), (1, 1), (1.5,)])
def test_edges_that_are_no_sizes_are_refused(edges):
    with pytest.raises(OptionError, match="write ascending whole numbers"):
        fx.Buckets(edges)


def test_a_length_over_the_largest_bucket_says_what_to_write():
    with pytest.raises(BucketError) as caught:
        fx.pad({"tokens": np.zeros(700)}, fx.Buckets((128, 512)))
    assert str(caught.value) == (
        "batch['tokens'] has length 700; the largest bucket is 512. Add a bucket of at least 700, "
        'or pass overflow="exact".'
    )
    error = caught.value
    assert (error.path, error.size, error.largest) == ("batch['tokens']", 700, 512)
    with pytest.raises(BucketError, match="the array has length 5; the size to pad to is 4"):
        fx.pad(np.zeros(5), 4)


def test_overflow_exact_keeps_the_length():
    padded = fx.pad({"x": np.ones(7), "y": np.ones(3)}, fx.Buckets((4,)), overflow="exact")
    assert (padded["x"].shape, padded["y"].shape) == ((7,), (7,))


@pytest.mark.parametrize("numbers", [np, jnp])
@pytest.mark.parametrize("dtype", ["int8", "bool", "float16", "bfloat16", "uint32"])
def test_padding_keeps_kind_dtype_and_numbers(numbers, dtype):
    array = numbers.asarray(np.arange(6).reshape(2, 3) % 2, jnp.dtype(dtype))
    padded = fx.pad(array, 5, axis=-1, value=1)
    assert isinstance(padded, np.ndarray) == (numbers is np)
    assert (padded.shape, padded.dtype) == ((2, 5), array.dtype)
    np.testing.assert_array_equal(padded[:, :3], array)
    np.testing.assert_array_equal(padded[:, 3:], np.ones((2, 2)))


def test_all_arrays_of_a_tree_get_the_bucket_of_the_longest():
    padded = fx.pad([np.ones(3), (np.ones((9, 2)),)], fx.Buckets((4, 12, 20)))
    assert jax.tree.map(np.shape, padded) == [(12,), ((12, 2),)]


def test_an_array_without_the_axis_is_refused():
    with pytest.raises(OptionError, match=r"batch\['n'\] has shape \(\), so there is no axis 0"):
        fx.pad({"n": np.float32(1)}, 4)
    with pytest.raises(OptionError, match="overflow='cut' is unknown"):
        fx.pad(np.ones(3), 4, overflow="cut")


def test_a_value_that_does_not_fit_is_refused():
    with pytest.raises(OverflowError):
        fx.pad(np.zeros(2, np.uint8), 3, value=-1)


def test_a_mask_tells_what_is_real():
    assert fx.mask(2, 4).tolist() == [True, True, False, False]
    assert fx.mask(np.array([[0], [3]]), 3).tolist() == [[[False] * 3], [[True] * 3]]
    lengths = jnp.array([1, 2], jnp.int8)
    assert isinstance(fx.mask(lengths, 300), jax.Array)
    assert fx.mask(lengths, 300).sum(axis=1).tolist() == [1, 2]


@pytest.mark.parametrize("mode", ["eager", "static", "replay"])
def test_padding_and_masks_work_in_every_mode(mode):
    @fx.function(mode=mode)
    def mean(x, length):
        padded = fx.pad(x, 8)
        return jnp.sum(padded, where=fx.mask(length, 8)) / length

    for length in (2, 3):
        assert mean(jnp.arange(5.0), jnp.float32(length)) == (length - 1) / 2
