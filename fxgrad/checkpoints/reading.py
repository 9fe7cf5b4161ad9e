"""From a step to a state: which step, whether it is whole, and each leaf to its place.

A reader holds no lock. A writer takes a step's manifest away first, so a manifest that is still
there when all has been read means that nothing was taken away meanwhile.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax

from fxgrad.checkpoints.arrays import read_arrays
from fxgrad.checkpoints.folder import damaged_steps, found_steps, step_folder
from fxgrad.checkpoints.leaves import check_same, describe, named_leaves
from fxgrad.checkpoints.manifest import (
    ARRAYS,
    Manifest,
    check_contents,
    read_manifest,
    read_record,
)
from fxgrad.checkpoints.places import place_of, put
from fxgrad.checkpoints.restored import Restored, Skipped
from fxgrad.checkpoints.retention import Retention
from fxgrad.checkpoints.together import Channel
from fxgrad.errors import CheckpointError, TrainingWarning

Which = int | Literal["last", "best"]


class Reader:
    """Reads steps of a folder. The processes of a run call it together."""

    def __init__(self, folder: Path, retention: Retention) -> None:
        self._folder = folder
        self._retention = retention
        self._channel = Channel()

    def restore(self, like: Any, which: Which, *, strict: bool) -> Restored:
        """See `Checkpoints.restore`."""
        while True:
            choice = json.loads(self._channel.from_first(lambda: self._choice(which)))
            skipped = tuple(Skipped(*one) for one in choice["skipped"])
            if choice["step"] is None:
                raise _none(self._folder, which, skipped)
            read = self._read(choice["step"], choice["serial"], like, strict=strict)
            if all(self._channel.from_all("" if read is None else "read")) and read:
                _warn(self._folder, read.step, skipped)
                return dataclasses.replace(read, skipped=skipped)

    def _choice(self, which: Which) -> str:
        """The first of the wanted steps that is whole, and those before it, as JSON."""
        skipped: list[Skipped] = []
        for manifest in self._wanted(which):
            try:
                check_contents(step_folder(self._folder, manifest.step), manifest)
            except CheckpointError as error:
                if not self._is_there(manifest.step, manifest.serial):
                    return self._choice(which)  # a writer took it away; newer ones may be there
                skipped.append(Skipped(manifest.step, str(error)))
                continue
            skipped += self._without_manifest(which, manifest.step)
            chosen = {"step": manifest.step, "serial": manifest.serial}
            return json.dumps({**chosen, "skipped": skipped})
        return json.dumps({"step": None, "skipped": skipped + self._without_manifest(which, -1)})

    def _wanted(self, which: Which) -> Sequence[Manifest]:
        found = list(found_steps(self._folder).values())
        if which == "last":
            return found[::-1]
        if which == "best":
            return self._retention.ranked(found)[:1]
        return [manifest for manifest in found if manifest.step == which]

    def _without_manifest(self, which: Which, after: int) -> list[Skipped]:
        """Steps that may have been wanted, and whose manifest does not verify."""
        found = [Skipped(int(p.name), why) for p, why in damaged_steps(self._folder).items()]
        if which == "last":
            return [one for one in found if one.step > after]
        return [one for one in found if one.step == which]

    def _is_there(self, step: int, serial: int) -> bool:
        try:
            return read_manifest(step_folder(self._folder, step)).serial == serial
        except (CheckpointError, FileNotFoundError):
            return False

    def _read(self, step: int, serial: int, like: Any, *, strict: bool) -> Restored | None:
        """The step as a state; None if a writer has taken it away."""
        folder = step_folder(self._folder, step)
        try:
            manifest = read_manifest(folder)
            state = _state(manifest, folder, like, strict=strict)
            record = read_record(folder, manifest)
        except Exception:
            if self._is_there(step, serial):
                raise
            return None
        restored = Restored(state, step, record, manifest.metrics)
        return restored if self._is_there(step, serial) else None


def _state(manifest: Manifest, folder: Path, like: Any, *, strict: bool) -> Any:
    """The leaves of a step in the structure of `like`, each where that of `like` is."""
    wanted = named_leaves(like)
    check_same(
        {leaf.path: leaf for leaf in manifest.leaves},
        {path: describe(path, leaf, folder=folder) for path, leaf in wanted},
        strict=strict,
        needed={path for path, leaf in wanted if isinstance(leaf, jax.ShapeDtypeStruct)},
        path=folder,
        step=manifest.step,
    )
    numbers = {leaf.path: number for number, leaf in enumerate(manifest.leaves)}
    read = _arrays(manifest, folder, {numbers[p]: leaf for p, leaf in wanted if p in numbers})
    leaves = [read[numbers[path]] if path in numbers else leaf for path, leaf in wanted]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _arrays(manifest: Manifest, folder: Path, wanted: Mapping[int, Any]) -> dict[int, Any]:
    """The wanted leaves by their numbers; their values in `wanted` say where they go."""
    saved = {number: manifest.leaves[number] for number in wanted}
    places = {n: place_of(wanted[n]) for n, leaf in saved.items() if leaf.kind != "python"}
    try:
        read = read_arrays(
            folder / ARRAYS,
            {str(n): (saved[n].stored_shape, saved[n].stored_dtype) for n in places},
            {str(n): place.sharding for n, place in places.items()},
        )
    except Exception as error:
        raise CheckpointError(
            f"step {manifest.step} in {folder.parent} has its bytes, and cannot be brought to "
            f"where the state is: {error}",
            path=folder,
            step=manifest.step,
        ) from error
    python = {n: leaf.value for n, leaf in saved.items() if leaf.kind == "python"}
    return python | {n: put(read[str(n)], saved[n], place) for n, place in places.items()}


def _none(folder: Path, which: Which, skipped: Sequence[Skipped]) -> CheckpointError:
    wanted = {"last": "no step", "best": "no step with a finite metric"}.get(
        str(which), f"no step {which}"
    )
    return CheckpointError(
        f"{folder} has {wanted} that is whole.{_reasons(skipped)}",
        path=folder,
        step=which if isinstance(which, int) else None,
    )


def _warn(folder: Path, step: int, skipped: Sequence[Skipped]) -> None:
    if skipped:
        warnings.warn(
            f"Step {step} in {folder} is restored; newer ones are damaged.{_reasons(skipped)}",
            TrainingWarning,
            stacklevel=4,
        )


def _reasons(skipped: Sequence[Skipped]) -> str:
    return "".join(f"\n  step {one.step}: {one.reason}" for one in skipped)
