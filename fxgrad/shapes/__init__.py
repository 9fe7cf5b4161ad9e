"""Shapes that vary: which sizes to compile for, and how to get there."""
