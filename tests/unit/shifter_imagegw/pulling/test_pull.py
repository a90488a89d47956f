# SPDX-License-Identifier: BSD-3-Clause
"""The decisions of a pull; what it does to a real image is tested in tests/integration/gateway."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from shifter_common.metadata import ImageMetadata
from shifter_imagegw.config import GatewayConfig
from shifter_imagegw.delivery.local import LocalDelivery
from shifter_imagegw.errors import DeliveryError, LeaseLostError, PullError
from shifter_imagegw.pulling import pull, registry_origin
from shifter_imagegw.pulling.lease import Lease
from shifter_imagegw.records import NewPull, PullState
from shifter_imagegw.registry import (
    BlobCache,
    Credentials,
    Descriptor,
    ImageConfig,
    ManifestNotFoundError,
    Platform,
    RegistryError,
    ResolvedImage,
)

IMAGE_ID = "ab" * 32
IMAGE = b"hsqs" + bytes(36) + (48).to_bytes(8, "little")  # a superblock, as far as it is looked at
LAYER = Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "sha256:" + "c" * 64, 512)
WORKER = "node1:4711:99"
PULLER = 1234


class Registry:
    """Stands in for a registry's client: knows one image, and remembers what it was asked."""

    def __init__(self, *, private=False, limited=False, missing=False, hides_layers=False):
        self.private = private
        self.hides_layers = hides_layers  # of the image, as if only its manifest were known
        self.limited = limited  # it was asked too often to say whether it is
        self.missing = missing

    def __call__(self, endpoint, credentials, **_options):
        self.endpoint, self.credentials = endpoint, credentials
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass

    def resolve(self, name, platform):
        self.name, self.platform = str(name), platform
        if self.missing:
            raise ManifestNotFoundError(f"there is no {name}: check the name and the tag")
        return ResolvedImage(
            repository=name.repository,
            digest=f"sha256:{IMAGE_ID}",
            media_type="application/vnd.oci.image.manifest.v1+json",
            config=ImageConfig(
                os="linux",
                architecture="arm64",
                env=("A=1",),
                entrypoint=("/entry",),
                command=("x",),
                workdir="/w",
                labels={"k": "v"},
            ),
            layers=(LAYER,),
            used_credentials=self.private,
            was_limited=self.limited,
        )

    def require_blob(self, repository, digest):
        assert digest == LAYER.digest
        if self.hides_layers:
            raise RegistryError(f"there is no blob {digest}")


@pytest.fixture
def image_dir(tmp_path):
    directory = tmp_path / "images"
    directory.mkdir()
    return directory


@pytest.fixture
def delivered(image_dir):
    """The image is on the system already, so that nothing is fetched."""
    (image_dir / f"{IMAGE_ID}.squashfs").write_bytes(IMAGE)
    (image_dir / f"{IMAGE_ID}.meta").write_text("FORMAT: squashfs\n")
    return image_dir


@pytest.fixture
def run_pull(catalog, image_dir, tmp_path, monkeypatch):
    """Run a pull against a `Registry`; the record that it publishes."""

    def run(
        registry,
        tag="lib/foo:1",
        *,
        logins=None,
        platform=None,
        delivery=LocalDelivery,
        environment=None,
        **request,
    ):
        monkeypatch.setattr(registry_origin, "RegistryClient", registry)
        system = {"accesstype": "local", "local": {"imageDir": str(image_dir)}}
        config = GatewayConfig.from_mapping(
            {
                "DefaultImageLocation": "default",
                "DefaultImageFormat": "squashfs",
                "CacheDirectory": str(tmp_path / "cache"),
                "Authentication": "mock",
                "Locations": {
                    "default": {"remotetype": "dockerv2", "url": "https://default.example"},
                    "other": {"remotetype": "dockerv2", "url": "https://other.example"},
                },
                "Platforms": {"cori": system | ({"platform": platform} if platform else {})},
            }
        )
        wanted = {"format": "squashfs", "puller": PULLER} | request
        catalog.add_pull(NewPull(system="cori", image_type="docker", pull_tag=tag, **wanted), 1.0)
        claim = catalog.claim(["cori"], WORKER, timedelta(hours=1), now=1.0)
        with Lease(catalog, claim) as lease:
            return pull.Pull(
                lease,
                logins or {},
                worker=WORKER,
                config=config,
                catalog=catalog,
                delivery=delivery("cori", image_dir),
                cache=BlobCache(tmp_path / "cache"),
                environment=environment or {},
            ).run()

    return run


def metadata_in(directory):
    return ImageMetadata.parse((directory / f"{IMAGE_ID}.meta").read_text())


def test_the_record_says_what_the_image_says(run_pull, delivered):
    record = run_pull(Registry())

    assert record.state == PullState.READY
    assert (record.image_id, record.tags, record.size) == (IMAGE_ID, ("lib/foo:1",), len(IMAGE))
    assert (record.os, record.architecture) == ("linux", "arm64")
    assert (record.env, record.entry, record.command) == (("A=1",), ("/entry",), ("x",))
    assert (record.workdir, record.labels) == ("/w", {"k": "v"})
    assert record.expiration > record.last_pull


def test_an_image_that_is_here_is_not_given_to_whom_the_registry_hides_its_layers(
    run_pull, delivered, catalog
):
    run_pull(Registry(private=True), user_acl=(7,))

    with pytest.raises(RegistryError, match="there is no blob"):
        run_pull(Registry(hides_layers=True), "mine/foo:1", puller=PULLER + 1)

    assert catalog.find_ready_id("cori", IMAGE_ID, "squashfs").user_acl == (7,)


def test_the_metadata_says_what_the_image_says(run_pull, delivered):
    run_pull(Registry())

    metadata = metadata_in(delivered)
    assert (metadata.format, metadata.env, metadata.workdir) == ("squashfs", ["A=1"], "/w")
    assert (metadata.entry, metadata.command) == (["/entry"], ["x"])
    assert (metadata.user_acl, metadata.group_acl) == (None, None)


def test_an_image_gets_no_end_of_names(run_pull, delivered, monkeypatch):
    monkeypatch.setattr(pull, "_MOST_NAMES", 2)
    for tag in ("lib/foo:1", "lib/foo:2"):
        run_pull(Registry(), tag)

    with pytest.raises(PullError, match="it has 2 on cori, the first of them 'lib/foo:1'"):
        run_pull(Registry(), "lib/foo:3")

    assert run_pull(Registry(), "lib/foo:2").tags == ("lib/foo:1", "lib/foo:2")


def test_a_limit_of_requests_makes_no_public_image_private(run_pull, delivered):
    run_pull(Registry(), puller=1)

    record = run_pull(Registry(private=True, limited=True), puller=2)

    assert (record.private, record.user_acl) == (False, ())
    assert "ACL" not in (delivered / f"{IMAGE_ID}.meta").read_text()


def test_an_image_of_which_nothing_is_known_counts_as_private(run_pull, delivered):
    record = run_pull(Registry(private=True, limited=True))

    assert (record.private, record.user_acl) == (True, (PULLER,))


def test_a_limit_of_requests_opens_no_private_image(run_pull, delivered):
    run_pull(Registry(private=True), puller=1)

    record = run_pull(Registry(private=True, limited=True), puller=2)

    assert (record.private, record.user_acl) == (True, (1, 2))


def test_a_private_image_without_lists_is_for_its_puller_alone(run_pull, delivered):
    record = run_pull(Registry(private=True))

    assert metadata_in(delivered).user_acl == [PULLER]
    assert metadata_in(delivered).group_acl is None
    assert (record.private, record.user_acl) == (True, (PULLER,))


def test_lists_are_in_the_metadata_as_asked(run_pull, delivered):
    run_pull(Registry(), user_acl=(5, PULLER), group_acl=(7,))

    metadata = metadata_in(delivered)
    assert (metadata.user_acl, metadata.group_acl) == ([5, PULLER], [7])


def test_metadata_and_record_agree_on_who_may_read_after_a_second_puller(run_pull, delivered):
    run_pull(Registry(private=True), puller=1)

    record = run_pull(Registry(private=True), puller=2)

    assert metadata_in(delivered).user_acl == list(record.user_acl) == [1, 2]


def test_the_record_keeps_the_digest_of_the_manifest(run_pull, delivered):
    assert run_pull(Registry()).digest == f"sha256:{IMAGE_ID}"


def test_a_site_may_keep_access_lists_out_of_the_metadata(run_pull, delivered):
    record = run_pull(
        Registry(private=True), user_acl=(5,), environment={"DISABLE_ACL_METADATA": "1"}
    )

    assert metadata_in(delivered).user_acl is None
    assert record.user_acl == (5,)


def test_that_access_lists_are_kept_out_is_said_when_a_worker_starts(caplog):
    pull.warn_of({"DISABLE_ACL_METADATA": "1"})

    assert "may run it" in caplog.text


def test_a_name_is_indexed_when_the_image_is_there_and_before_it_is_ready(
    run_pull, delivered, catalog
):
    indexed = []

    class Indexing(LocalDelivery):
        def index(self, *name):
            ready = catalog.find_ready("cori", "docker", "lib/foo:1")
            indexed.append((name, self.is_delivered(IMAGE_ID, "squashfs"), ready))

    run_pull(Registry(), delivery=Indexing)

    assert indexed[0] == (("docker", "lib/foo:1", IMAGE_ID), True, None)


def test_who_comes_late_leaves_the_name_to_the_image_that_the_catalog_says(
    run_pull, delivered, catalog, image_with
):
    """It stood still for longer than its lease, while another worker did its job."""
    theirs = "cd" * 32

    class Late(LocalDelivery):
        def index(self, image_type, tag, image_id):
            if catalog.find_ready("cori", image_type, tag) is None:
                catalog.release([WORKER])
                successor = catalog.claim(
                    ["cori"], "node2:1:1", timedelta(hours=1), now=time.time()
                )
                catalog.publish(successor, image_with(image_id=theirs), time.time())
            super().index(image_type, tag, image_id)

    with pytest.raises(LeaseLostError):
        run_pull(Registry(), delivery=Late)

    (entry,) = LocalDelivery("cori", delivered).indexed()
    assert entry.image_id == theirs


def test_a_name_that_could_not_be_published_means_no_image(run_pull, delivered, catalog):
    class Unlucky(LocalDelivery):
        def deliver_metadata(self, *_arguments, **_options):
            raise DeliveryError("no space left")

    with pytest.raises(DeliveryError, match="no space left"):
        run_pull(Registry(), delivery=Unlucky)

    assert LocalDelivery("cori", delivered).indexed() == []


def test_who_had_the_image_before_can_deliver_nothing_any_more(run_pull, delivered, catalog):
    begun = delivered / f".{IMAGE_ID}.squashfs.node2:1:1.partial"
    begun.touch()

    run_pull(Registry())

    assert not begun.exists()


def test_a_pull_waits_while_another_job_has_its_image(run_pull, delivered, catalog):
    name = {"system": "cori", "image_type": "docker", "format": "squashfs"}
    catalog.add_pull(NewPull(pull_tag="other:1", **name), 1.0)
    other = catalog.claim(["cori"], "node2:1:1", timedelta(hours=1), now=time.time())
    assert catalog.hold(other, IMAGE_ID, time.time())
    seen = []

    class Watched(LocalDelivery):
        def is_delivered(self, *image):
            seen.append(catalog.find_pull("cori", "docker", "lib/foo:1").status_message)
            return super().is_delivered(*image)

    def end_other_job():
        waiting = "Waiting for another pull of the same image"
        while catalog.find_pull("cori", "docker", "lib/foo:1").status_message != waiting:
            assert not seen
            time.sleep(0.01)
        catalog.fail(other, "it is over")

    class Slow(Registry):
        def resolve(self, name, platform):
            ending.start()
            return super().resolve(name, platform)

    ending = threading.Thread(target=end_other_job)
    record = run_pull(Slow(), delivery=Watched)
    ending.join()

    assert record.state == PullState.READY
    assert seen == ["Waiting for another pull of the same image"]


def test_a_location_is_asked_without_its_prefix_and_the_tag_keeps_it(run_pull, delivered):
    registry = Registry()

    record = run_pull(registry, "other/lib/foo:1")

    assert registry.endpoint.url == "https://other.example"
    assert registry.name == "lib/foo:1"
    assert record.tags == ("other/lib/foo:1",)


@pytest.mark.parametrize(
    ("configured", "asked"), [(None, Platform.host()), ("linux/arm64", Platform("linux", "arm64"))]
)
def test_the_platform_is_the_systems_or_the_gateways_own(run_pull, delivered, configured, asked):
    registry = Registry()

    run_pull(registry, platform=configured)

    assert registry.platform == asked


@pytest.mark.parametrize(
    ("logins", "expected"),
    [
        ({}, None),
        ({"default": "ann:a"}, Credentials("ann", "a")),
        ({"default": "ann:a", "other": "bob:b:c:"}, Credentials("bob", "b:c:")),
        ({"elsewhere": "ann:a"}, None),
    ],
)
def test_a_locations_own_login_comes_before_the_default_one(run_pull, delivered, logins, expected):
    registry = Registry()

    run_pull(registry, "other/lib/foo:1", logins=logins)

    assert registry.credentials == expected


def test_a_missing_image_whose_name_looks_like_a_host_is_explained(run_pull, image_dir):
    with pytest.raises(PullError, match=r"there is no quay\.io/foo:1.*; 'quay\.io' is no configur"):
        run_pull(Registry(missing=True), "quay.io/foo:1")


def test_a_format_that_cannot_be_made_is_refused(run_pull, image_dir):
    with pytest.raises(PullError, match="cannot make images of format 'cramfs'"):
        run_pull(Registry(), format="cramfs")


def test_an_unusable_image_directory_is_found_before_anything_is_fetched(run_pull, image_dir):
    image_dir.rmdir()
    registry = Registry()

    with pytest.raises(DeliveryError, match="the image directory of system 'cori'"):
        run_pull(registry)

    assert not hasattr(registry, "name")


def test_a_pull_that_lost_its_lease_changes_no_metadata(run_pull, delivered, catalog):
    class Slow(Registry):
        def resolve(self, name, platform):
            catalog.release([WORKER])
            return super().resolve(name, platform)

    with pytest.raises(LeaseLostError):
        run_pull(Slow())

    assert (delivered / f"{IMAGE_ID}.meta").read_text() == "FORMAT: squashfs\n"


def test_a_pull_that_ended_is_counted_in_the_usage_history(catalog, run_pull, delivered):
    run_pull(Registry(private=True), logins={"default": "u:p"})

    (count,) = catalog.usage_counts("cori", "2000-01-01")
    assert (count.image, count.uid, count.pulls) == ("docker:lib/foo:1", PULLER, 1)
    assert count.restricted
