"""Weights in files that other libraries read too: safetensors, in our layout or PyTorch's."""
