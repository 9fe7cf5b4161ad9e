"""Small named programs that every mode meets. A new one is added in a file here and nowhere else.

Each takes float arrays and returns a float scalar, so that each is run for its value and for its
gradients. `static` is False where Python decides by a value: eager runs it, and static must say
which line it is.
"""

from tests.programs import (
    algorithms,
    arithmetic,
    branches,
    captures,
    conversions,
    derivatives,
    devices,
    dtypes,
    exceptions,
    functions,
    indexing,
    linear_algebra,
    loops,
    networks,
    optimizers,
    randomness,
    search,
    training,
    transforms,
)
from tests.programs.program import PROGRAMS, Program

__all__ = [
    "PROGRAMS",
    "Program",
    "algorithms",
    "arithmetic",
    "branches",
    "captures",
    "conversions",
    "derivatives",
    "devices",
    "dtypes",
    "exceptions",
    "functions",
    "indexing",
    "linear_algebra",
    "loops",
    "networks",
    "optimizers",
    "randomness",
    "search",
    "training",
    "transforms",
]
