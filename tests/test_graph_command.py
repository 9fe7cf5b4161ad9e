"""``fxgrad graph``: what it prints and writes."""

import json

import pytest

from fxgrad.cli.main import main

MODULE = """
import jax.numpy as jnp

def halve(x):
    while x > 1:
        x = x / 2
    return x

def small():
    return jnp.float32(0.5)

def large():
    return jnp.float32(5)

def broken(x):
    raise RuntimeError("inside")
"""


@pytest.fixture
def target(tmp_path, monkeypatch):
    (tmp_path / "halving.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return "halving.py:halve"


def test_the_summary_is_printed(target, capsys):
    assert main(["graph", target, "--args", "halving.py:large"]) == 0
    printed = capsys.readouterr().out
    assert "halve, jaxpr: 7 operations" in printed
    assert "halving.py:6" in printed


def test_paths_of_several_calls_are_shown(target, capsys, tmp_path):
    makers = ["--args", "halving.py:small", "--args", "halving.py:large"]
    arguments = ["graph", target, *makers, "--stage", "paths", "-o", "paths.json"]
    assert main(arguments) == 0
    nodes = json.loads((tmp_path / "paths.json").read_text())["nodes"]
    assert sum(node["kind"] == "output" for node in nodes) == 2
    assert "written: paths.json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "begins"), [("g.html", "<!doctype html>"), ("g.dot", "digraph"), ("g.json", "{")]
)
def test_each_view_is_written(target, tmp_path, name, begins):
    assert main(["graph", target, "--args", "halving.py:large", "-o", name]) == 0
    assert (tmp_path / name).read_text().startswith(begins)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "g.png"], "a graph is written as .html, .dot, .json; the suffix is '.png'"),
        (["-o", "absent/g.html"], "absent, which does not exist"),
        (["--args", "halving.py:large", "--args", "halving.py:small"], "give --args once"),
        ([], "cannot be called with 0 argument(s)"),
    ],
)
def test_what_the_user_got_wrong_is_one_line(target, capsys, tmp_path, arguments, words):
    assert main(["graph", target, *arguments]) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"halving.py", "__pycache__"}


def test_what_the_function_raises_is_told_with_its_line(target, capsys):
    assert main(["graph", "halving.py:broken", "--args", "halving.py:large"]) == 2
    assert "failed: RuntimeError: inside (halving.py:16)" in capsys.readouterr().err
