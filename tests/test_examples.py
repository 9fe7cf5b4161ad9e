"""The examples run from top to bottom; each ends in its own asserts."""

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from fxgrad import train

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("name", ["loop.py"])
def test_an_example_runs_alone(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with jax.numpy_dtype_promotion("standard"):
        runpy.run_path(os.fspath(EXAMPLES / name), run_name="__main__")
    assert capsys.readouterr().out


def test_the_log_of_the_loop_by_hand_has_each_step_once_whenever_it_is_killed(
    tmp_path, monkeypatch
):
    logged = []
    save = train.Checkpoints.save

    def saving(checkpoints, state, *, step, **facts):
        logged.append((step, len((checkpoints.folder / "metrics.jsonl").read_text().splitlines())))
        save(checkpoints, state, step=step, **facts)

    with jax.numpy_dtype_promotion("standard"):
        train_to = runpy.run_path(os.fspath(EXAMPLES / "loop.py"))["train_to"]
        monkeypatch.setattr(train.Checkpoints, "save", saving)
        train_to(30, tmp_path)
        log = tmp_path / "metrics.jsonl"
        log.write_text(log.read_text() + '{"step": 31, "loss": 1.0}\n{"step": 3')
        train_to(40, tmp_path)
    assert logged == [(20, 20), (30, 30), (40, 40)]
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == [*range(1, 41)]


def many(folder, *options):
    """What the example says at its end, run by two processes of two devices each."""
    command = [sys.executable, "-m", "fxgrad", "train", "--processes", "2"]
    command += ["--devices-per-process", "2", "--restarts", "1", os.fspath(EXAMPLES / "many.py")]
    command += ["--epochs", "3", "--checkpoint-dir", os.fspath(folder), *options]
    environment = {**os.environ, "XLA_FLAGS": ""}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()[-1], ran.stderr


def test_two_processes_of_which_one_is_killed_end_with_the_weights_of_a_run_that_went_well(
    tmp_path,
):
    killed, told = many(tmp_path / "killed", "--kill-at", "60")
    assert "process 1 was killed by SIGKILL" in told
    assert re.search("goes on after step (22|44)$", told, re.MULTILINE)  # whichever was whole
    well, _ = many(tmp_path / "well")
    assert killed == well
    assert killed.startswith("[0] 66 steps, test accuracy 0.8")
