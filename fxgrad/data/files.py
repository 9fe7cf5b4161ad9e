"""Files as examples, each read when it is asked for: data sets that are larger than memory.

They are sequences, with ``len()`` and ``[index]``; `streams` cuts them into batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from fxgrad.data.fingerprint import fingerprint
from fxgrad.data.text import find_files, read_document
from fxgrad.errors import DataError, MissingExtraError

_ENDINGS: Final = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_SAMPLED: Final = 64


@dataclass(frozen=True)
class TextFiles:
    """The documents of a folder: ``files[index]`` is the text of one, in the order of the names.

    Attributes:
      folder: the folder, or one file.
      pattern: which files, as `pathlib.Path.rglob` takes it.

    Raises:
      DataError: there are none; or, where a document is read, it is not UTF-8.
    """

    folder: Path | str
    pattern: str = "*.txt"

    def __post_init__(self) -> None:
        _ = self._files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> str:
        return read_document(self._files[index][1])

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, over the names and sizes of all files, and the content of up to 64."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return fingerprint("TextFiles", _digest_of(self._files))

    @cached_property
    def _files(self) -> list[tuple[str, Path]]:
        return list(find_files(Path(self.folder), self.pattern).items())


@dataclass(frozen=True)
class ImageFiles:
    """Images in one folder a class, as most collections of images come: ``folder/cat/1.jpg``.

    ``files[index]`` is ``{"image": float32[height, width, channels] in 0..1, "label": int32[]}``.
    The images are read with Pillow and resized (bilinear, the shape not kept).

    Attributes:
      folder: the folder of the classes' folders.
      size: height and width in pixels.
      colour: ``"rgb"`` for three channels, ``"grey"`` for one.

    Raises:
      DataError: there are no images; or, where an image is read, it is damaged.
      MissingExtraError: Pillow is not installed.
    """

    folder: Path | str
    size: tuple[int, int]
    colour: Literal["rgb", "grey"] = "rgb"

    def __post_init__(self) -> None:
        _import_pillow()
        if self.colour not in ("rgb", "grey"):
            message = f"colour={self.colour!r} is unknown. Write 'rgb' or 'grey'."
            raise DataError(message, path=None, field="colour")
        if not self._files:
            message = f"{self.folder}: folder holds no images in folders of their classes"
            remedy = "Put them there as folder/class/name.png"
            raise DataError(f"{message}. {remedy}.", path=Path(self.folder), field="folder")

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        name, path = self._files[index]
        label = self.classes.index(name.partition("/")[0])
        return {"image": self._read(path), "label": np.asarray(label, np.int32)}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the folders, sorted: label 0 is the first."""
        return tuple(sorted({name.partition("/")[0] for name, _ in self._files}))

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, over the options, the files' names and sizes, and up to 64 files."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return fingerprint("ImageFiles", tuple(self.size), self.colour, _digest_of(self._files))

    @cached_property
    def _files(self) -> list[tuple[str, Path]]:
        found = Path(self.folder).glob("*/*")
        images = [p for p in found if p.suffix.lower() in _ENDINGS and p.is_file()]
        return sorted((f"{path.parent.name}/{path.name}", path) for path in images)

    def _read(self, path: Path) -> np.ndarray:
        pillow = _import_pillow()
        height, width = self.size
        try:
            with pillow.open(path) as opened:
                image = opened.convert("RGB" if self.colour == "rgb" else "L")
            pixels = np.asarray(image.resize((width, height), pillow.Resampling.BILINEAR))
        # Pillow raised OSError, SyntaxError, ValueError, struct.error and its own on damaged files.
        except Exception as error:
            message = f"{path}: image could not be read ({error}). Fetch the file again."
            raise DataError(message, path=path, field="image") from error
        return np.atleast_3d(pixels).astype(np.float32) / 255


def _digest_of(files: list[tuple[str, Path]]) -> str:
    sizes = [(name, path.stat().st_size) for name, path in files]
    sampled = np.unique(np.linspace(0, len(files) - 1, _SAMPLED).astype(int))
    return fingerprint(sizes, [files[place][1].read_bytes() for place in sampled])


def _import_pillow() -> Any:
    try:
        from PIL import Image  # noqa: PLC0415  (an extra)
    except ModuleNotFoundError as error:
        raise MissingExtraError("Pillow", extra="data", purpose="ImageFiles") from error
    return Image
