"""The logs of a training: JSON lines, each once, through kills and resumes; TensorBoard."""

import json
import math
import pathlib
import re
import sys

import jax.numpy as jnp
import pytest

from fxgrad.errors import MissingExtraError
from tests.trainings import batches, bits, fit, make_step, mean_square, told


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_seconds(lines):
    return [{name: v for name, v in line.items() if name != "seconds"} for line in lines]


def test_each_step_and_each_evaluation_has_a_line(tmp_path):
    path = tmp_path / "deep" / "log.jsonl"
    _, history = fit(epochs=2, evaluate=mean_square, log_file=path)
    lines = lines_of(path)
    assert [line["step"] for line in lines] == [*range(1, 6), 5, *range(6, 11), 10]
    assert [line["epoch"] for line in lines] == [1] * 6 + [2] * 6
    steps = [line for line in lines if "evaluation" not in line]
    assert [line["loss"] for line in steps] == history.metrics["loss"].tolist()
    assert [line["evaluation"] for line in lines if "evaluation" in line] == [*history.evaluations]
    assert all(line["seconds"] >= 0 for line in lines)


def test_a_value_that_is_not_finite_can_be_read_back(tmp_path):
    path = tmp_path / "log.jsonl"

    def step(state, batch):
        state, metrics = inner(state, batch)
        return state, {**metrics, "ratio": jnp.inf * metrics["loss"]}

    inner = make_step()
    fit(step, epochs=1, log_file=path)
    assert math.isinf(float(lines_of(path)[0]["ratio"]))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text,
        lambda text: text + '{"step": 6, "ep',
        lambda text: text + '{"step": 6, "epoch": 2, "loss": 3.0, "noise": 1.0}\n' * 3,
        lambda text: text[: len(text) // 2],
        lambda text: text.rstrip("\n"),
        lambda text: "",
        lambda text: "damaged\n" + text,
    ],
)
def test_after_a_resume_no_line_is_missing_or_twice(tmp_path, damage):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    options = {"evaluate": mean_square}
    fit(epochs=2, checkpoints=whole, **options)
    fit(epochs=1, checkpoints=resumed, **options)
    path = resumed / "metrics.jsonl"
    path.write_text(damage(path.read_text()))
    fit(epochs=2, checkpoints=resumed, **options)
    expected = without_seconds(lines_of(whole / "metrics.jsonl"))
    assert without_seconds(lines_of(path)) == expected


def test_a_log_that_was_deleted_is_written_again(tmp_path):
    fit(epochs=1, checkpoints=tmp_path)
    before = lines_of(tmp_path / "metrics.jsonl")
    (tmp_path / "metrics.jsonl").unlink()
    fit(epochs=1, checkpoints=tmp_path)
    assert without_seconds(lines_of(tmp_path / "metrics.jsonl")) == without_seconds(before)


def test_a_new_training_takes_no_older_log_s_place(tmp_path):
    path = tmp_path / "log.jsonl"
    for _ in range(3):
        fit(steps=3, log_file=path)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["log.1.jsonl", "log.2.jsonl", "log.jsonl"]
    assert len(lines_of(path)) == len(lines_of(tmp_path / "log.1.jsonl")) == 3


def test_tensorboard_gets_each_scalar(tmp_path):
    fit(epochs=1, evaluate=mean_square, tensorboard=tmp_path / "board")
    (file,) = (tmp_path / "board").iterdir()
    content = file.read_bytes()
    assert content.count(b"loss") == content.count(b"noise") == 5
    assert content.count(b"evaluation/size") == 1


def test_tensorboard_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtraError, match=r"fxgrad\[tensorboard\]"):
        fit(epochs=1, tensorboard=tmp_path)


def test_lines_are_few_however_many_the_epochs(capsys):
    fit(epochs=450, progress=None, data=[{"x": jnp.ones((2, 3)), "y": jnp.ones(2)}])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) <= 102
    assert lines[-2].startswith("train epoch 450/450")


def test_going_on_takes_no_other_file_s_place(tmp_path):
    notes = tmp_path / "notes.txt"
    for text in ("my notes\n" * 1000, "a line without an end", "[1]\n", '{"step": 1}\n'):
        fit(steps=3, checkpoints=tmp_path / str(len(text)))
        notes.write_text(text)
        fit(steps=4, checkpoints=tmp_path / str(len(text)), log_file=notes)
        assert [line["step"] for line in lines_of(notes)] == [1, 2, 3, 4]
        (kept,) = (p for p in tmp_path.glob("notes.*.txt") if p.read_text() == text)
        kept.unlink()
        notes.unlink()


def test_going_on_takes_no_other_training_s_log(tmp_path):
    log, whole = tmp_path / "log.jsonl", tmp_path / "whole.jsonl"
    a = {"checkpoints": tmp_path / "a", "log_file": log}
    fit(steps=3, **a)
    fit(data=batches(seed=4), steps=6, checkpoints=tmp_path / "b", log_file=log)
    others = log.read_bytes()
    fit(steps=6, **a)
    fit(steps=6, log_file=whole)
    assert without_seconds(lines_of(log)) == without_seconds(lines_of(whole))
    assert others in {p.read_bytes() for p in tmp_path.glob("log.*.jsonl")}


@pytest.mark.parametrize(
    "tail", ["notes\n", '{"step": 2, "epoch": 1, "loss": 1.0}\n', '{"loss": 1.0}\n', "notes"]
)
def test_only_a_training_s_own_tail_is_cut_off(tmp_path, tail):
    fit(epochs=1, checkpoints=tmp_path)
    path = tmp_path / "metrics.jsonl"
    text = path.read_text() + tail
    path.write_text(text)
    fit(epochs=2, checkpoints=tmp_path)
    assert [line["step"] for line in lines_of(path)] == [*range(1, 11)]
    assert (tmp_path / "metrics.1.jsonl").read_text() == text


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="no disk that is always full")
def test_a_log_that_cannot_be_written_is_named_and_the_training_saved(tmp_path):
    full = tmp_path / "log.jsonl"
    full.symlink_to("/dev/full")
    options = {"epochs": 3, "save_every": 100, "evaluate": mean_square}
    with pytest.raises(OSError, match=r"No space left on device: .*log\.jsonl") as caught:
        fit(checkpoints=tmp_path / "a", log_file=full, **options)
    (note,) = caught.value.__notes__
    made, saved = map(int, re.findall(r"\d+", note))
    assert 0 < made == saved
    with pytest.raises(OSError, match=r"No space left on device: .*log\.jsonl"):
        fit(epochs=3, log_file=full)
    full.unlink()
    resumed, whole = fit(checkpoints=tmp_path / "a", log_file=full, **options)
    state, history = fit(epochs=3, evaluate=mean_square, log_file=tmp_path / "whole.jsonl")
    assert bits(resumed) == bits(state)
    assert told(whole) == told(history)
    assert without_seconds(lines_of(full)) == without_seconds(lines_of(tmp_path / "whole.jsonl"))
