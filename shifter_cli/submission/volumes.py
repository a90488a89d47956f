# SPDX-License-Identifier: BSD-3-Clause
"""The volumes of a job: variables of the user who submits put in, then the runtime's own rules."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping, Sequence

from shifter_cli.submission.errors import SubmissionError
from shifter_common.keyvalue import WHITE_SPACE
from shifter_runtime import volumes
from shifter_runtime.config import RuntimeConfig
from shifter_runtime.errors import VolumeError
from shifter_runtime.identity import Identity
from shifter_runtime.operations import cache
from shifter_runtime.volumes import Volume

_QUOTES = "\"'"
_SYNTAX = ":;" + _QUOTES  # what a path in a volume cannot hold, or would be read otherwise


def read(texts: Sequence[str], environment: Mapping[str, str]) -> list[Volume]:
    """All volumes in their order, since each may start in another one."""
    items = ";".join(texts).split(";")
    return volumes.parse_user(";".join(_expanded(item, environment) for item in items))


def text_of(chosen: Sequence[Volume]) -> str:
    """The text of which the nodes read the same volumes."""
    text = ";".join(map(str, chosen))
    if list(map(str, volumes.parse_user(text))) != list(map(str, chosen)):
        raise SubmissionError(
            f"volumes {text!r} cannot be passed on: no path may begin or end with white space"
        )
    return text


def require_allowed(chosen: Sequence[Volume], config: RuntimeConfig) -> None:
    """Refuse what the site's rules for perNodeCache will refuse on every node."""
    for volume in chosen:
        if volume.cache is not None:
            cache.for_volume(volume, config, _nobody(), by_site=False)


def doubts(chosen: Sequence[Volume], config: RuntimeConfig) -> Iterator[str]:
    """Sources that are not where the site has them; an earlier job may make them yet."""
    site = [volume for text in config.site_fs for volume in volumes.parse_site(text)]
    for number, volume in enumerate(chosen):
        # Few are doubtful, and only these are held against all the earlier ones.
        for doubt in _doubt(volume, site) if volume.cache is None else ():
            earlier = chosen[:number]
            if not any(volumes.is_within(volume.source, other.target) for other in earlier):
                yield doubt


def _doubt(volume: Volume, site: Sequence[Volume]) -> Iterator[str]:
    holding = [each for each in site if volumes.is_within(volume.source, each.target)]
    if not holding:
        return  # in the image, as far as can be known here
    nearest = max(holding, key=lambda each: len(each.target))
    if nearest.cache is not None or not os.path.exists(nearest.source):
        return  # the nodes have it, this machine has not
    place = nearest.source.rstrip("/") + volume.source.removeprefix(nearest.target.rstrip("/"))
    try:
        os.stat(place)
    except OSError as error:
        yield (
            f"volume {str(volume)!r}: {place}: {error.strerror}; without it on its nodes, the job "
            "will not start"
        )


def _expanded(item: str, environment: Mapping[str, str]) -> str:
    """The paths of one volume as a shell would have understood them; its flags stay as they are."""
    source, colon, rest = item.partition(":")
    target, second_colon, flags = rest.partition(":")
    try:
        _require_absolute(source)
        paths = [_expanded_path(path, environment) for path in (source, target)]
    except VolumeError as error:
        raise VolumeError(f"volume {item.strip(WHITE_SPACE)!r}: {error}") from None
    return f"{paths[0]}{colon}{paths[1]}{second_colon}{flags}"


def _require_absolute(source: str) -> None:
    path = source.strip(WHITE_SPACE + _QUOTES)
    if path.split("/")[0] in (".", ".."):
        raise VolumeError(
            f"the source {path!r} is not an absolute path: $PWD is where you submit from"
        )


def _expanded_path(text: str, environment: Mapping[str, str]) -> str:
    """`~` at the start of a path, and a variable at the start of each of its parts."""
    path = text.lstrip(WHITE_SPACE + _QUOTES)
    before = text[: len(text) - len(path)]
    bare = path.rstrip(WHITE_SPACE + _QUOTES)
    after = path[len(bare) :]
    parts = [_expanded_part(part, environment) for part in bare.split("/")]
    if parts[0] == "~":
        parts[0] = _home(environment)
    return before + "/".join(parts) + after


def _expanded_part(part: str, environment: Mapping[str, str]) -> str:
    if part.startswith("${"):
        name, brace, rest = part[2:].partition("}")
        if not brace or not _is_name(name):
            raise VolumeError(f"{part!r} is no variable: write $NAME or ${{NAME}}")
    elif part.startswith("$"):
        length = 1
        while _is_name(part[1 : length + 1]) and length < len(part):
            length += 1
        name, rest = part[1:length], part[length:]
        if not name:
            return part
    else:
        return part
    return _value(name, environment) + rest


def _is_name(text: str) -> bool:
    return text.isascii() and text.isidentifier()


def _home(environment: Mapping[str, str]) -> str:
    if environment.get("HOME"):
        return _value("HOME", environment)
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        raise VolumeError("nobody knows your home directory: write its path for '~'") from None


def _value(name: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name, "")
    if not value:
        raise VolumeError(f"{name} is not set where you submit from: set it, or write the path")
    strange = next((c for c in value if c in _SYNTAX or c < " " or c == "\x7f"), None)
    if strange is not None or value != value.strip(WHITE_SPACE):
        raise VolumeError(
            f"{name} is {value!r} where you submit from, which cannot be part of a volume: no path "
            "there holds colons, semicolons or quotes, or ends with white space"
        )
    return value


def _nobody() -> Identity:
    """Whom a volume is for does not matter to whether it is allowed."""
    return Identity(uid=-1, gid=-1, groups=[], name="", gecos="", home="", shell="", group_names=[])
