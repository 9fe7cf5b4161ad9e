"""The groups of devices in XLA's text, in all the ways that its versions write them."""

import pytest

from fxgrad.parallel.groups import axes_of, groups_in

SIZES = {"data": 2, "fsdp": 2, "tensor": 2}


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("{{0,2},{4,6},{1,3},{5,7}}", [[0, 2], [4, 6], [1, 3], [5, 7]]),
        ("{}", [[0, 1, 2, 3, 4, 5, 6, 7]]),
        ("[4,2]<=[8]", [[0, 1], [2, 3], [4, 5], [6, 7]]),
        ("[4,2]<=[4,2]T(1,0)", [[0, 2], [4, 6], [1, 3], [5, 7]]),
        ("[4,2]<=[2,2,2]T(2,1,0)", [[0, 4], [2, 6], [1, 5], [3, 7]]),
        ("mesh['data'=2,'fsdp'=2,'tensor'=2] {'fsdp'}", [[0, 2], [1, 3], [4, 6], [5, 7]]),
        ("mesh['data'=2,'fsdp'=2,'tensor'=2] {'data','fsdp'}", [[0, 2, 4, 6], [1, 3, 5, 7]]),
        ("mesh['axis_0'=8,'axis_1'=1] {'axis_0'}", [[0, 1, 2, 3, 4, 5, 6, 7]]),
        ("mesh['axis_0'=8] {'axis_0':(1)2}", [[0, 4], [1, 5], [2, 6], [3, 7]]),
        ("mesh['axis_0'=8] {'axis_0':(2)4}", [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (
            "mesh['axis_0'=4,'axis_1'=1,'axis_2'=2], device_ids=([2,4]T(1,0)) {'axis_0'}",
            [[0, 1, 2, 3], [4, 5, 6, 7]],
        ),
        ("mesh['a'=2,'b'=2], device_ids=(0,2,1,3) {'b'}", [[0, 2], [1, 3]]),
    ],
)
def test_groups_are_read(text, groups):
    found = groups_in(f"channel_id=1, replica_groups={text}, use_global_device_ids=true", 8)
    assert found is not None
    assert found.tolist() == groups


def test_devices_that_pass_data_on_are_a_group():
    found = groups_in("source_target_pairs={{0,2},{4,6},{2,0},{6,4},{1,3},{3,1},{5,7},{7,5}}", 8)
    assert found is not None
    assert sorted(found.tolist()) == [[0, 2], [1, 3], [4, 6], [5, 7]]
    assert axes_of(found, SIZES) == ("fsdp",)


@pytest.mark.parametrize(
    "text", ["", "source_target_pairs={{0,1},{2,3},{3,4}}", "replica_groups={{0},{1,2}}"]
)
def test_what_has_no_even_groups_gives_none(text):
    assert groups_in(text, 8) is None


@pytest.mark.parametrize(
    ("groups", "axes"),
    [
        ("{{1,0},{2,3},{4,5},{6,7}}", ("tensor",)),
        ("{{0,4},{2,6},{1,5},{3,7}}", ("data",)),
        ("{{0,1,4,5},{2,3,6,7}}", ("data", "tensor")),
        ("{}", ("data", "fsdp", "tensor")),
        ("{{0,3},{1,2},{4,7},{5,6}}", None),
    ],
)
def test_groups_are_named_by_the_axes_of_the_mesh(groups, axes):
    found = groups_in(f"replica_groups={groups}", 8)
    assert found is not None
    assert axes_of(found, SIZES) == axes
