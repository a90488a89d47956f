# SPDX-License-Identifier: BSD-3-Clause
"""Rules 26, 27 and 29: the kernel gives the program inside what it gives its user outside.

The same attempts are made by one static program on the node and in the container: what comes of
each must be no more inside than outside.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.attacks.conftest import (
    as_user,
    in_own_mounts,
    read_terminal,
    start_on_terminal,
)
from tests.integration.runtime.node import ALICE, GROUP, IMAGE_ID, PASSWD, wait_until

pytestmark = pytest.mark.root


@pytest.fixture
def attempts(node, build):
    """The node, with the program `attempts` in its image, which is also on the node."""
    program = build("attempts.c", "-static")
    node.add_image(lambda tree: shutil.copy2(program, tree / "bin/attempts"))
    node.attempts = program
    return node


def results(text: str) -> dict[str, str]:
    return dict(line.rsplit(": ", 1) for line in text.splitlines() if ": " in line)


def outside_of(node, *words) -> dict[str, str]:
    done = subprocess.run(
        [node.attempts, *words], user=ALICE, group=ALICE, extra_groups=[ALICE], cwd="/",
        capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return results(done.stdout)


@pytest.mark.attack(29)
def test_no_attempt_on_the_kernel_works_inside_that_does_not_outside(attempts):
    outside = outside_of(attempts)
    inside = results(attempts.run("attempts").stdout)

    more = {name: result for name, result in inside.items()
            if result == "done" and outside[name] != "done"}  # fmt: skip
    assert inside.keys() == outside.keys() and len(inside) > 60
    assert not more


@pytest.mark.attack(29)
def test_what_only_root_may_is_refused_inside(attempts):
    """Whatever the node allows: these must fail for any user of any node."""
    inside = results(attempts.run("attempts").stdout)

    never = (
        *("open /dev/mem", "open /dev/kmsg for writing", "open /dev/loop-control", "open /dev/vda"),
        *("open /proc/sysrq-trigger", "write /proc/sys/kernel/core_pattern", "open /proc/kcore"),
        *("mount tmpfs", "setuid 0", "setgroups", "chroot", "mknod /dev/null", "reboot", "iopl"),
        *("write release_agent", "init_module", "sethostname", "settimeofday", "swapon", "bpf map"),
        *("capset everything", "keyring of root", "ptrace 1"),
    )
    assert {name: inside[name] for name in never if inside[name] == "done"} == {}


@pytest.mark.attack(23, 29)
def test_root_of_a_namespace_of_the_users_own_gets_no_more_inside_than_outside(attempts):
    """`unshare -U`, and all that again as its root."""
    outside = outside_of(attempts, "namespace")
    inside = results(attempts.run("attempts", "namespace").stdout)

    more = {name: result for name, result in inside.items()
            if result == "done" and outside[name] != "done"}  # fmt: skip
    assert not more
    for name in (
        *("write release_agent", "open /dev/mem", "write /proc/sys/kernel/core_pattern"),
        *("open /proc/sysrq-trigger", "open /dev/vda", "settimeofday", "init_module"),
    ):
        assert inside[name] != "done", name


@pytest.mark.attack(29)
def test_the_keyrings_are_the_users_own(attempts):
    inside = results(attempts.run("attempts").stdout)

    assert inside["owner of the session keyring"] in (str(ALICE), "none")
    assert inside["owner of the user keyring"] in (str(ALICE), "none")


@pytest.mark.attack(29)
def test_the_terminal_is_the_callers_and_takes_no_more_from_inside(attempts):
    """TIOCSTI and its like: as on the node, and nothing else is in the session."""
    said = {}
    for place, words in (
        ("outside", [attempts.attempts, "terminal"]),
        ("inside", [attempts.launcher, f"--image=id:{IMAGE_ID}", "attempts", "terminal"]),
    ):
        process, terminal = start_on_terminal(*words)
        text = read_terminal(terminal)
        process.wait(timeout=20)
        said[place] = results(text.decode())

    assert said["inside"].keys() == said["outside"].keys() and said["inside"]
    more = {name for name, result in said["inside"].items()
            if result == "done" and said["outside"][name] != "done"}  # fmt: skip
    assert not more
    assert said["inside"]["open /dev/console"] != "done"


BAD_LINES = {
    "name with a colon": "al:ice:x:{0}:{0}::/:/bin/sh",
    "root's number by another name": "alice:x:0:0::/:/bin/sh",
    "negative": "alice:x:-{0}:{0}::/:/bin/sh",
    "hexadecimal": "alice:x:0xEE49:{0}::/:/bin/sh",
    "with blanks": "alice:x: {0} :{0}::/:/bin/sh",
    "other digits": "alice:x:６１００１:{0}::/:/bin/sh",
    "too large": "alice:x:4295028297:{0}::/:/bin/sh",
}


@pytest.mark.attack(26)
@pytest.mark.parametrize("name", BAD_LINES)
def test_no_odd_line_of_passwd_makes_another_of_the_caller(node, name):
    passwd = node.prefix / "etc/files/passwd"
    passwd.write_text("root:x:0:0:root:/root:/bin/bash\n" + BAD_LINES[name].format(ALICE) + "\n")
    try:
        done = node.run("sh", "-c", "id -u; cat /etc/passwd")
    finally:
        passwd.write_text(PASSWD)

    assert done.returncode == 1 and "has no name on this node" in done.stderr


@pytest.fixture
def node_accounts(node):
    """Names come from the node's own name service, which is a file of the test's meanwhile."""

    def launch(passwd: str, group: str = GROUP, *words: str):
        def run():
            for name, text in (("passwd", passwd), ("group", group)):
                file = node.prefix / name
                file.write_text(text)
                subprocess.run(["mount", "--bind", file, f"/etc/{name}"], check=True)
            return node.run(*words)

        try:
            return in_own_mounts(run)
        finally:
            for name in ("passwd", "group"):
                (node.prefix / name).unlink(missing_ok=True)

    node.configure(allowLibcPwdCalls=1, populateEtcDynamically=1, etcPath=None)
    return launch


@pytest.mark.attack(26)
@pytest.mark.parametrize(
    "gecos", ["root:x:0:0", "a\rroot", "\u2028root", "\x85root", "a" * 5000, "\x0b", "&", "%s", ","]
)
def test_a_full_name_adds_no_line_and_no_field(node_accounts, gecos):
    """Users may change theirs: chfn(1)."""
    line = f"alice:x:{ALICE}:{ALICE}:{gecos}:/home/alice:/bin/bash\n"

    done = node_accounts(line, GROUP, "cat", "/etc/passwd")

    lines = done.stdout.split("\n")
    assert done.returncode == 0 or done.stderr.startswith("shifter: ")
    for entry in filter(None, lines):
        assert entry.count(":") == 6
        assert entry.split(":")[2] in ("0", str(ALICE))
    assert sum(entry.split(":")[2] == "0" for entry in filter(None, lines)) <= 1


@pytest.mark.attack(26)
def test_the_name_of_root_stays_roots(node_accounts):
    """A user whose name service calls him root gets no second line of that name."""
    done = node_accounts(f"root:x:{ALICE}:{ALICE}::/:/bin/sh\n", GROUP, "id", "-u")

    assert done.stdout in ("", f"{ALICE}\n")


LIBRARIES = (
    *("libc.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "libnss_files.so.2"),
    *("libnss_evil.so.2", "libnss_sss.so.2", "libnss_systemd.so.2"),
)


@pytest.mark.attack(27)
def test_no_library_or_configuration_of_the_images_is_used_by_root(node, build, node_accounts):
    """The name service is asked by root, in libc: where the image has all that it loads."""
    home = node.shared / str(ALICE)
    library = build("preload.c", "-shared", "-fPIC", f'-DTAKEN="{home}/taken"')

    def make(tree):
        for name in ("lib/x86_64-linux-gnu", "lib64", "usr/lib/x86_64-linux-gnu", "usr/lib"):
            (tree / name).mkdir(parents=True, exist_ok=True)
            for file in LIBRARIES:
                shutil.copy2(library, tree / name / file)
        (tree / "etc/nsswitch.conf").write_text("passwd: evil files\ngroup: evil files\n")
        (tree / "etc/ld.so.preload").write_text("/usr/lib/libc.so.6\n")
        (tree / "etc/ld.so.conf").write_text("/usr/lib\n")

    node.add_image(make)

    done = node_accounts(PASSWD, GROUP, "id", "-u")

    assert (done.returncode, done.stdout) == (0, f"{ALICE}\n"), done.stderr
    assert list(home.glob("taken*")) == []


@pytest.mark.attack(27)
def test_nothing_is_opened_by_root_once_the_image_is_the_root(node, tmp_path):
    """Seen from outside, by what the kernel is asked: from pivot_root to execve, no open at all."""
    runtime = node.prefix / "lib/shifter/shifter_runtime/entry.py"
    trace = tmp_path / "trace"
    # As root already: a set-uid program that is traced would be none. Its user is the real one.
    code = (
        "import os, sys\n"
        "fd = os.memfd_create('environment', 0)\n"
        f"os.setgroups([]); os.setresgid({ALICE}, 0, 0); os.setresuid({ALICE}, 0, 0)\n"
        "os.execv('/usr/bin/python3', ['/usr/bin/python3', '-I', '-S', '-B', *sys.argv[1:3],\n"
        "         str(fd), '', '', *sys.argv[3:]])\n"
    )
    subprocess.run(
        ["strace", "-o", trace, "-e", "trace=%file,openat2,execve,setresuid,pivot_root",
         "/usr/bin/python3", "-c", code, runtime, node.config, f"--image=id:{IMAGE_ID}", "true"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip

    calls = [line.partition("(")[0] for line in trace.read_text().splitlines()]
    until = len(calls) - 1 - calls[::-1].index("execve")
    as_root = calls[calls.index("pivot_root") + 1 : until]
    last_of_root = len(as_root) - 1 - as_root[::-1].index("setresuid")
    assert set(as_root[:last_of_root]) <= {"umount2", "chdir"}, as_root


@pytest.mark.attack(29)
def test_processes_of_others_are_as_closed_inside_as_outside(attempts):
    victim = attempts.start("sleep", "30", user=61002)
    try:
        program = Path(f"/proc/{victim.pid}/cmdline")
        wait_until(lambda: program.read_bytes().startswith(b"sleep"), seconds=20)
        words = " ".join(f"/proc/{victim.pid}/{name}" for name in ("mem", "environ", "fd", "maps"))
        inside = attempts.run("sh", "-c", f"for x in {words}; do cat $x 2>&1; ls $x/ 2>&1; done")
        outside = as_user(f"import os; os.kill({victim.pid}, 9)")
    finally:
        victim.kill()
        victim.communicate()

    assert "PermissionError" in outside
    assert inside.stdout.count("ermission denied") >= 4
