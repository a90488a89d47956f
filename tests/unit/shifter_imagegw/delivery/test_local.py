# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import contextlib
import os

import pytest

from shifter_imagegw.delivery.local import LocalDelivery
from shifter_imagegw.errors import ConversionError, DeliveryError, LeaseLostError

IMAGE_ID = "ab" * 32
WORKER, OTHER = "node1:4711:99", "node2:4711:99"
IMAGE = b"hsqs" + bytes(36) + (50).to_bytes(8, "little") + b".."  # it says that it has 50 bytes


@pytest.fixture
def directory(tmp_path):
    return tmp_path


@pytest.fixture
def delivery(directory):
    return LocalDelivery("cori", directory)


@pytest.fixture
def staged(delivery):
    with delivery.staging(IMAGE_ID, "squashfs", WORKER) as path:
        path.write_bytes(IMAGE)
        yield path


def still_ours():
    pass


def recorded_changes(monkeypatch):
    """The names of the steps that make something visible or durable, in order."""
    steps = []
    for name in ("rename", "fsync", "unlink"):
        original = getattr(os, name)

        def step(*args, _name=name, _original=original, **kwargs):
            target = args[-1]
            if isinstance(target, int):
                target = os.readlink(f"/proc/self/fd/{target}")
            steps.append((_name, os.path.basename(target)))
            return _original(*args, **kwargs)

        monkeypatch.setattr(os, name, step)
    return steps


def test_a_delivered_image_and_its_metadata_are_there_whole(delivery, directory, staged):
    size = delivery.deliver(staged, IMAGE_ID, "squashfs", WORKER, "FORMAT: squashfs\n", still_ours)

    assert (directory / f"{IMAGE_ID}.squashfs").read_bytes() == IMAGE
    assert (directory / f"{IMAGE_ID}.meta").read_text() == "FORMAT: squashfs\n"
    assert size == len(IMAGE)
    assert delivery.is_delivered(IMAGE_ID, "squashfs")


def test_delivery_leaves_nothing_but_the_two_files(delivery, directory, staged):
    delivery.deliver(staged, IMAGE_ID, "squashfs", WORKER, "FORMAT: squashfs\n", still_ours)

    assert sorted(os.listdir(directory)) == [f"{IMAGE_ID}.meta", f"{IMAGE_ID}.squashfs"]


def test_delivered_files_are_only_for_the_gateways_account(delivery, directory, staged):
    staged.chmod(0o666)

    delivery.deliver(staged, IMAGE_ID, "squashfs", WORKER, "FORMAT: squashfs\n", still_ours)

    assert {path.stat().st_mode & 0o7777 for path in directory.iterdir()} == {0o600}


def test_the_image_is_durable_before_its_metadata_is_visible(
    delivery, directory, staged, monkeypatch
):
    steps = recorded_changes(monkeypatch)

    delivery.deliver(staged, IMAGE_ID, "squashfs", WORKER, "FORMAT: squashfs\n", still_ours)

    meta = f"{IMAGE_ID}.meta"
    assert [step for step in steps if step[0] != "unlink"] == [
        ("fsync", staged.name),
        ("fsync", f".{meta}.{WORKER}.partial"),
        ("rename", f"{IMAGE_ID}.squashfs"),
        ("fsync", directory.name),
        ("rename", meta),
        ("fsync", directory.name),
    ]


class CrashError(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("survived", range(10))
def test_after_a_crash_at_any_step_metadata_still_promises_a_whole_image(
    delivery, directory, monkeypatch, survived
):
    steps = iter(range(100))

    def crash_in_time(original):
        def step(*args, **kwargs):
            if next(steps) >= survived:
                raise CrashError
            return original(*args, **kwargs)

        return step

    def deliver():
        with delivery.staging(IMAGE_ID, "squashfs", WORKER) as staged:
            staged.write_bytes(IMAGE)
            delivery.deliver(staged, IMAGE_ID, "squashfs", WORKER, "FORMAT: squashfs\n", still_ours)

    with monkeypatch.context() as crashing:
        for name in ("chmod", "fsync", "rename", "unlink"):
            crashing.setattr(os, name, crash_in_time(getattr(os, name)))
        with contextlib.suppress(CrashError):
            deliver()

    if (directory / f"{IMAGE_ID}.meta").exists():
        assert (directory / f"{IMAGE_ID}.squashfs").read_bytes() == IMAGE
    deliver()
    assert sorted(os.listdir(directory)) == [f"{IMAGE_ID}.meta", f"{IMAGE_ID}.squashfs"]


def test_a_worker_that_lost_its_lease_makes_nothing_visible(delivery, directory, staged):
    def lost():
        raise LeaseLostError("another worker has it")

    with pytest.raises(LeaseLostError):
        delivery.deliver(staged, IMAGE_ID, "squashfs", WORKER, "FORMAT: squashfs\n", lost)

    assert os.listdir(directory) == [staged.name]


def test_a_staged_image_is_hidden_and_not_delivered(delivery, staged):
    assert staged.name.startswith(".")
    assert not delivery.is_delivered(IMAGE_ID, "squashfs")


def test_staging_starts_from_nothing_even_after_a_crash(delivery, directory):
    (directory / f".{IMAGE_ID}.squashfs.{WORKER}.partial").write_bytes(b"half")

    with delivery.staging(IMAGE_ID, "squashfs", WORKER) as path:
        assert path.read_bytes() == b""


def test_what_was_staged_and_not_delivered_is_removed(delivery, directory):
    with pytest.raises(KeyError), delivery.staging(IMAGE_ID, "squashfs", WORKER):
        raise KeyError

    assert os.listdir(directory) == []


def test_a_conversion_that_fails_keeps_its_own_words(delivery):
    with (
        pytest.raises(ConversionError, match="tar2sqfs failed"),
        delivery.staging(IMAGE_ID, "squashfs", WORKER),
    ):
        raise ConversionError("tar2sqfs failed")


def test_a_conversion_that_fails_for_want_of_space_says_so(delivery, monkeypatch):
    real = os.fstatvfs

    def full(descriptor):
        sizes = list(real(descriptor))
        sizes[4] = 0  # f_bavail
        return os.statvfs_result(sizes)

    monkeypatch.setattr(os, "fstatvfs", full)

    with (
        pytest.raises(DeliveryError, match="image directory of system 'cori', is full"),
        delivery.staging(IMAGE_ID, "squashfs", WORKER),
    ):
        raise ConversionError("tar2sqfs failed")


def test_an_image_without_metadata_is_not_delivered(delivery, directory):
    (directory / f"{IMAGE_ID}.squashfs").write_bytes(b"hsqs")

    assert not delivery.is_delivered(IMAGE_ID, "squashfs")


def test_removal_takes_the_metadata_away_before_the_image(delivery, directory, staged, monkeypatch):
    delivery.deliver(staged, IMAGE_ID, "squashfs", WORKER, "FORMAT: squashfs\n", still_ours)
    steps = recorded_changes(monkeypatch)

    delivery.remove(IMAGE_ID, "squashfs", WORKER, still_ours)

    meta, image = f".{IMAGE_ID}.meta.{WORKER}.partial", f".{IMAGE_ID}.squashfs.{WORKER}.partial"
    assert steps == [
        ("rename", meta),
        ("fsync", directory.name),
        ("rename", image),
        ("fsync", directory.name),
        ("unlink", meta),
        ("unlink", image),
    ]


@pytest.fixture(params=["squashfs", "VFS"])
def image(request, delivery):
    """`image(worker)`: an image of some format, staged by a worker."""
    with contextlib.ExitStack() as stack:

        def stage(worker):
            path = stack.enter_context(delivery.staging(IMAGE_ID, request.param, worker))
            (path / "file" if request.param == "VFS" else path).write_bytes(IMAGE)
            return path, request.param

        yield stage


def lost():
    raise LeaseLostError("another worker has it")


def test_a_removal_that_lost_its_lease_puts_all_back_as_it_was(delivery, directory, image):
    staged, format = image(WORKER)
    delivery.deliver(staged, IMAGE_ID, format, WORKER, "FORMAT: x\n", still_ours)
    before = {path.name: path.stat().st_ino for path in directory.iterdir()}

    with pytest.raises(LeaseLostError):
        delivery.remove(IMAGE_ID, format, WORKER, lost)

    assert {path.name: path.stat().st_ino for path in directory.iterdir()} == before


def test_a_removal_that_lost_its_lease_leaves_alone_what_is_there_anew(delivery, directory, image):
    staged, format = image(WORKER)
    delivery.deliver(staged, IMAGE_ID, format, WORKER, "FORMAT: x\n", still_ours)
    again, _ = image(OTHER)

    def lost_to_other():
        delivery.deliver(again, IMAGE_ID, format, OTHER, "FORMAT: new\n", still_ours)
        lost()

    with pytest.raises(LeaseLostError):
        delivery.remove(IMAGE_ID, format, WORKER, lost_to_other)

    assert sorted(os.listdir(directory)) == sorted([f"{IMAGE_ID}.{format}", f"{IMAGE_ID}.meta"])
    assert (directory / f"{IMAGE_ID}.meta").read_text() == "FORMAT: new\n"


def stand_still_and_lose(delivery):
    """What happens while a worker stands still after it was told that the image is its own."""
    delivery.shut_out_others(IMAGE_ID, OTHER)
    with delivery.staging(IMAGE_ID, "squashfs", OTHER) as theirs:
        theirs.write_bytes(IMAGE)
        delivery.deliver(theirs, IMAGE_ID, "squashfs", OTHER, "FORMAT: new\n", still_ours)


@pytest.fixture
def published_by_other(delivery, directory):
    """`published_by_other()` once, then True if nothing of it has changed."""
    before = {}

    def publish():
        stand_still_and_lose(delivery)
        before.update({path.name: path.stat() for path in directory.iterdir()})

    def is_unchanged():
        now = {path.name: path.stat() for path in directory.iterdir()}
        return {name: (found.st_ino, found.st_mtime_ns) for name, found in now.items()} == {
            name: (found.st_ino, found.st_mtime_ns) for name, found in before.items()
        }

    return publish, is_unchanged


def test_who_stood_still_for_longer_than_its_lease_delivers_nothing(
    delivery, staged, published_by_other
):
    publish, is_unchanged = published_by_other

    with pytest.raises(DeliveryError):
        delivery.deliver(staged, IMAGE_ID, "squashfs", WORKER, "FORMAT: old\n", publish)

    assert is_unchanged()


def test_who_stood_still_for_longer_than_its_lease_changes_no_metadata(
    delivery, published_by_other
):
    publish, is_unchanged = published_by_other

    with pytest.raises(DeliveryError):
        delivery.deliver_metadata(IMAGE_ID, WORKER, "FORMAT: old\n", publish)

    assert is_unchanged()


def test_of_several_images_only_the_one_that_is_held_is_taken_from_others(delivery, directory):
    other_image = "cd" * 32
    with (
        delivery.staging(IMAGE_ID, "squashfs", WORKER),
        delivery.staging(IMAGE_ID, "VFS", WORKER),
        delivery.staging(IMAGE_ID, "squashfs", OTHER) as mine,
        delivery.staging(other_image, "squashfs", WORKER) as unconcerned,
    ):
        delivery.shut_out_others(IMAGE_ID, OTHER)

        assert set(directory.iterdir()) == {mine, unconcerned}


def test_removing_what_is_not_there_is_no_error(delivery, directory):
    delivery.remove(IMAGE_ID, "squashfs", WORKER, still_ours)

    assert os.listdir(directory) == []


def test_partial_files_are_known_with_their_worker(delivery, directory, staged):
    for name in ("notes.partial", f"{IMAGE_ID}.squashfs", f".{IMAGE_ID}.squashfs"):
        (directory / name).write_bytes(b"not ours")

    (partial,) = delivery.partials()

    assert (partial.path, partial.worker) == (staged, WORKER)
    assert 0 <= partial.age < 60


def test_a_discarded_partial_file_is_gone(delivery, directory, staged):
    (partial,) = delivery.partials()

    delivery.discard(partial)

    assert os.listdir(directory) == []


def test_new_metadata_replaces_the_old(delivery, directory, staged):
    delivery.deliver(staged, IMAGE_ID, "squashfs", WORKER, "FORMAT: squashfs\n", still_ours)

    delivery.deliver_metadata(IMAGE_ID, WORKER, "FORMAT: squashfs\nUSERACL: 5\n", still_ours)

    assert (directory / f"{IMAGE_ID}.meta").read_text() == "FORMAT: squashfs\nUSERACL: 5\n"
    assert len(os.listdir(directory)) == 2


def test_metadata_that_cannot_be_written_leaves_no_partial_file(delivery, directory, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(DeliveryError, match="system 'cori': No space left on device"):
        delivery.deliver_metadata(IMAGE_ID, WORKER, "FORMAT: squashfs\n", still_ours)

    assert os.listdir(directory) == []


def test_a_missing_image_directory_is_said_before_the_work_begins(tmp_path):
    delivery = LocalDelivery("cori", tmp_path / "gone")

    with pytest.raises(DeliveryError, match="gone', the image directory of system 'cori', is no"):
        delivery.require_usable()


@pytest.mark.parametrize("left", [0, 4, 49])
def test_an_image_that_lost_its_end_is_not_delivered(delivery, directory, staged, left):
    delivery.deliver(staged, IMAGE_ID, "squashfs", WORKER, "FORMAT: squashfs\n", still_ours)

    os.truncate(directory / f"{IMAGE_ID}.squashfs", left)

    assert not delivery.is_delivered(IMAGE_ID, "squashfs")


# Images that are directories


@pytest.fixture
def unpacked(delivery):
    """A staged directory, with what is hard to remove in it."""
    with delivery.staging(IMAGE_ID, "VFS", WORKER) as path:
        (path / "etc/deep").mkdir(parents=True)
        (path / "etc/name").write_bytes(b"12345")
        (path / "link").symlink_to("/etc")
        (path / "etc/deep").chmod(0)
        yield path


def test_a_directory_is_staged_for_the_gateways_account_alone(delivery):
    with delivery.staging(IMAGE_ID, "VFS", WORKER) as path:
        assert (path.is_dir(), path.stat().st_mode & 0o7777) == (True, 0o700)
        assert os.listdir(path) == []


def test_a_directory_is_delivered_whole(delivery, directory, unpacked):
    size = delivery.deliver(unpacked, IMAGE_ID, "VFS", WORKER, "FORMAT: VFS\n", still_ours)

    assert sorted(os.listdir(directory)) == [f"{IMAGE_ID}.VFS", f"{IMAGE_ID}.meta"]
    assert (directory / f"{IMAGE_ID}.VFS/etc/name").read_bytes() == b"12345"
    assert (size, delivery.size(IMAGE_ID, "VFS")) == (5, 5)
    assert delivery.is_delivered(IMAGE_ID, "VFS")


def test_a_directory_replaces_one_that_lacks_its_metadata(delivery, directory, unpacked):
    old = directory / f"{IMAGE_ID}.VFS"
    old.mkdir()
    (old / "old").touch()

    delivery.deliver(unpacked, IMAGE_ID, "VFS", WORKER, "FORMAT: VFS\n", still_ours)

    assert sorted(os.listdir(old)) == ["etc", "link"]
    assert sorted(os.listdir(directory)) == [f"{IMAGE_ID}.VFS", f"{IMAGE_ID}.meta"]


def test_a_directory_is_removed_with_all_in_it_and_nothing_that_its_links_mean(
    delivery, directory, unpacked, tmp_path_factory
):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "file").touch()
    (unpacked / "outside").symlink_to(outside)
    delivery.deliver(unpacked, IMAGE_ID, "VFS", WORKER, "FORMAT: VFS\n", still_ours)

    delivery.remove(IMAGE_ID, "VFS", WORKER, still_ours)

    assert os.listdir(directory) == []
    assert (outside / "file").exists()
    assert os.stat("/etc").st_mode & 0o777 == 0o755


def test_a_directory_is_as_old_as_its_delivery_whatever_time_the_image_gives_it(
    delivery, directory, unpacked
):
    os.utime(unpacked, (0, 0))
    (partial,) = delivery.partials()

    delivery.deliver(unpacked, IMAGE_ID, "VFS", WORKER, "FORMAT: VFS\n", still_ours)

    (image,) = delivery.images()
    assert (partial.age < 60, image.age < 60) == (True, True)


def test_what_was_staged_in_a_directory_and_not_delivered_is_removed(delivery, directory):
    with pytest.raises(KeyError), delivery.staging(IMAGE_ID, "VFS", WORKER) as path:
        (path / "a").mkdir()
        raise KeyError

    assert os.listdir(directory) == []


def test_a_directory_that_a_dead_worker_left_is_known_and_can_be_removed(
    delivery, directory, unpacked
):
    (partial,) = delivery.partials()

    delivery.discard(partial)

    assert (partial.worker, os.listdir(directory)) == (WORKER, [])


# What lies there


def test_images_that_lie_there_are_known(delivery, directory, staged):
    delivery.deliver(staged, IMAGE_ID, "squashfs", WORKER, "FORMAT: squashfs\n", still_ours)
    (directory / f"{'cd' * 32}.ext4").write_bytes(b"123")
    (directory / f"{'ef' * 32}.VFS").mkdir()
    (directory / f"{'ef' * 32}.VFS/file").write_bytes(b"1234567")
    (directory / "notes").touch()
    (directory / f".{IMAGE_ID}.squashfs.x.partial").touch()

    found = [(one.image_id[:2], one.format, one.size) for one in delivery.images()]

    assert found == [("ab", "squashfs", len(IMAGE)), ("cd", "ext4", 3), ("ef", "VFS", 7)]
    assert [one.has_metadata for one in delivery.images()] == [True, False, False]
    assert all(-5 < one.age < 60 for one in delivery.images())


@pytest.mark.parametrize("image_id", ["../" + IMAGE_ID, "AB" * 32, "", "x"])
def test_what_is_no_image_id_is_no_file(delivery, image_id):
    with pytest.raises(DeliveryError, match="no image can be called"):
        delivery.remove(image_id, "squashfs", WORKER, still_ours)


# Lustre


@pytest.fixture
def fake_lfs(tmp_path_factory, monkeypatch):
    """A fake lfs: makes the file, as the real one does, unless there is one or it is to fail."""
    place = tmp_path_factory.mktemp("bin")
    program = place / "lfs"
    program.write_text(
        '#!/bin/sh\necho "$@" >>"${0%/*}/calls"\n'
        '[ ! -e "${0%/*}/fail" ] || { echo not on Lustre >&2; exit 1; }\n'
        '[ ! -e "$4" ] || { echo stripe already set >&2; exit 1; }\n: >"$4"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    return place


def test_lustre_makes_the_file_where_the_site_wants_stripes(directory, fake_lfs):
    delivery = LocalDelivery("cori", directory, stripe_count=-1)

    with delivery.staging(IMAGE_ID, "squashfs", WORKER) as path:
        assert path.stat().st_mode & 0o7777 == 0o600

    assert (fake_lfs / "calls").read_text() == f"setstripe -c -1 {path}\n"


def test_a_file_that_cannot_be_striped_is_made_without_and_that_is_logged(
    directory, fake_lfs, caplog
):
    (fake_lfs / "fail").touch()
    delivery = LocalDelivery("cori", directory, stripe_count=4)

    with delivery.staging(IMAGE_ID, "squashfs", WORKER) as path:
        assert path.read_bytes() == b""

    assert "image file not striped" in caplog.text
    assert "not on Lustre" in caplog.text


def test_nothing_is_striped_unless_the_site_wants_it(delivery, fake_lfs):
    with delivery.staging(IMAGE_ID, "squashfs", WORKER):
        pass

    assert not (fake_lfs / "calls").exists()
