"""How a Function runs: one file for each mode, one table that names them."""
