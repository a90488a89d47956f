# SPDX-License-Identifier: BSD-3-Clause
"""Pulls from a real registry through the real gateway, and every way in which they go wrong."""

from __future__ import annotations

import concurrent.futures
import datetime
import gzip
import ipaddress
import json
import os
import re
import socket
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

pytestmark = [pytest.mark.registry, pytest.mark.munge]

SYSTEM = "cluster"


def metadata_of(gateway, image):
    return (gateway.image_dir / f"{image.image_id}.meta").read_text()


def assert_failed(gateway, record, reason):
    """One clear sentence, and nothing half-published."""
    assert record["status"] == "FAILURE"
    assert re.search(reason, record["status_message"]), record["status_message"]
    assert "\n" not in record["status_message"]
    assert "Traceback" not in record["status_message"]
    assert gateway.partial_files() == []


@pytest.mark.root
def test_a_pulled_image_is_what_its_layers_make(gateway, make_layer, push_new, mounted):
    image = push_new(
        make_layer(
            ("etc", None),
            ("etc/release", b"one\n"),
            ("etc/gone", b"x"),
            ("bin", None),
            ("bin/tool", b"#!"),
            ("bin/same", "=bin/tool"),
            ("sh", "->bin/tool"),
            ("old", None),
            ("old/file", b"x"),
        ),
        make_layer(
            ("etc/release", b"two\n"),
            ("etc/.wh.gone", b""),
            ("old/.wh..wh..opq", b""),
            ("old/new", b"n"),
        ),
    )

    record = gateway.wait(image.reference)

    assert record["status"] == "READY"
    assert record["id"] == image.image_id
    seen = mounted(
        gateway.image_dir / f"{image.image_id}.squashfs",
        "find . -mindepth 1 | LC_ALL=C sort; cat etc/release; readlink sh; stat -c %h bin/same",
    )
    assert seen.split() == [
        "./bin", "./bin/same", "./bin/tool", "./etc", "./etc/release", "./old", "./old/new", "./sh",
        "two", "bin/tool", "2",
    ]  # fmt: skip


def test_what_an_image_asks_for_is_in_its_metadata_and_its_record(gateway, make_layer, push_new):
    config = {
        "Entrypoint": ["/entry"],
        "Cmd": ["a", "b c"],
        "Env": ["A=1", "B=x y"],
        "WorkingDir": "/work",
    }
    image = push_new(config=config)

    record = gateway.wait(image.reference)

    assert (record["ENTRY"], record["ENV"], record["WORKDIR"]) == (
        ["/entry"],
        ["A=1", "B=x y"],
        "/work",
    )
    assert metadata_of(gateway, image) == (
        "FORMAT: squashfs\nENTRY: ['/entry']\nCMD: ['a', 'b c']\nWORKDIR: /work\n"
        "ENV: A=1\nENV: B=x y\n"
    )


def test_access_lists_are_kept_as_asked_in_metadata_and_record(gateway, push_new):
    image = push_new()
    asked = json.dumps({"allowed_uids": "1234", "allowed_gids": "5678"})

    record = gateway.wait(image.reference, data=asked)

    assert set(record["userACL"]) == {1234, os.getuid()}
    assert record["groupACL"] == [5678]
    users = ",".join(map(str, record["userACL"]))
    assert f"USERACL: {users}\nGROUPACL: 5678\n" in metadata_of(gateway, image)


def test_a_pull_by_digest_gives_the_image_of_its_tag(gateway, push_new):
    image = push_new()
    name = image.name.partition(":")[0]

    record = gateway.wait(f"docker:{name}@{image.digest}")

    assert (record["status"], record["id"]) == ("READY", image.image_id)


def test_fifty_clients_of_one_image_make_one_conversion(gateway, push_new):
    image = push_new(size=3_000_000)

    with concurrent.futures.ThreadPoolExecutor(50) as clients:
        records = list(clients.map(gateway.wait, [image.reference] * 50))

    assert {record["id"] for record in records} == {image.image_id}
    assert gateway.log.count(f"pull started system={SYSTEM} image={image.reference} ") == 1


def test_two_tags_of_one_image_make_one_conversion(gateway, registry, make_layer):
    layers = [make_layer(("data", os.urandom(3_000_000)))]
    images = [registry.push(f"lib/twice:{tag}", layers) for tag in ("a", "b")]

    with concurrent.futures.ThreadPoolExecutor(2) as clients:
        records = list(clients.map(gateway.wait, [image.reference for image in images]))

    assert {record["id"] for record in records} == {images[0].image_id}
    assert gateway.log.count(f"layers flattened image={images[0].image_id} ") == 1
    ready = gateway.lookup(images[0].reference).json()
    assert sorted(ready["tag"]) == ["lib/twice:a", "lib/twice:b"]


def test_an_image_that_is_there_already_gets_new_metadata_only(gateway, push_new, registry):
    image = push_new()
    gateway.wait(image.reference)
    file = gateway.image_dir / f"{image.image_id}.squashfs"
    before = file.stat()
    asked = json.dumps({"allowed_uids": "4321"})
    name, _, _ = image.name.partition(":")

    record = gateway.wait(f"docker:{name}@{image.digest}", data=asked)

    assert record["status"] == "READY"
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_an_expired_image_is_gone_and_can_be_pulled_again(gateway, push_new, wait_for):
    image = push_new()
    gateway.wait(image.reference)
    tag = image.name.replace("/", "%2F").replace(":", "%3A")

    answer = gateway.request("GET", f"/api/expire/{SYSTEM}/docker/{tag}/")

    assert answer.json() == {"status": True}
    wait_for(lambda: not list(gateway.image_dir.glob(f"{image.image_id}.*")), what="the removal")
    assert gateway.lookup(image.reference).status_code == 404
    assert gateway.wait(image.reference)["status"] == "READY"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("docker:lib/none:1", r"there is no 127\.0\.0\.1:\d+/lib/none:1"),
        ("docker:nowhere:5000/lib/foo:1", "'nowhere:5000' is no configured location: .* default"),
        ("docker:quay.io/lib/foo:1", "there is no .*'quay.io' is no configured location"),
        ("docker:lib/UPPER:1", "'UPPER' is not allowed"),
    ],
)
def test_a_name_that_means_no_image_fails_with_its_reason(gateway, reference, reason):
    assert_failed(gateway, gateway.wait(reference), reason)


def test_an_unknown_tag_of_a_known_image_fails_with_its_reason(gateway, push_new):
    name = push_new().name.partition(":")[0]

    record = gateway.wait(f"docker:{name}:other")

    assert_failed(gateway, record, rf"there is no 127\.0\.0\.1:\d+/{name}:other")


def test_a_failed_pull_can_be_repeated_at_once(gateway, registry, make_layer):
    gateway.wait("docker:lib/late:1")
    image = registry.push("lib/late:1", [make_layer(("a", b"1"))])

    assert gateway.wait(image.reference)["status"] == "READY"


def test_a_registry_that_is_down_is_named(make_gateway):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        locations = {"default": {"remotetype": "dockerv2", "url": f"http://127.0.0.1:{port}"}}
        gateway = make_gateway(Locations=locations)

        record = gateway.wait("docker:lib/foo:1")

    assert_failed(gateway, record, f"127.0.0.1:{port}.*refused")


def test_a_layer_that_is_not_what_its_digest_says_is_refused(make_gateway, push_new, registry):
    image = push_new(size=50_000)
    blob = registry.blob_path(image.layer_digests[0])
    content = bytearray(blob.read_bytes())
    content[1000] ^= 1
    blob.write_bytes(content)
    gateway = make_gateway()

    record = gateway.wait(image.reference)

    assert_failed(gateway, record, image.layer_digests[0])
    assert list(gateway.image_dir.iterdir()) == []


def test_a_layer_that_is_cut_off_is_refused(make_gateway, push_new, registry):
    image = push_new(size=50_000)
    blob = registry.blob_path(image.layer_digests[0])
    os.truncate(blob, 20_000)
    gateway = make_gateway()

    record = gateway.wait(image.reference, seconds=60)

    assert_failed(gateway, record, image.layer_digests[0])


def test_a_layer_that_is_no_archive_is_refused(gateway, push_new, make_layer):
    image = push_new(gzip.compress(os.urandom(5000)))

    assert_failed(gateway, gateway.wait(image.reference), "layer")


def test_a_converter_that_fails_is_quoted(make_gateway, push_new, tmp_path):
    converter = tmp_path / "tar2sqfs"
    converter.write_text("#!/bin/sh\necho 'no such luck' >&2\nexit 3\n")
    converter.chmod(0o755)
    path = f"PATH={tmp_path}:{os.environ['PATH']}"
    gateway = make_gateway(prefix=["env", path])

    record = gateway.wait(push_new().reference)

    assert_failed(gateway, record, "^tar2sqfs failed with exit status 3: no such luck")
    assert list(gateway.image_dir.iterdir()) == []


@pytest.mark.root
@pytest.mark.parametrize("full", ["images", "cache"])
def test_a_full_disk_is_named_and_nothing_is_left(make_gateway, push_new, full):
    image = push_new(size=6_000_000)
    gateway = make_gateway(start=False)
    place = gateway.directory / full
    place.mkdir(exist_ok=True)
    # The mount is the gateway's alone: it ends with the gateway's namespace.
    mount = 'mount -t tmpfs -o size=4m none "$0" && exec "$@"'
    gateway.prefix = ["unshare", "--mount", "sh", "-c", mount, place]
    gateway.start()

    record = gateway.wait(image.reference)

    assert_failed(gateway, record, "(?i)no space left|full|free space")
    inside = f"/proc/{gateway.process.pid}/root{place}"
    left = [name for _, _, files in os.walk(inside) for name in files]
    assert not [name for name in left if name.endswith(".partial") and "squashfs" in name]


@pytest.mark.root
def test_after_a_full_disk_has_been_cleared_the_pull_works(make_gateway, push_new):
    image = push_new(size=6_000_000)
    gateway = make_gateway(start=False)
    mount = 'mount -t tmpfs -o size=4m none "$0" && exec "$@"'
    gateway.prefix = ["unshare", "--mount", "sh", "-c", mount, gateway.image_dir]
    gateway.start()
    gateway.wait(image.reference)

    subprocess.run(
        ["nsenter", f"--mount=/proc/{gateway.process.pid}/ns/mnt", "mount", "-o",
         "remount,size=40m", gateway.image_dir],
        check=True,
    )  # fmt: skip

    assert gateway.wait(image.reference)["status"] == "READY"


def test_a_missing_image_directory_is_named(make_gateway, push_new):
    image = push_new()
    gateway = make_gateway()
    gateway.image_dir.rmdir()

    record = gateway.wait(image.reference)

    assert record["status"] == "FAILURE"
    assert (
        f"{str(gateway.image_dir)!r}, the image directory of system 'cluster'"
        in (record["status_message"])
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    directory = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "registry")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (directory / "tls.crt").write_bytes(signed.public_bytes(pem))
    (directory / "tls.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return directory


@pytest.fixture(scope="module")
def closed_registry(certificate, run_registry, tmp_path_factory):
    """A registry over TLS that wants alice's password."""
    directory = tmp_path_factory.mktemp("closed")
    users = subprocess.run(
        ["htpasswd", "-Bbn", "alice", "s3cret:with:colons"], check=True, capture_output=True
    ).stdout
    (directory / "htpasswd").write_bytes(users)
    settings = {
        "auth": {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}},
        "http": {
            "tls": {
                "certificate": str(certificate / "tls.crt"),
                "key": str(certificate / "tls.key"),
            }
        },
    }
    with run_registry(
        directory,
        settings,
        verify=str(certificate / "tls.crt"),
        login=("alice", "s3cret:with:colons"),
    ) as running:
        yield running


@pytest.fixture
def closed_gateway(make_gateway, closed_registry, certificate):
    location = {
        "remotetype": "dockerv2",
        "url": closed_registry.url,
        "sslcacert": str(certificate / "tls.crt"),
        "authMethod": "basic",
    }
    return make_gateway(Locations={"default": location})


def logins(**users):
    return json.dumps({"authorized_locations": users}).encode()


def test_a_private_image_is_for_who_can_log_in_and_only_for_them(
    closed_gateway, closed_registry, make_layer
):
    image = closed_registry.push("lib/private:1", [make_layer(("a", b"1"))])

    record = closed_gateway.wait(
        image.reference, payload=logins(default="alice:s3cret:with:colons")
    )

    assert record["status"] == "READY"
    assert f"USERACL: {os.getuid()}\n" in metadata_of(closed_gateway, image)


@pytest.mark.parametrize("login", [{}, {"default": "alice:wr0ng"}, {"other": "alice:s3cret"}])
def test_a_private_image_is_refused_without_the_right_password(
    closed_gateway, closed_registry, make_layer, login
):
    image = closed_registry.push("lib/private:1", [make_layer(("a", b"1"))])

    record = closed_gateway.wait(image.reference, payload=logins(**login))

    assert_failed(closed_gateway, record, "no permission to read .*lib/private:1")


def test_passwords_are_in_no_log_and_no_file(closed_gateway, closed_registry, make_layer):
    image = closed_registry.push("lib/private:2", [make_layer(("a", b"2"))])
    for password in ("s3cret:with:colons", "wr0ng-one"):
        closed_gateway.wait(image.reference, payload=logins(default=f"alice:{password}"))

    for path in closed_gateway.directory.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"s3cret" not in content, path
            assert b"wr0ng-one" not in content, path
