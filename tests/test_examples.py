"""The examples run from top to bottom; each ends in its own asserts."""

import os
import runpy
from pathlib import Path

import jax
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("name", ["loop.py"])
def test_an_example_runs_alone(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with jax.numpy_dtype_promotion("standard"):
        runpy.run_path(os.fspath(EXAMPLES / name), run_name="__main__")
    assert capsys.readouterr().out
