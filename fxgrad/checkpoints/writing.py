"""The one writer of a folder: from a state to a step that is there.

The lock and the sweep come first. The arrays are copied while the caller waits; all the rest, up to
the rename and the removal of old steps, happens in a background thread.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import jax
import numpy as np

from fxgrad.checkpoints.arrays import ArrayWriter
from fxgrad.checkpoints.background import Background
from fxgrad.checkpoints.folder import (
    commit,
    found_steps,
    is_whole,
    make_durable,
    remove,
    saving_folder,
    sweep,
)
from fxgrad.checkpoints.leaves import Leaf, describe, named_leaves
from fxgrad.checkpoints.lock import WriterLock
from fxgrad.checkpoints.manifest import ARRAYS, RECORD, Manifest
from fxgrad.checkpoints.retention import Retention
from fxgrad.checkpoints.together import Channel
from fxgrad.comparison.environment import version_of
from fxgrad.errors import CheckpointError, OptionError
from fxgrad.quantities import in_bytes
from fxgrad.recorder import is_tracer

_LIBRARIES: Final = ("fxgrad", "jax", "jaxlib", "orbax-checkpoint", "numpy")
_OVERHEAD_BYTES = 2**16  # of the metadata beside the arrays


class Writer:
    """Holds the lock of a folder and saves steps into it, one after the other.

    Args:
      folder: of the checkpoints.
      retention: which steps are kept.
      damaged: steps that were damaged when they were last looked at, before the lock was held.

    Raises:
      CheckpointError: another writer holds the folder, or it cannot be used.
    """

    def __init__(self, folder: Path, retention: Retention, damaged: Iterable[int]) -> None:
        self._folder = folder
        self._retention = retention
        self._damaged: frozenset[int] = frozenset()
        self._lock: WriterLock | None = None
        self._now, self._later = Channel(), Channel()
        self._background = Background()
        self._arrays = ArrayWriter()
        self._now.first_does(partial(self._open, damaged), folder)

    def save(
        self, step: int, state: Any, record: Mapping[str, Any], metrics: Mapping[str, float]
    ) -> None:
        """Begin to save; see `Checkpoints.save`."""
        manifest = partial(
            Manifest,
            step=_checked_step(step),
            metrics={name: float(value) for name, value in metrics.items()},
            versions={name: version_of(name) for name in _LIBRARIES},
        )
        record_bytes = _as_json(record, self._folder)
        leaves, arrays = _split(state, self._folder)
        self._background.wait()
        array_bytes = sum(array.nbytes for array in arrays.values())
        needed = len(record_bytes) + array_bytes + _OVERHEAD_BYTES
        self._now.first_does(partial(self._prepare, step, record_bytes, needed), self._folder)
        saving = saving_folder(self._folder, step)
        try:
            self._arrays.begin(saving / ARRAYS, arrays)
        except Exception as error:
            raise self._failed(step, needed, error) from error
        self._background.start(partial(self._finish, partial(manifest, leaves=leaves), needed))

    def wait(self) -> None:
        """Wait until the save on its way is durable, and raise its error."""
        self._background.wait()

    def note_damaged(self, steps: Iterable[int]) -> None:
        """Those of the steps that are damaged still do not count among those that are kept."""
        self._damaged |= {step for step in steps if not is_whole(self._folder, step)}

    def close(self) -> None:
        """Wait, and let the next writer in."""
        with ExitStack() as stack:
            if self._lock is not None:
                stack.callback(self._lock.release)
            stack.callback(self._arrays.close)
            self.wait()

    def _open(self, damaged: Iterable[int]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = WriterLock(self._folder)  # let go of where it is not kept
            sweep(self._folder)
            self.note_damaged(damaged)
            self._lock = lock
        except OSError as error:
            raise CheckpointError(
                f"{self._folder} cannot hold checkpoints: {error}.", path=self._folder
            ) from error

    def _prepare(self, step: int, record: bytes, needed: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            raise self._failed(step, needed, "the disk is too full")
        saving = saving_folder(self._folder, step)
        try:
            saving.mkdir()
            (saving / RECORD).write_bytes(record)
        except OSError as error:
            raise self._failed(step, needed, error) from error

    def _finish(self, manifest: partial[Manifest], needed: int) -> None:
        """The part of a save that nobody waits for."""
        step = manifest.keywords["step"]
        failures = ""
        try:
            self._arrays.finish()
        except Exception as error:
            failures = _in_words(error)
        failures = "; ".join(filter(None, self._later.from_all(failures)))
        self._later.first_does(
            partial(self._commit, step, manifest, needed, failures), self._folder
        )

    def _commit(self, step: int, manifest: partial[Manifest], needed: int, failures: str) -> None:
        try:
            if failures:
                raise OSError(failures)
            saving = saving_folder(self._folder, step)
            serial = 1 + max((m.serial for m in found_steps(self._folder).values()), default=0)
            commit(saving, manifest(files=make_durable(saving), serial=serial))
            self._damaged -= {step}
            self._remove_old()
        except Exception as error:
            raise self._failed(step, needed, error) from error

    def _remove_old(self) -> None:
        found = found_steps(self._folder)
        whole = [m for m in found.values() if m.step not in self._damaged]
        kept = self._retention.kept(whole)
        for path, manifest in found.items():
            if manifest.serial not in kept:
                remove(path)

    def _failed(self, step: int, needed: int, reason: Exception | str) -> CheckpointError:
        """Take away what a failed save has left, and say what it needed."""
        if jax.process_index() == 0:
            remove(saving_folder(self._folder, step))
        words = reason if isinstance(reason, str) else _in_words(reason)
        free = shutil.disk_usage(self._folder).free
        return CheckpointError(
            f"step {step} is not saved: {words}. It needs {needed} bytes ({in_bytes(needed)}), and "
            f"{self._folder} has {free} ({in_bytes(free)}) free. The steps before it are as they "
            "were.",
            path=self._folder,
            step=step,
        )


def _split(state: Any, folder: Path) -> tuple[tuple[Leaf, ...], dict[str, jax.Array | np.ndarray]]:
    """What is written down of each leaf, and the arrays by the number of the leaf."""
    leaves, arrays = [], {}
    for number, (path, value) in enumerate(named_leaves(state)):
        leaf = describe(path, value, folder=folder)
        leaves.append(leaf)
        if leaf.kind != "python":
            _check_is_array(path, value, folder)
            arrays[str(number)] = jax.random.key_data(value) if leaf.kind == "key" else value
    return tuple(leaves), arrays


def _check_is_array(path: str, value: Any, folder: Path) -> None:
    if not isinstance(value, jax.Array | np.ndarray | np.generic) or is_tracer(value):
        raise CheckpointError(
            f"{path} is a {type(value).__name__}, which has no values to save. Save outside of "
            "jax.jit, and the arrays themselves.",
            path=folder,
            leaf=path,
        )


def _checked_step(step: int) -> int:
    if isinstance(step, bool) or int(step) != step or not 0 <= step < 10**18:
        raise OptionError(f"step={step!r}: a step has a number from 0 on.", option="step")
    return int(step)


def _as_json(record: Mapping[str, Any], folder: Path) -> bytes:
    try:
        return json.dumps(dict(record)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"the record is no JSON: {error}. Put numbers, strings, lists and dicts there, and "
            "arrays into the state.",
            path=folder,
        ) from error


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
