"""The view of a graph, used in a real browser as a person would."""

import pytest

from fxgrad.graphs.record import Edge, Group, Node, Record
from tests import graph_records
from tests.graph_view import Keys


def test_a_click_on_a_node_tells_its_line_its_numbers_and_its_neighbours(page_of):
    page = page_of(graph_records.network())
    page.click("[data-node='5']")
    assert page.state("selected") == "n5"
    panel = page.panel()
    for words in (
        "mul",
        "model.py:12",
        "return jnp.tanh(x @ weights)",
        "f32[32,4]",
        "128 FLOP",
        "1.5 KiB",
        "0.0833",
        "3 times",
        "backward",
    ):
        assert words in panel
    neighbours = "return [...view.querySelectorAll(arguments[1])].map((e) => e.dataset.to)"
    assert page.run(neighbours, ".panel .inputs button") == ["n3"]
    assert page.run(neighbours, ".panel .outputs button") == ["n6"]


def test_parameters_and_what_is_not_known_are_told_as_such(page_of):
    page = page_of(graph_records.network())
    page.click("[data-node='3']")
    assert "accuracy=None" in page.panel()
    assert "FLOPs" in page.panel()
    assert "FLOPs per byte" not in page.panel()


def test_a_link_in_the_panel_goes_to_the_neighbour(page_of):
    page = page_of(graph_records.network())
    page.click("[data-node='5']")
    page.click(".panel [data-to='n6']")
    assert page.state("selected") == "n6"
    assert "dot_general" in page.panel()


def test_what_a_line_carries_appears_when_its_node_is_selected(page_of):
    page = page_of(graph_records.network())
    notes = "return [...view.querySelectorAll('.notes text')].map((text) => text.textContent)"
    assert page.run(notes) == []
    page.click("[data-node='6']")
    assert sorted(page.run(notes)) == ["f32[32,4]", "f32[32,8]", "f32[8,4]"]
    page.click(".picture")
    assert page.run(notes) == []
    assert page.state("selected") is None


def test_a_closed_group_shows_its_totals_and_keeps_its_lines(page_of):
    page = page_of(graph_records.network())
    page.click("[data-group='2']")
    assert page.nodes() == [0, 1, 2, 3, 4, 7, 8, 9]
    assert page.groups() == [0, 1, 2, 4]
    label = page.run("return view.querySelector('[data-group=\"2\"]').getAttribute('aria-label')")
    # mul runs three times: 3 × 128 + 2048 FLOPs, 3 × 1536 + 1664 bytes.
    assert label == "backward: 2 ops · 2.43 kFLOP · 6.13 KiB"
    assert [line for line in page.lines() if "g2" in line] == [
        ["n3", "g2"],
        ["n1", "g2"],
        ["g2", "n7"],
    ]
    assert page.ends_off_boxes() == []
    page.click("[data-group='2']")
    assert page.nodes() == list(range(10))


def test_edges_between_two_closed_groups_are_one_line(page_of):
    page = page_of(graph_records.network())
    page.click("[data-do='collapse']")
    assert page.nodes() == [0, 1, 8, 9]
    assert page.groups() == [0, 2, 4]
    assert len(page.lines()) == len({tuple(line) for line in page.lines()})
    assert ["g0", "g2"] in page.lines()
    assert page.ends_off_boxes() == []
    page.click("[data-do='expand']")
    assert page.nodes() == list(range(10))


def test_a_group_that_is_toggled_stays_under_the_pointer(page_of):
    page = page_of(graph_records.network())
    page.click("[data-do='collapse']")
    corner = (
        "const {left, top} = view.querySelector('[data-group=\"2\"] .shape')"
        ".getBoundingClientRect(); return [left, top]"
    )
    before = page.run(corner)
    page.click("[data-group='2']")
    assert page.run(corner) == pytest.approx(before, abs=1)


def test_a_group_opens_with_the_enter_key(page_of):
    page = page_of(graph_records.network())
    page.run("view.querySelector('[data-group=\"4\"]').focus()")
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)
    page.wait_until_ready()
    assert 7 not in page.nodes()
    assert page.run("return document.activeElement.dataset.group") == "4"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("dot_general", 2),
        ("DOT_general backward", 1),
        ("dense_0", 2),
        ("model.py:12", 4),
        ("jnp.tanh(x", 4),
        ("f32[32,8]", 1),
        ("nowhere", 0),
        ("", 0),
    ],
)
def test_search_counts_what_holds_all_the_words(page_of, words, found):
    page = page_of(graph_records.network())
    page.search(words + " ")
    assert page.state("matches") == str(found)
    assert page.run("return view.querySelectorAll('.matched').length") == found


def test_enter_goes_from_match_to_match_and_around(page_of):
    page = page_of(graph_records.network())
    page.search("dot_general")
    visited = []
    for _ in range(3):
        page.press(Keys.ENTER)
        visited.append(
            (page.state("selected"), page.run("return view.querySelector('.count').value"))
        )
    assert visited == [("n2", "1 of 2"), ("n6", "2 of 2"), ("n2", "1 of 2")]
    page.press(Keys.SHIFT + Keys.ENTER)
    assert page.state("selected") == "n6"


def test_a_match_in_closed_groups_marks_them_and_opens_them_when_it_is_visited(page_of):
    page = page_of(graph_records.deep())
    assert 1234 not in page.nodes()
    page.search("f32[1234,4]")
    assert page.state("matches") == "1"
    marked = "return [...view.querySelectorAll('.matched')].map((box) => box.dataset.key)"
    assert page.run(marked) == ["g4"]
    page.press(Keys.ENTER)
    assert page.run(marked) == ["n1234"]
    assert page.state("selected") == "n1234"
    centre = page.run(
        "const box = view.querySelector('[data-node=\"1234\"]').getBoundingClientRect();"
        "const all = view.querySelector('.picture').getBoundingClientRect();"
        "return [box.x + box.width / 2 - all.x - all.width / 2,"
        " box.y + box.height / 2 - all.y - all.height / 2]"
    )
    assert centre == pytest.approx([0, 0], abs=3)


def test_a_graph_of_3000_nodes_begins_with_few_boxes_and_can_show_all(page_of):
    graph = graph_records.deep()
    assert len(graph.nodes) == 3000
    page = page_of(graph)
    assert 5 <= len(page.nodes()) + len(page.groups()) <= 150
    assert page.ends_off_boxes() == []
    page.click("[data-do='expand']")
    assert page.nodes() == list(range(3000))
    assert len(page.lines()) == len({(edge.source, edge.target) for edge in graph.edges})
    assert page.ends_off_boxes() == []


def test_many_inputs_are_gathered_in_one_box(page_of):
    inputs = [Node(n, "input", f"w[{n}]") for n in range(50)]
    nodes = (*inputs, Node(50, "operation", "concatenate"))
    edges = tuple(Edge(n, 50) for n in range(50))
    page = page_of(Record("many", "jaxpr", nodes, edges))
    assert page.nodes() == [50]
    assert page.lines() == [["g0", "n50"]]
    assert (
        page.run("return view.querySelector('[data-group=\"0\"] .name').textContent") == "50 inputs"
    )
    page.click("[data-group='0']")
    assert page.nodes() == list(range(51))


def test_buttons_keys_and_the_wheel_zoom_and_fit_comes_back(page_of):
    page = page_of(graph_records.network())
    page.click("[data-do='fit']")
    fitted = page.transform()
    page.click("[data-do='zoom-in']")
    assert page.transform()[2] > fitted[2]
    page.click("[data-do='zoom-out']")
    assert page.transform() == pytest.approx(fitted, rel=1e-6)
    page.roll_wheel(-200)
    assert page.transform()[2] > fitted[2]
    picture = page.picture()
    picture.send_keys("-")
    closer = page.transform()
    picture.send_keys(Keys.ARROW_LEFT)
    assert page.transform()[0] == pytest.approx(closer[0] + 60)
    picture.send_keys("0")
    assert page.transform() == pytest.approx(fitted, rel=1e-6)


def test_dragging_moves_the_picture_and_selects_nothing(page_of):
    page = page_of(graph_records.network())
    before = page.transform()
    page.drag("[data-node='5']", 70, -40)
    after = page.transform()
    assert [after[0] - before[0], after[1] - before[1]] == pytest.approx([70, -40], abs=1)
    assert page.state("selected") is None
    page.drag("[data-node='5']", 0, 0)
    assert page.state("selected") == "n5"


def test_a_node_that_the_panel_would_cover_moves_into_sight(page_of):
    page = page_of(graph_records.network(), width=800)
    page.run("view.querySelector('.picture').focus()")
    edges = (
        "const box = view.querySelector('[data-node=\"9\"] .shape').getBoundingClientRect();"
        "const all = view.querySelector('.picture').getBoundingClientRect();"
        "return [all.right - box.right, all.bottom - box.bottom]"
    )
    right, _ = page.run(edges)
    for _ in range(int(right // 60)):
        page.picture().send_keys(Keys.ARROW_LEFT)
    page.click("[data-node='9']")
    assert all(distance > 0 for distance in page.run(edges))


def test_the_groups_around_are_named_where_their_headers_are_out_of_sight(page_of):
    page = page_of(graph_records.network())
    page.search("tanh f32[32,4] forward operation")
    page.press(Keys.ENTER)
    named = "return view.querySelector('.where').textContent"
    assert page.run(named) == ""
    for _ in range(6):
        page.click("[data-do='zoom-in']")
    assert page.run(named) == "forward › Dense_0"


def test_a_loop_says_that_it_is_one_and_unknown_turns_make_its_cost_a_lower_bound(page_of):
    groups = (Group(0, None, "loop", "while"),)
    nodes = (
        Node(0, "operation", "add", 0, flops=10.0, runs=None),
        Node(1, "operation", "mul", 0, flops=5.0, runs=4),
    )
    page = page_of(Record("loop", "jaxpr", nodes, (Edge(0, 1), Edge(1, 0, kind="carry")), groups))
    label = page.run("return view.querySelector('[data-group=\"0\"]').ariaLabel")
    assert label == "while: loop · 2 ops · ≥ 30 FLOP"
    assert page.ends_off_boxes() == []
    page.click("[data-node='0']")
    assert "depends on values" in page.panel()
