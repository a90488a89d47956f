# SPDX-License-Identifier: BSD-3-Clause
"""The key pair in ~/.udiRoot by which its owner gets from one node of a job to another.

Many submissions may find at once that there is none yet: one pair wins, and all of them use it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import subprocess
from collections.abc import Iterator, Sequence

from shifter_cli.submission.errors import SshKeyError
from shifter_runtime.config import RuntimeConfig
from shifter_runtime.job import ssh_plan

_DIRECTORY = ".udiRoot"
_ED25519 = "id_ed25519.key"
# As ssh_config in containers names them -> the type of such keys.
_KEYS = {_ED25519: "ssh-ed25519", "id_rsa.key": "ssh-rsa"}
_LARGEST_FILE = 1 << 14  # bytes
_SECONDS = 60  # for ssh-keygen, which waits for nothing but the disk


def of_caller(config: RuntimeConfig) -> str:
    """The public half of the user's pair, which is made where there is none."""
    uid = os.getuid()
    try:
        home = pwd.getpwuid(uid).pw_dir  # as ssh does: the environment's HOME may be anything
    except KeyError:
        raise SshKeyError(f"user {uid} has no entry in the passwd database") from None
    return public_key(home, uid, ssh_plan.supported_keys(config.opt_udi_image))


def public_key(home: str, uid: int, supported: Sequence[str]) -> str:
    """The public half of the pair of which the sshd in containers understands the type."""
    place = os.path.join(home, _DIRECTORY)
    try:
        with _opened(place, uid) as directory:
            for name, kind in _KEYS.items():
                if kind in supported and _is_there(directory, name):
                    return _public_half(directory, place, name)
            _make(directory, place)
            return _public_half(directory, place, _ED25519)
    except OSError as error:
        raise _failure(place, error) from error


@contextlib.contextmanager
def _opened(place: str, uid: int) -> Iterator[int]:
    """The directory, its owner's alone. No link is followed: it may lead to where others write."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(place, 0o700)
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(directory)
        if status.st_uid != uid:
            raise SshKeyError(
                f"{place} belongs to user {status.st_uid}, not to you: remove it, or ask its owner "
                "to"
            )
        if status.st_mode & 0o077:
            os.fchmod(directory, 0o700)
        yield directory
    finally:
        os.close(directory)


def _is_there(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _public_half(directory: int, place: str, name: str) -> str:
    text = _read(directory, place, f"{name}.pub")
    if not text.strip():
        # An empty passphrase, given, keeps it from asking for one.
        text = _ssh_keygen("-y", "-P", "", "-f", os.path.join(place, name))
        with contextlib.suppress(OSError):  # the next submission asks again
            _publish(directory, f"{name}.pub", text)
    return ssh_plan.checked_key(text.strip())


def _read(directory: int, place: str, name: str) -> str:
    """The text of a file; nothing where there is none."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = os.open(name, flags, dir_fd=directory)
    except FileNotFoundError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise SshKeyError(f"{place}/{name} is not a regular file: remove it")
        return os.read(file, _LARGEST_FILE).decode("utf-8", "surrogateescape")
    finally:
        os.close(file)


def _make(directory: int, place: str) -> None:
    """Make a pair under another name, then give it its name if nobody else has done so."""
    partial = f".{_ED25519}.{os.getpid()}.{os.urandom(4).hex()}"
    # What is left of a pair whose private half is gone would be taken for the new one's.
    _remove(directory, f"{_ED25519}.pub")
    try:
        _ssh_keygen(
            *("-q", "-t", "ed25519", "-N", "", "-C", "shifter"),
            *("-f", os.path.join(place, partial)),
        )
        try:
            os.link(partial, _ED25519, src_dir_fd=directory, dst_dir_fd=directory)
        except FileExistsError:
            return
        os.replace(f"{partial}.pub", f"{_ED25519}.pub", src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        _remove(directory, partial)
        _remove(directory, f"{partial}.pub")


def _publish(directory: int, name: str, text: str) -> None:
    partial = f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with open(os.open(partial, flags, 0o644, dir_fd=directory), "w") as file:
            file.write(text)
        os.replace(partial, name, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        _remove(directory, partial)


def _remove(directory: int, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def _ssh_keygen(*arguments: str) -> str:
    """What ssh-keygen prints; an error in its own words."""
    try:
        result = subprocess.run(
            ["ssh-keygen", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise SshKeyError(
            "ssh-keygen is not on this machine: ask the site to install OpenSSH's client"
        ) from None
    except subprocess.TimeoutExpired:
        raise SshKeyError(f"ssh-keygen has not ended for {_SECONDS} seconds") from None
    if result.returncode != 0:
        lines = (result.stderr or result.stdout).decode("utf-8", "replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        raise SshKeyError(
            f"ssh-keygen failed with exit status {result.returncode}, saying: {last.strip()}"
        )
    return result.stdout.decode("utf-8", "surrogateescape")


def _failure(place: str, error: OSError) -> SshKeyError:
    # A link in the directory's place is reported by the kernel as "not a directory".
    for path in (place, *(f"{place}/{name}.pub" for name in _KEYS)):
        if os.path.islink(path):
            return SshKeyError(f"{path} is a symbolic link: remove it")
    return SshKeyError(f"cannot keep a key in {place}: {error.strerror}")
