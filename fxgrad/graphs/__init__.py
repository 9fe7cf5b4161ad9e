"""Graphs: what was traced, what XLA made of it, and the paths of replay, as data with views."""
