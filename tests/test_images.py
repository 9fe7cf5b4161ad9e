"""Images from scikit-learn, from IDX files and from .npz: what comes out, and what is refused."""

from __future__ import annotations

import gzip
import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from sklearn import datasets, model_selection

from fxgrad.data.images import ImageData, load_digits, load_image_folder, load_images
from fxgrad.errors import DataError, MissingExtraError

IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
CODES = {"uint8": 0x08, "int8": 0x09, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def small(**changes: Any) -> dict[str, np.ndarray]:
    """Three images to train on and two to test on, as a .npz holds them, with `changes`."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    pixels[:, 0, 0], pixels[:, 0, 1] = 0, 255
    labels = np.array([5, 0, 9, 1, 3], np.uint8)
    arrays = {
        "x_train": pixels[:3],
        "y_train": labels[:3],
        "x_test": pixels[3:],
        "y_test": labels[3:],
    }
    return arrays | changes


def idx_bytes(array: np.ndarray) -> bytes:
    magic = bytes([0, 0, CODES[array.dtype.name], array.ndim])
    content = array.astype(array.dtype.newbyteorder(">")).tobytes()
    return magic + np.array(array.shape, ">u4").tobytes() + content


def write_idx(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    for key, array in arrays.items():
        (folder / IDX_NAMES[key]).write_bytes(idx_bytes(array))
    return folder


def write_npz(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez_compressed(folder / "mnist.npz", **arrays)  # type: ignore[arg-type]
    return folder


WRITERS = {"idx": write_idx, "npz": write_npz}
Writer = Callable[[Path, dict[str, np.ndarray]], Path]
each_format = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())


def file_and_field(write: Writer, key: str) -> tuple[str, str]:
    if write is write_npz:
        return "mnist.npz", key
    return IDX_NAMES[key], "image" if key.startswith("x") else "label"


def refusal(folder: Path, name: str, field: str) -> str:
    with pytest.raises(DataError) as caught:
        load_image_folder(folder)
    path = folder / name if name else folder
    assert caught.value.path == path
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{path}: {field}")
    return str(caught.value)


def assert_holds(data: ImageData, arrays: dict[str, np.ndarray]) -> None:
    for part, end in ((data.train, "train"), (data.test, "test")):
        assert sorted(part) == ["image", "label"]
        assert part["image"].dtype == np.float32
        assert part["label"].dtype == np.int32
        np.testing.assert_allclose(part["image"], arrays[f"x_{end}"] / 255, rtol=1e-6)
        np.testing.assert_array_equal(part["label"], arrays[f"y_{end}"])
        assert part["image"].min() == 0
        assert part["image"].max() == 1


def test_the_digits_are_the_real_ones_in_the_order_of_the_file() -> None:
    data = load_digits()
    assert (data.name, data.classes) == ("digits", 10)
    raw: Any = datasets.load_digits()
    labels = np.concatenate([data.train["label"], data.test["label"]])
    np.testing.assert_array_equal(labels, raw.target)
    images = np.concatenate([data.train["image"], data.test["image"]])
    expected = jax.image.resize((raw.images / 16).astype(np.float32), (1797, 28, 28), "linear")
    np.testing.assert_allclose(images, np.clip(np.asarray(expected), 0, 1), atol=1e-6)


def test_the_digits_have_the_promised_shapes_dtypes_and_range() -> None:
    data = load_digits()
    for part, examples in ((data.train, 1437), (data.test, 360)):
        assert part["image"].shape == (examples, 28, 28)
        assert part["image"].dtype == np.float32
        assert part["image"].min() == 0
        assert part["image"].max() == 1
        assert part["label"].shape == (examples,)
        assert part["label"].dtype == np.int32
        assert set(part["label"].tolist()) == set(range(10))


def test_the_digits_are_split_as_scikit_learn_splits_without_shuffling() -> None:
    data = load_digits()
    target = datasets.load_digits(return_X_y=True)[1]
    train, test = model_selection.train_test_split(target, test_size=0.2, shuffle=False)
    np.testing.assert_array_equal(data.train["label"], train)
    np.testing.assert_array_equal(data.test["label"], test)


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fxgrad\[data\]'") as caught:
        load_digits()
    assert caught.value.extra == "data"


def test_no_folder_means_the_digits_and_a_folder_means_its_files(tmp_path: Path) -> None:
    assert load_images(None).name == "digits"
    assert load_images(write_npz(tmp_path, small())).name == tmp_path.name


@each_format
def test_a_folder_gives_images_of_0_to_1_and_labels(tmp_path: Path, write: Writer) -> None:
    data = load_image_folder(write(tmp_path, small()))
    assert_holds(data, small())
    assert (data.name, data.classes) == (tmp_path.name, 10)
    assert str(tmp_path) in data.source


@each_format
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_of_0_to_1_are_taken_as_they_are(tmp_path: Path, write: Writer, dtype: type) -> None:
    scaled = {key: (small()[key] / 255).astype(dtype) for key in ("x_train", "x_test")}
    assert_holds(load_image_folder(write(tmp_path, small(**scaled))), small())


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint64, ">i4"])
def test_labels_may_have_any_integer_dtype(tmp_path: Path, dtype: Any) -> None:
    labels = {key: small()[key].astype(dtype) for key in ("y_train", "y_test")}
    assert_holds(load_image_folder(write_npz(tmp_path, small(**labels))), small())


@pytest.mark.parametrize("dot", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_may_have_a_dot_and_be_gzip(tmp_path: Path, dot: bool, packed: bool) -> None:
    for key, name in IDX_NAMES.items():
        content = idx_bytes(small()[key])
        name = name.replace("-idx", ".idx") if dot else name
        path = tmp_path / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)
    assert_holds(load_image_folder(tmp_path), small())


def test_a_plain_file_goes_before_its_gzip(tmp_path: Path) -> None:
    write_idx(tmp_path, small())
    for name in IDX_NAMES.values():
        (tmp_path / f"{name}.gz").write_bytes(b"not read")
    assert_holds(load_image_folder(tmp_path), small())


def test_other_arrays_in_the_npz_are_not_looked_at(tmp_path: Path) -> None:
    write_npz(tmp_path, small(notes=np.array([{}], object)))
    assert_holds(load_image_folder(tmp_path), small())


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "is not there" in refusal(tmp_path / "absent", "", "folder")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    write_npz(tmp_path, small())
    assert "Give a folder" in refusal(tmp_path / "mnist.npz", "", "folder")


def test_a_folder_with_neither_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    message = refusal(tmp_path, "", "folder")
    assert "found neither" in message
    assert "train-images-idx3-ubyte" in message


def test_a_folder_with_both_is_refused(tmp_path: Path) -> None:
    write_npz(tmp_path, small())
    message = refusal(write_idx(tmp_path, small()), "", "folder")
    assert "train-images-idx3-ubyte" in message
    assert "mnist.npz" in message


def test_two_npz_files_are_refused_by_name(tmp_path: Path) -> None:
    write_npz(tmp_path, small())
    (tmp_path / "other.npz").write_bytes(b"")
    assert "mnist.npz, other.npz" in refusal(tmp_path, "", "folder")


@pytest.mark.parametrize("key", IDX_NAMES)
def test_a_missing_idx_file_is_named(tmp_path: Path, key: str) -> None:
    write_idx(tmp_path, small())
    (tmp_path / IDX_NAMES[key]).unlink()
    assert "is missing beside" in refusal(tmp_path, "", IDX_NAMES[key])


@pytest.mark.parametrize("key", IDX_NAMES)
def test_a_damaged_idx_file_is_named(tmp_path: Path, key: str) -> None:
    write_idx(tmp_path, small())
    content = (tmp_path / IDX_NAMES[key]).read_bytes()
    (tmp_path / IDX_NAMES[key]).write_bytes(content[:-1])
    refusal(tmp_path, IDX_NAMES[key], "data")


@pytest.mark.parametrize("key", IDX_NAMES)
def test_a_missing_npz_array_is_named_with_those_found(tmp_path: Path, key: str) -> None:
    arrays = small()
    arrays["other"] = arrays.pop(key)
    message = refusal(write_npz(tmp_path, arrays), "mnist.npz", key)
    assert f"the file holds {', '.join(arrays)}." in message


@each_format
@pytest.mark.parametrize(("images", "labels"), [("x_train", "y_train"), ("x_test", "y_test")])
def test_different_counts_are_refused_with_both(
    tmp_path: Path, write: Writer, images: str, labels: str
) -> None:
    arrays = small()
    count = len(arrays[labels])
    arrays[labels] = arrays[labels][:-1]
    message = refusal(write(tmp_path, arrays), *file_and_field(write, labels))
    image_file, image_field = file_and_field(write, images)
    assert f"has {count - 1} rows and {image_file}: {image_field} has {count}" in message


WRONG_IMAGES = {
    "32 by 32": (np.zeros((3, 32, 32), np.uint8), "(3, 32, 32)"),
    "28 by 27": (np.zeros((3, 28, 27), np.uint8), "(3, 28, 27)"),
    "one long row": (np.zeros((3, 784), np.uint8), "(3, 784)"),
    "colour": (np.zeros((3, 28, 28, 3), np.uint8), "(3, 28, 28, 3)"),
    "labels": (np.zeros(3, np.uint8), "(3,)"),
    "none": (np.zeros((0, 28, 28), np.uint8), "(0, 28, 28)"),
    "int32": (np.zeros((3, 28, 28), np.int32), "dtype int32"),
    "int8": (np.zeros((3, 28, 28), np.int8), "dtype int8"),
    "above 1": (np.full((3, 28, 28), 1.5, np.float32), "1.5"),
    "below 0": (np.full((3, 28, 28), -0.5, np.float32), "-0.5"),
    "not a number": (np.full((3, 28, 28), np.nan, np.float32), "nan"),
    "infinite": (np.full((3, 28, 28), np.inf, np.float32), "inf"),
}
WRONG_LABELS = {
    "images": (np.zeros((3, 28, 28), np.uint8), "(3, 28, 28)"),
    "one hot": (np.zeros((3, 10), np.uint8), "(3, 10)"),
    "none": (np.zeros(0, np.uint8), "(0,)"),
    "ten": (np.array([0, 9, 10], np.uint8), "[2] is 10"),
    "below zero": (np.array([0, -1, -2], np.int8), "[1] is -1"),
    "floats": (np.array([0, 1, 2], np.float32), "dtype float32"),
}


@each_format
@pytest.mark.parametrize(("images", "found"), WRONG_IMAGES.values(), ids=WRONG_IMAGES.keys())
def test_wrong_images_are_refused_with_what_was_found(
    tmp_path: Path, write: Writer, images: np.ndarray, found: str
) -> None:
    write(tmp_path, small(x_train=images))
    assert found in refusal(tmp_path, *file_and_field(write, "x_train"))


@each_format
@pytest.mark.parametrize(("labels", "found"), WRONG_LABELS.values(), ids=WRONG_LABELS.keys())
def test_wrong_labels_are_refused_with_what_was_found(
    tmp_path: Path, write: Writer, labels: np.ndarray, found: str
) -> None:
    write(tmp_path, small(y_test=labels))
    assert found in refusal(tmp_path, *file_and_field(write, "y_test"))


@pytest.mark.parametrize("value", [np.nan, 1.0001, -0.0001])
def test_one_wrong_pixel_is_enough(tmp_path: Path, value: float) -> None:
    images = small()["x_test"] / 255
    images[1, 27, 27] = value
    refusal(write_npz(tmp_path, small(x_test=images)), "mnist.npz", "x_test")


@pytest.mark.parametrize(
    "labels", [np.array([True, False]), np.array(["1", "2"]), np.array([2**40, 2**63], np.uint64)]
)
def test_npz_labels_of_other_kinds_are_refused(tmp_path: Path, labels: np.ndarray) -> None:
    refusal(write_npz(tmp_path, small(y_test=labels)), "mnist.npz", "y_test")


def test_a_truncated_npz_is_refused_at_every_length(tmp_path: Path) -> None:
    content = write_npz(tmp_path, small()) / "mnist.npz"
    whole = content.read_bytes()
    for length in range(0, len(whole), 11):
        content.write_bytes(whole[:length])
        refusal(tmp_path, "mnist.npz", "npz")


def test_a_wrong_byte_in_an_array_is_refused_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    np.savez(path, **small())  # type: ignore[arg-type]
    whole = path.read_bytes()
    position = whole.index(small()["x_train"].tobytes()) + 500
    path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
    assert "CRC" in refusal(tmp_path, "mnist.npz", "npz")


springs: list[str] = []


def spring() -> None:
    springs.append("unpickled")


class Trap:
    """Unpickling it calls `spring`, which raises nothing that the reader could catch."""

    def __reduce__(self) -> tuple[Any, ...]:
        return spring, ()


def test_an_array_of_objects_is_refused_and_not_unpickled(tmp_path: Path) -> None:
    traps = np.array([Trap(), Trap()], object)
    message = refusal(write_npz(tmp_path, small(y_test=traps)), "mnist.npz", "y_test")
    assert "nothing is unpickled" in message
    assert not springs


def write_members(
    path: Path, *, changes: dict[str, bytes] | None = None, kind: int = zipfile.ZIP_STORED
) -> None:
    members: dict[str, bytes] = {}
    for key, array in small().items():
        stream = io.BytesIO()
        np.save(stream, array)
        members[f"{key}.npy"] = stream.getvalue()
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in (members | (changes or {})).items():
            archive.writestr(name, content)


def npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"no npy file",
        npy(""),
        npy("((("),
        npy("-" * 9000 + "1"),
        npy("{b'descr': '|u1', 'fortran_order': False, 'shape': (2, 28, 28)}"),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (02, 28, 28)}"),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 28, 28)}"),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999999999999,)}"),
    ],
)
def test_a_member_that_is_no_array_is_refused(tmp_path: Path, member: bytes) -> None:
    write_members(tmp_path / "mnist.npz", changes={"x_test.npy": member})
    refusal(tmp_path, "mnist.npz", "x_test")


def test_a_compression_that_numpy_does_not_write_is_refused(tmp_path: Path) -> None:
    write_members(tmp_path / "mnist.npz", kind=zipfile.ZIP_BZIP2)
    assert "compression 12" in refusal(tmp_path, "mnist.npz", "npz")
