"""What a function takes: op by op at its worst, compiled, and for its backward pass."""
