# SPDX-License-Identifier: BSD-3-Clause
"""`shifter doctor`: nothing is done for it but to give every privilege back.

What examines images is a program of the user's like any other, with the user's environment. It
starts shifter in turn, so that here, other than before a program in a container, the set-uid bit
of other programs keeps its meaning: no_new_privs and the bounding set stay as the caller had them.
"""

from __future__ import annotations

from shifter_runtime import identity, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from shifter_runtime.config import RuntimeConfig


def call(
    words: list[str], config: RuntimeConfig, environment: dict[str, str], ignored: str
) -> NoReturn:
    """Become the program that looks, as who called; `ignored` is as for `process.replace`."""
    identity.become_caller()
    program = config.udi_root_path + "/libexec/shifter/doctor"
    process.replace([program, *words], environment, ignored=ignored)
