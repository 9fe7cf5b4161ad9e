"""Graphs as data: what was traced, what XLA made of it, and the paths of replay."""

import functools
import inspect
import json
import math

import jax
import jax.numpy as jnp
import pytest

import fxgrad as fx
from fxgrad.errors import GraphError
from fxgrad.graphs.hlo_text import read_program
from fxgrad.graphs.words import modules_in, phase_in
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
    assert len(json.loads(graph.to_json())["nodes"]) == len(graph.nodes)
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
        ("block(0)", ["block(0)"]),
        ("jvp(Net)/rematted_computation/Dense_0", ["Net", "Dense_0"]),
    ],
)
def test_modules_are_read_from_a_scope(scope, modules):
    assert modules_in(scope) == modules


@pytest.mark.parametrize(
    ("scope", "phase"),
    [
        ("", None),
        ("Net/Dense_0", None),
        ("jvp(Net)/Dense_0", "forward"),
        ("jit(step)/jvp()/dot", "forward"),
        ("transpose(jvp(Net))/Dense_0", "backward"),
        ("jit(step)/transpose(jvp(jit(f)))/mul", "backward"),
        ("vmap(transpose(jvp()))", "backward"),
        ("transpose(x)", None),
    ],
)
def test_the_pass_is_read_from_a_scope(scope, phase):
    assert phase_in(scope) == phase


def test_what_follows_from_the_derivatives_is_the_update_in_both_stages():
    def loss(w, x):
        return jnp.mean((x @ w) ** 2)

    def step(w, velocity, x):
        slope = jax.grad(loss)(w, x)
        velocity = 0.9 * velocity + slope
        return w - 0.1 * velocity, velocity

    args = jnp.ones((3, 1)), jnp.ones((3, 1)), jnp.ones((8, 3))
    for stage, kinds in (
        ("jaxpr", ("mul", "add", "sub")),
        ("hlo", ("multiply", "add", "subtract")),
    ):
        graph = fx.graph(step, *args, stage=stage)
        lines = (line_of(step, "0.9 * velocity"), line_of(step, "0.1 * velocity"))
        updating = [n for n in operations(graph) if n.place and n.place.lineno in lines]
        assert {node.phase for node in updating} == {"update"}
        assert {node.label for node in updating} == set(kinds)
        assert {node.phase for node in operations(graph)} == {"forward", "backward", "update"}


def test_a_nested_function_after_an_update_has_the_pass_of_its_call():
    inner = jax.jit(lambda w, x: jnp.tanh(x @ w) + x.sum())

    def loss(w, x):
        return jnp.mean(inner(w, x) ** 2)

    def two_steps(w, x):
        w = w - jax.grad(loss)(w, x)
        return w - jax.grad(loss)(w, x)

    graph = fx.graph(two_steps, jnp.ones((3, 3)), jnp.ones((8, 3)))
    assert {node.phase for node in operations(graph, "tanh")} == {"forward"}


@pytest.mark.parametrize(
    ("fun", "count"),
    [
        (lambda x: jax.lax.top_k(x, 2), 2),
        (lambda x: jax.lax.sort((x, x + 1)), 2),
        (
            lambda x: jax.lax.while_loop(
                lambda c: c[1] < 3, lambda c: (c[0] * 2, c[1] + 1), (x, 0)
            ),
            2,
        ),
        (lambda x: jax.lax.cond(x[0] > 0, lambda v: (v, v * 2), lambda v: (v * 3, v), x), 2),
        (lambda x: {"a": x, "b": (x + 1, x * 2)}, 3),
    ],
)
def test_every_output_is_there_in_both_stages(fun, count):
    for stage in ("jaxpr", "hlo"):
        graph = fx.graph(fun, jnp.arange(9.0), stage=stage)
        outputs = [node for node in graph.nodes if node.kind == "output"]
        assert len(outputs) == count
        assert all(any(e.target == o.number for e in graph.edges) for o in outputs)


def test_data_flows_through_a_mutable_array():
    def fun(x):
        cell = jax.new_ref(x)
        cell[...] = cell[...] * 2
        return cell[...]

    graph = fx.graph(fun, jnp.ones(3))
    (product,) = operations(graph, "mul")
    ahead, seen = [product.number], set()
    while ahead:
        seen.add(node := ahead.pop())
        ahead += [e.target for e in graph.edges if e.source == node and e.target not in seen]
    assert any(graph.nodes[number].kind == "output" for number in seen)


def test_a_checkpoint_or_a_scope_leaves_the_other_functions_their_groups():
    def fun(x):
        with jax.named_scope("named"):
            x = x * 3
        return jax.checkpoint(layer)(layer(x))

    graph = fx.graph(fun, jnp.ones(3))
    labels = {label for node in operations(graph) for label in labels_around(graph, node)}
    assert {"named", "layer"} <= labels
    assert "rematted_computation" not in labels


def test_a_scope_that_is_named_like_an_attribute_does_no_harm():
    def fun(x):
        with jax.named_scope("body=zzz"):
            return jax.lax.fori_loop(0, 3, lambda i, c: c * 2, x)

    assert operations(fx.graph(fun, jnp.ones(3), stage="hlo"))


@pytest.mark.parametrize(
    ("fun", "args"),
    [
        (lambda x, n: sum([x] * n), (jnp.ones(3), 3)),
        (lambda x, name: getattr(jnp, name)(x), (jnp.ones(3), "sin")),
        (lambda x: {"a": x + 1, "c": "words"}, (jnp.ones(3),)),
    ],
)
def test_what_static_cannot_take_is_shown_as_the_path_of_one_run(fun, args):
    for stage in ("jaxpr", "hlo"):
        graph = fx.graph(fun, *args, stage=stage)
        assert operations(graph)
        assert "the path that these arguments take" in graph.notes[0]
        assert sum(node.kind == "output" for node in graph.nodes) == 1


def test_shapes_alone_are_refused_where_python_decides():
    with pytest.raises(GraphError, match="give arrays instead of shapes"):
        fx.graph(lambda x: x if x > 0 else -x, jax.ShapeDtypeStruct((), jnp.float32))


def test_looking_leaves_nothing_behind_in_the_function():
    function = fx.function(lambda x: x * 2 + 1, mode="static")
    for stage in ("jaxpr", "hlo"):
        fx.graph(function, jnp.ones(3), stage=stage)
    assert function.stats().python_runs == 0
    function(jnp.ones(3))
    assert function.stats().programs == 1
    assert function.stats().misses == 1


def test_names_and_reprs_are_short():
    graph = fx.graph(functools.partial(two_layers), jnp.ones(50))
    assert graph.title == "two_layers"
    assert repr(graph).startswith("Graph('two_layers', 'jaxpr', ")
    assert len(repr(graph)) < 100


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
