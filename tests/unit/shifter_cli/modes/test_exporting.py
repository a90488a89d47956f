# SPDX-License-Identifier: BSD-3-Clause
"""`shifterimg export`: files that arrive whole, whatever breaks off, and OCI archives."""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import io
import json
import os
import re
import stat
import tarfile

import pytest

from shifter_cli.files import oci_archive
from shifter_cli.inspection import Inspection
from shifter_common.reference import ImageReference

ID = "ab" * 32
SIZE = 4096
FILE = b"hsqs" + bytes(36) + SIZE.to_bytes(8, "little") + os.urandom(SIZE - 48)
CRLF = "\r\n"
REFERENCE = ImageReference("docker", "x:1")


def answer(content, *, start=None, length=None, image_id=ID, file_format="squashfs", version=None):
    """What a gateway answers that sends `content`, and perhaps breaks off before `length`."""
    length = len(content) if length is None else length
    head = "HTTP/1.1 200 OK\r\n"
    if start is not None:
        head = (
            "HTTP/1.1 206 Partial Content\r\n"
            f"Content-Range: bytes {start}-{start + length - 1}/{start + length}\r\n"
        )
    return (
        f"{head}Content-Length: {length}\r\nX-Shifter-Format: {file_format}\r\n"
        f"{'' if version is None else f'ETag: {version}{CRLF}'}"
        f"X-Shifter-Id: {image_id}\r\n\r\n"
    ).encode() + content


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch):
    monkeypatch.setattr("shifter_cli.files.downloads._PAUSE", 0.0)


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    return folder / "x.squashfs"


def files_beside(target):
    return sorted(path.name for path in target.parent.iterdir())


def ranges_of(gateway):
    return [request.headers.get("range") for request in gateway.requests]


@pytest.mark.parametrize("form", ["argument", "option"])
def test_file_is_saved_as_it_is(form, run, gateway, target):
    gateway.answer_raw(answer(FILE))
    where = [str(target)] if form == "argument" else ["-o", str(target)]

    result = run("export", "x:1", *where)

    assert (result.code, result.stderr) == (0, "")
    assert result.stdout == f"exported docker:x:1 to {target} (4.1 kB)\n"
    assert target.read_bytes() == FILE
    assert files_beside(target) == ["x.squashfs"]
    assert gateway.requests[0].line == "GET /api/export/mycluster/docker/x%3A1/ HTTP/1.1"
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_download_that_breaks_off_goes_on_where_it_was(run, gateway, target):
    gateway.answer_raw(answer(FILE[:1000], length=SIZE))
    gateway.answer_raw(answer(FILE[1000:3000], start=1000, length=SIZE - 1000))
    gateway.answer_raw(answer(FILE[3000:], start=3000))

    result = run("export", "x:1", str(target))

    assert result.code == 0
    assert target.read_bytes() == FILE
    assert ranges_of(gateway) == [None, "bytes=1000-", "bytes=3000-"]


def test_gateway_that_is_restarted_or_busy_meanwhile_is_waited_for(run, gateway, target):
    gateway.answer({"error": "try again"}, status="429 Too Many Requests")
    gateway.answer_raw(answer(FILE[:1000], length=SIZE))
    gateway.answer({"error": "starting"}, status="503 Service Unavailable")
    gateway.answer_raw(b"")
    gateway.answer({"error": "try again"}, status="429 Too Many Requests")
    gateway.answer_raw(answer(FILE[1000:], start=1000))

    result = run("export", "x:1", str(target))

    assert (result.code, result.stderr) == (0, "")
    assert target.read_bytes() == FILE


def test_gateway_that_stays_busy_is_given_up(run, gateway, target):
    gateway.answer({"error": "sending many images: try again"}, status="429 Too Many Requests")

    result = run("export", "x:1", str(target))

    assert result.code == 1
    assert result.stderr.endswith("sending many images: try again\n")
    assert len(gateway.requests) == 6


def test_refusal_meanwhile_ends_it(run, gateway, target):
    gateway.answer_raw(answer(FILE[:1000], length=SIZE))
    gateway.answer({"error": "not for you"}, status="403 Forbidden")

    result = run("export", "x:1", str(target))

    assert (result.code, len(gateway.requests)) == (1, 2)
    assert "not for you" in result.stderr


def test_what_has_come_is_kept_for_the_next_try(run, gateway, target):
    gateway.answer_raw(answer(FILE[:1000], length=SIZE))
    for _ in range(5):
        gateway.answer_raw(answer(b"", start=1000, length=SIZE - 1000))

    failed = run("export", "x:1", str(target))
    assert failed.code == 1
    assert "the answer broke off at 1000 of 4096 bytes; the same command goes on" in failed.stderr
    assert files_beside(target) == [f".x.squashfs.{ID[:12]}.partial"]

    gateway.answer_raw(answer(b"", length=SIZE))
    gateway.answer_raw(answer(FILE[1000:], start=1000))
    assert run("export", "x:1", str(target)).code == 0
    assert target.read_bytes() == FILE
    assert files_beside(target) == ["x.squashfs"]


def test_rest_of_another_image_is_not_taken_for_this_one(run, gateway, target):
    (target.parent / f".x.squashfs.{'cd' * 6}.partial").write_bytes(b"other")
    gateway.answer_raw(answer(FILE))

    assert run("export", "x:1", str(target)).code == 0
    assert target.read_bytes() == FILE


def test_rest_of_the_same_image_made_anew_is_not_taken_for_this_one(run, gateway, target):
    gateway.answer_raw(answer(FILE[:1000], length=SIZE, version='"one-1"'))
    gateway.answer_raw(answer(b"", start=1000, length=SIZE - 1000, version='"one-1"'))
    for _ in range(4):
        gateway.answer_raw(gateway.answers[-1])
    assert run("export", "x:1", str(target)).code == 1
    assert files_beside(target) == [".x.squashfs.one-1.partial"]

    gateway.answer_raw(answer(FILE, version='"two-2"'))
    assert run("export", "x:1", str(target)).code == 0
    assert target.read_bytes() == FILE
    assert files_beside(target) == ["x.squashfs"]


def test_nothing_but_rests_for_the_same_file_that_nobody_goes_on_with_is_removed(
    run, gateway, target
):
    others = [".x.squashfs.2.one.partial", ".xxsquashfs.one.partial", "x.squashfs.one.partial"]
    for name in others:
        (target.parent / name).write_bytes(b"other")
    with (target.parent / ".x.squashfs.two.partial").open("wb") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        gateway.answer_raw(answer(FILE))
        assert run("export", "x:1", str(target)).code == 0

    assert files_beside(target) == sorted([*others, ".x.squashfs.two.partial", "x.squashfs"])


def test_disk_that_is_full_is_told_with_what_to_do(run, gateway, target, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shifter_cli.files.downloads.os.fsync", full)
    gateway.answer_raw(answer(FILE))

    result = run("export", "x:1", str(target))

    assert result.code == 1
    assert result.stderr == (
        f"shifterimg: cannot export to '{target}': No space left on device; what has come is kept, "
        "and the same command goes on from there\n"
    )
    assert len(files_beside(target)) == 1


def test_archive_is_not_fetched_where_it_cannot_be_made(run, gateway, target, monkeypatch):
    monkeypatch.setenv("PATH", str(target.parent))
    gateway.answer_raw(answer(FILE))

    result = run("export", "--format", "oci-archive", "x:1", str(target))

    assert result.code == 1
    assert "install the package squashfs-tools-ng" in result.stderr
    assert files_beside(target) == []


@pytest.mark.parametrize("version", ['"../../x"', "W/", '""'])
def test_version_that_would_lead_elsewhere_is_not_made_part_of_a_name(
    version, run, gateway, target
):
    gateway.answer_raw(answer(FILE[:1000], length=SIZE, version=version))

    run("export", "x:1", str(target))

    assert files_beside(target) == [f".x.squashfs.{ID[:12]}.partial"]


@pytest.mark.parametrize("image_id", ["../../../../x", "a/b", "x\x1b[2J"])
def test_id_that_would_lead_elsewhere_is_not_made_part_of_a_name(image_id, run, gateway, target):
    target.parent.joinpath(".x.squashfs.").mkdir()  # as a way through
    gateway.answer_raw(answer(FILE[:1000], length=SIZE, image_id=image_id))

    run("export", "x:1", str(target))

    names = [name for name in files_beside(target) if name != ".x.squashfs."]
    assert len(names) == 1
    assert re.fullmatch(r"\.x\.squashfs\.\w+\.partial", names[0])


@pytest.mark.parametrize("kind", ["link", "pipe", "foreign"])
def test_what_others_left_beside_it_is_not_taken_for_its_beginning(
    kind, run, gateway, target, monkeypatch
):
    partial = target.parent / f".x.squashfs.{ID[:12]}.partial"
    other = target.parent / "other"
    other.write_bytes(b"mine")
    if kind == "link":
        partial.symlink_to(other)
    elif kind == "pipe":
        os.mkfifo(partial)
    else:
        partial.write_bytes(FILE[:500])
        user = os.getuid() + 1
        monkeypatch.setattr("shifter_cli.files.downloads.os.getuid", lambda: user)
    gateway.answer_raw(answer(FILE))

    result = run("export", "x:1", str(target))

    assert result.code == 1
    assert "cannot export to" in result.stderr
    assert (other.read_bytes(), target.exists()) == (b"mine", False)


def test_no_more_is_written_than_the_gateway_has_announced(run, gateway, target):
    head = answer(b"").replace(b"Length: 0", b"Length: 4096\r\nTransfer-Encoding: chunked")
    chunk = b"%x\r\n%s\r\n" % (SIZE, FILE)
    gateway.answer_raw(head + 20 * chunk + b"0\r\n\r\n")

    result = run("export", "x:1", str(target))

    assert result.code == 1
    assert not target.exists()
    assert sum(path.stat().st_size for path in target.parent.iterdir()) <= SIZE


def test_image_that_became_another_on_the_way_is_not_mixed(run, gateway, target):
    gateway.answer_raw(answer(FILE[:1000], length=SIZE))
    gateway.answer_raw(answer(FILE[1000:], start=1000, image_id="cd" * 32))

    result = run("export", "x:1", str(target))

    assert result.code == 1
    assert "it is another image now" in result.stderr
    assert not target.exists()


def test_server_that_always_gives_all_of_it_is_good_enough(run, gateway, target):
    gateway.answer_raw(answer(FILE[:1000], length=SIZE))
    gateway.answer_raw(answer(FILE))

    assert run("export", "x:1", str(target)).code == 0
    assert target.read_bytes() == FILE


@pytest.mark.parametrize("content", [b"nosq" + FILE[4:], FILE[:40] + b"\xff" * 8 + FILE[48:]])
def test_file_that_is_no_whole_squashfs_is_refused(content, run, gateway, target):
    gateway.answer_raw(answer(content))

    result = run("export", "x:1", str(target))

    assert result.code == 1
    assert "no whole squashfs file" in result.stderr
    assert not target.exists()


def test_file_of_another_format_is_saved_too(run, gateway, target):
    gateway.answer_raw(answer(b"any bytes", file_format="ext4"))

    assert run("export", "x:1", str(target)).code == 0
    assert target.read_bytes() == b"any bytes"


def test_only_squashfs_becomes_an_oci_archive(run, gateway, target):
    gateway.answer_raw(answer(b"any bytes", file_format="ext4"))

    result = run("export", "--format", "oci-archive", "x:1", str(target))

    assert result.code == 1
    assert "its file is ext4, only squashfs can be unpacked" in result.stderr
    assert files_beside(target) == []


def test_file_that_is_there_is_replaced_on_request_only(run, gateway, target):
    target.write_bytes(b"mine")
    gateway.answer_raw(answer(FILE))

    refused = run("export", "x:1", str(target))
    assert (refused.code, gateway.requests) == (1, [])
    assert "it is there already; --force replaces it" in refused.stderr
    assert target.read_bytes() == b"mine"

    assert run("export", "--force", "x:1", str(target)).code == 0
    assert target.read_bytes() == FILE


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a FILE to export to"),
        (["a", "-o", "b"], "say once where to export to"),
        (["/"], "it is a directory"),
        (["--force", "/dev/null"], "it is no regular file"),
        (["/no/such/folder/x"], "there is no directory /no/such/folder"),
    ],
)
def test_places_that_cannot_be_written_are_refused_without_a_request(
    arguments, words, run, gateway
):
    result = run("export", "x:1", *arguments)

    assert (result.code, gateway.requests) == (1, [])
    assert words in result.stderr


def test_image_is_not_for_a_terminal(run, gateway, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    result = run("export", "x:1", "-")

    assert (result.code, gateway.requests) == (1, [])
    assert "not for a terminal" in result.stderr


def test_standard_output_gets_every_byte_once(gateway, run, monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr("shifter_cli.modes.exporting._standard_output", lambda: out)
    gateway.answer_raw(answer(FILE[:1000], length=SIZE))
    gateway.answer_raw(answer(FILE[1000:], start=1000))

    result = run("export", "x:1", "-")

    assert (result.code, result.stdout, result.stderr) == (0, "", "")
    assert out.getvalue() == FILE


def test_refusal_is_the_gateways(run, gateway, target):
    gateway.answer({"error": "a VFS image is no file"}, status="400 Bad Request")

    result = run("export", "x:1", str(target))

    assert result.code == 1
    assert result.stderr == "shifterimg: cannot export docker:x:1: a VFS image is no file\n"


def test_gateway_that_is_too_old_is_said_to_be(run, gateway, target):
    gateway.answer(
        {"status": 404, "error": "Requested URL /api/x not found"}, status="404 Not Found"
    )

    assert "is too old for that" in run("export", "x:1", str(target)).stderr


def test_progress_is_drawn_on_a_terminal_and_taken_away(run, gateway, target, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    gateway.answer_raw(answer(FILE))

    seen = run("export", "x:1", str(target)).stderr
    quiet = run("export", "-q", "-f", "x:1", str(target))

    assert "docker:x:1  DOWNLOADING" in seen
    assert seen.endswith("\r\x1b[J")
    assert (quiet.stdout, quiet.stderr) == ("", "")


# OCI archives

WIRE = {
    "id": ID, "ENV": ["A=b"], "ENTRY": ["/bin/sh"], "CMD": ["-l"], "WORKDIR": "/w",
    "LABELS": {"l": "1"}, "arch": "arm64/v8", "os": "linux", "created": "2026-11-01T10:00:00Z",
    "history": [{"created": "2026-10-31T09:00:00Z", "created_by": "ADD x", "comment": ""}],
}  # fmt: skip
TAR = [b"some ", b"tar ", b"bytes"]


def archived(wire):
    out = io.BytesIO()
    oci_archive.write(TAR, Inspection.from_wire(REFERENCE, wire), out, folder=None)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive.getmembers()}


def blob(files, descriptor):
    content = files[f"blobs/sha256/{descriptor['digest'].removeprefix('sha256:')}"]
    assert len(content) == descriptor["size"]
    assert descriptor["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    return content


def test_archive_leads_from_its_index_to_layer_and_config():
    files = archived(WIRE)

    index = json.loads(files["index.json"])
    manifest = json.loads(blob(files, index["manifests"][0]))
    config = json.loads(blob(files, manifest["config"]))
    layer = gzip.decompress(blob(files, manifest["layers"][0]))
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert index["manifests"][0]["annotations"] == {"org.opencontainers.image.ref.name": "x:1"}
    assert layer == b"".join(TAR)
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert config["config"] == {
        "Env": ["A=b"], "Entrypoint": ["/bin/sh"], "Cmd": ["-l"], "WorkingDir": "/w",
        "Labels": {"l": "1"},
    }  # fmt: skip
    assert (config["architecture"], config["variant"], config["os"]) == ("arm64", "v8", "linux")


def test_steps_of_the_build_are_kept_and_only_ours_has_the_layer():
    files = archived(WIRE)
    manifest = json.loads(blob(files, json.loads(files["index.json"])["manifests"][0]))
    config = json.loads(blob(files, manifest["config"]))

    assert [step.get("empty_layer", False) for step in config["history"]] == [True, False]
    assert config["history"][0]["created_by"] == "ADD x"
    assert config["history"][1]["created_by"] == "shifterimg export docker:x:1"


def test_image_of_which_little_is_known_makes_an_archive_too():
    assert "index.json" in archived({"ENV": "MISSING", "history": None})


def test_same_image_gives_the_same_archive():
    assert archived(WIRE) == archived(WIRE)
