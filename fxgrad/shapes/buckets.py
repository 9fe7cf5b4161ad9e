"""Buckets: the few sizes that are compiled for, and which of them a size goes into.

Choosing them belongs to `plan`, getting there to `padding`.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import Any

from fxgrad.errors import BucketError, OptionError


@dataclass(frozen=True)
class Buckets:
    """The sizes that arrays are padded to, from `plan_buckets` or written down by hand.

    Attributes:
      edges: the sizes, ascending, at least 1.
      padding: the share of the cost that padding is expected to take, 0..1; None where nobody
        has planned it.

    Raises:
      OptionError: `edges` is empty, not ascending, or not of whole numbers of at least 1.
    """

    edges: tuple[int, ...]
    padding: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        edges = tuple(self.edges)
        object.__setattr__(self, "edges", edges)
        whole = all(isinstance(edge, int) and edge >= 1 for edge in edges)
        if not edges or not whole or list(edges) != sorted(set(edges)):
            message = f"edges={edges} are no sizes: write ascending whole numbers, (128, 512)."
            raise OptionError(message, option="edges")

    def __len__(self) -> int:
        return len(self.edges)

    def __str__(self) -> str:
        expected = "" if self.padding is None else f"; {self.padding:.1%} of the cost is padding"
        return f"{len(self)} buckets: {', '.join(map(str, self.edges))}{expected}"

    def bucket_of(self, size: int, path: str = "an array") -> int:
        """The smallest edge that is at least `size`.

        Args:
          size: a length, at least 0.
          path: what has this length, for the error.

        Raises:
          BucketError: `size` is more than the largest edge.
        """
        if size > self.edges[-1]:
            remedy = f'Add a bucket of at least {size}, or pass overflow="exact"'
            raise too_long(path, size, self.edges[-1], "the largest bucket", remedy)
        return self.edges[bisect.bisect_left(self.edges, size)]

    def to_dict(self) -> dict[str, Any]:
        """The buckets as plain values."""
        return {"edges": list(self.edges), "padding": self.padding}


def too_long(path: str, size: int, largest: int, what: str, remedy: str) -> BucketError:
    """The error of an array that is longer than what it should be padded to."""
    message = f"{path} has length {size}; {what} is {largest}. {remedy}."
    return BucketError(message, path=path, size=size, largest=largest)
