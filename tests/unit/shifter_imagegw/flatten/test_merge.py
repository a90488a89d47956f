# SPDX-License-Identifier: BSD-3-Clause
"""One rule of merging layers each; all of them together are in test_property."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from shifter_imagegw.flatten import (
    FlattenReport,
    LayerError,
    LayerTooLargeError,
    Limits,
    StreamSpoiledError,
    UnsafeLayerError,
    flatten,
)

from .layers import (
    Entry,
    device,
    directory,
    fifo,
    file,
    flatten_blobs,
    hard_link,
    merged,
    opaque,
    symlink,
    tar,
    tree_of,
    whiteout,
)


def _contents(tree):
    """What the files hold, by path; no directories."""
    return {path: what[1] for path, what in tree.items() if what[0] != "directory"}


def test_the_topmost_layer_wins(tmp_path):
    tree = merged(tmp_path, [file("a", "low"), file("b", "low")], [file("a", "high")])

    assert _contents(tree) == {"a": b"high", "b": b"low"}


def test_a_whiteout_hides_a_file_and_a_tree_of_lower_layers(tmp_path):
    low = [file("f"), directory("d"), file("d/x"), file("kept")]

    tree = merged(tmp_path, low, [whiteout("f"), whiteout("d")])

    assert _contents(tree) == {"kept": b""}
    assert "d" not in tree


@pytest.mark.parametrize("is_first", [True, False])
def test_a_whiteout_never_hides_what_its_own_layer_brings(tmp_path, is_first):
    entries = [directory("d"), file("d/new", "new")]
    high = [whiteout("d"), *entries] if is_first else [*entries, whiteout("d")]

    tree = merged(tmp_path, [directory("d"), file("d/old")], high)

    assert _contents(tree) == {"d/new": b"new"}


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_an_opaque_whiteout_works_wherever_it_stands(tmp_path, place):
    high = [directory("d"), file("d/new"), file("other")]
    high.insert(place, opaque("d"))

    tree = merged(tmp_path, [directory("d"), file("d/old"), file("d/deep/old")], high)

    assert set(tree) == {"", "d", "d/new", "other"}


def test_an_opaque_whiteout_of_the_root_leaves_only_higher_layers(tmp_path):
    assert set(merged(tmp_path, [file("old")], [opaque(""), file("new")])) == {"", "new"}


def test_a_file_over_a_directory_hides_everything_in_it(tmp_path):
    low = [directory("d"), directory("d/e"), file("d/e/x")]

    assert _contents(merged(tmp_path, low, [file("d", "now a file")])) == {"d": b"now a file"}


def test_a_directory_over_a_file_is_a_directory(tmp_path):
    tree = merged(tmp_path, [file("d")], [directory("d"), file("d/x", "x")])

    assert _contents(tree) == {"d/x": b"x"}


def test_what_was_a_directory_below_a_file_below_a_directory_stays_hidden(tmp_path):
    tree = merged(tmp_path, [file("d/old")], [file("d")], [directory("d"), file("d/new")])

    assert _contents(tree) == {"d/new": b""}


def test_a_directory_entry_replaces_a_symbolic_link(tmp_path):
    tree = merged(tmp_path, [symlink("lib", "usr/lib")], [directory("lib"), file("lib/x")])

    assert _contents(tree) == {"lib/x": b""}
    assert tree["lib"][0] == "directory"


@pytest.mark.parametrize("target", ["usr/lib", "/usr/lib", "../../usr/lib", "usr/../usr/./lib"])
def test_an_entry_below_a_link_of_a_lower_layer_lands_where_the_link_leads(tmp_path, target):
    low = [directory("usr"), directory("usr/lib"), symlink("lib", target)]

    tree = merged(tmp_path, low, [file("lib/x", "x")])

    assert _contents(tree) == {"lib": target, "usr/lib/x": b"x"}


def test_a_whiteout_below_a_link_hides_what_the_link_leads_to(tmp_path):
    low = [file("usr/lib/x"), symlink("lib", "usr/lib")]

    assert "usr/lib/x" not in merged(tmp_path, low, [whiteout("lib/x")])


def test_a_link_in_a_circle_is_refused(tmp_path):
    with pytest.raises(LayerError, match="layer layer1 .* circle: 'a'"):
        merged(tmp_path, [symlink("a", "b"), symlink("b", "a")], [file("a/x")])


def test_of_a_path_that_a_layer_names_twice_the_last_wins(tmp_path):
    tree = merged(tmp_path, [file("a", "first"), file("b"), file("a", "second", mode=0o755)])

    assert tree["a"] == ("file", b"second", 0o755, 0, ("a",))


def test_hard_links_stay_hard_links(tmp_path):
    tree = merged(tmp_path, [file("a", "x"), hard_link("b", "a"), hard_link("d/c", "b")])

    assert tree["d/c"] == ("file", b"x", 0o644, 0, ("a", "b", "d/c"))


@pytest.mark.parametrize("high", [[file("a", "new")], [whiteout("a")]])
def test_a_hard_link_keeps_the_bytes_of_its_hidden_target(tmp_path, high):
    low = [file("a", "old" * 1000, mode=0o755), hard_link("b", "a"), hard_link("c", "b")]

    tree = merged(tmp_path, low, high)

    assert tree["c"] == ("file", b"old" * 1000, 0o755, 0, ("b", "c"))


def test_all_hard_links_to_a_hidden_file_are_one_file(tmp_path):
    low = [file("a", "old"), hard_link("b", "a"), hard_link("c", "a"), hard_link("d", "a")]

    tree = merged(tmp_path, low, [file("a", "new"), whiteout("b")])

    assert tree["c"] == tree["d"] == ("file", b"old", 0o644, 0, ("c", "d"))


def test_the_bytes_of_several_hidden_files_are_kept_apart(tmp_path):
    low = [file("a", "first"), file("b", "second"), hard_link("c", "a"), hard_link("d", "b")]

    tree = merged(tmp_path, low, [whiteout("a"), whiteout("b")])

    assert _contents(tree) == {"c": b"first", "d": b"second"}


def test_a_hard_link_to_a_symbolic_link_is_one(tmp_path):
    low = [symlink("s", "t"), hard_link("a", "s")]

    tree = merged(tmp_path, low, [file("a/x", "x")])

    assert tree["a"] == ("symlink", "t", 0, ("a", "s"))
    assert tree["t/x"][1] == b"x"


def test_no_bytes_of_hidden_files_stay_behind(tmp_path):
    merged(tmp_path, [file("a", "old"), hard_link("b", "a")], [file("a", "new")])

    assert sorted(path.name for path in tmp_path.iterdir()) == ["layer0", "layer1"]


def test_a_hard_link_may_name_what_only_a_lower_layer_has(tmp_path):
    tree = merged(tmp_path, [file("a", "x")], [hard_link("b", "a")])

    assert tree["a"] == tree["b"] == ("file", b"x", 0o644, 0, ("a", "b"))


def test_a_hard_link_to_nothing_is_refused_by_name(tmp_path):
    with pytest.raises(LayerError, match="layer layer1 has a hard link 'b' to 'a', which is in no"):
        merged(tmp_path, [file("c")], [hard_link("b", "a")])


def test_a_hard_link_to_a_directory_is_refused(tmp_path):
    with pytest.raises(LayerError, match="hard link 'b' to 'd', which is a directory"):
        merged(tmp_path, [directory("d"), hard_link("b", "d")])


def test_missing_parents_are_directories_with_mode_755(tmp_path):
    assert merged(tmp_path, [file("a/b/c")])["a/b"] == ("directory", 0o755, 0)


def test_a_directory_is_described_by_the_topmost_layer_that_names_it(tmp_path):
    layers = [[directory("d", 0o700, 1)], [directory("d", 0o1777, 2)], [file("d/x")]]

    assert merged(tmp_path, *layers)["d"] == ("directory", 0o1777, 2)


@pytest.mark.parametrize("between", [file("d"), whiteout("d"), device("d")])
def test_a_directory_that_was_gone_is_not_described_by_what_it_was(tmp_path, between):
    tree = merged(tmp_path, [directory("d", 0o1777, 5)], [between], [file("d/x")])

    assert tree["d"] == ("directory", 0o755, 0)


@pytest.mark.parametrize("removal", [whiteout("d"), opaque("d"), opaque("")])
def test_a_removed_directory_into_which_its_layer_put_something_is_a_new_one(tmp_path, removal):
    low = [directory("d"), directory("d/e", 0o1777, 5), file("d/e/old")]

    tree = merged(tmp_path, low, [file("d/e/new"), removal])

    assert tree["d/e"] == ("directory", 0o755, 0)
    assert _contents(tree) == {"d/e/new": b""}


def test_a_whiteout_makes_no_directory(tmp_path):
    low = [directory("d"), file("d/x")]

    tree = merged(tmp_path, low, [whiteout("d")], [whiteout("d/x"), opaque("e/f")])

    assert set(tree) == {""}


def test_a_directory_entry_behind_what_is_in_it_comes_too_late(tmp_path):
    low = [directory("usr"), symlink("lib", "usr")]

    tree = merged(tmp_path, low, [file("lib/x"), directory("lib")])

    assert _contents(tree) == {"usr/x": b""}
    assert tree["lib"][0] == "directory"


def test_the_root_directory_keeps_its_mode(tmp_path):
    assert merged(tmp_path, [directory("./", 0o775, 7)])[""] == ("directory", 0o775, 7)


def test_an_entry_that_would_replace_the_root_is_refused(tmp_path):
    with pytest.raises(UnsafeLayerError, match="replace the root"):
        merged(tmp_path, [symlink("./", "/etc")])


@pytest.mark.parametrize(
    ("mode", "seen"),
    [(0o000, 0o644), (0o600, 0o644), (0o100, 0o755), (0o6755, 0o755), (0o1640, 0o644)],
)
def test_files_are_readable_by_all_and_never_set_an_id(tmp_path, mode, seen):
    assert merged(tmp_path, [file("f", mode=mode)])["f"][2] == seen


@pytest.mark.parametrize(
    ("mode", "seen"), [(0o000, 0o755), (0o700, 0o755), (0o1777, 0o1777), (0o2770, 0o775)]
)
def test_directories_are_open_to_all_and_keep_the_sticky_bit(tmp_path, mode, seen):
    assert merged(tmp_path, [directory("d", mode)])["d"][1] == seen


def test_device_nodes_and_fifos_are_dropped_and_counted(tmp_path):
    entries = [device("dev/null"), device("dev/zero"), fifo("run/pipe"), file("dev/x")]

    stream, report = flatten_blobs([tar(entries)], tmp_path)

    assert set(tree_of(stream)) == {"", "dev", "run", "dev/x"}
    assert (report.dropped_devices, report.dropped_fifos) == (2, 1)


def test_a_dropped_device_still_hides_what_is_below_it(tmp_path):
    assert "a" not in merged(tmp_path, [file("a")], [device("a")])


def test_names_are_normalised(tmp_path):
    entries = [file("./a"), file("/b"), file("c//d/./e"), file("f/../g"), directory("h/")]

    assert set(merged(tmp_path, entries)) == {"", "a", "b", "c", "c/d", "c/d/e", "g", "h"}


@pytest.mark.parametrize("name", ["x..y", "..x", "a/...", "new\nline", "\udcff\udcfe", "é" * 120])
def test_odd_names_survive(tmp_path, name):
    assert _contents(merged(tmp_path, [file(name, "x")]))[name] == b"x"


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/..", "./../x"])
def test_a_name_that_leaves_the_image_is_refused(tmp_path, name):
    with pytest.raises(UnsafeLayerError, match="layer layer0 has an entry that leaves the image"):
        merged(tmp_path, [file(name)])


def test_a_hard_link_out_of_the_image_is_refused(tmp_path):
    with pytest.raises(UnsafeLayerError, match="leaves the image"):
        merged(tmp_path, [hard_link("passwd", "../../etc/passwd")])


@pytest.mark.parametrize("name", [".wh.", ".wh..", "d/.wh..."])
def test_a_whiteout_of_nothing_is_refused(tmp_path, name):
    with pytest.raises(UnsafeLayerError, match="whiteout that names nothing"):
        merged(tmp_path, [Entry(name)])


def test_a_name_longer_than_a_filesystem_can_hold_is_refused(tmp_path):
    with pytest.raises(LayerError, match="more than 255 bytes"):
        merged(tmp_path, [file("n" * 256)])


def test_long_paths_and_targets_survive(tmp_path):
    path, target = "/".join(["p" * 200] * 10), "t" * 4000

    tree = merged(tmp_path, [file(path, "x"), symlink("s", target), hard_link("l", path)])

    assert tree[path][1] == b"x"
    assert tree["s"][1] == target
    assert tree["l"][-1] == ("l", path)


def test_a_path_deeper_than_linux_can_open_is_refused(tmp_path):
    with pytest.raises(LayerError, match="longer than the 4095 that Linux can open"):
        merged(tmp_path, [file("a/" * 3000 + "x")])


def test_deep_paths_survive(tmp_path):
    assert "a/" * 2000 + "x" in merged(tmp_path, [file("a/" * 2000 + "x")])


def test_an_image_without_layers_is_an_empty_directory(tmp_path):
    assert merged(tmp_path) == {"": ("directory", 0o755, 0)}


def test_what_fetching_a_layer_raises_is_raised(tmp_path):
    def fail() -> Path:
        raise ConnectionError("registry went away")

    with pytest.raises(ConnectionError, match="registry went away"):
        flatten([fail], io.BytesIO())


def test_more_entries_than_allowed_are_refused(tmp_path):
    with pytest.raises(LayerTooLargeError, match="layer layer0 .* more than 2 entries"):
        flatten_blobs([tar([file(name) for name in "abc"])], tmp_path, Limits(entries=2))


def test_more_layers_than_allowed_are_refused(tmp_path):
    with pytest.raises(LayerTooLargeError, match="the image has 3 layers; more than 2"):
        flatten_blobs([tar([])] * 3, tmp_path, Limits(layers=2))


def test_progress_ends_with_the_size_of_all_blobs(tmp_path):
    blobs = [tar([file("a", "x" * 5000)]), tar([file("b")])]
    for number, blob in enumerate(blobs):
        (tmp_path / str(number)).write_bytes(blob)
    seen: list[int] = []

    flatten(
        [lambda: tmp_path / "0", lambda: tmp_path / "1"],
        io.BytesIO(),
        progress=seen.append,
    )

    assert seen == sorted(seen)
    assert seen[-1] == sum(map(len, blobs))


class _Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


def test_a_stream_that_cannot_be_rewound_is_written_again_on_request(tmp_path):
    (tmp_path / "layer").write_bytes(tar([file("a", "first"), file("a", "second")]))
    again = io.BytesIO()

    with pytest.raises(StreamSpoiledError) as spoiled:
        flatten([lambda: tmp_path / "layer"], _Pipe())
    report = spoiled.value.write_again(again)

    assert _contents(tree_of(again.getvalue())) == {"a": b"second"}
    assert report == FlattenReport(entries=2, bytes=6, was_read_twice=True)


def test_usual_layers_are_read_once(tmp_path):
    low = [directory("usr"), directory("usr/lib"), file("usr/lib/x"), symlink("lib", "usr/lib")]
    high = [directory("usr"), directory("usr/lib"), whiteout("usr/lib/x"), file("usr/lib/y")]

    _, report = flatten_blobs([tar(low), tar(high)], tmp_path)

    assert not report.was_read_twice
