"""Replay: the paths that a program has taken, recorded once, compiled, and run without Python."""
