# SPDX-License-Identifier: BSD-3-Clause
"""Rules 1-4 and 6-9: the set-uid door, and whoever knocks at it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.attacks.conftest import (
    as_user,
    in_own_mounts,
    read_terminal,
    start_on_terminal,
)
from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID, PASSWD

pytestmark = pytest.mark.root


@contextlib.contextmanager
def waiting_for_the_gateway(node, program="#!/bin/sh\nexec sleep 60\n", **options):
    """A launch that is root's and waits, because `shifterimg` takes its time."""
    slow = node.prefix / "slow/bin/shifterimg"
    slow.parent.mkdir(parents=True)
    slow.write_text(program)
    slow.chmod(0o755)
    node.configure(udiRootPath=node.prefix / "slow", imageLookup="gateway")
    process = node.start("true", image="docker:any", **options)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        deadline = time.monotonic() + 20
        while not _is_user_program(children) and time.monotonic() < deadline:
            time.sleep(0.01)
        yield process, int(children.read_text())
    finally:
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                os.kill(int(child), signal.SIGKILL)
        process.communicate()
        shutil.rmtree(node.prefix / "slow")


def _is_user_program(children: Path) -> bool:
    child = children.read_text().strip()
    return bool(child) and b"shifter_runtime" not in Path(f"/proc/{child}/cmdline").read_bytes()


@pytest.mark.attack(1)
def test_no_variable_of_the_users_is_there_while_root_is_at_work(node):
    hostile = {"LD_PRELOAD": "/x", "PYTHONPATH": "/x", "PATH": "/x", "HOME": "/x", "LC_ALL": "x"}
    with waiting_for_the_gateway(node, env=hostile) as (process, _):
        variables = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")

    assert sorted(variables) == [b"", b"LC_ALL=C", b"PATH=/usr/sbin:/usr/bin:/sbin:/bin"]


@pytest.mark.attack(1)
@pytest.mark.parametrize("name", ["LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH"])
def test_no_library_of_the_users_is_loaded(node, build, workshop, name):
    home = node.shared / str(ALICE)
    library = home / "libc.so.6"
    built = build("preload.c", "-shared", "-fPIC", f'-DTAKEN="{home}/taken"')
    shutil.copy(built, library)
    value = home if name == "LD_LIBRARY_PATH" else library

    done = node.run("id", "-u", env={name: str(value)}, cwd=home)

    assert (done.returncode, done.stdout) == (0, f"{ALICE}\n")
    assert list(home.glob("taken*")) == []


@pytest.mark.attack(1)
def test_variables_of_the_loader_reach_no_program_and_all_others_do(node):
    loader = ("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GLIBC_TUNABLES", "GCONV_PATH", "TMPDIR")
    others = ("PYTHONPATH", "IFS", "PERL5LIB", "BASH_ENV", "ENV", "HOME")

    done = node.run("env", env=dict.fromkeys((*loader, *others), "/evil"))

    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert names.isdisjoint(loader) and names >= set(others)


@pytest.mark.attack(2)
@pytest.mark.parametrize("words", [["x" * 131_000] * 14, ["x"] * 100_000, [""] * 1000])
def test_as_many_words_as_the_kernel_takes_reach_the_program(node, words):
    done = node.run("sh", "-c", 'echo $#; printf %s "$@" | cat | wc -c', "sh", *words)

    assert done.stdout.split() == [str(len(words)), str(sum(map(len, words)))], done.stderr


@pytest.mark.attack(2)
@pytest.mark.parametrize("option", ["-e", "--volume", "--image", "--env-file", "--module", "-w"])
def test_a_value_of_a_hundred_thousand_bytes_is_told_off_or_used(node, option):
    done = node.run(f"{option}", "x" * 100_000, "true")

    assert done.returncode in (0, 1, 127)
    assert "a defect of Shifter" not in done.stderr and "Traceback" not in done.stderr


# What an odd number could make of the launcher's own descriptors.
@pytest.mark.attack(2, 3)
@pytest.mark.parametrize(
    "number",
    ["", "-1", "0", "1", "2", "3", "4", "+3", " 3", "3 ", "0x3", "1e3", "999999", "1000000",
     "4294967299", "9" * 5000, "３", "007", "10", "20"],
)  # fmt: skip
def test_no_number_of_a_descriptor_keeps_one_that_carries_no_bytes(node, number):
    """A directory, that is, which has every number up to 20 here."""
    code = (
        "import os, sys\n"
        "root = os.open('/', os.O_RDONLY)\n"
        "[os.dup2(root, number) for number in range(3, 21)]\n"
        "os.execve(sys.argv[2], sys.argv[2:], {'PMI_FD': sys.argv[1]})\n"
    )

    seen = as_user(code, number, node.launcher, f"--image=id:{IMAGE_ID}", "ls", "/proc/self/fd")

    assert seen.split() == ["0", "1", "2", "3"]


@pytest.mark.attack(3)
def test_of_a_thousand_open_files_and_directories_none_gets_in(node):
    code = (
        "import os, resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))\n"
        "kinds = ['/', '/proc', '/proc/self/ns/mnt', '/etc/passwd', '/dev/null']\n"
        "for number in range(3, 1024):\n"
        "    fd = os.open(kinds[number % 5], os.O_RDONLY)\n"
        "    os.set_inheritable(fd, True)\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )

    seen = as_user(code, node.launcher, f"--image=id:{IMAGE_ID}", "ls", "/proc/self/fd")

    assert seen.split() == ["0", "1", "2", "3"]


@pytest.mark.attack(3)
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_no_file_of_roots_takes_the_place_of_a_standard_one(node, closed):
    home = node.shared / str(ALICE)
    inside = f"ls -l /proc/self/fd >/shared/{ALICE}/seen; echo error >&2; echo output"
    code = (
        f"import os, sys; [os.close(fd) for fd in {closed}]; "
        "os.execve(sys.argv[1], sys.argv[1:], {})"
    )

    as_user(code, node.launcher, f"--image=id:{IMAGE_ID}", "sh", "-c", inside)

    opened = [line.split() for line in (home / "seen").read_text().splitlines() if "->" in line]
    places = {words[-3]: words[-1] for words in opened}
    assert all(places[str(fd)] in ("/dev/null", "/dev/full") for fd in closed if fd != 1)
    assert set(places) <= {"0", "1", "2", "3"}  # the last is what ls reads


def limit(what: int, value: int):
    return lambda: resource.setrlimit(what, (value, value))


LIMITS = {
    f"{name} {value}": limit(getattr(resource, f"RLIMIT_{name}"), value)
    for name, values in {
        "FSIZE": (0, 1, 100),
        "NOFILE": (0, 3, 4, 5, 6, 7, 8, 10, 14),
        "AS": (1 << 16, 1 << 20, 5 << 20, 20 << 20, 28 << 20),
        "DATA": (0, 1 << 16, 1 << 20, 3 << 20),
        "STACK": (0, 1 << 12, 1 << 17),
        "NPROC": (0, 1),
        "CPU": (0,),
        "MEMLOCK": (0,),
        "SIGPENDING": (0,),
    }.items()
    for value in values
}


@pytest.mark.attack(4)
@pytest.mark.parametrize("name", LIMITS)
def test_a_launch_with_tight_limits_works_or_leaves_nothing_behind(node, name):
    done = node.run("id", "-u", preexec_fn=LIMITS[name])

    assert (done.returncode == 0) == (done.stdout == f"{ALICE}\n")
    assert "a defect of Shifter" not in done.stderr
    # That no mount and no loop device is left, the fixture `node` asserts.
    assert node.run("true").returncode == 0


@pytest.mark.attack(4)
@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_files_of_roots_do_not_take_the_users_umask(node, umask):
    paths = "/etc/passwd /etc/group /var /opt/udiImage /var/shifterConfig.json /made/deep /etc"

    modes = node.shell(
        f"stat -c %a {paths}; umask", f"-V/shared/{ALICE}:/made/deep/here", umask=umask
    )

    assert modes.split() == ["644", "644", "755", "755", "644", "755", "755", f"{umask:04o}"]


@pytest.mark.attack(4)
def test_a_user_who_ignores_his_children_gets_the_answer_about_his_image(node):
    ignore = "trap '' CHLD; exec \"$@\""
    program = f"#!/bin/sh\necho {IMAGE_ID}\n"
    directory = node.prefix / "quick"
    (directory / "bin").mkdir(parents=True)
    (directory / "bin/shifterimg").write_text(program)
    (directory / "bin/shifterimg").chmod(0o755)
    node.configure(udiRootPath=directory, imageLookup="gateway")
    words = ["-c", ignore, "sh", node.launcher, "--image=any", "id", "-u"]
    try:
        done = node.run(*words, launcher="/bin/bash", image=None)
    finally:
        shutil.rmtree(directory)

    assert (done.returncode, done.stdout) == (0, f"{ALICE}\n")


@pytest.mark.attack(4)
def test_timers_that_run_out_in_the_midst_of_a_launch_leave_nothing(node):
    code = (
        "import os, signal, sys\n"
        "signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGUSR1})\n"
        "os.execv(sys.argv[2], sys.argv[2:])\n"
    )
    words = (node.launcher, f"--image=id:{IMAGE_ID}", "true")
    for step in range(40):
        as_user(code, 0.0005 * (step + 1), *words)

    assert node.run("true").returncode == 0


FORBIDDEN = {
    "memory": "open(f'/proc/{pid}/mem', 'rb')",
    "memory map": "open(f'/proc/{pid}/maps').read()",
    "environment": "open(f'/proc/{pid}/environ').read()",
    "descriptors": "os.listdir(f'/proc/{pid}/fd')",
    "root": "os.listdir(f'/proc/{pid}/root')",
    "directory": "os.listdir(f'/proc/{pid}/cwd')",
    "program": "os.readlink(f'/proc/{pid}/exe')",
    "namespace": "os.open(f'/proc/{pid}/ns/mnt', 0)",
    "stack": "open(f'/proc/{pid}/stack').read()",
    "signal": "os.kill(pid, 9)",
    "stop": "os.kill(pid, 19)",
    "trace": "call(101, 16, pid, 0, 0)",  # ptrace(PTRACE_ATTACH)
    "seize": "call(101, 0x4206, pid, 0, 0)",
    "memory of another": "call(310, pid, iov, 1, iov, 1, 0)",  # process_vm_readv
    "descriptor of another": "call(438, call(434, pid, 0), 0, 0)",  # pidfd_getfd
    "limits": "resource.prlimit(pid, resource.RLIMIT_AS, (1 << 20, 1 << 20))",
    "priority": "os.setpriority(os.PRIO_PROCESS, pid, 19)",
    "oom": "open(f'/proc/{pid}/oom_score_adj', 'w')",
}


@pytest.mark.attack(6)
def test_while_root_is_at_work_its_user_can_do_nothing_to_it(node):
    code = """
import ctypes, os, resource, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(*words):
    result = libc.syscall(*words)
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result
pid = int(sys.argv[1])
place = ctypes.create_string_buffer(8)
iov = (ctypes.c_size_t * 2)(ctypes.addressof(place), 8)
for attempt in sys.argv[2:]:
    try:
        eval(attempt)
        print("done:", attempt)
    except (PermissionError, ProcessLookupError) as error:
        pass
"""
    if os.uname().machine != "x86_64":
        pytest.fail("the numbers of system calls here are those of x86_64: add yours")
    with waiting_for_the_gateway(node) as (process, _):
        said = as_user(code, process.pid, *FORBIDDEN.values())
        still_there = process.poll() is None

    assert said == ""
    assert still_there


@pytest.mark.attack(6)
def test_who_is_traced_gets_no_root(node):
    """A tracer that is there before exec takes the set-uid bit away."""
    code = (
        "import ctypes, os, sys\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    ctypes.CDLL(None).ptrace(0, 0, 0, 0)\n"
        "    os.execv(sys.argv[1], sys.argv[1:])\n"
        "while not os.WIFEXITED(status := os.waitpid(child, 0)[1]):\n"
        "    ctypes.CDLL(None).ptrace(7, child, 0, 0)\n"  # PTRACE_CONT
        "print(os.WEXITSTATUS(status))\n"
    )

    said = as_user(code, node.launcher, f"--image=id:{IMAGE_ID}", "true")

    assert "is not installed setuid root" in said and said.endswith("1\n")


@pytest.mark.attack(6)
def test_no_core_of_root_is_dumped(node):
    """Ctrl-\\ on the terminal reaches root's process, too: the kernel sends that signal."""
    home = node.shared / str(ALICE)
    moments = random.Random(6)
    for _ in range(20):
        process, terminal = start_on_terminal(
            *(node.launcher, f"--image=id:{IMAGE_ID}", "sleep", "0"),
            before=limit(resource.RLIMIT_CORE, resource.RLIM_INFINITY),
            cwd=home,
        )
        time.sleep(moments.uniform(0, 0.03))
        os.write(terminal, b"\x1c")
        read_terminal(terminal)
        process.wait(timeout=20)

    assert list(home.iterdir()) == []


def status_of(node, **options) -> dict[str, str]:
    lines = node.run("cat", "/proc/self/status", **options).stdout.splitlines()
    return dict(line.split(":\t", 1) for line in lines)


@pytest.mark.attack(7)
def test_root_and_whoever_has_roots_group_are_refused(node):
    for user, group in ((0, 0), (0, ALICE), (ALICE, 0)):
        done = subprocess.run(
            [node.launcher, f"--image=id:{IMAGE_ID}", "true"],
            user=user, group=group, extra_groups=[], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "cannot be run as root" in done.stderr


@pytest.mark.attack(7)
def test_a_user_of_two_hundred_groups_keeps_each(node):
    groups = tuple(range(70000, 70200))

    status = status_of(node, groups=groups)

    assert sorted(map(int, status["Groups"].split())) == sorted((ALICE, *groups))


@pytest.mark.attack(7)
@pytest.mark.parametrize("uid", [2**31, 2**32 - 2])
def test_a_user_of_a_very_high_number_is_that_user(node, uid):
    passwd = node.prefix / "etc/files/passwd"
    passwd.write_text(f"{PASSWD}high:x:{uid}:{uid}::/:/bin/sh\n")
    try:
        status = status_of(node, user=uid)
    finally:
        passwd.write_text(PASSWD)

    assert status["Uid"].split() == status["Gid"].split() == [str(uid)] * 4


@pytest.mark.attack(7)
def test_capabilities_that_the_caller_has_are_gone_too(node):
    """A login may give a user some to hand on (pam_cap)."""
    code = (
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.prctl(8, 1, 0, 0, 0)\n"  # PR_SET_KEEPCAPS
        f"os.setgroups([]); os.setresgid(*[{ALICE}] * 3); os.setresuid(*[{ALICE}] * 3)\n"
        "everything = (0x400).to_bytes(4, 'little')\n"  # CAP_NET_BIND_SERVICE
        "header = (0x20080522).to_bytes(4, 'little') + bytes(4)\n"
        "assert libc.capset(header, everything * 3 + bytes(12)) == 0\n"
        "assert libc.prctl(47, 2, 10, 0, 0) == 0\n"  # PR_CAP_AMBIENT_RAISE
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-c", code, node.launcher, f"--image=id:{IMAGE_ID}",
         "cat", "/proc/self/status"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    status = dict(line.split(":\t", 1) for line in done.stdout.splitlines())
    assert [status[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")] == ["0" * 16] * 5


@pytest.mark.attack(7)
def test_nothing_of_root_is_left_in_the_program(node):
    status = status_of(node, groups=(BOB,))

    assert status["Uid"].split() == status["Gid"].split() == [str(ALICE)] * 4
    assert [status[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")] == ["0" * 16] * 5
    assert status["NoNewPrivs"] == "1"
    assert status["Groups"].split() == [str(ALICE), str(BOB)]


@pytest.mark.attack(8)
def test_on_a_filesystem_without_setuid_the_door_says_so(node):
    def launch():
        subprocess.run(["mount", "--bind", node.prefix, node.prefix], check=True)
        subprocess.run(["mount", "-o", "remount,bind,nosuid", node.prefix], check=True)
        return node.run("true")

    done = in_own_mounts(launch)

    assert done.returncode == 1
    assert "is not installed setuid root, or lies on a filesystem mounted nosuid" in done.stderr


@pytest.mark.attack(8)
@pytest.mark.parametrize("make", [os.link, shutil.copy2], ids=["hard link", "copy"])
def test_a_second_door_of_the_users_is_none(node, make):
    """In a directory of his own, the user may also write over what the copy is made of."""
    other = node.shared / str(ALICE) / "shifter"
    make(node.launcher, other)
    if make is shutil.copy2:
        os.chown(other, 0, 0)
        other.chmod(0o4755)

    done = node.run("true", launcher=other)

    assert done.returncode == 1
    assert f"started from elsewhere than {node.launcher}" in done.stderr


@pytest.mark.attack(9)
def test_no_program_of_the_node_can_be_overwritten_from_inside(node):
    def make(tree):
        script = tree / "bin/again"
        script.write_text("#!/proc/self/exe\n")  # whatever runs it: the interpreter, still
        script.chmod(0o755)

    node.add_image(make)
    programs = [node.launcher, Path("/usr/bin/python3").resolve()]
    before = [hashlib.sha256(program.read_bytes()).digest() for program in programs]
    overwrite = "for p in /proc/[0-9]*/exe; do (echo x >$p) 2>/dev/null; done; ls -l /proc/*/exe"

    done = node.run("sh", "-c", overwrite)
    node.run("again")
    with waiting_for_the_gateway(node) as (_, child):
        as_user(f"open('/proc/{child}/exe', 'w')")

    assert str(node.prefix) not in done.stdout
    assert [hashlib.sha256(program.read_bytes()).digest() for program in programs] == before


# Files of the kernel's that a user may open, and where the bytes that are written later count as
# the wish of whoever writes them. The nice value of his session, and whom the audit log names.
AS_ROOT_WISHES = """
import os, resource, signal, subprocess, sys, time
victim = subprocess.Popen(["sleep", "60"], start_new_session=True)
kernel = os.open(f"/proc/{victim.pid}/autogroup", os.O_RDWR)
"""


@pytest.mark.attack(2, 4)
@pytest.mark.parametrize(
    "prepare",
    [
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); limit = (resource.RLIMIT_FSIZE, 0)",
        *(f"limit = (resource.RLIMIT_AS, {size})" for size in (430_000, 700_000, 1_500_000)),
    ],
)
def test_the_name_that_the_caller_gives_the_program_is_no_order_of_roots(node, prepare):
    code = f"""{AS_ROOT_WISHES}
{prepare}
if os.fork() == 0:
    resource.setrlimit(limit[0], (limit[1], limit[1]))
    os.dup2(kernel, 2)
    os.execve(sys.argv[1], ["-19         ", "--image=x", "true"], {{"A": "b"}})
os.wait()
print(open(f"/proc/{{victim.pid}}/autogroup").read().split()[-1])
victim.kill()
"""

    assert as_user(code, node.launcher).split()[-1] == "0"


@pytest.mark.attack(2, 4)
def test_what_the_users_shifterimg_says_is_no_order_of_roots(node):
    directory = node.prefix / "loud"
    (directory / "bin").mkdir(parents=True)
    (directory / "bin/shifterimg").write_text("#!/bin/sh\nprintf %s -19 >&2\nexit 1\n")
    (directory / "bin/shifterimg").chmod(0o755)
    node.configure(udiRootPath=directory, imageLookup="gateway")
    code = f"""{AS_ROOT_WISHES}
if os.fork() == 0:
    os.dup2(kernel, 2)
    os.execv(sys.argv[1], [sys.argv[1], "--image=any", "true"])
os.wait()
print(open(f"/proc/{{victim.pid}}/autogroup").read().split()[-1])
victim.kill()
"""
    try:
        said = as_user(code, node.launcher)
    finally:
        shutil.rmtree(directory)

    assert said.split()[-1] == "0"
