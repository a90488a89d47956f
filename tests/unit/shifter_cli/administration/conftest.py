# SPDX-License-Identifier: BSD-3-Clause
"""shifter-admin as typed, against the fake gateway."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from shifter_cli import admin

CONFIG = """\
udiMount = /var/udiMount
loopMount = /var/loopMount
imagePath = /usr
udiRootPath = /usr
populateEtcDynamically = 1
allowLibcPwdCalls = 1
defaultImageType = docker
system = mycluster
gatewayTimeout = 10
imageGateway = {url}
"""


class Terminal:
    """Standard input where somebody sits, and types this."""

    def __init__(self, typed):
        self._typed = [*typed]

    def isatty(self):
        return True

    def readline(self, *_):
        return self._typed.pop(0) if self._typed else ""


@pytest.fixture
def run(gateway, config_path, payloads, capfd, monkeypatch):
    """Run shifter-admin; `typed` are the answers of who sits there, else nobody does."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: SimpleNamespace(pw_name=f"user{uid}"))

    def run(*arguments, typed=None):
        config_path.write_text(CONFIG.format(url=gateway.url))
        if typed is not None:
            monkeypatch.setattr(sys, "stdin", Terminal(typed))
        with pytest.raises(SystemExit) as end:
            admin.main(str(config_path), arguments)
        written = capfd.readouterr()
        return SimpleNamespace(code=end.value.code, stdout=written.out, stderr=written.err)

    return run


PROGRAM = """#!{python}
import json, os, sys
seen = {{"arguments": sys.argv[1:], "config": os.environ["GWCONFIG"]}}
answer = json.loads({answer!r})
print(json.dumps(seen if answer == "seen" else answer))
sys.exit(3)
"""


@pytest.fixture
def gateway_program(tmp_path, monkeypatch):
    """Make a shifter-gateway that answers this, or how it was called, and ends with 3."""

    def make(answer="seen"):
        program = tmp_path / "bin/shifter-gateway"
        program.parent.mkdir()
        program.write_text(PROGRAM.format(python=sys.executable, answer=json.dumps(answer)))
        program.chmod(0o755)
        monkeypatch.setattr(sys, "argv", [str(tmp_path / "bin/shifter-admin")])
        (tmp_path / "imagemanager.json").write_text("{}")

    return make
