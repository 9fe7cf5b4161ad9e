"""Several processes on this machine, on JAX's own runtime: `ranks/train_script.py` is what runs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fxgrad.errors import OptionError
from fxgrad.parallel import processes

SCRIPT = str(Path(__file__).parent / "ranks" / "train_script.py")
HANG = 180  # a guard for the test and no measure of anything
DEVICES = 4


def run(*arguments, count=2, options=()):
    """Run the script in so many processes with four devices together."""
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONWARNINGS": "default"}
    command = ["-m", "fxgrad", "train", "--processes", str(count), *options]
    command += ["--devices-per-process", str(DEVICES // count), SCRIPT, *map(str, arguments)]
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=HANG, env=environment
    )


def trained(folder, *arguments, count=2, options=()):
    """What the script has found in a run that went well, and the run."""
    out = folder / f"{count}.json"
    ran = run("--out", out, *arguments, count=count, options=options)
    assert ran.returncode == 0, ran.stderr
    return json.loads(out.read_text()), ran


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The losses of one process, by mode."""
    folder = tmp_path_factory.mktemp("alone")
    return {
        mode: trained(folder, "--mode", mode, count=1)[0]["losses"] for mode in ("static", "replay")
    }


@pytest.mark.parametrize(("count", "mode"), [(2, "static"), (4, "static"), (2, "replay")])
def test_processes_train_with_the_losses_of_one(tmp_path, alone, count, mode):
    found, _ = trained(tmp_path, "--mode", mode, count=count)
    # Sums over 16 rows are taken in another order.
    np.testing.assert_allclose(found["losses"], alone[mode], rtol=16 * np.finfo(np.float32).eps)
    # Comparing builds nothing: a program in static; a segment for each outcome in replay.
    assert found["programs"] == {"static": 1, "replay": 2}[mode]


def test_a_kill_while_saving_a_restart_and_more_processes_end_where_one_unbroken_run_does(
    tmp_path, alone
):
    saved = ("--checkpoints", tmp_path / "saved")
    kill = ("--fault", "kill in save", "--first-attempt-only", "--at", 2)
    restarts = ("--restarts", "1")
    _, ran = trained(tmp_path, *saved, *kill, "--steps", 4, options=restarts)
    assert "process 1 was killed by SIGKILL" in ran.stderr
    assert re.search(r"^\[0\] resumed at [23]$", ran.stdout, re.MULTILINE)
    found, ran = trained(tmp_path, *saved, "--steps", 6, count=4)
    assert "[3] resumed at 4" in ran.stdout
    np.testing.assert_allclose(found["losses"], alone["static"], rtol=1e-5)


def told_by_both(ran, words):
    """Both processes have told the same difference, raised or answered for."""
    return all(re.search(rf"^\[{rank}\] .*{words}", ran.stderr, re.MULTILINE) for rank in range(2))


def test_another_shape_in_one_process_is_an_error_in_both_before_it_runs():
    ran = run("--fault", "shape", "--at", 3)
    assert ran.returncode == 1
    assert told_by_both(
        ran, r"process 0 comes to a known program of step; process 1 comes to a new"
    )
    assert "batch['x']: f32[16,5] → f32[8,5]" in ran.stderr
    assert "step 3" not in ran.stdout


def test_another_function_in_one_process_is_an_error_in_both_at_the_first_step():
    ran = run("--fault", "function", "--at", 0, "--by", 0)
    assert ran.returncode == 1
    assert told_by_both(ran, "process 0 comes to a new program of other; process 1 comes to a new")


@pytest.mark.parametrize("at", [3, 12])  # as segments, and when a tree would have been folded
def test_another_path_in_one_process_is_an_error_in_both_that_names_the_decision(at):
    ran = run("--fault", "paths", "--at", at)
    assert ran.returncode == 1
    decision = r"the decision at train_script.py:\d+, `if own > 0:` in by_own_value, "
    assert told_by_both(ran, f"{decision}the value: True on process 0, False on process 1")


def test_a_run_of_one_is_not_told_anything_and_options_are_checked(monkeypatch):
    for name in ("SLURM_JOB_ID", "JAX_COORDINATOR_ADDRESS", processes.COORDINATOR):
        monkeypatch.delenv(name, raising=False)
    assert processes.place() == processes.Place(process=0, processes=1)
    assert processes.is_first()
    processes.wait_for_all("nobody")
    with pytest.raises(OptionError, match="has no option 'coordinator'; it has coordinator_addr"):
        processes.initialize(coordinator="localhost:1")


def test_initialize_asks_jax_for_what_the_supervisor_says(monkeypatch):
    asked = {}
    said = {
        processes.COORDINATOR: "127.0.0.1:1234",
        processes.PROCESSES: "2",
        processes.PROCESS: "1",
        processes.DEVICES: "4",
        processes.TIMEOUTS: "10,20,30",
        processes.PID: str(os.getpid()),
    }
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(processes, "_options", lambda: ("coordinator_bind_address", "process_id"))
    monkeypatch.setattr("jax.distributed.initialize", lambda **options: asked.update(options))
    processes.initialize(process_id=0)
    assert asked == {"coordinator_bind_address": "127.0.0.1:1234", "process_id": 0}


STARTING = """
import multiprocessing, subprocess, sys
from fxgrad import parallel
place = parallel.initialize()
def tell(_):
    return place.processes
if __name__ == "__main__":
    from jax.experimental import multihost_utils
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print("worker", pool.map(tell, [0]))
    code = "from fxgrad import parallel; print(parallel.initialize().processes)"
    print("script", subprocess.check_output([sys.executable, "-c", code], text=True).strip())
    print("run", len(multihost_utils.process_allgather(place.process)), place.processes)
"""


def test_what_a_process_starts_does_not_join_the_run_in_its_stead(tmp_path):
    path = tmp_path / "starting.py"
    path.write_text(STARTING)
    ran = subprocess.run(
        [sys.executable, "-m", "fxgrad", "train", "--processes", "2", str(path)],
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert ran.returncode == 0, ran.stderr
    told = [
        f"[{rank}] {line}" for rank in range(2) for line in ("run 2 2", "script 1", "worker [1]")
    ]
    assert sorted(line for line in ran.stdout.splitlines() if "[Gloo]" not in line) == told


def test_the_command_refuses_a_script_that_is_not_there():
    ran = subprocess.run(
        [sys.executable, "-m", "fxgrad", "train", "nowhere.py"],
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert (ran.returncode, ran.stderr) == (2, "fxgrad: there is no script nowhere.py.\n")
