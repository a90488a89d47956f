# SPDX-License-Identifier: BSD-3-Clause
"""Images and registries that mean harm, pulled for real: a sentence, and nothing else, is left."""

from __future__ import annotations

import gzip
import io
import itertools
import re
import tarfile
import time
from pathlib import Path

import pytest

from tests.integration.conftest import gateways as running_gateways
from tests.unit.shifter_imagegw.registry.fake_registry import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    FakeRegistry,
    Reply,
    digest_of,
    image_document,
)

MIB = 1 << 20
WORKER_MEMORY = 200_000_000  # bytes
LARGEST_IMAGE = 20 * MIB
MOST_ENTRIES = 2000
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def hostile():
    """A registry that does as it is told."""
    registry = FakeRegistry()
    yield registry
    registry.stop()


@pytest.fixture(scope="module")
def strict(gateways, hostile):
    """A gateway for small images, whose default location is hostile."""
    return gateways(
        arguments=["--workers", "1"],
        MaxImageSize="20M",
        MaxEntries=MOST_ENTRIES,
        Locations={"default": {"remotetype": "dockerv2", "url": hostile.url}},
    )


@pytest.fixture(scope="module")
def gateways(registry, munged, tmp_path_factory):
    with running_gateways(registry, munged, tmp_path_factory) as make:
        yield make


def header(name: str, size: int = 0) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def pax(**records: str) -> bytes:
    info = tarfile.TarInfo("f")
    info.pax_headers = {key.replace("__", "."): value for key, value in records.items()}
    return info.tobuf(tarfile.PAX_FORMAT)


def new_name() -> str:
    return f"ns/hostile{next(_numbers)}"


def add_manifest(registry, name, **changes):
    document = image_document(registry, (b"layer",), {"os": "linux", "architecture": "amd64"})
    registry.add_manifest(name, "1", document | changes)


def one_layer(layer: bytes):
    def add(registry, name):
        registry.add_image(name, "1", layers=(layer,))

    return add


def stated_larger_than_allowed(registry, name):
    layer = {"mediaType": OCI_LAYER, "digest": digest_of(b"large"), "size": LARGEST_IMAGE + 1}
    add_manifest(registry, name, layers=[layer])


def of_another_size(registry, name):
    layer = {"mediaType": OCI_LAYER, "digest": registry.add_blob(b"x" * 2000), "size": 1000}
    add_manifest(registry, name, layers=[layer])


def of_another_digest(registry, name):
    registry.add_image(name, "1", layers=(b"honest layer",))
    registry.blobs[digest_of(b"honest layer")] = b"other  layer"


def an_endless_layer(registry, name):
    registry.add_image(name, "1", layers=(b"short",))
    registry.script(f"/{name}/blobs/{digest_of(b'short')}", Reply(body=b"x" * MIB, chunked=True))


def an_index_of_itself(registry, name):
    itself = {"mediaType": OCI_INDEX, "digest": digest_of(b"i"), "size": 9}
    registry.add_manifest(name, "1", {"schemaVersion": 2, "manifests": [itself]}, OCI_INDEX)
    registry.manifests[name, digest_of(b"i")] = registry.manifests[name, "1"]


def both_index_and_manifest(registry, name):
    registry.add_image(name, "1", manifests=[])


def a_large_manifest(registry, name):
    registry.script(f"/{name}/manifests/", Reply(body=b'{"a":"' + b"x" * (5 * MIB), chunked=True))


def a_repeated_key(registry, name):
    registry.add_manifest(name, "1", b'{"schemaVersion":2,"schemaVersion":2,"layers":[]}')


def a_foreign_layer(registry, name):
    layer = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": digest_of(b"x"),
        "size": 1,
        "urls": ["http://169.254.169.254/latest/meta-data"],
    }
    add_manifest(registry, name, layers=[layer])


def redirected_to(target):
    def add(registry, name):
        registry.add_image(name, "1", layers=(target.encode(),))
        registry.script(
            f"/{name}/blobs/{digest_of(target.encode())}",
            Reply(307, headers={"Location": target}),
        )

    return add


def a_config_that_is_a_bomb(registry, name):
    bomb = b'{"a":[' + b"{}," * 1_000_000 + b"{}]}"
    config = {"mediaType": OCI_CONFIG, "digest": registry.add_blob(bomb), "size": len(bomb)}
    add_manifest(registry, name, config=config)


BOMB = gzip.compress(header("zeros", 1 << 40) + bytes(64 * MIB))
HOLE = pax(GNU__sparse__size=str(1 << 39), GNU__sparse__map="0,0")
MANY = b"".join(header(f"f{number}") for number in range(MOST_ENTRIES + 10))
HEADERS = gzip.compress(
    b"".join(pax(**{f"comment{number}": "x" * 200_000})[:-512] for number in range(400))
)
OUTSIDE = header("../../../../tmp/outside") + bytes(1024)

HOSTILE = {
    "larger than allowed as blobs": (stated_larger_than_allowed, r"compressed.*MaxImageSize"),
    "a gzip bomb": (one_layer(BOMB), r"more than 20 MiB unpacked.*MaxImageSize"),
    "a hole of half a terabyte": (one_layer(HOLE), r"more than 20 MiB unpacked.*MaxImageSize"),
    "more entries than allowed": (one_layer(MANY), r"more than 2000 entries.*MaxEntries"),
    "headers without end": (one_layer(HEADERS), r"extended header of \d+ bytes"),
    "a name that leaves the image": (one_layer(OUTSIDE), r"an entry that leaves the image"),
    "another size": (of_another_size, r"its manifest says 1000 bytes, the registry 2000"),
    "another digest": (of_another_digest, r"is refused: what came has the digest"),
    "a layer without end": (an_endless_layer, r"more came than the 5 bytes"),
    "an index of itself": (an_index_of_itself, r"is refused: (its index|the registry sent)"),
    "an index and a manifest": (both_index_and_manifest, r"an index and a manifest at once"),
    "a manifest of 5 MiB": (a_large_manifest, r"larger than 4 MiB"),
    "a key twice": (a_repeated_key, r"its key 'schemaVersion' is there twice"),
    "a layer kept elsewhere": (a_foreign_layer, r"a foreign layer"),
    "a config of a million parts": (a_config_that_is_a_bomb, r"more than 200000 parts"),
    "a redirect to a file": (redirected_to("file:///etc/passwd"), r"no http or https address"),
    "a redirect into the site": (
        redirected_to("http://169.254.169.254/latest/meta-data"),
        r"169\.254\.169\.254, which is a link-local address",
    ),
}


@pytest.mark.parametrize(("add", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_image_ends_in_a_sentence_and_leaves_nothing(strict, hostile, add, reason):
    name = new_name()
    add(hostile, name)
    started = time.monotonic()

    record = strict.wait(f"docker:{name}:1", seconds=15)

    assert record["status"] == "FAILURE"
    assert re.search(reason, record["status_message"]), record["status_message"]
    assert time.monotonic() - started < 15
    assert list(strict.image_dir.iterdir()) == []
    assert not list(Path("/tmp").glob("outside*"))
    assert largest_of(strict) < WORKER_MEMORY


def test_what_is_too_large_is_not_even_asked_for(strict, hostile):
    name = new_name()
    stated_larger_than_allowed(hostile, name)

    strict.wait(f"docker:{name}:1")

    assert not hostile.requests_for(f"/{name}/blobs/{digest_of(b'large')}")


def test_after_all_that_an_honest_image_is_pulled(strict, hostile):
    name = new_name()
    hostile.add_image(name, "1", layers=(header("f") + bytes(1024),))

    assert strict.wait(f"docker:{name}:1")["status"] == "READY"


def test_a_converter_that_takes_for_ever_ends_with_the_pull(gateways, hostile):
    """So many names in one directory keep the packer busy for an hour."""
    crowded = io.BytesIO()
    with gzip.open(crowded, "wb", 1) as layer:
        layer.writelines(header(f"crowded/{number}") for number in range(120_000))
    name = new_name()
    hostile.add_image(name, "1", layers=(crowded.getvalue(),))
    gateway = gateways(
        PullTimeout=2,
        Locations={"default": {"remotetype": "dockerv2", "url": hostile.url}},
    )
    started = time.monotonic()

    record = gateway.wait(f"docker:{name}:1", seconds=60)

    assert record["status"] == "FAILURE"
    assert "which is the limit (PullTimeout)" in record["status_message"]
    assert time.monotonic() - started < 20
    assert list(gateway.image_dir.iterdir()) == []


def largest_of(gateway) -> int:
    """Bytes: the peak of the gateway's process that has held most."""
    peaks = []
    for pid in gateway.processes():
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        peaks += [int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")]
    return max(peaks)
