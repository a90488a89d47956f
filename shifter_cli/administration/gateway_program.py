# SPDX-License-Identifier: BSD-3-Clause
"""`shifter-gateway` of this host, run as a program: it knows the gateway's side of everything."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from shifter_cli.errors import SettingsError
from shifter_runtime.config import RuntimeConfig

_NAME = "shifter-gateway"
_PATIENCE = 300  # seconds


class GatewayProgram:
    """The program, and the imagemanager.json that it is to read."""

    def __init__(self, path: str, config: str) -> None:
        self.path = path
        self.config = config

    def ask(self, arguments: Sequence[str]) -> Any:  # noqa: ANN401
        """What it answers in JSON, whatever its exit status; else its complaint is raised."""
        try:
            done = subprocess.run(
                [self.path, *arguments], env=self._environment(), stdin=subprocess.DEVNULL,
                capture_output=True, timeout=_PATIENCE, check=False,
            )  # fmt: skip
        except OSError as error:
            raise SettingsError(f"cannot run {self.path}: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise SettingsError(f"{self._shown(arguments)} took over {_PATIENCE} s") from error
        try:
            return json.loads(done.stdout)
        except ValueError:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            said = lines[-1] if lines else f"exit status {done.returncode}"
            words = said.removeprefix(f"{_NAME}: ")
            raise SettingsError(f"{self._shown(arguments)}: {words}") from None

    def hand_over(self, arguments: Sequence[str]) -> int:
        """Let it do the work on this terminal; its exit status."""
        if sys.stdout is not None:  # closed by the caller
            sys.stdout.flush()
        try:
            return subprocess.call([self.path, *arguments], env=self._environment())
        except OSError as error:
            raise SettingsError(f"cannot run {self.path}: {error.strerror}") from error

    def _environment(self) -> dict[str, str]:
        return os.environ | {"GWCONFIG": self.config}

    def _shown(self, arguments: Sequence[str]) -> str:
        return " ".join([_NAME, *arguments])


def find(
    config: RuntimeConfig | None, config_path: str, gateway_config: str | None
) -> GatewayProgram:
    """The program of this installation; on a host that is no gateway's there may be none."""
    wanted = gateway_config or os.path.join(os.path.dirname(config_path), "imagemanager.json")
    if not os.path.exists(wanted):
        raise SettingsError(
            f"there is no {wanted}: this is for a host of the gateway (--gateway-config names "
            "another file)"
        )
    places = [os.path.dirname(os.path.realpath(sys.argv[0]))]
    if config is not None:
        places.append(os.path.join(config.udi_root_path, "bin"))
    places.append(os.path.dirname(sys.executable))
    program = shutil.which(_NAME, path=os.pathsep.join(places)) or shutil.which(_NAME)
    if program is None:
        raise SettingsError(
            f"there is no {_NAME} on this host: install Shifter here without --runtime-only"
        )
    return GatewayProgram(program, wanted)
