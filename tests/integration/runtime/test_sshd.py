# SPDX-License-Identifier: BSD-3-Clause
"""The sshd in a job's container: who gets in, as whom, what is seen there, and when it ends."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID, PROJECT
from tests.integration.runtime.ssh_job import JOB, SshJob, free_port, is_running

pytestmark = pytest.mark.root

# Seconds that nobody else has anything sleep for; with one more digit each.
_NAP = str(10_000_000 + os.getpid())
_CAPABILITIES = ("Inh", "Prm", "Eff", "Bnd", "Amb")


@pytest.fixture
def job(batch, tmp_path):
    job = SshJob(batch, tmp_path)
    yield job
    batch.unsetup("--job", JOB)
    batch.unsetup()


def status_of(number: int | str) -> dict[str, list[str]]:
    lines = Path(f"/proc/{number}/status").read_text().splitlines()
    return {name: text.split() for name, _, text in (line.partition(":") for line in lines)}


def wait_until(happened, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def test_the_user_logs_in_to_the_container(job):
    job.start()

    done = job.ssh("cat /etc/os-release; id -un; pwd")

    assert (done.stdout, done.stderr) == ("ID=busybox\nalice\n/home/alice\n", "")


def test_from_inside_ssh_finds_port_and_key_by_itself(job):
    job.start()

    done = job.launch("ssh", "127.0.0.1", "id", "-u")

    assert (done.stdout, done.stderr) == (f"{ALICE}\n", "")


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_keys_of_other_types_let_in_too(job, kind):
    key = job.keys / kind

    job.start(key=job.make_key(key, kind))

    assert job.ssh("true", key=key).returncode == 0


def test_exit_codes_and_streams_pass(job):
    job.start()

    done = job.ssh("cat; echo bad >&2; exit 42", stdin="through\n")

    assert (done.returncode, done.stdout, done.stderr) == (42, "through\n", "bad\n")


def test_files_are_copied_both_ways(job):
    job.start()
    (job.keys / "one").write_text("1\n" * 100_000)

    there = job.client("scp", str(job.keys / "one"), "127.0.0.1:two")
    back = job.client("scp", "127.0.0.1:/home/alice/two", str(job.keys / "three"))

    assert (there.returncode, back.returncode) == (0, 0), there.stderr + back.stderr
    assert (job.keys / "three").read_text() == "1\n" * 100_000
    assert (job.home / "two").stat().st_uid == ALICE


def test_a_terminal_works(job):
    job.start()

    output = _on_terminal(job, "tty; echo $TERM; exit 3\n")

    assert "/dev/pts/" in output
    assert "xterm-test" in output


def test_a_session_has_no_privilege_and_the_users_groups(job):
    job.start()

    text = job.ssh("cat /proc/self/status").stdout

    status = dict(line.split(":\t") for line in text.splitlines())
    assert status["Uid"].split() == [str(ALICE)] * 4
    assert status["Gid"].split() == [str(ALICE)] * 4
    assert [int(status[f"Cap{name}"], 16) for name in _CAPABILITIES] == [0] * 5
    assert status["NoNewPrivs"] == "1"
    # The shell ignores SIGQUIT; of what the prolog or Python ignored, nothing is left.
    assert int(status["SigIgn"], 16) & ~(1 << signal.SIGQUIT - 1) == 0
    assert int(status["SigBlk"], 16) == 0


def test_the_daemon_is_the_users_and_has_no_privilege(job):
    job.start()

    status = status_of(job.daemon())

    assert status["Uid"] == [str(ALICE)] * 4
    assert status["Gid"] == [str(ALICE)] * 4
    assert [int(status[f"Cap{name}"][0], 16) for name in _CAPABILITIES] == [0] * 5
    assert status["NoNewPrivs"] == ["1"]


def test_the_daemon_keeps_no_descriptor_and_no_variable_of_the_prologs(job):
    os.environ["SECRET_OF_PROLOG"] = "1"
    try:
        job.start()
    finally:
        del os.environ["SECRET_OF_PROLOG"]
    number = job.daemon()

    open_on = {os.readlink(path) for path in Path(f"/proc/{number}/fd").iterdir()}

    assert {name for name in open_on if not name.startswith("socket:")} == {
        "/dev/null", "/etc/udiImage/sshd.log",
    }  # fmt: skip
    assert "SECRET" not in Path(f"/proc/{number}/environ").read_text()
    assert job.public_key.split()[1] not in Path(f"/proc/{number}/cmdline").read_text()


def test_a_session_sees_what_a_launch_sees(job):
    job.configure(siteEnv="SITE=of-site", siteEnvAppend="PATH=/opt/udiImage/bin")
    value = r'a "quoted" \ value  # with $odd things'
    job.node.add_image(meta=f"ENV: ODD={value}\nENV: EMPTY=\n")
    job.start("-v", "/home/alice:/data")

    in_session = job.ssh('echo "$ODD|${EMPTY-unset}|$SITE|$PATH|$SHIFTER_IMAGE"; ls -a /data')
    launched = job.launch(
        "-V", "/home/alice:/data", "sh", "-c",
        'echo "$ODD|${EMPTY-unset}|$SITE|$PATH|$SHIFTER_IMAGE"',
    )  # fmt: skip

    first, *listed = in_session.stdout.splitlines()
    assert first == f"{value}||of-site|/bin:/opt/udiImage/bin|{IMAGE_ID}"
    assert launched.stdout == first + "\n"
    assert ".udiRoot" in listed


def test_nobody_else_gets_in(job):
    job.start()
    others = job.node.shared / "home/bob/.udiRoot/id_rsa.key"

    refused = [
        job.ssh("id", key=others),
        job.ssh("id", key=others, login="bob"),
        job.ssh("id", login="bob"),
        job.ssh("id", login="root"),
    ]

    assert [done.returncode for done in refused] == [255] * 4
    assert all("Permission denied (publickey)" in done.stderr for done in refused)
    assert not any(done.stdout for done in refused)


def test_keys_of_the_users_home_let_nobody_in(job):
    """What is in ~/.ssh is for other machines, and may be of another job's making."""
    other = job.keys / "other"
    public = job.make_key(other)
    job.start()
    (job.home / ".ssh").mkdir()
    (job.home / ".ssh/authorized_keys").write_text(public + "\n")
    os.chown(job.home / ".ssh", ALICE, ALICE)

    assert job.ssh("id", key=other).returncode == 255


def test_nobody_else_can_look_at_the_keys(job):
    job.start(job=None)
    place = job.node.prefix / "udi/etc/udiImage"

    listing = job.batch.run("sh", "-c", f"cd {place} && stat -c '%n %a %u %g' . *").stdout
    tried = job.batch.run("ls", place, user=BOB)
    filesystem = job.batch.run("stat", "-f", "-c", "%T", place).stdout

    modes = {line.split()[0]: line.split()[1:] for line in listing.splitlines()}
    mine = [str(ALICE)] * 2
    assert modes["."] == ["700", *mine]
    assert modes["ssh_host_ed25519_key"] == ["600", *mine]
    assert modes["user_auth_keys"] == ["400", *mine]
    assert modes["sshd_config"] == ["400", *mine]
    assert "Permission denied" in tried.stderr
    assert filesystem == "tmpfs\n"


def test_each_job_has_host_keys_of_its_own(job):
    show = ("cat", "/etc/udiImage/ssh_host_ed25519_key.pub")
    job.start()
    first = job.launch(*show).stdout
    job.stop()

    job.start()

    second = job.launch(*show).stdout
    assert first.startswith("ssh-ed25519 ")
    assert second.startswith("ssh-ed25519 ")
    assert first != second


def test_all_of_it_ends_with_the_job(job):
    job.start()
    number = job.daemon()
    # One that stays connected, and one that has left its session, its parent and its terminal.
    session = job.start_session(
        f"(setsid sleep {_NAP}1 </dev/null >/dev/null 2>&1 & ); sleep {_NAP}2"
    )
    wait_until(lambda: len(_sleepers(_NAP)) == 2)
    sleepers = _sleepers(_NAP)

    done = job.stop()

    assert (done.returncode, done.stderr) == (0, "")
    assert not is_running(number)
    assert [each for each in sleepers if is_running(each)] == []
    assert session.wait(10) == 255
    assert job.batch.is_clean()
    assert _control_groups() == []


def test_a_process_that_left_the_containers_mount_namespace_ends_too(job):
    job.start()
    started = job.ssh(
        f"(setsid unshare -rm sleep {_NAP}5 </dev/null >/dev/null 2>&1 &); sleep 0.3; true"
    )
    found = _sleepers(f"{_NAP}5")
    if not found:
        pytest.fail(f"no user namespaces on this machine: {started.stderr}", pytrace=False)

    assert job.stop().returncode == 0

    assert [each for each in found if is_running(each)] == []


def test_a_control_group_that_somebody_left_is_not_in_the_way(job):
    """What leaves the mount namespace is ended by the group alone, so there must be one."""
    left = _hierarchy() / f"shifter-sshd-{JOB}"
    left.mkdir()
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        (left / "cgroup.procs").write_text(str(stranger.pid))

        job.start()

        assert "shifter-sshd-" in job.group()
        assert job.group() != f"/{left.name}"
    finally:
        stranger.kill()
        stranger.wait()
        wait_until(lambda: "populated 0" in (left / "cgroup.events").read_text())
        left.rmdir()


def test_what_was_not_started_by_ssh_goes_on(job):
    """The original ended whichever process of that name came first."""
    job.start()
    launched = job.batch.start_shifter("sleep", f"{_NAP}3", job=JOB)
    key = job.node.shared / "home/bob/.udiRoot/id_rsa.key"
    other = job.batch.start(
        job.site / "sbin/sshd", "-D", "-f", "/dev/null", "-h", key, "-o", "PidFile=none",
        "-o", f"ListenAddress=127.0.0.1:{free_port()}", user=BOB,
    )  # fmt: skip
    wait_until(lambda: _sleepers(f"{_NAP}3"))

    job.stop()

    try:
        assert launched.poll() is None
        assert other.poll() is None
    finally:
        for process in (launched, other):
            process.kill()
            process.communicate()


def test_an_sshd_that_its_user_killed_is_no_problem(job):
    job.start()
    number = job.daemon()
    job.ssh(f"kill -9 {number}")
    wait_until(lambda: not is_running(number))

    done = job.stop()

    assert (done.returncode, done.stderr) == (0, "")
    assert job.batch.is_clean()


def test_without_control_groups_it_ends_as_well(job):
    """The record says that there was none, as on a kernel that lends none."""
    job.start()
    number = job.daemon()
    began = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19]
    session = job.start_session(f"sleep {_NAP}4")
    wait_until(lambda: _sleepers(f"{_NAP}4"))
    sleepers = _sleepers(f"{_NAP}4")
    state = f"/run/shifter/udi/{JOB}/sshd"
    group = _hierarchy() / job.group().strip("/")
    job.batch.run("sh", "-c", f"printf '{number} {began} 0 ' >{state}")

    done = job.stop()

    assert (done.returncode, done.stderr) == (0, "")
    assert session.wait(10) == 255
    assert not is_running(number)
    assert [each for each in sleepers if is_running(each)] == []
    group.rmdir()


def test_a_number_that_another_process_has_by_now_is_left_alone(job):
    job.start()
    stranger = subprocess.Popen(["sleep", "60"])
    state = f"/run/shifter/udi/{JOB}/sshd"
    words = job.batch.run("cat", state).stdout.split(" ", 3)
    job.batch.run("sh", "-c", f"printf '%s' '{stranger.pid} {' '.join(words[1:])}' >{state}")

    job.stop()

    try:
        assert stranger.poll() is None
        assert not is_running(int(words[0]))
    finally:
        stranger.kill()
        stranger.wait()


def test_a_port_that_is_taken_leaves_the_job_without_ssh(job):
    with socket.create_server(("127.0.0.1", job.port)):
        done = job.batch.setup("--job", JOB, "-s", job.public_key)

        assert done.returncode == 0
        assert f"port {job.port} of this node is taken by user id 0" in done.stderr
        assert "the job goes on without" in done.stderr
        assert job.launch("cat", "/etc/os-release").stdout == "ID=busybox\n"
    assert job.stop().returncode == 0
    assert job.batch.is_clean()
    assert _control_groups() == []


def test_a_port_that_another_job_of_the_user_takes_meanwhile_is_not_taken_for_its_own(job):
    job.occupy_port_with_next_key()

    done = job.batch.setup("--job", JOB, "-s", job.public_key)

    try:
        assert done.returncode == 0
        assert f"port {job.port} of this node is taken by user id {ALICE}" in done.stderr
    finally:
        socket.create_connection(("127.0.0.1", job.port)).close()  # which is all it waits for


def test_an_sshd_that_cannot_start_leaves_the_job_without_ssh(job):
    job.change("sshd_config", "UseDNS no", "UseDNS perhaps")

    done = job.batch.setup("--job", JOB, "-s", job.public_key)

    assert done.returncode == 0
    assert "sshd did not start in the container: /etc/udiImage/sshd.log there says" in done.stderr
    assert "perhaps" in job.launch("cat", "/etc/udiImage/sshd.log").stdout
    assert job.stop().returncode == 0
    assert _control_groups() == []


def test_a_shell_that_the_image_lacks_is_replaced(job):
    """Alice's is /bin/bash, which busybox has not."""
    job.start()

    assert job.ssh("echo $SHELL").stdout == "/bin/sh\n"
    assert "alice:x:" in job.launch("cat", "/etc/passwd").stdout


def test_a_shell_that_the_image_has_is_kept(job):
    job.node.add_image(lambda tree: (tree / "bin/bash").symlink_to("busybox"))
    job.start()

    assert job.launch("cat", "/etc/passwd").stdout.count("/bin/bash") == 2


def test_an_image_with_nologin_lets_its_user_in(job):
    job.node.add_image(lambda tree: (tree / "etc/nologin").write_text("closed\n"))
    job.start()

    assert job.ssh("true").returncode == 0


def test_the_images_own_ssh_is_covered_and_its_scp_is_not(job):
    def make(tree):
        (tree / "usr/bin").mkdir(parents=True)
        for name in ("usr/bin/ssh", "bin/ssh", "usr/bin/scp"):
            (tree / name).write_text("#!/bin/sh\necho mine\n")
            (tree / name).chmod(0o755)

    job.node.add_image(make)
    job.start()

    assert "OpenSSH" in job.launch("sh", "-c", "/usr/bin/ssh -V 2>&1; /bin/ssh -V 2>&1").stdout
    assert job.launch("/usr/bin/ssh", "127.0.0.1", "id", "-un").stdout == "alice\n"
    assert job.launch("/bin/ssh", "127.0.0.1", "id", "-un").stdout == "alice\n"
    assert job.launch("/usr/bin/scp").stdout == "mine\n"


def test_hostile_links_in_the_image_lead_nowhere(job):
    outside = job.node.shared / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    for link in ("etc/udiImage", "etc/ssh", "usr/bin"):
        job.node.add_image(lambda tree, link=link: _link_to(tree / link, "/shared/outside"))

        done = job.batch.setup("--job", JOB, "-s", job.public_key)

        assert list(outside.iterdir()) == []
        if done.returncode:
            assert done.stderr.count("\n") == 1
        job.stop()


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("hello", "no type of a public key"),
        ("ssh-dss AAAAB3NzaC1kc3M=", "no type of a public key"),
        ('command="id" ssh-ed25519 AAAA', "no type of a public key"),
        ("ssh-ed25519", "damaged"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "damaged"),
        ("ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIHq", "damaged"),
        ("ssh-ed25519 ????", "damaged"),
        ("ssh-ed25519 AAAA\nssh-rsa AAAA", "one line"),
        ("x" * 20_000, "one line"),
        ("", "one line"),
    ],
)
def test_what_is_no_key_is_refused_before_anything_is_mounted(job, key, why):
    done = job.batch.setup("--job", JOB, "-s", key)

    assert done.returncode != 0
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert job.batch.is_clean()


def test_a_site_without_sshd_is_told(job):
    job.configure(optUdiImage=None)

    done = job.batch.setup("--job", JOB, "-s", job.public_key)

    assert done.returncode == 1
    assert "udiRoot.conf does not set optUdiImage" in done.stderr


def test_a_template_that_lets_anybody_in_is_refused(job):
    job.change("sshd_config", "AllowUsers ToBeReplaced\n", "")

    done = job.batch.setup("--job", JOB, "-s", job.public_key)

    assert done.returncode == 1
    assert "must have the line 'AllowUsers ToBeReplaced'" in done.stderr


def test_a_template_that_others_can_write_is_refused(job):
    (job.site / "etc/sshd_config").chmod(0o666)

    done = job.batch.setup("--job", JOB, "-s", job.public_key)

    assert done.returncode == 1
    assert "writable by others" in done.stderr


def test_a_job_that_prints_its_plan_starts_nothing(job):
    done = job.batch.setup("--job", JOB, "-s", job.public_key, "--dry-run")

    assert done.returncode == 0, done.stderr
    assert "mount tmpfs on /etc/udiImage for alice alone" in done.stdout
    assert job.public_key.split()[1] not in done.stdout
    assert job.ssh("true").returncode == 255


def test_many_log_in_at_once(job):
    job.start()

    started = [job.start_session("true") for _ in range(40)]

    assert [process.wait(60) for process in started] == [0] * 40


def test_supplementary_groups_are_the_users(job):
    key = job.node.shared / "home/bob/.udiRoot/id_rsa.key"
    job.start("-u", "bob", key=Path(f"{key}.pub").read_text().strip())

    done = job.ssh("id -G", key=key, login="bob")

    assert sorted(done.stdout.split()) == sorted(map(str, (BOB, PROJECT)))


@pytest.fixture(scope="session")
def debian(tmp_path_factory):
    """A small Debian, as many images are: with bash, groups of its own, and a merged /usr."""
    tree = tmp_path_factory.mktemp("debian") / "tree"
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=essential", "bookworm", tree],
        check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return tree


def test_a_debian_image_is_logged_in_to(job, debian):
    def make(tree):
        shutil.rmtree(tree)
        subprocess.run(["cp", "-a", debian, tree], check=True)

    job.node.add_image(make, meta="ENV: PATH=/usr/local/bin:/usr/bin:/bin\n")
    job.start()

    done = job.ssh("echo $BASH_VERSION; . /etc/os-release; echo $ID; ssh 127.0.0.1 whoami")
    output = _on_terminal(job, "tty; exit\n")

    version, name, who = done.stdout.splitlines()
    assert version.startswith("5.")
    assert (name, who) == ("debian", "alice")
    assert "/dev/pts/" in output


def _on_terminal(job, typed: str) -> str:
    """What a terminal shows of a session that these lines are typed into."""
    controller, terminal = pty.openpty()
    session = subprocess.Popen(
        ["ssh", "-tt", "-F", "none", "-p", str(job.port), "-i", job.private_key, "-l", "alice",
         "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "127.0.0.1"],
        stdin=terminal, stdout=terminal, stderr=terminal, env=os.environ | {"TERM": "xterm-test"},
    )  # fmt: skip
    os.close(terminal)
    os.write(controller, typed.encode())
    output = b""
    while select.select([controller], [], [], 15)[0]:
        try:
            piece = os.read(controller, 4096)
        except OSError:  # the last who had it open has closed it
            break
        output += piece
    os.close(controller)
    session.wait(15)
    return output.decode()


def _sleepers(text: str) -> list[int]:
    """Processes that sleep for a time that begins with `text`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"sleep" in words[0] and any(word.startswith(text.encode()) for word in words[1:]):
            found.append(int(entry.name))
    return found


def _hierarchy() -> Path:
    """Where control groups of version 2 are mounted."""
    lines = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return next(Path(place) for _, place, fstype, *_ in lines if fstype == "cgroup2")


def _control_groups() -> list[str]:
    return [str(path) for path in _hierarchy().glob(f"**/shifter-sshd-{JOB}-*")]


def _link_to(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
