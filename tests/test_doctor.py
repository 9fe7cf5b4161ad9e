"""``fxgrad doctor``: what it finds on a machine that is well, and faults that were planted."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from fxgrad.cli import checkup, mode_checks
from fxgrad.cli.checkup import check_up
from fxgrad.cli.doctor import text
from fxgrad.cli.main import main
from fxgrad.modes import MODES


@pytest.fixture
def set_option():
    """Sets an option of JAX until the end of the test."""
    before = {}

    def set_until_the_end(name, value):
        before.setdefault(name, getattr(jax.config, name))
        jax.config.update(name, value)

    yield set_until_the_end
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(autouse=True)
def no_mode_is_set(monkeypatch):
    monkeypatch.delenv("FXGRAD_MODE", raising=False)


def states(found):
    return {check.mode: check.state for check in found.modes}


def test_on_a_machine_that_is_well_every_mode_works_and_nothing_is_off():
    found = check_up()
    assert states(found) == dict.fromkeys(MODES, "works")
    assert found.faults == ()
    (devices,) = found.devices
    assert (devices.kind, devices.count) == (jax.devices()[0].device_kind, jax.device_count())
    versions = {package.name: package.version for package in found.packages}
    assert versions["jax"] == jax.__version__
    assert "--xla_force_host_platform_device_count=8" in found.environment["XLA_FLAGS"]


def test_a_transfer_guard_is_named_where_it_stops_a_mode(set_option):
    set_option("jax_transfer_guard", "disallow")
    found = check_up()
    assert states(found) == {"eager": "off", "static": "works", "replay": "works"}
    (fault,) = found.faults
    assert fault.startswith("eager is off: jax_transfer_guard is disallow, and forbids")
    set_option("jax_transfer_guard", "disallow_explicit")
    assert set(states(check_up()).values()) == {"off"}


def test_the_status_tells_whether_something_is_off(capsys, set_option):
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.endswith("Off or wrong\n  nothing\n")
    set_option("jax_disable_jit", True)
    assert main(["doctor"]) == 1
    assert "static is off: jax_disable_jit is on" in capsys.readouterr().out


def test_json_is_the_data(capsys):
    assert main(["doctor", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    again = json.loads(json.dumps(check_up().to_dict()))
    assert data == again
    assert {one["mode"]: one["state"] for one in data["modes"]} == dict.fromkeys(MODES, "works")


def test_a_jax_that_cannot_be_recorded_turns_replay_off(monkeypatch):
    monkeypatch.setattr(mode_checks, "self_check", lambda: "JAX 9.9 hides operations")
    found = check_up()
    assert states(found) == {"eager": "works", "static": "works", "replay": "off"}
    assert found.faults == ("replay is off: JAX 9.9 hides operations",)


def test_a_mode_that_gives_wrong_numbers_is_wrong(monkeypatch):
    monkeypatch.setattr(mode_checks, "_with_a_decision", lambda x: jnp.zeros_like(x))
    found = check_up()
    assert states(found) == {"eager": "wrong", "static": "works", "replay": "wrong"}
    assert "replay is wrong: it gives [0.0, 0.0, 0.0] instead of [-1.0, 2.0, -3.0]" in found.faults


def test_a_mode_that_fails_is_wrong_and_its_error_is_told(monkeypatch):
    def failing(x):
        raise OSError("no such device\nand more")

    monkeypatch.setattr(mode_checks, "_cubes", failing)
    found = check_up()
    assert set(states(found).values()) == {"wrong"}
    assert "static is wrong: OSError: no such device" in found.faults


def test_looking_for_nans_turns_replay_off_and_says_so(set_option):
    set_option("jax_debug_nans", True)
    found = check_up()
    assert states(found) == {"eager": "works", "static": "works", "replay": "off"}
    assert found.faults == ("replay is off: jax_debug_nans is on, so Python runs at every call",)
    assert {s.name: s.value for s in found.settings}["jax_debug_nans"] == "True"


def test_a_variable_that_names_no_mode_is_a_fault_and_the_modes_are_checked_still(monkeypatch):
    monkeypatch.setenv("FXGRAD_MODE", "fast")
    found = check_up()
    assert states(found) == dict.fromkeys(MODES, "works")
    (fault,) = found.faults
    assert "FXGRAD_MODE='fast' is not a mode" in fault
    assert found.environment["FXGRAD_MODE"] == "fast"


def test_a_mode_of_the_process_is_no_fault(monkeypatch):
    monkeypatch.setenv("FXGRAD_MODE", "eager")
    assert check_up().faults == ()


def test_a_package_that_is_missing_is_told_with_what_to_write(monkeypatch):
    real = checkup._version
    absent = ("matplotlib", "optax")
    monkeypatch.setattr(checkup, "_version", lambda name: None if name in absent else real(name))
    found = check_up()
    assert "matplotlib: not installed: pip install 'fxgrad[report]'" in text(found)
    assert found.faults == ("optax is not installed: pip install fxgrad",)


def test_each_package_of_an_extra_is_listed_once_and_tools_are_not(monkeypatch):
    lines = [
        "jax<0.13,>=0.10.2",
        "optax>=0.2.8",
        'jax[cuda]; extra == "cuda"',
        'scikit-learn>=1.6; extra == "data"',
        'scikit-learn>=1.6; extra == "demo"',
        'pytest>=8.4; extra == "dev"',
        'fxgrad[data]; extra == "demo"',
    ]
    monkeypatch.setattr(checkup.importlib.metadata, "requires", lambda name: lines)
    assert checkup._required() == {
        "fxgrad": None,
        "jax": None,
        "optax": None,
        "scikit-learn": "data",
    }


def test_the_compile_cache_is_told_with_its_size(tmp_path, set_option):
    assert check_up().cache.folder is None
    assert "JAX_COMPILATION_CACHE_DIR" in text(check_up())
    (tmp_path / "program").write_bytes(b"x" * 2048)
    set_option("jax_compilation_cache_dir", str(tmp_path))
    cache = checkup._cache()
    assert (cache.folder, cache.files, cache.size_bytes) == (str(tmp_path), 1, 2048)
    set_option("jax_compilation_cache_dir", str(tmp_path / "absent"))
    assert checkup._cache().files == 0
    set_option("jax_compilation_cache_dir", "gs://bucket/programs")
    assert (checkup._cache().folder, checkup._cache().files) == ("gs://bucket/programs", None)


def test_a_platform_that_is_not_there_is_told_and_not_raised():
    ran = subprocess.run(
        [sys.executable, "-m", "fxgrad", "doctor", "--json"],
        env={**os.environ, "JAX_PLATFORMS": "abacus"},
        capture_output=True,
        text=True,
        check=False,
    )
    data = json.loads(ran.stdout)
    assert (ran.returncode, data["devices"], data["modes"]) == (1, [], [])
    assert data["faults"][0].startswith("JAX finds no device, so nothing runs: ")
    assert "JAX_PLATFORMS=abacus" in data["faults"][0]
