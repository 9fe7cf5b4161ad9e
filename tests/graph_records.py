"""Graphs made by hand, as data, for the tests of what shows them."""

from fxgrad.graphs.record import Edge, Group, Node, Record
from fxgrad.places import Place

HOSTILE = "</script><script>document.title = 'run'</script>\"'&<b>ü→"


def network():
    """A layer's forward and backward pass, its update, and what goes in and out: 10 nodes."""
    line = Place("/project/model.py", 12, "return jnp.tanh(x @ weights)")
    groups = (
        Group(0, None, "phase", "forward"),
        Group(1, 0, "scope", "Dense_0"),
        Group(2, None, "phase", "backward"),
        Group(3, 2, "scope", "Dense_0"),
        Group(4, None, "phase", "update"),
    )
    nodes = (
        Node(0, "input", "weights", outputs=("f32[8,4]",)),
        Node(1, "input", "batch['x']", outputs=("f32[32,8]",)),
        Node(2, "operation", "dot_general", 1, "forward", line, ("f32[32,4]",), "", 2048.0, 1664.0),
        Node(3, "operation", "tanh", 1, "forward", line, ("f32[32,4]",), "accuracy=None", 128.0),
        Node(4, "operation", "reduce_sum", 0, "forward", None, ("f32[]",), "", 127.0, 516.0),
        Node(5, "operation", "mul", 3, "backward", line, ("f32[32,4]",), "", 128.0, 1536.0, 3),
        Node(6, "operation", "dot_general", 3, "backward", line, ("f32[8,4]",), "", 2048.0, 1664.0),
        Node(7, "operation", "sub", 4, "update", None, ("f32[8,4]",), "", 32.0, 384.0),
        Node(8, "output", "out[0]", outputs=("f32[8,4]",)),
        Node(9, "output", "out[1]", outputs=("f32[]",)),
    )
    edges = (
        Edge(0, 2, "f32[8,4]"),
        Edge(1, 2, "f32[32,8]"),
        Edge(2, 3, "f32[32,4]"),
        Edge(3, 4, "f32[32,4]"),
        Edge(3, 5, "f32[32,4]"),
        Edge(1, 6, "f32[32,8]"),
        Edge(5, 6, "f32[32,4]"),
        Edge(6, 7, "f32[8,4]"),
        Edge(0, 7, "f32[8,4]"),
        Edge(7, 8, "f32[8,4]"),
        Edge(4, 9, "f32[]"),
    )
    return Record("step", "jaxpr", nodes, edges, groups, ("FLOPs are estimates.",))


def deep(layers=100, ops=30):
    """A chain of layers in blocks of ten, with lines that skip ahead: layers × ops nodes."""
    blocks = range(layers // 10)
    groups = [Group(block, None, "scope", f"Block_{block}") for block in blocks]
    groups += [
        Group(len(groups) + layer, layer // 10, "scope", f"Layer_{layer}")
        for layer in range(layers)
    ]
    names = ("dot_general", "add", "mul", "tanh", "reshape")
    nodes = tuple(
        Node(n, "operation", names[n % 5], len(blocks) + n // ops, outputs=(f"f32[{n},4]",))
        for n in range(layers * ops)
    )
    chain = [Edge(n, n + 1, "f32[4]") for n in range(len(nodes) - 1)]
    skips = [Edge(n, n + 3, "f32[4]") for n in range(0, len(nodes) - 3, 3)]
    mirrored = [Edge(n, len(nodes) - 1 - n, "f32[4]") for n in range(0, len(nodes) // 2, 7)]
    return Record("deep", "jaxpr", nodes, (*chain, *skips, *mirrored), tuple(groups))


def flat(count=3000):
    """Operations without any group, each reading one shortly before and one from anywhere."""
    nodes = tuple(Node(n, "operation", "add", outputs=("f32[4]",)) for n in range(count))
    near = [Edge(max(0, n - 1 - n % 4), n) for n in range(1, count)]
    anywhere = [Edge(n * 7919 % (n - 2), n) for n in range(5, count, 5)]
    return Record("flat", "hlo", nodes, (*near, *anywhere))


def decisions():
    """The paths of a function with one decision of two outcomes, and one left to Python."""
    test = Place("/project/model.py", 30, "if jnp.sum(x) > 0:")
    nodes = (
        Node(0, "segment", "14 operations", hits=120),
        Node(1, "decision", "bool", place=test, hits=120),
        Node(2, "output", "result", hits=80),
        Node(3, "segment", "2 operations", hits=40),
        Node(4, "python", "not recorded yet"),
    )
    edges = (
        Edge(0, 1),
        Edge(1, 2, "True", "answer"),
        Edge(1, 3, "False", "answer"),
        Edge(3, 4, "7", "answer"),
    )
    return Record("choose", "paths", nodes, edges)


def hostile():
    """Words that would break out of the page if they were taken for markup."""
    line = Place(HOSTILE, 1, HOSTILE)
    nodes = (
        Node(0, "operation", HOSTILE, 0, "forward", line, (HOSTILE,), HOSTILE),
        Node(1, "output", HOSTILE),
    )
    return Record(
        HOSTILE,
        "jaxpr",
        nodes,
        (Edge(0, 1, HOSTILE),),
        (Group(0, None, "scope", HOSTILE),),
        (HOSTILE,),
    )
