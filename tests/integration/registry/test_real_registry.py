# SPDX-License-Identifier: BSD-3-Clause
"""The registry client against docker-registry, with images that skopeo and buildah pushed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest
import requests

from shifter_imagegw.registry import (
    BlobCache,
    Credentials,
    DigestMismatchError,
    ManifestNotFoundError,
    Platform,
    RegistryNotPermittedError,
    RepositoryName,
    fetch_layers,
    media_types,
)
from tests.integration.registry.real_registry import PASSWORD, USER, program, write_layout

pytestmark = pytest.mark.registry

AMD64 = Platform("linux", "amd64")
ALICE = Credentials(USER, PASSWORD)


def fetched(client, image, cache):
    """The content of every layer."""
    with fetch_layers(client, cache, image.repository, image.layers) as fetches:
        return [future.result().read_bytes() for future in fetches.futures]


def original_config(layout):
    index = json.loads((layout / "index.json").read_text())
    manifest = blob_of(layout, index["manifests"][0]["digest"])
    return json.loads(blob_of(layout, json.loads(manifest)["config"]["digest"]))


def blob_of(layout, digest):
    return (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


@pytest.mark.parametrize(
    ("options", "media_type", "magic"),
    [
        (["--format=v2s2"], media_types.DOCKER_MANIFEST, b"\x1f\x8b"),
        (["--format=oci"], media_types.OCI_MANIFEST, b"\x1f\x8b"),
        (["--format=oci", "--dest-compress-format=zstd"], media_types.OCI_MANIFEST, b"\x28\xb5"),
    ],
    ids=["docker", "oci", "oci-zstd"],
)
def test_an_image_is_fetched_in_each_format(
    open_registry, connect, tmp_path_factory, tmp_path, options, media_type, magic
):
    directory = tmp_path_factory.mktemp("plain") / "layout"
    layout = write_layout(directory, "amd64", compressed=False)  # skopeo compresses
    name = f"formats/app:{'-'.join(options).replace('=', '-').strip('-')}"
    open_registry.push(layout, name, *options)
    client = connect(open_registry)

    image = client.resolve(RepositoryName.parse(name), AMD64)
    layers = fetched(client, image, BlobCache(tmp_path))

    assert image.media_type == media_type
    assert image.config.diff_ids == tuple(original_config(layout)["rootfs"]["diff_ids"])
    assert (image.config.env, image.config.workdir) == (("ARCH=amd64",), "/work")
    assert [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in layers] == [
        layer.digest for layer in image.layers
    ]
    assert {data[:2] for data in layers} == {magic}


def test_the_digest_is_the_one_that_the_registry_tells(open_registry, connect, layout):
    open_registry.push(layout, "digests/app:v1")
    told = requests.head(
        f"{open_registry.url}/v2/digests/app/manifests/v1",
        headers={"Accept": media_types.OCI_MANIFEST},
        timeout=10,
    ).headers["Docker-Content-Digest"]
    client = connect(open_registry)

    assert client.resolve(RepositoryName.parse("digests/app:v1"), AMD64).digest == told
    assert client.resolve(RepositoryName.parse(f"digests/app@{told}"), AMD64).digest == told


@pytest.mark.parametrize("options", [["--format=v2s2"], []], ids=["docker", "oci"])
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_an_index_gives_each_platform_its_image(
    open_registry, connect, index_layout, options, architecture
):
    name = f"indexes/app:{''.join(options).strip('-').replace('=', '-') or 'oci'}"
    open_registry.push(index_layout, name, "--all", *options)

    image = connect(open_registry).resolve(
        RepositoryName.parse(name), Platform("linux", architecture)
    )

    assert image.config.env == (f"ARCH={architecture}",)


def test_a_platform_that_is_missing_is_named_with_those_there_are(
    open_registry, connect, index_layout
):
    open_registry.push(index_layout, "indexes/two:v1", "--all")

    with pytest.raises(ManifestNotFoundError, match="s390x: there is linux/amd64, linux/arm64"):
        connect(open_registry).resolve(
            RepositoryName.parse("indexes/two:v1"), Platform("linux", "s390x")
        )


@pytest.mark.root
def test_an_image_that_buildah_made_is_fetched(open_registry, connect, tmp_path):
    storage = ["--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run")]
    buildah = [program("buildah"), *storage, "--storage-driver=vfs"]

    def run(*words):
        done = subprocess.run([*buildah, *words], check=True, capture_output=True, timeout=60)
        return done.stdout.decode().strip()

    (tmp_path / "hello").write_text("hello")
    container = run("from", "scratch")
    run("copy", container, str(tmp_path / "hello"), "/hello")
    run("config", "--entrypoint", '["/hello", "x y"]', "--label", "a=b", container)
    run("commit", "--quiet", container, "built")
    run("push", "--tls-verify=false", "built", f"docker://{open_registry.host}/buildah/app:v1")
    run("rm", container)
    client = connect(open_registry)

    image = client.resolve(RepositoryName.parse("buildah/app:v1"), Platform.host())

    assert image.config.entrypoint == ("/hello", "x y")
    assert image.config.labels["a"] == "b"
    assert len(fetched(client, image, BlobCache(tmp_path / "cache"))) == len(image.layers)


def test_an_image_of_schema1_is_fetched(open_registry, connect, layout, tmp_path):
    open_registry.push(layout, "old/app:v1", "--format=v2s1")
    client = connect(open_registry)

    image = client.resolve(RepositoryName.parse("old/app:v1"), AMD64)

    assert image.media_type in media_types.SCHEMA1
    assert image.config.env == ("ARCH=amd64",)
    diff_ids = original_config(layout)["rootfs"]["diff_ids"]
    assert len(fetched(client, image, BlobCache(tmp_path))) == len(diff_ids)


@pytest.mark.parametrize("auth_method", ["basic", "token"])
def test_a_registry_with_passwords_is_read_with_one(
    password_registry, connect, layout, tmp_path, auth_method
):
    password_registry.push(layout, "team/app:v1")
    client = connect(password_registry, ALICE, auth_method=auth_method)

    image = client.resolve(RepositoryName.parse("team/app:v1"), AMD64)

    assert image.used_credentials
    assert len(fetched(client, image, BlobCache(tmp_path))) == 3


@pytest.mark.parametrize("credentials", [None, Credentials(USER, "wrong")])
def test_a_registry_with_passwords_refuses_others(password_registry, connect, credentials):
    with pytest.raises(RegistryNotPermittedError, match="HTTP 401, UNAUTHORIZED"):
        connect(password_registry, credentials).resolve(RepositoryName.parse("team/app:v1"), AMD64)


@pytest.mark.parametrize("credentials", [None, ALICE, Credentials(USER, "wrong")])
def test_a_public_image_is_read_with_a_token_for_everybody(
    token_registry, connect, layout, tmp_path, credentials
):
    token_registry.push(layout, "public/app:v1")
    client = connect(token_registry, credentials)

    image = client.resolve(RepositoryName.parse("public/app:v1"), AMD64)

    assert not image.used_credentials
    assert len(fetched(client, image, BlobCache(tmp_path))) == 3


def test_a_private_image_is_read_with_a_token_of_ones_own(
    token_registry, connect, layout, tmp_path
):
    token_registry.push(layout, "team/app:v1")
    client = connect(token_registry, ALICE)

    image = client.resolve(RepositoryName.parse("team/app:v1"), AMD64)

    assert image.used_credentials
    assert len(fetched(client, image, BlobCache(tmp_path))) == 3


@pytest.mark.parametrize(
    ("credentials", "reason"),
    [(None, "UNAUTHORIZED"), (Credentials(USER, "wrong"), "incorrect username or password")],
)
def test_a_private_image_is_refused_to_others(token_registry, connect, layout, credentials, reason):
    token_registry.push(layout, "team/app:v1")

    with pytest.raises(RegistryNotPermittedError, match=reason):
        connect(token_registry, credentials).resolve(RepositoryName.parse("team/app:v1"), AMD64)


def test_an_unknown_tag_is_not_found(open_registry, connect, layout):
    open_registry.push(layout, "known/app:v1")

    with pytest.raises(ManifestNotFoundError, match="known/app:v2 .HTTP 404, MANIFEST_UNKNOWN"):
        connect(open_registry).resolve(RepositoryName.parse("known/app:v2"), AMD64)


def test_a_layer_that_was_spoiled_in_the_registry_is_refused(
    open_registry, connect, tmp_path_factory, tmp_path
):
    layout = write_layout(tmp_path_factory.mktemp("spoiled") / "layout", "amd64")
    open_registry.push(layout, "spoiled/app:v1")
    client = connect(open_registry)
    image = client.resolve(RepositoryName.parse("spoiled/app:v1"), AMD64)
    file = open_registry.blob_file(image.layers[1].digest)
    data = bytearray(file.read_bytes())
    data[1000] ^= 1
    file.write_bytes(data)

    with pytest.raises(DigestMismatchError, match=image.layers[1].digest):
        fetched(client, image, BlobCache(tmp_path))


def test_a_download_survives_a_kill(open_registry, connect, tmp_path_factory, tmp_path):
    layout = write_layout(tmp_path_factory.mktemp("large") / "layout", "amd64", layer_size=8 << 20)
    open_registry.push(layout, "large/app:v1")
    client = connect(open_registry)
    image = client.resolve(RepositoryName.parse("large/app:v1"), AMD64)
    layer, cache = image.layers[0], BlobCache(tmp_path)
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from shifter_imagegw.registry import *\n"
        "def die(_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "layer = Descriptor('', sys.argv[2], int(sys.argv[3]))\n"
        "client = RegistryClient(Endpoint(sys.argv[1]))\n"
        "BlobCache(Path(sys.argv[4])).fetch(client, 'large/app', layer, die)\n"
    )
    words = [sys.executable, "-c", code, open_registry.url, layer.digest, str(layer.size)]

    died = subprocess.run([*words, str(tmp_path)], check=False, timeout=60)
    left = os.path.getsize(f"{cache.path(layer.digest)}.partial")
    progress = []
    path = cache.fetch(client, image.repository, layer, progress.append)

    assert died.returncode == -signal.SIGKILL
    assert 0 < left < layer.size
    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    assert (progress[0], min(progress) > 0, sum(progress)) == (left, True, layer.size)


@pytest.mark.root
def test_a_full_disk_is_said_and_left_empty(open_registry, connect, layout, tmp_path):
    open_registry.push(layout, "full/app:v1")
    image = connect(open_registry).resolve(RepositoryName.parse("full/app:v1"), AMD64)
    layer = image.layers[0]
    code = (
        "import sys; from pathlib import Path\n"
        "from shifter_imagegw.registry import *\n"
        "layer = Descriptor('', sys.argv[2], int(sys.argv[3]))\n"
        "client = RegistryClient(Endpoint(sys.argv[1]))\n"
        "try: BlobCache(Path(sys.argv[4])).fetch(client, 'full/app', layer)\n"
        "except RegistryError as error: print(error)\n"
        "print(sum(path.is_file() for path in Path(sys.argv[4]).rglob('*')), 'files')\n"
    )
    words = [sys.executable, "-c", code, open_registry.url, layer.digest, str(layer.size)]
    mount = f'mount -t tmpfs -o size=8k tmpfs {tmp_path} && exec "$@"'

    done = subprocess.run(
        [program("unshare"), "--mount", "sh", "-c", mount, "sh", *words, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.stdout.splitlines() == [
        f"the blob cache {tmp_path} is full: free space on its filesystem",
        "0 files",
    ]
