# SPDX-License-Identifier: BSD-3-Clause
"""`shifterimg images`: filters, order and the long listing."""

from __future__ import annotations

import json
import os
import time
import types

import pytest

from shifter_cli.gateway.records import ImageRecord
from shifter_cli.listing import filters
from shifter_cli.listing.filters import FilterError, Listed

DAY = 86400.0
NOW = 1_800_000_000.0


def wire(tag, **fields):
    return {
        "id": "ab" * 32, "system": "mycluster", "itype": "docker", "tag": [tag] if tag else [],
        "status": "READY", "last_pull": NOW - DAY, **fields,
    }  # fmt: skip


IMAGES = [
    wire("ubuntu:24.04", size=30_000_000, arch="amd64", puller=1001, expiration=NOW + 40 * DAY,
         digest="sha256:" + "cd" * 32),
    wire("lib/ubuntu-base:latest", size=5_000_000_000, puller=1002, private=True, arch="arm64"),
    wire("reg.example:5000/team/tool:2", itype="custom", id="ef" * 32, last_pull=NOW - 90 * DAY,
         LABELS={"version": "2", "team": "x"}, userACL=[1001], format="vfs", puller=os.getuid()),
]  # fmt: skip


def kept(*texts):
    conditions = filters.parse(texts, NOW)
    listed = [Listed(ImageRecord.from_wire(image), image["tag"][0]) for image in IMAGES]
    return [row.tag for row in listed if all(holds(row) for holds in conditions)]


UBUNTU, BASE, TOOL = (image["tag"][0] for image in IMAGES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name=ubuntu", [UBUNTU, BASE]),
        ("name=ubuntu*", [UBUNTU, BASE]),
        ("name=ubuntu:*", [UBUNTU]),
        ("name=lib/*", [BASE]),
        ("name=u?untu", [UBUNTU]),
        ("name=tool,24.04", [UBUNTU, TOOL]),
        ("tag=latest", [BASE]),
        ("tag=2*", [UBUNTU, TOOL]),
        ("type=custom", [TOOL]),
        ("owner=1001", [UBUNTU]),
        ("owner=1001,1002", [UBUNTU, BASE]),
        ("owner=me", [TOOL]),
        ("access=private", [BASE, TOOL]),
        ("access=public", [UBUNTU]),
        ("size>1G", [BASE]),
        ("size<1G", [UBUNTU]),
        ("size>=30M", [UBUNTU, BASE]),
        ("size<=30000000", [UBUNTU]),
        ("size>29 MiB", [BASE]),
        ("older=30d", [TOOL]),
        ("newer=2d", [UBUNTU, BASE]),
        ("newer=48h", [UBUNTU, BASE]),
        ("older=2026-12-01", [TOOL]),
        ("expires=6w", [UBUNTU]),
        ("expires=7d", []),
        ("label=team", [TOOL]),
        ("label=version=2", [TOOL]),
        ("label=version=3", []),
        ("arch=arm64", [BASE]),
        ("format=vfs", [TOOL]),
        ("id=ef", [TOOL]),
        ("digest=sha256:" + "cd" * 32, [UBUNTU]),
        ("digest=" + "cd" * 32, [UBUNTU]),
    ],
)
def test_filter_keeps_what_it_holds_for(text, expected):
    assert kept(text) == expected


def test_all_filters_must_hold():
    assert kept("name=ubuntu", "size>1G") == [BASE]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour=red", "there is no filter 'colour': filters are access, arch, digest"),
        ("name", "has no value: write it as KEY=VALUE"),
        ("name=", "has no value: write it as name=VALUE"),
        ("size", "in quotes, 'size>1G', as the shell takes > for itself"),
        ("size=1G", "is no size: write it as 'size>1G'"),
        ("size>big", "is no size"),
        ("name>x", "cannot compare: write it as name=VALUE"),
        ("older=soon", "is no time: write it as older=30d"),
        ("access=mine", "access is public or private"),
        ("owner=no-such-user-here", "no user 'no-such-user-here' on this machine"),
    ],
)
def test_filter_that_says_nothing_is_refused_with_what_to_write(text, words):
    with pytest.raises(FilterError, match=words):
        filters.parse([text], NOW)


@pytest.fixture
def named_users(monkeypatch):
    names = {1001: "alice", 1002: "bob"}
    monkeypatch.setattr(
        "pwd.getpwuid",
        lambda uid: types.SimpleNamespace(pw_name=names.get(uid, "me"), pw_dir="/nowhere"),
    )


def names_of(result):
    return [line.split()[-1] for line in result.stdout.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), [BASE, TOOL, UBUNTU]),
        (("--reverse",), [UBUNTU, TOOL, BASE]),
        (("--sort", "size"), [UBUNTU, BASE, TOOL]),
        (("--sort", "-size"), [BASE, UBUNTU, TOOL]),
        (("--sort=-size", "-r"), [UBUNTU, BASE, TOOL]),
        (("--sort", "pulled"), [TOOL, BASE, UBUNTU]),
        (("--sort", "expires"), [UBUNTU, BASE, TOOL]),
        (("--sort", "arch"), [UBUNTU, BASE, TOOL]),
    ],
)
def test_images_are_sorted_and_what_is_not_known_comes_last(arguments, expected, run, gateway):
    gateway.answer({"list": IMAGES})

    assert names_of(run("images", *arguments)) == expected


def test_images_are_sorted_by_the_name_of_their_owner(run, gateway, named_users):
    gateway.answer({"list": IMAGES})

    assert names_of(run("images", "--sort", "-owner")) == [TOOL, BASE, UBUNTU]


def test_sorting_by_what_there_is_not_is_refused_with_what_there_is(run, gateway):
    result = run("images", "--sort", "colour")

    assert (result.code, gateway.requests) == (1, [])
    assert "cannot sort by 'colour': sort by one of name, size, pulled" in result.stderr


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [(["ubuntu"], [BASE, UBUNTU]), (["tool", "base"], [BASE, TOOL]), (["*:latest"], [BASE])],
)
def test_words_after_images_select_by_name(patterns, expected, run, gateway):
    gateway.answer({"list": IMAGES})

    assert names_of(run("images", *patterns)) == expected


def test_filters_decide_what_json_has_and_each_image_is_there_once(run, gateway):
    image = wire("a:1") | {"tag": ["a:1", "a:2", "b:1"]}
    gateway.answer({"list": [image, *IMAGES]})

    result = run("images", "--json", "--filter", "name=a:*")

    assert json.loads(result.stdout) == [image]


def test_only_the_names_that_match_are_listed(run, gateway):
    gateway.answer({"list": [wire("a:1") | {"tag": ["a:1", "b:1"]}]})

    assert names_of(run("images", "b:1")) == ["b:1"]


def test_plain_listing_is_the_originals_whatever_is_asked(run, gateway):
    gateway.answer({"list": IMAGES})

    assert run("images", "ubuntu:").stdout == (
        f"mycluster  docker     READY    {'ab' * 5}   2027-01-14T08:00:00 {UBUNTU:<30}\n"
    )


def test_long_listing_has_whole_ids_for_programs(run, gateway, named_users):
    gateway.answer({"list": IMAGES[:1]})

    assert run("images", "--long").stdout.split() == [
        "docker", "ab" * 32, "30.0", "MB", "amd64", "alice", "2027-01-14T08:00:00", "2027-02-24",
        "sha256:" + "cd" * 32, UBUNTU,
    ]  # fmt: skip


def test_long_listing_of_a_gateway_that_tells_less_has_dashes(run, gateway):
    gateway.answer({"list": [{"id": "ab", "itype": "docker", "tag": ["a:1"], "last_pull": NOW}]})

    assert run("images", "-l").stdout.split() == [
        "docker", "ab", "-", "-", "-", time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(NOW)),
        "-", "-", "a:1",
    ]  # fmt: skip


@pytest.fixture
def terminal(monkeypatch):
    """`terminal(columns)`: standard output is one."""

    def become(columns):
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))

    return become


def test_long_listing_on_a_terminal_has_a_heading_and_room_for_the_name(
    run, gateway, named_users, terminal
):
    terminal(80)
    gateway.answer({"list": IMAGES})

    lines = run("images", "--long").stdout.splitlines()

    assert lines[0].split() == ["ID", "SIZE", "ARCH", "OWNER", "PULLED", "EXPIRES", "IMAGE"]
    column = lines[0].index("IMAGE")
    assert [line[column:] for line in lines[1:]] == [
        f"docker:{BASE}", f"custom:{TOOL}", f"docker:{UBUNTU}",
    ]  # fmt: skip
    assert column <= 62
    assert lines[3].startswith("ababababab  30.0 MB  amd64  alice")


def test_long_listing_on_a_wide_terminal_has_the_digest_too(run, gateway, terminal):
    terminal(120)
    gateway.answer({"list": IMAGES})

    assert run("images", "--long").stdout.splitlines()[3].split()[-2:] == [
        "cd" * 5,
        f"docker:{UBUNTU}",
    ]


def test_lines_have_no_blanks_at_their_end_on_a_terminal(run, gateway, terminal):
    terminal(80)
    gateway.answer({"list": IMAGES})

    lines = run("images").stdout.splitlines()

    assert [line.split()[-1] for line in lines] == [BASE, TOOL, UBUNTU]
    assert [line for line in lines if line != line.rstrip()] == []


def test_a_person_is_told_that_there_is_no_such_image(run, gateway, terminal):
    terminal(80)
    gateway.answer({"list": []})

    result = run("images", "ubuntu")

    assert (result.code, result.stdout) == (0, "")
    assert result.stderr.startswith("shifterimg: there is no such image; ")


def test_no_image_is_no_output_in_any_form(run, gateway):
    gateway.answer({"list": []})

    assert run("images", "--long").stdout == run("images", "nothing").stdout == ""
