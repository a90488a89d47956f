# SPDX-License-Identifier: BSD-3-Clause
"""passwd, group and the record of a container, against those that the original made."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from shifter_runtime import etc_files, udi_config
from shifter_runtime.errors import SetupError

GOLDEN = Path(__file__).parents[2] / "golden" / "udi"
ALICE_GROUPS = [("alice", 1001), ("projecta", 1002), ("projectb", 1003)]
IMAGE_ID = "e1edb98a467409ea070bb8ceb37c9f375b20d64a65c7f24d3cffda7ba75cdf0f"


def account(name: str = "alice", uid: int = 1001, **fields) -> SimpleNamespace:
    known = {"gid": uid, "gecos": "Alice Example", "home": f"/home/{name}", "shell": "/bin/bash"}
    return SimpleNamespace(name=name, uid=uid, **(known | fields))


def golden(name: str) -> str:
    return (GOLDEN / name).read_text()


def test_passwd_is_the_original_s_with_root_in_front():
    text = etc_files.passwd([account()])

    assert text == "root:x:0:0:root:/root:/bin/sh\n" + golden("cold_etc_passwd.txt")


def test_the_first_of_two_accounts_with_one_name_counts():
    text = etc_files.passwd([account(), account(uid=5), account("root", 7)])

    assert [line.split(":")[:3] for line in text.splitlines()] == [
        ["root", "x", "0"],
        ["alice", "x", "1001"],
    ]


def test_the_site_s_passwd_is_kept_and_the_caller_added_where_missing():
    site = golden("static_etc_passwd.txt")

    assert etc_files.add_to_passwd(site, [account()]) == site
    carol = etc_files.add_to_passwd(site, [account("carol", 1009, gecos="Carol")])
    assert carol == site + "carol:x:1009:1009:Carol:/home/carol:/bin/bash\n"


def test_group_lists_the_user_in_every_group_of_the_process():
    text = etc_files.group("alice", ALICE_GROUPS, 31)

    # The original left the members of all but the first empty, and had no root.
    expected = golden("cold_etc_group.orig.txt").replace(":\n", ":alice\n")
    assert text == "root:x:0:\n" + expected


@pytest.mark.parametrize(
    ("limit", "members"),
    [(0, ["", "", ""]), (2, ["alice", "alice", ""]), (31, ["alice", "alice", "alice"])],
)
def test_the_user_is_listed_in_as_many_groups_as_the_site_wants(limit, members):
    text = etc_files.group("alice", ALICE_GROUPS, limit)

    assert [line.rpartition(":")[2] for line in text.splitlines()[1:]] == members


def test_no_other_member_of_the_site_s_groups_is_shown():
    text = etc_files.add_to_group(golden("static_etc_group.orig.txt"), "alice", ALICE_GROUPS, 31)

    assert text == "root:x:0:\n" + golden("static_etc_group.txt")


def test_membership_is_what_the_kernel_says_not_the_file():
    text = etc_files.add_to_group("root:x:0:alice\nwheel:x:10:alice\n", "alice", ALICE_GROUPS, 31)

    assert text.splitlines()[:2] == ["root:x:0:", "wheel:x:10:"]
    assert text.splitlines()[2:] == ["alice:x:1001:alice", "projecta:x:1002:alice"] + [
        "projectb:x:1003:alice"
    ]


def test_lines_that_are_no_groups_are_left_out():
    text = etc_files.add_to_group("+:::\n# c\n\nx:x:5:\n", "alice", [], 31)

    assert text == "root:x:0:\nx:x:5:\n"


def test_root_comes_first_where_the_site_s_files_lack_it():
    passwd = etc_files.add_to_passwd("daemon:x:1:1::/:/bin/false\n", [])
    group = etc_files.add_to_group("daemon:x:1\n", "alice", [("root", 0)], 31)

    assert passwd.splitlines() == ["root:x:0:0:root:/root:/bin/sh", "daemon:x:1:1::/:/bin/false"]
    assert group.splitlines() == ["root:x:0:", "daemon:x:1:"]


@pytest.mark.parametrize("field", ["name", "home", "shell"])
@pytest.mark.parametrize("bad", ["a:b", "a\nroot2:x:0:0::/:/bin/sh", "a\0b", "a\rb"])
def test_a_field_cannot_add_fields_or_lines(field, bad):
    with pytest.raises(SetupError, match="colon or a line end"):
        etc_files.passwd([account(**{"gid": 1, field: bad})] if field != "name" else [account(bad)])


def test_a_full_name_cannot_add_a_line_and_does_not_keep_its_owner_out():
    text = etc_files.passwd([account(gecos="Al:ice\nroot2:x:0:0::/:/bin/sh")])

    assert text.splitlines()[1:] == [
        "alice:x:1001:1001:Al ice root2 x 0 0  / /bin/sh:/home/alice:/bin/bash"
    ]


@pytest.mark.parametrize(("user", "name"), [("alice", "a\nb:x:0:"), ("a:b", "x"), ("a\nb", "x")])
def test_group_and_member_names_cannot_add_lines(user, name):
    with pytest.raises(SetupError, match="colon or a line end"):
        etc_files.group(user, [(name, 1001)], 31)


def test_fixed_files_are_the_original_s():
    assert golden("cold_etc_nsswitch.conf.txt") == etc_files.NSSWITCH_CONF
    assert golden("cold_etc_host.conf.txt") == etc_files.HOST_CONF


@pytest.mark.parametrize("run", ["cold", "setuproot"])
def test_the_record_is_the_original_s_byte_for_byte(run):
    text = udi_config.text(IMAGE_ID, "alice", "/home/alice/src:/mnt:ro")

    assert text == golden(f"{run}_var_shifterConfig.json")


def test_each_module_in_the_record_is_followed_by_a_comma():
    assert '"modules":"mpi,gpu,"}\n' in udi_config.text(IMAGE_ID, "alice", "", ["mpi", "gpu"])


def test_a_volume_cannot_forge_the_record():
    volume = '/a":/b","user":"bob\\\n:/\udcff'

    record = json.loads(udi_config.text(IMAGE_ID, "alice", volume))

    assert (record["user"], record["volMap"]) == ("alice", volume)
