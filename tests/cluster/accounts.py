# SPDX-License-Identifier: BSD-3-Clause
"""Who has an account on the cluster: two users who share a project, and the gateway's own."""

from __future__ import annotations

from pathlib import Path

ALICE, BOB, PROJECT, GATEWAY = 12001, 12002, 12100, 12200

_PASSWD = f"""\
alice:x:{ALICE}:{ALICE}:Alice Example:/global/home/alice:/bin/bash
bob:x:{BOB}:{BOB}:Bob Example:/global/home/bob:/bin/bash
shifter:x:{GATEWAY}:{GATEWAY}::/var/lib/shifter:/usr/sbin/nologin
"""
_GROUP = f"""\
alice:x:{ALICE}:
bob:x:{BOB}:
project:x:{PROJECT}:alice,bob
shifter:x:{GATEWAY}:
"""
_SHADOW = "".join(f"{name}:*:19000:0:99999:7:::\n" for name in ("alice", "bob", "shifter"))


def write(directory: Path) -> None:
    """What a node adds to the files of these names in /etc."""
    directory.mkdir()
    for name, text in (("passwd", _PASSWD), ("group", _GROUP), ("shadow", _SHADOW)):
        (directory / name).write_text(text)
