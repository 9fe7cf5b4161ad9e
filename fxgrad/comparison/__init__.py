"""Comparisons: a function measured in every mode, and the views of what was measured."""
