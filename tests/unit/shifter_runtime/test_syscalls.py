# SPDX-License-Identifier: BSD-3-Clause
"""Each wrapper of a kernel call: what it gives, and that no failure of it goes unnoticed."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from shifter_runtime import syscalls

BAD = 9999  # a descriptor that is not open


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: syscalls.prctl(987654), errno.EINVAL),
        (lambda: syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 7), errno.EINVAL),
        (lambda: syscalls.change_propagation("/no/such", syscalls.MS_SLAVE), None),
        (lambda: syscalls.detach("/no/such"), None),
        (lambda: syscalls.pivot_root("/no/such", "/no/such"), None),
        (lambda: syscalls.open_in(BAD, "x", os.O_RDONLY, syscalls.RESOLVE_BENEATH), errno.EBADF),
        (lambda: syscalls.open_in(syscalls.AT_FDCWD, "/", os.O_RDONLY, 1 << 40), errno.EINVAL),
        (lambda: syscalls.clone_tree(BAD, recursive=True, name="x"), None),
        (lambda: syscalls.attach(BAD, BAD, "x"), None),
        (lambda: syscalls.set_attributes(BAD, 2, recursive=False, name="x"), None),
        (lambda: syscalls.make_filesystem("nosuchfs", (), 0), None),
        (lambda: syscalls.control(BAD, 1, 0, "x"), errno.EBADF),
        (lambda: syscalls.control(BAD, 1, bytes(8), "x"), errno.EBADF),
        (lambda: syscalls.try_to_lock(BAD, "x"), errno.EBADF),
    ],
)
def test_a_call_that_fails_raises(call, code):
    with pytest.raises(OSError) as raised:
        call()

    assert raised.value.filename is not None
    # Without root, the kernel may say "not permitted" before it looks at anything else.
    assert code is None or raised.value.errno == code


def test_paths_are_resolved_below_a_directory_and_nowhere_else(tmp_path):
    (tmp_path / "inside").write_text("here")
    (tmp_path / "link").symlink_to("/etc/passwd")
    directory = os.open(tmp_path, os.O_RDONLY)

    fd = syscalls.open_in(directory, "inside", os.O_RDONLY, syscalls.RESOLVE_BENEATH)

    assert os.read(fd, 10) == b"here"
    for path in ("../x", "/etc/passwd", "link"):
        with pytest.raises(OSError):
            syscalls.open_in(directory, path, os.O_RDONLY, syscalls.RESOLVE_BENEATH)
    os.close(fd)
    os.close(directory)


def test_a_link_to_the_root_leads_to_the_given_root(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/name").write_text("inner")
    (tmp_path / "link").symlink_to("/etc/name")
    directory = os.open(tmp_path, os.O_RDONLY)

    fd = syscalls.open_in(directory, "/link", os.O_RDONLY, syscalls.RESOLVE_IN_ROOT)

    assert os.read(fd, 10) == b"inner"
    os.close(fd)
    os.close(directory)


def test_an_opened_descriptor_is_closed_on_exec(tmp_path):
    fd = syscalls.open_in(syscalls.AT_FDCWD, str(tmp_path), os.O_RDONLY, 0)

    assert not os.get_inheritable(fd)
    os.close(fd)


def test_a_lock_that_is_held_is_not_waited_for(tmp_path):
    path = tmp_path / "lock"
    with path.open("w") as held, path.open("w") as other:
        fcntl.flock(held, fcntl.LOCK_EX)

        assert syscalls.try_to_lock(other.fileno(), "lock") is False

        fcntl.flock(held, fcntl.LOCK_UN)
        assert syscalls.try_to_lock(other.fileno(), "lock") is True


def test_a_signal_that_python_ignores_is_set_back_to_its_default():
    script = (
        "import os; from shifter_runtime import syscalls; "
        "syscalls.default_signal(syscalls.SIGPIPE); os.kill(os.getpid(), syscalls.SIGPIPE)"
    )

    done = subprocess.run([sys.executable, "-c", script], check=False)

    assert done.returncode == -signal.SIGPIPE


def test_the_numbers_are_those_of_this_system():
    assert (syscalls.SIGPIPE, syscalls.SIGXFSZ) == (signal.SIGPIPE, signal.SIGXFSZ)
    assert syscalls.LOCK_EX | syscalls.LOCK_NB == fcntl.LOCK_EX | fcntl.LOCK_NB
