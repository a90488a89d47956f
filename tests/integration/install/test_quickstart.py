# SPDX-License-Identifier: BSD-3-Clause
"""./quickstart from nothing to a program in a container, and back to nothing."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.registry, pytest.mark.munge]

PLACES = ("/home", "/var", "/usr/local/bin", "/run", "/etc")
TREES = ("/usr/local/share", "/etc/fish")
LINKS = Path("/usr/local/bin")

# In the container: the hard link, the symlink and the whiteouts of the demonstration image.
LOOK_AT_LAYERS = """
cd /usr/local/bin
stat -c %i:%h hello bonjour
readlink hallo
test ! -e /etc/debian_version
ls -A /var/log | wc -l
"""
ACCOUNT_FILES = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/subuid")


def machine() -> dict[str, object]:
    """What quickstart may change on a machine."""
    return {
        # useradd leaves copies of the files that it changed: passwd-, subuid-, ...
        **{
            place: sorted(name for name in os.listdir(place) if name[-1] != "-") for place in PLACES
        },
        **{tree: sorted(map(str, Path(tree).rglob("*"))) for tree in TREES},
        **{file: Path(file).read_text() for file in ACCOUNT_FILES if Path(file).exists()},
        "mounts": sorted(Path("/proc/self/mountinfo").read_text().splitlines()),
    }


def processes_of(prefix: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(prefix) in command:
            found.append(command)
    return found


def backing_files_of_loop_devices() -> list[str]:
    return [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file")]


@pytest.fixture
def quickstart(script, unused_prefix):
    """Run quickstart with a prefix of the test's own; everything is removed in the end."""

    def run(*arguments):
        return script("quickstart", "--prefix", unused_prefix, *arguments)

    yield run
    run("--remove")


def test_quickstart_goes_the_whole_path_and_leaves_nothing(quickstart, unused_prefix, script):
    before = machine()

    first = quickstart()
    assert first.returncode == 0, first.stdout
    commands = re.findall(r"(?m)^\w+\$ \S*?(shifter\w*) (.*)$", first.stdout)
    image = commands[0][1].removeprefix("pull ")
    assert commands == [
        ("shifterimg", f"pull {image}"),
        ("shifterimg", "images"),
        ("shifter", f"--image={image} cat /etc/os-release"),
        ("shifter", f"--image={image} id"),
    ]
    assert re.search(rf"(?m)^mycluster +docker +READY .* {re.escape(image)} *$", first.stdout)
    assert re.search(r"(?m)^uid=[1-9][0-9]*\(", first.stdout)

    application = script(
        *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
        *(unused_prefix / "bin/shifter", f"--image={image}", "sh", "-ec", LOOK_AT_LAYERS),
        cwd="/",
    )
    assert application.returncode == 0, application.stdout
    one, other, link, count = application.stdout.split()
    assert (one, link, count) == (other, "hello", "0")
    assert one.endswith(":2")

    pages_and_completions_are_found(unused_prefix)
    for name in ("shifter", "shifterimg"):
        (LINKS / name).unlink()
    (LINKS / "shifter").symlink_to(unused_prefix / "old/shifter")
    (LINKS / "shifterimg").symlink_to("/nowhere/at/all")

    second = quickstart()
    assert second.returncode == 0, second.stdout
    assert (LINKS / "shifter").readlink() == unused_prefix / "bin/shifter"
    assert (LINKS / "shifterimg").readlink() == Path("/nowhere/at/all")
    assert "makes its own: /usr/local/bin/shifterimg\n" in second.stdout
    (LINKS / "shifterimg").unlink()
    assert "mmdebstrap" not in second.stdout
    assert "shifter-gateway serve" not in second.stdout

    missing = quickstart(f"{image}-that-is-not-there")
    assert missing.returncode == 1
    assert "not-there" in missing.stdout.splitlines()[-1]
    assert "FAILURE" in missing.stdout

    assert quickstart("--stop").returncode == 0
    assert processes_of(unused_prefix) == []

    if "account shifterdemo" in (unused_prefix / "var/quickstart.state").read_text():
        refuse_to_remove_while_busy(quickstart)

    with process_of_a_container("shifter"):
        removed = quickstart("--remove")
    assert removed.returncode == 0, removed.stdout
    assert machine() == before
    assert not unused_prefix.exists()
    assert processes_of(unused_prefix) == []
    assert not [file for file in backing_files_of_loop_devices() if str(unused_prefix) in file]


def pages_and_completions_are_found(prefix):
    """By those who look for them: man, and a new shell."""
    page = said("man", "-w", "shifterimg")
    zsh = said("zsh", "-fc", "autoload compinit && compinit -uD && print $_comps[shifter-admin]")
    fish = said("fish", "-c", 'complete -C "shifterimg looku"')
    of_gateway = said("fish", "-c", 'complete -C "shifter-gateway stat"')

    assert os.path.realpath(page) == f"{prefix}/share/man/man1/shifterimg.1"
    assert zsh == "_shifter-admin"
    assert (fish, of_gateway) == ("lookup", "status")
    completions = Path("/usr/local/share/bash-completion/completions")
    assert (completions / "shifter").resolve().is_relative_to(prefix)


def said(*words: str) -> str:
    with tempfile.TemporaryDirectory() as home:  # shells make files of their own there
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home}
        done = subprocess.run(
            words, capture_output=True, text=True, env=environment, timeout=60, check=False
        )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\t")[0].strip()


@contextlib.contextmanager
def process_of_a_container(account: str) -> Iterator[None]:
    """Root started it, and whose number it has there is not whose it has here."""
    within = ["unshare", "--pid", "--fork", "setpriv", f"--reuid={account}", "--pdeathsig=KILL"]
    running = subprocess.Popen(
        [*within, "--clear-groups", "sh", "-c", "echo ready; exec sleep 600"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        yield
    finally:
        running.kill()
        running.communicate()


def refuse_to_remove_while_busy(quickstart):
    remains = subprocess.Popen(["setpriv", "--reuid=shifterdemo", "--clear-groups", "sleep", "600"])
    try:
        busy = quickstart("--remove")
    finally:
        remains.kill()
        remains.wait()

    assert busy.returncode == 1
    assert f"shifterdemo still has processes ({remains.pid})" in busy.stdout


def test_removing_where_nothing_is_changes_nothing(quickstart):
    before = machine()

    done = quickstart("--remove")

    assert done.returncode == 0
    assert "made nothing" in done.stdout
    assert machine() == before


def test_a_configuration_of_somebody_else_is_not_touched(quickstart, unused_prefix):
    configuration = unused_prefix / "etc/udiRoot.conf"
    configuration.parent.mkdir(parents=True)
    configuration.write_text("# a site's\n")

    done = quickstart()

    assert done.returncode == 1
    assert "that quickstart did not write" in done.stdout
    assert configuration.read_text() == "# a site's\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["one", "two"], "one image at a time"),
        (["--prefix"], "--prefix needs a value"),
        (["--user"], "--user needs a value"),
        (["--frob"], "unknown option '--frob'"),
        (["https://alpine:3.20"], "names its registry too"),
        (["bad name"], "not an image reference: 'bad name'"),
        (["alpine", "--ca", "/etc/passwd"], "--ca needs an IMAGE that names its registry"),
    ],
)
def test_wrong_arguments_are_named_and_change_nothing(script, arguments, complaint):
    before = machine()

    done = script("quickstart", *arguments)

    assert done.returncode == 1
    assert complaint in done.stdout
    assert machine() == before
