"""Who writes and who reads: one writer, any readers, and a writer that may end at any moment."""

import gc
import os
import shutil
import subprocess
import sys
import threading

import jax.numpy as jnp
import pytest

import fxgrad.checkpoints.writing as writing
from fxgrad.errors import CheckpointError
from fxgrad.train import Checkpoints
from tests.checkpoint_folder import LIKE, bits_of, restore_quietly, saved_steps, state_of


def test_a_second_writer_is_refused_at_once_and_told_who_holds_the_folder(tmp_path):
    with Checkpoints(tmp_path) as first:
        first.save(state_of(1), step=1)
        told = (
            rf"process {os.getpid()} on \S+, which is this one\. Call close\(\) on the Checkpoints"
        )
        with pytest.raises(CheckpointError, match=told):
            Checkpoints(tmp_path).save(state_of(2), step=2)
        with pytest.raises(CheckpointError, match="save into another folder"):
            Checkpoints(tmp_path).__enter__()
        first.wait()
        assert Checkpoints(tmp_path).restore(LIKE).step == 1
    with Checkpoints(tmp_path) as second:
        assert second.steps() == (1,)


def test_a_writer_that_nobody_holds_any_more_does_not_hold_the_folder(tmp_path):
    Checkpoints(tmp_path, asynchronous=False).save(state_of(1), step=1)
    gc.collect()
    with Checkpoints(tmp_path) as second:
        assert second.steps() == (1,)


def test_a_closed_folder_can_be_written_again_by_the_same_object(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(state_of(step), step=step)
        checkpoints.close()
        checkpoints.close()
    assert checkpoints.steps() == (1, 2)


HOLD = """
import sys, time
from fxgrad.train import Checkpoints
with Checkpoints(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_writer_holds_nothing(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(CheckpointError, match=f"process {child.pid} on "):
            Checkpoints(tmp_path).save({}, step=0)
        child.kill()
        child.wait()
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save({}, step=0)


FORK = """
import os, sys, time, warnings
warnings.simplefilter("ignore")
from fxgrad.train import Checkpoints
checkpoints = Checkpoints(sys.argv[1]).__enter__()
if os.fork() == 0:
    sys.stdout.close()
    time.sleep(10)
    os._exit(0)
os._exit(0)
"""


def test_a_forked_child_that_lives_on_does_not_hold_the_lock(tmp_path):
    subprocess.run([sys.executable, "-c", FORK, tmp_path], check=True, timeout=60)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save({}, step=0)


LEAVE = """
import sys
import numpy as np
from fxgrad.train import Checkpoints
checkpoints = Checkpoints(sys.argv[1])
checkpoints.save({"w": np.arange(2.0**19)}, step=4)
if sys.argv[2] == "raise":
    raise SystemExit(3)
"""


@pytest.mark.parametrize("how", ["end", "raise"])
def test_the_end_of_the_program_waits_for_the_save(tmp_path, how):
    subprocess.run([sys.executable, "-c", LEAVE, tmp_path, how], timeout=60, check=how == "end")
    assert Checkpoints(tmp_path).steps() == (4,)
    Checkpoints(tmp_path).verify(4)


def test_at_most_one_save_is_on_its_way(tmp_path, monkeypatch):
    go, running, most = threading.Event(), [], []
    make_durable = writing.make_durable

    def slow(saving):
        running.append(saving)
        most.append(len(running))
        go.wait(20)
        running.pop()
        return make_durable(saving)

    monkeypatch.setattr(writing, "make_durable", slow)
    with Checkpoints(tmp_path, keep_last=5) as checkpoints:
        checkpoints.save(state_of(0), step=0)
        assert checkpoints.steps() == ()
        threading.Timer(0.05, go.set).start()
        for step in (1, 2, 3):
            checkpoints.save(state_of(step), step=step)
        checkpoints.wait()
        assert (most, checkpoints.steps()) == ([1, 1, 1, 1], (0, 1, 2, 3))


@pytest.mark.parametrize("at", ["the next save", "wait", "close", "the end of the with"])
def test_the_error_of_a_save_surfaces_once_at_the_next_call(tmp_path, monkeypatch, at):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state_of(1), step=1)
    checkpoints.wait()
    monkeypatch.setattr(writing, "make_durable", lambda saving: 1 / 0)
    checkpoints.save(state_of(2), step=2)
    calls = {
        "the next save": lambda: checkpoints.save(state_of(3), step=3),
        "wait": checkpoints.wait,
        "close": checkpoints.close,
        "the end of the with": lambda: checkpoints.__exit__(None, None, None),
    }
    with pytest.raises(CheckpointError, match="step 2 is not saved: ZeroDivisionError") as caught:
        calls[at]()
    assert caught.value.step == 2
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000001", "writer.lock"]
    checkpoints.save(state_of(3), step=3)
    checkpoints.close()
    assert checkpoints.steps() == (1, 3)


def test_the_error_of_a_save_does_not_hide_that_of_the_program(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "make_durable", lambda saving: 1 / 0)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state_of(2), step=2)
    error = KeyError("mine")
    checkpoints.__exit__(KeyError, error, None)
    assert "step 2 is not saved" in error.__notes__[0]


class Snapshots:
    """Copies of a folder after each change that the save's own thread makes to it."""

    def __init__(self, folder, copies, monkeypatch):
        self.folder, self.copies, self.taken = folder, copies, []
        for name in ("fsync", "mkdir", "rename", "rmdir", "unlink"):
            monkeypatch.setattr(os, name, self._watched(getattr(os, name)))

    def _watched(self, operation):
        def watched(*args, **kwargs):
            if threading.current_thread().name != "fxgrad checkpoint" or self.is_copying:
                return operation(*args, **kwargs)
            result = operation(*args, **kwargs)
            self._copy()
            return result

        return watched

    is_copying = False

    def _copy(self):
        self.is_copying = True
        copy = self.copies / str(len(self.taken))
        shutil.copytree(self.folder, copy, symlinks=True)
        self.taken.append(copy)
        self.is_copying = False


def test_a_save_that_ends_at_any_moment_leaves_whole_steps_only(tmp_path, monkeypatch):
    folder = saved_steps(tmp_path / "c", 1, 2)
    (tmp_path / "copies").mkdir()
    checkpoints = Checkpoints(folder, keep_last=1, keep_best=0)
    with checkpoints, monkeypatch.context() as patch:
        snapshots = Snapshots(folder, tmp_path / "copies", patch)
        for step in (3, 3):  # a new one, and one that replaces it
            checkpoints.save(state_of(step), step=step)
            checkpoints.wait()
    assert len(snapshots.taken) > 40
    found = set()
    for number, copy in enumerate(snapshots.taken):
        if number % 3 == 0:  # a writer sweeps; without one a replaced step may be out of sight
            with Checkpoints(copy) as checkpoints:
                names = {path.name for path in copy.iterdir()}
                assert names == {"writer.lock", *(f"{n:08d}" for n in checkpoints.steps())}
        for step in Checkpoints(copy).steps():
            Checkpoints(copy).verify(step)
            found.add(step)
        if number % 3 == 0 or Checkpoints(copy).steps():
            restored = restore_quietly(copy)
            assert bits_of(restored.state) == bits_of(state_of(restored.step))
        shutil.rmtree(copy)
    assert found == {1, 2, 3}


def test_a_step_that_was_being_replaced_when_its_writer_was_killed_comes_back(tmp_path):
    folder = saved_steps(tmp_path, 1)
    (folder / "00000001").rename(folder / ".replaced-00000001")
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.steps() == (1,)
        assert bits_of(checkpoints.restore(LIKE).state) == bits_of(state_of(1))


def test_readers_beside_a_writer_that_removes_steps_get_whole_ones(tmp_path):
    folder = saved_steps(tmp_path, 0)
    done, read, errors = threading.Event(), [], []

    def keep_reading():
        while not done.is_set():
            try:
                restored = Checkpoints(folder).restore(LIKE)
                read.append((restored.step, bits_of(restored.state)))
            except Exception as error:
                errors.append(error)

    reader = threading.Thread(target=keep_reading)
    with Checkpoints(folder, keep_last=1, keep_best=0) as checkpoints:
        reader.start()
        for step in range(1, 15):
            checkpoints.save(state_of(step), step=step)
        checkpoints.wait()
        done.set()
        reader.join()
    assert errors == []
    assert len({step for step, _ in read}) > 1
    assert all(bits == bits_of(state_of(step)) for step, bits in read)


def test_nothing_is_saved_into_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot hold checkpoints"):
        Checkpoints(tmp_path / "file").save({"x": jnp.ones(2)}, step=0)
