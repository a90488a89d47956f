# SPDX-License-Identifier: BSD-3-Clause
"""What people who come from pyxis write, in our spelling.

`--container-image=[USER@][REGISTRY#]IMAGE[:TAG]`, `--container-mounts=SRC[:DST[:FLAGS]][,…]`.
"""

from __future__ import annotations

from shifter_cli.submission.errors import SubmissionError

_SCHEME = "docker://"
_OTHER_SCHEMES = ("dockerd://", "podman://")
_OUR_TYPES = ("custom", "id", "local")  # never names of images in a registry
_DIGEST = "sha256:"


def image(text: str) -> str:
    """The image as --image would name it."""
    if text.startswith(("/", ".")):
        raise SubmissionError(
            f"--container-image={text}: files are not run as they are, since what a node mounts is "
            f"the gateway's alone: shifterimg import {text} NAME:TAG makes an image of it, and "
            "--image=custom:NAME:TAG runs that"
        )
    for scheme in _OTHER_SCHEMES:
        if text.startswith(scheme):
            raise SubmissionError(
                f"--container-image={text}: images of {scheme.rstrip(':/')} have to be saved and "
                "imported: see shifterimg import --help"
            )
    if text.partition(":")[0] in _OUR_TYPES:
        return text
    registry, separator, name = _without_user(text.removeprefix(_SCHEME)).rpartition("#")
    return f"docker:{registry}/{name}" if separator else f"docker:{name}"


def volumes(text: str) -> str:
    """The mounts as --volume would name them."""
    if ";" in text:
        raise SubmissionError(
            f"--container-mounts={text}: no path may hold ';'; mounts have a comma between them"
        )
    return ";".join(_volume(item) for item in text.split(",") if item)


def _without_user(text: str) -> str:
    """Logins are stored by `shifterimg login REGISTRY`, so nobody needs to say who he is there."""
    name, separator, digest = text.rpartition("@")
    if not digest.startswith(_DIGEST):
        return digest
    return f"{name.rpartition('@')[2]}{separator}{digest}"


def _volume(item: str) -> str:
    source, _, rest = item.partition(":")
    target, _, flags = rest.partition(":")
    return f"{source}:{target or source}{_our_flags(item, flags)}"


def _our_flags(item: str, flags: str) -> str:
    words = [flag for flag in flags.split("+") if flag]
    for word in words:
        if word not in ("ro", "rw"):
            raise SubmissionError(
                f"--container-mounts: {item!r} has the flag {word!r}: only ro and rw are known here"
            )
    if {"ro", "rw"} <= set(words):
        raise SubmissionError(f"--container-mounts: {item!r} is to be both ro and rw")
    return ":ro" if "ro" in words else ""
