"""What a Function is: its counts, its options, its introspection, its place in other code."""

import copy
import functools
import gc
import inspect
import pickle  # noqa: TID251  users pickle references to functions
import threading
import weakref
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import fxgrad as fx
from fxgrad.errors import ArgumentError, ValueDependenceError
from fxgrad.modes import MODES

every_mode = pytest.mark.parametrize("mode", MODES)


@fx.function
def documented(x, *, scale: float = 2.0):
    """Scale an array."""
    return x * scale


def test_a_function_looks_like_the_function_it_wraps():
    assert documented.__name__ == "documented"
    assert documented.__doc__ == "Scale an array."
    assert documented.__module__ == __name__
    assert str(inspect.signature(documented)) == "(x, *, scale: float = 2.0)"
    assert inspect.unwrap(documented) is documented.__wrapped__
    assert repr(documented) == "fx.function(documented)"


def test_a_function_is_pickled_and_copied_by_reference():
    assert pickle.loads(pickle.dumps(documented)) is documented
    assert copy.copy(documented) is documented
    assert copy.deepcopy(documented) is documented


@every_mode
def test_a_decorator_takes_options(mode):
    @fx.function(mode=mode, static_argnames=("power",))
    def raised(x, power):
        return x**power

    np.testing.assert_allclose(raised(jnp.full(3, 2.0), 3), 8.0)
    assert raised.stats().calls_by_mode == {mode: 1}


def test_static_counts_are_exact():
    function = fx.function(lambda x: jnp.sin(x) + 1, mode="static")
    for length in (3, 3, 4, 3, 4, 5):
        function(jnp.ones(length))
    stats = function.stats()
    assert (stats.calls, stats.python_runs, stats.programs, stats.misses) == (6, 3, 3, 3)
    assert stats.compile_seconds > 0
    assert stats.host_reads == 0


def test_eager_runs_python_at_every_call():
    function = fx.function(lambda x: x + 1, mode="eager")
    for _ in range(4):
        function(jnp.ones(3))
    assert function.stats().python_runs == 4


def test_a_program_counts_for_the_innermost_function_alone():
    inner = fx.function(lambda x: jnp.cos(x) * 3, mode="static")
    outer = fx.function(lambda x: inner(x), mode="eager")
    outer(jnp.ones(11))
    assert inner.stats().programs == 1
    assert outer.stats().programs == 0


def test_a_static_function_inside_a_static_one_is_part_of_its_program():
    inner = fx.function(lambda x: jnp.cos(x) * 3, mode="static")
    outer = fx.function(lambda x: inner(x) + 1, mode="static")
    outer(jnp.ones(11))
    assert (inner.stats().programs, inner.stats().python_runs) == (0, 1)
    assert outer.stats().programs == 1


def test_work_outside_of_functions_counts_for_none():
    function = fx.function(lambda x: x + 1, mode="static")
    jax.jit(lambda x: x * 5)(jnp.ones(13))
    function(jnp.ones(3))
    jax.jit(lambda x: x * 7)(jnp.ones(13))
    function(jnp.ones(3))
    assert function.stats().programs == 1


def test_counts_are_exact_under_eight_threads():
    function = fx.function(lambda x: x * 2 + 1, mode="static")
    inputs = [jnp.ones(n) for n in range(1, 9)]
    start = threading.Barrier(8)

    def work():
        start.wait()
        for _ in range(100):
            for x in inputs:
                function(x)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = function.stats()
    assert stats.calls == 8 * 100 * 8
    assert stats.programs == 8


def test_clear_drops_programs_counts_and_explanations():
    function = fx.function(lambda x: x + 1, mode="static")
    function(jnp.ones(3))
    function.clear()
    assert function.stats().calls == 0
    assert function.explain().compilations == ()
    function(jnp.ones(3))
    assert function.stats().programs == 1


def test_stats_are_plain_values_that_print():
    function = fx.function(lambda x: x + 1, mode="static")
    function(jnp.ones(3))
    assert function.stats().to_dict()["calls_by_mode"] == {"static": 1}
    assert str(function.stats()).startswith(
        "1 calls (static 1), 1 Python runs, 1 programs built (static 1) in "
    )


def test_a_donated_argument_is_taken_by_static_and_left_by_eager():
    function = fx.function(lambda state, x: state + x, donate_argnames="state")
    for mode, taken in (("eager", False), ("static", True)):
        state = jnp.ones(5)
        with fx.mode(mode):
            np.testing.assert_allclose(function(state, jnp.ones(5)), 2.0)
        assert state.is_deleted() is taken


@every_mode
def test_shardings_are_passed_through(mode):
    mesh = jax.make_mesh((8,), ("data",))
    split, whole = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())
    function = fx.function(
        lambda x, y, power: {"a": x**power, "b": y},
        mode=mode,
        static_argnames="power",
        in_shardings=(split, None),
        out_shardings={"a": split, "b": whole},
    )
    result = function(jnp.arange(8.0), jnp.ones(3), 2)
    np.testing.assert_allclose(result["a"], np.arange(8.0) ** 2)
    assert result["a"].sharding.is_equivalent_to(split, 1)
    assert result["b"].sharding.is_equivalent_to(whole, 1)


class Scaler:
    def __init__(self, factor):
        self.factor = factor

    @fx.function
    def scale(self, x):
        """Scale."""
        return x * self.factor

    @fx.function(mode="eager")
    def __call__(self, x):
        return x * self.factor

    @staticmethod
    @fx.function
    def doubled(x):
        return x * 2


@every_mode
def test_a_method_runs_with_its_instance(mode):
    with fx.mode(mode):
        np.testing.assert_allclose(Scaler(3.0).scale(jnp.ones(2)), 3.0)
        np.testing.assert_allclose(Scaler(5.0).scale(jnp.ones(2)), 5.0)
        np.testing.assert_allclose(Scaler(5.0)(jnp.ones(2)), 5.0)
        np.testing.assert_allclose(Scaler.doubled(jnp.ones(2)), 2.0)


def test_each_instance_has_its_own_programs_and_counts():
    one, other = Scaler(3.0), Scaler(5.0)
    one.scale(jnp.ones(2))
    one.scale(jnp.ones(2))
    other.scale(jnp.ones(2))
    assert (one.scale.stats().calls, one.scale.stats().programs) == (2, 1)
    assert (other.scale.stats().calls, other.scale.stats().programs) == (1, 1)
    assert str(inspect.signature(one.scale)) == "(x)"
    assert one.scale.__doc__ == "Scale."


def test_a_method_does_not_keep_its_instance_alive():
    instance = Scaler(3.0)
    instance.scale(jnp.ones(2))
    alive = weakref.ref(instance)
    del instance
    gc.collect()
    assert alive() is None


def test_a_slotted_class_gets_an_error_that_says_what_to_add():
    class Slotted:
        __slots__ = ()

        @fx.function
        def run(self, x):
            return x

    with pytest.raises(ArgumentError, match="__weakref__"):
        Slotted().run(jnp.ones(2))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Layer:
    weight: jax.Array

    @fx.function
    def forward(self, x):
        return x * self.weight


def test_self_is_an_argument_where_the_class_is_a_pytree():
    one, other = Layer(jnp.full(2, 3.0)), Layer(jnp.full(2, 5.0))
    programs = Layer.forward.stats().programs
    np.testing.assert_allclose(one.forward(jnp.ones(2)), 3.0)
    np.testing.assert_allclose(other.forward(jnp.ones(2)), 5.0)
    assert Layer.forward.stats().programs == programs + 1
    gradient = jax.grad(lambda layer: jnp.sum(layer.forward(jnp.ones(2))))(one)
    np.testing.assert_allclose(gradient.weight, 1.0)


@every_mode
def test_partials_and_callable_objects_are_functions_too(mode):
    class Increment:
        def __call__(self, x):
            return x + 1

    partial = functools.partial(lambda x, y: x + y, y=1.0)
    for fun in (Increment(), partial, jnp.sin, jax.jit(lambda x: x + 1)):
        expected = fun(jnp.ones(3))
        np.testing.assert_allclose(fx.function(fun, mode=mode)(jnp.ones(3)), expected)


@every_mode
def test_outputs_keep_their_structure_and_dtypes(mode):
    def fun(x):
        return {"a": (x, [x.astype(jnp.int32)]), "b": None}

    result = fx.function(fun, mode=mode)(jnp.ones(3, jnp.bfloat16))
    assert jax.tree.structure(result) == jax.tree.structure(fun(jnp.ones(3)))
    assert result["a"][0].dtype == jnp.bfloat16
    assert result["a"][1][0].dtype == jnp.int32


@every_mode
def test_an_exception_of_the_function_comes_out_as_it_is(mode):
    def fun(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fx.function(fun, mode=mode)(jnp.ones(3))


@every_mode
def test_a_wrong_call_gets_pythons_own_error(mode):
    with pytest.raises(TypeError, match=r"missing .*argument: 'y'"):
        fx.function(lambda x, y: x, mode=mode)(jnp.ones(3))


def test_a_leaf_that_static_cannot_take_is_named_by_its_path():
    function = fx.function(lambda batch, kind: batch["x"], mode="static")
    with pytest.raises(ArgumentError, match=r"kind is a str.*static_argnames='kind'") as caught:
        function({"x": jnp.ones(3)}, "sum")
    assert caught.value.path == "kind"
    with pytest.raises(ArgumentError) as caught:
        function({"x": [jnp.ones(3), object()]}, 1)
    assert caught.value.path == "batch['x'][1]"


def test_an_unhashable_static_argument_is_named():
    function = fx.function(lambda x, sizes: x, mode="static", static_argnames="sizes")
    with pytest.raises(ArgumentError, match=r"sizes is a list.*tuple") as caught:
        function(jnp.ones(3), [1, 2])
    assert caught.value.path == "sizes"


@pytest.mark.parametrize("option", ["static_argnames", "donate_argnames"])
def test_an_option_that_names_no_parameter_is_refused_at_once(option):
    with pytest.raises(ArgumentError, match=f"{option} names 'y', but the parameters are"):
        fx.function(lambda x: x, **{option: "y"})


def test_what_is_no_function_is_refused():
    with pytest.raises(ArgumentError, match="takes a function"):
        fx.function("eager")


@pytest.mark.parametrize(
    ("fun", "way_out"),
    [
        (lambda x: 1.0 if x[0] > 0 else 2.0, "jax.lax.cond"),
        (lambda x: [0] * int(x[0]), "static_argnames"),
        (lambda x: [1, 2, 3][x[0].astype(int)], "fori_loop"),
        (lambda x: np.asarray(x), "jax.numpy"),
        (lambda x: x[x > 0], "jax.numpy.where"),
        (lambda x: x[0].item(), "static_argnames"),
        (lambda x: jnp.arange(x[0]), "static_argnames"),
        (lambda x: jnp.nonzero(x), "size=…"),
    ],
)
def test_a_value_that_static_does_not_have_is_an_error_with_ways_out(fun, way_out):
    with pytest.raises(ValueDependenceError) as caught:
        fx.function(fun, mode="static")(jnp.ones(3))
    assert caught.value.filename == __file__
    assert way_out in str(caught.value)
    assert isinstance(caught.value, TypeError)
    assert caught.value.__cause__ is not None


def test_a_default_that_is_an_array_is_part_of_the_program():
    twos = np.full(3, 2.0, np.float32)
    function = fx.function(lambda x, w=twos: x * w, mode="static")
    np.testing.assert_allclose(function(jnp.ones(3)), 2.0)
    np.testing.assert_allclose(function(jnp.ones(3), jnp.ones(3)), 1.0)
    assert [c.cause for c in function.explain().compilations] == ["first call", "changed call"]


@every_mode
def test_a_decorator_that_adds_arguments_is_called_as_it_is(mode):
    def inject(fun):
        @functools.wraps(fun)
        def wrapped(x):
            return fun(x, 2.0)

        return wrapped

    function = fx.function(inject(lambda x, scale: x * scale), mode=mode)
    np.testing.assert_allclose(function(jnp.ones(3)), 2.0)


@every_mode
def test_an_unhashable_default_of_a_static_argument_hides_no_error(mode):
    def fun(x, sizes=[1, 2]):  # noqa: B006
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fx.function(fun, mode=mode, static_argnames="sizes")(jnp.ones(3))


def test_a_call_that_failed_is_not_explained_as_compiled():
    function = fx.function(lambda x, y: x + y["k"], mode="static")
    with pytest.raises(KeyError):
        function(jnp.ones(3), {})
    function(jnp.ones(3), {"k": jnp.ones(3)})
    (compilation,) = function.explain().compilations
    assert (compilation.cause, compilation.call) == ("first call", 2)
    assert function.stats().python_runs == 2
    assert function.stats().misses == 1


def test_an_object_with_names_like_a_functions_own_does_not_replace_them():
    class Net:
        def __init__(self):
            self.stats, self.lower = {"mean": 0.0}, 0

        def __call__(self, x):
            return x

    function = fx.function(Net())
    function(jnp.ones(3))
    assert function.stats().calls == 1


@every_mode
def test_a_bound_name_may_be_static(mode):
    class Net:
        factor = 3.0

        @fx.function(static_argnames="self")
        def scale(self, x):
            return x * self.factor

        @classmethod
        @fx.function(static_argnames="cls")
        def scale_class(cls, x):
            return x * cls.factor

    with fx.mode(mode):
        np.testing.assert_allclose(Net().scale(jnp.ones(2)), 3.0)
        np.testing.assert_allclose(Net.scale_class(jnp.ones(2)), 3.0)


def test_bound_functions_answer_what_functions_answer():
    layer = Layer(jnp.full(2, 3.0))
    assert str(inspect.signature(layer.forward)) == "(x)"
    assert "stablehlo.multiply" in layer.forward.lower(jnp.ones(2)).as_text()
    np.testing.assert_allclose(layer.forward.in_mode("eager")(jnp.ones(2)), 3.0)
    scaler = Scaler(3.0)
    assert scaler.scale == scaler.scale
    assert scaler.scale != Scaler(3.0).scale
    np.testing.assert_allclose(scaler.scale.in_mode("eager")(jnp.ones(2)), 3.0)
    comparison = fx.compare(scaler.scale, jnp.ones(2), calls=1)
    assert comparison.timings["static"].programs == 1
    assert scaler.scale.stats().calls == 0


@every_mode
def test_in_shardings_with_a_keyword_are_refused_in_every_mode(mode):
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    function = fx.function(lambda x: x, mode=mode, in_shardings=sharding)
    with pytest.raises(ArgumentError, match="x is passed by keyword"):
        function(x=jnp.ones(3))


def test_a_program_from_the_persistent_cache_is_not_built(tmp_path):
    options = {
        "jax_compilation_cache_dir": str(tmp_path),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in options}
    for name, value in options.items():
        jax.config.update(name, value)
    try:
        programs = []
        for _ in range(2):
            function = fx.function(lambda x: jnp.sin(x) * 41.5, mode="static")
            function(jnp.ones(7))
            programs.append(function.stats().programs)
            jax.clear_caches()
        assert programs == [1, 0]
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        jax.experimental.compilation_cache.compilation_cache.reset_cache()


def test_nothing_that_a_function_held_outlives_it():
    class Held:
        pass

    held = Held()
    alive = weakref.ref(held)
    fx.function(lambda x, held: x, mode="static", static_argnames="held")(jnp.ones(2), held)
    del held
    jax.clear_caches()
    gc.collect()
    assert alive() is None


def test_lower_gives_the_static_graph():
    lowered = fx.function(lambda x: jnp.sin(x)).lower(jnp.ones(3))
    assert "stablehlo.sine" in lowered.as_text()
