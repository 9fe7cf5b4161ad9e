"""Checkpoints: steps that are there whole or not at all. Public as `fxgrad.train`."""

from fxgrad.checkpoints.checkpoints import Checkpoints
from fxgrad.checkpoints.restored import Restored, Skipped

__all__ = ["Checkpoints", "Restored", "Skipped"]
