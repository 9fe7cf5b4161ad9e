"""The surface: the public names, sorted; and an import that stays light."""

import subprocess
import sys

import pytest

import fxgrad as fx
from fxgrad import train


@pytest.mark.parametrize("module", [fx, train])
def test_public_names_are_sorted_and_there(module):
    assert sorted(module.__all__) == module.__all__
    for name in module.__all__:
        assert getattr(module, name).__doc__


def test_importing_the_training_does_not_bring_grain():
    script = "import sys, fxgrad.train; sys.exit('grain' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("module", ["flax", "optax", "orbax", "rich", "matplotlib", "jinja2"])
def test_importing_fxgrad_does_not_bring(module):
    script = f"import sys, fxgrad; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("hidden", "call", "extra"),
    [
        ("matplotlib", "comparison.plot('plot.png')", "report"),
        ("matplotlib", "comparison.to_html()", "report"),
        ("jinja2", "comparison.to_html()", "report"),
        ("sklearn", "fxgrad.train.load_digits()", "data"),
        ("grain", "fxgrad.train.stream([1, 2], 2)", "data"),
        ("PIL", "fxgrad.train.ImageFiles('.', size=(4, 4))", "data"),
    ],
)
def test_a_missing_extra_is_named_with_the_line_that_installs_it(tmp_path, hidden, call, extra):
    script = (
        f"import sys; sys.modules[{hidden!r}] = None\n"
        "import fxgrad, fxgrad.train, jax.numpy as jnp\n"
        "comparison = fxgrad.compare(jnp.sin, 1.0, calls=1, memory=False)\n"
        f"try: {call}\n"
        "except fxgrad.FxError as error: print(type(error).__name__, error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert ran.stdout.startswith("MissingExtraError")
    assert f"pip install 'fxgrad[{extra}]'" in ran.stdout
