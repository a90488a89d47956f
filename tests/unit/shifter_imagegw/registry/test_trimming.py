# SPDX-License-Identifier: BSD-3-Clause
"""The bound of the blob cache."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from shifter_imagegw.registry import BlobCache, Descriptor, fetch_layers
from shifter_imagegw.registry.blobs import Holds
from shifter_imagegw.registry.trimming import TrimReport
from tests.unit.shifter_imagegw.registry.fake_registry import OCI_LAYER, digest_of

SIZE = 1000
OLD, OLDER, NEW = b"o" * SIZE, b"O" * SIZE, b"n" * SIZE
HOUR = 3600.0


@pytest.fixture
def cache(tmp_path) -> BlobCache:
    return BlobCache(tmp_path / "cache")


def layer_of(data: bytes) -> Descriptor:
    return Descriptor(OCI_LAYER, digest_of(data), len(data))


def keep(cache, data, *, used_before=0.0) -> Path:
    """Put a blob into the cache that was used last so many seconds ago."""
    path = cache.path(digest_of(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    last_use = time.time() - used_before
    os.utime(path, (last_use, last_use))
    return path


def keep_partial(cache, data, *, written_before) -> Path:
    path = keep(cache, data, used_before=written_before)
    return path.rename(f"{path}.partial")


class Granting:
    """A client whose registry shows everything to everybody, and sends nothing."""

    def require_blob(self, repository, digest, stop):
        pass


@contextmanager
def locked(path, kind):
    with path.open("rb+") as file:
        fcntl.flock(file, kind)
        yield


def test_a_cache_within_its_bound_stays_as_it_is(cache):
    kept = [keep(cache, data, used_before=HOUR * 1000) for data in (OLD, NEW)]

    report = cache.trim(2 * SIZE)

    assert report == TrimReport(blobs=2, bytes=2 * SIZE)
    assert all(path.exists() for path in kept)


def test_a_cache_that_is_not_there_takes_nothing(cache):
    assert cache.trim(1) == cache.size() == TrimReport()
    assert not cache.directory.exists()


def test_what_was_used_least_recently_goes_first_and_no_more_than_needed(cache):
    new, older, old = (
        keep(cache, NEW),
        keep(cache, OLDER, used_before=2 * HOUR),
        keep(cache, OLD, used_before=HOUR),
    )

    report = cache.trim(2 * SIZE)

    assert report == TrimReport(blobs=2, bytes=2 * SIZE, removed_blobs=1, removed_bytes=SIZE)
    assert [path.exists() for path in (older, old, new)] == [False, True, True]


def test_a_use_is_noted_and_does_not_have_the_blob_hashed_again(cache, monkeypatch):
    old, older = keep(cache, OLD, used_before=HOUR), keep(cache, OLDER, used_before=2 * HOUR)
    cache.fetch(Granting(), "ns/app", layer_of(OLDER))
    os.utime(older, ns=(0, older.stat().st_mtime_ns))
    monkeypatch.setattr("shifter_imagegw.registry.blobs._sha256", pytest.fail)

    cache.fetch(Granting(), "ns/app", layer_of(OLDER))
    cache.trim(SIZE)

    assert (old.exists(), older.exists()) == (False, True)


def test_what_a_pull_uses_stays_until_it_has_ended(registry, connect, cache):
    registry.add_blob(OLD)
    registry.add_blob(NEW)
    old = keep(cache, OLD, used_before=HOUR)
    layers = [layer_of(OLD), layer_of(NEW)]

    with fetch_layers(connect(registry), cache, "ns/app", layers) as fetches:
        paths = [future.result() for future in fetches.futures]
        while_used = cache.trim(0)
        contents = [path.read_bytes() for path in paths]
    afterwards = cache.trim(0)

    assert while_used.removed_blobs == 0
    assert contents == [OLD, NEW]
    assert afterwards == TrimReport(removed_blobs=2, removed_bytes=2 * SIZE)
    assert not old.exists()


def test_a_process_that_is_killed_holds_no_blob_any_more(cache):
    path = keep(cache, OLD)
    code = (
        "import sys, time; from pathlib import Path\n"
        "from shifter_imagegw.registry import BlobCache, Descriptor\n"
        "from shifter_imagegw.registry.blobs import Holds\n"
        "class Granting:\n"
        "    def require_blob(*_): pass\n"
        "cache = BlobCache(Path(sys.argv[1]))\n"
        "layer = Descriptor(*sys.argv[2:4], int(sys.argv[4]))\n"
        "holds = Holds(); cache.fetch(Granting(), 'ns/app', layer, holds=holds)\n"
        "print('held', flush=True); time.sleep(60)\n"
    )
    layer = layer_of(OLD)
    arguments = [cache.directory, layer.media_type, layer.digest, str(layer.size)]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE) as pull:
        assert pull.stdout is not None
        pull.stdout.readline()
        cache.trim(0)
        was_kept = path.exists()
        pull.send_signal(signal.SIGKILL)

    cache.trim(0)

    assert was_kept
    assert not path.exists()


def test_a_blob_that_is_trimmed_away_before_it_is_held_comes_again(registry, connect, cache):
    registry.add_blob(NEW)
    progress: list[int] = []
    hold = cache._hold

    def held_too_late(path, *arguments):
        if sum(progress) == SIZE:
            cache._hold = hold
            cache.trim(0)
        return hold(path, *arguments)

    cache._hold = held_too_late

    path = cache.fetch(connect(registry), "ns/app", layer_of(NEW), progress.append)

    assert path.read_bytes() == NEW
    assert progress == [SIZE, -SIZE, SIZE]


def test_a_partial_file_is_kept_for_some_hours(cache):
    young = keep_partial(cache, NEW, written_before=5 * HOUR)
    old = keep_partial(cache, OLD, written_before=7 * HOUR)

    report = cache.trim(None)

    assert (young.exists(), old.exists()) == (True, False)
    assert report == TrimReport(blobs=1, bytes=SIZE, removed_blobs=1, removed_bytes=SIZE)


def test_a_partial_file_goes_in_its_turn_where_space_is_needed(cache):
    partial = keep_partial(cache, NEW, written_before=HOUR)
    blob = keep(cache, OLD)

    cache.trim(SIZE)

    assert (partial.exists(), blob.exists()) == (False, True)


def test_a_partial_file_that_is_being_written_stays(cache):
    partial = keep_partial(cache, NEW, written_before=100 * HOUR)

    with locked(partial, fcntl.LOCK_EX):
        cache.trim(0)

    assert partial.exists()


def test_only_files_that_the_cache_has_made_are_removed(cache):
    digest = "a" * 64
    blobs = cache.path(digest_of(OLD)).parent
    blobs.mkdir(parents=True)
    (blobs / digest).mkdir()
    (blobs / ("b" * 64)).symlink_to("/etc/hostname")
    others = ["x.tar", f"{digest}.tar", f"{digest}.partial.bak", digest.upper(), f"{digest}0"]
    for path in [*(blobs / name for name in others), cache.directory / ("c" * 64)]:
        path.write_bytes(OLD)
    before = sorted(cache.directory.rglob("*"))

    report = cache.trim(0)

    assert report == TrimReport()
    assert sorted(cache.directory.rglob("*")) == before


def test_one_process_trims_at_a_time(cache):
    path = keep(cache, OLD)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        report = cache.trim(0)
    finally:
        os.close(directory)

    assert report == TrimReport()
    assert path.exists()


def test_where_directories_cannot_be_locked_the_bound_holds_too(cache, monkeypatch):
    path = keep(cache, OLD)
    flock = fcntl.flock

    def on_nfs(descriptor, operation):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(descriptor, operation)

    monkeypatch.setattr("shifter_imagegw.registry.trimming.fcntl.flock", on_nfs)

    cache.trim(0)

    assert not path.exists()


def test_a_full_disk_costs_the_oldest_blobs_not_the_pull(registry, connect, cache, monkeypatch):
    registry.add_blob(NEW)
    older = keep(cache, OLDER, used_before=2 * HOUR)
    old = keep(cache, OLD, used_before=HOUR)
    write = os.write

    def full(descriptor, data):
        if older.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    monkeypatch.setattr("shifter_imagegw.registry.download.os.write", full)

    path = cache.fetch(connect(registry), "ns/app", layer_of(NEW))

    assert path.read_bytes() == NEW
    assert (older.exists(), old.exists()) == (False, True)


def test_holds_may_be_closed_twice_and_hold_what_is_added_later(cache):
    path = keep(cache, OLD)
    holds = Holds()
    holds.close()
    holds.close()

    cache.fetch(Granting(), "ns/app", layer_of(OLD), holds=holds)
    cache.trim(0)
    was_held = path.exists()
    holds.close()

    assert was_held
