"""Graphs as data: what was traced, what XLA made of it, and the paths of replay."""

import inspect
import json
import math

import jax
import jax.numpy as jnp
import pytest

import fxgrad as fx
from fxgrad.errors import GraphError
from fxgrad.graphs.hlo_text import read_program
from fxgrad.graphs.words import modules_in
from tests.subjects import SUBJECTS, article, newton, transformer

STAGES = ("jaxpr", "hlo", "paths")


def operations(graph, label=None):
    return [n for n in graph.nodes if n.kind == "operation" and label in (None, n.label)]


def groups_around(graph, node):
    found, number = [], node.group
    while number is not None:
        found.append(graph.groups[number])
        number = graph.groups[number].parent
    return found[::-1]


def labels_around(graph, node):
    return [group.label for group in groups_around(graph, node)]


def line_of(fun, text):
    lines, first = inspect.getsourcelines(fun)
    return first + next(i for i, line in enumerate(lines) if text in line)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_graph_is_whole(name, stage):
    fun, *args = SUBJECTS[name]()
    graph = fx.graph(fun, *args, stage=stage)
    assert graph.stage == stage
    assert [node.number for node in graph.nodes] == list(range(len(graph.nodes)))
    assert [group.number for group in graph.groups] == list(range(len(graph.groups)))
    ends = {edge.source for edge in graph.edges} | {edge.target for edge in graph.edges}
    assert ends <= set(range(len(graph.nodes)))
    assert all(group.parent is None or group.parent < group.number for group in graph.groups)
    assert {node.group for node in graph.nodes} - {None} <= set(range(len(graph.groups)))
    # Data flows down, but for what a loop carries.
    assert all(edge.source < edge.target or edge.kind == "carry" for edge in graph.edges)
    outputs = [node for node in graph.nodes if node.kind == "output"]
    assert outputs
    assert all(any(edge.target == node.number for edge in graph.edges) for node in outputs)
    assert json.loads(graph.to_json()) == json.loads(json.dumps(graph.to_dict()))
    assert graph.to_dot().count("{") == graph.to_dot().count("}")


def test_the_large_one_has_two_thousand_equations():
    fun, *args = transformer()
    assert 1_800 < len(operations(fx.graph(fun, *args))) < 2_400


def test_the_passes_of_a_training_step_are_told_apart():
    fun, *args = article()
    graph = fx.graph(fun, *args)
    products = operations(graph, "dot_general")
    phases = [node.phase for node in products]
    assert phases == ["forward"] * 2 + ["backward"] * 3
    assert [labels_around(graph, n)[0] for n in products[::4]] == ["forward pass", "backward pass"]
    updates = [node for node in operations(graph) if node.phase == "update"]
    assert sorted({node.label for node in updates}) == ["mul", "sub"]
    assert len(updates) == 8


def test_an_operation_has_its_line_shape_and_cost():
    fun, params, batch = article()
    node = operations(fx.graph(fun, params, batch), "dot_general")[0]
    assert node.place.filename.endswith("demo.py")
    assert node.place.line == 'hidden = jax.nn.relu(pixels @ params["w1"] + params["b1"])'
    assert node.outputs == ("f32[64,128]",)
    assert node.flops == 2 * 64 * 784 * 128
    assert node.bytes == 4 * (64 * 784 + 784 * 128 + 64 * 128)


def test_inputs_and_outputs_bear_the_users_names():
    fun, *args = article()
    for stage in ("jaxpr", "hlo"):
        nodes = fx.graph(fun, *args, stage=stage).nodes
        inputs = [node.label for node in nodes if node.kind == "input"]
        outputs = [node.label for node in nodes if node.kind == "output"]
        assert "batch['image']" in inputs
        assert "params['w1']" in inputs
        assert "output[0]['w1']" in outputs
        assert "output[1]" in outputs


def test_modules_are_groups_in_both_passes():
    fun, *args = transformer(depth=2)
    for stage in ("jaxpr", "hlo"):
        graph = fx.graph(fun, *args, stage=stage)
        paths = {tuple(labels_around(graph, node))[:3] for node in operations(graph)}
        assert ("forward pass", "Transformer", "Block_0") in paths
        assert ("backward pass", "Transformer", "Block_1") in paths


def layer(x):
    return jnp.tanh(x) + 1


def two_layers(x):
    first = layer(x)
    return layer(first) * 2


def test_the_users_functions_are_groups_where_no_module_names_itself():
    graph = fx.graph(two_layers, jnp.ones(3))
    assert [labels_around(graph, n) for n in operations(graph, "tanh")] == [["layer"], ["layer"]]
    first, second = (node.group for node in operations(graph, "tanh"))
    assert first != second
    assert labels_around(graph, operations(graph, "mul")[0]) == []


def test_equations_of_jaxs_own_functions_bear_the_line_of_this_call():
    def earlier(x):
        return jax.nn.softplus(x)

    def later(x):
        return jax.nn.softplus(x)

    fx.graph(earlier, jnp.ones(7))
    places = {node.place.lineno for node in operations(fx.graph(later, jnp.ones(7)))}
    assert places == {line_of(later, "softplus")}


def test_a_nested_function_is_a_group_and_data_flows_through_it():
    @jax.jit
    def inner(x):
        return jnp.sin(x) * 2

    graph = fx.graph(lambda x: inner(x) + inner(x + 1), jnp.ones(3))
    sines = operations(graph, "sin")
    assert [labels_around(graph, node) for node in sines] == [["inner"], ["inner"]]
    assert sines[0].group != sines[1].group
    products = {node.number for node in operations(graph, "mul")}
    (total,) = operations(graph, "add")[-1:]
    assert {edge.source for edge in graph.edges if edge.target == total.number} == products


def test_a_scan_counts_its_turns():
    def fun(x):
        return jax.lax.scan(lambda c, _: (c @ x, None), x, None, length=5)[0]

    graph = fx.graph(fun, jnp.ones((4, 4)))
    (product,) = operations(graph, "dot_general")
    (loop,) = operations(graph, "scan")
    assert product.runs == 5
    assert groups_around(graph, product)[0].kind == "loop"
    assert (product.number, loop.number) in {
        (edge.source, edge.target) for edge in graph.edges if edge.kind == "carry"
    }
    assert graph.summary().whole.flops == 5 * 2 * 4**3
    nested = fx.graph(lambda x: jax.lax.scan(lambda c, _: (fun(c), None), x, None, 3), jnp.eye(4))
    assert operations(nested, "dot_general")[0].runs == 15


def test_a_loop_of_unknown_length_says_so():
    def fun(x):
        return jax.lax.while_loop(lambda c: c.sum() < 100, lambda c: c * 2, x)

    graph = fx.graph(fun, jnp.ones(3))
    assert operations(graph, "mul")[0].runs is None
    assert any("one turn of a loop" in note for note in graph.notes)


def test_both_branches_of_a_cond_are_groups():
    def fun(x):
        return jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x)

    graph = fx.graph(fun, jnp.ones(3))
    assert labels_around(graph, operations(graph, "sin")[0]) == ["cond", "if true"]
    assert labels_around(graph, operations(graph, "cos")[0]) == ["cond", "if false"]
    (choice,) = operations(graph, "cond")
    sources = {graph.nodes[e.source].label for e in graph.edges if e.target == choice.number}
    assert {"sin", "cos"} < sources


@pytest.mark.parametrize(
    ("fun", "args"),
    [
        (lambda x, y: jnp.maximum(x @ y, 0), (jnp.ones((8, 16)), jnp.ones((16, 4)))),
        (lambda x: jnp.exp(x).sum() / 3, (jnp.ones((32, 32)),)),
        (lambda x: (jax.nn.softmax(x) ** 2).sum(), (jnp.ones((8, 128)),)),
        (
            lambda x, k: jax.lax.conv(x, k, (1, 1), "VALID"),
            (jnp.ones((2, 3, 8, 8)), jnp.ones((4, 3, 3, 3))),
        ),
    ],
)
def test_flops_of_instructions_add_up_to_xlas_own_count(fun, args):
    told = jax.jit(fun).lower(*args).compile().cost_analysis()
    expected = told.get("flops", 0.0) + told.get("transcendentals", 0.0)
    found = fx.graph(fun, *args, stage="hlo").summary().whole.flops
    assert found == pytest.approx(expected, rel=0.01)


def test_a_fusion_holds_what_went_into_it():
    graph = fx.graph(lambda x: jnp.sqrt(x * 2 + 1), jnp.ones(1000), stage="hlo")
    (fusion,) = (group for group in graph.groups if group.kind == "fusion")
    inside = [node for node in operations(graph) if node.group == fusion.number]
    assert {"multiply", "add", "sqrt"} <= {node.label for node in inside}
    assert {node.place.lineno for node in inside if node.label == "sqrt"} == {
        line_of(test_a_fusion_holds_what_went_into_it, "sqrt")
    }
    # Memory is touched once, not by each operation.
    assert graph.summary().whole.bytes == 2 * 4 * 1000


def test_loops_and_branches_of_a_compiled_program_are_groups():
    def fun(x):
        looped = jax.lax.fori_loop(0, 7, lambda i, c: c @ x, x)
        return jax.lax.cond(x[0, 0] > 0, lambda c: c @ c, lambda c: c + 1, looped)

    graph = fx.graph(fun, jnp.ones((16, 16)), stage="hlo")
    kinds = {group.kind for group in graph.groups}
    assert {"loop", "branch"} <= kinds
    runs = {node.runs for node in operations(graph) if node.label == "dot"}
    assert runs == {7, 1}


HLO_OF_OTHERS = """HloModule jit_f, is_scheduled=true

%fused (p: bf16[8,128], q: bf16[8,128]) -> (bf16[8,128], f32[]) {
  %p = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  %q = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(1)
  %m = bf16[8,128]{1,0:T(8,128)(2,1)} multiply(bf16[8,128]{1,0} %p, bf16[8,128]{1,0} %q), \
metadata={op_name="jit(f)/jit(main)/Net/mul" source_file="/home/me/model.py" source_line=12}
  %c = f32[] constant(0)
  ROOT %t = (bf16[8,128]{1,0:T(8,128)(2,1)}, f32[]) tuple(%m, %c)
}

ENTRY %main.1 (Arg_0.1: bf16[8,128], Arg_1.2: bf16[8,128]) -> bf16[8,128] {
  %Arg_0.1 = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0), metadata={op_name="x[\\'a\\']"}
  %Arg_1.2 = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(1)
  %fusion.1 = (bf16[8,128]{1,0:T(8,128)(2,1)}, /*index=1*/f32[]) fusion(%Arg_0.1, %Arg_1.2), \
kind=kLoop, calls=%fused, backend_config={"a":{"b":")"}}
  %gte = bf16[8,128]{1,0:T(8,128)(2,1)} get-tuple-element(%fusion.1), index=0
  ROOT %custom = bf16[8,128]{1,0} custom-call(%gte), custom_call_target="__cublas$gemm", \
metadata={op_name="jit(f)/a \\"quoted\\" {name}/dot" source_file="/home/me/model.py" source_line=13}
}
"""


def test_the_text_of_other_backends_is_read():
    program = read_program(HLO_OF_OTHERS)
    assert program.entry == "main.1"
    by_name = {i.name: i for computation in program.computations.values() for i in computation}
    assert by_name["m"].operands == ("p", "q")
    assert by_name["m"].frames == (("/home/me/model.py", 12, ""),)
    assert by_name["fusion.1"].arrays == (("bf16", (8, 128)), ("f32", ()))
    assert by_name["fusion.1"].called == {"calls": ("fused",)}
    assert by_name["custom"].op_name == 'jit(f)/a "quoted" {name}/dot'
    assert by_name["Arg_0.1"].op_name == "x['a']"
    assert by_name["custom"].is_root


def test_a_text_without_a_program_is_refused():
    with pytest.raises(GraphError, match="cannot be read"):
        read_program("no program")


@pytest.mark.parametrize(
    ("scope", "modules"),
    [
        ("", []),
        ("jvp()", []),
        ("transpose(jvp(Net))/Dense_0", ["Net", "Dense_0"]),
        ("jvp(jit(relu))", []),
        ("vmap(Net)/while/body/closed_call/Cell", ["Net", "Cell"]),
        ("branch_1_fun/Net", ["Net"]),
        ("a (b", ["a (b"]),
    ],
)
def test_modules_are_read_from_a_scope(scope, modules):
    assert modules_in(scope) == modules


def test_paths_have_decisions_with_lines_and_hits():
    root, x = newton()
    graph = fx.graph(root, x, stage="paths")
    decisions = [node for node in graph.nodes if node.kind == "decision"]
    lines = {node.place.lineno for node in decisions}
    fun = root.__wrapped__
    assert lines == {line_of(fun, "while"), line_of(fun, "if guess > 2")}
    first = decisions[0]
    assert first.place.line == "while jnp.abs(guess * guess - x) > 1e-3:"
    assert first.label == str(first.place)
    assert first.hits == 3
    answers = [edge.label for edge in graph.edges if edge.kind == "answer"]
    assert set(answers) == {"True", "False"}
    assert sum(node.kind == "output" for node in graph.nodes) == 2
    assert sum(node.hits for node in graph.nodes if node.kind == "output") == 3
    assert root.stats().calls == 3  # looking runs nothing


def test_paths_of_a_function_that_has_recorded_nothing_are_recorded_by_one_call():
    graph = fx.graph(lambda x: x if x > 0 else -x, jnp.float32(1), stage="paths")
    assert [node.kind for node in graph.nodes] == ["segment", "decision", "segment", "output"]


def test_where_python_decides_the_path_of_these_arguments_is_shown():
    def fun(batch):
        return batch["x"] * 2 if batch["x"] > 0 else jnp.sin(batch["x"])

    above = fx.graph(fun, {"x": jnp.float32(1)})
    below = fx.graph(fun, {"x": jnp.float32(-1)})
    assert operations(above, "mul")
    assert not operations(above, "sin")
    assert operations(below, "sin")
    assert [node.label for node in above.nodes if node.kind == "input"] == ["batch['x']"]
    assert f"test_graph.py:{line_of(fun, 'return')}" in above.notes[0]
    assert operations(below, "sin")[0].place.lineno == line_of(fun, "return")


def test_the_path_of_a_step_keeps_its_passes():
    def loss(x):
        return jnp.sin(x) if x > 0 else x

    graph = fx.graph(jax.value_and_grad(loss), jnp.float32(1))
    assert {node.phase for node in operations(graph, "mul")} == {"backward"}


@pytest.mark.parametrize(
    ("fun", "args"),
    [
        (lambda: jnp.float32(1), ()),
        (lambda x: x, (jnp.ones(3),)),
        (lambda x: (), (jnp.ones(3),)),
        (lambda key: jax.random.normal(key, (3,)), (jax.random.key(0),)),
        (lambda x: jax.debug.print("{}", x), (jnp.ones(3),)),
        (lambda x: jnp.sort(x)[::-1], (jnp.arange(5),)),
        (jax.checkpoint(lambda x: jnp.sin(jnp.sin(x))), (jnp.ones(3),)),
        (jax.vmap(lambda x: x[0] + 1), (jnp.ones((3, 2)),)),
    ],
)
@pytest.mark.parametrize("stage", ["jaxpr", "hlo"])
def test_odd_functions_have_graphs(fun, args, stage):
    graph = fx.graph(fun, *args, stage=stage)
    assert str(graph).startswith(graph.title)
    inputs = sum(node.kind == "input" for node in graph.nodes)
    assert inputs <= len(args) if stage == "hlo" else inputs == len(args)  # XLA drops unused ones


def test_shapes_are_enough_to_trace():
    x = jax.ShapeDtypeStruct((8, 3), jnp.float32)
    graph = fx.graph(lambda x: x @ x.T, x)
    assert operations(graph, "dot_general")[0].outputs == ("f32[8,8]",)


def test_a_functions_options_and_methods_are_kept():
    class Net:
        scale = 3.0

        @fx.function
        def __call__(self, x, power):
            return (x * self.scale) ** power

    graph = fx.graph(Net().__call__, jnp.ones(3), jnp.float32(2))
    assert len(operations(graph, "mul")) >= 1
    function = fx.function(lambda x, power: x**power, static_argnames="power")
    assert operations(fx.graph(function, jnp.ones(3), 3), "integer_pow")
    assert function.stats().calls == 0


def test_another_stage_is_refused_with_those_there_are():
    with pytest.raises(GraphError, match="'jaxpr', 'hlo', 'paths'"):
        fx.graph(jnp.sin, 1.0, stage="mlir")


def test_a_summary_adds_up():
    fun, *args = article()
    graph = fx.graph(fun, *args)
    summary = graph.summary()
    for rows in (summary.by_operation, summary.by_line):
        assert sum(row.count for row in rows) == summary.whole.count == len(operations(graph))
        assert math.isclose(sum(row.flops for row in rows), summary.whole.flops)
        assert [row.flops for row in rows] == sorted((r.flops for r in rows), reverse=True)
    assert summary.by_operation[0].label == "dot_general"
    assert json.dumps(summary.to_dict())


def test_a_labels_quotes_do_not_end_a_dot_string():
    function = fx.function(lambda batch: batch['say "a\\b"'] + 1)
    dot = fx.graph(function, {'say "a\\b"': jnp.ones(3)}).to_dot()
    assert r"\"a" in dot


def test_a_notebook_shows_the_picture():
    shown = fx.graph(jnp.sin, jnp.ones(3))._repr_html_()
    assert shown.startswith("<iframe")
    assert "srcdoc=" in shown
