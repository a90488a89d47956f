# SPDX-License-Identifier: BSD-3-Clause
"""Callers proved by a real munge, and what pretends to be one."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from datetime import timedelta

import pytest

from shifter_common import munge
from shifter_common.errors import MungeError

pytestmark = pytest.mark.munge

LIST = "/api/list/mycluster/"
PULL = "/api/pull/mycluster/docker/app:1/"


def reason_of(response) -> str:
    assert response.status_code == 401, response.text
    assert response.headers["Content-Type"] == "application/json"
    return response.json["error"]


def expired_credential(socket) -> str:
    made = subprocess.run(
        ["munge", f"--socket={socket}", "--ttl=1", "--no-input"],
        capture_output=True,
        text=True,
        check=True,
    )
    time.sleep(2.1)  # munge counts whole seconds
    return made.stdout.strip()


def test_a_fresh_credential_is_good_for_one_request(api):
    credential = api.credential()

    assert api.get(LIST, credential).status_code == 200
    assert "it was used before" in reason_of(api.get(LIST, credential))


def test_an_expired_credential_is_refused(api):
    assert "it has expired" in reason_of(api.get(LIST, expired_credential(api.socket)))


def test_a_credential_from_the_future_is_refused(api, munge_ahead):
    credential = munge.encode(socket=str(munge_ahead))

    assert "made in the future" in reason_of(api.get(LIST, credential))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda credential: credential[:-20],
        lambda credential: credential[:40] + credential[44:],
        lambda credential: credential.replace("MUNGE", "GNUME"),
        lambda credential: f"{credential},{credential}",
        lambda credential: f"{credential},garbage",
        lambda credential: "good:root:root::0:0",
        lambda credential: "MUNGE:" + "A" * 60_000 + ":",
    ],
    ids=["cut", "holed", "renamed", "twice", "with more", "mock", "long"],
)
def test_garbage_is_refused_and_queues_nothing(api, spoil):
    reason = reason_of(api.post(PULL, spoil(api.credential())))

    assert reason.startswith("munge refused the credential: it ")
    assert api.catalog.list_queue("mycluster") == []


def test_a_credential_of_another_cluster_is_refused(api):
    assert "with another key" in reason_of(api.get("/api/list/theirs/", api.credential()))


def test_each_system_believes_its_own_munge_alone(api):
    assert api.get("/api/list/theirs/", api.foreign_credential()).status_code == 200
    assert "with another key" in reason_of(api.get(LIST, api.foreign_credential()))
    assert api.get(LIST, api.credential()).status_code == 200


def test_a_credential_that_another_system_has_seen_is_still_used_up_here_only_once(api):
    credential = api.credential()

    assert "with another key" in reason_of(api.get("/api/list/theirs/", credential))
    assert api.get(LIST, credential).status_code == 200
    assert "it was used before" in reason_of(api.get(LIST, credential))


def test_a_munge_that_is_down_is_said_to_be(api):
    response = api.get("/api/list/down/", api.credential())

    assert response.status_code == 503
    assert "is it running?" in response.json["error"]


def test_the_puller_is_who_made_the_credential_and_logins_ride_in_it_sealed(api):
    logins = {"reg": "me:se:cret"}
    payload = json.dumps({"authorized_locations": logins | {"other": "x:y"}}).encode()

    assert api.post(PULL, api.credential(payload)).status_code == 200

    claim = api.catalog.claim(["mycluster"], "w", timedelta(seconds=9), time.time())
    assert claim.record.puller == os.getuid()
    assert api.sealer.unseal(claim.sealed_credentials) == logins


def test_a_stored_credential_is_read_again_although_it_is_stale(own_munge):
    credential = munge.encode(b"login", socket=str(own_munge))
    munge.decode(credential, socket=str(own_munge))

    again = munge.decode(credential, socket=str(own_munge), allow_stale=True)

    assert (again.payload, again.uid, again.gid) == (b"login", os.getuid(), os.getgid())


def test_a_stale_credential_must_still_be_one_of_ours(own_munge, foreign_munge):
    credential = munge.encode(b"login", socket=str(foreign_munge))

    with pytest.raises(MungeError) as caught:
        munge.decode(credential, socket=str(own_munge), allow_stale=True)

    assert caught.value.code == 14


@pytest.mark.parametrize("payload", [b"", b"\0\xff" * 5000, b"x"])
def test_a_payload_arrives_as_it_was(own_munge, payload):
    credential = munge.encode(payload, socket=str(own_munge))

    assert munge.decode(credential, socket=str(own_munge)).payload == payload


@pytest.mark.parametrize("text", ["", "MUNGE:\0:", "MUNGE:ü:", "x" * 100_000])
def test_text_that_is_no_credential_has_a_code(own_munge, text):
    with pytest.raises(MungeError, match="munge refused the credential"):
        munge.decode(text, socket=str(own_munge))


def test_a_socket_path_that_is_too_long_is_said_in_words():
    with pytest.raises(MungeError, match="munged does not answer at '/xx"):
        munge.encode(socket="/" + "x" * 300)


def test_threads_do_not_mix_up_their_credentials(own_munge):
    wrong = []

    def talk(number: int) -> None:
        for count in range(50):
            payload = f"{number}:{count}".encode()
            credential = munge.encode(payload, socket=str(own_munge))
            if munge.decode(credential, socket=str(own_munge)).payload != payload:
                wrong.append(payload)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
