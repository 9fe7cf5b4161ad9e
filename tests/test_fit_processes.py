"""`fit` in two processes, of which one does otherwise: `ranks/fit_script.py` is what runs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = str(Path(__file__).parent / "ranks" / "fit_script.py")
HANG = 120  # a guard for the test and no measure of anything


def run(*arguments):
    command = ["-m", "fxgrad", "train", "--processes", "2", "--devices-per-process", "1", SCRIPT]
    return subprocess.run(
        [sys.executable, *command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=HANG,
        env={**os.environ, "XLA_FLAGS": "", "FXGRAD_AGREEMENT_SECONDS": "60"},
    )


def test_a_stop_in_one_process_ends_all_after_the_same_step(tmp_path):
    ran = run("--out", tmp_path / "out")
    assert ran.returncode == 0, ran.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    # Asked for at step 5, and heard where the processes meet: at an epoch's end, an evaluation.
    steps = {hook: steps for hook, steps, _ in first}
    assert steps["on_start"] == 80
    assert steps["on_step_end"] == steps["on_metrics"] == steps["on_evaluation"] == 6
    assert steps["on_epoch_end"] == 8
    assert {reason for _, _, reason in first} == {None, "this process has had enough"}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("own evaluation", r"error: 0\.0 on process 0, 1\.0 on process 1\. evaluate must return"),
        ("fewer batches", "process 1 comes to step 6 in epoch 0 of the training"),
        ("another order", "before training on the data, .*shard= for its part"),
        ("another key", r"before making the state, \[0\]: uint32\[2\] of SHA-256 .* on process 1"),
        ("a key within", "before a new program of <lambda>"),
        ("another value", r"before placing the tree, \.params: float32\[3\] of SHA-256"),
    ],
)
def test_what_one_process_does_otherwise_is_an_error_in_both(fault, words):
    ran = run("--fault", fault)
    assert ran.returncode == 1, ran.stderr
    for rank in range(2):
        assert re.search(rf"^\[{rank}\] .*{words}", ran.stderr, re.MULTILINE), ran.stderr


def test_rows_of_one_process_alone_are_refused_before_the_first_step():
    ran = run(
        "--fault", "not placed"
    )  # each finds it by itself, and the first takes the other down
    assert ran.returncode == 1, ran.stderr
    assert re.search(r"batch\['x'\] holds the rows of this process alone.*prefetch", ran.stderr)
