"""The supervisor: real processes of scripts that import nothing, so each case takes a moment."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fxgrad.parallel import supervisor

SUPERVISOR = supervisor.__file__
HANG = 60  # a guard for the test and no measure of anything
WAIT = "import time\nwhile True: time.sleep(0.05)\n"
RANK = "import os, signal, sys, time\nrank = int(os.environ['FXGRAD_PROCESS'])\n"
ARRIVE = "open(os.environ['FXGRAD_ARRIVALS'] + f'/{rank}', 'w').close()\n"  # as initialize does


@pytest.fixture
def start(tmp_path):
    """Starts a supervisor of a script, in a folder of its own."""
    started = []

    def start(script, *, arrives=True, **plan):
        path = tmp_path / "script.py"
        path.write_text(RANK + ARRIVE * arrives + script)
        plan = {"script": str(path), "processes": 2, "grace_seconds": 1.0, **plan}
        process = subprocess.Popen(
            [sys.executable, "-P", SUPERVISOR, json.dumps(plan)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=HANG)


def end_of(process):
    out, err = process.communicate(timeout=HANG)
    return process.returncode, out, err


def until_line(process, *wanted):
    """Read standard output until each of the lines has come."""
    left = set(wanted)
    while left:
        line = process.stdout.readline()
        assert line, f"{left} did not come"
        left.discard(line.strip())


def is_alive(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{number}/stat")
    try:
        return not status.parent.parent.is_dir() or " Z " not in status.read_text()
    except FileNotFoundError:
        return False


def test_output_lines_have_the_number_of_their_process_and_arguments_arrive(start):
    process = start("print(sys.argv[1:], __name__)\nprint('e', file=sys.stderr)", arguments=["-x"])
    status, out, err = end_of(process)
    assert status == 0
    assert sorted(out.splitlines()) == ["[0] ['-x'] __main__", "[1] ['-x'] __main__"]
    assert sorted(err.splitlines()) == ["[0] e", "[1] e"]


def test_an_exception_in_one_process_ends_the_others_and_is_told_last(start):
    script = f"if rank == 1:\n    raise ValueError('the loader is broken')\n{WAIT}"
    status, _, err = end_of(start(script))
    told = err[err.index("fxgrad: ") :]
    assert status == 1
    assert "process 1 exited with status 1. Its last traceback:" in told
    assert "ValueError: the loader is broken" in told
    assert "rank.py" not in told
    assert told.splitlines()[-1] == "fxgrad: All 2 processes are down."


@pytest.mark.parametrize(
    ("fault", "status", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "process 0 was killed by SIGKILL"),
        ("sys.exit(3)", 3, "process 0 exited with status 3"),
        ("sys.exit('no data')", 1, "process 0 exited with status 1"),
    ],
)
def test_a_process_that_ends_badly_is_named_and_decides_the_status(start, fault, status, told):
    ignoring = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"  # as JAX does
    found, _, err = end_of(start(f"{ignoring}if rank == 0: {fault}\n{WAIT}"))
    assert found == status
    assert told in err


def test_after_a_failure_all_start_again_as_often_as_allowed(start):
    script = "a = os.environ['FXGRAD_ATTEMPT']\nprint(a)\nsys.exit(int(a) < 2 and rank)"
    status, out, err = end_of(start(script, restarts=2))
    assert status == 0
    assert sorted(out.splitlines()) == [f"[{r}] {a}" for r in range(2) for a in range(3)]
    assert "starting again: restart 2 of 2" in err
    status, _, err = end_of(start("sys.exit(rank)", restarts=1))
    assert status == 1
    assert err.count("process 1 exited with status 1") == 2


def test_a_hang_is_told_with_the_line_of_each_process(start):
    script = "def read():\n    time.sleep(1000)\nprint('up')\nread()"
    status, _, err = end_of(start(script, hang_seconds=1.0))
    assert status == 1
    assert "no process has printed a line for 1 s" in err
    for rank in range(2):
        assert f"process {rank} stands at" in err
    assert "script.py:5 in read" in err


def test_a_process_that_does_not_come_to_initialize_is_named_with_its_line(start):
    script = (
        "if rank == 0: open(os.environ['FXGRAD_ARRIVALS'] + '/0', 'w').close()\n"
        "else: time.sleep(1000)\n" + WAIT
    )
    status, _, err = end_of(start(script, arrives=False, start_seconds=1.0))
    assert status == 1
    assert "process 1 did not come to parallel.initialize() within 1 s of the others" in err
    assert "script.py:4 in <module>" in err


def test_a_process_that_does_not_come_to_the_end_of_the_script_is_named_with_its_line(start):
    script = "if rank == 0:\n    time.sleep(1000)\nimport atexit\natexit.register(time.sleep, 60)"
    status, _, err = end_of(start(script, finish_seconds=1.0))
    assert status == 1
    assert "process 1 came to the end of the script, and process 0 did not within 1 s" in err
    assert "process 0 stands at" in err
    assert "script.py:5 in <module>" in err


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="nothing tells of a stopped process")
def test_a_stopped_process_is_named_and_not_the_one_that_waits_for_it(start):
    script = f"if rank == 1:\n    os.kill(os.getpid(), signal.SIGSTOP)\n{WAIT}"
    status, _, err = end_of(start(script, stopped_seconds=0.5))
    assert status == 1
    assert "process 1 has been stopped by a signal (SIGSTOP) for 0.5 s" in err
    assert "process 0" not in err


@pytest.mark.parametrize("task", ["1", "/job:jax_worker/replica:0/task:1"])
def test_who_jax_has_given_up_is_named_and_not_who_it_has_ended_for_that(start, task):
    words = f"UNAVAILABLE: The following tasks are unhealthy (stopped sending):\n{task}\nCrashed 7."
    script = f"if rank == 0:\n    print({words!r}, file=sys.stderr)\n    os.abort()\n{WAIT}"
    status, _, err = end_of(start(script))
    assert status == 128 + signal.SIGABRT
    assert "fxgrad: process 1 gave no sign of life, so JAX ended process 0" in err
    assert "process 0 stands at" in err
    assert "script.py:6 in <module>" in err


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", None),
        ("sys.exit(3)", "The last traceback that it printed:"),
        ("os.abort()", "Its last traceback:"),
        ("1 / 0", "Its last traceback:"),
    ],
)
def test_a_traceback_is_called_the_reason_only_where_it_is(start, end, told):
    script = (
        f"import traceback\ntry: {{}}['handled']\nexcept KeyError: traceback.print_exc()\n{end}"
    )
    _, _, err = end_of(start(script, processes=1))
    words = err[err.index("fxgrad: ") :]
    assert [line for line in ("Its last", "The last") if line in words] == (
        [] if told is None else [told[:8]]
    )
    assert ("handled" in words) == (end == "sys.exit(3)")


def test_copies_that_never_come_together_are_no_run(start):
    status, _, err = end_of(start("print('trained')", arrives=False))
    assert status == 1
    assert "none has called parallel.initialize()" in err
    status, _, err = end_of(start("print('trained')", arrives=False, processes=1))
    assert (status, err) == (0, "")


SAVING = (
    "def save(number, frame):\n    print('saved', flush=True)\n    sys.exit(75)\n"
    "signal.signal(signal.SIGTERM, save)\nprint('up', flush=True)\n" + WAIT
)


def test_sigterm_reaches_all_and_what_they_have_saved_is_status_75(start):
    process = start(SAVING, restarts=3)
    until_line(process, "[0] up", "[1] up")
    process.send_signal(signal.SIGTERM)
    status, out, err = end_of(process)
    assert status == 75
    assert sorted(out.splitlines()) == ["[0] saved", "[1] saved"]
    assert "again" not in err


def test_one_process_that_stops_and_saves_does_not_start_the_run_again(start):
    script = "sys.exit(75 * rank)"
    status, _, err = end_of(start(script, restarts=3))
    assert (status, err) == (75, "")


def test_who_does_not_save_in_time_is_killed_and_a_second_signal_does_not_wait(start):
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\n" + WAIT
    process = start(deaf, save_seconds=0.5)
    until_line(process, "[0] up", "[1] up")
    process.send_signal(signal.SIGTERM)
    status, _, err = end_of(process)
    assert status == 128 + signal.SIGTERM
    assert "processes 0, 1 did not end in time" in err
    process = start(deaf, save_seconds=1000.0)
    until_line(process, "[0] up", "[1] up")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    assert end_of(process)[0] in (128 + signal.SIGTERM, 128 + signal.SIGINT)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")
def test_no_process_outlives_its_supervisor(start):
    process = start("print(os.getpid(), flush=True)\n" + WAIT)
    numbers = [int(process.stdout.readline().split()[1]) for _ in range(2)]
    assert all(map(is_alive, numbers))
    process.kill()
    end = time.monotonic() + HANG
    while any(map(is_alive, numbers)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(map(is_alive, numbers))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_failed_process_has_started_is_ended_too(start):
    child = f"import subprocess\nc = subprocess.Popen([sys.executable, '-c', {WAIT!r}])\n"
    status, out, _ = end_of(start(child + "print(c.pid)\nsys.exit(rank + 1)"))
    assert status in (1, 2)
    children = [int(line.split()[1]) for line in out.splitlines()]
    end = time.monotonic() + HANG
    while any(map(is_alive, children)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(map(is_alive, children))


def test_the_supervisor_has_nothing_of_jax_in_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("")
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['supervisor', {json.dumps(json.dumps({'script': str(script)}))}]\n"
        f"try:\n    runpy.run_path({SUPERVISOR!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    print(end.code, 'jax' in sys.modules, 'fxgrad' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG)
    assert ran.stdout == "0 False False\n", ran.stderr


def test_ctrl_c_is_the_status_130(start):
    process = start("print('up', flush=True)\n" + WAIT)
    until_line(process, "[0] up", "[1] up")
    process.send_signal(signal.SIGINT)
    assert end_of(process)[0] == 130
