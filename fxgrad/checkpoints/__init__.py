"""Checkpoints: steps that are there whole or not at all. Public as `fxgrad.train`."""
