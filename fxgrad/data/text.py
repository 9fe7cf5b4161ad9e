"""Text: files of UTF-8 as documents, and long arrays of tokens as examples of one length.

How text becomes tokens is the user's affair; documents too large for memory belong to `files`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fxgrad.errors import DataError


def load_text(path: str | Path, *, pattern: str = "*.txt") -> dict[str, str]:
    """The documents of a file, or of all files in a folder and the folders below it.

    Args:
      path: the file or folder.
      pattern: which files of a folder, as `pathlib.Path.rglob` takes it.

    Returns:
      The text of each file by its path within the folder (with ``/``, sorted), or by its name for
      a single file. Line ends are those of the file.

    Raises:
      DataError: there is no such file, or none in the folder; or one is not UTF-8, and the message
        names the byte. Its ``path`` is the file.
    """
    root = Path(path)
    return {name: read_document(file) for name, file in find_files(root, pattern).items()}


def windows(tokens: np.ndarray, length: int, *, stride: int | None = None) -> np.ndarray:
    """A long array of tokens as examples of `length`, without copying.

    For inputs and targets that are shifted by one, take ``windows(tokens, length + 1,
    stride=length)``: each token but the first is a target once.

    Args:
      tokens: any dtype, shape ``[n]``, also mapped from a file (`numpy.memmap`).
      length: tokens in an example, 1 to n.
      stride: tokens from the beginning of one example to the next; `length` for None. The tokens
        that fill no window at the end are left out.

    Returns:
      A read-only view of `tokens`, shape ``[1 + (n - length) // stride, length]``.

    Raises:
      DataError: `tokens` has another number of dimensions; `length` or `stride` is below 1, or
        `length` above n.
    """
    if not isinstance(tokens, np.ndarray) or tokens.ndim != 1:
        message = f"tokens has shape {np.shape(tokens)}. Give a NumPy array of one dimension"
        raise DataError(f"{message}: numpy.concatenate(documents).", path=None, field="tokens")
    stride = length if stride is None else stride
    for field, value in (("length", length), ("stride", stride)):
        if value < 1:
            message = f"{field}={value} is below 1. Write {field}=1 or more."
            raise DataError(message, path=None, field=field)
    if length > len(tokens):
        message = f"length={length} is more than the {len(tokens)} tokens. Write a shorter length."
        raise DataError(message, path=None, field="length")
    return np.lib.stride_tricks.sliding_window_view(tokens, length)[::stride]


def find_files(root: Path, pattern: str) -> dict[str, Path]:
    """The files of a folder that fit `pattern`, by their path in it, sorted; or `root` itself.

    Raises:
      DataError: there are none.
    """
    if root.is_file():
        return {root.name: root}
    found = {
        file.relative_to(root).as_posix(): file for file in root.rglob(pattern) if file.is_file()
    }
    if not found:
        what = f"holds no file {pattern}" if root.is_dir() else "is not there"
        message = f"{root}: file {what}. Give a file, or a folder of them and a pattern."
        raise DataError(message, path=root, field="file")
    return dict(sorted(found.items()))


def read_document(file: Path) -> str:
    """The text of one file.

    Raises:
      DataError: it cannot be read, or is not UTF-8.
    """
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} is 0x{error.object[error.start]:02x}, which is not UTF-8"
        remedy = "Write the file again in UTF-8"
        message = f"{file}: text {byte} ({error.reason}). {remedy}."
        raise DataError(message, path=file, field="text") from error
    except OSError as error:
        message = f"{file}: file could not be read: {error.strerror or error}. Check the path."
        raise DataError(message, path=file, field="file") from error
