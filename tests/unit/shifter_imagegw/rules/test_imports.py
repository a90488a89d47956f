# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from shifter_common.reference import ImageReference
from shifter_imagegw.acl import Acl
from shifter_imagegw.errors import (
    BadRequestError,
    ImageNotFoundError,
    NameTakenError,
    NotPermittedError,
)
from shifter_imagegw.records import PullState
from shifter_imagegw.rules.auth import Caller
from shifter_imagegw.rules.imports import ImportSource

ALICE = Caller(uid=1001, gid=100, known_name="alice")
BOB = Caller(uid=1002, gid=100, known_name="bob")
ADMIN = Caller(uid=0, gid=0, known_name="root")
FILE = ImportSource(path="/home/alice/tool.sqsh", format="squashfs")
OTHER_FILE = ImportSource(path="/home/alice/tool2.sqsh", format="squashfs")
MINE = ImageReference("custom", "mine:1")
DOCKER = ImageReference("docker", "ubuntu:24.04")


@pytest.fixture
def gateway(gateway_with):
    return gateway_with(ImportUsers=["alice", "bob"])


def ask(gateway, caller=ALICE, reference=MINE, source=FILE, asked=None):
    return gateway.service.import_image(gateway.system, reference, caller, source, asked or Acl())


def lookup(gateway, caller=ALICE, reference=MINE):
    return gateway.service.lookup(gateway.system, reference, caller)


def pull(gateway, caller=ALICE, reference=MINE):
    return gateway.service.pull(gateway.system, reference, caller, Acl())


# Who may


@pytest.mark.parametrize(
    ("import_users", "may"),
    [
        ("all", {"alice", "bob", "root"}),
        (["alice"], {"alice"}),
        ("alice", {"alice"}),
        (["1002"], {"bob"}),
        ("None", set()),
        ("none", set()),
        ([], set()),
        (["ali"], set()),
    ],
)
def test_who_may_import(gateway_with, import_users, may):
    gateway = gateway_with(ImportUsers=import_users)

    found = set()
    for caller in (ALICE, BOB, ADMIN):
        reference = ImageReference("custom", f"of-{caller.name}:1")
        try:
            ask(gateway, caller, reference)
        except NotPermittedError as error:
            assert "ImportUsers" in str(error)
        else:
            found.add(caller.name)

    assert found == may


def test_nobody_may_import_where_the_site_says_nothing(gateway_with):
    with pytest.raises(NotPermittedError, match="you may not import images"):
        ask(gateway_with(), ADMIN)


# What is asked for


def test_an_import_waits_for_a_worker_with_all_that_it_needs(gateway):
    answer = ask(gateway, asked=Acl(users=(5,), groups=(7,)))

    record = gateway.claim().record
    assert (answer.state, answer.last_pull) == (PullState.INIT, None)
    assert (record.source_path, record.source_format) == (FILE.path, "squashfs")
    assert (record.user_acl, record.group_acl, record.puller) == ((5, 1001), (7,), 1001)
    assert gateway.nudged == ["mycluster"]


def test_a_tag_is_latest_where_none_is_given(gateway):
    ask(gateway, reference=ImageReference("custom", "mine"))
    gateway.work()

    assert lookup(gateway, reference=ImageReference("custom", "mine")).tags == ("mine:latest",)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("tool.sqsh", "must be an absolute path"),
        ("", "must be an absolute path"),
        ("~/tool", "must be an absolute path"),
        ("/home/../etc/shadow", "must not hold '..'"),
        ("/home/..", "must not hold '..'"),
        ("/home/a\0b", "holds control characters"),
        ("/home/a\nb", "holds control characters"),
        ("/home/\ud800", "holds control characters"),
        ("/" + "x" * 4095, "longer than 4095 bytes"),
        ("/" + "ü" * 2048, "longer than 4095 bytes"),
    ],
)
def test_a_path_that_cannot_be_meant_is_refused(path, reason):
    with pytest.raises(BadRequestError, match=reason):
        ImportSource.checked(path, "squashfs")


@pytest.mark.parametrize("path", ["/home/a b/ü..sqsh", "/..a/b..", "/"])
def test_a_path_may_hold_what_file_names_hold(path):
    assert ImportSource.checked(path, "auto").path == path


@pytest.mark.parametrize("format", ["", "SQUASHFS", "ext4", "x" * 9000, "../squashfs"])
def test_an_unknown_format_is_refused_with_the_known_ones(format):
    with pytest.raises(BadRequestError, match="known are auto, squashfs, docker-archive") as caught:
        ImportSource.checked("/a", format)

    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("reference", [
    ImageReference("id", "a" * 64), ImageReference("local", "/a"),
])  # fmt: skip
def test_ids_and_paths_are_no_names_to_import_under(gateway, reference):
    with pytest.raises(BadRequestError, match="only images of type custom and docker"):
        ask(gateway, reference=reference)


# Asking again


@pytest.mark.parametrize("poll", [ask, pull])
def test_whoever_asks_again_sees_how_far_it_is_and_the_image(gateway, poll):
    ask(gateway)
    claim = gateway.claim()
    gateway.catalog.report(claim, PullState.CONVERSION, "Converting image")

    under_way = poll(gateway)
    gateway.clock.advance(60)
    image = gateway.work()
    ready = poll(gateway)

    assert (under_way.state, ready.key) == (PullState.CONVERSION, image.key)
    assert gateway.claim() is None


@pytest.mark.parametrize("poll", [ask, pull])
def test_a_failure_is_told_once_with_its_reason(gateway, poll):
    ask(gateway)
    gateway.work_badly("no such file")

    assert poll(gateway).status_message == "no such file"
    assert ask(gateway).state is PullState.INIT


def test_two_who_import_under_one_name_both_hear_of_their_failures(gateway):
    for caller in (ALICE, BOB):
        ask(gateway, caller)
        gateway.work_badly(f"no, {caller.known_name}")

    told = [ask(gateway, caller).status_message for caller in (ALICE, BOB)]

    assert told == ["no, alice", "no, bob"]
    assert gateway.claim() is None


def test_a_failure_is_nobody_elses_business(gateway):
    ask(gateway)
    gateway.work_badly("no such file: '/home/alice/tool.sqsh'")

    assert ask(gateway, BOB).state is PullState.INIT


def test_the_same_file_is_not_imported_again_while_the_image_is_fresh(gateway):
    ask(gateway)
    image = gateway.work()

    gateway.clock.advance(299)
    assert ask(gateway).key == image.key
    gateway.clock.advance(2)
    assert ask(gateway).state is PullState.INIT


def test_another_file_or_other_lists_are_imported_at_once(gateway):
    ask(gateway)
    gateway.work()
    gateway.clock.advance(11)

    assert ask(gateway, source=OTHER_FILE).state is PullState.INIT
    gateway.work("b")
    gateway.clock.advance(11)
    assert ask(gateway, source=OTHER_FILE, asked=Acl(users=(5,))).state is PullState.INIT
    assert gateway.work("b").user_acl == (5, 1001)


def test_a_poll_ends_though_the_content_was_here_already(gateway):
    ask(gateway, BOB, ImageReference("custom", "his:1"))
    gateway.work()
    ask(gateway, source=OTHER_FILE, asked=Acl(users=(7,)))
    gateway.work()

    assert ask(gateway, source=OTHER_FILE, asked=Acl(users=(7,))).state is PullState.READY


def test_another_import_under_the_same_name_is_a_conflict(gateway):
    ask(gateway)

    for caller, source in ((BOB, FILE), (ALICE, OTHER_FILE)):
        with pytest.raises(NameTakenError, match="being imported from another file") as caught:
            ask(gateway, caller, source=source)
        assert caught.value.status == 409


def test_a_name_that_is_being_pulled_is_a_conflict(gateway):
    pull(gateway, reference=DOCKER)

    with pytest.raises(NameTakenError, match="being pulled just now"):
        ask(gateway, reference=DOCKER)


def test_an_import_that_comes_a_moment_later_than_another_is_a_conflict(gateway, monkeypatch):
    find_pull = gateway.catalog.find_pull

    def nothing_yet(*name):
        monkeypatch.undo()
        found = find_pull(*name)
        ask(gateway, BOB)
        gateway.clock.advance(0.001)
        return found

    monkeypatch.setattr(gateway.catalog, "find_pull", nothing_yet)

    with pytest.raises(NameTakenError):
        ask(gateway, ALICE)


# Whose names are whose


def test_the_image_of_somebody_else_is_not_replaced(gateway):
    ask(gateway, BOB)
    gateway.work()

    with pytest.raises(NotPermittedError, match="custom:mine:1 is an image of somebody else"):
        ask(gateway, ALICE, source=OTHER_FILE)
    assert gateway.claim() is None


def test_an_administrator_who_may_import_replaces_any_image(gateway_with):
    gateway = gateway_with(ImportUsers=["alice", "root"])
    ask(gateway)
    gateway.work()
    gateway.clock.advance(11)

    assert ask(gateway, ADMIN, source=OTHER_FILE).state is PullState.INIT


def test_what_anybody_imports_as_a_docker_image_is_for_them_alone(gateway_with):
    gateway = gateway_with(ImportUsers="all")
    ask(gateway, ALICE, DOCKER)
    gateway.work()

    assert lookup(gateway, ALICE, DOCKER).user_acl == (1001,)
    with pytest.raises(ImageNotFoundError):
        lookup(gateway, BOB, DOCKER)


@pytest.mark.parametrize("asked", [Acl(users=(1001, 1002)), Acl(groups=(100,))])
def test_nobody_shares_such_an_image(gateway_with, asked):
    gateway = gateway_with(ImportUsers="all")

    with pytest.raises(NotPermittedError, match="import it as custom:ubuntu:24.04 to share it"):
        ask(gateway, ALICE, DOCKER, asked=asked)


def test_whom_the_site_names_may_share_a_docker_image(gateway):
    ask(gateway, ALICE, DOCKER)
    gateway.work()

    assert lookup(gateway, BOB, DOCKER).user_acl == ()


def test_a_pull_gets_the_registrys_image_and_not_somebody_elses_of_that_name(gateway_with):
    gateway = gateway_with(ImportUsers="all")
    ask(gateway, ALICE, DOCKER)
    gateway.work("a")

    assert pull(gateway, BOB, DOCKER).state is PullState.INIT
    image = gateway.work("b")

    assert (image.tags, image.is_restricted) == ((DOCKER.tag,), False)
    assert lookup(gateway, ALICE, DOCKER).key == image.key


def test_who_pulls_for_others_too_is_not_stopped_by_somebody_elses_import(gateway_with):
    gateway = gateway_with(ImportUsers="all")
    ask(gateway, ALICE, DOCKER)
    gateway.work("a")
    asked = Acl(users=(1003,))

    answer = gateway.service.pull(gateway.system, DOCKER, BOB, asked)

    assert answer.state is PullState.INIT
    assert gateway.work("b").user_acl == (1003, 1002)


def test_a_pull_does_not_show_an_import_for_others(gateway):
    ask(gateway, ALICE, asked=Acl(users=(5,)))

    with pytest.raises(BadRequestError, match="only images of type docker"):
        pull(gateway, BOB)
    gateway.work()
    with pytest.raises(BadRequestError):
        pull(gateway, BOB)
    with pytest.raises(ImageNotFoundError):
        lookup(gateway, BOB)


def test_where_a_file_is_that_could_not_be_imported_is_told_to_its_importer(gateway):
    ask(gateway)
    claim = gateway.claim()
    gateway.catalog.report(claim, PullState.HASHING, f"Hashing {FILE.path}")

    def told(caller):
        (queued,) = gateway.service.list_queue(gateway.system, caller)
        return [queued.record.status_message, pull(gateway, caller).status_message]

    assert told(ALICE) == told(ADMIN) == [f"Hashing {FILE.path}"] * 2
    assert told(BOB) == [None, None]
    gateway.catalog.fail(claim, f"no such file: {FILE.path}")
    with pytest.raises(BadRequestError):
        pull(gateway, BOB)
    assert pull(gateway, ALICE).status_message == f"no such file: {FILE.path}"
