# SPDX-License-Identifier: BSD-3-Clause
"""The site's examiner sees the whole image whatever its format, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from shifter_imagegw import formats
from shifter_imagegw.errors import LeaseLostError, PullError
from shifter_imagegw.pulling.examine import examine
from tests.unit.shifter_imagegw.formats.streams import directory, file, stream, symlink

pytestmark = pytest.mark.root  # mounts, and other users

IMAGE_ID = "e" * 64
GATEWAY = 61003  # the account of an unprivileged gateway

EXAMINE = """\
import sys
from datetime import timedelta
from pathlib import Path
from shifter_imagegw.errors import PullError
from shifter_imagegw.pulling.examine import examine
image, format, program, scratch, seconds = sys.argv[1:]
try:
    examine(Path(image), format, "e" * 64, program=Path(program),
            timeout=timedelta(seconds=float(seconds)), scratch=Path(scratch))
except PullError as error:
    print(error)
"""


@pytest.fixture
def place(tmp_path):
    """A directory that the gateway's account may write to, and reach."""
    path = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    os.chown(path, GATEWAY, GATEWAY)
    yield path
    subprocess.run(["rm", "-rf", path], check=True)


def make(place: Path, format: str) -> Path:
    image = place / f"image.{format}"
    if format in formats.DIRECTORY_FORMATS:
        image.mkdir()
    content = stream(
        file(b"data/a file", b"hello\n"), symlink(b"link", b"data"), directory(b"", 0o755)
    )
    formats.make(format, content, image)
    subprocess.run(["chown", "-R", f"{GATEWAY}", image], check=True)
    return image


def program(place: Path, script: str) -> Path:
    path = place / "examiner"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def words_of(place: Path, format: str, script: str, **options: object) -> str:
    """What the user reads when the examiner refuses; empty where it does not."""
    try:
        examine(
            make(place, format),
            format,
            IMAGE_ID,
            program=program(place, script),
            **({"timeout": timedelta(seconds=30), "scratch": place / "scratch"} | options),
        )
    except PullError as error:
        return str(error)
    return ""


def is_clean(place: Path) -> bool:
    """No mount, no loop device, and nothing in the scratch directory."""
    mounts = Path("/proc/self/mounts").read_text()
    devices = [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    left = os.listdir(place / "scratch") if (place / "scratch").exists() else []
    return str(place) not in mounts + "".join(devices) and left == []


@pytest.mark.parametrize("format", formats.FORMATS)
def test_it_sees_every_file_and_the_image_goes_on(place, format):
    script = f'[ "$2" = {IMAGE_ID} ] && [ "$(cat "$1/link/a file")" = hello ] && [ -d "$1/data" ]'

    assert words_of(place, format, script) == ""
    assert is_clean(place)


@pytest.mark.parametrize("format", formats.FORMATS)
def test_its_last_words_reach_the_user(place, format):
    script = "echo scanning; echo 'virus found' >&2; echo 'see the wiki'; exit 3"

    assert words_of(place, format, script) == (
        "the site's examiner refused this image (exit status 3): "
        "scanning; virus found; see the wiki"
    )
    assert is_clean(place)


@pytest.mark.parametrize("format", ["squashfs", "ext4"])
def test_it_cannot_change_an_image_that_is_mounted(place, format):
    assert "Read-only file system" in words_of(place, format, "LC_ALL=C touch $1/new")


def test_what_it_says_is_bounded_and_changes_no_terminal(place):
    words = words_of(place, "VFS", "yes 'a line' | head -c 50000000; printf '\\033[2J'; exit 1")

    assert len(words) < 10_000
    assert "\033" not in words


@pytest.mark.parametrize("format", ["squashfs", "VFS"])
def test_one_that_takes_too_long_is_stopped_with_all_that_it_started(place, format):
    script = f"sleep 300 & echo $! > {place}/child; echo waiting; sleep 300"

    words = words_of(place, format, script, timeout=timedelta(seconds=2))

    assert words == "the site's examiner did not end within 2 seconds, and was stopped"
    wait_until(lambda: has_ended(int((place / "child").read_text())))
    assert is_clean(place)


def test_what_it_leaves_running_does_not_outlive_it(place):
    words_of(place, "squashfs", f"sleep 300 & echo $! > {place}/child; exit 0")

    wait_until(lambda: has_ended(int((place / "child").read_text())))
    assert is_clean(place)


def test_a_pull_that_may_not_go_on_stops_it(place):
    def keep_going() -> None:
        raise LeaseLostError("another worker owns the job")

    with pytest.raises(LeaseLostError):
        words_of(place, "squashfs", "sleep 300", keep_going=keep_going)

    assert is_clean(place)


def test_it_starts_with_nothing_of_the_gateways(place, monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    script = f"env > {place}/env; ls /proc/self/fd > {place}/fds; pwd > {place}/cwd; cat"

    assert words_of(place, "VFS", script) == ""  # and so standard input was empty

    names = {line.partition("=")[0] for line in (place / "env").read_text().splitlines()}
    assert names <= {"PATH", "LC_ALL", "PWD", "_", "SHLVL"}
    assert (place / "fds").read_text().split() == ["0", "1", "2", "3"]  # 3: of ls itself
    assert (place / "cwd").read_text() == "/\n"


def test_one_that_cannot_be_run_is_named(place):
    with pytest.raises(PullError, match="the site's examiner .*/missing cannot be run"):
        examine(make(place, "VFS"), "VFS", IMAGE_ID, program=place / "missing",
                timeout=timedelta(seconds=1), scratch=place)  # fmt: skip


def test_one_that_is_killed_is_no_consent(place):
    assert "refused this image (signal 9)" in words_of(place, "VFS", "kill -9 $$")


def as_gateway(place: Path, format: str, script: str, *, prefix: list[str]) -> list[str]:
    image, scratch = make(place, format), place / "scratch"
    arguments = [image, format, program(place, script), scratch, "30"]
    account = ["setpriv", f"--reuid={GATEWAY}", f"--regid={GATEWAY}", "--clear-groups"]
    return [*prefix, *account, sys.executable, "-c", EXAMINE, *map(str, arguments)]


def with_fuse(place: Path) -> list[str]:
    """Let everybody use FUSE, as usual, in a mount namespace of the test's own."""
    device = place / "fuse"
    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(10, 229))
    device.chmod(0o666)
    return with_device(device)


def without_fuse(place: Path) -> list[str]:
    """Let FUSE seem to be there, and then fail."""
    return with_device(Path("/dev/null"))


def with_device(device: Path) -> list[str]:
    bind = 'mount --bind "$0" /dev/fuse && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", bind, str(device)]


@pytest.mark.parametrize("format", formats.FORMATS)
@pytest.mark.parametrize("fuse", [with_fuse, without_fuse])
def test_an_unprivileged_gateway_shows_the_whole_image_too(place, format, fuse):
    script = '[ "$(cat "$1/link/a file")" = hello ] || exit 1; id -u; exit 2'

    command = as_gateway(place, format, script, prefix=fuse(place))
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])

    assert done.stdout == (
        f"the site's examiner refused this image (exit status 2): {GATEWAY}\n"
    ), done.stderr
    assert is_clean(place)


@pytest.mark.parametrize("user", ["root", "gateway"])
def test_nothing_stays_mounted_or_running_when_the_worker_is_killed(place, user):
    script = f"echo $$ > {place}/pid; exec sleep 300"
    command = as_gateway(place, "squashfs", script, prefix=with_fuse(place))
    if user == "root":
        command = command[command.index(sys.executable) :]
    worker = subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.DEVNULL)
    try:
        # Written, too: the shell makes the file first.
        wait_until(lambda: (place / "pid").exists() and (place / "pid").read_text())
        worker.send_signal(signal.SIGKILL)
    finally:
        worker.kill()
        worker.wait()

    wait_until(lambda: has_ended(int((place / "pid").read_text())))
    wait_until(lambda: not using(place))
    # What is left is an empty directory, and the next examination takes it away.
    (left,) = (place / "scratch").iterdir()
    assert list(left.iterdir()) == []
    assert words_of(place, "VFS", "true") == ""
    assert is_clean(place)


def using(place: Path) -> bool:
    """Whether any process has something of this test mounted, or any loop device behind it."""
    for mounts in Path("/proc").glob("[0-9]*/mounts"):
        try:
            if f" {place}/scratch" in mounts.read_text():
                return True
        except OSError:
            continue
    devices = Path("/sys/block").glob("loop*/loop/backing_file")
    return any(str(place) in path.read_text() for path in devices)


def has_ended(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(holds) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "it never did"
        time.sleep(0.02)
