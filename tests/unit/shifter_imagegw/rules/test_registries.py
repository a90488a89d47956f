# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import contextlib
import threading

import pytest

from shifter_common.reference import ImageReference
from shifter_imagegw.errors import (
    BadRequestError,
    ImageNotFoundError,
    LocationNotFoundError,
    NotPermittedError,
    RegistryUnusableError,
    TooManyLoginsError,
    TooManyQuestionsError,
)
from shifter_imagegw.registry import (
    ManifestNotFoundError,
    RegistryError,
    RegistryNotPermittedError,
    TagPage,
)
from shifter_imagegw.rules import registries
from shifter_imagegw.rules.auth import Caller

ALICE = Caller(uid=1001, gid=100, known_name="alice", credentials={"otherreg": "alice:secret"})
BOB = Caller(uid=1002, gid=100, known_name="bob", credentials={"default": "bob:secret"})


@pytest.fixture
def asked(monkeypatch):
    """What registries are asked for logins: endpoint and credentials; and what they answer."""
    asked = []

    def check(endpoint, credentials, **_):
        asked.append((endpoint, credentials))
        if asked.answer is not None:
            raise asked.answer
        return True

    class Asked(list):
        answer = None

    asked = Asked()
    monkeypatch.setattr(registries, "check_login", check)
    return asked


def log_in(gateway, caller=ALICE, where="otherreg"):
    return gateway.service.registries.log_in(where, caller).to_wire()


def tags(gateway, name, *, image_type="docker", last=None, caller=ALICE):
    reference = ImageReference(image_type, name)
    return gateway.service.registries.tags(reference, caller, last=last, limit=5)


def test_a_login_goes_to_the_location_that_it_is_for(gateway, asked):
    assert log_in(gateway) == {
        "status": True, "location": "otherreg", "url": "https://otherreg", "verified": True,
    }  # fmt: skip

    ((endpoint, credentials),) = asked
    assert endpoint.label == "otherreg"
    assert (credentials.username, credentials.password) == ("alice", "secret")


def test_the_default_location_is_meant_by_default(gateway, asked):
    assert log_in(gateway, BOB, "default")["location"] == "reg"


@pytest.mark.parametrize("caller", [
    Caller(uid=1001, gid=100, credentials={"127.0.0.1:1": "a:b"}),
    Caller(uid=1001, gid=100, credentials={"reg": "a:b"}),
])  # fmt: skip
def test_a_registrys_host_is_as_good_as_the_name_of_its_location(gateway, asked, caller):
    assert log_in(gateway, caller, "127.0.0.1:1")["location"] == "reg"


@pytest.mark.parametrize(
    "where", ["evil.example", "169.254.169.254", "http://reg", "reg/../x", "127.0.0.1", "x" * 4000]
)
def test_no_other_host_is_asked(gateway, asked, where):
    caller = Caller(uid=1001, gid=100, credentials={where: "a:b"})

    with pytest.raises(LocationNotFoundError, match="the gateway knows otherreg, reg"):
        log_in(gateway, caller, where)
    assert asked == []


@pytest.mark.parametrize("credentials", [{}, {"reg": "a:b"}, {"otherreg": "nocolon"}])
def test_a_login_must_come_with_the_request(gateway, asked, credentials):
    with pytest.raises(BadRequestError, match="carries no login for location 'otherreg'"):
        log_in(gateway, Caller(uid=1001, gid=100, credentials=credentials))
    assert asked == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (RegistryNotPermittedError("refused"), NotPermittedError),
        (RegistryError("gone"), RegistryUnusableError),
    ],
)
def test_what_the_registry_says_is_told(gateway, asked, answer, error):
    asked.answer = answer

    with pytest.raises(error, match=str(answer)):
        log_in(gateway)


def test_nobody_guesses_passwords_and_others_are_not_hindered(gateway, asked):
    asked.answer = RegistryNotPermittedError("refused")
    for _ in range(5):
        with pytest.raises(NotPermittedError):
            log_in(gateway)

    asked.answer = None
    with pytest.raises(TooManyLoginsError, match="wait for a minute") as refusal:
        log_in(gateway)
    assert (refusal.value.status, refusal.value.retry_after) == (429, 60)
    assert len(asked) == 5
    assert log_in(gateway, BOB, "default")["status"] is True
    gateway.clock.advance(61)
    assert log_in(gateway)["status"] is True


def test_logins_that_are_accepted_are_not_counted(gateway, asked):
    for _ in range(20):
        log_in(gateway)


def test_another_process_counts_the_same_tries(gateway, gateway_with, asked):
    asked.answer = RegistryNotPermittedError("refused")
    other = gateway_with()
    other.clock.now = gateway.clock.now
    for one in (gateway, other, gateway, other, gateway):
        with pytest.raises(NotPermittedError):
            log_in(one)

    with pytest.raises(TooManyLoginsError):
        log_in(other)


def test_the_password_is_in_no_log_and_no_error(gateway, asked, caplog):
    caplog.set_level("DEBUG")
    log_in(gateway)
    asked.answer = RegistryNotPermittedError("refused")
    with pytest.raises(NotPermittedError) as refusal:
        log_in(gateway)

    assert "secret" not in caplog.text + str(refusal.value) + repr(ALICE)


@pytest.fixture
def hanging_registry(gateway, monkeypatch):
    """Have callers ask for tags, all at once, until the end of the body."""
    hang, begun = threading.Event(), threading.Semaphore(0)

    def hanging(*_args, **_options):
        begun.release()
        hang.wait(20)
        return TagPage("app", (), None)

    monkeypatch.setattr(registries, "list_tags", hanging)
    monkeypatch.setattr(registries, "_WAIT_SECONDS", 0.0)

    @contextlib.contextmanager
    def asked_by(*callers):
        def ask(caller):
            return threading.Thread(target=tags, args=(gateway, "app"), kwargs={"caller": caller})

        hang.clear()
        threads = [ask(caller) for caller in callers]
        try:
            for thread in threads:
                thread.start()
                assert begun.acquire(timeout=20)
            yield
        finally:
            hang.set()
            for thread in threads:
                thread.join()

    return asked_by


def test_a_registry_that_hangs_takes_few_threads(gateway, hanging_registry):
    with (
        hanging_registry(ALICE, ALICE, BOB),
        pytest.raises(TooManyQuestionsError, match="others are asking"),
    ):
        tags(gateway, "app", caller=BOB)

    assert tags(gateway, "app").page.tags == ()


def test_nobody_takes_all_turns_and_nobody_waits_for_ones_own(gateway, hanging_registry):
    with hanging_registry(ALICE, ALICE):
        with pytest.raises(TooManyQuestionsError, match="you are asking registries already"):
            tags(gateway, "app")
        with hanging_registry(BOB):
            pass

    assert tags(gateway, "app").page.tags == ()


@pytest.mark.parametrize("name", ["evil.example:5000/app", "App", "a" * 300, "a:1", "a@sha256:b"])
def test_tags_of_what_is_no_repository_are_not_asked_for(gateway, name):
    with pytest.raises(BadRequestError):
        tags(gateway, name)


def test_only_registries_have_tags(gateway):
    with pytest.raises(BadRequestError, match="only images of type docker"):
        tags(gateway, "tool", image_type="custom")


@pytest.mark.parametrize("last", ["", "a b", "\x1b", "x" * 200, "é"])
def test_tags_begin_after_a_tag(gateway, last):
    with pytest.raises(BadRequestError, match="last must be a tag"):
        tags(gateway, "app", last=last)


def test_a_host_that_is_no_location_is_named_where_nothing_is_found(gateway, monkeypatch):
    def missing(*_args, **_options):
        raise ManifestNotFoundError("there is no repository")

    monkeypatch.setattr(registries, "list_tags", missing)

    with pytest.raises(ImageNotFoundError, match=r"'quay\.io' is no configured location"):
        tags(gateway, "quay.io/app")


def test_a_registry_that_does_not_answer_is_said_to_be_so(gateway):
    with pytest.raises(RegistryUnusableError, match=r"127\.0\.0\.1:1 cannot be reached"):
        tags(gateway, "app")
