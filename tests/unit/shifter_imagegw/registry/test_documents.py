# SPDX-License-Identifier: BSD-3-Clause
"""Manifests, indexes and configs: what is read, and what is refused."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter_imagegw.registry import (
    ImageConfig,
    ManifestNotFoundError,
    Platform,
    RegistryError,
    UnsupportedMediaTypeError,
    document,
    media_types,
    schema1,
)
from shifter_imagegw.registry.manifest import Index, Manifest, kind_of
from tests.unit.shifter_imagegw.registry.fake_registry import digest_of

AMD64 = Platform("linux", "amd64")
CONFIG = {
    "mediaType": "application/vnd.oci.image.config.v1+json",
    "digest": digest_of(b"c"),
    "size": 1,
}
LAYER = {
    "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd",
    "digest": digest_of(b"l"),
    "size": 1,
}


def manifest_of(**changes):
    return {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER]} | changes


def entry_of(content, platform=None, **changes):
    entry = {"mediaType": media_types.OCI_MANIFEST, "digest": digest_of(content), "size": 1}
    if platform is not None:
        entry["platform"] = platform
    return entry | changes


def index_of(*entries):
    return {"schemaVersion": 2, "manifests": list(entries)}


# JSON


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff{}", b"[" * 200_000, b'{"a": ' * 100_000, b'{"a": "\\ud800"}', b"<html>"],
)
def test_what_is_no_json_is_refused(data):
    with pytest.raises(RegistryError, match="x is no JSON that can be read"):
        document.load(data, "x")


@pytest.mark.parametrize("data", [b'{"a":1,"a":1}', b'{"l":[{"b":{"a":1,"\\u0061":2}}]}'])
def test_a_key_that_is_there_twice_is_refused(data):
    with pytest.raises(RegistryError, match="x is refused: its key 'a' is there twice"):
        document.load(data, "x")


@pytest.mark.parametrize("part", [b"[]", b"{}", b'{"":0}', b"0"])
def test_json_of_more_parts_than_memory_is_for_is_refused_unread(part):
    with pytest.raises(RegistryError, match="x is refused: it has more than 200000 parts"):
        document.load(b'{"a": [' + b",".join([part] * 250_000) + b"]}", "x")


def test_a_whole_surrogate_pair_is_text():
    assert document.load(b'{"a": "\\ud83d\\ude00"}', "x") == {"a": "\N{GRINNING FACE}"}


def test_json_that_is_no_object_is_refused():
    with pytest.raises(RegistryError, match="no JSON object"):
        document.load(b"[1]", "x")


# What kind of document it is


@pytest.mark.parametrize(
    ("content", "content_type", "kind"),
    [
        (manifest_of(), media_types.OCI_MANIFEST, media_types.OCI_MANIFEST),
        (manifest_of(), media_types.DOCKER_MANIFEST, media_types.DOCKER_MANIFEST),
        (manifest_of(mediaType=media_types.DOCKER_MANIFEST), "", media_types.DOCKER_MANIFEST),
        (manifest_of(), "application/json", media_types.OCI_MANIFEST),
        (index_of(), "application/json", media_types.OCI_INDEX),
        (index_of(), media_types.DOCKER_INDEX, media_types.DOCKER_INDEX),
        ({"schemaVersion": 1, "fsLayers": []}, "text/plain", media_types.DOCKER_SIGNED_SCHEMA1),
    ],
)
def test_the_kind_of_a_document_is_what_its_sender_says_or_its_shape(content, content_type, kind):
    assert kind_of(content, content_type, "x") == kind


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (manifest_of(manifests=[]), media_types.OCI_MANIFEST),
        (manifest_of(manifests=[]), media_types.OCI_INDEX),
        (index_of() | {"config": CONFIG}, media_types.OCI_INDEX),
        (index_of() | {"layers": []}, media_types.OCI_INDEX),
        (manifest_of(fsLayers=[]), media_types.OCI_MANIFEST),
        (index_of(), media_types.OCI_MANIFEST),
        (manifest_of(), media_types.OCI_INDEX),
        (manifest_of(), media_types.DOCKER_SCHEMA1),
        (manifest_of(mediaType=media_types.OCI_MANIFEST), media_types.DOCKER_MANIFEST),
        (manifest_of(mediaType=media_types.OCI_INDEX), ""),
        (manifest_of(schemaVersion=3), media_types.OCI_MANIFEST),
    ],
)
def test_a_document_that_contradicts_itself_is_refused(content, content_type):
    with pytest.raises(RegistryError, match="x is refused"):
        kind_of(content, content_type, "x")


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        ({}, "application/json"),
        ({"mediaType": "application/vnd.oci.artifact.manifest.v1+json"}, ""),
    ],
)
def test_a_document_of_no_known_kind_is_no_image(content, content_type):
    with pytest.raises(UnsupportedMediaTypeError, match="x is no container image but"):
        kind_of(content, content_type, "x")


# Manifests


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": None},
        {"layers": []},
        {"layers": [None]},
        {"layers": [LAYER | {"digest": "sha256:../../etc"}]},
        {"layers": [LAYER | {"size": -1}]},
        {"layers": [LAYER | {"size": "1"}]},
        {"layers": [LAYER | {"size": True}]},
        {"layers": [LAYER | {"mediaType": "text/plain"}]},
        {"layers": [LAYER | {"mediaType": LAYER["mediaType"] + "+encrypted"}]},
        {"layers": [LAYER] * 1025},
        {"config": None},
        {"config": CONFIG | {"mediaType": "application/vnd.oci.empty.v1+json"}},
    ],
)
def test_a_manifest_that_makes_no_image_is_refused(changes):
    with pytest.raises(RegistryError, match="x"):
        Manifest.from_document(manifest_of(**changes), media_types.OCI_MANIFEST, "x")


@pytest.mark.parametrize("media_type", sorted(media_types.LAYERS))
def test_layers_of_each_known_type_are_taken(media_type):
    layer = LAYER | {"mediaType": media_type, "urls": []}

    manifest = Manifest.from_document(manifest_of(layers=[layer]), media_types.OCI_MANIFEST, "x")

    assert manifest.layers[0].media_type == media_type


# Indexes


def test_attestations_and_unknown_platforms_are_no_choice():
    unknown = {"os": "unknown", "architecture": "unknown"}
    attestation = {"vnd.docker.reference.type": "attestation-manifest"}
    content = index_of(
        entry_of(b"1", unknown),
        entry_of(b"2", None, annotations=attestation),
        entry_of(b"3", None, mediaType="application/vnd.example"),
    )

    with pytest.raises(ManifestNotFoundError, match="there is none at all"):
        Index.from_document(content, media_types.OCI_INDEX, "x").choose(AMD64, "x")


def test_an_entry_without_a_platform_counts_where_no_other_suits():
    silent, arm = entry_of(b"1"), entry_of(b"2", {"os": "linux", "architecture": "arm64"})
    index = Index.from_document(index_of(arm, silent), media_types.OCI_INDEX, "x")

    assert index.choose(AMD64, "x").digest == silent["digest"]
    assert index.choose(Platform("linux", "arm64"), "x").digest == arm["digest"]


def test_an_entry_without_a_platform_does_not_go_before_one_that_suits():
    baseline = entry_of(b"2", {"os": "linux", "architecture": "amd64"})
    index = Index.from_document(index_of(entry_of(b"1"), baseline), media_types.OCI_INDEX, "x")

    assert index.choose(Platform("linux", "amd64", "v3"), "x").digest == baseline["digest"]


def test_of_equals_the_first_entry_is_chosen():
    platform = {"os": "linux", "architecture": "amd64"}
    content = index_of(entry_of(b"1", platform), entry_of(b"2", platform))

    chosen = Index.from_document(content, media_types.OCI_INDEX, "x").choose(AMD64, "x")

    assert chosen.digest == digest_of(b"1")


@pytest.mark.parametrize("manifests", [None, {}, [None], [{}]])
def test_a_broken_index_is_refused(manifests):
    content = {"schemaVersion": 2, "manifests": manifests}

    with pytest.raises(RegistryError, match="broken"):
        Index.from_document(content, media_types.OCI_INDEX, "x")


# Configs


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"config": None},
        {"config": {"Env": None, "Entrypoint": None, "Cmd": None, "Labels": None}},
        {"config": {"Env": [], "Entrypoint": [], "Cmd": [], "WorkingDir": "", "User": ""}},
        {"config": [], "history": None, "rootfs": None},
        {"config": {"Env": 3, "Labels": [1], "WorkingDir": 7}, "history": [None]},
    ],
)
def test_a_config_may_leave_out_everything(content):
    assert ImageConfig.from_document(content) == ImageConfig()


def test_a_config_is_read_in_full():
    content = {
        "architecture": "arm64",
        "os": "linux",
        "variant": "v8",
        "created": "2026-01-01T00:00:00Z",
        "config": {
            "Env": ["A=1", "B=2=3"],
            "Entrypoint": ["/e", "x y"],
            "Cmd": ["c"],
            "WorkingDir": "/w",
            "User": "1000:1000",
            "Labels": {"a": "b", "broken": 3},
        },
        "history": [{"created_by": "RUN x", "empty_layer": True}],
        "rootfs": {"type": "layers", "diff_ids": ["sha256:1"]},
    }

    config = ImageConfig.from_document(content)

    assert (config.env, config.entrypoint, config.command) == (
        ("A=1", "B=2=3"),
        ("/e", "x y"),
        ("c",),
    )
    assert (config.workdir, config.user, config.labels) == ("/w", "1000:1000", {"a": "b"})
    assert (str(config.platform), config.created) == ("linux/arm64/v8", "2026-01-01T00:00:00Z")
    assert (config.history[0].created_by, config.history[0].empty_layer) == ("RUN x", True)
    assert config.diff_ids == ("sha256:1",)


def test_an_entrypoint_may_be_one_string():
    config = ImageConfig.from_document({"config": {"Entrypoint": "/bin/app", "Cmd": "-v"}})

    assert (config.entrypoint, config.command) == (("/bin/app",), ("-v",))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["config", "layers", "manifests", "digest", "size", "mediaType", "platform"]
                + ["Env", "Labels", "rootfs", "diff_ids", "history", "fsLayers", "urls"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["config", "layers", "manifests", "fsLayers"]), json_values))
def test_whatever_a_registry_sends_is_read_or_refused(content):
    content["schemaVersion"] = 2
    ImageConfig.from_document(content)
    for read in (
        lambda: kind_of(content, "", "x"),
        lambda: Manifest.from_document(content, media_types.OCI_MANIFEST, "x"),
        lambda: Index.from_document(content, media_types.OCI_INDEX, "x"),
        lambda: schema1.Schema1Manifest.from_document(content, "x"),
    ):
        try:
            read()
        except RegistryError as error:
            assert str(error)


# Schema 1


def schema1_of(*steps):
    """A schema 1 document of (layer, history) pairs, the newest first."""
    return {
        "schemaVersion": 1,
        "fsLayers": [{"blobSum": digest} for digest, _ in steps],
        "history": [{"v1Compatibility": json.dumps(history)} for _, history in steps],
    }


def signed(content: dict[str, object]) -> tuple[bytes, bytes]:
    """A document as it is sent, and the payload that its digest is over."""
    payload = json.dumps(content, indent=3).encode()
    head, tail = payload[:-2], payload[-2:]
    protected = {
        "formatLength": len(head),
        "formatTail": base64.urlsafe_b64encode(tail).decode().rstrip("="),
    }
    text = base64.urlsafe_b64encode(json.dumps(protected).encode()).decode().rstrip("=")
    signatures = json.dumps([{"protected": text, "signature": "x"}]).encode()
    return head + b',\n   "signatures": ' + signatures + tail, payload


NEW, OLD = digest_of(b"new"), digest_of(b"old")


def test_schema1_layers_are_turned_around_and_empty_ones_left_out():
    content = schema1_of(
        (NEW, {"config": {"Env": ["A=1"]}, "os": "linux", "architecture": "amd64"}),
        (digest_of(b"none"), {"throwaway": True}),
        (schema1.EMPTY_LAYER, {}),
        (OLD, {"config": {"Env": ["A=0"]}}),
    )

    manifest = schema1.Schema1Manifest.from_document(content, "x")

    assert manifest.layer_digests == (OLD, NEW)
    assert (manifest.config.env, manifest.config.platform) == (("A=1",), AMD64)


def test_the_payload_of_schema1_is_the_document_without_its_signatures():
    data, payload = signed(schema1_of((NEW, {})))

    assert schema1.payload(data, document.load(data, "x"), "x") == payload


def test_schema1_that_is_not_what_was_signed_is_refused():
    data, _ = signed(schema1_of((NEW, {})))
    other, _ = signed(schema1_of((OLD, {})))

    with pytest.raises(RegistryError, match="not the document that was signed"):
        schema1.payload(data, document.load(other, "x"), "x")


@pytest.mark.parametrize(
    "signatures", [["x"], [{}], [{"protected": "!"}], [{"protected": "e30"}], {"a": 1}]
)
def test_a_schema1_signature_that_cannot_be_read_is_refused(signatures):
    content = schema1_of((NEW, {})) | {"signatures": signatures}

    with pytest.raises(RegistryError, match="signature cannot be read"):
        schema1.payload(json.dumps(content).encode(), content, "x")


@pytest.mark.parametrize(
    "changes",
    [{"fsLayers": []}, {"history": []}, {"fsLayers": [{}]}, {"history": [{}]}, {"history": "x"}],
)
def test_broken_schema1_is_refused(changes):
    with pytest.raises(RegistryError, match="broken"):
        schema1.Schema1Manifest.from_document(schema1_of((NEW, {})) | changes, "x")


@pytest.mark.parametrize(
    ("key", "value"), [("Env", ["A=1", "B=\0"]), ("Entrypoint", "sh\0"), ("Cmd", ["\0"])]
)
def test_a_config_that_no_program_can_be_started_with_is_refused(key, value):
    with pytest.raises(RegistryError, match=f"{key} holds a NUL character"):
        ImageConfig.from_document({"config": {key: value}})


def test_a_size_beyond_all_disks_is_no_size():
    layer = {"mediaType": min(media_types.LAYERS), "digest": digest_of(b"l"), "size": 10**30}

    with pytest.raises(RegistryError, match="layer 1 of app:1 is broken: 1000.* is no size"):
        Manifest.from_document({"config": CONFIG, "layers": [layer]}, "manifest", "app:1")
