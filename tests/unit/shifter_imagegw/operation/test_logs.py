# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import ast
import io
import json
import logging
import os
import sys
from pathlib import Path

import pytest

from shifter_imagegw.config import LogFormat
from shifter_imagegw.operation import logs
from tests.unit.shifter_imagegw.conftest import make_config

SOURCES = Path(__file__).parents[4] / "shifter_imagegw"


@pytest.fixture
def logged(tmp_path, monkeypatch):
    """`logged(process, **config)`: a logger of ours, and what it has written so far."""
    before = logging.getLogger().handlers[:], logging.getLogger().level
    stream = io.StringIO()

    def configure(process="worker", **changes):
        monkeypatch.setattr(sys, "stderr", stream)
        logs.configure(make_config(tmp_path, **changes), process)
        return logging.getLogger("shifter_imagegw.test"), stream.getvalue

    yield configure
    logging.captureWarnings(False)
    logging.getLogger().handlers[:], logging.getLogger().level = before


def only_line(text):
    assert text.count("\n") == 1, text
    return json.loads(text)


def test_a_line_is_an_event_with_fields_from_its_template(logged):
    log, written = logged()

    log.info(
        "pull finished system=%s image=%s seconds=%.1f attempt=%d", "cori", "docker:x", 1.26, 2
    )

    line = only_line(written())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "process": "worker",
        "pid": os.getpid(),
        "event": "pull finished",
        "system": "cori",
        "image": "docker:x",
        "seconds": 1.3,
        "attempt": 2,
    }


def test_values_keep_spaces_and_signs_and_make_no_field(logged):
    log, written = logged()

    log.warning("pull failed image=%s reason=%s", "a b=c level=x", "no\nsuch = thing")

    line = only_line(written())
    assert (line["image"], line["reason"]) == ("a b=c level=x", "no\nsuch = thing")
    assert (line["level"], line["event"]) == ("warning", "pull failed")


def test_a_value_may_be_made_of_several_arguments(logged):
    log, written = logged()

    log.info("pull asked image=%s:%s 5%%=%d%% uid=%d", "docker", "a b", 1, 0)

    line = only_line(written())
    assert (line["image"], line["uid"]) == ("docker:a b", 0)
    assert line["event"] == "pull asked 5%=1%"


def test_facts_are_fields_and_other_words_are_part_of_the_event(logged):
    log, written = logged()
    facts = logs.Facts(system="cori", image="a b")

    log.info("%s started %s attempt=%d 100%% in %s", "pull", facts, 1, "time")

    line = only_line(written())
    assert line["event"] == "pull started 100% in time"
    assert (line["system"], line["image"], line["attempt"]) == ("cori", "a b", 1)


def test_facts_are_words_in_a_text():
    assert f"{logs.Facts(system='cori', image='x')}" == "system=cori image=x"


@pytest.mark.parametrize(
    ("template", "value", "shown"),
    [
        ("x=%s", None, None),
        ("x=%s", 3, 3),
        ("x=%d", True, True),
        ("x=%r", "a'b", "a'b"),
        ("x=%s", Path("/a b"), "/a b"),
        ("x=%s", ["a", 1], ["a", 1]),
        ("x=%s", ValueError("no"), "no"),
        ("x=%.3f", 0.12345, 0.123),
    ],
)
def test_a_value_keeps_its_kind(logged, template, value, shown):
    log, written = logged()

    log.info(f"it {template}", value)

    assert only_line(written())["x"] == shown


def test_no_field_takes_the_place_of_time_level_or_event(logged):
    log, written = logged()

    log.info("it happened level=%s event=%s time=%s pid=%s", "none", "none", "none", "none")

    line = only_line(written())
    assert (line["level"], line["event"], line["pid"]) == ("info", "it happened", os.getpid())
    assert line["time"] != "none"


def test_a_uid_is_told_with_its_name(logged):
    log, written = logged()

    log.info("pull asked uid=%d", 0)
    log.info("pull asked uid=%d", 4_000_000_000)

    first, second = map(json.loads, written().splitlines())
    assert (first["uid"], first["user"]) == (0, "root")
    assert second["user"] == "4000000000"


@pytest.mark.parametrize("log_format", LogFormat)
def test_an_exception_is_a_part_of_its_event(logged, log_format):
    log, written = logged(LogFormat=log_format)

    try:
        raise ValueError("first\n2026-01-01 00:00:00,000 INFO 1 pull finished\r\x1b[2Jx")
    except ValueError:
        log.exception("pull met a defect image=%s", "x")

    if log_format is LogFormat.JSON:
        line = only_line(written())
        assert line["event"] == "pull met a defect"
        assert line["exception"].startswith("Traceback")
    else:
        first, *more = written().splitlines()
        assert first.endswith("pull met a defect image=x")
        assert all(line.startswith("    ") for line in more)
        assert "\x1b" not in written()
        assert "\r" not in written()


@pytest.mark.parametrize(
    "value",
    ["a\nb", "a\r\nb", "\x1b[31mred", "a\x85b", "a\u2028b", "\u202egnp.exe", "a\0b", "\x9b2J"],
)
def test_no_text_of_a_user_begins_a_line_or_moves_the_cursor(logged, value):
    log, written = logged(LogFormat="text")

    log.info("pull asked image=%s", value)

    (line,) = written().splitlines()
    assert line.isprintable()
    assert "pull asked image=" in line


def test_a_line_that_is_endless_is_cut(logged):
    log, written = logged(LogFormat="text")

    log.info("pull asked image=%s", "x" * 1_000_000)

    assert len(written()) < 17_000
    assert "characters)" in written()


@pytest.mark.parametrize("log_format", LogFormat)
def test_no_line_holds_a_secret(logged, log_format):
    log, written = logged(
        LogFormat=log_format,
        MongoDBURI="mongodb://u:m%40ng0pass@db",
        MongoDB="Shifter",
        Broker="redis://:br0kerpass@x",
    )
    logs.conceal(["alice:al1cepass"])

    log.info("one reason=%s", "mongodb://u:other@db MUNGE:AAAsecret: Authorization: Basic c2VjcmV0")
    log.info("m@ng0pass and br0kerpass were refused reason=%r", "al1cepass")
    try:
        raise ValueError("al1cepass")
    except ValueError:
        log.exception("defect")

    for secret in ("other", "AAAsecret", "c2VjcmV0", "m@ng0pass", "br0kerpass", "al1cepass"):
        assert secret not in written()


def test_arguments_that_do_not_fit_hide_no_event(logged):
    log, written = logged()

    log.info("pull asked uid=%d image=%s", "few")
    log.info("pull asked uid=%d", "no number")

    first, second = map(json.loads, written().splitlines())
    assert first["event"] == "pull asked uid=%d image=%s ('few',)"
    assert (second["event"], second["uid"]) == ("pull asked", "no number")


def test_arguments_that_do_not_fit_hide_no_line_of_text(logged):
    log, written = logged(LogFormat="text")

    log.info("pull asked uid=%d", "no number")

    assert written().endswith(" pull asked uid=%d ('no number',)\n")


def test_lines_of_libraries_say_whose_they_are(logged):
    _, written = logged()

    logging.getLogger("celery.worker").warning("%s tasks lost %(x)s", 3)
    logging.getLogger("celery.worker").warning({"no": "text"})
    logging.getLogger("celery.worker").warning("%(a)s done", {"a": "work"})

    first, second, third = map(json.loads, written().splitlines())
    assert first["logger"] == "celery.worker"
    assert "tasks lost" in first["event"]
    assert second["event"] == "{'no': 'text'}"
    assert third["event"] == "work done"


def test_lines_that_libraries_make_of_urls_are_left_out(logged):
    _, written = logged(LogLevel="debug")

    logging.getLogger("urllib3.connectionpool").debug("GET /v2/?token=%s", "x")

    assert written() == ""


@pytest.mark.parametrize(
    ("process", "chosen", "is_json"),
    [
        ("serve", None, False),
        ("admin", None, False),
        ("api", None, True),
        ("worker", None, True),
        ("serve", "json", True),
        ("worker", "text", False),
    ],
)
def test_people_look_at_serve_and_machines_at_the_rest(logged, process, chosen, is_json):
    log, written = logged(process, **({"LogFormat": chosen} if chosen else {}))

    log.info("it happened")

    assert written().startswith("{") is is_json


def test_lines_below_the_level_of_the_site_are_left_out(logged):
    log, written = logged(LogLevel="warn")

    log.info("it happened")

    assert written() == ""


def test_what_a_library_was_silenced_to_stays(logged, monkeypatch):
    """Warnings of urllib3 hold whole URLs, which may be signed."""
    monkeypatch.setattr(logging.getLogger("urllib3"), "level", logging.ERROR)
    logged(LogLevel="debug")

    assert logging.getLogger("urllib3").level == logging.ERROR


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: path.name)
def test_templates_of_log_lines_are_constant(path):
    """Else a user's text could name fields, or hold a `%` that spoils the line."""
    calls = [
        call
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id in ("log", "_log")
    ]

    assert not [ast.unparse(call) for call in calls if not is_constant(call.args[0])]


def is_constant(template):
    if isinstance(template, ast.IfExp):
        return is_constant(template.body) and is_constant(template.orelse)
    return isinstance(template, ast.Constant)
