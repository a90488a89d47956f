# SPDX-License-Identifier: BSD-3-Clause
"""The site's scripts: what they can do, what they cannot be made to do, and how they fail."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from shifter_runtime import hooks, trust
from tests.integration.conftest import wait_until
from tests.integration.runtime.node import ALICE, host_state

pytestmark = pytest.mark.root

# Seconds that no other process sleeps: the mark by which those of this run are found.
AGES = f"43{os.getpid()}"
ROOT_HOOKS = ("sitePreMountHook", "sitePostMountHook", "module_x_roothook")


@pytest.fixture
def hook(node):
    """`hook(script, key)`: the node is configured with this script, and its path is returned."""

    def hook(script: str, key: str = "sitePreMountHook", mode: int = 0o700, **settings) -> Path:
        path = node.prefix / "etc/hook.sh"
        path.write_text(script)
        path.chmod(mode)
        node.configure(
            **({key: path, "defaultModules": "x" if "module" in key else None} | settings)
        )
        return path

    yield hook
    (node.prefix / "etc/hook.sh").unlink(missing_ok=True)


def refusal(node, *words, **options) -> str:
    done = node.run(*(words or ("true",)), **options)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("shifter: ")
    return done.stderr


def processes_with(text: str) -> list[str]:
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in found.stdout.splitlines() if text in line]


@pytest.mark.parametrize("key", ROOT_HOOKS)
def test_a_script_of_root_changes_the_container(node, hook, key):
    hook("mkdir -p data2 && id -u >data2/who && pwd >data2/where\n", key)

    assert node.shell("cat /data2/who /data2/where") == f"0\n{node.prefix}/udi\n"


def test_scripts_run_around_the_site_s_directories_and_after_etc(node, hook):
    path = hook(
        "echo $0 $(test -e shared/61001 && echo mounted) $(grep -c ^alice: etc/passwd) >>order\n",
        "sitePreMountHook",
        sitePostMountHook=node.prefix / "etc/hook.sh",
        module_x_roothook=node.prefix / "etc/hook.sh",
        defaultModules="x",
    )

    assert node.shell("cat /order").split("\n")[:3] == [
        f"{path}",
        f"{path} mounted",
        f"{path} mounted 1",
    ]


@pytest.mark.parametrize("key", ROOT_HOOKS)
def test_what_a_script_of_root_mounts_is_seen_and_held_to_the_rules(node, hook, key):
    source = node.shared / "source"
    source.mkdir()
    (source / "file").write_text("mounted\n")
    hook(
        f"mkdir -p data2 && mount --bind {source} data2 &&"
        " mount -t tmpfs -o suid,dev tmpfs data2 &&"
        f" mkdir data2/deep && mount --bind {source} data2/deep\n",
        key,
    )

    mounts = node.shell("cat /data2/deep/file; cat /proc/self/mounts").splitlines()

    assert mounts[0] == "mounted"
    below = [line for line in mounts if " /data2" in line]
    assert len(below) == 3
    assert all("nosuid" in line and "nodev" in line for line in below)
    assert host_state(node.prefix) == []


def test_a_script_of_root_starts_from_a_clean_state(node, hook, tmp_path):
    hook(
        "{ env | sort; ls /proc/self/fd | tr '\\n' ' '; echo; readlink /proc/self/fd/0; umask;"
        " grep -e ^SigBlk -e ^SigIgn -e ^Groups /proc/self/status; ulimit -f; } >state\n"
    )

    ours, batch_system = socket.socketpair()  # what the program may keep, a script may not
    state = node.shell(
        "cat /state",
        pass_fds=(batch_system.fileno(),),
        env={
            "PMI_FD": str(batch_system.fileno()),
            "PATH": f"{tmp_path}",
            "ENV": f"{tmp_path}/x",
            "BASH_ENV": f"{tmp_path}/x",
            "IFS": "/",
        },
        umask=0,
        preexec_fn=_spoil_signals_and_limits,
    )

    ours.close()
    batch_system.close()

    # 3 is the directory that ls reads.
    assert state.splitlines() == [
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "POSIXLY_CORRECT=1",
        f"PWD={node.prefix}/udi",
        "0 1 2 3 ",
        "/dev/null",
        "0022",
        "Groups:\t ",
        "SigBlk:\t0000000000000000",
        "SigIgn:\t0000000000000000",
        "unlimited",
    ]


def _spoil_signals_and_limits() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))


def test_no_limit_of_the_caller_makes_a_command_of_a_script_fail(node, hook):
    """A script that goes on after that would have left out what it is for."""
    hook("{ python3 -c 'print(42)'; ulimit -s; ulimit -c; ulimit -n; } >said\n")
    spoilt = {resource.RLIMIT_STACK: 64 << 10, resource.RLIMIT_CORE: -1, resource.RLIMIT_NOFILE: 12}

    def spoil() -> None:
        for kind, limit in spoilt.items():
            resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))

    done = node.run("cat", "/said", preexec_fn=spoil)

    assert (done.stdout, done.stderr) == ("42\n8192\n0\n1024\n", "")


def test_what_a_script_prints_does_not_reach_the_job_s_output(node, hook):
    hook("echo for the log; echo and this >&2\n")

    done = node.run("sh", "-c", "echo result")

    assert (done.stdout, done.stderr) == ("result\n", "for the log\nand this\n")


@pytest.mark.parametrize("key", [*ROOT_HOOKS, "module_x_userhook"])
def test_a_script_that_fails_ends_the_launch_with_its_name_status_and_last_words(node, hook, key):
    path = hook("seq 1 20; echo no disk >&2; exit 3\n", key, mode=0o755)
    if key.endswith("userhook"):
        node.configure(
            siteFs=f"{node.prefix / 'etc'}:/scripts",
            module_x_userhook="/scripts/hook.sh",
            defaultModules="x",
        )
        path = "/scripts/hook.sh"

    said = refusal(node).splitlines()

    assert said[0] == f"shifter: {key} {path} failed with exit status 3, saying:"
    assert said[1:] == [f"    {number}" for number in range(12, 21)] + ["    no disk"]


def test_a_script_that_a_signal_ends_is_named(node, hook):
    path = hook("kill -9 $$\n")

    assert refusal(node) == f"shifter: sitePreMountHook {path} was ended by signal 9\n"


def test_a_script_that_hangs_is_ended_with_everything_it_has_started(node, hook):
    path = hook(
        f"sleep {AGES} & setsid sleep {AGES} & (setsid setsid sleep {AGES} &)\n"
        f"trap '' TERM; sleep {AGES}\n",
        hookTimeout="0.5",
    )
    began = time.monotonic()

    said = refusal(node)

    assert said == (
        f"shifter: sitePreMountHook {path} took longer than 0.5 seconds (hookTimeout), "
        "and was ended\n"
    )
    assert time.monotonic() - began < 30
    assert processes_with(f"sleep {AGES}") == []


def test_a_script_ends_when_its_launch_is_killed(node, hook):
    hook(f"setsid sleep {AGES} & sleep {AGES}\n")
    process = node.start("true")
    wait_until(lambda: len(processes_with(f"sleep {AGES}")) == 2)

    process.kill()
    process.communicate()

    wait_until(lambda: not processes_with(f"sleep {AGES}"))


def test_an_interrupt_ends_launch_and_script(node, hook):
    hook(f"sleep {AGES}\n")
    process = node.start("true", start_new_session=True)
    wait_until(lambda: processes_with(f"sleep {AGES}"))

    os.killpg(process.pid, signal.SIGINT)

    process.communicate(timeout=10)
    assert process.returncode in (130, -signal.SIGINT)
    wait_until(lambda: not processes_with(f"sleep {AGES}"))


def test_what_a_script_leaves_running_is_no_child_of_the_program(node, hook):
    hook("sleep 2 >/dev/null 2>&1 &\n")

    assert node.shell("cat /proc/self/task/$$/children; exec cat /proc/$$/task/$$/children") == ""


@pytest.mark.parametrize(
    "write", ["echo x >trap/file", "mkdir -p trap/new", "cp /etc/passwd trap/file", "rm trap/kept"]
)
@pytest.mark.parametrize("key", ROOT_HOOKS)
def test_no_link_of_an_image_leads_a_script_of_root_outside(node, hook, tmp_path, write, key):
    outside = tmp_path / "host"
    outside.mkdir()
    (outside / "kept").write_text("")
    node.add_image(lambda tree: (tree / "trap").symlink_to(outside))
    hook(f"{write}\n", key)

    said = refusal(node)

    assert f"{key} " in said
    assert "Too many levels of symbolic links" in said or "cannot create trap/file" in said
    assert [path.name for path in outside.iterdir()] == ["kept"]


@pytest.mark.parametrize("key", ROOT_HOOKS[1:])
def test_no_link_of_a_users_in_what_the_site_mounts_leads_a_script_of_root_outside(
    node, hook, tmp_path, key
):
    """The image brings /shared, where alice may make links, to where the script writes."""
    limits = tmp_path / "limits"
    limits.write_text("of the node\n")
    trap = node.shared / str(ALICE) / "conf"
    trap.symlink_to(tmp_path)
    os.chown(trap, ALICE, ALICE, follow_symlinks=False)

    def make(tree):
        (tree / f"etc/site/{ALICE}/conf").mkdir(parents=True)
        (tree / "shared").symlink_to("etc/site")

    node.add_image(make)
    hook(f"echo of the site >etc/site/{ALICE}/conf/limits\n", key)

    assert "limits" in refusal(node)
    assert limits.read_text() == "of the node\n"


def test_a_site_s_own_rule_against_links_outlives_the_scripts(node, hook):
    place = node.shared / "without links"
    place.mkdir()
    (place / "link").symlink_to("file")
    (place / "file").write_text("text\n")
    hook("true\n", "sitePostMountHook", siteFs=f"{node.shared}:/shared:rec")
    subprocess.run(["mount", "--bind", place, place], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,nosymfollow", place], check=True)
        done = node.run("cat", "/shared/without links/file", "/shared/without links/link")
    finally:
        subprocess.run(["umount", place], check=True)

    assert done.stdout == "text\n"
    assert "Too many levels of symbolic links" in done.stderr


def test_an_image_whose_etc_is_a_link_outside_has_an_etc_of_its_own_for_scripts(
    node, hook, tmp_path
):
    outside = tmp_path / "host"
    outside.mkdir()

    def make(tree):
        (tree / "etc/os-release").unlink()
        (tree / "etc").rmdir()
        (tree / "etc").symlink_to(outside)

    node.add_image(make)
    hook("echo x >etc/file\n")

    assert node.shell("cat /etc/file") == "x\n"
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("writable", [0, 1])
def test_links_of_an_image_and_devices_work_after_the_scripts(node, hook, writable):
    node.add_image(lambda tree: (tree / "link").symlink_to("data"))
    path = hook("true\n")
    node.configure(
        sitePreMountHook=path,
        module_x_roothook=path,
        defaultModules="x",
        mountUdiRootWritable=writable,
    )

    node.shell("cd /link && ls /bin/sh && echo x >/dev/null")
    assert "nosymfollow" not in node.shell("cat /proc/self/mounts")


def test_a_container_with_scripts_is_as_sealed_as_any(node, hook):
    hook("mkdir data2\n")

    assert node.run("touch", "/data2/x").returncode == 1
    assert "rw" not in _root_options(node.shell("cat /proc/self/mounts"))


def _root_options(mounts: str) -> list[str]:
    (options,) = [line.split()[3] for line in mounts.splitlines() if line.split()[1] == "/"]
    return options.split(",")


def test_the_script_that_was_checked_is_the_one_that_runs(hook, tmp_path, monkeypatch):
    """A name that leads elsewhere as soon as it has been checked changes nothing."""
    path = hook("echo checked >ran\n")
    check = trust.open_untouchable

    def check_and_exchange(path: str) -> int:
        fd = check(path)
        os.unlink(path)
        Path(path).write_text("echo exchanged >ran\n")
        return fd

    monkeypatch.setattr(trust, "open_untouchable", check_and_exchange)
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        hooks.run_as_root("sitePreMountHook", str(path), directory, 10)
    finally:
        os.close(directory)

    assert (tmp_path / "ran").read_text() == "checked\n"


@pytest.mark.parametrize("key", ROOT_HOOKS)
class TestTrust:
    def test_a_script_that_others_can_write_is_refused(self, node, hook, key):
        path = hook("true\n", key, mode=0o722)

        assert refusal(node).startswith(
            f"shifter: {key}: {path} is writable by others than root (mode 0722)"
        )

    def test_a_script_of_a_user_is_refused(self, node, hook, key):
        path = hook("true\n", key)
        os.chown(path, ALICE, 0)

        assert f"{path} belongs to user {ALICE}, not to root" in refusal(node)

    def test_a_script_in_a_directory_of_a_user_is_refused(self, node, hook, key):
        mine = node.shared / str(ALICE) / "hook.sh"
        mine.write_text("true\n")
        hook("true\n", key)
        node.configure(**{key: mine, "defaultModules": "x" if "module" in key else None})

        assert f"{ALICE}' on the way to it belongs to user" in refusal(node)

    def test_a_link_to_a_script_of_a_user_is_refused(self, node, hook, key):
        mine = node.shared / str(ALICE) / "hook.sh"
        mine.write_text("true\n")
        path = hook("true\n", key)
        path.unlink()
        path.symlink_to(mine)

        assert "on the way to it belongs to user" in refusal(node)

    def test_a_pipe_keeps_nobody_waiting(self, node, hook, key):
        path = hook("true\n", key)
        path.unlink()
        os.mkfifo(path)

        assert "is not a regular file" in refusal(node)

    def test_a_huge_file_keeps_nobody_waiting(self, node, hook, key):
        path = hook("true\n", key)
        os.truncate(path, 1 << 30)

        assert f"{path} is too large: at most 1048576 bytes are run" in refusal(node)

    def test_a_directory_is_no_script(self, node, hook, key):
        hook("true\n", key)
        node.configure(
            **{key: node.prefix / "etc", "defaultModules": "x" if "module" in key else None}
        )

        assert "is not a regular file" in refusal(node)

    def test_a_missing_script_is_named(self, node, hook, key):
        path = hook("true\n", key)
        path.unlink()

        assert refusal(node) == (f"shifter: {key}: cannot open {path}: No such file or directory\n")
