# SPDX-License-Identifier: BSD-3-Clause
"""Each key of udiRoot.conf has an effect that is seen in a container, or is accepted and unused."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from shifter_runtime.config_keys import KEYS
from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID, PROJECT, host_state
from tests.integration.runtime.test_lookup import FakeGateway

pytestmark = pytest.mark.root

HERE = Path(__file__).parent
GOLDEN = HERE.parents[1] / "golden/cli"
NOBODY = 65534  # an account that each machine knows

# Which test sees the effect of which key: a file of this folder (this one where none is named).
SEEN_BY = {
    "udiMount": "test_mount_points_are_where_the_site_says_and_made_if_missing",
    "loopMount": "test_mount_points_are_where_the_site_says_and_made_if_missing",
    "imagePath": "test_images_are_taken_from_where_the_site_says",
    "udiRootPath": "test_images_are_looked_up_by_the_installation_that_the_site_names",
    "optUdiImage": "test_files_of_the_site_appear_in_opt_udi_image",
    "etcPath": "test_static_files_come_from_etc_path",
    "populateEtcDynamically": "test_files_of_etc_are_made_anew_or_taken_as_they_are",
    "allowLibcPwdCalls": "test_who_the_user_is_comes_from_the_node_or_from_etc_path",
    "usersToImport": "test_further_users_are_listed",
    "maxGroupCount": "test_the_user_is_listed_in_at_most_so_many_groups",
    "siteFs": "test_site_directories_are_mounted_as_their_flags_say",
    "siteEnv": "test_the_site_changes_the_environment_last",
    "siteEnvAppend": "test_the_site_changes_the_environment_last",
    "siteEnvPrepend": "test_the_site_changes_the_environment_last",
    "siteEnvUnset": "test_the_site_changes_the_environment_last",
    "sitePreMountHook": "test_hooks.py::test_a_script_of_root_changes_the_container",
    "sitePostMountHook": "test_hooks.py::test_a_script_of_root_changes_the_container",
    "hookTimeout": (
        "test_hooks.py::test_a_script_that_hangs_is_ended_with_everything_it_has_started"
    ),
    "mountUdiRootWritable": "test_the_root_is_writable_where_the_site_says_so",
    "mountPropagationStyle": "test_what_the_node_mounts_later_is_seen_inside_or_not",
    "rootfsType": "test_ramfs_is_taken_as_tmpfs_and_said_to_be",
    "allowLocalChroot": (
        "test_local_image.py::test_a_site_that_does_not_allow_directories_refuses_them"
    ),
    "imageOwners": "test_trust.py::test_the_gateways_account_may_write_images",
    "imageReadAhead": "test_read_ahead.py::test_an_image_is_read_before_it_is_asked_for",
    "perNodeCachePath": "test_node_cache.py::test_without_a_place_there_are_no_caches",
    "perNodeCacheSizeLimit": "test_node_cache.py::test_the_sites_limit_holds",
    "perNodeCacheAllowedFsType": (
        "test_node_cache.py::test_only_filesystems_that_the_site_allows_are_made"
    ),
    "mkfsXfsPath": "test_node_cache.py::test_mkfs_runs_once_for_each_size",
    "imageGateway": "test_a_gateway_that_is_dead_or_hangs_is_passed_over",
    "gatewayTimeout": "test_a_gateway_that_is_dead_or_hangs_is_passed_over",
    "imageLookup": "test_lookup.py::test_no_gateway_is_asked_where_only_the_index_is",
    "mungeSocketPath": (
        "test_lookup.py::test_a_gateway_that_cannot_be_asked_for_want_of_munge_is_none"
    ),
    "system": "test_the_gateway_is_asked_for_the_system_that_the_site_names",
    "defaultImageType": "test_an_image_without_a_type_has_the_site_s_or_is_refused",
    "defaultModules": "test_modules.py::test_the_site_s_default_modules_are_active",
}
ACCEPTED_NOT_USED = {
    *("batchType", "nodeContextPrefix"),
    *("ddPath", "cpPath", "mvPath", "chmodPath", "modprobePath", "insmodPath"),
}


@pytest.mark.parametrize("key", KEYS)
def test_each_key_is_seen_by_a_test_or_known_to_be_unused(key):
    if key in ACCEPTED_NOT_USED:
        assert key not in SEEN_BY
        return
    file, _, name = SEEN_BY[key].rpartition("::")
    text = (HERE / (file or Path(__file__).name)).read_text()
    (body,) = re.findall(rf"(?ms)^def {name}\(.*?(?=^\S(?!\)))", text + "\n#")

    assert key in text
    assert "node" in body


def refusal(node, *words, **options) -> str:
    done = node.run(*(words or ("true",)), **options)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("shifter: ")


def recorded_exit(name: str) -> int:
    return int(re.search(r"exit code: (\d+)", (GOLDEN / f"{name}.txt").read_text())[1])


def test_unused_keys_may_say_anything(node):
    """The programs that a site named once may be gone from its nodes by now."""
    node.configure(**{key: "/no/such/program" for key in sorted(ACCEPTED_NOT_USED)})

    done = node.run("--verbose", "true")

    assert done.returncode == 0
    assert not [key for key in ACCEPTED_NOT_USED if key in done.stderr]
    assert "/no/such/program" not in done.stderr
    assert recorded_exit("shifter_config_missing_tool") == 1  # the original cared


def test_deprecated_and_unknown_keys_are_only_said_to_who_wants_to_know(node):
    node.configure(kmodBasePath="/x", noSuchKey="1", module_gpu_copypath="/x", sitefs="/a")

    assert node.run("true").stderr == ""
    done = node.run("--verbose", "true")

    assert done.returncode == 0
    findings = [line for line in done.stderr.splitlines() if ": line " in line]
    assert [line.partition(": line ")[2][4:] for line in findings] == [
        "kmodBasePath is deprecated and ignored",
        "unknown key 'noSuchKey' ignored",
        "unknown key 'module_gpu_copypath' ignored, did you mean module_gpu_copyPath?",
        "unknown key 'sitefs' ignored, did you mean siteFs?",
    ]
    assert recorded_exit("shifter_config_unknown_key") == 1  # the original refused to start


def test_a_required_key_that_is_missing_is_named(node):
    node.configure(udiMount=None)

    assert "udiMount is not set: the directory on which" in refusal(node)
    assert recorded_exit("shifter_config_missing_key") == 1


def test_an_etc_path_that_nothing_needs_may_be_missing(node):
    node.configure(etcPath="/nonexistent", populateEtcDynamically=1, allowLibcPwdCalls=1)

    assert node.run("true", user=NOBODY).returncode == 0
    assert recorded_exit("shifter_config_etcpath_missing") == 0


def test_a_site_directory_over_etc_is_refused(node):
    node.configure(siteFs="/home:/etc")

    assert refusal(node) == "siteFs '/home:/etc': cannot mount over /etc (reserved by Shifter)\n"
    assert recorded_exit("shifter_config_bad_siteFs") == 1


def test_the_user_cannot_choose_the_configuration(node, tmp_path):
    """Neither by a variable nor by an option, which there is not."""
    other = tmp_path / "udiRoot.conf"
    other.write_text(f"{node.config.read_text()}siteEnv = CHOSEN=1\n")
    names = ("SHIFTER_CONFIG", "SHIFTER_CONF", "UDIROOT_CONF", "CONFIG_FILE", "GWCONFIG")

    done = node.run("env", env=dict.fromkeys(names, str(other)) | {"PATH": "/bin"})

    assert done.returncode == 0
    assert "CHOSEN" not in done.stdout
    assert node.run(f"--config={other}", "true").returncode == 1


def test_mount_points_are_where_the_site_says_and_made_if_missing(node):
    places = {"udiMount": node.prefix / "new/udi", "loopMount": node.prefix / "new/loop"}
    node.configure(**places)

    plan = node.run("--dry-run", "true").stdout

    assert f"on {places['loopMount']} (ro" in plan
    assert f"overlay of {places['loopMount']} and tmpfs on {places['udiMount']} " in plan
    assert node.run("true").returncode == 0
    assert all(place.is_dir() for place in places.values())


@pytest.mark.parametrize("other", ["", "/deeper"])
def test_one_mount_point_cannot_lie_in_the_other(node, other):
    node.configure(loopMount=f"{node.prefix}/udi{other}")

    assert "udiMount and loopMount must be two directories" in refusal(node)


def test_images_are_taken_from_where_the_site_says(node):
    other = node.prefix / "other images"
    other.mkdir()
    node.configure(imagePath=other)
    try:
        assert f"{other}/{IMAGE_ID}.meta does not exist" in refusal(node)
        for path in node.images.iterdir():
            path.rename(other / path.name)
        assert node.run("true").returncode == 0
    finally:
        for path in other.iterdir():
            path.unlink()
        other.rmdir()


def test_images_are_looked_up_by_the_installation_that_the_site_names(node):
    program = node.shared / "other/bin/shifterimg"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho {IMAGE_ID}\n")
    program.chmod(0o755)
    node.configure(udiRootPath=node.shared / "other")

    assert node.run("true", image="docker:any:1").returncode == 0


def test_files_of_the_site_appear_in_opt_udi_image(node):
    site = node.shared / "udi image"
    site.mkdir()
    (site / "tool").write_text("tool\n")
    node.configure(optUdiImage=site)

    assert node.shell("cat /opt/udiImage/tool") == "tool\n"
    assert node.run("touch", "/opt/udiImage/x").returncode == 1
    site.rename(node.shared / "moved")
    assert "cannot use optUdiImage" in refusal(node)


def test_static_files_come_from_etc_path(node):
    file = node.prefix / "etc/files/site.conf"
    file.write_text("of the site\n")
    try:
        assert node.shell("cat /etc/site.conf") == "of the site\n"
        os.chown(file, ALICE, 0)
        assert f"site.conf belongs to user {ALICE}" in refusal(node)
        os.chown(file, 0, 0)
        file.chmod(0o664)
        assert "site.conf is writable by others" in refusal(node)
        file.chmod(0o644)
        os.truncate(file, 1 << 30)
        assert "site.conf is too large" in refusal(node)
        file.unlink()
        mine = node.shared / str(ALICE) / "site.conf"
        mine.write_text("")
        file.symlink_to(mine)
        assert "on the way to it belongs to user" in refusal(node)
    finally:
        file.unlink()


def test_files_of_etc_are_made_anew_or_taken_as_they_are(node):
    assert "bob:" in node.shell("cat /etc/passwd")
    node.configure(populateEtcDynamically=1)

    users = [line.split(":")[0] for line in node.shell("cat /etc/passwd").splitlines()]

    assert users == ["root", "alice"]


@pytest.mark.parametrize("dynamic", [0, 1])
def test_further_users_are_listed(node, dynamic):
    node.configure(populateEtcDynamically=dynamic, usersToImport="bob root")

    users = [line.split(":")[0] for line in node.shell("cat /etc/passwd").splitlines()]

    assert sorted(users) == ["alice", "bob", "root"]
    node.configure(usersToImport="bob nosuchuser")
    assert refusal(node) == ("usersToImport names 'nosuchuser', who is unknown on this node\n")


def test_who_the_user_is_comes_from_the_node_or_from_etc_path(node):
    assert node.shell("id -un") == "alice\n"
    assert f"user id {NOBODY} has no name on this node" in refusal(node, user=NOBODY)

    node.configure(allowLibcPwdCalls=1)

    assert node.shell("id -un", user=NOBODY) == "nobody\n"
    assert f"user id {ALICE} has no name on this node" in refusal(node)


@pytest.mark.parametrize(("count", "listed"), [(0, 0), (1, 1), (31, 2), (10**17, 2)])
@pytest.mark.parametrize("dynamic", [0, 1])
def test_the_user_is_listed_in_at_most_so_many_groups(node, count, listed, dynamic):
    node.configure(maxGroupCount=count, populateEtcDynamically=dynamic)

    groups = node.shell("cat /etc/group", groups=(PROJECT,)).splitlines()

    assert sum(line.endswith(":alice") for line in groups) == listed
    assert any(line.startswith("project:") for line in groups)


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ("", {"rw", "nosuid", "nodev"}),
        (":ro", {"ro", "nosuid", "nodev"}),
        (":rec:ro", {"ro", "nosuid", "nodev"}),
        (":private", {"rw"}),
        (":slave", {"rw"}),
        (":RO", {"ro"}),
    ],
)
def test_site_directories_are_mounted_as_their_flags_say(node, flags, options):
    node.configure(siteFs=f"{node.shared}:/site{flags}")

    mounts = [line.split() for line in node.shell("cat /proc/self/mounts").splitlines()]

    (found,) = [fields[3] for fields in mounts if fields[1] == "/site"]
    assert options <= set(found.split(","))
    assert (node.run("touch", f"/site/{ALICE}/x").returncode == 0) == ("rw" in options)


def test_what_is_mounted_below_a_site_directory_is_seen_with_rec_only(node, shared_mount):
    (shared_mount / "sub").mkdir()
    with mounted_tmpfs(shared_mount / "sub") as below:
        (below / "file").write_text("")
        node.configure(siteFs=f"{shared_mount}:/site:rec;{shared_mount}:/other")

        assert node.shell("ls /site/sub /other/sub").split() == [
            "/other/sub:",
            "/site/sub:",
            "file",
        ]
        (options,) = [
            line.split()[3]
            for line in node.shell("cat /proc/self/mounts").splitlines()
            if line.split()[1] == "/site/sub"
        ]
        assert {"nosuid", "nodev"} <= set(options.split(","))


def test_site_directories_add_up_over_lines_and_the_last_of_a_place_counts(node):
    for name in ("a", "b"):
        (node.shared / name).mkdir()
        (node.shared / name / "name").write_text(name)
    node.configure(siteFs=f"{node.shared}/a:/x; \\\n   {node.shared}/b")
    with node.config.open("a") as file:
        file.write(f"siteFs = {node.shared}/a:/y\nsiteFs = {node.shared}/b:/y\n")

    assert node.shell(f"cat /x/name {node.shared}/b/name /y/name") == "abb"


def test_a_site_directory_may_lie_below_another_or_be_tmp_or_a_file(node):
    for name in ("a/sub", "b", "tmp"):
        (node.shared / name).mkdir(parents=True)
    (node.shared / "b/file").write_text("b\n")
    (node.shared / "tmp/mine").write_text("t\n")
    node.configure(
        siteFs=f"{node.shared}/a:/a;{node.shared}/b:/a/sub;{node.shared}/tmp:/tmp;"
        f"{node.shared}/b/file:/etc/site.conf:ro"
    )

    assert node.shell("cat /a/sub/file /tmp/mine /etc/site.conf") == "b\nt\nb\n"


def test_a_place_below_a_site_directory_must_be_there(node):
    (node.shared / "a").mkdir()
    node.configure(siteFs=f"{node.shared}/a:/a;{node.shared}/a:/a/missing")

    assert "cannot make /a/missing in the container: /a lies on another filesystem" in refusal(node)
    assert list((node.shared / "a").iterdir()) == []


def test_a_site_directory_that_this_node_lacks_is_named(node):
    node.configure(siteFs="/no/such/dir:/data")

    assert refusal(node) == (
        "cannot use siteFs /no/such/dir on this node: No such file or directory; ask the "
        "administrator to correct the node or udiRoot.conf\n"
    )
    assert host_state(node.prefix) == []


def test_the_site_changes_the_environment_last(node):
    node.configure(
        siteEnv="SITE=1 USER_SET=site",
        siteEnvAppend="LIST=last NEW_END=x",
        siteEnvPrepend="LIST=first",
        siteEnvUnset="SECRET NOT_THERE",
    )

    text = node.shell(
        "env", "--env=LIST=mine", "--env=USER_SET=user", "--env=SECRET=1", "--clearenv"
    )

    variables = dict(line.split("=", 1) for line in text.splitlines())
    wanted = {"SITE": "1", "USER_SET": "site", "LIST": "first:mine:last", "NEW_END": "x"}
    assert wanted.items() <= variables.items()
    assert "SECRET" not in variables


@pytest.mark.parametrize(("setting", "code"), [(0, 1), (1, 0)])
def test_the_root_is_writable_where_the_site_says_so(node, setting, code):
    # What a user may write into is a matter of modes, which hold in either case.
    node.add_image(lambda tree: (tree / "open").mkdir() or (tree / "open").chmod(0o1777))
    node.configure(mountUdiRootWritable=setting)

    assert node.run("touch", "/open/x").returncode == code
    assert node.run("touch", "/bin/x").returncode == 1


@contextlib.contextmanager
def mounted_tmpfs(place: Path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def shared_mount(node):
    """A directory of the node from which mounts spread, as /net of an automounter's."""
    place = node.shared / "net"
    place.mkdir()
    with mounted_tmpfs(place):
        subprocess.run(["mount", "--make-shared", place], check=True)
        yield place


@pytest.mark.parametrize(
    ("style", "flag", "is_seen"),
    [
        ("private", "", False),
        ("slave", "", True),
        ("private", ":slave", True),
        ("slave", ":private", False),
        (None, "", False),
    ],
)
def test_what_the_node_mounts_later_is_seen_inside_or_not(node, shared_mount, style, flag, is_seen):
    (shared_mount / "later").mkdir()
    node.configure(siteFs=f"{shared_mount}:/net{flag}", mountPropagationStyle=style)
    process = node.start("sh", "-c", "echo ready; read line; ls /net/later", stdin=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n"

    with mounted_tmpfs(shared_mount / "later") as later:
        (later / "news").write_text("")
        stdout, stderr = process.communicate("go on\n", timeout=20)

    assert (stdout, stderr) == ("news\n" if is_seen else "", "")


def test_ramfs_is_taken_as_tmpfs_and_said_to_be(node):
    node.configure(rootfsType="ramfs")

    assert "and tmpfs on" in node.run("--dry-run", "true").stdout
    done = node.run("--verbose", "true")
    assert done.returncode == 0
    assert "rootfsType = ramfs cannot be had" in done.stderr
    assert node.run("true").stderr == ""


def test_an_image_without_a_type_has_the_site_s_or_is_refused(node):
    node.configure(defaultImageType="id")
    assert node.run("true", image=IMAGE_ID).returncode == 0

    node.configure(defaultImageType=None)

    assert refusal(node, image="ubuntu:24.04") == (
        "image 'ubuntu:24.04' has no type and the site has no defaultImageType: write it as "
        "docker:ubuntu:24.04\n"
    )
    node.configure(defaultImageType="dokcer")
    assert "defaultImageType must be one of docker, custom, id, local, not 'dokcer'" in refusal(
        node
    )


@pytest.fixture
def hanging_gateway():
    """One that takes connections and never says anything."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def gateway():
    fake = FakeGateway()
    yield fake
    fake.close()


def launch_by_name(node, munged, *urls, **settings):
    node.configure(
        imageGateway=" ".join(urls), imageLookup="gateway", mungeSocketPath=munged, **settings
    )
    return node.run("true", image="docker:x:1")


@pytest.mark.munge
def test_a_gateway_that_is_dead_or_hangs_is_passed_over(node, munged, gateway, hanging_gateway):
    """Gateways are asked in random order, so whichever comes first, the launch must work."""
    dead = "http://127.0.0.1:9"
    for _ in range(4):
        began = time.monotonic()

        done = launch_by_name(
            node, munged, dead, hanging_gateway, gateway.url, gatewayTimeout="0.5"
        )

        assert (done.returncode, done.stderr) == (0, "")
        assert time.monotonic() - began < 5
    assert len(gateway.asked) == 4

    done = launch_by_name(node, munged, dead, hanging_gateway, gatewayTimeout="0.5")
    assert done.returncode == 1
    assert dead in done.stderr
    assert hanging_gateway in done.stderr


@pytest.mark.munge
def test_the_gateway_is_asked_for_the_system_that_the_site_names(node, munged, gateway):
    done = launch_by_name(node, munged, gateway.url, system="other")

    assert done.returncode == 0
    assert gateway.asked == ["/api/lookup/other/docker/x%3A1/"]
    done = launch_by_name(node, munged, gateway.url, system=None)
    assert done.returncode == 1
    assert "system in udiRoot.conf" in done.stderr


def test_a_value_with_a_nul_is_refused(node):
    with node.config.open("a") as file:
        file.write("siteEnv = A=\0\n")

    assert "siteEnv holds a NUL character" in refusal(node)


def test_bob_s_files_in_a_shared_place_stay_bob_s(node):
    """The site's directories give nobody rights that he has not on the node."""
    (node.shared / str(BOB) / "secret").write_text("")

    assert node.run("ls", f"/shared/{BOB}").returncode == 1
