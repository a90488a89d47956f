# SPDX-License-Identifier: BSD-3-Clause
"""The modes for people, with a real registry, a real gateway and, where it matters, a terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading

import pytest

from tests.integration.conftest import require_program

pytestmark = [pytest.mark.registry, pytest.mark.munge]

CONFIG = {
    "Env": ["PATH=/usr/bin:/bin", "A=b c"], "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo hi"],
    "WorkingDir": "/data", "User": "7:8", "Labels": {"org.example.version": "1.2"},
}  # fmt: skip


@pytest.fixture
def described(push_image, make_layer, request):
    """An image of this test only, of two layers, with everything that a config may say."""
    name = request.node.name.partition("[")[0].lower()
    layers = [make_layer(("etc", None), ("etc/name", name.encode())), make_layer(("data", None))]
    return push_image(f"modes/{name}:1", layers, CONFIG)


@pytest.fixture
def pulled(described, shifterimg):
    assert shifterimg("pull", "--quiet", described.name).returncode == 0
    return described


def test_quiet_pull_says_nothing_when_it_is_ready_and_why_it_is_not(shifterimg, described):
    ready = shifterimg("pull", "-q", described.name)
    failed = shifterimg("pull", "-q", "modes/missing:1")

    assert (ready.returncode, ready.stdout, ready.stderr) == (0, "", "")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("shifterimg: docker:modes/missing:1: ")


def test_layers_are_seen_to_come_one_by_one(on_terminal, write_config, make_gateway, run_registry,
                                            make_layer, tmp_path):  # fmt: skip
    with run_registry(tmp_path) as registry:
        blobs = [make_layer((f"f{number}", os.urandom(30_000_000))) for number in range(3)]
        image = registry.push("modes/layers:1", blobs)
        locations = {"default": {"remotetype": "dockerv2", "url": registry.url}}
        gateway = make_gateway(Locations=locations)

        seen = on_terminal("pull", image.name, config=write_config(gateway.url))

    assert (seen.code, len(seen.lines)) == (0, 1)
    assert seen.lines[0].endswith("status: READY")
    for digest in image.layer_digests:
        assert f"  {digest.removeprefix('sha256:')[:12]}  " in seen.written
    assert re.search(r"PULLING +[\d.]+ .?B of 90\.\d MB", seen.written)


def test_images_are_filtered_sorted_and_described(shifterimg, pulled):
    mine = shifterimg("images", "--mine", "--filter", f"name={pulled.name}")
    strangers = shifterimg("images", pulled.name, "--filter", "owner=nobody")
    large = shifterimg("images", pulled.name, "--filter", "size>1G")
    labelled = shifterimg("images", "--filter", "label=org.example.version=1.2", pulled.name)
    long = shifterimg("images", "--long", "--sort", "-size", pulled.name)

    assert mine.stdout.split()[-1] == labelled.stdout.split()[-1] == pulled.name
    assert (strangers.stdout, large.stdout) == ("", "")
    assert long.stdout.split()[1] == pulled.image_id
    assert pulled.digest in long.stdout.split()
    assert {"amd64", "arm64"} & set(long.stdout.split())


def test_long_listing_has_a_heading_on_a_terminal(on_terminal, write_config, gateway, pulled):
    seen = on_terminal("images", "--long", pulled.name, config=write_config(gateway.url))

    assert seen.lines[0].split()[:2] == ["ID", "SIZE"]
    assert seen.lines[1].startswith(pulled.image_id[:10])


def test_inspection_tells_what_starts_and_of_what_it_was_made(shifterimg, pulled, gateway):
    text = shifterimg("inspect", pulled.name).stdout
    wire = json.loads(shifterimg("inspect", "--json", pulled.name).stdout)

    assert f"  Id, digest   {pulled.image_id}\n" in text
    assert "  Entrypoint   /bin/sh -c\n  Command      'echo hi'\n  Directory    /data\n" in text
    assert "  A=b c\n" in text
    assert "  org.example.version=1.2\n" in text
    assert "  Usable by    everybody\n" in text
    for digest in pulled.layer_digests:
        assert f"  {digest[:19]}  " in text
    assert os.path.exists(wire["path"])
    assert wire["path"].startswith(str(gateway.image_dir))


@pytest.mark.parametrize(
    ("field", "value"),
    [("env", "PATH=/usr/bin:/bin\nA=b c\n"), ("label.org.example.version", "1.2\n"),
     ("workdir", "/data\n"), ("author", "")],
)  # fmt: skip
def test_one_field_is_printed_for_scripts(field, value, shifterimg, pulled):
    assert shifterimg("inspect", "--field", field, pulled.name).stdout == value


@pytest.mark.parametrize("typed", ["n\n", "y\n"])
def test_removal_is_asked_about_and_names_what_goes_along(
    typed, on_terminal, write_config, gateway, described, push_image, make_layer, shifterimg
):
    other = described.name.replace(":1", ":same")
    layers = [make_layer(("etc", None), ("etc/name", described.name.encode()))]
    push_image(described.name, layers, {})
    push_image(other, layers, {})
    assert shifterimg("pull", "-q", described.name, other).returncode == 0

    seen = on_terminal(
        "rm", described.name, config=write_config(gateway.url), typed=typed, columns=200
    )

    assert seen.code == 0
    assert f"which is {other} too? [y/N]" in seen.written
    left = [shifterimg("lookup", name).returncode for name in (described.name, other)]
    assert left == ([0, 0] if typed == "n\n" else [1, 1])


def test_removal_without_a_terminal_needs_no_answer_and_tells_what_failed(shifterimg, pulled):
    result = shifterimg("rm", "modes/none:1", pulled.name)

    assert result.returncode == 1
    assert result.stdout == f"removed docker:{pulled.name}\n"
    assert result.stderr.startswith("shifterimg: cannot remove docker:modes/none:1: ")
    assert shifterimg("lookup", pulled.name).returncode == 1


@pytest.fixture
def stalled(make_gateway, run_registry, make_layer, tmp_path, write_config, program):
    """A pull that does not end, as its registry sleeps; the configuration that leads to it."""
    with run_registry(tmp_path) as registry:
        image = registry.push("modes/stalled:1", [make_layer(("etc", None))])
        locations = {"default": {"remotetype": "dockerv2", "url": registry.url}}
        config = write_config(make_gateway(Locations=locations).url)
        registry.process.send_signal(signal.SIGSTOP)
        try:
            assert program("pullnb", image.name, config=config).returncode == 0
            yield image, config
        finally:
            registry.process.send_signal(signal.SIGCONT)


def test_queue_tells_who_waits_for_what(stalled, program):
    image, config = stalled

    line = program("queue", config=config).stdout.split()
    mine = program("queue", "--mine", "--json", config=config)

    assert line[1] == image.name
    assert (line[2], line[4]) == ("root" if os.getuid() == 0 else line[2], "s")
    (job,) = json.loads(mine.stdout)
    assert (job["image"], job["kind"], job["is_mine"]) == (image.name, "pull", True)


def test_watched_queue_is_left_by_ctrl_c(stalled, on_terminal):
    image, config = stalled

    seen = on_terminal("queue", "--watch", config=config, typed="\x03", after=image.name)

    assert seen.code == 0
    assert seen.lines[0].startswith("1 in the queue at ")
    assert image.name in seen.lines[1]
    assert "Traceback" not in seen.written


def test_access_lists_are_changed_down_to_what_nodes_read(shifterimg, pulled, gateway):
    meta = gateway.image_dir / f"{pulled.image_id}.meta"

    private = shifterimg("acl", "--private", pulled.name)
    assert (private.returncode, private.stdout, private.stderr) == (0, "user root (owner)\n", "")
    assert "USERACL: 0\n" in meta.read_text()
    assert pulled.name in shifterimg("images", "--filter", "access=private").stdout

    added = shifterimg("acl", pulled.name, "--add-user", "daemon", "--add-group", "daemon")
    assert added.stdout == "user root (owner)\nuser daemon\ngroup daemon\n"
    assert "GROUPACL: 1\n" in meta.read_text()

    removed = shifterimg("acl", pulled.name, "--remove-user=daemon", "--json")
    assert json.loads(removed.stdout) == {"public": False, "users": [0], "groups": [1], "owner": 0}

    public = shifterimg("acl", pulled.name, "--public")
    assert public.stdout == shifterimg("acl", pulled.name).stdout == "everybody\n"
    assert "USERACL: 0\n" not in meta.read_text()


def test_cancelled_pull_is_told_to_who_waits_for_it(stalled, program):
    image, config = stalled
    waiting = subprocess.Popen(
        [program.path, "--config", config, "-v", "pull", image.name],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while "Pulling Image" not in (line := waiting.stdout.readline()):
        assert line, waiting.stderr.read()

    cancelled = program("cancel", image.name, config=config)
    stdout, stderr = waiting.communicate(timeout=60)
    again = program("cancel", image.name, "modes/nothing:1", config=config)

    assert (cancelled.returncode, cancelled.stdout) == (0, f"cancelled docker:{image.name}\n")
    assert waiting.returncode == 1
    assert stdout.endswith("status: FAILURE\n\n")
    assert "cancelled by root" in stderr
    assert (again.returncode, again.stdout) == (1, "")
    assert "has failed already: cancelled by root" in again.stderr
    assert "there is no job for docker:modes/nothing:1" in again.stderr


def test_exported_file_is_that_of_the_image(shifterimg, pulled, gateway, tmp_path):
    target = tmp_path / "mine.squashfs"

    result = shifterimg("export", pulled.name, target)

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"exported docker:{pulled.name} to {target} (")
    image = gateway.image_dir / f"{pulled.image_id}.squashfs"
    assert target.read_bytes() == image.read_bytes()


def test_export_that_is_stopped_says_so_in_place_of_how_far_it_was(
    on_terminal, write_config, tmp_path
):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\nX-Shifter-Id: abc\r\n\r\nhsqs"
    with socket.create_server(("127.0.0.1", 0)) as server:
        config = write_config(f"http://127.0.0.1:{server.getsockname()[1]}")

        def stall():
            connection, _ = server.accept()
            with connection:
                connection.sendall(answer)
                while connection.recv(4096):
                    pass

        stalled = threading.Thread(target=stall)
        stalled.start()
        seen = on_terminal(
            "export", "x:1", str(tmp_path / "x"), config=config, typed="\x03", after="DOWNLOADING"
        )
        stalled.join()

    assert seen.code == 130
    assert "".join(seen.lines) == (
        "shifterimg: stopped; what has come is kept, and the same command goes on from there"
    )


def test_export_goes_on_where_another_one_ended(shifterimg, pulled, gateway, tmp_path):
    image = gateway.image_dir / f"{pulled.image_id}.squashfs"
    whole = image.read_bytes()
    version = gateway.request("HEAD", f"/api/export/cluster/id/{pulled.image_id}/").headers["ETag"]
    partial = tmp_path / f".mine.squashfs.{version.strip(chr(34))}.partial"
    # Another time of its making in the superblock shows that these bytes were not fetched again.
    beginning = whole[:8] + b"mark" + whole[12:500]
    partial.write_bytes(beginning)

    result = shifterimg("export", pulled.name, tmp_path / "mine.squashfs")

    assert result.returncode == 0, result.stderr
    assert (tmp_path / "mine.squashfs").read_bytes() == beginning + whole[500:]
    assert not partial.exists()


def test_exported_archive_is_pushed_and_pulled_again(
    shifterimg, pulled, registry, tmp_path, gateway
):
    archive = tmp_path / "image.tar"

    result = shifterimg("export", "--format", "oci-archive", pulled.name, archive)
    assert (result.returncode, result.stderr) == (0, "")
    subprocess.run(
        [require_program("skopeo"), "copy", "--dest-tls-verify=false", f"oci-archive:{archive}",
         f"docker://{registry.host}/modes/copied:1"],
        check=True, capture_output=True,
    )  # fmt: skip
    assert shifterimg("pull", "-q", "modes/copied:1").returncode == 0

    def fields(name):
        wire = json.loads(shifterimg("inspect", "--json", name).stdout)
        return [wire[key] for key in ("ENV", "ENTRY", "CMD", "WORKDIR", "user", "LABELS", "arch")]

    assert fields("modes/copied:1") == fields(pulled.name)
    assert "7:8" in fields(pulled.name)
    steps = shifterimg("inspect", "--field", "history", "modes/copied:1").stdout
    assert f"shifterimg export docker:{pulled.name}" in steps


def test_exported_bytes_can_be_piped_on(shifterimg, pulled, gateway, program, write_config):
    result = subprocess.run(
        [program.path, "--config", write_config(gateway.url), "export", pulled.name, "-"],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip

    image = gateway.image_dir / f"{pulled.image_id}.squashfs"
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout == image.read_bytes()
