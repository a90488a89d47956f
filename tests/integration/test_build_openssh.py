# SPDX-License-Identifier: BSD-3-Clause
"""tools/build_openssh: what it trusts, what it says, and when it does nothing.

That what it builds works is what the tests of sshd show, which run it.
"""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pytest

from tests import openssh

SCRIPT = openssh.ROOT / "tools/build_openssh"
_SYSTEM = platform.freedesktop_os_release()


def build(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False, env=os.environ | variables, timeout=120,
    )  # fmt: skip


@pytest.fixture
def unsigned_mirror(tmp_path):
    """A configuration of apt's: one mirror, not signed, and every word that lets that be."""
    codename = _SYSTEM["VERSION_CODENAME"]
    lists = tmp_path / f"mirror/dists/{codename}/main/source"
    lists.mkdir(parents=True)
    (lists / "Sources").write_text("Package: openssh\nVersion: 1:99\nDirectory: pool\n")
    (lists.parents[1] / "Release").write_text(f"Codename: {codename}\nComponents: main\n")
    (tmp_path / "sources.list").write_text(
        f"deb [trusted=yes] file:{tmp_path}/mirror {codename} main\n"
    )
    configuration = tmp_path / "apt.conf"
    configuration.write_text(
        f'Dir::Etc::SourceList "{tmp_path}/sources.list";\nDir::Etc::SourceParts "/dev/null";\n'
        'Acquire::AllowInsecureRepositories "true";\nAPT::Get::AllowUnauthenticated "true";\n'
        'Acquire::AllowWeakRepositories "true";\n'
    )
    for path in (tmp_path, *tmp_path.parents[:2]):  # where apt's own user downloads from
        path.chmod(path.stat().st_mode | 0o055)
    return {"APT_CONFIG": str(configuration)}


def test_sources_that_nobody_signed_are_refused_whatever_apt_is_told(tmp_path, unsigned_mirror):
    done = build(tmp_path / "out", **unsigned_mirror)

    assert done.returncode == 1
    assert "is not signed" in done.stdout or "does not have a Release file" in done.stdout
    assert "build_openssh: apt cannot fetch the lists of source packages" in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_machine_without_a_mirror_is_told(tmp_path, unsigned_mirror):
    (tmp_path / "sources.list").write_text("")

    done = build(tmp_path / "out", **unsigned_mirror)

    assert done.returncode == 1
    assert "apt knows no mirror of" in done.stdout


def test_what_is_built_already_is_kept_without_asking_a_mirror(tmp_path, unsigned_mirror):
    built = openssh.require()

    done = build("--keep", built, **unsigned_mirror)

    assert (done.returncode, done.stdout) == (0, "")


def test_it_says_what_it_built():
    done = build("--version", openssh.require())

    assert done.returncode == 0
    assert done.stdout.startswith("OpenSSH_")
    assert "\nopenssh 1:" in done.stdout
    assert "\nkeys ssh-ed25519 " in done.stdout


def test_what_it_built_needs_nothing_of_an_image():
    built = openssh.require()

    for program in ("bin/ssh", "bin/ssh-keygen", "bin/scp", "sbin/sshd"):
        headers = subprocess.run(
            ["readelf", "--program-headers", "--dynamic", built / program],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        assert "INTERP" not in headers
        assert "NEEDED" not in headers


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "name a directory"),
        (["--no-such"], "unknown option '--no-such'"),
        (["/tmp/a", "/tmp/b"], "one directory is enough"),
        (["/tmp/a b"], "must be an absolute path of letters"),
        (["--version", "/nonexistent"], "/nonexistent holds no OpenSSH of this script's"),
    ],
)
def test_a_mistake_is_one_sentence(words, why):
    done = build(*words)

    assert done.returncode == 1
    assert why in done.stdout
    assert done.stdout.count("\n") == 1
