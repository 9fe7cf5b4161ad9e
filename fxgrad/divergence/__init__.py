"""Divergence: where a compiled program leaves eager, which of them is right, and why."""
