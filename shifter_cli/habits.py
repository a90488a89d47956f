# SPDX-License-Identifier: BSD-3-Clause
"""What people write after `shifterimg` who know another tool, and what stands for it here.

Loaded only where a mode is not known. `shifter_runtime.habits` does the same for `shifter`.
"""

from __future__ import annotations

from collections.abc import Sequence

from shifter_runtime.spelling import nearest_to

_MODES = {
    **dict.fromkeys(("ls", "list", "image"), "images"),
    **dict.fromkeys(("rmi", "remove", "delete", "del", "prune"), "rm"),
    **dict.fromkeys(("info", "show", "history"), "inspect"),
    **dict.fromkeys(("ps", "status", "jobs"), "queue"),
    **dict.fromkeys(("stop", "kill", "abort"), "cancel"),
    **dict.fromkeys(("save", "download"), "export"),
    **dict.fromkeys(("chmod", "share"), "acl"),
    "load": "import",
    "id": "lookup",
    "tags": "search",
}
_RUN = "programs are run by another command: shifter --image=IMAGE COMMAND"
_BUILD = "images are built and pushed elsewhere, as by docker, podman or buildah"
_ELSEWHERE = {
    **dict.fromkeys(("run", "exec", "shell", "start"), _RUN),
    **dict.fromkeys(("build", "push", "commit", "tag"), _BUILD),
    "doctor": "an image is tried by another command: shifter doctor IMAGE",
    "version": "shifterimg --version tells",
}


def of_mode(word: str, modes: Sequence[str]) -> str | None:
    """What to say of a word that is no mode; nothing where it is like none."""
    word = word.lower()
    if word in _ELSEWHERE:
        return _ELSEWHERE[word]
    # Any two letters are two edits away from `rm`.
    nearest = _MODES.get(word) or nearest_to(word, [mode for mode in modes if len(mode) > 3])
    return nearest and f"did you mean shifterimg {nearest}?"
