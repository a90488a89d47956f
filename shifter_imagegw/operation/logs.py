# SPDX-License-Identifier: BSD-3-Clause
"""One line on standard error for each event: for people, or as JSON.

Our call sites write `log.info("pull finished system=%s seconds=%.1f", system, seconds)`. JSON gets
event and fields from that template and its arguments, never from the text that they make: a value
may hold spaces and `=`.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from gunicorn.glogging import Logger

from shifter_imagegw.config import GatewayConfig, LogFormat
from shifter_imagegw.operation.redaction import Redactor
from shifter_imagegw.rules import accounts

_CONVERSION = re.compile(r"%(?:%|[#0 +-]*\d*(?:\.\d+)?[a-zA-Z])")
_FIELD = re.compile(
    # `image=%s:%s` is one field
    rf"(?P<key>[a-z][a-z0-9_]*)=(?P<value>[^\s%]*(?:{_CONVERSION.pattern}[^\s%]*)+)(?=\s|$)"
)
_WORDS = re.compile(rf"{_FIELD.pattern}|{_CONVERSION.pattern}")

# What would begin a new line, move the cursor, or show text in another order than it has.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_LONGEST = 16_384  # characters of one line of text

_redactor = Redactor()


class Facts(dict[str, Any]):
    """Several fields as one argument of a log line: `log.info("%s started %s", verb, facts)`."""

    def __str__(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.items())


# Lines of the first four hold whole URLs; the others say of each nudge that it came and went.
_CHATTY = ("urllib3", "pymongo", "kombu", "amqp", "celery.worker.strategy", "celery.app.trace")


def configure(config: GatewayConfig, process: str) -> None:
    """Write log lines of this process, and of those that it forks, as the site wants them.

    `process` is what it does (`serve`, `api`, `worker`, `admin`). People start `serve` and look on;
    what the others write is collected by machines.
    """
    log_format = config.log_format or (
        LogFormat.TEXT if process in ("serve", "admin") else LogFormat.JSON
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        TextFormatter() if log_format is LogFormat.TEXT else JsonFormatter(process)
    )
    logging.basicConfig(handlers=[handler], level=config.log_level, force=True)
    logging.captureWarnings(True)
    for name in _CHATTY:
        chatty = logging.getLogger(name)
        # The registry client has silenced urllib3 further: that stays.
        chatty.setLevel(max(chatty.level, config.log_level, logging.WARNING))
    servers = [config.broker, config.mongodb and config.mongodb.uri]
    conceal(_login_of(url) for url in servers if url)


def conceal(logins: Iterable[str]) -> None:
    """Never write these `user:password` texts, which this process works with."""
    _redactor.learn(logins)


class TextFormatter(logging.Formatter):
    """`2026-11-20 12:00:00,123 INFO 4711 pull finished system=cori …`; one line an event.

    The lines of an exception follow, set in, so that no text in them looks like an event.
    """

    def format(self, record: logging.LogRecord) -> str:
        head = f"{self.formatTime(record)} {record.levelname} {record.process}"
        line = f"{head} {_one_line(_redactor.redact(_message(record)))}"
        return "".join([line, *(f"\n    {_one_line(more)}" for more in self._further(record))])

    def _further(self, record: logging.LogRecord) -> Iterator[str]:
        for text in _exception_texts(self, record):
            # Not splitlines(), which knows more ends of lines than a terminal does.
            yield from text.split("\n")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, process, pid, event, and the fields of the call site."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        event, fields = split(record)
        exception = "\n".join(_exception_texts(self, record))
        content = {
            **{key: _json_value(value) for key, value in fields.items()},
            **({"logger": record.name} if not _is_ours(record.name) else {}),
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "process": self._process,
            "pid": record.process,
            "event": _redactor.redact(event),
            **({"exception": exception} if exception else {}),
        }
        if "user" not in content and isinstance(uid := fields.get("uid"), int):
            content["user"] = _name_of(uid)
        first = ("time", "level", "process", "pid", "event")
        ordered = {key: content.pop(key) for key in first} | content
        return json.dumps(ordered, default=str)


def split(record: logging.LogRecord) -> tuple[str, dict[str, object]]:
    """The event of a log line, and its fields with the values that the call site gave."""
    template, arguments = record.msg, record.args
    if not isinstance(template, str) or not isinstance(arguments, tuple) or not arguments:
        return _message(record), {}
    rest = iter(arguments)
    event: list[str] = []
    fields: dict[str, object] = {}
    position = 0
    try:
        for word in _WORDS.finditer(template):
            event.append(template[position : word.start()])
            position = word.end()
            if word["key"] is not None:
                fields[word["key"]] = _value(word["value"], rest)
            elif word[0] == "%%":
                event.append("%")
            elif isinstance(argument := next(rest), Facts):
                fields.update(argument)
            else:
                event.append(word[0] % (argument,))
    except (StopIteration, TypeError, ValueError):
        return _message(record), {}
    event.append(template[position:])
    return " ".join("".join(event).split()), fields


class GunicornLog(Logger):  # type: ignore[misc]
    """gunicorn's own lines, written like all others."""

    def setup(self, cfg: Any) -> None:  # noqa: ANN401
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers = []
        self.error_log.propagate = True


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return f"{record.msg} {record.args!r}"  # a defect of the call site hides no event


def _value(template: str, arguments: Iterator[object]) -> object:
    conversions = _CONVERSION.findall(template)
    if conversions != [template]:
        return template % tuple(next(arguments) for word in conversions if word != "%%")
    return _typed(template, next(arguments))


def _typed(conversion: str, argument: object) -> object:
    if isinstance(argument, float):
        return float(conversion % (argument,)) if conversion[-1] in "feg" else argument
    if isinstance(argument, int | None | Mapping | list | tuple):
        return argument
    return str(argument)


def _json_value(value: object) -> object:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    return _redactor.redact(str(value))


def _exception_texts(formatter: logging.Formatter, record: logging.LogRecord) -> Iterator[str]:
    if record.exc_info:
        yield _redactor.redact(formatter.formatException(record.exc_info))
    elif record.exc_text:
        yield _redactor.redact(record.exc_text)
    if record.stack_info:
        yield _redactor.redact(record.stack_info)


def _one_line(text: str) -> str:
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}… ({len(text)} characters)"
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def _timestamp(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in ("shifter_imagegw", "shifter_common", "root")


@functools.lru_cache(maxsize=1024)
def _name_of(uid: int) -> str:
    return accounts.name_of(uid) or str(uid)


def _login_of(url: str) -> str:
    login = urlsplit(url).netloc.rpartition("@")[0]
    return unquote(login)
