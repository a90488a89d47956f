# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from shifter_common.reference import ImageReference
from shifter_imagegw.acl import Acl
from shifter_imagegw.catalog.sqlite import SqliteCatalog
from shifter_imagegw.details import LayerProgress
from shifter_imagegw.errors import (
    BadRequestError,
    CatalogError,
    ImageNotFoundError,
    NotPermittedError,
    SystemNotFoundError,
    TooManyLoginsError,
)
from shifter_imagegw.login_tries import LoginTries
from shifter_imagegw.records import NewPull, PullState
from shifter_imagegw.rules.auth import Caller

ALICE = Caller(uid=1001, gid=100, known_name="alice")
BOB = Caller(uid=1002, gid=100, known_name="bob")
ADMIN = Caller(uid=0, gid=0, known_name="root")
DAY = 24 * 3600.0


def docker(tag="app:1"):
    return ImageReference("docker", tag)


def pull(gateway, caller=ALICE, asked=None, tag="app:1"):
    return gateway.service.pull(gateway.system, docker(tag), caller, asked or Acl())


def ready(gateway, caller=ALICE, asked=None, tag="app:1", content="a", **changes):
    """An image that `caller` has pulled."""
    pull(gateway, caller, asked, tag)
    return gateway.work(content, **changes)


def lookup(gateway, caller=ALICE, tag="app:1"):
    return gateway.service.lookup(gateway.system, docker(tag), caller)


# When a pull starts


def test_the_first_request_starts_a_pull(gateway):
    answer = pull(gateway)

    assert (answer.state, answer.last_pull, answer.tags) == (PullState.INIT, None, ())
    (queued,) = gateway.service.list_queue(gateway.system, ALICE)
    record = queued.record
    assert (record.state, record.puller, record.pull_tag) == (PullState.PENDING, 1001, "app:1")


def test_a_tag_is_latest_where_none_is_given(gateway):
    pull(gateway, tag="app")

    assert gateway.work().tags == ("app:latest",)
    assert lookup(gateway, tag="app").tags == ("app:latest",)


def test_asking_again_shows_how_far_the_pull_is(gateway):
    pull(gateway)
    gateway.catalog.report(gateway.claim(), PullState.CONVERSION, "Converting image")

    for caller in (ALICE, BOB):
        answer = pull(gateway, caller)
        assert (answer.state, answer.status_message) == (PullState.CONVERSION, "Converting image")
    assert len(gateway.service.list_queue(gateway.system, ALICE)) == 1


def test_polling_until_the_image_is_there_pulls_once(gateway):
    pull(gateway)
    image = gateway.work()

    assert [pull(gateway).key for _ in range(3)] == [image.key] * 3
    assert gateway.claim() is None


@pytest.mark.parametrize(("age", "state"), [(299, PullState.READY), (301, PullState.INIT)])
def test_an_image_is_pulled_again_once_it_is_older_than_the_update_timeout(gateway, age, state):
    ready(gateway)
    gateway.clock.advance(age)

    assert pull(gateway).state is state


def test_the_image_stays_usable_while_it_is_pulled_again(gateway):
    image = ready(gateway)
    gateway.clock.advance(DAY)
    pull(gateway)

    assert lookup(gateway).key == image.key


def test_the_sites_update_timeout_counts(gateway_with):
    gateway = gateway_with(PullUpdateTimeout=1000)
    ready(gateway)
    gateway.clock.advance(999)

    assert pull(gateway).state is PullState.READY


def test_a_poll_that_sees_its_image_does_not_pull_it_again_however_short_the_timeout(gateway_with):
    gateway = gateway_with(PullUpdateTimeout=0)
    ready(gateway)
    gateway.clock.advance(9)

    assert pull(gateway).state is PullState.READY


def test_a_pull_that_was_expired_starts_anew(gateway):
    ready(gateway)
    gateway.service.expire(gateway.system, docker(), ADMIN)

    assert pull(gateway).state is PullState.INIT


def test_only_docker_images_are_pulled(gateway):
    custom = ImageReference("custom", "mine:1")

    with pytest.raises(BadRequestError, match="custom:mine:1 comes from no registry: only"):
        gateway.service.pull(gateway.system, custom, ALICE, Acl())


def test_registry_credentials_wait_sealed(gateway):
    login = {"reg": "alice:secret"}
    caller = Caller(uid=1001, gid=100, known_name="alice", credentials=login)

    pull(gateway, caller)

    sealed = gateway.claim().sealed_credentials
    assert gateway.sealer.unseal(sealed) == login
    assert b"secret" not in gateway.config.catalog_path.read_bytes()


@pytest.mark.parametrize(
    ("tag", "sealed"),
    [
        ("app:1", {"reg", "default"}),
        ("otherreg/app:1", {"otherreg", "default"}),
        ("reg/app:1", {"reg", "default"}),
        ("other.site:5000/app:1", set()),  # no registry that the gateway knows
    ],
)
def test_only_the_logins_that_a_pull_can_use_wait_with_it(gateway, tag, sealed):
    logins = {name: f"alice:{name}" for name in ("reg", "otherreg", "third", "default")}
    caller = dataclasses.replace(ALICE, credentials=logins)

    pull(gateway, caller, tag=tag)

    credentials = gateway.claim().sealed_credentials
    found = gateway.sealer.unseal(credentials) if credentials else {}
    assert found == {name: logins[name] for name in sealed}


@pytest.mark.parametrize(
    ("given", "sealed"),
    [
        ({"127.0.0.1:1": "alice:docker"}, {"reg": "alice:docker"}),
        ({"127.0.0.1:1": "alice:docker", "reg": "alice:own"}, {"reg": "alice:own"}),
        ({"reg": "alice:own", "127.0.0.1:1": "alice:docker"}, {"reg": "alice:own"}),
        ({"127.0.0.1:2": "alice:docker", "otherreg": "alice:x"}, {}),
    ],
)
def test_a_login_may_name_the_registry_by_its_host(gateway, given, sealed):
    pull(gateway, dataclasses.replace(ALICE, credentials=given))

    credentials = gateway.claim().sealed_credentials
    assert (gateway.sealer.unseal(credentials) if credentials else {}) == sealed


def test_who_guesses_passwords_pulls_nothing_with_a_login_for_a_minute(gateway):
    guesser = dataclasses.replace(ALICE, credentials={"reg": "alice:guess"})
    tries = LoginTries(gateway.catalog, gateway.clock)
    pull(gateway, guesser)
    for _ in range(5):
        tries.note_refusal(guesser.uid)

    # Of what is on its way they are told as before, and nobody else is hindered.
    assert pull(gateway, guesser).state is PullState.PENDING
    with pytest.raises(TooManyLoginsError, match="wait for a minute") as refusal:
        pull(gateway, guesser, tag="app:2")
    assert (refusal.value.status, refusal.value.retry_after) == (429, 60)
    assert pull(gateway, ALICE, tag="app:2").state is PullState.INIT
    other = dataclasses.replace(BOB, credentials={"reg": "bob:secret"})
    assert pull(gateway, other, tag="app:3").state is PullState.INIT
    gateway.clock.advance(61)
    assert pull(gateway, guesser, tag="app:4").state is PullState.INIT


def test_workers_are_nudged_once_for_each_job(gateway):
    pull(gateway)
    pull(gateway, BOB)
    assert gateway.nudged == ["mycluster"]

    gateway.work()
    pull(gateway)
    gateway.service.expire(gateway.system, docker(), ALICE)

    assert gateway.nudged == ["mycluster"] * 2


def test_who_shares_a_pull_is_not_told_for_whom_else_it_is(gateway):
    pull(gateway, ALICE, Acl(users=(5,), groups=(7,)))

    mine, theirs = pull(gateway, ALICE, Acl(users=(5,), groups=(7,))), pull(gateway, BOB)

    assert (mine.user_acl, mine.group_acl, mine.puller) == ((5, 1001), (7,), 1001)
    assert (theirs.user_acl, theirs.group_acl, theirs.puller) == ((), (), None)


@pytest.mark.parametrize("look", ["find_pull", "find_ready"])
def test_a_pull_that_ends_while_somebody_asks_is_not_started_again(gateway, monkeypatch, look):
    pull(gateway)
    original = getattr(gateway.catalog, look)

    def look_and_end(*arguments):
        monkeypatch.undo()
        found = original(*arguments)
        gateway.work()
        return found

    monkeypatch.setattr(gateway.catalog, look, look_and_end)

    pull(gateway, BOB)

    assert gateway.claim() is None


def test_the_queue_shows_pulls_for_named_users_to_them_alone(gateway):
    pull(gateway, ALICE, Acl(users=(5,)), tag="secret:1")
    pull(gateway, ALICE, tag="public:1")

    def queued(caller):
        jobs = gateway.service.list_queue(gateway.system, caller)
        return [job.record.pull_tag for job in jobs]

    assert queued(ALICE) == queued(ADMIN) == ["secret:1", "public:1"]
    assert queued(BOB) == ["public:1"]


def test_the_queue_shows_pulls_with_logins_to_their_puller_alone(gateway):
    pull(gateway, dataclasses.replace(ALICE, credentials={"reg": "alice:secret"}))

    assert len(gateway.service.list_queue(gateway.system, ALICE)) == 1
    assert gateway.service.list_queue(gateway.system, BOB) == []
    joined = pull(gateway, BOB)
    assert (joined.state, joined.puller, joined.private) == (PullState.PENDING, None, None)


def test_lists_do_not_tell_whether_there_is_an_image_that_the_caller_may_not_read(gateway):
    ready(gateway, asked=Acl(users=(5,)))

    answer = pull(gateway, BOB, Acl(users=(1002, 6)))

    assert answer.state is PullState.INIT
    assert gateway.work().user_acl == (5, 1001, 1002)


def test_who_sets_lists_and_who_pulls_the_image_meanwhile_both_get_it(gateway):
    lists = Acl(users=(5,))
    pull(gateway, ALICE, lists)
    gateway.work()
    assert pull(gateway, BOB).state is PullState.INIT
    image = gateway.work()
    assert image.user_acl == (5, 1001, 1002)

    assert pull(gateway, ALICE, lists) == image
    assert pull(gateway, BOB) == image


@pytest.mark.parametrize("narrower", [Acl(), Acl(users=(5,)), Acl(users=(5, 6))], ids=str)
@pytest.mark.parametrize("wider", [(1001, 5, 6, 7), (5, 1001, 6, 7), (5, 6, 1001, 7)])
def test_lists_that_are_made_shorter_at_once_are_set_all_the_same(gateway, wider, narrower):
    narrower = narrower | Acl(users=(1001,))
    pull(gateway, ALICE, Acl(users=wider))
    gateway.work()

    assert pull(gateway, ALICE, narrower).state is PullState.INIT
    assert set(gateway.work().user_acl) == set(narrower.users)


def test_groups_that_are_taken_from_the_lists_at_once_are_taken(gateway):
    pull(gateway, ALICE, Acl(users=(5,), groups=(7, 8)))
    gateway.work()

    assert pull(gateway, ALICE, Acl(users=(5,), groups=(7,))).state is PullState.INIT


# What a failure does


def test_a_failure_is_told_once_with_its_reason_and_then_the_pull_starts_anew(gateway):
    pull(gateway)
    gateway.work_badly("the registry has no app:1")

    told = pull(gateway)
    assert (told.state, told.status_message) == (PullState.FAILURE, "the registry has no app:1")
    assert pull(gateway).state is PullState.INIT


def test_everybody_who_waited_hears_of_the_failure(gateway):
    for caller in (ALICE, BOB, ADMIN):
        pull(gateway, caller)
    gateway.work_badly("no")

    assert {pull(gateway, caller).state for caller in (ALICE, BOB, ADMIN)} == {PullState.FAILURE}
    assert gateway.claim() is None


def test_who_brings_logins_is_not_told_of_the_failure_of_others(gateway):
    login = Caller(uid=1002, gid=100, known_name="bob", credentials={"default": "bob:secret"})
    for caller in (ALICE, login):
        pull(gateway, caller)
    gateway.work_badly("no permission")

    started = pull(gateway, login)

    assert (started.state, started.puller) == (PullState.INIT, 1002)


def test_what_others_met_with_their_logins_is_told_to_nobody_else(gateway):
    """It names their account at the registry."""
    login = Caller(uid=1002, gid=100, known_name="bob", credentials={"default": "bob:secret"})
    for caller in (login, ALICE):
        pull(gateway, caller)
    gateway.work_badly("the token server gives no token for user 'bob'")

    started = pull(gateway, ALICE)

    assert (started.state, started.puller) == (PullState.INIT, 1001)
    assert pull(gateway, login).status_message == "the token server gives no token for user 'bob'"


def test_layers_of_what_may_be_private_are_shown_to_who_may_read_it(gateway):
    login = Caller(uid=1002, gid=100, known_name="bob", credentials={"default": "bob:secret"})
    pull(gateway, login)
    layers = [LayerProgress("sha256:a", 10, 4)]
    gateway.catalog.report(gateway.claim(), PullState.PULLING, "Pulling layers", layers=layers)

    shown = [pull(gateway, caller) for caller in (login, ADMIN, ALICE)]

    assert [record.layers and len(record.layers) for record in shown] == [1, 1, None]
    assert {record.status_message for record in shown} == {"Pulling layers"}


def test_a_change_of_lists_betrays_no_image_that_is_not_for_the_caller(gateway):
    ready(gateway, ALICE, Acl(users=(1001,)))
    gateway.service.acls.change(gateway.system, docker("app:1"), ALICE, Acl(), public=True)

    with pytest.raises(ImageNotFoundError, match="or is not for you"):
        lookup(gateway, BOB)


def test_two_who_bring_logins_both_hear_of_their_failures_whoever_asks_first(gateway):
    alice = Caller(uid=1001, gid=100, known_name="alice", credentials={"default": "alice:secret"})
    bob = Caller(uid=1002, gid=100, known_name="bob", credentials={"default": "bob:secret"})
    pull(gateway, alice)
    gateway.work_badly("no permission for alice")
    pull(gateway, bob)
    gateway.work_badly("no permission for bob")

    heard = [pull(gateway, caller).status_message for caller in (alice, bob)]

    assert heard == ["no permission for alice", "no permission for bob"]
    assert gateway.claim() is None


def test_ones_own_failure_is_told_before_the_pull_that_another_has_begun_since(gateway):
    login = Caller(uid=1002, gid=100, known_name="bob", credentials={"default": "bob:secret"})
    pull(gateway)
    gateway.work_badly("no permission")
    pull(gateway, login)

    assert pull(gateway).status_message == "no permission"
    assert pull(gateway).is_in_flight


def test_an_administrator_with_logins_hears_of_a_failure_on_behalf_of_the_puller(gateway):
    admin = Caller(uid=0, gid=0, known_name="root", credentials={"default": "root:secret"})
    pull(gateway)
    gateway.work()
    pull(gateway, admin, Acl(users=(5,)))
    gateway.work_badly("the registry is down")

    assert pull(gateway, admin, Acl(users=(5,))).state is PullState.FAILURE


def test_a_failure_of_long_ago_is_no_answer(gateway, monkeypatch):
    pull(gateway)
    gateway.work_badly("no")
    gateway.clock.now = gateway.catalog.find_pull("mycluster", "docker", "app:1").last_pull + 31

    assert pull(gateway, BOB).state is PullState.INIT


def test_a_slow_poller_still_hears_of_its_failure(gateway):
    pull(gateway)
    gateway.work_badly("no")
    gateway.clock.now = gateway.catalog.find_pull("mycluster", "docker", "app:1").last_pull + 29

    assert pull(gateway).state is PullState.FAILURE


def test_a_failed_update_is_told_and_leaves_the_image_usable(gateway_with):
    gateway = gateway_with(PullUpdateTimeout=0)
    ready(gateway)
    gateway.clock.advance(11)
    pull(gateway)
    gateway.work_badly("registry down")

    assert lookup(gateway).state is PullState.READY
    assert pull(gateway).status_message == "registry down"


def test_a_removal_that_failed_is_no_failure_of_a_pull(gateway):
    ready(gateway)
    gateway.service.expire(gateway.system, docker(), ADMIN)
    gateway.work_badly("cannot remove the file")

    assert pull(gateway).state is PullState.INIT


def test_failures_leave_the_queue_after_the_update_timeout(gateway):
    pull(gateway)
    gateway.work_badly("no")
    gateway.clock.now = gateway.catalog.find_pull("mycluster", "docker", "app:1").last_pull

    gateway.clock.advance(299)
    assert len(gateway.service.list_queue(gateway.system, ALICE)) == 1
    gateway.clock.advance(2)
    assert gateway.service.list_queue(gateway.system, ALICE) == []


# Lists of who may read


def test_lists_are_kept_as_asked_and_the_caller_is_on_them(gateway):
    image = ready(gateway, asked=Acl(users=(5, 6), groups=(7,)))

    assert (image.user_acl, image.group_acl) == ((5, 6, 1001), (7,))


def test_a_poll_with_the_same_lists_does_not_pull_again(gateway):
    asked = Acl(users=(5,), groups=(7,))
    ready(gateway, asked=asked)

    assert pull(gateway, asked=asked).state is PullState.READY


def test_other_lists_by_the_puller_pull_again_and_replace_them(gateway):
    ready(gateway, asked=Acl(users=(5,)))

    assert pull(gateway, asked=Acl(users=(6,))).state is PullState.INIT
    assert gateway.work().user_acl == (6, 1001)


def test_an_administrator_sets_lists_for_the_puller(gateway):
    ready(gateway, asked=Acl(users=(5,)))
    asked = Acl(users=(6,))

    assert pull(gateway, ADMIN, asked).state is PullState.INIT
    image = gateway.work()
    assert (image.user_acl, image.puller) == ((6, 1001), 1001)
    assert pull(gateway, ADMIN, asked).state is PullState.READY


def test_nobody_else_sets_lists(gateway):
    ready(gateway)

    with pytest.raises(NotPermittedError, match="docker:app:1 is on mycluster already"):
        pull(gateway, BOB, Acl(users=(1002,)))

    assert gateway.claim() is None


def test_a_pull_without_lists_keeps_them(gateway):
    ready(gateway, asked=Acl(users=(5,)))
    gateway.clock.advance(DAY)
    pull(gateway)

    assert gateway.work().user_acl == (5, 1001)


def test_who_may_not_read_an_image_gets_in_by_pulling_it(gateway):
    ready(gateway, asked=Acl(users=(5,)))

    assert pull(gateway, BOB).state is PullState.INIT
    assert gateway.work().user_acl == (5, 1001, 1002)
    assert pull(gateway, BOB).state is PullState.READY
    assert lookup(gateway, BOB).user_acl == (5, 1001, 1002)


def test_who_cannot_pull_a_private_image_does_not_get_in(gateway):
    ready(gateway, private=True)
    pull(gateway, BOB)
    gateway.work_badly("the registry refuses bob")

    assert pull(gateway, BOB).state is PullState.FAILURE
    assert pull(gateway, ALICE).state is PullState.READY
    with pytest.raises(ImageNotFoundError):
        lookup(gateway, BOB)


def test_an_alias_does_not_shut_others_out_of_an_image(gateway):
    ready(gateway, ALICE)
    image = ready(gateway, BOB, Acl(users=(1002,)), tag="alias:1")

    assert (image.tags, image.is_restricted) == (("app:1", "alias:1"), False)
    with pytest.raises(NotPermittedError):
        pull(gateway, BOB, Acl(users=(1002,)), tag="alias:1")


# Lookup and list


def test_a_private_image_without_lists_is_found_by_its_puller_and_administrators(gateway):
    ready(gateway, private=True)

    assert lookup(gateway, ALICE).key == lookup(gateway, ADMIN).key
    for caller in (BOB, None):
        with pytest.raises(ImageNotFoundError, match="image not found: docker:app:1 is not on"):
            lookup(gateway, caller)


def test_an_image_is_found_by_its_id_by_who_may_read_it(gateway):
    image = ready(gateway, private=True)

    assert lookup_id(gateway, ALICE, image.image_id).key == image.key
    for caller, image_id in ((BOB, image.image_id), (ALICE, "b" * 64), (ALICE, "a" * 63)):
        with pytest.raises(ImageNotFoundError):
            lookup_id(gateway, caller, image_id)


def lookup_id(gateway, caller, image_id):
    return gateway.service.lookup(gateway.system, ImageReference("id", image_id), caller)


def test_a_name_without_a_tag_that_an_older_gateway_kept_is_found(gateway):
    new = NewPull(system="mycluster", image_type="custom", pull_tag="old", format="squashfs")
    gateway.catalog.add_pull(new, gateway.clock.now)
    image = gateway.work()

    found = gateway.service.lookup(gateway.system, ImageReference("custom", "old"), ALICE)

    assert found.key == image.key


def test_a_lookup_does_not_tell_of_a_pull_for_others(gateway):
    pull(gateway, ALICE, Acl(users=(5,)))

    with pytest.raises(ImageNotFoundError, match="is not on mycluster, or is not for you"):
        lookup(gateway, BOB)


def test_a_lookup_says_that_the_image_is_on_its_way(gateway):
    pull(gateway)

    with pytest.raises(ImageNotFoundError, match=r"still being pulled to mycluster \(PENDING\)"):
        lookup(gateway)


def test_a_list_holds_what_the_caller_may_use(gateway):
    ready(gateway, tag="public:1", content="a")
    ready(gateway, tag="private:1", content="b", private=True)
    ready(gateway, asked=Acl(users=(1002,)), tag="shared:1", content="c")

    def listed(caller):
        return [image.tags[0] for image in gateway.service.list_images(gateway.system, caller)]

    assert listed(ALICE) == ["public:1", "private:1", "shared:1"]
    assert listed(BOB) == ["public:1", "shared:1"]
    assert listed(None) == ["public:1"]


def test_a_lookup_keeps_an_image_from_expiring(gateway):
    ready(gateway)

    lookup(gateway)

    assert lookup(gateway).expiration == gateway.clock.now + 90 * DAY


def test_lookups_write_at_most_once_an_hour(gateway, monkeypatch):
    ready(gateway)
    lookup(gateway)
    armed = []
    monkeypatch.setattr(gateway.catalog, "arm_expiration", lambda *arguments: armed.append(1))

    for _ in range(9):
        gateway.clock.advance(400)
        lookup(gateway)
    assert armed == [1]


def test_a_lookup_is_answered_though_the_catalog_cannot_be_written(gateway, monkeypatch, caplog):
    image = ready(gateway)

    def refuse(*_):
        raise CatalogError("its filesystem is full")

    monkeypatch.setattr(gateway.catalog, "arm_expiration", refuse)

    assert lookup(gateway).key == image.key
    assert "its filesystem is full" in caplog.text


# Expire


@pytest.mark.parametrize("caller", [ADMIN, ALICE], ids=["admin", "puller"])
def test_an_image_is_expired_by_who_may(gateway, caller):
    ready(gateway)

    gateway.service.expire(gateway.system, docker("app:1"), caller)

    assert gateway.claim().record.state is PullState.EXPIRING
    with pytest.raises(ImageNotFoundError):
        lookup(gateway)


def test_an_image_of_others_is_not_expired(gateway):
    ready(gateway)

    with pytest.raises(NotPermittedError, match="docker:app:1 may be removed only by"):
        gateway.service.expire(gateway.system, docker(), BOB)

    assert lookup(gateway).state is PullState.READY


def test_whether_a_private_image_exists_is_not_told_by_expire(gateway):
    ready(gateway, private=True)

    with pytest.raises(ImageNotFoundError):
        gateway.service.expire(gateway.system, docker(), BOB)


# Expire what nobody uses


def expire_unused(gateway, caller=ADMIN):
    return gateway.service.expire_unused(gateway.system, caller)


def test_images_whose_time_has_passed_are_expired(gateway):
    old = ready(gateway, tag="old:1", content="a", expiration=gateway.clock.now + 10)
    ready(gateway, tag="new:1", content="b", expiration=gateway.clock.now + 100)
    ready(gateway, tag="endless:1", content="c", expiration=None)
    gateway.clock.advance(11)
    gateway.nudged.clear()

    assert expire_unused(gateway) == [old.image_id]

    assert gateway.nudged == ["mycluster"]
    assert gateway.claim().record.key == old.key
    assert expire_unused(gateway) == []


def test_a_lookup_saves_an_image_from_it(gateway):
    ready(gateway, expiration=gateway.clock.now + 10)
    lookup(gateway)
    gateway.clock.advance(11)

    assert expire_unused(gateway) == []


def test_pulls_on_their_way_are_not_touched_however_long_they_take(gateway):
    pull(gateway, tag="running:1")
    claim = gateway.claim()
    pull(gateway, tag="waiting:1")
    gateway.clock.advance(DAY)
    gateway.catalog.renew(claim, timedelta(seconds=30), gateway.clock.now)

    assert expire_unused(gateway) == []

    states = [job.record.state for job in gateway.service.list_queue(gateway.system, ADMIN)]
    assert states == [PullState.PENDING, PullState.PENDING]
    gateway.catalog.report(claim, PullState.TRANSFER, "Transferring image")


def test_what_has_ended_is_forgotten(gateway):
    ready(gateway)
    gateway.service.expire(gateway.system, docker(), ADMIN)
    gateway.catalog.finish_expire(gateway.claim())
    gateway.clock.advance(DAY)

    expire_unused(gateway)

    assert gateway.catalog.find_pull("mycluster", "docker", "app:1") is None


def test_only_administrators_have_unused_images_removed(gateway):
    ready(gateway, expiration=gateway.clock.now - 1)

    with pytest.raises(NotPermittedError, match="only administrators of mycluster may have"):
        expire_unused(gateway, ALICE)

    assert gateway.claim() is None


def test_an_unknown_system_is_named(gateway):
    with pytest.raises(SystemNotFoundError, match="'nosuch'"):
        gateway.service.system("nosuch")


def test_a_restart_forgets_nothing(gateway):
    pull(gateway)

    again = SqliteCatalog(gateway.config.catalog_path)

    assert [record.pull_tag for record in again.list_queue("mycluster")] == ["app:1"]
    again.close()
