"""Weights in and out as safetensors, PyTorch's layouts included. Public as `fxgrad.train`."""
