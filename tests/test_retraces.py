"""Why a program was compiled: each kind of retrace, read as data."""

import contextlib
import functools
import warnings
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import fxgrad as fx
from fxgrad.errors import RetraceWarning
from fxgrad.execution import remade
from fxgrad.signature import TRACE_OPTIONS

x = jnp.ones((4, 3))


@pytest.fixture(autouse=True)
def _no_function_made_before():
    remade.forget()


ONE = np.float32(1)


def total(batch, scale=ONE, *, kind="sum"):
    leaves = [leaf for leaf in jax.tree.leaves(batch) if leaf is not None]
    return sum(jnp.sum(leaf.astype(jnp.result_type(scale)) * scale) for leaf in leaves) * (
        1 if kind == "sum" else 2
    )


def explained(first, second, fun=total, surroundings=contextlib.nullcontext):
    """The second of two calls, each ``(args, kwargs)``, as `.explain()` has it."""
    function = fx.function(fun, mode="static", static_argnames=STATIC.get(fun, ()))
    function(*first[0], **first[1])
    with surroundings():
        function(*second[0], **second[1])
    compilations = function.explain().compilations
    assert len(compilations) == 2
    assert compilations[0].cause == "first call"
    assert compilations[1].nearest == 1
    return compilations[1]


STATIC = {total: ("kind",)}


def call(*args, **kwargs):
    return args, kwargs


def facts(compilation):
    return [(d.kind, d.path, d.before, d.after) for d in compilation.differences]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Record:
    value: jax.Array
    name: str = field(default="a", metadata={"static": True})


def relu(y):
    return jnp.maximum(y, 0)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(
            call({"image": x}),
            call({"image": x[:3]}),
            [("shape", "batch['image']", "f32[4,3]", "f32[3,3]")],
            id="a smaller batch",
        ),
        pytest.param(
            call(x), call(x[0]), [("shape", "batch", "f32[4,3]", "f32[3]")], id="another rank"
        ),
        pytest.param(
            call({"a": x, "b": x}),
            call({"a": x[:2], "b": x[:2]}),
            [
                ("shape", "batch['a']", "f32[4,3]", "f32[2,3]"),
                ("shape", "batch['b']", "f32[4,3]", "f32[2,3]"),
            ],
            id="two leaves at once",
        ),
        pytest.param(
            call([x]),
            call([x.astype(jnp.bfloat16)]),
            [("dtype", "batch[0]", "f32[4,3]", "bf16[4,3]")],
            id="another dtype",
        ),
        pytest.param(
            call(np.ones(3, np.uint8)),
            call(np.ones(3, np.int16)),
            [("dtype", "batch", "u8[3]", "i16[3]")],
            id="another integer dtype, from NumPy",
        ),
        pytest.param(
            call(x, 2.0),
            call(x, jnp.float32(2.0)),
            [("weak type", "scale", "f32[] (weak) from a Python float", "f32[]")],
            id="a Python number, then an array",
        ),
        pytest.param(
            call(x, 2.0),
            call(x, 2),
            [
                (
                    "dtype",
                    "scale",
                    "f32[] (weak) from a Python float",
                    "i32[] (weak) from a Python int",
                )
            ],
            id="a Python float, then an int",
        ),
        pytest.param(
            call(x, kind="sum"),
            call(x, kind="double"),
            [("static value", "kind", "'sum'", "'double'")],
            id="another static value",
        ),
        pytest.param(
            call(x, kind=1),
            call(x, kind=True),
            [("static value", "kind", "1", "True")],
            id="an equal static value of another type",
        ),
        pytest.param(
            call({"a": x}),
            call({"a": x, "mask": x}),
            [("tree structure", "batch['mask']", "absent", "f32[4,3]")],
            id="a new key",
        ),
        pytest.param(
            call({"a": x, "mask": {"b": x, "c": x}}),
            call({"a": x}),
            [("tree structure", "batch['mask']", "dict", "absent")],
            id="a key that is gone, with all below it told once",
        ),
        pytest.param(
            call([x, x]),
            call([x]),
            [("tree structure", "batch[1]", "f32[4,3]", "absent")],
            id="a shorter list",
        ),
        pytest.param(
            call([x, x]),
            call((x, x)),
            [("tree structure", "batch", "list", "tuple")],
            id="another container type",
        ),
        pytest.param(
            call({"a": x, "mask": None}),
            call({"a": x, "mask": x}),
            [("tree structure", "batch['mask']", "NoneType", "f32[4,3]")],
            id="an array in place of None",
        ),
        pytest.param(
            call(Record(x, "a")),
            call(Record(x, "b")),
            [
                (
                    "tree structure",
                    "batch",
                    "PyTreeDef(CustomNode(Record[('a',)], [*]))",
                    "PyTreeDef(CustomNode(Record[('b',)], [*]))",
                )
            ],
            id="a static field of a registered class",
        ),
        pytest.param(
            call(x, 1.0),
            call(x, scale=1.0),
            [("call form", "scale", "passed by position", "passed by keyword")],
            id="a keyword in place of a position",
        ),
        pytest.param(
            call(x),
            call(x, 1.0),
            [("call form", "scale", "left to its default", "passed by position")],
            id="a default that is passed after all",
        ),
        pytest.param(
            call(x, 1.0),
            call(x[:1], 1),
            [
                ("shape", "batch", "f32[4,3]", "f32[1,3]"),
                (
                    "dtype",
                    "scale",
                    "f32[] (weak) from a Python float",
                    "i32[] (weak) from a Python int",
                ),
            ],
            id="two arguments at once",
        ),
    ],
)
def test_a_changed_call_is_told_by_what_changed(first, second, expected):
    compilation = explained(first, second)
    assert compilation.cause == "changed call"
    assert facts(compilation) == expected
    assert compilation.advice
    assert compilation.traced
    assert compilation.programs == 1


def test_committing_to_a_device_is_told():
    compilation = explained(call(x), call(jax.device_put(x, jax.devices()[0])))
    (fact,) = compilation.differences
    assert (fact.kind, fact.path) == ("device", "batch")
    assert (fact.before, fact.after) == ("uncommitted", f"committed to {jax.devices()[0]}")
    assert not compilation.traced


def test_another_device_is_told():
    on = [jax.device_put(x, device) for device in jax.devices()[:2]]
    (fact,) = explained(call(on[0]), call(on[1])).differences
    assert fact.kind == "device"
    assert fact.after == f"committed to {jax.devices()[1]}"


def test_another_sharding_is_told():
    mesh = jax.make_mesh((4,), ("data",), devices=jax.devices()[:4])
    split = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
    (fact,) = explained(call(x), call(split)).differences
    assert (fact.kind, fact.path) == ("sharding", "batch")
    assert "PartitionSpec('data'" in fact.after or "P('data'" in fact.after


def test_an_ambient_mesh_is_told():
    mesh = jax.make_mesh((4,), ("data",), devices=jax.devices()[:4])
    compilation = explained(call(x), call(x), surroundings=lambda: jax.set_mesh(mesh))
    (fact,) = compilation.differences
    assert (fact.kind, fact.before) == ("mesh", "none")
    assert fact.after.startswith("mesh {'data': 4} of ")
    assert fact.after.endswith("devices [0, 1, 2, 3]")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("jax_enable_x64", "toggled"),
        ("jax_default_matmul_precision", "highest"),
        ("jax_numpy_dtype_promotion", "standard"),
        ("jax_numpy_rank_promotion", "raise"),
        ("jax_random_seed_offset", 3),
        ("jax_softmax_custom_jvp", "toggled"),
        ("jax_threefry_partitionable", "toggled"),
        ("jax_debug_key_reuse", "toggled"),
        ("jax_default_device", None),
    ],
)
def test_a_jax_option_is_told(option, value):
    value = jax.devices()[1] if option == "jax_default_device" else value
    before = getattr(jax.config, option)
    value = not before if isinstance(before, bool) else value

    @contextlib.contextmanager
    def changed():
        jax.config.update(option, value)
        try:
            yield
        finally:
            jax.config.update(option, before)

    inputs = call(np.ones(3, np.float32))
    compilation = explained(inputs, inputs, surroundings=changed)
    told = [fact for fact in facts(compilation) if fact[0] == "JAX config"]
    words = repr(getattr(before, "value", before))  # dtype promotion is an enum
    assert told == [("JAX config", option, words, repr(value))]


def is_toggled(option):
    return isinstance(getattr(jax.config, option, None), bool)


@pytest.mark.parametrize("option", [option for option in TRACE_OPTIONS if is_toggled(option)])
def test_every_watched_option_does_trace_again(option):
    function = fx.function(lambda y: y + 1, mode="static")
    inputs = np.ones(3, np.float32)
    function(inputs)
    before = getattr(jax.config, option)
    jax.config.update(option, not before)
    try:
        function(inputs)
    finally:
        jax.config.update(option, before)
    assert function.stats().python_runs == 2


def test_a_derivative_from_outside_is_told_as_a_transform():
    function = fx.function(lambda y: jnp.sum(y**2), mode="static")
    function(x)
    jax.grad(function)(x)
    compilation = function.explain().compilations[-1]
    assert facts(compilation) == [("transform", "the call", "with arrays", "in a derivative")]


def test_transforms_are_told_apart():
    function = fx.function(lambda y: jnp.sum(y**2), mode="static")
    jax.vmap(function)(jnp.ones((8, 3)))
    jax.vmap(function)(jnp.ones((5, 3)))
    jax.jit(function)(jnp.ones(4))
    first, second, third = map(facts, function.explain().compilations)
    assert first == []
    assert second == [("transform", "the call", "in vmap of 8", "in vmap of 5")]
    assert ("transform", "the call", "in vmap of 5", "in another program") in third


def test_a_host_array_then_a_committed_one_is_told():
    inputs = np.ones(3, np.float32)
    (fact,) = explained(call(inputs), call(jax.device_put(inputs, jax.devices()[0]))).differences
    assert (fact.kind, fact.before) == ("device", "uncommitted")


def test_an_argument_whose_name_begins_with_anothers_is_told_by_itself():
    function = fx.function(lambda batch, batch_mask: batch[0] * 0 + jnp.sum(batch_mask))
    function([x], x)
    function((x,), x[:2])
    assert [d.path for d in function.explain().compilations[1].differences] == [
        "batch",
        "batch_mask",
    ]


def test_the_form_of_the_call_is_told_beside_other_differences():
    function = fx.function(lambda y, rate: y * rate, mode="static")
    function(x, 0.1)
    function(x, jnp.float32(1))
    function(x, rate=0.3)
    (fact,) = function.explain().compilations[2].differences
    assert (fact.kind, function.explain().compilations[2].nearest) == ("call form", 1)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            lambda: jax.random.key(0, impl="threefry2x32"),
            lambda: jax.random.key(0, impl="rbg"),
            ("key<fry>[]", "key<rbg>[]"),
        ),
        (
            lambda: jnp.ones(2, jnp.float8_e4m3fn),
            lambda: jnp.ones(2, jnp.float8_e5m2),
            ("float8_e4m3fn[2]", "float8_e5m2[2]"),
        ),
    ],
)
def test_unusual_dtypes_are_told_apart(before, after, words):
    (fact,) = explained(call(before()), call(after()), fun=lambda value: value).differences
    assert (fact.before, fact.after) == words


def test_cleared_caches_are_told_as_the_same_call_again():
    function = fx.function(lambda y: y * 3, mode="static")
    function(x)
    jax.clear_caches()
    function(x)
    compilation = function.explain().compilations[-1]
    assert compilation.cause == "same call again"
    assert compilation.differences == ()
    assert "jax.clear_caches()" in compilation.advice[0]


def test_a_static_function_made_anew_is_told_to_be_made_once():
    def apply(y, activation):
        return activation(y)

    function = fx.function(apply, mode="static", static_argnames="activation")
    for _ in range(2):
        function(x, lambda y: y + 1)
    (fact,) = function.explain().compilations[-1].differences
    assert (fact.kind, fact.path) == ("static value", "activation")
    assert "made anew" in function.explain().compilations[-1].advice[0]
    function(x, relu)
    assert "take it out of static_argnames" in function.explain().compilations[-1].advice[0]


def test_extra_positional_and_keyword_arguments_have_names():
    function = fx.function(lambda *xs, **named: sum(xs) + named["z"], mode="static")
    function(x, x, z=1.0)
    function(x, x[:1], z=1)
    assert [d.path for d in function.explain().compilations[-1].differences] == ["xs[1]", "z"]


def test_the_nearest_earlier_call_is_the_one_compared_with():
    function = fx.function(lambda a, b: jnp.sum(a) + jnp.sum(b), mode="static")
    function(x, x)
    function(x[:2], x[:2])
    function(x[:2], x[:3])
    compilation = function.explain().compilations[-1]
    assert compilation.nearest == 2
    assert facts(compilation) == [("shape", "b", "f32[2,3]", "f32[3,3]")]


def test_a_repeated_call_is_not_told():
    function = fx.function(lambda y: y + 1, mode="static")
    for _ in range(5):
        function(x)
        function(np.ones((4, 3), np.float32))
    assert len(function.explain().compilations) == 1


def test_the_line_of_the_call_is_told():
    function = fx.function(lambda y: y + 1, mode="static")
    function(x)
    place = function.explain().compilations[0].place
    assert place.filename == __file__
    assert place.line == "function(x)"


def remake(times):
    def loss(y):
        return jnp.sum(y**2)

    for _ in range(times):
        function = fx.function(functools.wraps(loss)(lambda y: loss(y)), mode="static")
        function(x)
    return function


def test_a_function_made_anew_in_a_loop_is_told():
    assert remake(1).explain().compilations[0].cause == "first call"
    remade.forget()
    compilation = remake(2).explain().compilations[0]
    assert compilation.cause == "remade function"
    assert "has been made into a Function 2 times" in compilation.advice[0]
    assert "outside the loop" in compilation.advice[0]


def test_a_function_made_anew_five_times_is_warned_of_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        remake(8)
    (warning,) = [w for w in caught if w.category is RetraceWarning]
    assert warning.filename == __file__
    assert "5 times" in str(warning.message)


def test_methods_of_many_instances_are_not_told_as_remade():
    class Scaler:
        def __init__(self, factor):
            self.factor = factor

        @fx.function(mode="static")
        def scale(self, y):
            return y * self.factor

    for factor in range(8):
        scaler = Scaler(float(factor))
        scaler.scale(x)
        assert scaler.scale.explain().compilations[0].cause == "first call"


def test_functions_of_computed_captures_are_not_told_as_remade():
    def make(factor):
        return fx.function(lambda y: y * factor, mode="static")

    for i in range(8):
        function = make(i * 0.1)
        function(x)
        assert function.explain().compilations[0].cause == "first call"


def test_functions_of_one_factory_with_different_captures_are_not_told_as_remade():
    def make(factor):
        return fx.function(lambda y: y * factor, mode="static")

    for factor in (1.5, 2.5, 3.5):
        function = make(factor)
        function(x)
        assert function.explain().compilations[0].cause == "first call"


def test_a_history_is_bounded_and_says_what_it_forgot():
    function = fx.function(lambda y: y + 1, mode="static")
    for n in range(1, 261):
        function(np.ones(n, np.float32))
    explanation = function.explain()
    assert len(explanation.compilations) == 256
    assert explanation.forgotten == 4
    assert explanation.compilations[-1].number == 260


def test_an_explanation_prints_and_is_plain_data():
    function = fx.function(total, mode="static", static_argnames="kind")
    function({"image": x})
    function({"image": x[:3]})
    text = str(function.explain())
    assert "total (test_retraces.py:" in text.replace("tests/", "")
    assert "batch['image']: f32[4,3] → f32[3,3]  (shape)" in text
    assert "→ keep shapes fixed" in text
    data = function.explain().to_dict()
    assert data["compilations"][1]["differences"] == [
        {"kind": "shape", "path": "batch['image']", "before": "f32[4,3]", "after": "f32[3,3]"}
    ]
