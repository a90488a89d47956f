# SPDX-License-Identifier: BSD-3-Clause
"""`local:/path`: a directory of the user's as image, where the site allows it."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading

import pytest

from tests.integration.runtime.node import ALICE, BOB, host_state, make_setuid_shell

pytestmark = pytest.mark.root


@pytest.fixture
def tree(node):
    """A directory that alice made an image of, on the node's disk."""
    node.configure(allowLocalChroot=1)
    place = node.prefix / "local"
    (place / "image").mkdir(parents=True)
    subprocess.run(
        ["unsquashfs", "-q", "-n", "-f", "-d", place / "image", *node.images.glob("*.squashfs")],
        check=True,
    )  # fmt: skip
    (place / "image/etc/own").write_text("alice's\n")
    for path in (place, *place.rglob("*")):
        os.chown(path, ALICE, ALICE, follow_symlinks=False)
    yield place / "image"
    shutil.rmtree(place)


def run(node, tree, *words, **options):
    return node.run(*words, image=f"local:{tree}", **options)


def test_a_program_of_the_directory_runs_and_the_sites_files_win(node, tree):
    (tree / "etc/passwd").write_text("eve:x:0:0::/:/bin/sh\n")

    done = run(node, tree, "/bin/sh", "-c", "cat /etc/own; echo $SHIFTER_IMAGE; cat /etc/passwd")

    own, image, *passwd = done.stdout.splitlines()
    assert (own, image) == ("alice's", str(tree))
    assert any(line.startswith(f"alice:x:{ALICE}:") for line in passwd)
    assert not any(line.startswith("eve") for line in passwd)
    assert (tree / "etc/passwd").read_text() == "eve:x:0:0::/:/bin/sh\n"


def test_the_container_says_which_directory_it_was_made_of(node, tree):
    done = run(node, tree, "/bin/cat", "/var/shifterConfig.json")

    assert done.stdout == (f'{{"identifier":"{tree}","user":"alice","volMap":"","modules":""}}\n')


@pytest.mark.parametrize("setting", [0, None])
def test_a_site_that_does_not_allow_directories_refuses_them(node, tree, setting):
    node.configure(allowLocalChroot=setting)

    done = run(node, tree, "/bin/true")

    assert done.returncode == 1
    assert "allowLocalChroot" in done.stderr


def test_nothing_is_written_into_the_directory(node, tree):
    before = sorted(os.walk(tree))
    os.chmod(tree / "data", 0o777)

    done = run(node, tree, "-V/data:/new/place", "/bin/touch", "/data/x", "/etc/own")

    assert done.stderr.count("Read-only file system") == 2
    assert sorted(os.walk(tree)) == before


def test_changes_of_a_writable_one_are_thrown_away(node, tree):
    done = run(node, tree, "--writable", "/bin/sh", "-c", "echo x > /etc/own && rm -r /data /home")

    assert (done.returncode, done.stderr) == (0, "")
    assert (tree / "etc/own").read_text() == "alice's\n"
    assert (tree / "data").is_dir()


def test_what_is_not_the_users_does_not_become_his_by_being_writable(node, tree):
    secret = tree / "etc/secret"
    secret.write_text("root's\n")
    secret.chmod(0o600)

    done = run(node, tree, "--writable", "/bin/cat", "/etc/secret")

    assert done.stdout == ""
    assert "Permission denied" in done.stderr


def test_directories_of_others_stay_closed(node, tree):
    private = tree / "private"
    (private / "open").mkdir(parents=True)
    (private / "open/file").write_text("bob's\n")
    private.chmod(0o700)
    os.chown(private, BOB, BOB)

    done = run(node, tree, "/bin/cat", "/private/open/file")

    assert (done.stdout, "Permission denied" in done.stderr) == ("", True)
    assert run(node, tree, "/bin/ls", "/private").stdout == ""
    assert run(node, tree, "-V/private/open:/data", "/bin/true").returncode == 1


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o744])
def test_a_directory_that_the_user_may_not_list_and_enter_is_no_image(node, tree, mode):
    os.chown(tree, BOB, BOB)
    tree.chmod(mode)

    done = run(node, tree, "/bin/true")

    assert done.returncode == 1
    assert done.stderr == f"shifter: cannot use '{tree}' as an image: Permission denied\n"


def test_a_directory_behind_one_of_anothers_is_no_image(node, tree):
    os.chown(tree.parent, BOB, BOB)
    tree.parent.chmod(0o700)

    assert "Permission denied" in run(node, tree, "/bin/true").stderr


def test_the_nodes_own_root_shows_nothing_that_its_modes_do_not(node, tree):
    script = "cat /etc/shadow; ls /root; cat /etc/os-release; ls /proc/self"

    done = run(node, "/", "/bin/sh", "-c", script)

    assert "PRETTY_NAME" in done.stdout
    assert done.stdout.count("root:") == 0
    assert "status" in done.stdout


def test_what_is_mounted_below_the_directory_is_not_part_of_it(node, tree):
    (tree / "mounted").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tree / "mounted"], check=True)
    try:
        (tree / "mounted/file").write_text("")
        done = run(node, tree, "/bin/ls", "/mounted")
    finally:
        subprocess.run(["umount", tree / "mounted"], check=True)

    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "path", ["/proc", "/proc/self", "/sys", "/dev/pts", "/sys/fs/cgroup/unified"]
)
def test_the_kernels_own_filesystems_are_no_images(node, tree, path):
    done = run(node, path, "/bin/true")

    assert done.returncode == 1
    assert "is not decided by the modes of files on this node alone" in done.stderr


@pytest.mark.parametrize("path", ["/proc/self/cwd", "/proc/self/root", "/proc/self/fd/3"])
def test_links_of_proc_to_what_root_has_open_are_not_followed(node, tree, path):
    done = run(node, path, "/bin/true")

    assert done.returncode == 1
    assert "cannot use" in done.stderr


def test_links_of_the_users_own_are_followed(node, tree):
    (tree.parent / "link").symlink_to("image")

    assert run(node, tree.parent / "link", "/bin/cat", "/etc/own").stdout == "alice's\n"


@pytest.mark.parametrize(
    ("path", "reason"), [("/no/such", "No such file"), ("/etc/passwd", "Not a directory")]
)
def test_what_is_no_directory_is_refused(node, tree, path, reason):
    done = run(node, path, "/bin/true")

    assert done.returncode == 1
    assert f"cannot use '{path}' as an image: {reason}" in done.stderr


def test_set_id_programs_in_the_directory_are_inert(node, tree):
    make_setuid_shell(tree)  # root's, as root copies it

    assert run(node, tree, "/bin/busybox-suid", "id", "-u").stdout == f"{ALICE}\n"


def test_a_directory_that_is_swapped_while_root_builds_harms_nobody(node, tree):
    """What is below changes at full speed: directories become links to the node's and back."""
    other = tree.parent / "link-to-etc"
    other.symlink_to("/etc")
    (tree / "var").mkdir(exist_ok=True)
    before = sorted(os.listdir("/etc")), sorted(os.listdir("/"))
    stopping = threading.Event()

    def swap():
        while not stopping.is_set():
            for name in ("etc", "var", "opt", "data"):
                try:
                    os.rename(tree / name, tree.parent / f"{name}.aside")
                    os.rename(other, tree / name)
                    os.rename(tree / name, other)
                    os.rename(tree.parent / f"{name}.aside", tree / name)
                except OSError:
                    pass

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        done = [run(node, tree, "-V/home:/data/x", "/bin/busybox", "id", "-u") for _ in range(20)]
    finally:
        stopping.set()
        swapper.join()

    assert (sorted(os.listdir("/etc")), sorted(os.listdir("/"))) == before
    for one in done:
        assert one.stdout == f"{ALICE}\n" or one.stderr.startswith("shifter: "), one
    assert host_state(node.prefix) == []
