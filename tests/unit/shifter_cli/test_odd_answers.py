# SPDX-License-Identifier: BSD-3-Clause
"""Whatever a gateway answers, every command ends in words and with a status that scripts know."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import click
import pytest

from shifter_cli import admin, shifterimg

KNOWN_STATUSES = {0, 1, 75}  # 75: `lookup`, where no gateway answered

# What to type after a mode, where it needs something; others are tried with nothing and an image.
WORDS = {
    ("login",): [("--username", "alice", "--password-stdin")],
    ("import",): [("/etc/hosts", "tool:1")],
    ("acl",): [("tool:1",), ("tool:1", "--public"), ("tool:1", "--add-user", "0")],
    ("rm",): [("tool:1", "--yes"), ("tool:1",)],
    ("cancel",): [("tool:1",), ("tool:1", "--yes")],
    ("inspect",): [("tool:1",), ("tool:1", "--json")],
    ("images",): [(), ("--json",), ("--long",), ("--mine", "--sort", "size")],
}
# Those that ask no gateway.
LOCAL = {("addresses",), ("config", "check"), ("config", "show"), ("gc",), ("migrate",)}
LOCAL |= {("module", "prepare"), ("module", "check"), ("check",)}


def _http(body: bytes, status: str = "200 OK", length: int | None = None, more: str = "") -> bytes:
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{more}Content-Length: {size}"
    return f"{head}\r\n\r\n".encode() + body


def _json(value: object, status: str = "200 OK") -> bytes:
    return _http(json.dumps(value).encode(), status)


_ODD_RECORD = {
    "id": 5, "status": "READY", "tag": {"a": 1}, "system": [], "itype": None, "size": "large",
    "last_pull": "yesterday", "userACL": 3, "groupACL": [None, {}], "ENV": "PATH", "ENTRY": 1,
    "LABELS": [1], "expiration": 1e400, "puller": -(2**70), "layers": 7, "history": ["x", None],
    "layers_progress": [{"digest": None, "done": "all"}], "path": 0, "created": 12,
}  # fmt: skip

# What comes at last, since a pull that has no status yet is waited for.
_SETTLED = _json({"id": "abc", "status": "FAILURE", "status_message": "enough", "list": []})

ANSWERS = {
    "nothing": b"",
    "no http": b"\xff\xfe\x00rubbish\r\n\r\n",
    "a status line alone": b"HTTP/1.1 200 OK\r\n\r\n",
    "an impossible status": b"HTTP/1.1 9999999999 OK\r\n\r\n{}",
    "an endless header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
    "a page": _http(b"<html><body>log in</body></html>"),
    "text that is no utf-8": _http(b'{"id": "\xff\xfe"}'),
    "cut off": _http(b'{"id": ', length=5000),
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
    "a redirect": _http(b"", "302 Found", more="Location: file:///etc/passwd\r\n"),
    "a failure without words": _http(b"", "500 Internal Server Error"),
    "a failure that is no object": _json([], "404 Not Found"),
    "a failure with odd words": _json({"error": {"a": [1]}, "status": None}, "403 Forbidden"),
    "a failure that a terminal would obey": _json({"error": "\x1b[2J\u202e"}, "409 Conflict"),
    "null": _json(None),
    "a number": _json(7),
    "a string": _json("READY"),
    "a list": _json([1, None, {}]),
    "an empty object": _json({}),
    "objects too deep": _http(b'{"a":' * 50_000),
    "a number too large": _http(b'{"status": "READY", "last_pull": ' + b"9" * 5000 + b"}"),
    "odd fields": _json(_ODD_RECORD),
    "a list that is none": _json({"list": 5, "tags": 5, "days": 5, "status": "READY"}),
    "a list of odd things": _json({"list": [None, 1, [], {}], "tags": [None, 1, {}], "days": [3]}),
    "a list of odd records": _json({"list": [_ODD_RECORD], "status": "READY"}),
    "a number that is none": _http(b'{"list": [{"size": NaN, "last_pull": Infinity}]}'),
    "half a character": _json({"id": "\ud800", "status": "FAILURE", "status_message": "\udfff"}),
}


def leaves(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command of a program."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, (*above, name))
        else:
            yield (*above, name)


def problems_of(call, modes: tuple[str, ...], gateway, capsys, monkeypatch) -> dict[str, str]:
    """Where a command did not end as it should, by answer."""
    found = {}
    for name, answer in ANSWERS.items():
        for words in WORDS.get(modes, [(), ("tool:1",)]):
            gateway.answers[:] = [answer] * 3 + [_SETTLED]
            gateway.requests.clear()
            monkeypatch.setattr("sys.stdin", io.StringIO("secret\n"))
            with pytest.raises(SystemExit) as end:
                call([*modes, *words])
            captured = capsys.readouterr()
            told = captured.out + captured.err
            if end.value.code not in KNOWN_STATUSES or "a defect of Shifter" in told:
                found[f"{name} {words}"] = f"{end.value.code}: {captured.err[-300:]}"
            elif end.value.code != 0 and not captured.err.strip():
                found[f"{name} {words}"] = f"{end.value.code}, and nothing said"
            elif "\x1b[2J" in told:
                found[f"{name} {words}"] = "a terminal would obey it"
    return found


@pytest.mark.parametrize("mode", [*leaves(shifterimg.shifterimg)], ids=" ".join)
def test_shifterimg_stands_every_answer(mode, run, gateway, capsys, monkeypatch, config_path):
    run("--help")  # writes the configuration

    def call(words):
        shifterimg.main(str(config_path), words)

    assert problems_of(call, mode, gateway, capsys, monkeypatch) == {}


@pytest.mark.parametrize("command", sorted({*leaves(admin.shifter_admin)} - LOCAL), ids=" ".join)
def test_shifter_admin_stands_every_answer(command, run, gateway, capsys, monkeypatch, config_path):
    run("--help")  # writes the configuration

    def call(words):
        admin.main(str(config_path), words)

    assert problems_of(call, command, gateway, capsys, monkeypatch) == {}
