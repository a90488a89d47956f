# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import errno
import fcntl
import os
import threading
from types import SimpleNamespace

import pytest

from shifter_imagegw.registry import (
    BlobCache,
    Descriptor,
    DigestMismatchError,
    FetchCancelledError,
    LayerFetches,
    ManifestNotFoundError,
    RegistryError,
    blobs,
    fetch_layers,
)
from tests.unit.shifter_imagegw.registry.fake_registry import OCI_LAYER, Reply, digest_of

# Larger than what counts as getting somewhere, and no multiple of anything.
DATA = bytes(range(256)) * 12_000 + b"end"


@pytest.fixture
def cache(tmp_path) -> BlobCache:
    return BlobCache(tmp_path / "cache")


@pytest.fixture
def progress() -> list[int]:
    return []


def layer_of(data: bytes, size: int | None = None) -> Descriptor:
    return Descriptor(OCI_LAYER, digest_of(data), len(data) if size is None else size)


def partial_of(cache, data=DATA):
    path = cache.path(digest_of(data))
    return path.with_name(path.name + ".partial")


def leave_partial(cache, content, data=DATA):
    """What a process that died left behind."""
    partial = partial_of(cache, data)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(content)
    return partial


def files_in(cache):
    return sorted(path.name for path in cache.directory.rglob("*") if path.is_file())


def test_a_blob_is_kept_below_its_digest(registry, connect, cache, progress):
    registry.add_blob(DATA)

    path = cache.fetch(connect(registry), "ns/app", layer_of(DATA), progress.append)

    assert path == cache.directory / "sha256" / digest_of(DATA).removeprefix("sha256:")
    assert path.read_bytes() == DATA
    assert sum(progress) == len(DATA)
    assert files_in(cache) == [path.name]


def test_an_empty_blob_is_a_blob(registry, connect, cache):
    registry.add_blob(b"")

    assert cache.fetch(connect(registry), "ns/app", layer_of(b"")).read_bytes() == b""


def test_a_blob_in_chunks_is_read(registry, connect, cache):
    registry.script("/blobs/", Reply(200, DATA, chunked=True))

    assert cache.fetch(connect(registry), "ns/app", layer_of(DATA)).read_bytes() == DATA


def test_a_body_labelled_as_encoded_is_kept_as_it_is(registry, connect, cache):
    registry.script("/blobs/", Reply(200, DATA, {"Content-Encoding": "gzip"}))

    assert cache.fetch(connect(registry), "ns/app", layer_of(DATA)).read_bytes() == DATA


def test_of_a_cached_blob_one_byte_is_asked_for(registry, connect, cache, progress):
    registry.add_blob(DATA)
    cache.fetch(connect(registry), "ns/app", layer_of(DATA))
    registry.requests.clear()

    cache.fetch(connect(registry), "ns/app", layer_of(DATA), progress.append)
    BlobCache(cache.directory).fetch(connect(registry), "ns/app", layer_of(DATA), progress.append)

    assert [request.headers["range"] for request in registry.requests] == ["bytes=0-0"] * 2
    assert sum(progress) == 2 * len(DATA)


def test_a_cached_blob_is_not_given_to_whom_the_registry_does_not_show_it(registry, connect, cache):
    """Somebody may have a manifest that names layers of others."""
    digest = registry.add_blob(DATA)
    cache.fetch(connect(registry), "ns/private", layer_of(DATA))
    registry.script(f"/ns/mine/blobs/{digest}", Reply(404))

    with pytest.raises(RegistryError, match=f"blob {digest} of .*/ns/mine"):
        cache.fetch(connect(registry), "ns/mine", layer_of(DATA))


@pytest.mark.parametrize("spoiled", [DATA[:-1] + b"X", DATA[:-1], b""])
@pytest.mark.parametrize("by_whom", ["the same process", "another process"])
def test_a_cached_blob_that_was_spoiled_is_fetched_again(
    registry, connect, cache, spoiled, by_whom
):
    registry.add_blob(DATA)
    path = cache.fetch(connect(registry), "ns/app", layer_of(DATA))
    path.write_bytes(spoiled)
    if by_whom == "another process":
        cache = BlobCache(cache.directory)

    cache.fetch(connect(registry), "ns/app", layer_of(DATA))

    assert path.read_bytes() == DATA


def test_a_broken_download_goes_on_where_it_broke(registry, connect, cache, progress, slept):
    registry.add_blob(DATA)
    registry.script("/blobs/", Reply(200, DATA, cut_at=100_000))

    path = cache.fetch(connect(registry), "ns/app", layer_of(DATA), progress.append)

    assert path.read_bytes() == DATA
    assert registry.requests[1].headers["range"] == "bytes=100000-"
    assert (sum(progress), min(progress) > 0, len(slept)) == (len(DATA), True, 1)


def test_a_download_goes_on_where_a_dead_process_left_it(registry, connect, cache, progress):
    registry.add_blob(DATA)
    partial = leave_partial(cache, DATA[:5000])

    path = cache.fetch(connect(registry), "ns/app", layer_of(DATA), progress.append)

    assert path.read_bytes() == DATA
    assert [request.headers["range"] for request in registry.requests] == ["bytes=5000-"]
    assert sum(progress) == len(DATA)
    assert not partial.exists()


def test_a_partial_that_is_complete_needs_no_download(registry, connect, cache):
    leave_partial(cache, DATA)

    assert cache.fetch(connect(registry), "ns/app", layer_of(DATA)).read_bytes() == DATA
    assert registry.requests == []


@pytest.mark.parametrize("left", [b"junk", DATA + b"more", b"x" * len(DATA)])
def test_a_partial_that_is_no_beginning_is_thrown_away(registry, connect, cache, progress, left):
    registry.add_blob(DATA)
    leave_partial(cache, left)

    path = cache.fetch(connect(registry), "ns/app", layer_of(DATA), progress.append)

    assert path.read_bytes() == DATA
    assert sum(progress) == len(DATA)


@pytest.mark.parametrize("reply", [Reply(200, DATA), Reply(416), Reply(400)])
def test_a_server_without_ranges_sends_all_of_it(registry, connect, cache, reply):
    registry.add_blob(DATA)
    leave_partial(cache, DATA[:5000])
    registry.script("/blobs/", reply)

    assert cache.fetch(connect(registry), "ns/app", layer_of(DATA)).read_bytes() == DATA


@pytest.mark.parametrize(
    "content_range",
    ["", f"bytes 4000-{len(DATA) - 1}/{len(DATA)}", f"bytes 5000-{len(DATA) - 1}/{1 << 40}"],
)
def test_another_range_than_asked_for_is_refused(registry, connect, cache, content_range):
    leave_partial(cache, DATA[:5000])
    headers = {"Content-Range": content_range}
    registry.script("/blobs/", Reply(206, DATA[5000:], headers))

    with pytest.raises(RegistryError, match="other bytes came than asked for"):
        cache.fetch(connect(registry), "ns/app", layer_of(DATA))


def test_a_blob_of_another_digest_is_refused_and_not_kept(registry, connect, cache, slept):
    registry.blobs[digest_of(DATA)] = DATA[:-1] + b"X"

    with pytest.raises(
        DigestMismatchError, match=f"what came has the digest {digest_of(DATA[:-1] + b'X')}"
    ):
        cache.fetch(connect(registry), "ns/app", layer_of(DATA))

    assert (files_in(cache), slept) == ([], [])


def test_a_registry_that_lies_whenever_it_resumes_is_given_up(registry, connect, cache):
    lie, broken = DATA[:-1] + b"X", 2 << 20
    headers = {"Content-Range": f"bytes {broken}-{len(lie) - 1}/{len(lie)}"}
    for _ in range(10):
        registry.script(
            "/blobs/", Reply(200, lie, cut_at=broken), Reply(206, lie[broken:], headers)
        )

    with pytest.raises(DigestMismatchError):
        cache.fetch(connect(registry), "ns/app", layer_of(DATA))

    assert len(registry.requests) == 4


def test_a_blob_of_another_size_is_refused_before_its_first_byte(
    registry, connect, cache, progress
):
    registry.add_blob(DATA)

    with pytest.raises(DigestMismatchError, match=f"says 10 bytes, the registry {len(DATA)}"):
        cache.fetch(connect(registry), "ns/app", layer_of(DATA, size=10), progress.append)

    assert progress == []


def test_an_endless_blob_is_cut_off(registry, connect, cache, progress):
    registry.script("/blobs/", Reply(200, DATA, chunked=True))

    with pytest.raises(DigestMismatchError, match="more came than the 10 bytes"):
        cache.fetch(connect(registry), "ns/app", layer_of(DATA, size=10), progress.append)

    assert files_in(cache) == []


def test_one_byte_too_many_is_too_many(registry, connect, cache):
    registry.script("/blobs/", Reply(200, DATA + b"!", chunked=True))

    with pytest.raises(DigestMismatchError, match="more came than"):
        cache.fetch(connect(registry), "ns/app", layer_of(DATA))


def test_a_connection_that_always_breaks_is_given_up(registry, connect, cache, slept):
    registry.script("/blobs/", *(Reply(200, DATA, cut_at=0) for _ in range(20)))

    with pytest.raises(RegistryError, match="broke"):
        cache.fetch(connect(registry, attempts=3), "ns/app", layer_of(DATA))

    assert len(slept) == 2
    assert files_in(cache) == []


def test_a_connection_that_breaks_often_but_moves_on_is_not_given_up(registry, connect, cache):
    data = os.urandom(9 << 20)
    size = len(data)
    for start in range(0, size, 3 << 19):  # 1.5 MiB
        headers = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if start else {}
        reply = Reply(206 if start else 200, data[start:], headers, cut_at=3 << 19)
        registry.script("/blobs/", reply)

    path = cache.fetch(connect(registry, attempts=2), "ns/app", layer_of(data))

    assert path.read_bytes() == data
    assert len(registry.requests) == 6


def test_a_layer_that_the_registry_has_lost_is_no_fault_of_the_name(registry, connect, cache):
    with pytest.raises(ManifestNotFoundError, match="has lost a part of the image, push it again"):
        cache.fetch(connect(registry), "ns/app", layer_of(DATA))


def test_what_came_is_kept_when_a_download_is_given_up(registry, connect, cache):
    registry.script("/blobs/", Reply(200, DATA, cut_at=1000), Reply(404))

    with pytest.raises(ManifestNotFoundError):
        cache.fetch(connect(registry), "ns/app", layer_of(DATA))

    assert partial_of(cache).read_bytes() == DATA[:1000]


def test_a_cancelled_download_keeps_what_came(registry, connect, cache):
    registry.add_blob(DATA)
    stop = threading.Event()

    with pytest.raises(FetchCancelledError):
        cache.fetch(connect(registry), "ns/app", layer_of(DATA), lambda _: stop.set(), stop=stop)

    assert DATA.startswith(partial_of(cache).read_bytes())


def test_a_cancelled_download_does_not_wait_for_its_next_try(registry, connect, cache):
    registry.script("/blobs/", *(Reply(503) for _ in range(9)))
    stop = threading.Event()

    with pytest.raises(FetchCancelledError):
        cache.fetch(
            connect(registry, sleep=lambda _: stop.set()), "ns/app", layer_of(DATA), stop=stop
        )

    assert len(registry.requests) == 1


def test_many_who_want_one_blob_download_it_once(registry, connect, cache):
    registry.add_blob(DATA)
    client = connect(registry)
    caches = [cache, BlobCache(cache.directory)]  # the second stands for another process

    threads = [
        threading.Thread(target=caches[n % 2].fetch, args=(client, "ns/app", layer_of(DATA)))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    downloads = [request for request in registry.requests if "range" not in request.headers]
    assert len(downloads) == 1
    assert cache.path(digest_of(DATA)).read_bytes() == DATA


def test_a_partial_that_its_owner_took_away_is_not_written_to(
    registry, connect, cache, monkeypatch
):
    """The owner ends between our opening the file and our getting its lock."""
    registry.add_blob(DATA)
    partial = leave_partial(cache, b"")
    lock = blobs._lock

    def lock_late(descriptor, kind):
        monkeypatch.undo()
        partial.unlink()
        return lock(descriptor, kind)

    monkeypatch.setattr(blobs, "_lock", lock_late)

    assert cache.fetch(connect(registry), "ns/app", layer_of(DATA)).read_bytes() == DATA


def test_whoever_waits_for_another_can_be_cancelled(registry, connect, cache):
    partial = leave_partial(cache, b"")
    stop = threading.Event()
    with partial.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        timer = threading.Timer(0.05, stop.set)
        timer.start()

        with pytest.raises(FetchCancelledError):
            cache.fetch(connect(registry), "ns/app", layer_of(DATA), stop=stop)
        timer.join()

    assert registry.requests == []


def test_a_full_disk_is_named_and_nothing_is_left_on_it(registry, connect, cache, monkeypatch):
    registry.add_blob(DATA)

    write, written = os.write, []

    def full(descriptor, data):
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(data)
        return write(descriptor, data)

    monkeypatch.setattr("shifter_imagegw.registry.download.os.write", full)

    with pytest.raises(RegistryError, match=f"blob cache {cache.directory} is full"):
        cache.fetch(connect(registry), "ns/app", layer_of(DATA))

    monkeypatch.undo()
    assert files_in(cache) == []


def test_a_cache_that_cannot_be_written_is_named(registry, connect, tmp_path):
    (tmp_path / "file").touch()
    cache = BlobCache(tmp_path / "file" / "cache")

    with pytest.raises(RegistryError, match="cache .*/file/cache cannot be used: Not a directory"):
        cache.fetch(connect(registry), "ns/app", layer_of(DATA))


@pytest.mark.parametrize("digest", ["sha256:../../x", "md5:00", "", "sha256:" + "A" * 64])
def test_a_path_is_made_of_nothing_but_a_digest(cache, digest):
    with pytest.raises(RegistryError, match="no sha256 digest"):
        cache.path(digest)


def test_layers_come_in_their_order_and_the_topmost_is_fetched_first(registry, connect, cache):
    layers = [layer_of(data) for data in (b"low", b"middle", b"top")]
    for data in (b"low", b"middle", b"top"):
        registry.add_blob(data)

    with fetch_layers(connect(registry), cache, "ns/app", layers, parallel=1) as fetches:
        read = [future.result().read_bytes() for future in fetches.futures]

    assert read == [b"low", b"middle", b"top"]
    asked = [request.path.rpartition("/")[2] for request in registry.requests]
    assert asked == [layer.digest for layer in reversed(layers)]


def test_a_layer_that_is_there_twice_is_fetched_once(registry, connect, cache, progress):
    registry.add_blob(b"same")
    layers = [layer_of(b"same")] * 3

    with fetch_layers(
        connect(registry), cache, "ns/app", layers, progress=lambda _, count: progress.append(count)
    ) as fetches:
        paths = {future.result() for future in fetches.futures}

    assert (len(paths), sum(progress)) == (1, 4)


def test_layers_are_fetched_side_by_side(registry, connect, cache):
    """Each layer's first byte waits until all of them are under way."""
    barrier = threading.Barrier(4, timeout=5)
    layers = [layer_of(bytes([n])) for n in range(4)]
    for n in range(4):
        registry.add_blob(bytes([n]))

    with fetch_layers(
        connect(registry), cache, "ns/app", layers, parallel=4, progress=lambda *_: barrier.wait()
    ) as fetches:
        assert len({future.result() for future in fetches.futures}) == 4


def test_when_one_layer_fails_all_fail_with_its_reason(registry, connect, cache):
    layers = [layer_of(data) for data in (b"low", b"absent")]
    registry.add_blob(b"low")

    with fetch_layers(connect(registry), cache, "ns/app", layers, parallel=1) as fetches:
        errors = [future.exception() for future in fetches.futures]

    assert errors[0] is errors[1]
    assert isinstance(errors[0], ManifestNotFoundError)
    assert len(registry.requests) == 1


def test_leaving_early_stops_what_is_under_way_and_begins_nothing_more():
    under_way, begun = threading.Event(), []

    def fetch(layer, stop):
        begun.append(layer)
        under_way.set()
        assert stop.wait(5)
        raise FetchCancelledError("stopped")

    with LayerFetches(fetch, [layer_of(b"low"), layer_of(b"top")], 1) as fetches:
        under_way.wait(5)

    assert begun == [layer_of(b"top")]
    assert isinstance(fetches.futures[1].exception(), FetchCancelledError)
    assert fetches.futures[0].cancelled()


def test_a_server_without_ranges_that_always_breaks_off_is_given_up(registry, connect, cache):
    registry.script("/blobs/", *(Reply(200, DATA, cut_at=2 << 20) for _ in range(30)))

    with pytest.raises(RegistryError, match="broke: it ended too early"):
        cache.fetch(connect(registry), "ns/app", layer_of(DATA))

    assert len(registry.requests) < 10


def test_a_size_that_is_wrong_is_refused_though_the_blob_is_cached(registry, connect, cache):
    registry.add_blob(DATA)
    cache.fetch(connect(registry), "ns/app", layer_of(DATA))

    with pytest.raises(DigestMismatchError, match="its manifest says 10 bytes"):
        cache.fetch(connect(registry), "ns/app", layer_of(DATA, size=10))


def test_layers_that_no_room_can_be_made_for_are_refused_before_the_first_byte(
    registry, connect, cache
):
    layers = [layer_of(b"one", 1 << 49), layer_of(b"other", 1 << 49)]

    with pytest.raises(RegistryError, match="layers of this image are 1125899906842624 bytes"):
        fetch_layers(connect(registry), cache, "ns/app", layers)

    assert registry.requests == []


def test_layers_that_room_can_be_made_for_are_fetched(registry, connect, cache, monkeypatch):
    registry.add_blob(DATA)
    cache.fetch(connect(registry), "ns/app", layer_of(DATA))
    registry.add_blob(DATA[1:])
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))

    with fetch_layers(connect(registry), cache, "ns/app", [layer_of(DATA[1:])]) as fetches:
        assert fetches.futures[0].result().read_bytes() == DATA[1:]
