"""The errors and warnings that fxgrad raises: each says where, what, and what to write instead.

Every class keeps its facts as attributes and also inherits from the builtin that people catch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


class FxError(Exception):
    """The base of every error that fxgrad raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors travel between processes; Exception's own way calls __init__ without keywords.
        return _rebuilt, (type(self), self.args, self.__dict__)


def first_line_of(error: Exception) -> str:
    """What an error says in its first line; one that is not fxgrad's own with its class."""
    words = str(error) if isinstance(error, FxError) else f"{type(error).__name__}: {error}"
    return words.splitlines()[0]


def _rebuilt(kind: type[FxError], args: tuple[Any, ...], facts: dict[str, Any]) -> FxError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(facts)
    return error


class ModeError(FxError, ValueError):
    """A mode that does not exist was asked for.

    Attributes:
      mode: what was asked for.
    """

    def __init__(self, message: str, *, mode: object) -> None:
        super().__init__(message)
        self.mode = mode


class ArgumentError(FxError, TypeError):
    """A call holds a value that the chosen mode cannot take.

    Attributes:
      path: where the value stands, in the words of the call: ``batch['label']``.
    """

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class OptionError(FxError, ValueError):
    """An option of a call has a value that makes no sense.

    Attributes:
      option: its name.
    """

    def __init__(self, message: str, *, option: str) -> None:
        super().__init__(message)
        self.option = option


class ValueDependenceError(FxError, TypeError):
    """Python asked for the value of an array while a static graph was being traced.

    Attributes:
      filename: the file of the user's line.
      lineno: its number, from 1.
      line: its text.
    """

    def __init__(self, message: str, *, filename: str, lineno: int, line: str) -> None:
        super().__init__(message)
        self.filename = filename
        self.lineno = lineno
        self.line = line


class NewPathError(FxError, RuntimeError):
    """A call would have to be recorded or traced where that is not allowed.

    Attributes:
      name: the function.
    """

    def __init__(self, message: str, *, name: str) -> None:
        super().__init__(message)
        self.name = name


class ModelError(FxError, ValueError):
    """A model was called without the state or the random key that it needs."""


class LossError(FxError, TypeError):
    """A loss does not take or return what `train.make_step` needs."""


class DataError(FxError, ValueError):
    """A data file or a data set is not what it should be.

    Attributes:
      path: the file or folder, or None for data in memory.
      field: the part of it that is wrong: ``magic``, ``dimension 0``, ``label``.
    """

    def __init__(self, message: str, *, path: Path | None, field: str) -> None:
        super().__init__(message)
        self.path = path
        self.field = field


class BucketError(FxError, ValueError):
    """An array is longer than the size that it should be padded to.

    Attributes:
      path: where it stands, in the words of the call: ``batch['tokens']``.
      size: its length.
      largest: the largest size that there is.
    """

    def __init__(self, message: str, *, path: str, size: int, largest: int) -> None:
        super().__init__(message)
        self.path = path
        self.size = size
        self.largest = largest


class CheckpointError(FxError, ValueError):
    """A checkpoint is damaged, is not what the training needs, or its folder is in use.

    Attributes:
      path: the folder or file.
      step: the step, or None where it is about the folder as a whole.
      leaf: the first leaf that differs, such as ``params['w']``, or None.
    """

    def __init__(
        self, message: str, *, path: Path, step: int | None = None, leaf: str | None = None
    ) -> None:
        super().__init__(message)
        self.path = path
        self.step = step
        self.leaf = leaf


class WeightsError(FxError, ValueError):
    """A file of weights is damaged, or its weights do not fit the parameters.

    Attributes:
      path: the file.
      name: the first weight that differs, or None.
    """

    def __init__(self, message: str, *, path: Path, name: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.name = name


class NonFiniteError(FxError, FloatingPointError):
    """The loss of a step is not finite.

    Attributes:
      step: the number of the step, from 1.
      saved: the file that holds its batch, or None.
    """

    def __init__(self, message: str, *, step: int, saved: Path | None = None) -> None:
        super().__init__(message)
        self.step = step
        self.saved = saved


class ShardingError(FxError, ValueError):
    """A mesh cannot be made, or a rule does not fit an array.

    Attributes:
      path: the parameter, such as ``hidden/w``, or ``batch['x']``; None where it is about the mesh.
    """

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class DisagreementError(FxError, RuntimeError):
    """Processes that must run the same program do not.

    Attributes:
      process: this process.
      others: the processes that differ from it, or have not answered.
    """

    def __init__(self, message: str, *, process: int, others: tuple[int, ...]) -> None:
        super().__init__(message)
        self.process = process
        self.others = others


class GraphError(FxError, ValueError):
    """There is no graph of a function at the stage that was asked for.

    Attributes:
      stage: ``"jaxpr"``, ``"hlo"`` or ``"paths"``.
    """

    def __init__(self, message: str, *, stage: str) -> None:
        super().__init__(message)
        self.stage = stage


class TargetError(FxError, ValueError):
    """A command-line target ``package.module:function`` could not be used."""


class MissingExtraError(FxError, ImportError):
    """A part of fxgrad needs a package that is not installed.

    Attributes:
      extra: the extra that brings it: ``pip install 'fxgrad[extra]'``.
    """

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed. "
            f"Write: pip install 'fxgrad[{extra}]'"
        )
        self.extra = extra


class TrainingWarning(UserWarning):
    """A training has gone wrong without an error."""


class ImpureWarning(UserWarning):
    """A function did other things on the same values, so it cannot be replayed."""


class RetraceWarning(UserWarning):
    """Compiled work is thrown away and done again, for a reason that the message names."""
