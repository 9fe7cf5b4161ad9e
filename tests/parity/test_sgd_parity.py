"""100 SGD steps on real digits are the same steps in PyTorch, TensorFlow and each mode here."""

import functools
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fxgrad_sgd import train_in_fxgrad
from peer import INTERPRETER_VARIABLE, PeerError, train_in_peer
from problem import LEARNING_RATE, STEPS, problem
from trained import PARAMETER_NAMES, Distance, Trained, distance

from fxgrad.modes import MODES

LOSS_TOLERANCE = 1e-5  # relative, at every step
PARAMETER_TOLERANCE = 1e-4  # absolute, in the max norm

PEERS = {name: Path(__file__).parent / f"{name}_sgd.py" for name in ("torch", "tensorflow")}
TRAINERS = (*PEERS, *MODES)

Train = Callable[[str, float], Trained]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """``train(trainer, learning_rate)``: a peer's run or a mode's, made once in this module."""
    inputs = problem()

    @functools.cache
    def trained(trainer: str, learning_rate: float) -> Trained:
        changed = {**inputs, "learning_rate": np.asarray(learning_rate)}
        if trainer not in PEERS:
            return train_in_fxgrad(changed, trainer)
        folder = tmp_path_factory.mktemp(trainer)
        np.savez(folder / "inputs.npz", **changed)
        return train_in_peer(PEERS[trainer], folder / "inputs.npz", folder / "outputs.npz")

    return trained


def is_parity(apart: Distance) -> bool:
    return apart.relative_loss <= LOSS_TOLERANCE and apart.parameters <= PARAMETER_TOLERANCE


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(TRAINERS, 2)))
def test_the_same_steps_have_the_same_losses_and_end_in_the_same_parameters(
    train: Train, one: str, other: str
):
    apart = distance(train(one, LEARNING_RATE), train(other, LEARNING_RATE))
    assert is_parity(apart), apart


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_run_learns(train: Train, trainer: str):
    losses = train(trainer, LEARNING_RATE).losses
    assert losses.shape == (STEPS,)
    assert losses[-10:].mean() < 0.7 * losses[:10].mean()


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_learning_rate_of_one_percent_more_is_no_parity(train: Train, trainer: str):
    apart = distance(train(trainer, 1.01 * LEARNING_RATE), train("static", LEARNING_RATE))
    assert apart.relative_loss > LOSS_TOLERANCE
    assert apart.parameters > PARAMETER_TOLERANCE


@pytest.mark.parametrize("name", PARAMETER_NAMES)
def test_a_parameter_that_is_nan_is_no_parity(train: Train, name: str):
    right = train("static", LEARNING_RATE)
    nan = np.full_like(right.parameters[name], np.nan)
    wrong = Trained(right.losses, {**right.parameters, name: nan})
    assert not is_parity(distance(wrong, right))


def test_an_interpreter_without_the_peer_is_an_error_that_keeps_its_stderr(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv(INTERPRETER_VARIABLE, sys.executable)
    script = tmp_path / "absent_sgd.py"
    script.write_text("import a_peer_that_is_not_installed\n")
    with pytest.raises(PeerError, match="No module named 'a_peer_that_is_not_installed'"):
        train_in_peer(script, tmp_path / "inputs.npz", tmp_path / "outputs.npz")
