"""A peer: another framework's training script, run in the interpreter that has the framework."""

import os
import subprocess
from pathlib import Path

from trained import Trained

INTERPRETER_VARIABLE = "FXGRAD_PEERS_PYTHON"


class PeerError(RuntimeError):
    """A peer's script failed. What it wrote to stderr is in the message."""


def train_in_peer(script: Path, inputs: Path, outputs: Path) -> Trained:
    """Run ``script inputs outputs`` and read what it wrote."""
    run_peer(script, inputs, outputs)
    return Trained.load(outputs)


def run_peer(script: Path, *arguments: str | Path) -> None:
    """Run ``script *arguments`` in the interpreter that has the peers."""
    command = [os.environ[INTERPRETER_VARIABLE], str(script), *map(str, arguments)]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env=_peer_environment()
    )
    if ended.returncode != 0:
        raise PeerError(
            f"{script.name} ended with status {ended.returncode} under "
            f"{INTERPRETER_VARIABLE}={command[0]}. Its stderr:\n{ended.stderr}"
        )


def _peer_environment() -> dict[str, str]:
    # XLA ends a process at a flag it does not know, and TensorFlow's XLA is not JAX's.
    return {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
