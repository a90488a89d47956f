# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from shifter_runtime.errors import UsageError
from shifter_runtime.job import hosts, options
from shifter_runtime.job.joining import is_job_id

ID = "a" * 64


def test_the_originals_command_line_is_understood():
    words = ["-V", "-v", "/a:/b", "-v", "/c:/d:ro", "-s", "ssh-ed25519 AAAA", "-u", "alice"]
    words += ["-U", "1001", "-G", "1002", "-N", "n1/2 n2/1", "-m", "one,other", "id", ID]

    chosen = options.parse_setup(words)

    assert chosen.verbose
    assert [str(volume) for volume in chosen.volumes] == ["/a:/b", "/c:/d:ro"]
    assert (chosen.user, chosen.uid, chosen.gid) == ("alice", 1001, 1002)
    assert chosen.ssh_key == "ssh-ed25519 AAAA"
    assert chosen.nodes == [("n1", 2), ("n2", 1)]
    assert chosen.modules == ["one", "other"]
    assert (chosen.image_type, chosen.image_id, chosen.job) == ("id", ID, "node")


@pytest.mark.parametrize(
    "words",
    [
        ["--user=alice", "--volume=/a:/b", "--job=12", "id", ID],
        ["--user", "alice", "--volume", "/a:/b", "--job", "12", "id", ID],
        ["id", ID, "--user", "alice", "-v/a:/b", "--job=12"],
        ["--us=alice", "--vol", "/a:/b", "--jo=12", "--", "id", ID],
    ],
)
def test_long_names_beginnings_and_any_order_mean_the_same(words):
    chosen = options.parse_setup(words)

    assert (chosen.user, str(chosen.volumes[0]), chosen.job) == ("alice", "/a:/b", "12")
    assert (chosen.image_type, chosen.image_id) == ("id", ID)


def test_letters_may_be_bundled():
    assert options.parse_unsetup(["-vh"]).help
    assert options.parse_setup(["-Vualice", "id", ID]).user == "alice"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--job"], "requires a value"),
        (["--verbose=1"], "takes no value"),
        (["--verb", "--=x"], "unrecognized option"),
        (["-u", "a", "docker", "ubuntu"], "not looked up here"),
        (["id", ID], "a user is needed"),
        (["--u=1", "id", ID], "ambiguous"),
    ],
)
def test_wrong_usage_says_what_is_wrong(words, problem):
    with pytest.raises(UsageError, match=problem):
        options.parse_setup(words)


def test_unsetup_takes_no_image():
    with pytest.raises(UsageError, match="'id' means nothing here"):
        options.parse_unsetup(["id", ID])


def test_no_modules_is_not_the_same_as_the_sites():
    assert options.parse_setup(["-u", "a", "id", ID]).modules is None
    assert options.parse_setup(["-u", "a", "-m", "", "id", ID]).modules == []


def test_hostsfile_has_a_line_for_each_task():
    assert hosts.hostsfile(hosts.parse("node1/2  node2/1 ")) == b"node1\nnode1\nnode2\n"
    assert hosts.hostsfile(hosts.parse("")) == b""


@pytest.mark.parametrize("text", ["1", "12.server", "12[3].server", "a-b_c", "Z" * 128])
def test_ids_of_batch_systems_are_job_ids(text):
    assert is_job_id(text)


@pytest.mark.parametrize(
    "text", ["", "node", ".", "..", "[1]", "a/b", "-1", "é", "1\n", "1" * 129, "१"]
)
def test_what_would_be_another_path_is_no_job_id(text):
    assert not is_job_id(text)
