# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import base64
import time

import pytest

from shifter_imagegw.operation.redaction import Redactor

PASSWORD = "s3cret"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mongodb://u:s3cret@db1,db2/?w=1", "mongodb://***@db1,db2/?w=1"),
        ("redis://:s3cret@broker/0 is away", "redis://***@broker/0 is away"),
        ("rediss://u:s3@cret@h", "rediss://***@h"),
        ("https://s3cret@host/v2/", "https://***@host/v2/"),
        ("{'Authorization': 'Basic dTpzM2NyZXQ='}", "{'Authorization': 'Basic ***'}"),
        ("Authorization: Bearer s3cret", "Authorization: Bearer ***"),
        ("proxy-authorization=s3cret; x", "proxy-authorization=***; x"),
        ("'authorization': b'Basic s3cret1'", "'authorization': b'Basic ***'"),
        ("sent Bearer s3cretTok3n.abc-_", "sent Bearer ***"),
        ("got MUNGE:AwQFAAAs3cret+/=: from it", "got MUNGE:*** from it"),
        (
            "https://s3.example/b?X-Amz-Credential=s3cret&a=1&X-Amz-Signature=s3cret2",
            "https://s3.example/b?X-Amz-Credential=***&a=1&X-Amz-Signature=***",
        ),
        ('{"access_token": "s3cret", "expires": 3}', '{"access_token": "***", "expires": 3}'),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text, shown):
    redacted = Redactor().redact(text)

    assert redacted == shown
    assert PASSWORD not in redacted


@pytest.mark.parametrize(
    "text",
    [
        "pull finished system=cori image=docker:ubuntu:24.04",
        "https://registry.example:5000/v2/a@sha256:0123/manifests",
        "https://registry.example/v2/name?tag=a@b",
        "the registry wants basic authentication",
        "no 'authentication' header: it must hold a munge credential",
        "image docker:me/app@sha256:00 at https://x/",
    ],
)
def test_ordinary_lines_stay_as_they_are(text):
    assert Redactor().redact(text) == text


@pytest.mark.parametrize(
    "form",
    [
        "pa ss/+\n%",
        "pa%20ss%2F%2B%0A%25",
        "pa+ss%2F%2B%0A%25",
        r"pa ss/+\n%",
        base64.b64encode(b"alice:pa ss/+\n%").decode(),
    ],
)
def test_a_login_that_is_known_is_hidden_in_each_form_in_which_it_travels(form):
    redactor = Redactor()
    redactor.learn(["alice:pa ss/+\n%"])

    assert redactor.redact(f"before {form} after alice") == "before *** after alice"


def test_a_password_with_a_colon_is_hidden_whole():
    redactor = Redactor()
    redactor.learn(["alice:one:two"])

    assert redactor.redact("got one:two") == "got ***"


def test_a_secret_that_is_a_part_of_another_uncovers_nothing_of_it():
    redactor = Redactor()
    redactor.learn(["a:abcd", "b:abcdef"])

    assert redactor.redact("abcdef abcd") == "*** ***"


@pytest.mark.parametrize("login", ["", "alice:", "alice:abc"])
def test_what_is_too_short_to_be_a_secret_blots_out_nothing(login):
    redactor = Redactor()
    redactor.learn([login])

    assert redactor.redact("alice: abc") == "alice: abc"


def test_only_so_many_secrets_are_remembered_and_the_latest_are():
    redactor = Redactor()
    redactor.learn(f"u:secret{number:06}x" for number in range(5000))

    assert redactor.redact("secret004999x") == "***"
    assert len(redactor._known) <= 1000


@pytest.mark.parametrize(
    "part",
    ["x", "a:", "a://", "://:@", "?a", "?", "basic ", "basic", "authorization: ", " ", "'token':"],
)
def test_a_text_that_is_made_to_take_long_does_not(part):
    text = part * (200_000 // len(part))
    started = time.process_time()

    Redactor().redact(f"{text}\nauthorization:{text}")

    assert time.process_time() - started < 2
