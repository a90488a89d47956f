# SPDX-License-Identifier: BSD-3-Clause
"""The modes for people, with a real registry, a real gateway and, where it matters, a terminal."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

pytestmark = [pytest.mark.registry, pytest.mark.munge]

CONFIG = {
    "Env": ["PATH=/usr/bin:/bin", "A=b c"], "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo hi"],
    "WorkingDir": "/data", "Labels": {"org.example.version": "1.2"},
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
