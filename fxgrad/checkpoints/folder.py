"""The folder of the checkpoints: which steps are there, how one comes, how one goes.

A step is written beside its place and renamed; it goes with its manifest first. Between the two
moments it is there whole; at any other it is not there.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from fxgrad.checkpoints.manifest import (
    ARRAYS,
    MANIFEST,
    RECORD,
    Manifest,
    StoredFile,
    check_contents,
    check_sizes,
    describe_file,
    read_manifest,
)
from fxgrad.errors import CheckpointError

_STEP: Final = re.compile(r"0\d{7}|[1-9]\d{7,18}")
_SAVING: Final = re.compile(r"\.saving-(?:0\d{7}|[1-9]\d{7,18})")
_REPLACED: Final = re.compile(r"\.replaced-(0\d{7}|[1-9]\d{7,18})")


def step_folder(folder: Path, step: int) -> Path:
    """Where a step is once it is saved."""
    return folder / f"{step:08d}"


def saving_folder(folder: Path, step: int) -> Path:
    """Where a step is while it is written."""
    return folder / f".saving-{step:08d}"


def found_steps(folder: Path) -> dict[Path, Manifest]:
    """The steps whose manifest verifies and whose files have their sizes, oldest save first."""
    found = {}
    for path in _folders(folder, _STEP):
        with contextlib.suppress(CheckpointError, FileNotFoundError):
            manifest = read_manifest(path)
            check_sizes(path, manifest)
            found[path] = manifest
    return dict(sorted(found.items(), key=lambda item: item[1].serial))


def damaged_steps(folder: Path) -> dict[Path, str]:
    """The folders of steps whose manifest is there and does not verify, with the reasons."""
    found = {}
    for path in _folders(folder, _STEP):
        try:
            check_sizes(path, read_manifest(path))
        except CheckpointError as error:
            found[path] = str(error)
        except FileNotFoundError:
            continue
    return found


def is_whole(folder: Path, step: int) -> bool:
    """Whether a step is there and every byte of it is what was written."""
    path = step_folder(folder, step)
    try:
        check_contents(path, read_manifest(path))
    except (CheckpointError, FileNotFoundError):
        return False
    return True


def make_durable(saving: Path) -> tuple[StoredFile, ...]:
    """Write all files of a step through to the disk, and take their checksums."""
    paths = sorted(path for path in saving.rglob("*") if path.is_file())
    names = [path.relative_to(saving).as_posix() for path in paths]
    folders = {parent for path in paths for parent in path.parents if saving in parent.parents}
    with ThreadPoolExecutor() as pool:  # hashes let other threads run, and syncs wait together
        files = tuple(pool.map(describe_file, paths, names))
        list(pool.map(sync_folder, folders))
    return files


def commit(saving: Path, manifest: Manifest) -> None:
    """Write the manifest and give the step its place; a step that had it goes."""
    with (saving / MANIFEST).open("xb") as file:
        file.write(manifest.to_bytes())
        file.flush()
        os.fsync(file.fileno())
    sync_folder(saving)
    place = step_folder(saving.parent, manifest.step)
    replaced = place.with_name(f".replaced-{place.name}")
    if os.path.lexists(place):
        _check_is_folder(place)
        place.rename(replaced)
    saving.rename(place)
    sync_folder(saving.parent)
    remove(replaced)


def remove(path: Path) -> None:
    """Take a step away: its manifest first, then the rest."""
    with contextlib.suppress(FileNotFoundError):
        (path / MANIFEST).unlink()
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def sweep(folder: Path) -> None:
    """Take away what a writer that was killed left: half-written and half-removed steps.

    A step that was about to be replaced gets its place back. Symbolic links, files, and folders
    with other names are left alone, and so is a step whose manifest is damaged.
    """
    for path in _folders(folder, _REPLACED):
        place = folder / path.name.removeprefix(".replaced-")
        if os.path.lexists(place):
            remove(path)
        else:
            path.rename(place)
    for path in _folders(folder, _SAVING):
        remove(path)
    for path in _folders(folder, _STEP):
        if not os.path.lexists(path / MANIFEST) and {*os.listdir(path)} <= {ARRAYS, RECORD}:
            remove(path)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder through to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_is_folder(place: Path) -> None:
    if place.is_symlink() or not place.is_dir():
        raise CheckpointError(
            f"{place} is no folder, and has the name of a step: move it away.", path=place
        )


def _folders(folder: Path, pattern: re.Pattern[str]) -> Iterator[Path]:
    """The folders of such a name, symbolic links not among them, in the order of their names."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from (folder / name for name in names if pattern.fullmatch(name))
