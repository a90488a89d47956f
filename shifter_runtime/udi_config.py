# SPDX-License-Identifier: BSD-3-Clause
"""`/var/shifterConfig.json`: which image, user, volumes and modules a container was built of.

A prepared container is joined when its text is the one that would be written, so the text is, byte
for byte, the original's: no blanks, and each module followed by a comma.
"""

from __future__ import annotations

from shifter_common.metadata import json_string
from shifter_runtime import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from shifter_runtime.identity import Identity
    from shifter_runtime.image import Image
    from shifter_runtime.modules import Module
    from shifter_runtime.request import Request


def describe(image: Image, request: Request, user: Identity, modules: Iterable[Module]) -> str:
    """The file's content for the container that a request would get."""
    signature = volumes.signature(request.volumes)
    return text(image.image_id, user.name, signature, [module.name for module in modules])


def text(image_id: str, user: str, signature: str, modules: Iterable[str] = ()) -> str:
    """The file's content; `signature` is what `volumes.signature` makes."""
    names = "".join(f"{module}," for module in modules)
    return (
        f'{{"identifier":{json_string(image_id)},"user":{json_string(user)},'
        f'"volMap":{json_string(signature)},"modules":{json_string(names)}}}\n'
    )
