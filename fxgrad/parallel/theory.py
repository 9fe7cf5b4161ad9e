"""What a step must send on a mesh, in theory: formulas only, no program.

Sources: data parallel and FSDP, Rajbhandari et al. 2020 (ZeRO), section 7; tensor parallel,
Shoeybi et al. 2019 (Megatron-LM), section 3. What is sent along a ring belongs to `traffic`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from fxgrad.parallel.layout import Layout, Placement
from fxgrad.parallel.mesh import batch_axes, product_of
from fxgrad.parallel.rules import axes_in
from fxgrad.parallel.traffic import Collective, Traffic


def expected(
    layout: Layout,
    *,
    regather: bool = True,
    forward_only: Iterable[str] = (),
    scalars: int = 1,
    activation_bytes: int = 0,
    tensor_blocks: int = 0,
) -> Traffic:
    """The collectives of one training step with a loss from `sharded`.

    Args:
      layout: that of the parameters, from `explain`.
      regather: as for `sharded`.
      forward_only: patterns of parameters that the backward pass does not read: the first layer
        of a network, embeddings and biases.
      scalars: how many float32 means over the batch the step gives: the loss, and each metric.
      activation_bytes: those of one device's activations between two blocks, which tensor parallel
        blocks sum: rows × length × width × bytes of one number.
      tensor_blocks: how many pairs of a layer split by columns and one split by rows there are:
        two for each layer of a transformer.

    Returns:
      The collectives; one for each parameter and reason.
    """
    found: list[Collective] = []
    for parameter in layout.placements:
        is_read = not any(fnmatchcase(parameter.path, pattern) for pattern in forward_only)
        found += _of_parameter(parameter, layout.sizes, regather and is_read)
    found += _of_scalars(layout.sizes, scalars)
    found += _of_blocks(layout.sizes, activation_bytes, tensor_blocks)
    return Traffic(tuple(found))


def _of_parameter(
    parameter: Placement, sizes: Mapping[str, int], regather: bool
) -> Iterator[Collective]:
    """Gathered where it is split, once or twice; its gradient summed over the batch, and split."""
    over = [axis for axis in batch_axes(sizes) if sizes[axis] > 1]
    named = axes_in(parameter.spec)
    split = tuple(axis for axis in over if axis in named)
    others = tuple(axis for axis in over if axis not in named)
    parts = product_of(sizes, split)
    whole = parameter.device_bytes * parts
    if split:
        passes = ("forward", "backward") if regather else ("forward",)
        for each in passes:
            yield Collective("all-gather", whole, split, parts, why=f"{parameter.path}, {each}")
        why = f"{parameter.path}, gradient"
        yield Collective("reduce-scatter", whole, split, parts, why=why)
    if others:
        count, why = product_of(sizes, others), f"{parameter.path}, gradient"
        yield Collective("all-reduce", whole // parts, others, count, why=why)


def _of_scalars(sizes: Mapping[str, int], scalars: int) -> Iterator[Collective]:
    over = tuple(axis for axis in batch_axes(sizes) if sizes[axis] > 1)
    for _ in range(scalars if over else 0):
        yield Collective("all-reduce", 4, over, product_of(sizes, over), why="loss or metric")


def _of_blocks(
    sizes: Mapping[str, int], activation_bytes: int, blocks: int
) -> Iterator[Collective]:
    """Each block sums its output in the forward pass, its input's gradient in the backward."""
    devices = sizes.get("tensor", 1)
    for number in range(blocks if devices > 1 else 0):
        for each in ("forward", "backward"):
            why = f"block {number}, {each}"
            yield Collective("all-reduce", activation_bytes, ("tensor",), devices, why=why)
