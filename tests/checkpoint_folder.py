"""A folder of small steps to damage, and what lies in it."""

import hashlib
import os
import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from fxgrad.train import Checkpoints

LIKE = {"w": np.zeros((8, 8), np.float32), "n": jnp.zeros(4), "rate": 0.0}


def state_of(step):
    """A state that tells its step in each leaf."""
    rng = np.random.default_rng(step)
    numbers = rng.normal(size=(8, 8)).astype(np.float32)
    return {"w": numbers, "n": jnp.full(4, float(step)), "rate": step / 8}


def bits_of(state):
    return hashlib.sha256(b"".join(np.asarray(state[k]).tobytes() for k in sorted(state))).digest()


def saved_steps(folder: Path, *steps: int, **options) -> Path:
    with Checkpoints(folder, keep_last=len(steps), keep_best=0, **options) as checkpoints:
        for step in steps:
            checkpoints.save(state_of(step), step=step, record={"position": step})
    return folder


def files_of(step_folder: Path) -> list[Path]:
    return sorted(path for path in step_folder.rglob("*") if path.is_file())


def listing(folder: Path) -> dict[str, tuple]:
    """Every name below a folder with its kind, and the contents of the files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path)] = ("link", os.readlink(path))
        elif path.is_file():
            found[str(path)] = ("file", path.read_bytes())
        else:
            found[str(path)] = ("folder",)
    return found


def restore_quietly(folder: Path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Checkpoints(folder).restore(LIKE, **options)
