# SPDX-License-Identifier: BSD-3-Clause
"""A whole gateway whose system is reached by ssh."""

from __future__ import annotations

import os
import signal

import pytest
import requests
from click.testing import CliRunner

from shifter_imagegw.commands import index as index_command
from tests.integration.conftest import layer, wait_until
from tests.integration.delivery.conftest import ACCOUNT

pytestmark = [pytest.mark.ssh, pytest.mark.root, pytest.mark.registry, pytest.mark.munge]

SYSTEM = "cluster"


@pytest.fixture
def remote(sshd, image_dir, munged):
    """The section of a system behind the running sshd."""
    return {
        "mungeSocketPath": str(munged),
        "accesstype": "remote",
        "host": [sshd.address],
        "admins": ["root"],
        "ssh": {
            "username": ACCOUNT,
            "key": str(sshd.key),
            "imageDir": str(image_dir),
            "sshCmdOptions": sshd.options,
            "scpCmdOptions": sshd.options,
        },
    }


def test_a_pulled_image_lies_there_as_it_lies_on_a_local_system(
    make_gateway, push_image, remote, image_dir, gateway
):
    image = push_image("lib/remote:1", [layer(("data", os.urandom(3_000_000)))])
    far = make_gateway(Platforms={SYSTEM: remote})

    record = far.wait(image.reference)
    gateway.wait(image.reference)

    assert record["status"] == "READY", record
    for suffix in ("squashfs", "meta"):
        name = f"{image.image_id}.{suffix}"
        assert (image_dir / name).read_bytes() == (gateway.image_dir / name).read_bytes()
    assert (image_dir / ".tags/docker/lib%2Fremote:1").read_text() == f"{image.image_id}\n"
    assert [name for name in os.listdir(image_dir) if name.endswith(".partial")] == []
    assert os.listdir(far.directory / "expand") == []


def test_an_image_comes_back_whole_or_from_where_it_broke_off(
    make_gateway, push_image, remote, image_dir, sshd
):
    image = push_image("lib/back:1", [layer(("data", os.urandom(3_000_000)))])
    far = make_gateway(Platforms={SYSTEM: remote})
    far.wait(image.reference)
    file = (image_dir / f"{image.image_id}.squashfs").read_bytes()
    path = f"/api/export/{SYSTEM}/docker/lib%2Fback:1/"

    whole = far.request("GET", path)
    rest = far.request("GET", path, headers={
        "Range": "bytes=1000000-", "If-Range": whole.headers["ETag"],
    })  # fmt: skip
    part = far.request("GET", path, headers={"Range": "bytes=5-9"})

    assert (whole.status_code, whole.content == file) == (200, True)
    assert (rest.status_code, rest.content == file[1_000_000:]) == (206, True)
    assert part.content == file[5:10]
    wait_until(lambda: not sshd.sessions(), what="the connections to end")


def test_a_client_that_goes_away_ends_what_was_begun_for_it(make_gateway, push_image, remote, sshd):
    image = push_image("lib/left:1", [layer(("data", os.urandom(30_000_000)))])
    far = make_gateway(Platforms={SYSTEM: remote})
    far.wait(image.reference)
    wait_until(lambda: not sshd.sessions(), what="the delivery's connection to end")
    path = f"/api/export/{SYSTEM}/docker/lib%2Fleft:1/"

    answer = far.request("GET", path, stream=True)
    assert sshd.sessions()
    answer.close()

    wait_until(lambda: not sshd.sessions(), what="the connection to end")


def test_a_connection_that_breaks_ends_the_answer_at_once(make_gateway, push_image, remote, sshd):
    image = push_image("lib/cut:1", [layer(("data", os.urandom(30_000_000)))])
    far = make_gateway(Platforms={SYSTEM: remote})
    far.wait(image.reference)
    wait_until(lambda: not sshd.sessions(), what="the delivery's connection to end")

    with far.request("GET", f"/api/export/{SYSTEM}/docker/lib%2Fcut:1/", stream=True) as answer:
        assert sshd.signal_sessions(signal.SIGKILL)
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            assert answer.content

    wait_until(lambda: "export broken off reason=ssh ended" in far.log, what="the log")
    assert "Traceback" not in far.log


def test_lists_are_changed_in_the_metadata_there(make_gateway, push_image, remote, image_dir):
    image = push_image("lib/listed:1", [layer(("data", b"1"))])
    far = make_gateway(Platforms={SYSTEM: remote})
    far.wait(image.reference)
    path = f"/api/acl/{SYSTEM}/docker/lib%2Flisted:1/"

    def changed():
        record = far.request("POST", path, json={"allowed_uids": [77]}).json()
        return record if record["status"] in ("READY", "FAILURE") else None

    record = wait_until(changed)

    assert record["status"] == "READY", record
    assert f"USERACL: 77,{os.getuid()}\n" in (image_dir / f"{image.image_id}.meta").read_text()
    assert [name for name in os.listdir(image_dir) if name.endswith(".partial")] == []


def test_an_expired_image_and_its_name_are_gone(make_gateway, push_image, remote, image_dir):
    image = push_image("lib/gone:1", [layer(("data", b"1"))])
    far = make_gateway(Platforms={SYSTEM: remote})
    far.wait(image.reference)

    far.request("POST", f"/api/expire/{SYSTEM}/docker/lib%2Fgone:1/")

    wait_until(lambda: not (image_dir / f"{image.image_id}.squashfs").exists(), what="the removal")
    wait_until(lambda: not list(image_dir.glob(".tags/docker/*")), what="the name to go")


def test_a_pull_to_a_host_that_is_down_fails_with_the_reason(make_gateway, push_image, remote):
    image = push_image("lib/down:1", [layer(("data", b"1"))])
    far = make_gateway(Platforms={SYSTEM: remote | {"host": ["127.0.0.1:1"]}})

    record = far.wait(image.reference)

    assert record["status"] == "FAILURE"
    assert "host '127.0.0.1:1' of system 'cluster' by ssh" in record["status_message"]


def test_a_lost_index_is_made_anew_from_the_catalog(make_gateway, push_image, remote, image_dir):
    image = push_image("lib/lost:1", [layer(("data", b"1"))])
    far = make_gateway(Platforms={SYSTEM: remote})
    far.wait(image.reference)
    wait_until(lambda: "pull finished" in far.log, what="the worker's last look at the index")
    (image_dir / ".tags/docker/lib%2Flost:1").rename(image_dir / ".tags/docker/lib%2Fno:1")

    arguments = ["rebuild", "--config", str(far.config_path)]
    done = CliRunner().invoke(index_command.index, arguments, catch_exceptions=False)

    assert done.output == f"{SYSTEM}: 1 names written, 1 removed\n"
    assert os.listdir(image_dir / ".tags/docker") == ["lib%2Flost:1"]


def test_a_gateway_killed_while_it_copies_leaves_nothing_that_stays(
    make_gateway, push_image, remote, image_dir
):
    image = push_image("lib/killed:1", [layer(("data", os.urandom(3_000_000)))])
    slow = ["-l", "8000", *remote["ssh"]["scpCmdOptions"]]  # a megabyte a second
    far = make_gateway(
        Platforms={SYSTEM: remote | {"ssh": remote["ssh"] | {"scpCmdOptions": slow}}}
    )
    far.pull(image.reference)

    def begun():
        return [path for path in image_dir.glob(".*.partial") if path.stat().st_size]

    (left,) = wait_until(begun, what="the copy to begin")
    far.kill()
    far.config["Platforms"] = {SYSTEM: remote}
    far.start()

    assert far.wait(image.reference)["status"] == "READY"
    wait_until(lambda: not left.exists(), what="the sweep")
    wait_until(
        lambda: not list((far.directory / "expand").glob("*.partial")), what="the sweep, here"
    )
