"""Readers: arrays, text and images from files, and an error that names what is wrong in which."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from fxgrad import train
from fxgrad.errors import DataError


def test_the_arrays_of_an_npz_file_come_back_by_name(tmp_path):
    arrays = {"x": np.arange(6.0).reshape(2, 3), "y": np.array([1, 0], np.int8)}
    np.savez_compressed(tmp_path / "data.npz", **arrays)
    loaded = train.load_arrays(tmp_path / "data.npz")
    assert list(loaded) == ["x", "y"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype


def test_no_bit_of_an_npz_file_changes_without_a_word(tmp_path):
    path = tmp_path / "data.npz"
    arrays = {"x": np.arange(8, dtype=np.int16), "y": np.ones(3, np.float32)}
    np.savez(path, **arrays)
    content = path.read_bytes()
    refused = 0
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            loaded = train.load_arrays(path)
        except DataError:
            refused += 1
        else:  # a date, or a name
            found = [loaded[name] for name in loaded]
            assert len(found) == 2 or found[0].shape in ((8,), (3,))
            for array, expected in zip(found, arrays.values(), strict=False):
                np.testing.assert_array_equal(array, expected)
    assert refused > len(content) / 6


def test_what_would_have_to_be_unpickled_is_refused(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.array([{}], object))
    with pytest.raises(DataError, match="nothing is unpickled") as caught:
        train.load_arrays(tmp_path / "data.npz")
    assert caught.value.field == "x"


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_what_is_no_npz_file_is_refused(tmp_path, content):
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"data\.npz: npz could not be read"):
        train.load_arrays(tmp_path / "data.npz")


def test_a_missing_npz_file_and_an_empty_one_are_refused(tmp_path):
    with pytest.raises(DataError, match="could not be read"):
        train.load_arrays(tmp_path / "none.npz")
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(DataError, match="holds no arrays"):
        train.load_arrays(tmp_path / "empty.npz")


def documents(folder):
    (folder / "b").mkdir()
    (folder / "b" / "one.txt").write_bytes("größer\r\n".encode())
    (folder / "a.txt").write_bytes(b"first")
    (folder / "notes.md").write_bytes(b"not text")


def test_the_documents_of_a_folder_come_in_the_order_of_their_names(tmp_path):
    documents(tmp_path)
    assert train.load_text(tmp_path) == {"a.txt": "first", "b/one.txt": "größer\r\n"}
    assert list(train.load_text(tmp_path / "a.txt").values()) == ["first"]
    files = train.TextFiles(tmp_path)
    assert [files[i] for i in range(len(files))] == ["first", "größer\r\n"]


def test_a_document_in_another_encoding_is_refused_by_its_byte(tmp_path):
    (tmp_path / "old.txt").write_bytes("Straße".encode("latin-1"))
    with pytest.raises(DataError, match="byte 4 is 0xdf, which is not UTF-8") as caught:
        train.load_text(tmp_path)
    assert caught.value.path == tmp_path / "old.txt"


def test_a_folder_without_documents_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds no file \*\.txt"):
        train.load_text(tmp_path)
    with pytest.raises(DataError, match="is not there"):
        train.load_text(tmp_path / "none")


def test_windows_are_views_of_the_tokens():
    tokens = np.arange(11, dtype=np.uint16)
    examples = train.windows(tokens, 4, stride=3)
    np.testing.assert_array_equal(examples, [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]])
    assert np.shares_memory(examples, tokens)
    np.testing.assert_array_equal(train.windows(tokens, 4), [[0, 1, 2, 3], [4, 5, 6, 7]])


def test_windows_of_a_mapped_file_make_batches(tmp_path):
    np.save(tmp_path / "tokens.npy", np.arange(100, dtype=np.int32))
    tokens = np.load(tmp_path / "tokens.npy", mmap_mode="r")
    batches = train.Batches({"tokens": train.windows(tokens, 11, stride=10)}, 3, seed=0)
    (batch, *_) = batches.epoch(0)
    assert batch["tokens"].shape == (3, 11)
    assert set(batch["tokens"][:, 0] % 10) == {0}
    assert len(batches.fingerprint) == 64


@pytest.mark.parametrize(
    ("tokens", "options", "field"),
    [
        (np.ones((2, 2)), {"length": 1}, "tokens"),
        ([1, 2], {"length": 1}, "tokens"),
        (np.ones(3), {"length": 0}, "length"),
        (np.ones(3), {"length": 4}, "length"),
        (np.ones(3), {"length": 2, "stride": 0}, "stride"),
    ],
)
def test_windows_that_cannot_be_are_refused(tokens, options, field):
    with pytest.raises(DataError) as caught:
        train.windows(tokens, **options)
    assert caught.value.field == field


@pytest.fixture
def pictures(tmp_path):
    for name, level in (("cat", 0), ("dog", 255)):
        (tmp_path / name).mkdir()
        for i in range(3):
            pixels = np.full((6 + i, 5, 3), level, np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    (tmp_path / "readme.txt").write_text("no image")
    return tmp_path


def test_images_are_labelled_by_their_folders(pictures):
    files = train.ImageFiles(pictures, size=(4, 3))
    assert files.classes == ("cat", "dog")
    assert len(files) == 6
    image, label = files[5]["image"], files[5]["label"]
    assert (image.shape, image.dtype, label.dtype) == ((4, 3, 3), np.float32, np.int32)
    assert (image.min(), int(label)) == (1.0, 1)
    assert train.ImageFiles(pictures, size=(4, 3), colour="grey")[0]["image"].shape == (4, 3, 1)


def test_a_damaged_image_is_refused_by_its_name(pictures):
    path = pictures / "cat" / "1.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"cat/1\.png: image could not be read") as caught:
        train.ImageFiles(pictures, size=(4, 4))[1]
    assert caught.value.path == path


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no images in folders of their classes"):
        train.ImageFiles(tmp_path, size=(4, 4))


def test_files_have_a_fingerprint_of_content_and_options(pictures):
    def current(size=(4, 4)):
        return train.ImageFiles(pictures, size=size).fingerprint

    before = current()
    assert current() == before
    assert current(size=(4, 5)) != before
    path = pictures / "dog" / "0.png"
    path.write_bytes(path.read_bytes() + b"!")
    assert current() != before
