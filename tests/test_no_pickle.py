"""Nothing is unpickled and no text is run: neither by the package's source nor by a restore."""

import ast
import pickle  # noqa: TID251  (made to fail, below)
from pathlib import Path

import jax.numpy as jnp
import numpy as np

import fxgrad
from fxgrad.train import Checkpoints

MODULES = {"pickle", "cloudpickle", "_pickle", "dill", "marshal", "shelve", "joblib", "jsonpickle"}
CALLS = {"eval", "exec"}
SOURCES = sorted(Path(fxgrad.__file__).parent.rglob("*.py"))


def offences(source):
    """The imports, calls and options of a source by which data could become code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.append(node.module)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found += [node.func.id] * (node.func.id in CALLS)
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            is_false = isinstance(node.value, ast.Constant) and node.value.value is False
            found += [] if is_false else ["allow_pickle"]
    return found


def test_the_source_check_finds_what_it_looks_for():
    source = "import pickle\nfrom marshal import loads\neval('1')\nload(f, allow_pickle=True)\n"
    assert sorted(offences(source)) == ["allow_pickle", "eval", "marshal", "pickle"]
    assert offences("np.load(f, allow_pickle=False)\ncompiled.exec()") == []


def test_no_source_of_the_package_unpickles_or_runs_text():
    found = {path: offences(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert {path: names for path, names in found.items() if names} == {}
    assert len(found) > 100


def test_saving_and_restoring_never_unpickle(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    state = {"a": jnp.ones(3), "b": np.ones(2), "c": 1.0, "d": jnp.ones(2, jnp.uint4)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, step=1, record={"x": [1]})
        restored = checkpoints.restore(state)
    assert restored.record == {"x": [1]}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(path.suffix in {".pkl", ".pickle", ".npy"} for path in files)
