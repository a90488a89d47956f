# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import gzip
import json

import pytest

from shifter_imagegw.registry import (
    DigestMismatchError,
    Endpoint,
    ManifestNotFoundError,
    Platform,
    RegistryClient,
    RegistryError,
    RegistryNotPermittedError,
    RepositoryName,
    UnsupportedMediaTypeError,
)
from tests.unit.shifter_imagegw.registry.fake_registry import (
    OCI_INDEX,
    OCI_MANIFEST,
    Reply,
    digest_of,
    image_document,
)

APP = RepositoryName.parse("ns/app:v1")
AMD64 = Platform("linux", "amd64")


def index_of(registry, *entries):
    """An index of images, each given as its platform, and what else its entry says."""
    manifests = []
    for number, (platform, more) in enumerate(entries):
        digest = registry.add_image("ns/app", f"part{number}", (f"layer of {number}".encode(),))
        size = len(registry.manifests["ns/app", digest][1])
        entry = {"mediaType": OCI_MANIFEST, "digest": digest, "size": size, **more}
        if platform is not None:
            os_name, architecture, *variant = platform.split("/")
            entry["platform"] = {"os": os_name, "architecture": architecture}
            if variant:
                entry["platform"]["variant"] = variant[0]
        manifests.append(entry)
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}


def test_the_digest_is_that_of_the_manifest(registry, connect):
    digest = registry.add_image()

    assert connect(registry).resolve(APP, AMD64).digest == digest


def test_layers_come_in_the_order_of_the_manifest(registry, connect):
    registry.add_image(layers=(b"a", b"bb", b"ccc"))

    image = connect(registry).resolve(APP, AMD64)

    assert [layer.digest for layer in image.layers] == [digest_of(b) for b in (b"a", b"bb", b"ccc")]
    assert [layer.size for layer in image.layers] == [1, 2, 3]


def test_the_config_is_read(registry, connect):
    settings = {"Env": ["A=1"], "Entrypoint": ["/bin/x"], "Labels": {"k": "v"}}
    registry.add_image(config={"os": "linux", "architecture": "arm64", "config": settings})

    config = connect(registry).resolve(APP, AMD64).config

    assert (config.env, config.entrypoint, config.labels) == (("A=1",), ("/bin/x",), {"k": "v"})


def test_an_image_is_found_by_its_digest(registry, connect):
    digest = registry.add_image()

    image = connect(registry).resolve(RepositoryName.parse(f"ns/app@{digest}"), AMD64)

    assert image.digest == digest


def test_a_digest_decides_over_the_tag_beside_it(registry, connect):
    digest = registry.add_image()
    registry.add_image(tag="v2", layers=(b"other",))

    image = connect(registry).resolve(RepositoryName.parse(f"ns/app:v2@{digest}"), AMD64)

    assert image.digest == digest


def test_a_manifest_that_is_not_what_its_digest_says_is_refused(registry, connect):
    digest = registry.add_image()
    registry.manifests["ns/app", digest] = (
        OCI_MANIFEST,
        registry.manifests["ns/app", "v1"][1] + b" ",
    )

    with pytest.raises(DigestMismatchError, match=digest):
        connect(registry).resolve(RepositoryName.parse(f"ns/app@{digest}"), AMD64)


def test_a_manifest_that_differs_from_the_digest_header_is_refused(registry, connect):
    registry.add_image()
    data = registry.manifests["ns/app", "v1"][1]
    headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": digest_of(b"other")}
    registry.script("/manifests/v1", Reply(200, data, headers))

    with pytest.raises(DigestMismatchError, match="in place of"):
        connect(registry).resolve(APP, AMD64)


def test_a_registry_need_not_send_the_digest_header(registry, connect):
    digest = registry.add_image()
    data = registry.manifests["ns/app", "v1"][1]
    registry.script("/manifests/v1", Reply(200, data, {"Content-Type": OCI_MANIFEST}))

    assert connect(registry).resolve(APP, AMD64).digest == digest


def test_a_config_that_is_not_what_its_digest_says_is_refused(registry, connect):
    registry.add_image()
    config = next(data for data in registry.blobs.values() if b"architecture" in data)
    registry.blobs[digest_of(config)] = config.replace(b"amd64", b"arm64")

    with pytest.raises(DigestMismatchError, match="config of"):
        connect(registry).resolve(APP, AMD64)


@pytest.mark.parametrize("announced", [True, False])
def test_a_manifest_beyond_four_mebibytes_is_refused(registry, connect, announced):
    body = json.dumps({"schemaVersion": 2, "filling": "x" * (4 << 20)}).encode()
    registry.script("/manifests/v1", Reply(200, body, chunked=not announced))

    with pytest.raises(RegistryError, match="larger than 4 MiB"):
        connect(registry).resolve(APP, AMD64)


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, gzip"])
def test_a_manifest_that_was_packed_unasked_is_refused(registry, connect, encoding):
    body = gzip.compress(bytes(1 << 20))
    registry.script("/manifests/", Reply(200, body, {"Content-Encoding": encoding}))

    with pytest.raises(RegistryError, match=f"sent it as {encoding}, which it was not asked for"):
        connect(registry).resolve(APP, AMD64)


def test_more_layers_than_any_image_has_are_refused(registry, connect):
    registry.add_image(layers=(b"tiny",) * 1100)

    with pytest.raises(RegistryError, match="has 1100 layers, at most 1024 are supported"):
        connect(registry).resolve(APP, AMD64)


def test_an_index_that_holds_itself_is_refused(registry, connect):
    """No digest can hold itself, but a registry may answer any digest with the same index."""
    itself = {"mediaType": OCI_INDEX, "digest": "sha256:" + "0" * 64, "size": 9}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [itself]}
    registry.add_manifest("ns/app", "v1", index, OCI_INDEX)
    registry.script("/manifests/sha256:", Reply(200, json.dumps(index).encode()))

    with pytest.raises(RegistryError, match="is refused: the registry sent sha256:"):
        connect(registry).resolve(APP, AMD64)


def test_a_config_beyond_eight_mebibytes_is_not_even_asked_for(registry, connect):
    document = image_document(registry, (b"x",), {})
    document["config"]["size"] = 9 << 20
    registry.add_manifest("ns/app", "v1", document)

    with pytest.raises(RegistryError, match="larger than 8 MiB"):
        connect(registry).resolve(APP, AMD64)

    assert not registry.requests_for("/blobs/")


def test_an_image_whose_config_counts_other_layers_is_refused(registry, connect):
    registry.add_image(config={"rootfs": {"diff_ids": ["sha256:1", "sha256:2", "sha256:3"]}})

    with pytest.raises(RegistryError, match="2 layers, its config 3"):
        connect(registry).resolve(APP, AMD64)


def test_an_index_gives_the_image_for_the_platform(registry, connect):
    index = index_of(registry, ("linux/arm64/v8", {}), ("linux/amd64", {}))
    registry.add_manifest("ns/app", "v1", index, OCI_INDEX)

    image = connect(registry).resolve(APP, AMD64)

    assert image.digest == index["manifests"][1]["digest"]
    assert image.media_type == OCI_MANIFEST


def test_a_platform_that_is_missing_is_answered_with_those_there_are(registry, connect):
    index = index_of(registry, ("linux/arm64/v8", {}), ("windows/amd64", {}))
    registry.add_manifest("ns/app", "v1", index, OCI_INDEX)

    with pytest.raises(
        ManifestNotFoundError,
        match=r"no image for linux/amd64: there is linux/arm64/v8, windows/amd64",
    ):
        connect(registry).resolve(APP, AMD64)


def test_an_index_in_an_index_is_followed(registry, connect):
    inner = index_of(registry, ("linux/amd64", {}))
    digest = registry.add_manifest("ns/app", "inner", inner, OCI_INDEX)
    entry = {"mediaType": OCI_INDEX, "digest": digest, "size": len(json.dumps(inner))}
    outer = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    registry.add_manifest("ns/app", "v1", outer, OCI_INDEX)

    image = connect(registry).resolve(APP, AMD64)

    assert image.digest == inner["manifests"][0]["digest"]


def test_indexes_nested_deeper_are_refused(registry, connect):
    document = index_of(registry, ("linux/amd64", {}))
    for depth in range(3):
        digest = registry.add_manifest("ns/app", f"depth{depth}", document, OCI_INDEX)
        entry = {"mediaType": OCI_INDEX, "digest": digest, "size": len(json.dumps(document))}
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    registry.add_manifest("ns/app", "v1", document, OCI_INDEX)

    with pytest.raises(RegistryError, match="nested deeper than 2"):
        connect(registry).resolve(APP, AMD64)

    assert len(registry.requests) == 3


def test_an_entry_of_another_size_than_its_index_says_is_refused(registry, connect):
    index = index_of(registry, ("linux/amd64", {"size": 3}))
    registry.add_manifest("ns/app", "v1", index, OCI_INDEX)

    with pytest.raises(DigestMismatchError, match="of 3 bytes"):
        connect(registry).resolve(APP, AMD64)


def test_an_index_that_is_also_a_manifest_is_refused(registry, connect):
    registry.add_image(manifests=[])

    with pytest.raises(RegistryError, match="an index and a manifest at once"):
        connect(registry).resolve(APP, AMD64)


def test_a_manifest_sent_as_something_else_is_refused(registry, connect):
    registry.add_image()
    registry.manifests["ns/app", "v1"] = (OCI_INDEX, registry.manifests["ns/app", "v1"][1])

    with pytest.raises(RegistryError, match="but was sent as"):
        connect(registry).resolve(APP, AMD64)


def test_the_kind_of_document_may_be_told_by_its_field_alone(registry, connect):
    digest = registry.add_image()
    data = registry.manifests["ns/app", "v1"][1]
    registry.manifests["ns/app", "v1"] = ("text/plain; charset=utf-8", data)

    assert connect(registry).resolve(APP, AMD64).digest == digest


def test_a_foreign_layer_is_refused(registry, connect):
    document = image_document(registry, (b"x",), {})
    document["layers"][0]["urls"] = ["https://elsewhere.example/layer"]
    registry.add_manifest("ns/app", "v1", document)

    with pytest.raises(UnsupportedMediaTypeError, match="foreign layer"):
        connect(registry).resolve(APP, AMD64)


def test_what_is_no_container_image_is_refused_by_its_media_type(registry, connect):
    document = image_document(registry, (b"x",), {})
    document["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
    registry.add_manifest("ns/app", "v1", document)

    with pytest.raises(UnsupportedMediaTypeError, match=r"no container image but .*helm"):
        connect(registry).resolve(APP, AMD64)


def test_an_unknown_image_is_answered_in_full(registry, connect):
    with pytest.raises(
        ManifestNotFoundError,
        match=(
            rf"there is no 127.0.0.1:{registry.port}/ns/app:v1 \(HTTP 404, MANIFEST_UNKNOWN: fake "
            r"manifest_unknown\): check the name and the tag"
        ),
    ):
        connect(registry).resolve(APP, AMD64)


@pytest.mark.parametrize(
    ("status", "end"), [(502, "the registry failed, try again later"), (418, "the registry failed")]
)
def test_a_failure_of_the_registry_says_what_to_do(registry, connect, status, end):
    registry.script("/manifests/", *(Reply(status) for _ in range(20)))

    with pytest.raises(RegistryError) as caught:
        connect(registry).resolve(APP, AMD64)

    assert str(caught.value).endswith(f"(HTTP {status}): {end}")


def test_words_of_a_registry_are_cleaned_and_capped(registry, connect):
    message = "evil\x1b[31m\u202e\r\n" + "x" * 5000
    body = json.dumps({"errors": [{"code": "DENIED", "message": message}]}).encode()
    registry.script("/manifests/", Reply(403, body))

    with pytest.raises(RegistryNotPermittedError) as caught:
        connect(registry).resolve(APP, AMD64)

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_a_refusal_says_how_to_log_in(tls_registry, connect):
    tls_registry.script("/manifests/", Reply(401))

    with pytest.raises(RegistryNotPermittedError, match="shifterimg login site"):
        connect(tls_registry).resolve(APP, AMD64)


def test_a_refusal_over_plain_http_says_that_logging_in_is_no_use(registry, connect):
    registry.script("/manifests/", Reply(401))

    with pytest.raises(RegistryNotPermittedError, match="configure the registry with an https URL"):
        connect(registry).resolve(APP, AMD64)


def test_an_image_of_schema1_is_resolved_with_sizes_from_its_registry(registry, connect):
    layers = [registry.add_blob(data) for data in (b"upper", b"low")]
    history = json.dumps({"os": "linux", "architecture": "amd64", "config": {"Env": ["A=1"]}})
    document = {
        "schemaVersion": 1,
        "fsLayers": [{"blobSum": digest} for digest in layers],
        "history": [{"v1Compatibility": history}] * 2,
    }
    digest = registry.add_manifest("ns/app", "v1", document, "application/json")

    image = connect(registry).resolve(APP, AMD64)

    assert (image.digest, image.config.env) == (digest, ("A=1",))
    assert [(layer.digest, layer.size) for layer in image.layers] == [
        (layers[1], 3),
        (layers[0], 5),
    ]


def test_an_html_page_in_place_of_a_manifest_is_said_to_be_no_json(registry, connect):
    registry.script("/manifests/", Reply(200, b"<html>log in", {"Content-Type": "text/html"}))

    with pytest.raises(RegistryError, match="no JSON that can be read"):
        connect(registry).resolve(APP, AMD64)


def test_a_registry_that_is_down_is_named(slept):
    with (
        RegistryClient(Endpoint("http://127.0.0.1:1"), attempts=2, sleep=slept.append) as client,
        pytest.raises(RegistryError, match=r"127.0.0.1:1 cannot be reached: connection refused"),
    ):
        client.resolve(APP, AMD64)

    assert len(slept) == 1


def test_a_certificate_that_is_not_trusted_is_said_at_once(tls_registry, slept):
    endpoint = Endpoint(tls_registry.url)

    with (
        RegistryClient(endpoint, sleep=slept.append) as client,
        pytest.raises(RegistryError, match="certificate is not trusted"),
    ):
        client.resolve(APP, AMD64)

    assert slept == []


def test_a_missing_ca_file_is_named(tmp_path):
    with pytest.raises(RegistryError, match="CA file .*/absent.pem .* is not there"):
        RegistryClient(Endpoint("https://registry.example", tmp_path / "absent.pem"))
