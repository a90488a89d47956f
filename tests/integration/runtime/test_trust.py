# SPDX-License-Identifier: BSD-3-Clause
"""Root relies on no file that somebody else can change."""

from __future__ import annotations

import os

import pytest

from tests.integration.runtime.node import ALICE, BOB, IMAGE_ID, PROJECT

pytestmark = pytest.mark.root


def refusal(node, *words, **options) -> str:
    done = node.run(*(words or ("true",)), **options)
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("shifter: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_configuration_that_others_can_write_is_refused(node):
    node.config.chmod(0o666)
    try:
        assert "is writable by others than root (mode 0666)" in refusal(node)
    finally:
        node.config.chmod(0o644)


def test_a_configuration_of_somebody_elses_is_refused(node):
    os.chown(node.config, ALICE, 0)
    try:
        assert f"belongs to user {ALICE}, not to root" in refusal(node)
    finally:
        os.chown(node.config, 0, 0)


def test_a_configuration_in_a_directory_that_others_can_write_is_refused(node):
    node.config.parent.chmod(0o777)
    try:
        assert "'etc' on the way to it is writable by others" in refusal(node)
    finally:
        node.config.parent.chmod(0o755)


def test_a_configuration_that_is_a_pipe_keeps_nobody_waiting(node):
    node.config.unlink()
    os.mkfifo(node.config)
    try:
        assert "is not a regular file" in refusal(node)
    finally:
        node.config.unlink()


def test_a_configuration_that_is_a_link_to_a_file_of_a_users_is_refused(node):
    mine = node.shared / str(ALICE) / "udiRoot.conf"
    node.config.rename(mine)
    node.config.symlink_to(mine)
    try:
        assert "on the way to it belongs to user" in refusal(node)
    finally:
        node.config.unlink()


def test_a_configuration_that_is_a_directory_is_refused(node):
    node.config.unlink()
    node.config.mkdir()
    try:
        assert "is not a regular file" in refusal(node)
    finally:
        node.config.rmdir()


def test_a_huge_configuration_is_refused(node):
    os.truncate(node.config, 1 << 30)

    assert "at most 16777216 bytes are read" in refusal(node)


def test_a_missing_configuration_is_named(node):
    node.config.unlink()

    assert f"cannot open {node.config}: No such file or directory" in refusal(node)


def test_a_wrong_value_names_line_and_key(node):
    node.configure(maxGroupCount="many")

    assert "maxGroupCount must be a number, not 'many'" in refusal(node)


@pytest.mark.parametrize(
    "image_id",
    ["../" + "a" * 61, "x" * 64, "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", "$(id)", "a/b"],
)
def test_only_a_sha256_is_an_image_id(node, image_id):
    message = refusal(node, image=f"id:{image_id}") if "\n" not in image_id else ""

    done = node.run("true", image=f"id:{image_id}")
    assert done.returncode == 1
    assert "no image" in (message or done.stderr)


def test_an_image_that_is_not_there_is_named(node):
    message = refusal(node, image=f"id:{'b' * 64}")

    assert "cannot find requested image" in message
    assert f"{node.images}/{'b' * 64}.meta does not exist" in message


def test_an_image_that_a_user_wrote_is_never_mounted(node):
    os.chown(node.images / f"{IMAGE_ID}.squashfs", ALICE, ALICE)

    assert f"belongs to user {ALICE}, who does not write images here" in refusal(node)


def test_the_gateways_account_may_write_images(node):
    os.chown(node.images / f"{IMAGE_ID}.squashfs", BOB, BOB)
    assert "does not write images here" in refusal(node)

    for owner in ("bob", BOB):
        node.configure(imageOwners=owner)
        assert node.run("true").returncode == 0


def test_the_owner_of_the_image_directory_may_write_images(node):
    os.chown(node.images, BOB, BOB)
    os.chown(node.images / f"{IMAGE_ID}.squashfs", BOB, BOB)
    try:
        assert node.run("true").returncode == 0
    finally:
        os.chown(node.images, 0, 0)


@pytest.mark.parametrize("name", [f"{IMAGE_ID}.squashfs", f"{IMAGE_ID}.meta"])
def test_an_image_that_others_can_write_is_refused(node, name):
    (node.images / name).chmod(0o666)

    assert "is writable by others (mode 0666)" in refusal(node)


@pytest.mark.parametrize("name", [f"{IMAGE_ID}.squashfs", f"{IMAGE_ID}.meta"])
def test_no_link_is_followed_to_an_image(node, name):
    (node.images / name).rename(node.images / "elsewhere")
    (node.images / name).symlink_to("elsewhere")

    assert "Too many levels of symbolic links" in refusal(node)


def test_an_image_directory_that_everybody_can_write_is_refused(node):
    node.images.chmod(0o1777)
    try:
        assert "is writable by everybody" in refusal(node)
    finally:
        node.images.chmod(0o755)


def test_a_file_that_is_no_filesystem_fails_in_words(node):
    (node.images / f"{IMAGE_ID}.squashfs").write_bytes(os.urandom(100_000))

    assert "cannot mount" in refusal(node)


def test_a_truncated_image_fails_in_words(node):
    image = node.images / f"{IMAGE_ID}.squashfs"
    os.truncate(image, image.stat().st_size // 2)

    assert "cannot mount" in refusal(node)


def test_the_access_list_names_who_may_use_an_image(node):
    node.add_image(meta=f"USERACL: {BOB}\nGROUPACL: {PROJECT}\n")

    assert "permission denied to image" in refusal(node)
    assert node.run("true", user=BOB).returncode == 0
    assert node.run("true", groups=(PROJECT,)).returncode == 0


def test_an_empty_access_list_lets_nobody_in(node):
    node.add_image(meta="USERACL:\n")

    assert "permission denied to image" in refusal(node)


def test_metadata_that_cannot_be_read_closes_the_image(node):
    node.add_image(meta="USERACL: everybody\n")

    assert node.run("true").returncode == 1


def test_metadata_too_large_to_be_read_whole_closes_the_image(node):
    # The access list would be in the half that is not read.
    node.add_image(meta=f"WORKDIR: /{'x' * (16 << 20)}\nUSERACL: {BOB}\n")

    assert ".meta is too large" in refusal(node)


def test_only_a_line_end_ends_a_line_of_passwd(node):
    # Else who may change his full name could say who owns which name.
    passwd = node.prefix / "etc/files/passwd"
    usual = passwd.read_text()
    passwd.write_text(f"eve:x:61009:61009:\u2028bob:x:{ALICE}:{ALICE}::/:/bin/sh\n{usual}")
    os.chown(node.images / f"{IMAGE_ID}.squashfs", ALICE, ALICE)
    node.configure(imageOwners="bob")
    try:
        assert f"belongs to user {ALICE}, who does not write images here" in refusal(node)
    finally:
        passwd.write_text(usual)
