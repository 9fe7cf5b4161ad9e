"""Sources: any of them begins an epoch anywhere, and its fingerprint says what it holds."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import functools
import re
import subprocess
import sys
import threading
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fxgrad.data.batches import Batches
from fxgrad.data.fingerprint import fingerprint
from fxgrad.data.source import batches_from, close, fingerprint_of, position_of, reads_once
from fxgrad.errors import DataError


class OldStyle:
    def epoch(self, number):
        return iter([10 * number, 10 * number + 1, 10 * number + 2])


class WithOptions:
    def epoch(self, number, **options):
        return iter([number, options["start"]])


class WithPosition:
    def __iter__(self):
        return self

    def __next__(self):
        return 1

    def position(self):
        return {"next": 7}


def test_a_list_and_an_old_source_are_read_up_to_the_start():
    assert list(batches_from([1, 2, 3], 5, 1)) == [2, 3]
    assert list(batches_from(OldStyle(), 2, 1)) == [21, 22]
    assert list(batches_from(iter([1, 2, 3]), 0, 3)) == []


def test_the_start_is_given_by_its_name():
    assert list(batches_from(WithOptions(), 2, 5)) == [2, 5]


def test_a_source_begins_at_the_start_itself():
    batches = Batches({"x": np.arange(8)}, 2, shuffle=False)
    assert [batch["x"][0] for batch in batches_from(batches, 0, 2)] == [4, 6]


@pytest.mark.parametrize("source", [[1, 2], OldStyle()])
def test_a_start_past_the_end_is_refused_with_what_there_is(source):
    with pytest.raises(DataError, match=r"start=4: the epoch has only [23] batches"):
        batches_from(source, 0, 4)


@pytest.mark.parametrize("start", [-1, {"next": 3}, 1.5])
def test_a_position_of_another_kind_is_refused(start):
    with pytest.raises(DataError, match="is no place in an epoch"):
        batches_from([1, 2], 0, start)


def test_one_batch_is_no_source():
    with pytest.raises(DataError, match=r"write train\.Batches"):
        batches_from({"x": np.ones(3)}, 0)


def test_an_iterator_has_one_epoch():
    assert reads_once(iter([1]))
    assert not reads_once([1])
    assert not reads_once(OldStyle())
    with pytest.raises(DataError, match="can be read once"):
        batches_from(iter([1]), 1)


def test_the_position_is_the_iterators_own_where_it_has_one():
    assert position_of(iter([1]), 3) == 3
    assert position_of(WithPosition(), 3) == {"next": 7}


def test_only_a_source_has_a_fingerprint():
    assert fingerprint_of([1]) is None
    assert fingerprint_of(OldStyle()) is None
    batches = Batches({"x": np.arange(8)}, 2)
    assert fingerprint_of(batches) == batches.fingerprint


def test_what_has_no_end_of_its_own_can_be_closed():
    generator = (n for n in range(3))
    close(generator)
    assert list(generator) == []
    close(iter([1]))


SCALE = 2.0


def scaled(x):
    return SCALE * x


def through_another(x):
    return scaled(x) + 1


def closing_over(number):
    return lambda x: x + number


class Shift:
    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return x + self.by


class OtherShift(Shift):
    def __call__(self, x):
        return x - self.by


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, 1.0),
        (1, True),
        ("ab", b"ab"),
        (["a", "b"], ["ab"]),
        ([["a"], "b"], ["a", ["b"]]),
        ({"a": 1}, {"a": 2}),
        (np.arange(4), np.arange(4).reshape(2, 2)),
        (np.arange(4), np.arange(4, dtype=np.int32)),
        (np.arange(4), -np.arange(4)),
        (lambda x: x + 1, lambda x: x + 2),
        (lambda x: x + 1, lambda x: x - 1),
        (closing_over(1), closing_over(2)),
        (functools.partial(scaled, x=1), functools.partial(scaled, x=2)),
        (Shift(1), Shift(2)),
        (Shift(1), OtherShift(1)),
        (np.sin, np.cos),
        (re.compile("a"), re.compile("b")),
        (np.dtype("u1"), np.dtype("i1")),
        (slice(3), slice(4)),
        (jax.random.key(0), jax.random.key(1)),
        (jnp.arange(2), jnp.arange(3)),
    ],
)
def test_what_differs_has_another_fingerprint_and_what_is_equal_the_same(one, other):
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(one)


def test_a_function_counts_with_what_it_calls(monkeypatch):
    before = fingerprint(through_another)
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 3.0)
    assert fingerprint(through_another) != before


SETTINGS: dict = {}


def reads_settings(x):
    return (lambda y: y * SETTINGS["scale"])(x)


@dataclasses.dataclass
class Config:
    scale: object


class Registered:
    pass


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"scale": 1}, {"scale": 2}),
        ([1, [2]], [1, [3]]),
        ({1, 2}, {1, 3}),
        (Config(1.0), Config(2.0)),
        (Config({"a": (1, None)}), Config({"a": (2, None)})),
        (types.SimpleNamespace(a=1), types.SimpleNamespace(a=2)),
        (argparse.Namespace(a=1), argparse.Namespace(a=2)),
        (type("C", (), {"SCALE": 1}), type("C", (), {"SCALE": 2})),
        (jnp.arange(2), jnp.arange(3)),
        ({"by": scaled}, {"by": through_another}),
    ],
)
def test_a_function_counts_with_the_settings_that_it_reads(monkeypatch, one, other):
    found = []
    for settings in (one, copy.deepcopy(one), other):
        monkeypatch.setattr(sys.modules[__name__], "SETTINGS", settings)
        found.append(fingerprint(reads_settings))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("make", [Registered, np.random.default_rng, threading.Lock])
def test_a_global_with_a_life_of_its_own_does_not_count(monkeypatch, make):
    found = []
    for count in (1, 2):
        registry = {"met": [make() for _ in range(count)]}
        monkeypatch.setattr(sys.modules[__name__], "SETTINGS", registry)
        found.append(fingerprint(reads_settings))
    assert found[0] == found[1]


def test_a_list_that_holds_itself_may_be_a_global(monkeypatch):
    circle: list = [1]
    circle.append(circle)
    monkeypatch.setattr(sys.modules[__name__], "SETTINGS", circle)
    before = fingerprint(reads_settings)
    circle[0] = 2
    assert fingerprint(reads_settings) != before


def test_equal_values_count_alike_shared_or_not():
    shared = [1, 2]
    assert fingerprint([shared, shared]) == fingerprint([[1, 2], [1, 2]])


def test_a_value_that_holds_itself_has_a_fingerprint():
    one: list = [1]
    one.append(one)
    assert fingerprint(one) != fingerprint([1])


def test_overlapping_windows_are_read_once_and_told_apart():
    tokens = np.arange(1000)
    views = [
        np.lib.stride_tricks.sliding_window_view(t, 100)[::s]
        for t, s in [(tokens, 1), (tokens, 2), (tokens[1:], 1), (tokens + 1, 1)]
    ]
    assert len({fingerprint(view) for view in views}) == 4
    assert fingerprint(views[0]) == fingerprint(
        np.lib.stride_tricks.sliding_window_view(tokens.copy(), 100)
    )


def test_another_process_finds_the_same_fingerprint():
    script = (
        "from tests.test_source import *\n"
        "print(fingerprint(through_another, closing_over(3), Shift(np.arange(3)), {1, 'a', 2.5}))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    expected = fingerprint(through_another, closing_over(3), Shift(np.arange(3)), {1, "a", 2.5})
    assert ran.stdout.strip() == expected
