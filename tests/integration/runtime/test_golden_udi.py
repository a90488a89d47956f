# SPDX-License-Identifier: BSD-3-Clause
"""The container, entry by entry, against one that the original made of the same image.

What differs on purpose stands in a table, with the reason; anything else that differs is a defect.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.runtime.node import ALICE, IMAGE_ID, PROJECT, Node

pytestmark = pytest.mark.root

GOLDEN = Path(__file__).parents[2] / "golden" / "udi"
VOLUME = "--volume=/home/alice/src:/mnt:ro"
CALLER = dict(
    line.split("=", 1) for line in (GOLDEN / "caller_environment.txt").read_text().splitlines()
)
# The recording sorted the caller's variables; in what the program saw, their own order is kept.
ORDER = [line.split("=")[0] for line in (GOLDEN / "cold_env_order.txt").read_text().splitlines()]
CALLER = {name: CALLER[name] for name in sorted(CALLER, key=[*ORDER, *CALLER].index)}
SETTINGS = {
    "populateEtcDynamically": 1,
    "siteEnvAppend": "PATH=/opt/udiImage/bin",
    "mountUdiRootWritable": 0,
}

# Names that the original made in every container, and ours leaves to the image: its own /etc and
# /var are complete (the original hid what it had there), so nothing has to be made up for it.
LEFT_TO_THE_IMAGE = {
    "/etc": {"group.orig", "ssh", "udiImage"},
    "/var": {"empty", "run", "spool"},
    "/opt/udiImage": {"modules"},
}


def recorded(name: str) -> str:
    return (GOLDEN / f"cold_{name}").read_text()


@pytest.fixture
def container(node) -> Node:
    """The node of the recording: its image, its shared /home, its settings."""
    tools = node.prefix / "tools"
    (tools / "bin").mkdir(parents=True, exist_ok=True)
    node.configure(siteFs=f"{node.shared}:/home", optUdiImage=tools, **SETTINGS)
    node.add_image(_image, meta=_metadata())
    home = node.shared / "alice"
    (home / "src").mkdir(parents=True)
    (home / "src/hello").write_text("hello\n")
    for path in (home, home / "src", home / "src/hello"):
        os.chown(path, ALICE, ALICE)
    yield node
    shutil.rmtree(tools)


def _metadata() -> str:
    return (GOLDEN / "image.meta").read_text().partition("\n")[2]


def _image(tree: Path) -> None:
    """The tree of image_contents.txt."""
    shutil.rmtree(tree)
    for line in (GOLDEN / "image_contents.txt").read_text().splitlines():
        mode, _, size, _, _, name = (
            line.split(maxsplit=5) if line.split()[5:] else [*line.split(), ""]
        )
        name, _, target = name.partition(" -> ")
        path = tree / name.lstrip("/")
        if mode[0] == "d":
            path.mkdir(exist_ok=True)
        elif mode[0] == "l":
            path.symlink_to(target)
        elif name == "/bin/busybox":
            shutil.copy2("/bin/busybox", path)
        else:
            with path.open("wb") as file:
                file.truncate(int(size))
        if mode[0] != "l":
            path.chmod(_bits(mode))


def _bits(mode: str) -> int:
    letters = zip(mode[1:10].replace("t", "x").replace("s", "x"), "rwxrwxrwx", strict=True)
    return int("".join("1" if found == wanted else "0" for found, wanted in letters), 2)


def run(node: Node, script: str, **options: object) -> str:
    more = {"env": CALLER, "cwd": "/", "groups": (PROJECT,)} | options
    return node.shell(script, VOLUME, **more)


def entries(listing: str) -> dict[str, tuple[str, str, str]]:
    """Mode, owner and link target of each name that `ls -la` shows; not sizes, not times."""
    found = {}
    for line in listing.splitlines():
        fields = line.split(maxsplit=8)
        if len(fields) < 9:
            continue
        name, _, target = fields[8].partition(" -> ")
        found[name] = (fields[0], fields[2].replace("alice", str(ALICE)), target)
    return found


@pytest.mark.parametrize(
    ("place", "record"),
    [
        ("/", "ls_root"),
        ("/etc", "ls_etc"),
        ("/var", "ls_var"),
        ("/opt", "ls_opt"),
        ("/opt/udiImage", "ls_opt_udiImage"),
    ],
)
def test_every_name_is_there_with_its_mode_owner_and_target(container, place, record):
    expected = entries(recorded(f"{record}.txt"))
    for name in LEFT_TO_THE_IMAGE.get(place, ()):
        del expected[name]

    found = entries(run(container, f"ls -lan {place}/"))

    assert found == expected


def test_modes_are_those_of_the_original(container):
    lines = [line.split() for line in recorded("modes.txt").splitlines()]
    expected = [
        f"{octal} {path}"
        for _, octal, *_, path in lines
        if path.rpartition("/")[2] not in LEFT_TO_THE_IMAGE.get(path.rpartition("/")[0], ())
    ]
    paths = " ".join(line.split()[1] for line in expected)

    assert run(container, f"stat -c '%a %n' {paths}").splitlines() == expected


def test_passwd_has_the_user_and_also_root(container):
    # 28: programs look root up, too.
    expected = "root:x:0:0:root:/root:/bin/sh\n" + recorded("etc_passwd.txt")

    assert run(container, "cat /etc/passwd") == expected.replace("1001", str(ALICE))


def test_group_has_the_users_groups_with_the_user_in_each(container):
    # 28: root exists, and the user is a member wherever the kernel says so.
    assert run(container, "cat /etc/group") == (
        f"root:x:0:\nalice:x:{ALICE}:alice\nproject:x:{PROJECT}:alice\n"
    )


@pytest.mark.parametrize("name", ["nsswitch.conf", "host.conf"])
def test_other_files_of_etc_are_byte_for_byte_the_originals(container, name):
    assert run(container, f"cat /etc/{name}") == recorded(f"etc_{name}.txt")


@pytest.mark.parametrize("name", ["hosts", "resolv.conf"])
def test_what_the_node_knows_of_the_network_is_taken_over(container, name):
    assert run(container, f"cat /etc/{name}") == (Path("/etc") / name).read_text()


def test_shifter_config_is_byte_for_byte_the_originals(container):
    expected = recorded("var_shifterConfig.json")
    (image_id,) = set(re.findall(r"[0-9a-f]{64}", expected))

    found = run(container, "cat /var/shifterConfig.json")

    assert found == expected.replace(image_id, IMAGE_ID)


def test_the_process_has_the_ids_and_capabilities_of_the_original(container):
    def fields(text: str) -> dict[str, list[str]]:
        return {
            name: rest.split() for name, _, rest in (x.partition(":") for x in text.splitlines())
        }

    expected = fields(recorded("status.txt"))
    expected["Umask"] = ["0027"]  # 24: the caller's holds inside; the original left 0022
    for name in ("Uid", "Gid"):
        expected[name] = [str(ALICE)] * 4
    expected["Groups"] = [str(ALICE), str(PROJECT)]

    done = container.run(
        VOLUME, "cat", "/proc/self/status", umask=0o027, groups=(PROJECT,), env=CALLER
    )
    found = fields(done.stdout)

    assert {name: found[name] for name in expected} == expected


def test_the_environment_has_the_order_and_values_of_the_original(container):
    expected = recorded("env_order.txt").splitlines()
    image_id = next(line for line in expected if line.startswith("SHIFTER_IMAGE=")).partition("=")[
        2
    ]

    done = container.run(VOLUME, "env", env=CALLER, cwd="/")

    assert done.stdout.splitlines() == [line.replace(image_id, IMAGE_ID) for line in expected]


def test_with_clearenv_it_is_the_originals_as_well(container):
    expected = recorded("env_clearenv.txt").splitlines()

    done = container.run(VOLUME, "--clearenv", "env", env=CALLER, cwd="/")

    found = [line.replace(IMAGE_ID, "ID") for line in done.stdout.splitlines()]
    assert found == [re.sub(r"[0-9a-f]{64}", "ID", line) for line in expected]


def test_the_process_starts_where_it_was_called_with_nothing_but_its_own_descriptors(container):
    script = "pwd; ls /proc/$$/fd; hostname; readlink /etc/mtab; touch /x /etc/x /mnt/x; touch mine"
    fd = os.open(container.shared / "alice/src/hello", os.O_RDONLY)
    try:
        done = container.run(
            VOLUME, "sh", "-c", script, cwd=container.shared / "alice", pass_fds=(fd,), env=CALLER,
        )  # fmt: skip
    finally:
        os.close(fd)

    # The recording shows the caller's file, too: 10, only the batch system's are kept.
    cwd, *descriptors, hostname, link = done.stdout.split()
    assert cwd == "/"  # below the node's own path of /home, which the container does not have
    assert descriptors == ["0", "1", "2"]
    assert (hostname, link) == (os.uname().nodename, "/proc/mounts")
    for place in ("/x", "/etc/x", "/mnt/x"):
        assert f"touch: {place}: Read-only file system" in done.stderr


def mounts(text: str) -> dict[str, set[str]]:
    found = {}
    for line in text.splitlines():
        place, options = line.split()[4:6] if "|" not in line else line.split(" | ")[:2]
        found[place] = set(options.split(","))
    return found


def test_mounts_have_the_restrictions_of_the_original_or_more(container):
    expected = mounts(recorded("mountinfo.txt").partition("\n")[2])
    for place in subprocess.run(
        ["ls", "-1", "/dev"], capture_output=True, text=True, check=True
    ).stdout.split():
        if not os.path.ismount(f"/dev/{place}"):
            expected.pop(f"/dev/{place}", None)

    found = mounts(run(container, "cat /proc/self/mountinfo"))

    # 22: the image is one overlay, where the original bound each of its directories.
    of_image = {"/app", "/bigfile", "/bin", "/data", "/lib", "/root", "/sbin", "/srv", "/usr"}
    of_image |= {"/writable", "/var/log", "/opt/app"}
    assert expected.keys() - found.keys() == of_image
    for place in expected.keys() - of_image:
        restrictions = expected[place] & {"ro", "nosuid", "nodev", "noexec"}
        assert restrictions <= found[place], place
    assert found["/dev/shm"] >= {"nosuid", "nodev"}  # 10: the original had neither
    assert found["/opt/udiImage"] >= {"ro", "nosuid", "nodev"}  # bound, where it was copied


def test_static_files_of_the_site_come_as_they_are(container):
    site = container.prefix / "etc/files"
    before = {path.name: path.read_bytes() for path in site.iterdir()}
    (site / "README").write_text((GOLDEN / "static_etc_README.txt").read_text())
    try:
        container.configure(
            siteFs=f"{container.shared}:/home", **SETTINGS | {"populateEtcDynamically": 0}
        )
        found = run(container, "cat /etc/README; cat /etc/nsswitch.conf; cat /etc/shadow")
    finally:
        (site / "README").unlink()

    assert (
        found == (GOLDEN / "static_etc_README.txt").read_text() + before["nsswitch.conf"].decode()
    )
