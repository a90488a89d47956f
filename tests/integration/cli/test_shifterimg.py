# SPDX-License-Identifier: BSD-3-Clause
"""shifterimg with a real registry, a real gateway and real munge."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess

import pytest

from shifter_common import munge

pytestmark = [pytest.mark.registry, pytest.mark.munge]

LINE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d Pulling Image: %s, status: %s"


def test_image_is_pulled_listed_and_found(shifterimg, image):
    pulled = shifterimg("pull", image.name)
    listed = shifterimg("images")
    found = shifterimg("lookup", image.name)

    assert (pulled.returncode, pulled.stderr) == (0, "")
    assert re.search(LINE % (re.escape(image.reference), "READY") + r"\n\Z", pulled.stdout)
    (line,) = [line for line in listed.stdout.splitlines() if image.name in line]
    assert re.fullmatch(
        rf"cluster    docker     READY    {image.image_id[:10]}   "
        rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d {image.name:<30}",
        line,
    )
    assert (found.returncode, found.stdout) == (0, f"{image.image_id}\n")


def test_pipeline_of_a_workflow_engine_reads_the_state(program, image, write_config, gateway):
    config = write_config(gateway.url)
    command = shlex.join([str(part) for part in (program.path, "--config", config)])

    result = subprocess.run(
        f"{command} -v pull {image.name} | tail -n2 | head -n1 | awk '{{print $6}}'",
        shell=True, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip

    assert result.stdout == "READY\n"


def test_pull_of_what_the_registry_does_not_have_says_so(shifterimg):
    result = shifterimg("pull", "cli/missing:1")

    assert result.returncode == 1
    assert result.stdout.endswith("status: FAILURE\n")
    assert result.stderr.startswith("shifterimg: docker:cli/missing:1: ")
    assert len(result.stderr.splitlines()) == 1


def test_good_images_get_ready_beside_a_bad_one(shifterimg, image):
    result = shifterimg("pull", "cli/missing:2", image.name)

    assert result.returncode == 1
    assert result.stderr.startswith("shifterimg: docker:cli/missing:2: ")
    assert shifterimg("lookup", image.name).returncode == 0


def test_lookup_of_a_missing_image_prints_nothing_for_scripts(shifterimg):
    result = shifterimg("lookup", "cli/never-pulled:1")

    assert (result.returncode, result.stdout) == (1, "")
    assert "image not found" in result.stderr


def test_unknown_system_is_told_without_a_trace(shifterimg, write_config, gateway):
    config = write_config(gateway.url)
    config.write_text(config.read_text().replace("system=cluster", "system=elsewhere"))

    result = shifterimg("images", config=config)

    assert (result.returncode, result.stdout) == (1, "")
    assert "elsewhere" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_queue_is_answered(shifterimg):
    assert shifterimg("queue").returncode == 0


def test_munged_that_does_not_run_is_named(program, write_config, tmp_path):
    config = write_config("http://127.0.0.1:1", tmp_path / "no.socket")

    result = program("images", config=config)

    assert (result.returncode, result.stdout) == (1, "")
    assert "munged does not answer" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_terminal_keeps_the_final_line_of_a_pull_and_no_other(
    on_terminal, image, write_config, gateway
):
    seen = on_terminal("pull", image.name, config=write_config(gateway.url), columns=120)

    assert seen.code == 0
    assert len(seen.lines) == 1
    assert re.fullmatch(LINE % (re.escape(image.reference), "READY"), seen.lines[0])


@pytest.mark.parametrize("columns", [80, 40])
def test_layers_of_a_pull_are_seen_to_come(
    on_terminal, write_config, gateway, push_image, make_layer, columns
):
    # Bytes that do not shrink, so that the gateway has something to fetch.
    blobs = [make_layer((f"f{number}", os.urandom(3_000_000))) for number in range(4)]
    image = push_image(f"cli/layers{columns}:1", blobs)

    seen = on_terminal("pull", image.name, config=write_config(gateway.url), columns=columns)

    assert seen.code == 0
    assert "status: READY" in "".join(seen.lines)
    assert "cli/layers" in seen.written


def test_failed_pull_on_a_terminal_ends_with_its_reason(on_terminal, write_config, gateway):
    seen = on_terminal("pull", "cli/missing:3", config=write_config(gateway.url), columns=120)

    assert seen.code == 1
    assert seen.lines[0].endswith("status: FAILURE")
    # The stage is told where the pull was seen in one.
    assert re.match(
        r"shifterimg: docker:cli/missing:3: (PULLING failed: )?there is no ", seen.lines[1]
    )


@pytest.mark.root
def test_stored_login_reaches_the_gateway_inside_a_credential(
    program, write_config, listener, munged, own_home
):
    home, prefix = own_home
    config = write_config(listener.url)
    arguments = ("login", "reg", "--username", "bob", "--password-stdin", "--no-verify")

    login = program(*arguments, config=config, prefix=prefix, input='pa:ss"w\n')
    pulls = [program("pull", "x:1", config=config, prefix=prefix) for _ in range(2)]

    assert (login.returncode, login.stderr) == (0, "")
    assert [(pull.returncode, pull.stderr) for pull in pulls] == [(0, ""), (0, "")]
    stored = (home / ".udiRoot" / ".cred").read_text()
    assert re.fullmatch(r"cluster:reg=MUNGE:[\w+/=]+:\n", stored)
    assert "pa:ss" not in stored
    for credential in listener.credentials:
        opened = munge.decode(credential, socket=str(munged))
        assert opened.uid == os.getuid()
        assert json.loads(opened.payload) == {"authorized_locations": {"reg": 'bob:pa:ss"w'}}


@pytest.mark.root
def test_login_made_with_another_key_is_told_and_left_out(
    program, write_config, listener, munged, own_home
):
    home, prefix = own_home
    (home / ".udiRoot").mkdir()
    (home / ".udiRoot" / ".cred").write_text("cluster:reg=MUNGE:AwQDAAA=:\n")

    result = program("pull", "x:1", config=write_config(listener.url), prefix=prefix)

    assert result.returncode == 0
    assert "shifterimg login reg renews it" in result.stderr
    assert munge.decode(listener.credentials[0], socket=str(munged)).payload == b""


@pytest.fixture
def started(program, write_config):
    """Start a verbose pull and give it back once the gateway has answered for the first time."""
    processes = []

    def start(url, name):
        process = subprocess.Popen(
            [program.path, "--config", write_config(url), "-v", "pull", name],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        while "Pulling Image" not in (line := process.stdout.readline()):
            assert line, process.stderr.read()
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_interrupted_pull_says_that_it_goes_on(started, listener):
    listener.state = "PULLING"
    process = started(listener.url, "x:1")

    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "the pull goes on at the gateway" in stderr
    assert "Traceback" not in stderr


def test_waiting_outlives_a_restart_of_the_gateway(
    started, make_gateway, run_registry, make_layer, tmp_path
):
    with run_registry(tmp_path) as registry:
        image = registry.push("cli/restart:1", [make_layer(("etc", None))])
        gateway = make_gateway(
            Locations={"default": {"remotetype": "dockerv2", "url": registry.url}}
        )
        registry.process.send_signal(signal.SIGSTOP)  # so that the pull is not over too soon
        try:
            process = started(gateway.url, image.name)
            gateway.stop()
            gateway.arguments = ["--bind", gateway.url.removeprefix("http://")]
            gateway.start()
        finally:
            registry.process.send_signal(signal.SIGCONT)
        stdout, stderr = process.communicate(timeout=60)

    assert (process.returncode, stderr) == (0, "")
    assert "status: READY" in stdout
