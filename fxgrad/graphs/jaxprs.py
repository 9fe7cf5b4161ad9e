"""The graph of what was traced: equations of a jaxpr, nested functions and loops as groups."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fxgrad.graphs.cost import Costs
from fxgrad.graphs.record import Phase
from fxgrad.graphs.sketch import GroupKey, Path, Sketch, functions_in
from fxgrad.graphs.words import (
    branch_name,
    detail_of,
    has_more_inside,
    in_words,
    modules_in,
    phase_in,
)
from fxgrad.places import Place, is_users
from fxgrad.recorder import (
    called_jaxpr,
    frames_of,
    is_literal,
    names_in,
    open_jaxpr,
    place_of,
    scan_parts,
    scope_of,
    written_by,
)

Sources = tuple[int, ...]


@dataclass(frozen=True)
class _Around:
    """What is around an equation of a nested function: all that it does not say itself."""

    functions: Path | None = None
    nest: Path = ()
    told: Phase | None = None
    runs: int | None = 1
    place: Place | None = None
    in_library: bool = False


@dataclass(frozen=True)
class _Here:
    """Where one equation stands."""

    functions: Path
    nest: Path
    told: Phase | None
    runs: int | None
    place: Place | None
    in_library: bool

    def inside(self, key: GroupKey | None, **changed: Any) -> _Around:
        """What is around the equations inside of this one."""
        nest = self.nest if key is None else (*self.nest, key)
        return dataclasses.replace(_Around(**vars(self)), nest=nest, **changed)


class JaxprSketch:
    """Walks through a jaxpr, into nested ones, and sketches its nodes.

    Attributes:
      closed: the primitives that hold functions which are not walked into.
    """

    def __init__(self, sketch: Sketch) -> None:
        self.closed: set[str] = set()
        self._sketch = sketch
        self._costs = Costs()
        self._sources: dict[Any, Sources] = {}
        self._calls = itertools.count()

    def draw(self, jaxpr: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """The whole graph; `inputs` and `outputs` are the user's names, where they are known."""
        inner = open_jaxpr(jaxpr)
        for i, var in enumerate(inner.constvars):
            self._set(var, [self._boundary("constant", f"constant {i}", var.aval)])
        for i, var in enumerate(inner.invars):
            name = inputs[i] if i < len(inputs) else f"argument {i}"
            self._set(var, [self._boundary("input", name, var.aval)])
        self._equations(inner, _Around())
        for i, atom in enumerate(inner.outvars):
            name = outputs[i] if i < len(outputs) else f"result[{i}]"
            number = self._boundary("output", name.replace("result", "output", 1), atom.aval)
            self._sketch.connect(self._read(atom), number, in_words(atom.aval))

    def _boundary(self, kind: str, label: str, aval: Any) -> int:
        return self._sketch.add(
            kind=kind, label=label, outputs=(in_words(aval),), flops=0.0, bytes=0.0
        )

    def _equations(self, jaxpr: Any, around: _Around) -> None:
        for equation in jaxpr.eqns:
            here = self._stand(equation, around)
            inside = _INSIDES.get(equation.primitive.name)
            if inside is not None:
                inside(self, equation, here)
            elif (called := _called(equation)) is not None:
                self._call(equation, called, here)
            else:
                self._operation(equation, here)

    def _stand(self, equation: Any, around: _Around) -> _Here:
        source = equation.source_info
        scope = scope_of(source)
        nest = (*around.nest, *(GroupKey("scope", name) for name in modules_in(scope)))
        functions = around.functions
        if functions is None:
            functions = functions_in(frames_of(source))
        place = place_of(source)
        if around.in_library or place is None:
            place = around.place or place
        told = around.told if around.told == "backward" else phase_in(scope) or around.told
        return _Here(functions, nest, told, around.runs, place, around.in_library)

    def _operation(self, equation: Any, here: _Here) -> None:
        avals = [atom.aval for atom in equation.invars]
        cost = self._costs.of(equation.primitive, equation.params, avals)
        number = self._add(equation, here, flops=cost.flops, bytes=cost.bytes)
        for atom in equation.invars:
            self._sketch.connect(self._read(atom), number, in_words(atom.aval))
        for var in written_by(equation):
            self._set(var, [number])
        if has_more_inside(equation):
            self.closed.add(equation.primitive.name)

    def _add(self, equation: Any, here: _Here, **facts: Any) -> int:
        number = self._sketch.add(
            kind="operation",
            label=equation.primitive.name,
            functions=here.functions,
            nest=here.nest,
            told=here.told,
            place=here.place,
            outputs=tuple(in_words(var.aval) for var in equation.outvars),
            detail=detail_of(equation),
            runs=here.runs,
            **facts,
        )
        for var in equation.outvars:
            self._set(var, [number])
        return number

    def _call(self, equation: Any, called: Any, here: _Here) -> None:
        """A nested function: its equations in a group of their own, if there are several."""
        file = names_in(called)[0]
        inner = open_jaxpr(called)
        key = None
        if len(inner.eqns) > 1:
            name = str(equation.params.get("name") or equation.primitive.name)
            key = GroupKey("function", name, next(self._calls))
        # JAX traces its own functions once: their equations bear the line of the first call.
        in_library = here.in_library or not file or not is_users(file)
        self._enter(called, list(map(self._read, equation.invars)))
        self._equations(inner, here.inside(key, in_library=in_library))
        for var, atom in zip(equation.outvars, inner.outvars, strict=True):
            self._set(var, self._read(atom))

    def _cond(self, equation: Any, here: _Here) -> None:
        """The branches, each a group, and an operation that chooses among what they give."""
        choice = GroupKey("branch", "cond", next(self._calls))
        predicate, *operands = equation.invars
        chosen: list[list[Sources]] = [[] for _ in equation.outvars]
        branches = equation.params["branches"]
        for i, branch in enumerate(branches):
            key = GroupKey("branch", branch_name(i, len(branches)), next(self._calls))
            self._enter(branch, list(map(self._read, operands)))
            around = dataclasses.replace(here, nest=(*here.nest, choice)).inside(key)
            self._equations(open_jaxpr(branch), around)
            for sources, atom in zip(chosen, open_jaxpr(branch).outvars, strict=True):
                sources.append(self._read(atom))
        number = self._joint(equation, here, choice)
        self._sketch.connect(self._read(predicate), number, in_words(predicate.aval))
        for var, sources in zip(equation.outvars, chosen, strict=True):
            self._sketch.connect(itertools.chain(*sources), number, in_words(var.aval))

    def _scan(self, equation: Any, here: _Here) -> None:
        """The body, once for each turn; what is carried goes back to the loop's own node."""
        params = equation.params
        key = GroupKey("loop", f"scan of {params['length']}", next(self._calls))
        number = self._joint(equation, here, key)
        constants, carried, gone_through = scan_parts(params, equation.invars)
        for atom in (*carried, *gone_through):
            self._sketch.connect(self._read(atom), number, in_words(atom.aval))
        turns = [(number,)] * (len(carried) + len(gone_through))
        self._enter(params["jaxpr"], [*map(self._read, constants), *turns])
        runs = None if here.runs is None else here.runs * params["length"]
        self._equations(open_jaxpr(params["jaxpr"]), here.inside(key, runs=runs))
        self._carry_back(open_jaxpr(params["jaxpr"]), number)

    def _while(self, equation: Any, here: _Here) -> None:
        """Condition and body; how often they run is not known beforehand."""
        params = equation.params
        key = GroupKey("loop", "while", next(self._calls))
        number = self._joint(equation, here, key)
        of_cond, of_body = params["cond_nconsts"], params["body_nconsts"]
        constants = list(map(self._read, equation.invars[: of_cond + of_body]))
        carried = equation.invars[of_cond + of_body :]
        for atom in carried:
            self._sketch.connect(self._read(atom), number, in_words(atom.aval))
        turns = [(number,)] * len(carried)
        around = here.inside(key, runs=None)
        for jaxpr, held in (
            (params["cond_jaxpr"], constants[:of_cond]),
            (params["body_jaxpr"], constants[of_cond:]),
        ):
            self._enter(jaxpr, [*held, *turns])
            self._equations(open_jaxpr(jaxpr), around)
            self._carry_back(open_jaxpr(jaxpr), number)

    def _joint(self, equation: Any, here: _Here, key: GroupKey) -> int:
        """The node of a loop or a choice itself, inside its group; it costs nothing."""
        within = dataclasses.replace(here, nest=(*here.nest, key))
        return self._add(equation, within, flops=0.0, bytes=0.0)

    def _carry_back(self, body: Any, number: int) -> None:
        for atom in body.outvars:
            self._sketch.connect(self._read(atom), number, in_words(atom.aval), "carry")

    def _enter(self, jaxpr: Any, inputs: Sequence[Sources]) -> None:
        """Bind the inputs of a nested jaxpr. One that was traced once is entered many times."""
        inner = open_jaxpr(jaxpr)
        for var in inner.constvars:
            self._set(var, ())
        for var, sources in zip(inner.invars, inputs, strict=True):
            self._set(var, sources)

    def _set(self, var: Any, sources: Sequence[int]) -> None:
        self._sources[var] = tuple(sources)

    def _read(self, atom: Any) -> Sources:
        return () if is_literal(atom) else self._sources[atom]


_INSIDES: Final[dict[str, Callable[[JaxprSketch, Any, _Here], None]]] = {
    "cond": JaxprSketch._cond,
    "scan": JaxprSketch._scan,
    "while": JaxprSketch._while,
}


def _called(equation: Any) -> Any:
    """The jaxpr that an equation calls and nothing else, or None."""
    if equation.primitive.name == "shard_map":
        return equation.params["jaxpr"]
    return called_jaxpr(equation.primitive, equation.params)
