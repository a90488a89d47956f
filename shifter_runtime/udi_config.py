# SPDX-License-Identifier: BSD-3-Clause
"""`/var/shifterConfig.json`: which image, user, volumes and modules a container was built of.

A prepared container is joined when its text is the one that would be written, so the text is, byte
for byte, the original's: no blanks, and each module followed by a comma.
"""

from __future__ import annotations

from shifter_common.metadata import json_string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def text(image_id: str, user: str, volumes: str, modules: Iterable[str] = ()) -> str:
    """The file's content; `volumes` is the signature that `volumes.signature` makes."""
    names = "".join(f"{module}," for module in modules)
    return (
        f'{{"identifier":{json_string(image_id)},"user":{json_string(user)},'
        f'"volMap":{json_string(volumes)},"modules":{json_string(names)}}}\n'
    )
