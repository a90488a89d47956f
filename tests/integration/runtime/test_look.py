# SPDX-License-Identifier: BSD-3-Clause
"""The container looks right to the programs in it: users, names, sizes, terminals, mounts."""

from __future__ import annotations

import hashlib
import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID, PROJECT

pytestmark = pytest.mark.root

MINE = f"/shared/{ALICE}"

# Asks the C library what a program asks: who am I, which groups, a terminal, shared memory.
LOOK = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
    struct passwd *user = getpwuid(getuid());
    gid_t groups[64];
    int count = getgroups(64, groups), terminal;

    printf("%s %s ", user ? user->pw_name : "?", user ? user->pw_dir : "?");
    printf("%s\n", getpwnam("root") ? "root" : "?");
    for (int i = 0; i < count; i++) {
        struct group *group = getgrgid(groups[i]);
        printf("%s:%s\n", group ? group->gr_name : "?",
            group && group->gr_mem[0] ? group->gr_mem[0] : "?");
    }
    terminal = posix_openpt(O_RDWR);
    printf("%s\n", terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0 &&
        open(ptsname(terminal), O_RDWR | O_NOCTTY) >= 0 ? ptsname(terminal) : "no terminal");
    printf("%s\n", shm_open("/shifter-look", O_RDWR | O_CREAT, 0600) >= 0 ? "shm" : "no shm");
    shm_unlink("/shifter-look");
    return 0;
}
"""


def build(compiler, tree):
    """The program above, with the loader and the libraries that it needs."""
    source = tree / "look.c"
    source.write_text(LOOK)
    static = ["-static"] if compiler == "musl-gcc" else []
    program = tree / "bin/look"
    subprocess.run([compiler, *static, "-o", program, source], check=True)
    if static:
        return
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    found = [word for word in listed.split() if word.startswith("/")]
    libraries = Path(next(path for path in found if "libc.so" in path)).parent
    for path in (*map(Path, found), *libraries.glob("libnss_files.so*")):
        (tree / path.parent.relative_to("/")).mkdir(parents=True, exist_ok=True)
        shutil.copy(path.resolve(), tree / path.relative_to("/"))


@pytest.mark.parametrize("compiler", ["gcc", "musl-gcc"])
def test_either_c_library_knows_user_and_groups_and_finds_a_terminal(node, compiler):
    node.add_image(lambda tree: build(compiler, tree))

    user, *groups, terminal, memory = node.run("look", groups=(PROJECT,)).stdout.splitlines()

    assert user == "alice /home/alice root"
    assert groups == ["alice:alice", "project:alice"]
    assert terminal.startswith("/dev/pts/")
    assert memory == "shm"


def test_every_group_of_the_kernel_is_in_the_group_file_also_without_a_name(node):
    extra = tuple(range(61600, 61630))

    groups = node.shell("cat /etc/group; id -G", groups=extra).splitlines()

    assert set(groups[-1].split()) == {str(gid) for gid in (ALICE, *extra)}
    assert {f"{gid}:x:{gid}:alice" for gid in extra} <= set(groups)


def test_the_user_is_listed_in_as_many_groups_as_the_site_wants(node):
    node.configure(maxGroupCount=2)

    groups = node.shell("cat /etc/group; id -G", groups=(61600, 61601)).splitlines()

    assert [line for line in groups if line.endswith(":alice")] == [
        f"alice:x:{ALICE}:alice", "61600:x:61600:alice",
    ]  # fmt: skip
    assert "61601:x:61601:" in groups
    assert groups[-1].split() == [str(ALICE), "61600", "61601"]


ODD_NAMES = [
    b"a blank", b"comma,", b"at@sign", b"equals=", b"per%cent", b"back\\slash", b"new\nline",
    "umlaut-ü".encode(), b"latin-1-\xfc", b"quote'\"", b"-dash", b"star*", b"#hash", b"x" * 255,
]  # fmt: skip


@pytest.mark.parametrize("format", ["squashfs", "ext4", "VFS"])
def test_any_file_name_is_there_at_every_level_that_the_site_touches(node, format):
    def make(tree):
        for place in ("", "etc", "var", "opt", "usr/share"):
            (tree / place).mkdir(parents=True, exist_ok=True)
            for number, name in enumerate(ODD_NAMES):
                Path(os.fsdecode(os.path.join(os.fsencode(tree / place), name))).write_text(
                    f"{number}\n"
                )

    node.add_image(make, format=format)

    for place in ("/", "/etc/", "/var/", "/opt/", "/usr/share/"):
        paths = [os.fsencode(place) + name for name in ODD_NAMES]
        done = node.run("cat", *paths)
        assert done.stdout.split() == [str(number) for number in range(len(ODD_NAMES))], place


@pytest.mark.parametrize(
    "name", [name for name in ODD_NAMES if name != b"x" * 255], ids=lambda name: repr(name)[2:-1]
)
def test_a_volume_may_have_any_name(node, name):
    home = os.fsencode(node.shared / str(ALICE))
    os.mkdir(home + b"/" + name)
    with open(home + b"/" + name + b"/file", "w") as file:
        file.write("found\n")
    os.chown(home + b"/" + name, ALICE, ALICE)
    source = os.fsencode(MINE) + b"/" + name + b"/./"

    done = node.run(
        b"--volume=" + source + b":/at " + name + b"/.", "cat", b"/at " + name + b"/file"
    )

    assert (done.stdout, done.stderr) == ("found\n", "")


@pytest.mark.parametrize(
    ("format", "size"), [("squashfs", 1 << 30), ("ext4", 10 << 30), ("VFS", 10 << 30)]
)
def test_large_and_sparse_files_are_whole(node, format, size):
    def make(tree):
        for place in ("", "etc", "opt"):
            (tree / place).mkdir(exist_ok=True)
            (tree / place / "large").write_bytes(b"0123456789abcdef" * (6 << 16))
        with (tree / "sparse").open("wb") as file:
            file.write(b"begin")
            file.seek(size - 3)
            file.write(b"end")

    node.add_image(make, format=format)
    names = ("/large", "/etc/large", "/opt/large", "/sparse")

    sizes = node.run("busybox", "stat", "-c", "%s", *names).stdout.split()
    ends = node.shell("busybox tail -c 3 /sparse; busybox head -c 5 /sparse")
    sums = node.run("busybox", "md5sum", *names[:3]).stdout.split()[::2]

    assert list(map(int, sizes)) == [6 << 20] * 3 + [size]
    assert ends == "endbegin"
    assert set(sums) == {hashlib.md5(b"0123456789abcdef" * (6 << 16)).hexdigest()}


def test_the_real_home_directory_is_the_users_to_write_in(node):
    home = node.shared / "alice"
    home.mkdir()
    os.chown(home, ALICE, ALICE)
    node.configure(siteFs=f"{node.shared}:/home")

    node.shell("cd && pwd > where && echo ~alice >> where", env={"HOME": "/home/alice"})

    assert (home / "where").read_text() == "/home/alice\n/home/alice\n"


def test_shared_memory_is_the_nodes_and_neither_setuid_nor_devices_work_there(node):
    mounts = [line.split() for line in node.shell("cat /proc/mounts").splitlines()]

    options = [set(mount[3].split(",")) for mount in mounts if mount[1] == "/dev/shm"]
    assert options and {"rw", "nosuid", "nodev"} <= options[-1]
    node.shell("f=/dev/shm/shifter-test-$$; : > $f && rm $f")


def test_devices_still_work_where_they_belong(node):
    node.shell("echo x > /dev/null; test -c /dev/ptmx; busybox head -c 3 /dev/zero")


def test_a_terminal_is_one_inside(node):
    ours, theirs = pty.openpty()
    os.fchown(theirs, ALICE, -1)
    done = subprocess.run(
        [node.launcher, f"--image=id:{IMAGE_ID}", "sh", "-c", "test -t 0 && busybox tty"],
        user=ALICE, group=ALICE, extra_groups=[], stdin=theirs, stdout=subprocess.PIPE,
        env={}, cwd="/", text=True,
    )  # fmt: skip
    name = os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)

    assert done.returncode == 0
    assert done.stdout.splitlines() == [name]


def test_proc_mounts_makes_sense(node):
    """Every mount has its parent in the list, one is the root, and none shows the node's places."""
    lines = [
        line.split()
        for line in node.shell("cat /proc/self/mountinfo", f"-V{MINE}:/data").splitlines()
    ]

    ids = {fields[0] for fields in lines}
    (root,) = [fields for fields in lines if fields[4] == "/"]
    assert all(fields[1] in ids for fields in lines if fields is not root)
    assert [fields[4] for fields in lines if str(node.prefix) in fields[4]] == []
    assert "overlay" in root


def test_df_and_mtab_work(node):
    done = node.run("busybox", "df", "-h", "/", "/tmp", "/data", "/proc/self")

    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()[1:]] == [
        "/",
        "/tmp",
        "/",
        "/proc",
    ]
    assert node.shell("cat /etc/mtab") == node.shell("cat /proc/mounts")


def test_a_program_finds_itself_by_the_path_of_the_image(node):
    assert node.run("busybox", "readlink", "/proc/self/exe").stdout == "/bin/busybox\n"
    assert node.run("busybox", "readlink", "/proc/self/root").stdout == "/\n"


def test_the_images_own_var_is_not_hidden(node):
    def make(tree):
        for path in ("var/run/tool", "var/spool/mail", "var/empty", "var/cache"):
            (tree / path).mkdir(parents=True)
        (tree / "etc/ssh").mkdir()
        (tree / "etc/ssh/ssh_config").write_text("of the image\n")

    node.add_image(make)

    assert node.shell("ls /var /var/run /var/spool | cat; cat /etc/ssh/ssh_config").split() == [
        "/var:", "cache", "empty", "run", "shifterConfig.json", "spool", "tmp",
        "/var/run:", "tool", "/var/spool:", "mail", "of", "the", "image",
    ]  # fmt: skip


def link_in_etc_place(tree):
    (tree / "etc").rename(tree / "etc2")
    (tree / "etc").symlink_to("etc2")


def link_to_deeper(tree):
    (tree / "usr/lib").mkdir()
    (tree / "etc").rename(tree / "usr/lib/etc")
    (tree / "etc").symlink_to("/usr/lib/etc")


@pytest.mark.parametrize(
    ("make", "target", "real"),
    [
        (link_in_etc_place, "/etc2", "/etc2"),
        (link_in_etc_place, "/etc2/sub", "/etc2"),
        (link_to_deeper, "/usr/lib/etc", "/usr/lib/etc"),
        (link_to_deeper, "/usr/lib", "/usr/lib/etc"),
        (link_to_deeper, "/usr", "/usr/lib/etc"),
    ],
)
@pytest.mark.parametrize("option", ["--volume=" + MINE + ":{}", "--mount=tmpfs:{}"])
def test_no_link_of_the_image_lets_a_user_hide_what_the_site_wrote(
    node, make, target, real, option
):
    node.add_image(make)

    assert "alice" in node.shell("cat /etc/passwd")
    done = node.run(option.format(target), "true")

    assert done.returncode == 1
    assert f"/etc (reserved by Shifter) is a symbolic link to {real}" in done.stderr


def test_an_image_with_var_as_a_link_still_gives_var_tmp_to_a_volume(node):
    def make(tree):
        (tree / "data/var").mkdir()
        (tree / "var").symlink_to("data/var")

    node.add_image(make)
    (node.shared / str(ALICE) / "file").write_text("mine\n")

    assert node.shell("cat /var/tmp/file", f"-V{MINE}:/var/tmp") == "mine\n"
    assert node.run(f"-V{MINE}:/data/var/lib", "true").returncode == 1


def test_mount_points_nest(node):
    mine = node.shared / str(ALICE)
    (mine / "inner").mkdir()
    (mine / "file").write_text("outer\n")
    (mine / "inner/file").write_text("inner\n")
    volumes = (f"-V{MINE}:/a/b", f"-V{MINE}/inner:/a/b/inner/", f"-V{MINE}/file:/a/b/inner/file")

    assert node.shell("cat /a/b/file /a/b/inner/file", *volumes) == "outer\nouter\n"


@pytest.mark.parametrize("target", ["/etc-release", "/bin/tool", "/no/such/dir/conf"])
def test_a_file_lands_on_a_file_or_on_nothing(node, target):
    (node.shared / str(ALICE) / "conf").write_text("mine\n")
    node.add_image(lambda tree: (tree / "bin/tool").write_text("the image's\n"))

    assert node.shell(f"cat {target}", f"-V{MINE}/conf:{target}") == "mine\n"


def test_a_link_of_the_image_as_target_is_followed_inside(node):
    def make(tree):
        (tree / "link").symlink_to("/data/real")
        (tree / "data/real").mkdir()

    (node.shared / str(ALICE) / "file").write_text("mine\n")
    node.add_image(make)

    assert node.shell("cat /data/real/file /link/file", f"-V{MINE}:/link/") == "mine\n" * 2


def test_others_do_not_see_what_a_user_has_mounted(node):
    process = node.start(f"-V{MINE}:/data", "sh", "-c", "echo ready; exec sleep 30")
    try:
        assert process.stdout.readline() == "ready\n"
        assert node.shell("ls /data", user=BOB) == ""
        assert str(node.prefix / "udi") not in Path("/proc/self/mounts").read_text()
    finally:
        process.kill()
        process.communicate()
