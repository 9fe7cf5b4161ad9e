"""Images: labelled handwriting (or clothes) of 28×28 pixels, from scikit-learn or from a folder.

Nothing is fetched. The formats belong to `idx` and `npz`, cutting into batches to `batches`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from fxgrad.data.idx import read_idx
from fxgrad.data.npz import read_members, read_npy
from fxgrad.errors import DataError, MissingExtraError

_SIDE: Final = 28
_CLASSES: Final = 10
_DIGITS_TEST: Final = 360
_IDX_NAMES: Final = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


@dataclass(frozen=True, eq=False, repr=False)
class ImageData:
    """Images and their labels, in a part to train on and a part to test on.

    Attributes:
      name: a short name for tables and file names.
      train: ``{"image": float32[n, 28, 28] in 0..1, "label": int32[n]}``.
      test: the same keys, dtypes and ranges; its own n.
      classes: labels are 0..classes-1.
      source: where the images come from, for people.
    """

    name: str
    train: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    classes: int
    source: str

    def __repr__(self) -> str:
        counts = f"{len(self.train['label'])} to train on, {len(self.test['label'])} to test on"
        return f"ImageData({self.name}: {counts}, {self.classes} classes, from {self.source})"


@dataclass(frozen=True)
class _Found:
    """An array as a file gave it, and the words that name it in an error."""

    path: Path
    field: str
    values: np.ndarray

    def error(self, message: str) -> DataError:
        return _error(self.path, self.field, message)


def load_images(data_dir: str | Path | None = None) -> ImageData:
    """The images of `data_dir`, or scikit-learn's digits for None.

    Raises:
      DataError: see `load_image_folder`.
      MissingExtraError: see `load_digits`.
    """
    return load_digits() if data_dir is None else load_image_folder(Path(data_dir))


def load_digits() -> ImageData:
    """scikit-learn's 1,797 handwritten digits, 8×8 pixels of 0..16, resized to 28×28.

    The last 360 (20 %) are for test and the first 1,437 for training, in the order of the file,
    as ``train_test_split(test_size=0.2, shuffle=False)`` has it: no seed moves the split. The
    resizing is ``jax.image.resize(..., "linear")``, in NumPy so that no device has a say in it.

    Returns:
      `ImageData` with 10 classes.

    Raises:
      MissingExtraError: scikit-learn is not installed.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository, 1998; its test set, as `sklearn.datasets.load_digits` brings it.
    """
    try:
        from sklearn import datasets  # noqa: PLC0415
    except ModuleNotFoundError as error:
        purpose = "load_digits()"
        raise MissingExtraError("scikit-learn", extra="data", purpose=purpose) from error
    digits: Any = datasets.load_digits()
    images = _resize((digits.images / 16).astype(np.float32))
    labels = digits.target.astype(np.int32)
    return ImageData(
        name="digits",
        train={"image": images[:-_DIGITS_TEST], "label": labels[:-_DIGITS_TEST]},
        test={"image": images[-_DIGITS_TEST:], "label": labels[-_DIGITS_TEST:]},
        classes=_CLASSES,
        source="scikit-learn's load_digits (UCI, Optical Recognition of Handwritten Digits)",
    )


def load_image_folder(data_dir: Path) -> ImageData:
    """MNIST, Fashion-MNIST or their like, from four IDX files or one .npz file in a folder.

    IDX: ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
    ``t10k-labels-idx1-ubyte``, or with a dot (``train-images.idx3-ubyte``), each plain or ``.gz``;
    of several forms of one file the plain one is read, and with a dash before a dot.

    NPZ: the arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test``. Nothing is unpickled.

    Images are uint8 of 0..255 or floats of 0..1, shape ``[n, 28, 28]``; labels are integers of
    0..9, shape ``[n]``.

    Args:
      data_dir: the folder.

    Returns:
      `ImageData` with 10 classes, named after the folder.

    Raises:
      DataError: the folder or a file is missing, ambiguous or damaged, or its numbers are not
        these. Its ``path`` is the file, or the folder; its ``field`` is ``folder``, ``image``,
        ``label``, the name of a missing file, an array's name in the .npz, ``npz``, or a field of
        `read_idx`.
    """
    if not data_dir.is_dir():
        raise _error(
            data_dir, "folder", "is not there, or is a file. Give a folder of IDX files or one .npz"
        )
    idx = {key: path for key, name in _IDX_NAMES.items() if (path := _find_idx(data_dir, name))}
    npz = sorted(data_dir.glob("*.npz"))
    if bool(idx) + len(npz) != 1:
        found = ", ".join(path.name for path in [*idx.values(), *npz]) or "neither"
        message = f"must hold the files of MNIST or one .npz, not both; found {found}"
        remedy = f"Put there {', '.join(_IDX_NAMES.values())}, plain or .gz, or one .npz alone"
        raise _error(data_dir, "folder", f"{message}. {remedy}")
    found = _read_npz(npz[0]) if npz else _read_idx_files(data_dir, idx)
    return ImageData(
        name=data_dir.resolve().name,
        train=_split(found["x_train"], found["y_train"]),
        test=_split(found["x_test"], found["y_test"]),
        classes=_CLASSES,
        source=str(npz[0] if npz else data_dir),
    )


def _find_idx(data_dir: Path, name: str) -> Path | None:
    dotted = name.replace("-idx", ".idx")
    candidates = (data_dir / form for form in (name, dotted, f"{name}.gz", f"{dotted}.gz"))
    return next((path for path in candidates if path.is_file()), None)


def _read_idx_files(data_dir: Path, idx: dict[str, Path]) -> dict[str, _Found]:
    for key, name in _IDX_NAMES.items():
        if key not in idx:
            beside = ", ".join(path.name for path in idx.values())
            message = f"is missing beside {beside}. Put it there, plain or .gz"
            raise _error(data_dir, name, message)
    fields = {key: "image" if key.startswith("x") else "label" for key in idx}
    return {key: _Found(path, fields[key], read_idx(path)) for key, path in idx.items()}


def _read_npz(path: Path) -> dict[str, _Found]:
    names, packed = read_members(path, _IDX_NAMES)
    for key in _IDX_NAMES:
        if key not in packed:
            message = f"is missing; the file holds {', '.join(names) or 'nothing'}"
            raise _error(path, key, f"{message}. Name its arrays {', '.join(_IDX_NAMES)}")
    return {key: _Found(path, key, read_npy(path, key, packed[key])) for key in _IDX_NAMES}


def _split(image: _Found, label: _Found) -> dict[str, np.ndarray]:
    images, labels = _checked_images(image), _checked_labels(label)
    if len(images) != len(labels):
        message = f"has {len(labels)} rows and {image.path.name}: {image.field} has {len(images)}"
        raise label.error(f"{message}. Give one label an image")
    return {"image": images, "label": labels}


def _checked_images(found: _Found) -> np.ndarray:
    images = found.values
    if images.ndim != 3 or images.shape[1:] != (_SIDE, _SIDE) or len(images) == 0:
        message = f"has shape {images.shape}; expected (n, {_SIDE}, {_SIDE}), n at least 1"
        raise found.error(f"{message}. Check that this is the file of images, or resize them")
    if images.dtype == np.uint8:
        return images.astype(np.float32) / 255
    if images.dtype.kind != "f":
        message = f"has dtype {images.dtype}; expected uint8 of 0..255 or floats of 0..1"
        raise found.error(f"{message}. Convert it")
    if not (images.min() >= 0 and images.max() <= 1):  # NaN is neither.
        message = f"runs from {images.min()} to {images.max()}; floats are to be within 0..1"
        raise found.error(f"{message}. Divide by the largest value, or write uint8 of 0..255")
    return images.astype(np.float32)


def _checked_labels(found: _Found) -> np.ndarray:
    labels = found.values
    if labels.ndim != 1 or len(labels) == 0:
        message = f"has shape {labels.shape}; expected (n,), n at least 1"
        raise found.error(f"{message}. Check that this is the file of labels")
    if labels.dtype.kind not in "iu":
        message = f"has dtype {labels.dtype}; expected integers of 0..{_CLASSES - 1}"
        raise found.error(f"{message}. Number the classes")
    outside = np.flatnonzero((labels < 0) | (labels >= _CLASSES))
    if len(outside):
        message = f"[{outside[0]}] is {labels[outside[0]]}; expected 0..{_CLASSES - 1}"
        raise found.error(f"{message}. Number the classes from 0")
    return labels.astype(np.int32)


def _resize(images: np.ndarray) -> np.ndarray:
    """``[n, side, side]`` of 0..1 to ``[n, 28, 28]``, linear between the centres of the pixels."""
    side = images.shape[1]
    place = np.clip((np.arange(_SIDE) + 0.5) * side / _SIDE - 0.5, 0, side - 1)
    before = np.minimum(place.astype(int), side - 2)
    share = (place - before).astype(np.float32)
    rows = images[:, before] * (1 - share)[:, None] + images[:, before + 1] * share[:, None]
    resized = rows[:, :, before] * (1 - share) + rows[:, :, before + 1] * share
    return np.clip(resized, 0, 1)


def _error(path: Path, field: str, message: str) -> DataError:
    return DataError(f"{path}: {field} {message}.", path=path, field=field)
