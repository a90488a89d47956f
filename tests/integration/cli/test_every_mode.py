# SPDX-License-Identifier: BSD-3-Clause
"""Every mode of every program, where nothing is as it should be: words, and a known status.

What gateways may answer is tried by `tests/unit/shifter_cli/test_odd_answers.py`.
"""

from __future__ import annotations

import concurrent.futures
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from shifter_cli import admin, shifterimg
from shifter_imagegw import command as gateway_command

GROUPS = {
    "shifterimg": shifterimg.shifterimg,
    "shifter-admin": admin.shifter_admin,
    "shifter-gateway": gateway_command.main,
}
STARTS = {
    "shifterimg": "from shifter_cli.shifterimg import main; main({config!r})",
    "shifter-admin": "from shifter_cli.admin import main; main({config!r})",
    "shifter-gateway": "from shifter_imagegw.command import main; main()",
}
KNOWN_STATUSES = {0, 1, 2, 3, 75}
FORBIDDEN = ("Traceback", "a defect of Shifter ended", "Exception ignored", "Errno")

# What to type after a mode that needs more than one image.
WORDS = {
    "import": ("/etc/hosts", "tool:1"),
    "login": ("--username", "alice", "--password-stdin"),
    "prepare": ("mpich", "--from", "/nonexistent", "--into", "/nonexistent"),
    "module check": ("mpich", "--tree", "/nonexistent"),
    "rm": ("--yes", "tool:1"),
    "migrate": ("--check",),
}
NEED_AN_IMAGE = {"acl", "cancel", "expire", "export", "inspect", "lookup", "pull", "pullnb"}
NEED_AN_IMAGE |= {"requeue", "search", "release", "logout"}


def leaves(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from leaves(found, (*above, name))
        else:
            yield (*above, name)


MODES = [(program, mode) for program, group in GROUPS.items() for mode in leaves(group)]
NAMES = [" ".join((program, *mode)) for program, mode in MODES]


def words_of(mode: tuple[str, ...]) -> tuple[str, ...]:
    for name in (" ".join(mode), mode[-1]):
        if name in WORDS:
            return WORDS[name]
    return ("tool:1",) if mode[-1] in NEED_AN_IMAGE else ()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Configurations: one with which nothing can be reached, and some that are none."""
    place = tmp_path_factory.mktemp("place")
    (place / "udiRoot.conf").write_text(
        "udiMount=/var/udiMount\nloopMount=/var/udiLoopMount\nimagePath=/nonexistent/images\n"
        "udiRootPath=/nonexistent\npopulateEtcDynamically=1\ndefaultImageType=docker\n"
        "system=cluster\nimageGateway=http://127.0.0.1:9\n"
        "mungeSocketPath=/nonexistent/munge.socket\n"
    )
    (place / "imagemanager.json").write_text(
        '{"Locations": {"default": {"remotetype": "dockerv2", "url": "http://127.0.0.1:9"}},'
        ' "Platforms": {"cluster": {"imageDir": "/nonexistent/images", "accesstype": "local",'
        ' "mungeSocketPath": "/nonexistent/munge.socket"}},'
        f' "CacheDirectory": "{place}/file/cache", "CatalogPath": "{place}/file/catalog.sqlite",'
        f' "ExpandDirectory": "{place}/file/scratch"}}'
    )
    (place / "file").touch()
    (place / "garbage").write_bytes(b"\0\xff\xfe{[=" * 400)
    (place / "directory").mkdir()
    return place


def run(
    program: str, words: tuple[str, ...], config: Path, redirection: str = "", **more: str | None
) -> str:
    """What is wrong with how it ended; nothing where it ended as it should."""
    code = f"import sys; sys.path[:] = {sys.path!r}; " + STARTS[program].format(config=str(config))
    variables = {"PATH": "/usr/bin:/bin", "HOME": str(config.parent), "GWCONFIG": str(config)}
    variables = {name: value for name, value in (variables | more).items() if value is not None}
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-I", "-c", code, *words],
        input="secret\n", capture_output=True, text=True, timeout=120, check=False, env=variables,
    )  # fmt: skip
    told = done.stdout + done.stderr
    if done.returncode not in KNOWN_STATUSES or any(word in told for word in FORBIDDEN):
        return f"{config.name} {redirection} {more}: {done.returncode}: {told[-500:]}"
    if done.returncode != 0 and "2>" not in redirection and not done.stderr and not done.stdout:
        return f"{config.name} {redirection} {more}: {done.returncode}, and nothing said"
    return ""


@pytest.mark.parametrize(("program", "mode"), MODES, ids=NAMES)
def test_a_mode_ends_in_words_wherever_it_is_started(program, mode, place):
    good = place / ("imagemanager.json" if program == "shifter-gateway" else "udiRoot.conf")
    words = (*mode, *words_of(mode))
    odd = {"HOME": None, "LC_ALL": "xx_YY.none", "TERM": "", "COLUMNS": "-3"}

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        tries = [
            pool.submit(run, program, words, good, **odd),
            pool.submit(run, program, words, place / "garbage"),
            pool.submit(run, program, words, place / "directory", HOME="/etc/passwd"),
            pool.submit(run, program, words, good, ">/dev/full 2>&1"),
            pool.submit(run, program, words, good, ">&- 2>&- <&-"),
        ]

    assert [problem for each in tries if (problem := each.result())] == []


@pytest.fixture
def silent_gateway():
    """An address that takes requests and answers none; an event tells of the first."""
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    held.append(connection)
                    asked.set()
            except OSError:
                return

        held: list[socket.socket] = []
        thread = threading.Thread(target=listen)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in held:
            connection.close()


@pytest.mark.munge
@pytest.mark.parametrize(
    "mode", [mode for program, mode in MODES if program == "shifterimg"], ids=" ".join
)
def test_ctrl_c_ends_a_mode_that_waits_for_the_gateway(mode, silent_gateway, write_config):
    url, asked = silent_gateway
    code = f"import sys; sys.path[:] = {sys.path!r}; " + STARTS["shifterimg"].format(
        config=str(write_config(url))
    )
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", code, *mode, *words_of(mode)], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"HOME": "/nonexistent"},
    )  # fmt: skip
    process.stdin.write("secret\n")
    process.stdin.flush()

    while process.poll() is None and not asked.wait(0.05):
        pass
    process.send_signal(signal.SIGINT)
    try:
        output, errors = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:  # it came just before a wait began, where Python misses it
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)

    assert process.returncode in ((130,) if asked.is_set() else KNOWN_STATUSES)
    assert "Traceback" not in output + errors
