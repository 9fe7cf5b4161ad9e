"""XLA's text of a compiled program, read into computations and instructions.

There is no other public way to ask a compiled program for its instructions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from fxgrad.errors import GraphError
from fxgrad.places import Frame

_COMPUTATION: Final = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION: Final = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_OPERAND: Final = re.compile(r"%([\w.\-]+)")
_ARRAY: Final = re.compile(r"([a-z]\w*)\[([\d,<=]*)\]")
_CALLED: Final = re.compile(
    r"\b(calls|to_apply|body|condition|true_computation|false_computation|branch_computations)="
    r"(\{[^}]*\}|%?[\w.\-]+)"
)
_ATTRIBUTES: Final = re.compile(r"\bmetadata=\{((?:[^\"{}]|\"(?:[^\"\\]|\\.)*\"|\{[^}]*\})*)\}")
_NAME: Final = re.compile(r'op_name="((?:[^"\\]|\\.)*)"')
_FILE: Final = re.compile(r'source_file="((?:[^"\\]|\\.)*)" source_line=(\d+)')
_FRAME: Final = re.compile(r"stack_frame_id=(\d+)")
_TRIPS: Final = re.compile(r'known_trip_count"?[=:]\{"?n"?:"?(\d+)')
_PARTITIONS: Final = re.compile(r"num_partitions=(\d+)")
_TABLE_ROW: Final = re.compile(r"^(\d+) (.*)$")
_FIELD: Final = re.compile(r"(\w+)=(\d+)")


Arrays = tuple[tuple[str, tuple[int, ...]], ...]
"""Dtype and sizes of each array of a result."""


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
      name: its name, unique in the program.
      opcode: what it does: ``"fusion"``, ``"dot"``.
      arrays: dtype and shape of each array of its result.
      operands: the names of the instructions that it reads, or the text of a constant.
      called: the computations that it calls, by the attribute that names them.
      attributes: everything behind the operands, without metadata.
      op_name: JAX's name for it: scopes, transforms and primitive.
      frames: file, line and function of the code behind it, innermost first.
      trip_count: of a loop, if XLA knows it.
      is_root: whether it is the result of its computation.
    """

    name: str
    opcode: str
    arrays: Arrays
    operands: tuple[str, ...]
    called: Mapping[str, tuple[str, ...]]
    attributes: str
    op_name: str
    frames: tuple[Frame, ...]
    trip_count: int | None
    is_root: bool
    literal: str


@dataclass(frozen=True)
class Program:
    """All computations by name.

    Attributes:
      computations: their instructions, in order.
      entry: the name of the one that is run first.
      is_partitioned: whether each of several devices runs it on a part of the data.
    """

    computations: Mapping[str, tuple[Instruction, ...]]
    entry: str
    is_partitioned: bool


def read_program(text: str) -> Program:
    """Read the text of a compiled program.

    Raises:
      GraphError: the text has no entry computation.
    """
    lines = text.splitlines()
    frames = _frames(lines)
    computations: dict[str, list[Instruction]] = {}
    entry, current = "", None
    for line in lines:
        if current is None and (opening := _COMPUTATION.match(line)):
            current = computations.setdefault(opening[2], [])
            entry = opening[2] if opening[1] else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (found := _INSTRUCTION.match(line)):
            current.append(_instruction(found, frames))
    if not entry:
        raise GraphError("this backend's text of a compiled program cannot be read.", stage="hlo")
    known = {name: tuple(found) for name, found in computations.items()}
    partitions = _PARTITIONS.search(lines[0])
    return Program(known, entry, partitions is not None and int(partitions[1]) > 1)


def _instruction(found: re.Match[str], frames: Mapping[int, tuple[Frame, ...]]) -> Instruction:
    rest = found[3]
    kind, rest = _split_type(rest)
    opcode, _, rest = rest.partition("(")
    inside, attributes = _split_at_closing(rest)
    metadata = _ATTRIBUTES.search(attributes)
    told = metadata[1] if metadata else ""
    name = _NAME.search(told)
    plain = _ATTRIBUTES.sub("", attributes).strip(", ")  # a scope may be named like an attribute
    trips = _TRIPS.search(plain.replace("\\", ""))
    return Instruction(
        name=found[2],
        opcode=opcode.strip(),
        arrays=tuple((dtype, _sizes(sizes)) for dtype, sizes in _ARRAY.findall(kind)),
        operands=tuple(_OPERAND.findall(inside)),
        called={
            attribute: tuple(re.findall(r"[\w.\-]+", named))
            for attribute, named in _CALLED.findall(plain)
        },
        attributes=plain,
        op_name=_unescaped(name[1]) if name else "",
        frames=_frames_of(told, frames),
        trip_count=int(trips[1]) if trips else None,
        is_root=bool(found[1]),
        literal=inside if opcode.strip() in ("constant", "parameter") else "",
    )


def _split_type(text: str) -> tuple[str, str]:
    """The result type, which may be a tuple of types, and what follows it."""
    if text.startswith("("):
        inside, rest = _split_at_closing(text[1:])
        return inside, rest.lstrip()
    kind, _, rest = text.partition(" ")
    return kind, rest


def _split_at_closing(text: str) -> tuple[str, str]:
    """What stands before the parenthesis that closes, and what stands behind it."""
    depth, quoted, escaped = 1, False, False
    for i, letter in enumerate(text):
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == '"':
            quoted = not quoted
        elif not quoted:
            depth += (letter == "(") - (letter == ")")
            if depth == 0:
                return text[:i], text[i + 1 :]
    return text, ""


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size.lstrip("<=")) for size in text.split(",") if size)


def _frames_of(metadata: str, frames: Mapping[int, tuple[Frame, ...]]) -> tuple[Frame, ...]:
    """From the table of stack frames, or the one line that an older XLA gives."""
    if (number := _FRAME.search(metadata)) and int(number[1]) in frames:
        return frames[int(number[1])]
    if line := _FILE.search(metadata):
        return ((_unescaped(line[1]), int(line[2]), ""),)
    return ()


def _frames(lines: list[str]) -> dict[int, tuple[Frame, ...]]:
    """The stacks that the tables at the head of the text tell, innermost frame first."""
    files = {number: _string(text) for number, text in _table(lines, "FileNames")}
    functions = {number: _string(text) for number, text in _table(lines, "FunctionNames")}
    locations = {number: _fields(text) for number, text in _table(lines, "FileLocations")}
    stacks: dict[int, tuple[Frame, ...]] = {}
    for number, text in _table(lines, "StackFrames"):
        fields = _fields(text)
        location = locations.get(fields.get("file_location_id", 0), {})
        frame = (
            files.get(location.get("file_name_id", 0), ""),
            location.get("line", 0),
            functions.get(location.get("function_name_id", 0), ""),
        )
        # A parent's number is written one too high, so that 0 can mean that there is none.
        stacks[number] = (frame, *stacks.get(fields.get("parent_frame_id", 0) - 1, ()))
    return stacks


def _table(lines: list[str], title: str) -> Iterator[tuple[int, str]]:
    if title not in lines:
        return
    for line in lines[lines.index(title) + 1 :]:
        row = _TABLE_ROW.match(line)
        if row is None:
            return
        yield int(row[1]), row[2]


def _fields(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in _FIELD.findall(text)}


def _string(text: str) -> str:
    return _unescaped(text.strip().removeprefix('"').removesuffix('"'))


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
