"""Many processes save one checkpoint together, and others read it."""

import json
import os
import socket
import subprocess
import sys
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from fxgrad.train import Checkpoints
from tests.checkpoint_folder import files_of


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def run(folder, job, processes):
    """What each process says."""
    port = str(free_port())
    command = [sys.executable, "-m", "tests.checkpoint_process", folder, job]
    children = [
        subprocess.Popen(
            [*command, str(process), str(processes), port],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        )
        for process in range(processes)
    ]
    try:
        outputs = [child.communicate(timeout=120)[0] for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [0] * processes, "\n".join(outputs)
    said = [folder.parent / f"{job}-{processes}-{process}.json" for process in range(processes)]
    return [json.loads(path.read_text()) for path in said]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together") / "c"
    assert run(folder, "save", 2) == [{"steps": [2, 3]}] * 2
    return folder


@pytest.mark.parametrize("processes", [1, 3])
def test_what_two_processes_save_others_restore(folder, processes):
    expected = {"step": 3, "python": 3.0, "skipped": []}
    assert run(folder, "restore", processes) == [expected] * processes


def test_what_two_processes_save_one_reads_as_numpy(folder):
    like = {
        "sharded": np.zeros((24, 4), np.float32),
        "replicated": np.zeros((24, 4), np.float32),
        "python": 0.0,
    }
    state = Checkpoints(folder).restore(like | {"local": jnp.zeros(3)}, strict=False).state
    values = np.arange(96, dtype=np.float32).reshape(24, 4)
    np.testing.assert_array_equal(state["sharded"], values * 3)
    np.testing.assert_array_equal(state["replicated"], values + 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Checkpoints(folder).verify(3)


def test_all_processes_walk_back_together_and_a_failed_save_is_told_to_all(folder):
    files = files_of(folder / "00000003" / "arrays")
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    expected = {"step": 2, "python": 2.0, "skipped": [3]}
    assert run(folder, "restore", 2) == [expected] * 2
    for said in run(folder, "fail", 2):
        assert "step 4 is not saved: ZeroDivisionError" in said["message"]
        assert said["steps"] == [3, 5]


def test_a_held_folder_is_refused_in_every_process(folder):
    with Checkpoints(folder):
        for said in run(folder, "second_writer", 2):
            assert "is being written by process" in said["error"]
