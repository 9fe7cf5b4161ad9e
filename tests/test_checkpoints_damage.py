"""Damaged, hostile and odd folders: one clear error, or the newest step that is whole."""

import json
import os
import random
import re
import shutil
import subprocess

import numpy as np
import pytest

from fxgrad.checkpoints import manifest as manifests
from fxgrad.checkpoints import writing
from fxgrad.checkpoints.leaves import Leaf
from fxgrad.checkpoints.manifest import Manifest, StoredFile
from fxgrad.errors import CheckpointError, TrainingWarning
from fxgrad.train import Checkpoints
from tests.checkpoint_folder import (
    LIKE,
    bits_of,
    files_of,
    listing,
    restore_quietly,
    saved_steps,
    state_of,
)


def test_no_flipped_bit_is_read_as_something_else(tmp_path):
    folder = saved_steps(tmp_path / "c", 1, 2)
    rng = random.Random(0)
    refused = 0
    for path in files_of(folder / "00000002"):
        content = path.read_bytes()
        for _ in range(4):
            flipped = bytearray(content)
            flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(flipped)
            restored = restore_quietly(folder)
            assert bits_of(restored.state) == bits_of(state_of(restored.step))
            refused += restored.step == 1
            with pytest.raises(CheckpointError):
                restore_quietly(folder, step=2)
            with pytest.raises(CheckpointError):
                Checkpoints(folder).verify(2)
        path.write_bytes(content)
    assert refused == 4 * len(files_of(folder / "00000002"))
    assert restore_quietly(folder).step == 2


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def empty(path):
    path.write_bytes(b"")


def delete(path):
    path.unlink()


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"\0")


def link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [truncate, zero, empty, delete, lengthen, link, fifo, folder])
def test_every_damaged_file_makes_its_step_no_step(tmp_path, damage):
    pristine = saved_steps(tmp_path / "pristine", 1, 2)
    for file in files_of(pristine / "00000002"):
        folder = shutil.copytree(pristine, tmp_path / "copy")
        damage(folder / file.relative_to(pristine))
        restored = restore_quietly(folder)
        assert (restored.step, bits_of(restored.state)) == (1, bits_of(state_of(1)))
        shutil.rmtree(folder)


def test_a_restore_that_passes_a_step_over_says_which_and_why(tmp_path):
    folder = saved_steps(tmp_path, 1, 2, 3)
    largest = max(files_of(folder / "00000003" / "arrays"), key=lambda path: path.stat().st_size)
    zero(largest)
    truncate(folder / "00000002" / "manifest.json")
    with pytest.warns(TrainingWarning, match=r"(?s)Step 1 in .* is restored.*step 3: .*step 2: "):
        restored = Checkpoints(folder).restore(LIKE)
    assert (restored.step, restored.record) == (1, {"position": 1})
    assert [skipped.step for skipped in restored.skipped] == [3, 2]
    assert "its bytes are not those that were written" in restored.skipped[0].reason
    assert "its checksum is wrong" in restored.skipped[1].reason
    with pytest.raises(CheckpointError, match=r"no step 3 that is whole.*(?s:.*)its bytes"):
        Checkpoints(folder).restore(LIKE, step=3)
    with pytest.raises(CheckpointError, match=r"no step 2 that is whole.*(?s:.*)its checksum"):
        Checkpoints(folder).restore(LIKE, step=2)


@pytest.mark.parametrize("held", ["before", "after", "again"])
def test_a_damaged_step_does_not_push_out_a_whole_one(tmp_path, held):
    """Whether the writer's lock is held before the restore, from then on, or closed between."""
    folder = saved_steps(tmp_path, 1, 2, 3)
    for step in ("00000002", "00000003"):
        zero(max(files_of(folder / step / "arrays"), key=lambda path: path.stat().st_size))
    checkpoints = Checkpoints(folder, keep_last=2, keep_best=0)
    if held != "after":
        checkpoints.__enter__()
    with pytest.warns(TrainingWarning):
        checkpoints.restore(LIKE)
    if held == "again":
        checkpoints.close()
    checkpoints.save(state_of(4), step=4)
    checkpoints.wait()
    assert checkpoints.steps() == (1, 4)
    checkpoints.close()


def test_a_damaged_step_that_another_writer_has_saved_again_is_kept(tmp_path):
    folder = saved_steps(tmp_path, 1, 2, 3)
    zero(max(files_of(folder / "00000003" / "arrays"), key=lambda path: path.stat().st_size))
    checkpoints = Checkpoints(folder, keep_last=2, keep_best=0)
    with pytest.warns(TrainingWarning):
        checkpoints.restore(LIKE)
    with Checkpoints(folder) as other:
        other.save(state_of(3), step=3)
    checkpoints.save(state_of(4), step=4)
    checkpoints.close()
    assert checkpoints.steps() == (3, 4)


def test_a_file_that_the_manifest_does_not_list_is_not_read(tmp_path):
    folder = saved_steps(tmp_path, 1, 2)
    (folder / "00000002" / "arrays" / "array_metadatas" / "process_1").write_text("{}")
    assert restore_quietly(folder).step == 1


def test_odd_names_are_no_steps_and_nothing_outside_is_touched(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    folder = saved_steps(tmp_path / "in", 7)
    (folder / "50").mkdir()
    (folder / "00000060").mkdir()
    (folder / "00000061").symlink_to(outside)
    (folder / "00000062").write_text("a file")
    (folder / ".saving-00000063").symlink_to(outside)
    (folder / ".replaced-00000064").symlink_to(outside)
    (folder / ".saving-00000065").mkdir()
    (folder / ".saving-00000065" / "link").symlink_to(outside)
    (folder / "00000066").mkdir()
    (folder / "00000066" / "manifest.json").symlink_to(outside / "precious")
    (folder / ("9" * 200)).mkdir()
    (folder / "0000007\u0661").mkdir()
    shutil.copytree(folder / "00000007", folder / "00000067")
    before = listing(outside)
    assert Checkpoints(folder).steps() == (7,)
    assert restore_quietly(folder).step == 7
    with Checkpoints(folder, keep_last=1, keep_best=0) as checkpoints:
        for step in (61, 62):
            with pytest.raises(CheckpointError, match="has the name of a step"):
                save_now(checkpoints, step)
        checkpoints.save(state_of(60), step=60)
        checkpoints.wait()
        assert checkpoints.steps() == (60,)
    assert listing(outside) == before
    assert not (folder / ".saving-00000065").exists()
    assert (folder / "50").exists()
    assert (folder / "00000067").exists()


def save_now(checkpoints, step):
    checkpoints.save(state_of(step), step=step)
    checkpoints.wait()


def hostile(**changes):
    """A manifest with a right checksum and wrong contents."""
    leaf = Leaf("['w']", "array", "float32", (8, 8), False, "", (8, 8))
    whole = Manifest(2, 9, (leaf,), (), {}, {})
    content = {"format": 1, **json.loads(whole.to_bytes())["manifest"], **changes}
    return manifests._framed(json.dumps(content).encode())


@pytest.mark.parametrize(
    "content",
    [
        hostile(files=[{"name": "../../outside", "bytes": 4, "sha256": ""}]),
        hostile(files=[{"name": "/etc/passwd", "bytes": 4, "sha256": ""}]),
        hostile(files=[{"name": "arrays/../../x", "bytes": 4, "sha256": ""}]),
        hostile(files=[{"name": "arrays/x\0", "bytes": 4, "sha256": ""}]),
        hostile(files=[{"name": "arrays/" + "x" * 300, "bytes": 4, "sha256": ""}]),
        hostile(files=[{"name": "arrays/x", "bytes": -1, "sha256": ""}]),
        hostile(files=[{"name": 3, "bytes": 1, "sha256": ""}]),
        hostile(files=3),
        hostile(step=True),
        hostile(step=1),
        hostile(serial=10**30),
        hostile(serial=-1),
        hostile(format=2),
        hostile(versions=[]),
        hostile(metrics={"loss": "low"}),
        hostile(leaves=[{"path": "w"}]),
        hostile(leaves=[{"shape": [-1], "stored_shape": [], "path": "", "kind": "", "dtype": ""}]),
        hostile(leaves=[{"shape": 1, "stored_shape": 1, "new": 1}]),
        manifests._framed(b"[" * 100_000),
        manifests._framed(b"9" * 10_000),
        manifests._framed(b"\xff"),
        manifests._framed(b"null"),
        b"",
        b"{}",
        b"x" * (64 * 2**20 + 1),
    ],
    ids=lambda content: str(content[82:142]),
)
def test_a_manifest_that_lies_is_refused_with_one_error(tmp_path, content):
    folder = saved_steps(tmp_path / "c", 1, 2)
    (tmp_path / "outside").write_text("1234")
    (folder / "00000002" / "manifest.json").write_bytes(content)
    assert restore_quietly(folder).step == 1
    with pytest.raises(CheckpointError):
        restore_quietly(folder, step=2)
    with pytest.raises(CheckpointError):
        Checkpoints(folder).verify(2)
    assert (tmp_path / "outside").read_text() == "1234"


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (2**40, 2**40), "stored_shape": (2**40, 2**40)},
        {"dtype": "float64"},
        {"dtype": "object"},
        {"kind": "key", "dtype": "key<fry>", "shape": (), "stored_shape": (2,)},
        {"kind": "python", "dtype": "float"},
        {"path": "['x']"},
    ],
)
def test_a_manifest_that_lies_about_a_leaf_gives_no_array(tmp_path, change):
    folder = saved_steps(tmp_path, 2)
    path = folder / "00000002" / "manifest.json"
    content = json.loads(path.read_bytes())["manifest"]
    content["leaves"] = [
        {**leaf, **change} if leaf["path"] == "['w']" else leaf for leaf in content["leaves"]
    ]
    path.write_bytes(manifests._framed(json.dumps(content).encode()))
    with pytest.raises(CheckpointError):
        restore_quietly(folder, step=2)


def test_a_manifest_says_the_same_after_writing_and_reading():
    leaf = Leaf("['é']", "python", "int", value=2**70)
    file = StoredFile("arrays/d/0", 3, "ab")
    whole = Manifest(2, 9, (leaf,), (file,), {"loss": 0.1}, {"jax": "1"})
    assert Manifest.from_bytes(whole.to_bytes()) == whole


def test_a_full_disk_is_an_error_with_both_sizes_and_the_next_save_works(tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        folder = saved_steps(disk / "c", 1)
        for overhead in (2**16, -30_000):  # refused before, and refused while writing
            monkeypatch.setattr(writing, "_OVERHEAD_BYTES", overhead)
            free = shutil.disk_usage(disk).free
            (disk / "filler").write_bytes(bytes(free - 50_000))
            checkpoints = Checkpoints(folder)
            with pytest.raises(CheckpointError) as caught:
                save_big(checkpoints)
            said = re.search(r"needs (\d+) bytes .* has (\d+) .* free", str(caught.value))
            assert said, caught.value
            needed, free = map(int, said.groups())
            assert (needed > free) == (overhead > 0)
            assert sorted(path.name for path in folder.iterdir()) == ["00000001", "writer.lock"]
            assert checkpoints.steps() == (1,)
            (disk / "filler").unlink()
            save_big(checkpoints)
            assert checkpoints.steps() == (1, 2)
            shutil.rmtree(folder / "00000002")
            checkpoints.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def save_big(checkpoints):
    rng = np.random.default_rng(0)
    checkpoints.save({"w": rng.normal(size=(100, 100)).astype("float32")}, step=2)
    checkpoints.wait()
