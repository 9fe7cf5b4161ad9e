"""Agreement: threads stand for processes here, and a dictionary for the store between them."""

import threading
import time

import jax
import pytest

from fxgrad.agreement import Group
from fxgrad.errors import DisagreementError
from fxgrad.statements import NEWS, Statement, first_difference


class Store:
    """What `Group` uses of the coordination service's key-value store."""

    def __init__(self):
        self.values = {}
        self.sets = 0
        self._changed = threading.Condition()

    def key_value_set(self, key, value, allow_overwrite=False):
        with self._changed:
            assert allow_overwrite or key not in self.values
            self.values[key] = value
            self.sets += 1
            self._changed.notify_all()

    def blocking_key_value_get(self, key, timeout_ms):
        with self._changed:
            if not self._changed.wait_for(lambda: key in self.values, timeout_ms / 1000):
                raise jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED: not there")
            return self.values[key]

    def key_value_delete(self, folder):
        with self._changed:
            for key in [key for key in self.values if key.startswith(f"{folder}/")]:
                del self.values[key]


def groups_of(count, seconds=20.0):
    store = Store()
    members = frozenset(range(count))
    return [Group(members, process, store, seconds=seconds) for process in members], store


def at_once(*actions):
    """Run each action in a thread of its own; what each has raised, or None."""
    errors = [None] * len(actions)

    def run(number, action):
        try:
            action()
        except DisagreementError as error:
            errors[number] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    return errors


def saying(group, topic, key="same", text="", **words):
    return lambda: group.agree(Statement(topic, key, words, "Do the same."), text)


def test_processes_that_say_the_same_go_on_and_the_store_does_not_grow():
    groups, store = groups_of(3)
    sizes = []
    for number in range(5):
        topic = f"a new program of step {number}"
        assert at_once(*(saying(group, topic) for group in groups)) == [None] * 3
        sizes.append(len(store.values))
    assert sizes[1:] == sizes[:-1]


def test_a_difference_is_an_error_in_every_process_that_names_the_facts():
    groups, _ = groups_of(3)
    shapes = ["f32[64,784]", "f32[32,784]", "f32[64,784]"]
    errors = at_once(
        *(
            saying(group, "a new program of step", key=shape, x=shape, y="i32[64]", **{NEWS: shape})
            for group, shape in zip(groups, shapes, strict=True)
        )
    )
    for error in errors:
        assert "before a new program of step, x: f32[64,784] on processes 0, 2" in str(error)
        assert "f32[32,784] on process 1. Do the same." in str(error)
        assert "y: " not in str(error)
    assert [error.others for error in errors] == [(1,), (0, 2), (1,)]
    assert [error.process for error in errors] == [0, 1, 2]


def test_who_does_something_else_is_told_apart_from_who_does_it_otherwise():
    groups, _ = groups_of(2)
    errors = at_once(
        saying(groups[0], "a new program of step"),
        saying(groups[1], "a new program of evaluate", **{NEWS: "x: f32[2] → f32[3]"}),
    )
    told = (
        "process 0 comes to a new program of step; process 1 comes to a new program of evaluate "
        "(x: f32[2] → f32[3])"
    )
    assert all(told in str(error) for error in errors)


def test_programs_of_equal_facts_are_told_apart_by_their_first_line_that_differs():
    groups, _ = groups_of(2)
    texts = ["module\n  add %0, %1\n  return", "module\n  multiply %0, %1\n  return"]
    errors = at_once(
        *(
            saying(group, "a new program of step", key=text, text=text, x="f32[2]")
            for group, text in zip(groups, texts, strict=True)
        )
    )
    told = "other operations; the first line that differs: `add %0, %1` on process 0, `multiply %0"
    assert all(told in str(error) for error in errors)
    assert first_difference({0: "a\nb", 1: "a\nb"}) == ""


@pytest.mark.parametrize("absent", [0, 2])
def test_a_process_that_does_not_come_is_named_by_all_that_wait(absent, monkeypatch):
    monkeypatch.setattr("fxgrad.agreement._SLICE_SECONDS", 0.1)
    monkeypatch.setattr("fxgrad.agreement._PARTING_SECONDS", 0.1)
    groups, _ = groups_of(3, seconds=0.5)
    present = [group for number, group in enumerate(groups) if number != absent]
    errors = at_once(*(saying(group, "a new program of step") for group in present))
    assert [error.others for error in errors] == [(absent,)] * 2
    assert f"process {absent} did not come to a new program of step within 0.5 s" in str(errors[0])
    assert "take its own copy" in str(errors[0])


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_process_that_has_gone_on_to_a_known_program_is_answered_for(ahead, capfd):
    groups, _ = groups_of(2, seconds=600.0)
    assert at_once(*(saying(group, "a new program of step") for group in groups)) == [None] * 2
    for group in groups:
        group.launch("step")
    groups[ahead].launch("step")  # and here it may wait for the other one for ever
    (error,) = at_once(saying(groups[1 - ahead], "a new program of step", key="another"))
    assert error is not None
    assert f"process {ahead} comes to a known program of step" in str(error)
    assert error.others == (ahead,)
    end, printed = time.monotonic() + 60, ""
    while "process 0 comes to" not in printed and time.monotonic() < end:
        printed += capfd.readouterr().err
        time.sleep(0.01)
    assert f"process {ahead} comes to a known program of step" in printed
    with pytest.raises(DisagreementError):
        groups[ahead].launch("step")


def test_a_run_that_has_disagreed_stays_so():
    groups, store = groups_of(2)
    at_once(saying(groups[0], "one"), saying(groups[1], "other"))
    before = store.sets
    assert all(at_once(*(saying(group, "one") for group in groups)))
    assert store.sets == before
