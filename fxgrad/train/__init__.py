"""Training: state, steps, loops and data, joined from Flax, Optax and JAX."""
