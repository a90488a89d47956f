# SPDX-License-Identifier: BSD-3-Clause
"""Users who import, gateways that may become them and one that may not, and what they import."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.integration.conftest import SYSTEM, Gateway, require_program, wait_until
from tests.integration.importers.trees import content_of_tree

ALICE, BOB, ACCOUNT = 61001, 61002, 61009  # uids that no account of the machine has
PROGRAM = Path(sys.executable).with_name("shifterimg")


@pytest.fixture(scope="session")
def place():
    """A directory that all users reach; pytest's own are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="shifter-import-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@contextlib.contextmanager
def running(directory, munged, *, account, options=(), **more):
    """A gateway whose processes are `account`; its Python must be readable for all."""
    directory.mkdir(mode=0o755)
    (directory / "images").mkdir(mode=0o700)
    content = {
        "DefaultImageLocation": "default",
        "DefaultImageFormat": "squashfs",
        "ImageExpirationTimeout": "90:00:00:00",
        "CacheDirectory": str(directory / "cache"),
        "Locations": {"default": {"remotetype": "dockerv2", "url": "http://127.0.0.1:1"}},
        "ImportUsers": "all",
        "MaxImageSize": "256M",
        "MaxEntries": 5000,
        "Platforms": {
            SYSTEM: {
                "mungeSocketPath": str(munged),
                "accesstype": "local",
                "local": {"imageDir": str(directory / "images")},
                "admins": ["root"],
            }
        },
    } | more
    for path in (directory, directory / "images"):
        os.chown(path, account, account)
    prefix = [
        require_program("setpriv"), f"--reuid={account}", f"--regid={account}", "--clear-groups",
        *options,
    ]  # fmt: skip
    gateway = Gateway(directory, content, munged, prefix=prefix)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


@pytest.fixture(scope="session")
def root_gateway(place, munged):
    """A gateway that becomes whoever imports."""
    with running(place / "root", munged, account=0) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def account_gateway(place, munged):
    """A gateway of an account without privileges, as sites should have it."""
    with running(place / "account", munged, account=ACCOUNT) as gateway:
        yield gateway


@pytest.fixture
def run_gateway(place, munged, request):
    """`with run_gateway(account=UID, **config) as gateway`: one of a test's own."""
    return functools.partial(running, place / request.node.name, munged)


@pytest.fixture(scope="session")
def trusting_gateway(place, munged):
    """A gateway that takes squashfs files of Alice as they are."""
    directory = place / "trusting"
    with running(directory, munged, account=ACCOUNT, TrustedImporters=[str(ALICE)]) as gateway:
        yield gateway


@pytest.fixture(scope="session", params=["root", "account"])
def any_gateway(request):
    """Each of the two in turn."""
    return request.getfixturevalue(f"{request.param}_gateway")


@pytest.fixture
def home(place, request):
    """`home(uid)`: an open directory of a user's own, of this test only."""
    made = {}

    def make(uid=ALICE):
        if uid not in made:
            made[uid] = Path(tempfile.mkdtemp(prefix=f"user{uid}-", dir=place))
            made[uid].chmod(0o755)
            os.chown(made[uid], uid, uid)
        return made[uid]

    return make


@pytest.fixture
def shifterimg(tmp_path, munged, home):
    """`shifterimg(gateway, "import", …, by=ALICE)`: what a user types."""

    def run(gateway, *arguments, by=ALICE, check=True):
        config = home(by) / "udiRoot.conf"
        config.write_text(
            "udiMount=/var/udiMount\nloopMount=/var/udiLoopMount\nimagePath=/images\n"
            "udiRootPath=/opt/shifter\npopulateEtcDynamically=1\ndefaultImageType=docker\n"
            f"system={SYSTEM}\nimageGateway={gateway.url}\nmungeSocketPath={munged}\n"
        )
        command = ["setpriv", f"--reuid={by}", f"--regid={by}", "--clear-groups", PROGRAM]
        result = subprocess.run(
            [*command, "--config", config, *map(str, arguments)],
            capture_output=True, text=True, timeout=60, check=False, cwd=home(by),
        )  # fmt: skip
        if check:
            assert result.returncode == 0, result.stderr + gateway.log[-2000:]
        return result

    return run


@pytest.fixture
def imported(shifterimg):
    """`imported(gateway, path, tag)`: import; the tree in the image that the system now has."""

    def run(gateway, path, tag, *options, by=ALICE):
        shifterimg(gateway, "import", *options, path, tag, by=by)
        found = shifterimg(gateway, "lookup", f"custom:{tag}", by=by)
        return gateway.image_dir / f"{found.stdout.strip()}.squashfs"

    return run


@pytest.fixture
def tree_in(tmp_path):
    """`tree_in(image)`: what a mounted image holds, see `content_of_tree`."""
    place = tmp_path / "mounted"
    place.mkdir()

    def look(image):
        subprocess.run(["mount", "-t", "squashfs", "-o", "loop,ro", image, place], check=True)
        try:
            return content_of_tree(place)
        finally:
            subprocess.run(["umount", place], check=True)

    return look


@pytest.fixture
def post(munged):
    """`post(gateway, path, tag, format)`: ask once, by HTTP alone; the record."""

    def run(gateway, path, tag, file_format="auto", *, by=ALICE, **lists):
        command = ["setpriv", f"--reuid={by}", f"--regid={by}", "--clear-groups"]
        munge = [require_program("munge"), "--no-input", f"--socket={munged}"]
        credential = subprocess.run([*command, *munge], check=True, capture_output=True)
        answer = gateway.request(
            "POST",
            f"/api/doimport/{SYSTEM}/custom/{tag}/",
            headers={"authentication": credential.stdout.decode().strip()},
            json={"filepath": str(path), "format": file_format, **lists},
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    return run


@pytest.fixture
def ask_of(post):
    """`ask_of(gateway, path, format)`: the record of an import at its end."""
    numbers = itertools.count(1)

    def run(gateway, path, file_format="auto", **more):
        tag = f"asked{next(numbers)}-{os.urandom(4).hex()}:1"

        def ended():
            record = post(gateway, path, tag, file_format, **more)
            return record if record["status"] in ("READY", "FAILURE") else None

        return wait_until(ended, what=f"the import of {path}")

    return run


@pytest.fixture
def ask(ask_of, gateway):
    return functools.partial(ask_of, gateway)


def failure(record):
    """Why an import failed, in one sentence."""
    assert record["status"] == "FAILURE", record
    assert "\n" not in record["status_message"]
    assert "Traceback" not in record["status_message"]
    assert "did not expect" not in record["status_message"]
    return record["status_message"]
