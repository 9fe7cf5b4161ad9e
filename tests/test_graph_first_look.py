"""What a view of a graph shows first, and what can be read on it then, in a real browser."""

import dataclasses
import itertools

import pytest

from fxgrad.graphs.page import render_view, viewer_assets
from fxgrad.graphs.record import Edge, Group, Node, Record
from tests import graph_records
from tests.browser import open_file
from tests.graph_view import Keys, View

LEGIBLE = 0.55  # of their full size, words of 13 pixels


def overlaps(places):
    return [
        (one, two)
        for one, two in itertools.combinations(places, 2)
        if one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]
    ]


def star(points=40):
    """One operation that reads many, each of which was made of one input."""
    nodes = [Node(0, "input", "x", outputs=("f32[8,28,28,1]",))]
    nodes += [Node(n, "operation", "mul") for n in range(1, points + 1)]
    nodes.append(Node(points + 1, "operation", "concatenate"))
    into = [Edge(0, n, "f32[8,28,28,1]") for n in range(1, points + 1)]
    out = [Edge(n, points + 1, "f32[8,28,28,1] of many") for n in range(1, points + 1)]
    return Record("star", "jaxpr", tuple(nodes), (*into, *out))


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("make", [graph_records.network, graph_records.deep])
def test_the_first_look_at_a_graph_with_groups_is_whole_and_legible(page_of, make, width):
    page = page_of(make(), width=width)
    assert len(page.places(".box")) >= 3
    assert page.outside(".box") == []
    assert page.transform()[2] >= LEGIBLE
    (_, _, _, bottom) = max(page.places(".box"), key=lambda place: place[3])
    assert bottom <= page.places(".legend")[0][1]


def test_three_graphs_side_by_side_are_each_seen_whole(browser, tmp_path):
    path = tmp_path / "three.html"
    graphs = [graph_records.network(), graph_records.deep(60), graph_records.network()]
    views = "".join(f"<div>{render_view(graph)}</div>" for graph in graphs)
    style = "<style>.side { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)) }"
    head = f"<!doctype html><meta charset=utf-8>{style}</style>{viewer_assets()}"
    path.write_text(f"{head}<div class=side>{views}</div>", encoding="utf-8")
    open_file(browser, path, 1280)
    for number in range(3):
        view = View(browser, None, view=number)
        assert view.window()[0] < 430
        assert view.outside(".box") == []
        assert view.transform()[2] >= LEGIBLE


def test_a_wider_window_begins_with_more_groups_open(page_of):
    narrow = len(page_of(graph_records.network(), width=390).places(".open"))
    wide = len(page_of(graph_records.network(), width=1280).places(".open"))
    assert narrow < wide


@pytest.mark.parametrize("width", [800, 390])
def test_what_cannot_be_seen_whole_begins_with_its_first_operation_in_the_middle(page_of, width):
    page = page_of(graph_records.flat(300), width=width)
    left, top, right, bottom = page.places("[data-node='0'] .shape")[0]
    wide, high = page.window()
    assert (left + right) / 2 == pytest.approx(wide / 2, abs=2)
    assert 0 <= top < bottom <= high
    assert page.transform()[2] >= LEGIBLE
    assert page.outside(".box") != []


def test_few_inputs_are_gathered_where_they_have_no_room_side_by_side(page_of):
    inputs = [Node(n, "input", f"params['layer_{n}']['kernel']") for n in range(6)]
    nodes = (*inputs, Node(6, "operation", "concatenate"))
    graph = Record("some", "jaxpr", nodes, tuple(Edge(n, 6) for n in range(6)))
    assert page_of(graph, width=1280).nodes() == list(range(7))
    assert page_of(graph, width=390).nodes() == [6]


def test_outer_groups_are_named_above_all_boxes_when_300_of_them_are_fitted(page_of):
    page = page_of(graph_records.deep(30, 10))
    page.click("[data-do='expand']")
    page.click("[data-do='fit']")
    assert len(page.nodes()) == 300
    assert page.transform()[2] < 0.2
    named = page.run(
        "return [...view.querySelectorAll('.names .outer text')].map((text) => text.textContent)"
    )
    assert sorted(named) == ["Block_0", "Block_1", "Block_2"]
    assert page.outside(".names .outer") == []
    assert overlaps(page.places(".names > g")) == []
    assert all(bottom - top >= 15 for _, top, _, bottom in page.places(".names .outer text"))
    in_front = "return view.querySelector('.scene').nextElementSibling.classList.contains('names')"
    assert page.run(in_front)


def test_names_of_outer_groups_move_apart_where_they_would_cover_each_other(page_of):
    groups = tuple(Group(n, None, "phase", f"a phase {n}") for n in range(3))
    chain = tuple(Node(n, "operation", "add", n // 3 if n < 9 else None) for n in range(200))
    edges = tuple(Edge(n, n + 1) for n in range(199))
    page = page_of(Record("phases", "jaxpr", chain, edges, groups))
    page.click("[data-do='expand']")
    page.click("[data-do='fit']")
    assert page.run("return keys('names')") == ["g0", "g1", "g2"]
    assert overlaps(page.places(".names > g")) == []
    assert page.outside(".names > g") == []


def test_a_group_that_begins_left_of_the_window_is_named_in_it(page_of):
    page = page_of(graph_records.network())
    assert page.places(".names > g") == []
    left = page.places("[data-group='0'] .name")[0][0]
    for _ in range(int(left // 60) + 2):
        page.run("view.querySelector('.picture').focus()")
        page.picture().send_keys(Keys.ARROW_RIGHT)
    assert page.places("[data-group='0'] .name")[0][0] < 0
    assert "g0" in page.run("return keys('names')")
    assert page.outside("[data-names='g0']") == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_on_lines_overlap_no_other_words_and_no_box(page_of, theme):
    page = page_of(star(), theme=theme)
    page.click("[data-node='0']")
    for number in (0, 41):
        page.click(f"[data-node='{number}']")
        notes = page.places(".notes rect")
        assert len(notes) >= 3
        assert overlaps(notes) == []
        boxes = page.places(".box .shape")
        assert not [pair for note in notes for box in boxes for pair in overlaps([note, box])]
        for note, words in zip(notes, page.places(".notes text"), strict=True):
            assert note[0] <= words[0]
            assert words[2] <= note[2]
    back = page.run("return getComputedStyle(view.querySelector('.notes rect')).fill")
    assert back == page.run("return getComputedStyle(view).backgroundColor")


def test_calls_are_told_only_where_a_path_has_some(page_of):
    graph = graph_records.decisions()
    assert "120 calls" in page_of(graph).run("return view.querySelector('.scene').textContent")
    unused = tuple(dataclasses.replace(node, hits=0) for node in graph.nodes)
    page = page_of(dataclasses.replace(graph, nodes=unused))
    assert "call" not in page.run("return view.querySelector('.scene').textContent")
    page.click("[data-node='0']")
    assert "call" not in page.panel()
