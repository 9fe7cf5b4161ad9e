"""`read_idx`: every dtype, plain and gzip, and each way in which a file can be wrong."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fxgrad.data.idx import read_idx
from fxgrad.errors import DataError

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
HEADER_BYTES = 4 + 3 * 4
CODES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda content: gzip.compress(content, mtime=0),
}
packings = pytest.mark.parametrize("pack", PACKINGS.values(), ids=PACKINGS.keys())


def idx_bytes(array: np.ndarray, code: int = 0x08) -> bytes:
    magic = bytes([0, 0, code, array.ndim])
    return magic + np.array(array.shape, ">u4").tobytes() + array.astype(CODES[code]).tobytes()


def write(folder: Path, content: bytes) -> Path:
    path = folder / "images"
    path.write_bytes(content)
    return path


def refusal(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read_idx(path)
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: {caught.value.field} ")
    return caught.value


def header(*shape: int, code: int = 0x08) -> bytes:
    return bytes([0, 0, code, len(shape)]) + np.array(shape, ">u4").tobytes()


@packings
@pytest.mark.parametrize("code", CODES)
def test_every_type_code_gives_its_numbers_in_native_order(
    tmp_path: Path, code: int, pack: Callable[[bytes], bytes]
) -> None:
    dtype = np.dtype(CODES[code])
    extreme = np.iinfo(dtype).min if dtype.kind in "iu" else np.finfo(dtype).min
    written = np.array([[0, 1, 2], [100, 127, extreme]], dtype)
    read = read_idx(write(tmp_path, pack(idx_bytes(written, code))))
    assert read.dtype == dtype.newbyteorder("=")
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, written)


@packings
@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (1, 2, 3, 4, 5), (0,), (2, 0, 3), (1,) * 64])
def test_any_number_of_dimensions_is_read(
    tmp_path: Path, shape: tuple[int, ...], pack: Callable[[bytes], bytes]
) -> None:
    written = np.arange(np.prod(shape, dtype=int), dtype=np.uint8).reshape(shape)
    read = read_idx(write(tmp_path, pack(idx_bytes(written))))
    assert read.shape == shape
    np.testing.assert_array_equal(read, written)


@pytest.mark.parametrize("code", CODES)
def test_the_array_may_be_written_to(tmp_path: Path, code: int) -> None:
    read = read_idx(write(tmp_path, idx_bytes(PIXELS, code)))
    read[0, 0, 0] = 9
    assert read[0, 0, 0] == 9


def test_gzip_is_known_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    for name, content in [
        ("plain.gz", idx_bytes(PIXELS)),
        ("packed", gzip.compress(idx_bytes(PIXELS))),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        np.testing.assert_array_equal(read_idx(path), PIXELS)


def test_data_longer_than_one_read_is_whole(tmp_path: Path) -> None:
    written = np.random.default_rng(0).integers(0, 256, (3, 1 << 20), dtype=np.uint8)
    for pack in PACKINGS.values():
        read = read_idx(write(tmp_path, pack(idx_bytes(written))))
        np.testing.assert_array_equal(read, written)


def test_a_missing_file_is_refused_as_file(tmp_path: Path) -> None:
    error = refusal(tmp_path / "absent")
    assert error.field == "file"
    assert "No such file" in str(error)


def test_a_folder_is_refused_as_file(tmp_path: Path) -> None:
    assert refusal(tmp_path).field == "file"


def field_where_it_ends(length: int) -> str:
    if length < 4:
        return "magic"
    return f"dimension {(length - 4) // 4}" if length < HEADER_BYTES else "data"


@packings
def test_a_truncated_file_is_refused_by_name_and_field(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    whole = idx_bytes(PIXELS)
    for length in range(len(whole)):
        error = refusal(write(tmp_path, pack(whole[:length])))
        assert error.field == field_where_it_ends(length), length


def test_a_truncation_says_what_was_expected_and_found(tmp_path: Path) -> None:
    path = write(tmp_path, idx_bytes(PIXELS)[:-1])
    expected = "data takes 24 bytes for shape (2, 3, 4); the file holds 23. Fetch the file again."
    assert str(refusal(path)) == f"{path}: {expected}"


def test_a_truncated_gzip_is_refused_at_every_length(tmp_path: Path) -> None:
    whole = gzip.compress(idx_bytes(PIXELS), mtime=0)
    for length in range(len(whole)):
        error = refusal(write(tmp_path, whole[:length]))
        assert error.field == ("magic" if length < 2 else "gzip"), length


@packings
@pytest.mark.parametrize("extra", [b"\0", b"\n", b"more than one byte"])
def test_trailing_bytes_are_refused(
    tmp_path: Path, extra: bytes, pack: Callable[[bytes], bytes]
) -> None:
    error = refusal(write(tmp_path, pack(idx_bytes(PIXELS) + extra)))
    assert error.field == "data"
    assert "takes 24 bytes for shape (2, 3, 4); the file holds more" in str(error)


def test_bytes_after_the_gzip_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(idx_bytes(PIXELS)) + b"not gzip")
    assert refusal(path).field == "gzip"


def field_of_damage(position: int, value: int) -> str | None:
    """The field that is refused when a byte of PIXELS' header is `value`; None if none can be."""
    if position < 2:
        return "magic"
    if position == 2:
        if value == 0x09:
            return None  # int8 takes the same bytes as uint8
        return "data" if value in CODES else "type code"
    if position == 3 and value > 64:
        return "number of dimensions"
    # More dimensions take the pixels for sizes: 0x00010203, 0x04050607, 0x08090A0B is too much.
    return "dimension 5" if position == 3 and value > 5 else "data"


def test_each_wrong_byte_in_the_header_is_refused(tmp_path: Path) -> None:
    whole = idx_bytes(PIXELS)
    for position in range(HEADER_BYTES):
        for value in set(range(256)) - {whole[position]}:
            path = write(tmp_path, whole[:position] + bytes([value]) + whole[position + 1 :])
            field = field_of_damage(position, value)
            if field is None:
                assert read_idx(path).dtype == np.int8
            else:
                assert refusal(path).field == field, (position, value)


def test_each_wrong_byte_in_a_gzip_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    whole = gzip.compress(idx_bytes(PIXELS), mtime=0)
    refused = 0
    for position in range(len(whole)):
        path = write(
            tmp_path,
            whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :],
        )
        try:
            np.testing.assert_array_equal(read_idx(path), PIXELS)
        except DataError:
            refused += 1
    # Only gzip's own header (time, system) may be wrong without harm.
    assert refused >= len(whole) - 6


def test_a_wrong_checksum_is_refused_as_gzip(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(idx_bytes(PIXELS)))
    content[-8] ^= 1
    assert refusal(write(tmp_path, bytes(content))).field == "gzip"


def test_a_file_of_another_kind_is_told_by_its_magic(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, b"PK\x03\x04 a zip file"))
    assert error.field == "magic"
    assert "50 4b 03 04" in str(error)


def test_an_unknown_type_code_names_the_known_ones(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, b"\0\0\x0a\1\0\0\0\1\0"))
    assert error.field == "type code"
    assert "0x0a" in str(error)
    assert "0x08 (uint8), 0x09 (int8), 0x0b (int16)" in str(error)


@pytest.mark.parametrize(
    ("shape", "field"),
    [
        ((0xFFFFFFFF, 28, 28), "data"),
        ((0xFFFFFFFF, 0xFFFFFFFF), "dimension 1"),
        ((2, 0xFFFFFFFF, 0xFFFFFFFF), "dimension 2"),
        ((0, 0xFFFFFFFF, 0xFFFFFFFF), "dimension 2"),
        ((0xFFFFFFFF,) * 64, "dimension 1"),
    ],
)
@packings
def test_absurd_dimensions_are_refused_without_the_memory_for_them(
    tmp_path: Path, shape: tuple[int, ...], field: str, pack: Callable[[bytes], bytes]
) -> None:
    path = write(tmp_path, pack(header(*shape) + bytes(100)))
    assert refusal(path).field == field
    assert peak_bytes(path) < 1 << 20


def test_gzip_is_not_unpacked_beyond_what_the_header_says(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(header(4) + bytes(64 << 20), mtime=0))
    assert refusal(path).field == "data"
    assert peak_bytes(path) < 4 << 20


def test_a_gzip_that_cannot_hold_what_its_header_says_is_not_unpacked(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(header(1 << 31) + bytes(64 << 20), mtime=0))
    assert "at most" in str(refusal(path))
    assert peak_bytes(path) < 4 << 20


def test_a_gzip_that_ends_early_takes_the_memory_of_its_content_only(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(1 << 20)
    path = write(tmp_path, gzip.compress(header(500 << 20) + noise))
    assert f"the file holds {1 << 20}" in str(refusal(path))
    assert peak_bytes(path) < 8 << 20


def peak_bytes(path: Path) -> int:
    tracemalloc.start()
    try:
        refusal(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
