# SPDX-License-Identifier: BSD-3-Clause
"""`shifterimg inspect`: everything about an image, or one value of it."""

from __future__ import annotations

import json
import types

import pytest

from shifter_cli import inspection

ID = "ab" * 32
IMAGE = {
    "id": ID, "system": "mycluster", "itype": "docker", "tag": ["x:1", "x:latest"],
    "status": "READY", "userACL": [1001, 1002], "groupACL": [50], "ENV": ["PATH=/bin", "A=b c"],
    "ENTRY": ["/bin/sh", "-c"], "CMD": ["echo hello"], "WORKDIR": "/work",
    "LABELS": {"version": "2", "long": "l" * 100}, "last_pull": 1795167238.5, "size": 1_500_000,
    "digest": f"sha256:{ID}", "expiration": 1802943238.5, "private": True, "puller": 1001,
    "puller_name": "alice", "format": "squashfs", "arch": "amd64", "os": "linux",
    "path": f"/images/{ID}.squashfs", "created": "2026-11-01T10:00:00Z", "author": "Eve",
    "first_pull": 1795000000.0,
    "layers": [
        {"digest": "sha256:" + "01" * 32, "size": 30_000_000,
         "media_type": "application/vnd.oci.image.layer.v1.tar+gzip"},
        {"digest": "sha256:" + "02" * 32, "size": 7, "media_type": None},
    ],
    "history": [
        {"created": "2026-10-31T09:00:00Z", "created_by": "/bin/sh -c #(nop) ADD file in /",
         "comment": "", "empty_layer": False},
        {"created": None, "created_by": "RUN  apt-get\tupdate", "comment": None,
         "empty_layer": False},
    ],
    "is_owner": True, "may_change": True,
}  # fmt: skip


@pytest.fixture
def run(run, monkeypatch):
    """The same, on a machine that knows alice, bob and groups called lab."""
    monkeypatch.setattr("grp.getgrgid", lambda gid: types.SimpleNamespace(gr_name=f"lab{gid}"))
    monkeypatch.setattr(
        "pwd.getpwuid",
        lambda uid: types.SimpleNamespace(
            pw_name={1001: "alice", 1002: "bob"}.get(uid, str(uid)), pw_dir="/nowhere"
        ),
    )
    return run


def test_everything_is_shown_in_sections(run, gateway):
    gateway.answer(IMAGE)

    result = run("inspect", "x:1")

    assert gateway.requests[0].line == "GET /api/inspect/mycluster/docker/x%3A1/ HTTP/1.1"
    assert (
        result.stdout
        == f"""\
docker:x:1
  Also called  x:latest
  Id, digest   {ID}
  Size         1.5 MB, squashfs
  Built for    linux/amd64
  Built        2026-11-01T10:00:00Z by Eve
  File         /images/{ID}.squashfs
  Owner        alice
  First pull   2026-11-18T11:06:40
  Last pull    2026-11-20T09:33:58
  Expires      2027-02-18T09:33:58, unless somebody asks for it before
  Usable by    user alice, user bob, group lab50

Starts
  Entrypoint   /bin/sh -c
  Command      'echo hello'
  Directory    /work

Environment
  A=b c
  PATH=/bin

Labels
  long={"l" * 100}
  version=2

Layers
  sha256:010101010101    30.0 MB  tar+gzip
  sha256:020202020202        7 B

History
  2026-10-31  ADD file in /
  -           RUN apt-get update
"""
    )


def test_what_is_not_known_is_left_out(run, gateway):
    gateway.answer({"id": "ab", "status": "READY", "ENV": "MISSING", "layers": None, "CMD": None})

    assert run("inspect", "x:1").stdout == (
        "docker:x:1\n  Id           ab\n  Usable by    everybody\n"
    )


def test_digest_of_other_content_than_the_id_has_a_line_of_its_own(run, gateway):
    gateway.answer(IMAGE | {"digest": "sha256:" + "cd" * 32})

    lines = run("inspect", "x:1").stdout.splitlines()

    assert f"  Id           {ID}" in lines
    assert "  Digest       sha256:" + "cd" * 32 in lines


@pytest.mark.parametrize("columns", [80, 40])
def test_steps_of_the_build_are_cut_to_the_terminal_and_nothing_else(
    columns, run, gateway, monkeypatch
):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    step = {"created": "2026-10-31", "created_by": "RUN " + "x" * 500}
    gateway.answer(IMAGE | {"history": [step]})

    lines = run("inspect", "x:1").stdout.splitlines()

    assert lines[-1] == f"  2026-10-31  RUN {'x' * (columns - 19)}…"
    assert f"  File         /images/{ID}.squashfs" in lines


@pytest.mark.parametrize(
    ("field", "lines"),
    [
        ("access", ["user alice", "user bob", "group lab50"]),
        ("arch", ["amd64"]),
        ("cmd", ["echo hello"]),
        ("digest", [f"sha256:{ID}"]),
        ("entrypoint", ["/bin/sh", "-c"]),
        ("env", ["PATH=/bin", "A=b c"]),
        ("expires", ["2027-02-18T09:33:58"]),
        ("first-pull", ["2026-11-18T11:06:40"]),
        ("id", [ID]),
        ("label.version", ["2"]),
        ("label.none", []),
        ("labels", ["version=2", "long=" + "l" * 100]),
        ("names", ["x:1", "x:latest"]),
        ("owner", ["alice"]),
        ("path", [f"/images/{ID}.squashfs"]),
        ("size", ["1500000"]),
        ("workdir", ["/work"]),
    ],
)
def test_one_field_is_printed_as_it_is(field, lines, run, gateway):
    gateway.answer(IMAGE)

    result = run("inspect", "--field", field, "x:1")

    assert (result.code, result.stdout.splitlines()) == (0, lines)


def test_layers_as_a_field_are_an_object_a_line(run, gateway):
    gateway.answer(IMAGE)

    lines = run("inspect", "--field", "layers", "x:1").stdout.splitlines()

    assert [json.loads(line) for line in lines] == IMAGE["layers"]


def test_field_that_images_do_not_have_is_refused_with_those_they_have(run, gateway):
    result = run("inspect", "--field", "colour", "x:1")

    assert (result.code, gateway.requests) == (1, [])
    assert "no field 'colour': fields are access, arch, author" in result.stderr


def test_help_names_every_field(run):
    words = run("inspect", "--help").stdout.replace(",", " ").replace(".", " ").split()

    assert set(inspection._FIELDS) <= set(words)


def test_several_images_as_json_are_an_object_a_line(run, gateway):
    gateway.answer(IMAGE, IMAGE | {"id": "cd"})

    lines = run("inspect", "--json", "x:1", "y:1").stdout.splitlines()

    assert [json.loads(line)["id"] for line in lines] == [ID, "cd"]


def test_missing_image_is_told_with_the_command_that_brings_it(run, gateway):
    gateway.answer({"status": 404, "error": "image not found"}, status="404 Not Found")

    result = run("inspect", "x:1")

    assert (result.code, result.stdout) == (1, "")
    assert result.stderr == (
        "shifterimg: cannot inspect docker:x:1: image not found "
        "(shifterimg pull docker:x:1 fetches an image)\n"
    )


def test_terminal_is_not_obeyed_by_what_an_image_says(run, gateway):
    gateway.answer(IMAGE | {"LABELS": {"x": "\x1b[2J"}, "author": "\x07"})

    assert "\x1b" not in run("inspect", "x:1").stdout
