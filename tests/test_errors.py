"""Errors: they keep their facts and travel between processes."""

import pickle  # noqa: TID251  process pools move exceptions this way
from pathlib import Path

import pytest

from fxgrad import errors

EVERY = [
    errors.FxError("what"),
    errors.ModeError("what", mode="fast"),
    errors.ArgumentError("what", path="batch['x']"),
    errors.OptionError("what", option="calls"),
    errors.ValueDependenceError("what", filename="a.py", lineno=3, line="if x:"),
    errors.NewPathError("what", name="step"),
    errors.ModelError("what"),
    errors.LossError("what"),
    errors.DataError("what", path=Path("a.npz"), field="label"),
    errors.BucketError("what", path="batch['x']", size=700, largest=512),
    errors.GraphError("what", stage="hlo"),
    errors.TargetError("what"),
    errors.MissingExtraError("Jinja", extra="report", purpose="A page"),
]


def test_every_error_is_tested_here():
    kinds = {k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, Exception)}
    warnings = {kind for kind in kinds if issubclass(kind, Warning)}
    assert {type(error) for error in EVERY} == kinds - warnings


@pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)
def test_an_error_keeps_its_words_and_facts_between_processes(error):
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is type(error)
    assert str(copied) == str(error)
    assert vars(copied) == vars(error)
