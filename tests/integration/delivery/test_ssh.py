# SPDX-License-Identifier: BSD-3-Clause
"""Images are delivered over real ssh and scp, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from shifter_imagegw.delivery import IndexEntry
from shifter_imagegw.errors import ConfigError, DeliveryError, LeaseLostError
from tests.integration.conftest import free_port, wait_until

pytestmark = [pytest.mark.ssh, pytest.mark.root]

IMAGE_ID = "ab" * 32
WORKER = "node1:4711:99"
PARTIAL = f".{IMAGE_ID}.squashfs.{WORKER}.partial"
METADATA = "FORMAT: squashfs\nENV: A='$(touch /tmp/x)' \"`id`\" \\ %s é\nUSERACL: 5\n"
DELIVERED = [f"{IMAGE_ID}.meta", f"{IMAGE_ID}.squashfs"]


def image_of(size: int) -> bytes:
    """A file that says of itself how long it is, as a squashfs does."""
    return b"hsqs" + bytes(36) + size.to_bytes(8, "little") + os.urandom(size - 48)


def nothing():
    pass


def deliver(delivery, content=None, confirm=nothing, *, is_checked=True):
    content = image_of(300_000) if content is None else content
    if is_checked:
        delivery.require_usable()
    with delivery.staging(IMAGE_ID, "squashfs", WORKER) as staged:
        staged.write_bytes(content)
        delivery.deliver(staged, IMAGE_ID, "squashfs", WORKER, METADATA, confirm)
    return content


def test_a_delivered_image_lies_there_byte_for_byte(delivery, image_dir, account, tmp_path):
    content = deliver(delivery)

    assert sorted(os.listdir(image_dir)) == DELIVERED
    assert (image_dir / f"{IMAGE_ID}.squashfs").read_bytes() == content
    assert (image_dir / f"{IMAGE_ID}.meta").read_text() == METADATA
    found = [path.stat() for path in image_dir.iterdir()]
    assert {(stat.S_IMODE(one.st_mode), one.st_uid) for one in found} == {(0o600, account.pw_uid)}
    assert delivery.is_delivered(IMAGE_ID, "squashfs")
    assert delivery.size(IMAGE_ID, "squashfs") == len(content)
    assert os.listdir(tmp_path / "expand") == []


def test_the_image_is_visible_before_its_metadata_and_neither_before_it_is_confirmed(
    delivery, image_dir, tmp_path
):
    seen = []

    deliver(delivery, confirm=lambda: seen.extend(os.listdir(image_dir)))
    image, metadata = (image_dir / name for name in reversed(DELIVERED))

    assert sorted(seen) == [f".{IMAGE_ID}.meta.{WORKER}.partial", PARTIAL]
    assert image.stat().st_ctime_ns <= metadata.stat().st_ctime_ns


def test_a_worker_that_lost_its_lease_leaves_nothing(delivery, image_dir):
    def lost():
        raise LeaseLostError("another worker has it")

    with pytest.raises(LeaseLostError):
        deliver(delivery, confirm=lost)

    assert os.listdir(image_dir) == []


def test_one_connection_does_for_a_delivery_and_is_closed(delivery, sshd, tmp_path):
    log = sshd.directory / "sshd.log"
    before = log.read_text().count("Accepted publickey")

    deliver(delivery, is_checked=False)

    assert log.read_text().count("Accepted publickey") == before + 1
    wait_until(lambda: not sshd.sessions(), what="the connection to end")
    assert os.listdir(tmp_path / "expand") == []


@pytest.mark.parametrize("left", [0, 4, 4096, 299_999])
def test_an_image_that_lost_its_end_there_is_not_delivered(delivery, image_dir, left):
    deliver(delivery)

    os.truncate(image_dir / f"{IMAGE_ID}.squashfs", left)

    assert not delivery.is_delivered(IMAGE_ID, "squashfs")


@pytest.mark.parametrize("missing", DELIVERED)
def test_an_image_of_which_a_half_is_missing_is_not_delivered(delivery, image_dir, missing):
    deliver(delivery)

    (image_dir / missing).unlink()

    assert not delivery.is_delivered(IMAGE_ID, "squashfs")


def test_new_metadata_replaces_the_old(delivery, image_dir):
    deliver(delivery)

    delivery.deliver_metadata(IMAGE_ID, WORKER, "FORMAT: squashfs\n", nothing)

    assert (image_dir / f"{IMAGE_ID}.meta").read_text() == "FORMAT: squashfs\n"
    assert sorted(os.listdir(image_dir)) == DELIVERED


def test_metadata_is_read_as_it_is(delivery, image_dir):
    content = b"FORMAT: squashfs\nENV: A=\xff \xc3\xa9 'x' $HOME\n" + b"ENV: B=" + b"b" * 200_000
    (image_dir / f"{IMAGE_ID}.meta").write_bytes(content)

    assert delivery.read_metadata(IMAGE_ID) == content.decode("utf-8", "surrogateescape")


def test_metadata_that_is_not_there_is_said_to_be_missing(delivery):
    with pytest.raises(DeliveryError, match=r"\.meta is not there"):
        delivery.read_metadata(IMAGE_ID)


def test_a_removed_image_is_gone_and_may_be_removed_again(delivery, image_dir):
    deliver(delivery)

    delivery.remove(IMAGE_ID, "squashfs", WORKER, nothing)
    delivery.remove(IMAGE_ID, "squashfs", WORKER, nothing)

    assert os.listdir(image_dir) == []


def read_from(file, first, most=1 << 20):
    file.begin_at(first)
    return b"".join(iter(lambda: file.read(most), b""))


@pytest.mark.parametrize("first", [0, 1, 299_999, 300_000])
def test_an_image_is_read_as_it_lies_there_from_any_byte_on(delivery, first):
    content = deliver(delivery)

    with contextlib.closing(delivery.open_image(IMAGE_ID, "squashfs")) as file:
        assert file.size == len(content)
        assert read_from(file, first, 100_000) == content[first:]


def test_an_image_that_is_removed_while_it_is_read_is_read_to_its_end(delivery):
    content = deliver(delivery)

    with contextlib.closing(delivery.open_image(IMAGE_ID, "squashfs")) as file:
        delivery.remove(IMAGE_ID, "squashfs", WORKER, nothing)
        assert read_from(file, 0) == content


def test_a_file_that_was_written_anew_is_told_apart(delivery, image_dir):
    deliver(delivery)
    os.utime(image_dir / f"{IMAGE_ID}.squashfs", (1_000_000_000, 1_000_000_000))

    with contextlib.closing(delivery.open_image(IMAGE_ID, "squashfs")) as file:
        assert file.changed == 1_000_000_000


@pytest.mark.parametrize("is_begun", [False, True])
def test_who_closes_an_image_before_its_end_leaves_no_ssh(delivery, sshd, is_begun):
    deliver(delivery, image_of(30_000_000))
    wait_until(lambda: not sshd.sessions(), what="the delivery's connection to end")

    file = delivery.open_image(IMAGE_ID, "squashfs")
    assert sshd.sessions()
    if is_begun:
        file.begin_at(0)
        file.read(1000)
    file.close()

    assert not [pid for pid in _children() if _name(pid) == "ssh"]
    wait_until(lambda: not sshd.sessions(), what="the connection to end")


def _children():
    return [
        int(pid) for task in Path("/proc/self/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]  # fmt: skip


def _name(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text().strip()


@pytest.mark.parametrize("instead", ["nothing", "link", "pipe"])
def test_what_is_no_image_is_not_read(delivery, image_dir, sshd, instead):
    path = image_dir / f"{IMAGE_ID}.squashfs"
    if instead == "link":
        path.symlink_to("/etc/passwd")
    elif instead == "pipe":
        os.mkfifo(path)

    reason = f"cannot read an image in '{image_dir}', the image directory of system 'cluster' on "
    with pytest.raises(DeliveryError, match=f"{reason}.*: {IMAGE_ID}.squashfs is not there"):
        delivery.open_image(IMAGE_ID, "squashfs")

    wait_until(lambda: not sshd.sessions(), what="the connection to end")


def test_an_image_that_may_not_be_read_there_is_told(delivery, image_dir):
    deliver(delivery)
    os.chown(image_dir / f"{IMAGE_ID}.squashfs", 0, 0)

    with pytest.raises(DeliveryError, match="squashfs: Permission denied"):
        delivery.open_image(IMAGE_ID, "squashfs")


def test_an_image_is_read_from_another_host_where_one_is_down(make_delivery, sshd):
    down = f"127.0.0.1:{free_port()}"
    content = deliver(make_delivery())
    delivery = make_delivery(hosts=(down, sshd.address), every_host=True)

    with contextlib.closing(delivery.open_image(IMAGE_ID, "squashfs")) as file:
        assert read_from(file, 0) == content


def test_an_image_of_a_host_that_cannot_be_reached_is_told(make_delivery):
    address = f"127.0.0.1:{free_port()}"

    with pytest.raises(DeliveryError, match=f"host '{address}' of system .* Connection refused"):
        make_delivery(hosts=(address,)).open_image(IMAGE_ID, "squashfs")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_connection_that_breaks_or_falls_silent_ends_the_reading(make_delivery, sshd, number):
    delivery = make_delivery(options=("-o", "ServerAliveInterval=1"))
    deliver(delivery, image_of(30_000_000))
    wait_until(lambda: not sshd.sessions(), what="the delivery's connection to end")
    with contextlib.closing(delivery.open_image(IMAGE_ID, "squashfs")) as file:
        met = sshd.signal_sessions(number)
        assert met
        try:
            with pytest.raises(DeliveryError, match=r"ssh ended \d+ bytes before the end of an "):
                read_from(file, 0)
        finally:
            for pid in met:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def lost():
    raise LeaseLostError("another worker has it")


def test_a_removal_that_lost_its_lease_puts_all_back_as_it_was(delivery, image_dir):
    deliver(delivery)
    before = {path.name: path.stat().st_ino for path in image_dir.iterdir()}

    with pytest.raises(LeaseLostError):
        delivery.remove(IMAGE_ID, "squashfs", WORKER, lost)

    assert {path.name: path.stat().st_ino for path in image_dir.iterdir()} == before


def test_a_removal_that_lost_its_lease_leaves_alone_what_is_there_anew(delivery, image_dir):
    deliver(delivery)

    def lost_to_other():
        for name in DELIVERED:
            (image_dir / name).write_text("new")
        lost()

    with pytest.raises(LeaseLostError):
        delivery.remove(IMAGE_ID, "squashfs", WORKER, lost_to_other)

    assert {path.name: path.read_text() for path in image_dir.iterdir()} == dict.fromkeys(
        DELIVERED, "new"
    )


def test_who_stood_still_for_longer_than_its_lease_publishes_nothing(delivery, image_dir):
    def stand_still():
        delivery.shut_out_others(IMAGE_ID, "node2:4711:99")
        for name in DELIVERED:
            (image_dir / name).write_text("new")

    with pytest.raises(DeliveryError):
        deliver(delivery, confirm=stand_still, is_checked=False)
    with pytest.raises(DeliveryError):
        delivery.deliver_metadata(IMAGE_ID, WORKER, METADATA, stand_still)

    assert {path.name: path.read_text() for path in image_dir.iterdir()} == dict.fromkeys(
        DELIVERED, "new"
    )


def test_what_a_worker_has_begun_itself_is_left_to_it(delivery, image_dir):
    deliver(delivery, confirm=lambda: delivery.shut_out_others(IMAGE_ID, WORKER))

    assert sorted(os.listdir(image_dir)) == DELIVERED


def test_images_that_lie_there_are_known(delivery, image_dir):
    content = deliver(delivery)
    (image_dir / f"{'cd' * 32}.ext4").write_bytes(b"12345")
    (image_dir / "a file of somebody's").write_bytes(b"")

    found = {image.image_id: image for image in delivery.images()}

    assert {one.size for one in found.values()} == {len(content), 5}
    assert [found[i * 32].has_metadata for i in ("ab", "cd")] == [True, False]
    assert all(-5 < image.age < 60 for image in found.values())
    assert found["cd" * 32].format == "ext4"


def test_what_a_dead_worker_left_is_known_and_can_be_removed(delivery, image_dir):
    (image_dir / PARTIAL).write_bytes(b"half")

    (partial,) = delivery.partials()
    delivery.discard(partial)

    assert (partial.worker, partial.path) == (WORKER, image_dir / PARTIAL)
    assert os.listdir(image_dir) == []


def assert_refused(image_dir, reason, act):
    with pytest.raises(DeliveryError, match=reason) as raised:
        act()
    assert "\n" not in str(raised.value)
    assert os.listdir(image_dir) == []
    return str(raised.value)


def test_a_host_that_is_down_is_named(make_delivery, image_dir):
    address = f"127.0.0.1:{free_port()}"
    delivery = make_delivery(hosts=(address,))

    reason = rf"host '{address}' of system 'cluster' by ssh: .*Connection refused"
    assert_refused(image_dir, reason, delivery.require_usable)


def test_another_host_is_taken_where_one_is_down(make_delivery, sshd, image_dir, caplog):
    delivery = make_delivery(hosts=(f"127.0.0.1:{free_port()}", sshd.address))

    deliver(delivery)

    assert sorted(os.listdir(image_dir)) == DELIVERED
    assert caplog.text.count("host not usable") == 1  # afterwards the other one comes first


def test_a_host_whose_key_is_another_is_not_believed(make_delivery, sshd, image_dir, tmp_path):
    other = (sshd.directory / "key.pub").read_text()
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {other}")
    delivery = make_delivery(options=("-o", f"UserKnownHostsFile={known_hosts}"))

    assert_refused(image_dir, "Host key verification failed", delivery.require_usable)


def test_a_key_that_is_missing_is_told_and_no_password_asked_for(
    make_delivery, image_dir, tmp_path
):
    delivery = make_delivery(key=tmp_path / "gone")

    said = assert_refused(image_dir, "Permission denied", delivery.require_usable)

    assert "gone not accessible: No such file" in said


def test_an_image_directory_that_is_not_there_is_told(make_delivery, image_dir):
    delivery = make_delivery(directory=image_dir.with_name("shifter-gone"))

    reason = r"cannot use '/tmp/shifter-gone', the image directory of system 'cluster' on host "
    said = assert_refused(image_dir, reason, delivery.require_usable)

    assert said.endswith("create it, owned by the account that ssh logs in as")


def test_an_image_directory_that_cannot_be_written_is_told(delivery, image_dir):
    os.chown(image_dir, 0, 0)
    image_dir.chmod(0o755)

    assert_refused(image_dir, "cannot write there: change its owner", delivery.require_usable)


@pytest.fixture
def small_disk(image_dir, account):
    """An image directory with two MiB of space."""
    options = f"size=2m,uid={account.pw_uid},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "test", image_dir], check=True)
    yield image_dir
    subprocess.run(["umount", image_dir], check=True)


def test_an_image_for_which_there_is_no_space_is_not_copied(delivery, small_disk):
    assert_refused(
        small_disk,
        "it is full: 2048 KiB are free, the image has 2930: free some space",
        lambda: deliver(delivery, image_of(3_000_000)),
    )


def test_a_disk_that_becomes_full_is_told_and_nothing_stays(delivery, small_disk, monkeypatch):
    # As when others write there at the same time.
    monkeypatch.setattr(type(delivery), "_prepare", lambda *_: None)

    assert_refused(
        small_disk,
        "it is full: free some space, or expire images",
        lambda: deliver(delivery, image_of(3_000_000)),
    )


def test_what_arrives_changed_is_not_delivered(delivery, image_dir, monkeypatch):
    from shifter_imagegw.delivery.remote_host import RemoteHost

    real = RemoteHost.copy

    def copy(self, source, target, timeout):
        real(self, source, target, timeout)
        with open(target, "r+b") as file:
            file.seek(100)
            file.write(b"!")

    monkeypatch.setattr(RemoteHost, "copy", copy)

    assert_refused(image_dir, "what arrived is not what was sent", lambda: deliver(delivery))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_connection_that_breaks_or_falls_silent_leaves_nothing(
    make_delivery, image_dir, sshd, number
):
    slow = ("-l", "80000", *sshd.options)  # 10 MB a second
    delivery = make_delivery(options=("-o", "ServerAliveInterval=1"), scp_options=slow)
    met = []

    def cut():
        wait_until(lambda: (image_dir / PARTIAL).exists() and (image_dir / PARTIAL).stat().st_size)
        met.extend(sshd.signal_sessions(number))

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        assert_refused(
            image_dir,
            "system 'cluster' on host .*: scp failed: .*(lost connection|Connection closed)",
            lambda: deliver(delivery, image_of(30_000_000)),
        )
    finally:
        cutter.join()
        for pid in met:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def both(make_delivery, sshd, second_sshd, own_directory):
    """A delivery to two hosts with a filesystem each, and what lies on them."""
    hosts = (sshd.address, second_sshd.address)
    directories = (own_directory, Path(f"/proc/{second_sshd.process.pid}/root{own_directory}"))
    yield make_delivery(hosts=hosts, every_host=True, directory=own_directory), directories
    for directory in directories:
        for path in directory.iterdir():
            path.unlink()


def test_every_host_gets_the_image_where_each_has_its_own_filesystem(both):
    delivery, directories = both

    content = deliver(delivery)

    for directory in directories:
        assert sorted(os.listdir(directory)) == DELIVERED
        assert (directory / f"{IMAGE_ID}.squashfs").read_bytes() == content
    assert delivery.is_delivered(IMAGE_ID, "squashfs")
    (directories[1] / f"{IMAGE_ID}.meta").unlink()
    assert not delivery.is_delivered(IMAGE_ID, "squashfs")


def test_nothing_is_published_unless_every_host_has_the_image(both):
    delivery, directories = both
    directories[1].chmod(0o555)
    seen = []

    with pytest.raises(DeliveryError, match="Permission denied"):
        deliver(delivery, confirm=lambda: seen.append("confirmed"), is_checked=False)

    directories[1].chmod(0o755)
    assert [os.listdir(directory) for directory in directories] == [[], []]
    assert seen == []


def test_one_host_of_all_that_is_down_is_named(make_delivery, sshd, image_dir):
    down = f"127.0.0.1:{free_port()}"
    delivery = make_delivery(hosts=(sshd.address, down), every_host=True)

    reason = rf"host '{down}' .* Connection refused"
    assert_refused(image_dir, reason, lambda: deliver(delivery, is_checked=False))


def test_an_account_whose_shell_greets_does_no_harm(delivery, account, image_dir):
    profile = os.path.join(account.pw_dir, ".ssh", "rc")
    os.mkdir(os.path.dirname(profile))
    with open(profile, "w") as file:
        file.write("echo welcome to the cluster >&2\n")

    content = deliver(delivery)

    assert delivery.size(IMAGE_ID, "squashfs") == len(content)


def test_an_image_is_striped_where_lustre_is(make_delivery, sshd, account, image_dir):
    # A fake lfs, which does to the file what the real one does: it makes it.
    lfs = image_dir / "lfs"
    lfs.write_text('#!/bin/sh\n[ ! -e "$4" ] && : >"$4"; echo "$@" >>"${0%/*}/calls"\n')
    lfs.chmod(0o755)
    environment = f"PATH={image_dir}:/usr/bin:/bin"
    keys = sshd.directory / "authorized_keys"
    keys_before = keys.read_text()
    keys.write_text(f'environment="{environment}" {keys_before}')
    config = sshd.directory / "sshd_config"
    config_before = config.read_text()
    config.write_text(f"PermitUserEnvironment yes\n{config_before}")
    sshd.stop()
    sshd.start()
    try:
        deliver(make_delivery(stripe_count=4))
    finally:
        keys.write_text(keys_before)
        config.write_text(config_before)
        sshd.stop()

    assert (image_dir / "calls").read_text() == f"setstripe -c 4 {PARTIAL}\n"
    assert stat.S_IMODE((image_dir / f"{IMAGE_ID}.squashfs").stat().st_mode) == 0o600


def test_a_name_leads_to_its_image_until_it_is_forgotten(delivery, image_dir, account):
    tags = ["library/ubuntu:24.04", "a/" * 200 + "x:1"]
    for tag in tags:
        delivery.index("docker", tag, IMAGE_ID)
        delivery.index("docker", tag, IMAGE_ID)
    known = delivery.indexed()
    delivery.index("docker", tags[0], "cd" * 32)
    delivery.unindex("docker", tags[0], IMAGE_ID)  # which means another image by now
    delivery.unindex("docker", tags[1], IMAGE_ID)
    delivery.unindex("docker", tags[1], IMAGE_ID)

    assert {(entry.tag, entry.image_id) for entry in known} == {(tag, IMAGE_ID) for tag in tags}
    assert delivery.indexed() == [
        IndexEntry(image_type="docker", tag=tags[0], image_id="cd" * 32),
    ]
    entry = image_dir / ".tags/docker/library%2Fubuntu:24.04"
    assert entry.read_text() == "cd" * 32 + "\n"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (entry, entry.parent)}
    assert modes == {0o600, 0o700}
    assert [name for name in os.listdir(image_dir / ".tags") if name.startswith(".")] == []


@pytest.mark.parametrize(
    ("image_type", "tag", "image_id"),
    [
        ("docker", "x;touch /tmp/x", IMAGE_ID),
        ("docker", "../../x", IMAGE_ID),
        ("docker", "x:1", "$(id)"),
        ("../docker", "x:1", IMAGE_ID),
    ],
)
def test_nothing_that_is_no_name_reaches_the_host(delivery, image_type, tag, image_id):
    from shifter_common.errors import ShifterError

    with pytest.raises(ShifterError):
        delivery.index(image_type, tag, image_id)


@pytest.mark.parametrize("directory", ["/images;id", "/images dir", "/images/../etc", "/$(id)"])
def test_an_image_directory_that_a_shell_might_read_is_refused(make_delivery, directory):
    with pytest.raises(ConfigError, match="Platforms.cluster.ssh.imageDir .* must be an absolute"):
        make_delivery(directory=Path(directory))


def test_a_directory_cannot_be_delivered_by_ssh(delivery):
    with (
        pytest.raises(DeliveryError, match="use a format that is one file"),
        delivery.staging(IMAGE_ID, "VFS", WORKER),
    ):
        pass
