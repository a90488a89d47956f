# SPDX-License-Identifier: BSD-3-Clause
"""Nobody imports what they could not read themselves, the gateway's own files least of all."""

from __future__ import annotations

import os
import struct

import pytest

from tests.integration.importers.conftest import ACCOUNT, ALICE, BOB, failure
from tests.integration.importers.trees import make_tree, pack

pytestmark = [pytest.mark.munge, pytest.mark.root]


@pytest.fixture
def gateway(any_gateway):
    return any_gateway


@pytest.fixture
def private_image(gateway, home, imported):
    """An image that the gateway keeps for Bob alone."""
    root = home(BOB) / "root"
    root.mkdir()
    (root / "secret").write_text("of Bob")
    return imported(gateway, root, "bobs:1", "--user", str(BOB), by=BOB)


@pytest.fixture
def private_image_of_bob(account_gateway, home, imported):
    """The same of the gateway that has an account."""
    root = home(BOB) / "root"
    root.mkdir()
    (root / "secret").write_text("of Bob's account")
    return imported(account_gateway, root, "bobs:2", "--user", str(BOB), by=BOB)


@pytest.mark.parametrize("file_format", ["auto", "squashfs"])
def test_private_images_of_the_gateway_are_nobodys_to_import(ask, private_image, file_format):
    assert private_image.is_file()

    reason = failure(ask(private_image, file_format))

    assert "no permission" in reason or "the gateway has to see that you may read it" in reason


def test_the_image_directory_is_no_tree_to_import(ask, private_image):
    failure(ask(private_image.parent, "directory"))


def test_a_link_to_a_private_image_does_not_help(ask, private_image, home):
    link = home() / "link.squashfs"
    link.symlink_to(private_image)

    failure(ask(link))


def test_a_hard_link_to_a_private_image_does_not_help(ask, private_image, home):
    link = home() / "link.squashfs"
    os.link(private_image, link)

    failure(ask(link))


def test_a_tree_that_holds_a_private_file_is_refused_by_its_name(ask, private_image, home):
    root = home() / "root"
    root.mkdir()
    os.link(private_image, root / "stolen")

    assert "stolen" in failure(ask(root))


def test_a_link_in_a_tree_is_not_followed(ask, private_image, home):
    root = home() / "root"
    root.mkdir()
    (root / "link").symlink_to(private_image)

    assert ask(root)["status"] == "READY"


def test_files_of_others_are_refused(ask, home):
    root = home(BOB) / "root"
    root.mkdir()
    file = pack(root, home(BOB) / "own.squashfs")
    os.chown(file, BOB, BOB)
    file.chmod(0o600)

    failure(ask(file))


def test_a_readable_file_in_a_closed_directory_is_refused(ask, home, gateway):
    closed = home(BOB) / "closed"
    closed.mkdir()
    root = home(BOB) / "root"
    root.mkdir()
    pack(root, closed / "readable.squashfs")
    owner = gateway.image_dir.stat().st_uid  # so that the gateway itself gets in
    os.chown(closed, owner, owner)
    closed.chmod(0o700)

    failure(ask(closed / "readable.squashfs"))


def test_a_file_that_an_access_list_keeps_from_the_user_is_refused(ask, home):
    root = home(BOB) / "root"
    root.mkdir()
    file = pack(root, home(BOB) / "listed.squashfs")
    # user::rw-, user:ALICE:---, group::r--, mask::r--, other::r--
    entries = [(1, 6, -1), (2, 0, ALICE), (4, 4, -1), (16, 4, -1), (32, 4, -1)]
    packed = b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(file, "system.posix_acl_access", struct.pack("<I", 2) + packed)

    failure(ask(file))


def test_root_of_a_node_is_nobody_on_the_gateways_host(root_gateway, ask_of, home):
    file = home() / "of_root"
    file.write_text("secret")
    file.chmod(0o600)

    assert "no permission" in failure(ask_of(root_gateway, file, by=0))


def test_root_may_import_as_root_where_the_site_names_it(run_gateway, ask_of, home):
    root = home() / "root"
    root.mkdir(mode=0o700)
    with run_gateway(account=0, ImportUsers=["root"]) as gateway:
        assert ask_of(gateway, root, by=0)["status"] == "READY"


def test_the_gateways_account_of_a_node_has_none_of_the_gateways_files(
    account_gateway, ask_of, private_image_of_bob
):
    for path in (private_image_of_bob, account_gateway.directory):
        failure(ask_of(account_gateway, path, by=ACCOUNT))


def test_accounts_of_the_system_are_nobody_on_the_gateways_host(root_gateway, ask_of, home):
    root = home() / "root"
    root.mkdir()
    for path, uid in ((root, 999), (home(), 999)):
        os.chown(path, uid, uid)
    root.chmod(0o700)

    assert "no permission" in failure(ask_of(root_gateway, root, by=999))


BECOMING = "+setuid,+setgid"


def capable(capabilities):
    return ["--inh-caps", capabilities, "--ambient-caps", capabilities]


def test_an_account_with_two_capabilities_becomes_the_user(run_gateway, ask_of, home):
    root = home() / "root"
    root.mkdir()
    (root / "own").write_text("x")
    for path in (root, root / "own"):
        os.chown(path, ALICE, ALICE)
        path.chmod(0o700)
    with run_gateway(account=ACCOUNT, options=capable(BECOMING)) as gateway:
        assert ask_of(gateway, root)["status"] == "READY"
        assert "no permission" in failure(ask_of(gateway, root, by=BOB))


def test_an_account_with_further_capabilities_opens_nothing(run_gateway, ask_of, home):
    (home() / "f").write_text("x")
    with run_gateway(account=ACCOUNT, options=capable(f"{BECOMING},+dac_override")) as gateway:
        said = failure(ask_of(gateway, home() / "f"))

    assert "more capabilities than CAP_SETUID and CAP_SETGID" in said


def test_own_files_need_not_be_readable_for_others(root_gateway, shifterimg, home):
    root = make_tree(home() / "root", ALICE)
    file = pack(root, home() / "own.squashfs")
    os.chown(file, ALICE, ALICE)
    file.chmod(0o400)
    root.chmod(0o700)

    for path in (file, root):
        shifterimg(root_gateway, "import", path, "own:1")


def test_the_gateways_account_says_what_it_cannot_read(account_gateway, shifterimg, home):
    root = make_tree(home() / "root", ALICE)
    (root / "etc/none").chmod(0o600)

    result = shifterimg(account_gateway, "import", root, "closed:1", check=False)

    assert result.returncode == 1
    assert "'etc/none': Permission denied" in result.stderr
    assert os.stat(root / "etc/none").st_uid == ALICE != ACCOUNT


@pytest.mark.parametrize(
    "path",
    ["/dev/zero", "/dev/null", "/proc/self/exe", "/proc/self/fd/0", "/proc/1/environ", "/proc",
     "/sys/kernel", "/proc/self/root/etc", "/proc/self/cwd"],
)  # fmt: skip
def test_what_is_no_stored_file_is_refused(ask, path):
    reason = failure(ask(path))

    assert "it is no file that is stored anywhere" in reason or "a device" in reason


def test_a_pipe_is_refused_at_once(ask, home):
    os.mkfifo(home() / "pipe", 0o644)

    assert "it is a pipe, a socket or a device, not a file" in failure(ask(home() / "pipe"))


def test_a_loop_of_links_ends(ask, home):
    (home() / "a").symlink_to("b")
    (home() / "b").symlink_to("a")

    assert "Too many levels of symbolic links" in failure(ask(home() / "a"))


def test_a_path_below_a_file_is_told(ask, home):
    (home() / "f").write_text("x")
    (home() / "f").chmod(0o755)

    assert "Not a directory" in failure(ask(home() / "f/g"))


def test_a_missing_file_is_told_with_the_host_where_it_was_looked_for(ask, home):
    assert "No such file or directory (on the gateway's host)" in failure(ask(home() / "none"))
