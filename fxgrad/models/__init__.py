"""Models as pure functions: a pair of `init` and `apply`, by hand or from Flax."""
