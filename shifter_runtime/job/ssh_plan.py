# SPDX-License-Identifier: BSD-3-Clause
"""What is put into a job's container for its user to log in by ssh. Acts on nothing but to read."""

from __future__ import annotations

import os

from shifter_runtime import trust
from shifter_runtime.errors import SetupError, UntrustedPathError
from shifter_runtime.operations.ssh import GiveLoginShell, LinkProgram, MountPrivate, RemoveFile
from shifter_runtime.operations.tree import WriteFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shifter_runtime.config import RuntimeConfig
    from shifter_runtime.identity import Identity
    from shifter_runtime.operations import Operation

PRIVATE = "/etc/udiImage"  # in the container; in memory, and the user's alone
CONFIGURATION = PRIVATE + "/sshd_config"
HOST_KEY = PRIVATE + "/ssh_host_ed25519_key"
LOG = PRIVATE + "/sshd.log"
SITE = "/opt/udiImage"  # where containers see optUdiImage

_AUTHORIZED = "user_auth_keys"
_KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
)
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_LONGEST_KEY = 16384
_PLACE_OF_NAME = "ToBeReplaced"
# What sshd's AllowUsers would read as more than a letter of a name; `?` there stands for any.
_PATTERN_CHARACTERS = "*!@,#\"'\\"


def operations(
    public_key: str, user: Identity, config: RuntimeConfig, environment: Mapping[str, str]
) -> list[Operation]:
    """The changes to make last, before the container's root is sealed.

    `environment` is what a session starts with, as a launch would.
    """
    source = config.opt_udi_image
    if not source:
        raise SetupError("there is no sshd for containers: udiRoot.conf does not set optUdiImage")
    configuration = _read(source, "sshd_config")
    key = checked_key(public_key, supported_keys(source))
    return [
        GiveLoginShell(user),
        RemoveFile("/etc/nologin"),
        WriteFile("/etc/ssh/ssh_config", _read(source, "ssh_config").encode()),
        *(LinkProgram(f"{place}/ssh", f"{SITE}/bin/ssh") for place in ("/usr/bin", "/bin")),
        *(
            LinkProgram(f"/usr/bin/{name}", f"{SITE}/bin/{name}", only_missing=True)
            for name in ("scp", "sftp")
        ),
        MountPrivate(
            PRIVATE,
            user,
            {
                "sshd_config": _bytes(complete(configuration, user.name, environment, source)),
                _AUTHORIZED: f"{key}\n".encode(),
            },
        ),
    ]


def supported_keys(source: str) -> tuple[str, ...]:
    """The types of keys that the sshd in `source`, a directory of the node, understands."""
    try:
        listed = trust.read(f"{source}/etc/key_types").split()
    except UntrustedPathError:
        if os.path.lexists(f"{source}/etc/key_types"):
            raise
        return _KEY_TYPES  # a site's own build
    return tuple(name for name in _KEY_TYPES if name in listed)


def checked_key(text: str, supported: tuple[str, ...] = _KEY_TYPES) -> str:
    """Type and key of one line as in id_ed25519.pub, its comment left out.

    Nothing may precede them, least of all options, which would be rules for sshd.
    """
    if len(text) > _LONGEST_KEY or not text.isascii() or not text.isprintable():
        raise SetupError(
            f"the public key for ssh must be one line of at most {_LONGEST_KEY} characters"
        )
    kind, _, rest = text.strip().partition(" ")
    encoded = rest.strip().partition(" ")[0]
    if kind not in _KEY_TYPES:
        raise SetupError(
            f"{kind[:40]!r} is no type of a public key for ssh: the key must begin with one of "
            + ", ".join(_KEY_TYPES)
        )
    if kind not in supported:
        raise SetupError(
            f"this node's sshd for containers knows no {kind} keys, only {', '.join(supported)}: "
            "use one of these"
        )
    if not _names_itself(encoded, kind):
        raise SetupError(f"the public key for ssh is damaged: what follows {kind} is no such key")
    return f"{kind} {encoded}"


def _names_itself(encoded: str, kind: str) -> bool:
    """Whether base64 text is well-formed, and begins with the name of the key's type."""
    body = encoded.rstrip("=")
    if len(encoded) % 4 or len(encoded) - len(body) > 2 or not set(body) <= set(_BASE64):
        return False
    wanted = len(kind).to_bytes(4, "big") + kind.encode()
    letters = -(-len(wanted) * 8 // 6)
    bits = 0
    for letter in body[:letters]:
        bits = bits << 6 | _BASE64.index(letter)
    if len(body) <= letters:
        return False
    return bits >> (letters * 6 - len(wanted) * 8) == int.from_bytes(wanted, "big")


def complete(configuration: str, name: str, environment: Mapping[str, str], source: str) -> str:
    """The site's sshd_config made one user's, with the variables that a session gets."""
    if f"AllowUsers {_PLACE_OF_NAME}" not in configuration.split("\n"):
        raise SetupError(
            f"{source}/etc/sshd_config must have the line 'AllowUsers {_PLACE_OF_NAME}', which "
            "keeps everybody else out"
        )
    pattern = "".join("?" if letter in _PATTERN_CHARACTERS else letter for letter in name)
    if not pattern or not pattern.isprintable() or " " in pattern:
        raise SetupError(f"sshd cannot be told to let in {name!r}, because of this name")
    lines = [
        "# Made by setupRoot, from the site's sshd_config.",
        # All on one line: sshd heeds the first of that kind only.
        " ".join(["SetEnv", *(_quoted(pair) for pair in environment.items() if _fits_line(pair))]),
        configuration.replace(f"AllowUsers {_PLACE_OF_NAME}", f"AllowUsers {pattern}"),
    ]
    return "\n".join(lines)


def _fits_line(pair: tuple[str, str]) -> bool:
    """A value of several lines cannot be said in sshd_config; sessions do without."""
    return "\n" not in "".join(pair)


def _quoted(pair: tuple[str, str]) -> str:
    text = "=".join(pair).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _read(source: str, name: str) -> str:
    path = f"{source}/etc/{name}"
    try:
        return trust.read(path)
    except UntrustedPathError as error:
        raise SetupError(
            f"there is no sshd for containers: {error}; tools/build_openssh puts one into "
            "optUdiImage"
        ) from error


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
