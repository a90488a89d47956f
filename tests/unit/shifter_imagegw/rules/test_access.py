# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

from pathlib import Path

import pytest

from shifter_imagegw.acl import Acl, acl_after_pull
from shifter_imagegw.config import GroupSource, SystemConfig
from shifter_imagegw.records import ImageRecord, PullState
from shifter_imagegw.rules import access
from shifter_imagegw.rules.auth import Caller

SYSTEM = SystemConfig(name="mycluster", image_dir=Path("/i"), admins=("operator",))
PULLER = Caller(uid=1, gid=10, known_name="puller")
ADMIN = Caller(uid=2, gid=20, known_name="operator")
OTHER = Caller(uid=3, gid=30, known_name="other")
ALMOST_ADMIN = Caller(uid=4, gid=40, known_name="oper")
UNKNOWN = Caller(uid=2**31 - 7, gid=50)


def image(**changes):
    fields = {"private": False, "puller": 1, "image_id": "ab" * 32}
    return ImageRecord(
        key="1", system="mycluster", image_type="docker", pull_tag="a:1", state=PullState.READY,
        **fields | changes,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("record", "readers"),
    [
        (image(), {"puller", "admin", "other", "nobody"}),
        (image(user_acl=None, group_acl=None), {"puller", "admin", "other", "nobody"}),
        (image(private=None), {"puller", "admin", "other", "nobody"}),
        (image(private=True), {"puller", "admin"}),
        (image(private=True, user_acl=None, group_acl=None), {"puller", "admin"}),
        (image(private=True, puller=None), {"admin"}),
        (image(user_acl=(9,)), {"puller", "admin"}),
        (image(user_acl=(3,)), {"puller", "admin", "other"}),
        (image(group_acl=(30,)), {"puller", "admin", "other"}),
        (image(group_acl=(3,)), {"puller", "admin"}),
        (image(user_acl=(30,)), {"puller", "admin"}),
        (image(private=True, user_acl=(3,), group_acl=(7,)), {"puller", "admin", "other"}),
    ],
)
def test_who_may_read(record, readers):
    callers = {"puller": PULLER, "admin": ADMIN, "other": OTHER, "nobody": None}

    found = {name for name, caller in callers.items() if access.may_read(record, caller, SYSTEM)}

    assert found == readers


def test_further_groups_count(monkeypatch):
    monkeypatch.setattr("os.getgrouplist", lambda name, gid: [gid, 77])

    assert access.may_read(
        image(group_acl=(77,)), Caller(uid=3, gid=30, known_name="other"), SYSTEM
    )


@pytest.mark.parametrize(
    ("caller", "is_admin"),
    [(ADMIN, True), (PULLER, False), (ALMOST_ADMIN, False), (UNKNOWN, False)],
)
def test_admins_are_named_in_full(caller, is_admin):
    assert access.is_admin(caller, SYSTEM) is is_admin


@pytest.mark.parametrize(
    ("names", "caller", "is_admin"),
    [
        (("3",), OTHER, True),
        (("33",), OTHER, False),
        ((str(2**31 - 7),), UNKNOWN, True),
        # A number is a uid, whatever somebody managed to be called.
        (("3",), Caller(uid=9, gid=9, known_name="3"), False),
    ],
)
def test_admins_may_be_numbers(names, caller, is_admin):
    system = SystemConfig(name="mycluster", image_dir=Path("/i"), admins=names)

    assert access.is_admin(caller, system) is is_admin


def test_groups_are_the_credentials_where_the_site_says_so(monkeypatch):
    monkeypatch.setattr("os.getgrouplist", lambda name, gid: [gid, 77])
    record = image(group_acl=(77,))

    may = {
        source: access.may_read(
            record, Caller(uid=3, gid=30, known_name="other", groups_from=source), SYSTEM
        )
        for source in GroupSource
    }

    assert may == {GroupSource.GATEWAY: True, GroupSource.CREDENTIAL: False}


@pytest.mark.parametrize(
    ("caller", "puller", "may"),
    [
        (PULLER, 1, True),
        (ADMIN, 1, True),
        (OTHER, 1, False),
        (OTHER, None, False),
        (ADMIN, None, True),
    ],
)
def test_who_may_expire(caller, puller, may):
    assert access.may_expire(image(puller=puller), caller, SYSTEM) is may


@pytest.mark.parametrize(
    ("caller", "puller", "may"),
    [(PULLER, 1, True), (ADMIN, 1, True), (OTHER, 1, False), (ADMIN, None, False)],
)
def test_who_may_change_the_lists(caller, puller, may):
    assert access.may_change_acl(image(puller=puller), caller, SYSTEM) is may


EVERYBODY = Acl()
PULLED, BEFORE = "ab" * 32, "cd" * 32  # ids: of the image that a pull has found, of another


@pytest.mark.parametrize(
    ("pull", "private", "existing", "expected"),
    [
        # A new image
        (image(), False, None, EVERYBODY),
        (image(), True, None, Acl(users=(1,))),
        (image(user_acl=(1, 5), group_acl=(7,)), False, None, Acl(users=(1, 5), groups=(7,))),
        (image(user_acl=(1, 5)), True, None, Acl(users=(1, 5))),
        # Pulled again by the same user
        (image(), False, image(), EVERYBODY),
        (image(), True, image(), Acl(users=(1,))),
        (image(user_acl=(1, 6)), True, image(user_acl=(1, 5)), Acl(users=(1, 6))),
        (image(), True, image(user_acl=(1, 5), group_acl=(7,)), Acl(users=(1, 5), groups=(7,))),
        (image(), False, image(user_acl=(1, 5)), Acl(users=(1, 5))),
        # Pulled again by another user
        (image(puller=9), False, image(), EVERYBODY),
        (image(puller=9, user_acl=(9,)), False, image(), EVERYBODY),
        (image(puller=9), False, image(user_acl=(1, 5)), Acl(users=(1, 5, 9))),
        (image(puller=9), True, image(group_acl=(7,)), Acl(users=(9,), groups=(7,))),
        (image(puller=9), True, image(private=True), Acl(users=(1, 9))),
        (image(puller=9, user_acl=(9, 8)), True, image(user_acl=(1, 9)), Acl(users=(1, 9))),
        (image(puller=9), True, image(), Acl(users=(1, 9))),
        # Another user's import had the name
        (
            image(puller=9),
            False,
            image(image_id=BEFORE, source_path="/f", user_acl=(1,)),
            EVERYBODY,
        ),
        (
            image(puller=9),
            True,
            image(image_id=BEFORE, source_path="/f", user_acl=(1,)),
            Acl(users=(9,)),
        ),
        (
            image(puller=9, user_acl=(9, 8)),
            False,
            image(image_id=BEFORE, source_path="/f"),
            Acl(users=(9, 8)),
        ),
        (
            image(),
            False,
            image(image_id=BEFORE, source_path="/f", user_acl=(1, 5)),
            Acl(users=(1, 5)),
        ),
        # ... and is the same image
        (image(puller=9), True, image(source_path="/f", user_acl=(1,)), Acl(users=(1, 9))),
        # Another user's image of other content had the name
        (image(puller=9), True, image(image_id=BEFORE), Acl(users=(9,))),
        (image(puller=9), True, image(image_id=BEFORE, private=True), Acl(users=(9,))),
        (image(puller=9), True, image(image_id=BEFORE, user_acl=(1,)), Acl(users=(9,))),
        (image(puller=9), True, image(image_id=BEFORE, puller=None), Acl(users=(9,))),
        (image(puller=9), False, image(image_id=BEFORE, user_acl=(1,)), Acl(users=(1, 9))),
        # The puller's own had it
        (image(), True, image(image_id=BEFORE, user_acl=(1, 5)), Acl(users=(1, 5))),
        # Another user has imported the same content
        (
            image(puller=9, source_path="/g"),
            False,
            image(source_path="/f", user_acl=(1,)),
            Acl(users=(1, 9)),
        ),
        # Nobody knows who pulled it
        (image(puller=9), True, image(private=True, puller=None), Acl(users=(9,))),
        (image(puller=9, user_acl=(9,)), False, image(puller=None), EVERYBODY),
    ],
)
def test_who_may_read_after_a_pull(pull, private, existing, expected):
    acl = acl_after_pull(pull, image_id=PULLED, private=private, existing=existing)

    assert acl == expected
