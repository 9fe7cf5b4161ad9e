"""The command line: what it prints and writes, and one clear line for what the user got wrong."""

import json
import os
import subprocess
import sys

import pytest

from fxgrad.cli.main import main

MODULE = """
from dataclasses import dataclass
import jax, jax.numpy as jnp
import sibling

def double(x):
    return x * 2

def make():
    return jnp.ones(3)

def make_pair():
    return jnp.ones(3), jnp.ones(3)

def make_list():
    return [jnp.ones(3)]

@jax.tree_util.register_dataclass
@dataclass
class Pair:
    value: jax.Array

def make_object():
    return Pair(jnp.ones(3))

def of_object(pair):
    assert isinstance(pair, Pair)
    return pair.value * sibling.factor

class Net:
    @staticmethod
    def forward(x):
        return x + 1

def broken(x):
    raise RuntimeError("inside")

size = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a module of the user's, and the command line standing in it."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "sibling.py").write_text("factor = 2.0")
    (tmp_path / "script.py").write_text("import argparse; argparse.ArgumentParser().exit()")
    (tmp_path / "failing.py").write_text("raise OSError('no such device')\n")
    (tmp_path / "needs.py").write_text("import not_installed_anywhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("mine", "failing", "needs", "sibling", "script"):
        sys.modules.pop(name, None)


def test_compare_prints_the_table_and_writes_every_view(folder, capsys):
    arguments = ["compare", "mine:double", "--args", "mine:make", "--calls", "3"]
    outputs = ["--html", "page.html", "--json", "data.json", "--plot", "plot.png"]
    assert main([*arguments, *outputs]) == 0
    printed = capsys.readouterr().out
    assert "median call" in printed
    assert "page: page.html" in printed
    assert (folder / "page.html").read_text().startswith("<!doctype html>")
    assert json.loads((folder / "data.json").read_text())["title"] == "double"
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a folder that nobody can write in")
@pytest.mark.parametrize("option", ["--html", "--json", "--plot"])
def test_a_path_that_cannot_be_written_is_refused_before_the_work(folder, capsys, option):
    path = "/proc/page.png" if option == "--plot" else "/proc/page"
    assert main(["compare", "mine:broken", "--args", "mine:make", option, path]) == 2
    assert capsys.readouterr().err == f"fxgrad: cannot write {path}: No such file or directory.\n"


def test_a_file_is_not_touched_before_there_is_something_to_write(folder, capsys):
    (folder / "page.html").write_text("old")
    arguments = ["compare", "mine:broken", "--args", "mine:make", "--html", "page.html"]
    assert main([*arguments, "--json", "new.json"]) == 2
    assert (folder / "page.html").read_text() == "old"
    assert not (folder / "new.json").exists()


def test_compare_recommends_a_mode_for_the_planned_calls(folder, capsys):
    arguments = ["compare", "mine:double", "--args", "mine:make", "--calls", "3"]
    assert main([*arguments, "--planned-calls", "900", "--json", "data.json"]) == 0
    told = json.loads((folder / "data.json").read_text())["recommendation"]
    assert told["planned_calls"] == 900
    assert set(told["predicted_seconds"]) == {"eager", "static", "replay"}
    assert f"Recommended: {told['mode']} for 900 calls: " in capsys.readouterr().out


@pytest.mark.parametrize("target", ["mine:Net.forward", "mine.py:double", "./mine.py:double"])
def test_a_target_is_a_module_or_a_file_and_may_be_inside_a_class(folder, capsys, target):
    assert main(["compare", target, "--args", "mine:make", "--calls", "1"]) == 0
    assert "median call" in capsys.readouterr().out


def test_a_file_is_loaded_once_and_finds_its_neighbours(folder, capsys, monkeypatch):
    monkeypatch.chdir("/")
    path = folder / "mine.py"
    target = ["compare", f"{path}:of_object", "--args", f"{path}:make_object", "--calls", "1"]
    assert main(target) == 0
    assert "median call" in capsys.readouterr().out


def test_views_are_written_before_the_table_is_printed(folder):
    script = "from fxgrad.cli.main import main; raise SystemExit(main())"
    arguments = [
        "compare",
        "mine:double",
        "--args",
        "mine:make",
        "--calls",
        "1",
        "--json",
        "d.json",
    ]
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
        cwd=folder,
    )
    assert b"median call" in ran.stdout
    assert (folder / "d.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mine"], "'mine' is not a target. Write package.module:function."),
        (["mine:"], "is not a target"),
        ([":double"], "is not a target"),
        (["absent.module:f"], "there is no module 'absent'"),
        (["absent.py:f"], "there is no file absent.py"),
        (["mine.sub:f"], "there is no module 'mine.sub'"),
        (["mine:doubel"], "mine has no 'doubel'. It has: Net, Pair, broken, double"),
        (["mine:Net.backward"], "Net has no 'backward'"),
        (["mine:size"], "mine:size is a int, not a function"),
        (["script.py:f"], "script.py is a script that ran and exited"),
        (["mine:double", "--args", "mine:make_list"], "mine:make_list returned a list"),
        (["failing:f"], "importing failing failed: OSError: no such device"),
        (["needs:f"], "importing needs failed: No module named 'not_installed_anywhere'"),
        (["mine:double"], "cannot be called with"),
        (["mine:double", "--args", "mine:make_pair"], "cannot be called with"),
        (["mine:double", "--args", "mine:double"], "mine:double(x) cannot be called with 0"),
        (
            ["mine:broken", "--args", "mine:make"],
            "mine:broken failed: RuntimeError: inside (mine.py:36)",
        ),
        (["mine:double", "--html", "absent/page.html"], "absent, which does not exist"),
        (["mine:double", "--json", "."], "is a folder"),
        (["mine:double", "--args", "mine:make", "--plot", "plot.bmp"], "the suffix is '.bmp'"),
    ],
)
def test_what_the_user_got_wrong_is_one_line(folder, capsys, arguments, words):
    before = sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")
    assert main(["compare", *arguments]) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.startswith("fxgrad: ")
    assert printed.err.count("\n") == 1
    after = sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")
    assert after == before


@pytest.mark.parametrize(
    "arguments", [[], ["paint"], ["compare"], ["demo", "--epochs", "0"], ["demo", "--modes", "x"]]
)
def test_a_wrong_command_line_prints_the_usage(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: fxgrad" in capsys.readouterr().err


def test_demo_trains_in_every_mode_with_equal_losses(tmp_path, capsys):
    page, data = tmp_path / "page.html", tmp_path / "data.json"
    arguments = ["demo", "--epochs", "2", "--output", str(page), "--json", str(data)]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    for row in ("first step", "median step", "break-even step", "test accuracy", "last loss"):
        assert row in printed.out
    assert "epoch 2/2" in printed.err
    measured = json.loads(data.read_text())
    losses = [run["losses"] for run in measured["training"].values()]
    assert len(losses[0]) == len(losses[1]) == 44
    assert measured["largest_difference"] < 1e-5
    assert measured["recommendation"]["planned_calls"] == 44
    assert measured["timings"]["static"]["stats"]["programs"] == 1
    assert page.read_text().count("<figure ") == 2
    assert page.read_text().count('class="fxgraph"') == 3


def test_demo_of_a_damaged_folder_names_it(tmp_path, capsys):
    assert main(["demo", "--data-dir", str(tmp_path / "absent")]) == 2
    assert "absent" in capsys.readouterr().err


def test_the_module_runs_as_a_command():
    ran = subprocess.run(
        [sys.executable, "-m", "fxgrad", "--help"], capture_output=True, text=True, check=True
    )
    assert "demo" in ran.stdout
    assert "compare" in ran.stdout
