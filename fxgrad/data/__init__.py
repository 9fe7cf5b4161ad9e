"""Data: where examples come from, and how they are cut into batches. Public as `fxgrad.train`."""
