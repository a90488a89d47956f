# SPDX-License-Identifier: BSD-3-Clause
"""Options that few launches have: what a container has less or more, and what is shown of it."""

from __future__ import annotations

from shifter_runtime import volumes
from shifter_runtime.errors import SetupError, UsageError, VolumeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shifter_runtime.config import RuntimeConfig
    from shifter_runtime.request import Request

_MOUNT_FORM = "write --mount=tmpfs:/path or --mount=tmpfs:/path:size=2G"
_SIZE_FORM = "a number above 0 and at most one of the letters b k m g t p e, as in 2G"
_LEAST_WRITABLE = 1 << 20  # what the site adds to an image has to fit, too
# What docker calls the same things.
_DOCKER_TARGETS = ("destination", "dst", "target")
_DOCKER_SIZES = ("tmpfs-size", "size")


def apply(request: Request, given: list[tuple[str, str | None]]) -> None:
    """Keep what these options say, in their order; they are of `request.ADDED_OPTIONS`."""
    for option, value in given:
        if option == "dry-run":
            request.dry_run = True
        elif option == "timing":
            request.timing = True
        elif option == "json":
            request.json = True
        elif option == "writable":
            _make_writable(request, value)
        elif option == "mount":
            _mount(request, value or "")
        elif option == "no-mount":
            request.no_mounts += _names(option, value or "", "/home or its last part")
        elif option == "unsetenv":
            request.unset += _names(option, value or "", "the name of a variable")
    _require_sense(request)


def targets_of(names: list[str], config: RuntimeConfig) -> list[str]:
    """The targets of the site's mounts that `--no-mount` names, by path or by their last part."""
    from shifter_runtime.plan import NODE_DIRECTORIES  # here: it imports the request

    site = [volume.target for text in config.site_fs for volume in volumes.parse_site(text)]
    known = list(dict.fromkeys([*site, *NODE_DIRECTORIES]))
    found: list[str] = []
    for name in names:
        meant = [
            path for path in known if name.rstrip("/") == path or name == path.rpartition("/")[2]
        ]
        if not meant:
            raise SetupError(_no_such_mount(name, known))
        found += meant
    return list(dict.fromkeys(found))


def _make_writable(request: Request, value: str | None) -> None:
    size = 0 if value is None else _size("--writable", value)
    if 0 < size < _LEAST_WRITABLE:
        raise UsageError(
            f"--writable={value}: {size} bytes are too few, at least {_LEAST_WRITABLE} (1m) are "
            "needed: write a unit, as in 2G"
        )
    if request.writable not in (None, size):
        raise UsageError("--writable is given twice, with different sizes: choose one")
    request.writable = size


def _mount(request: Request, text: str) -> None:
    if not text:
        raise UsageError(f"--mount names nothing: {_MOUNT_FORM}")
    try:
        spec = _parse_docker_mount(text) if text.startswith("type=") else _parse_mount(text)
    except (UsageError, VolumeError) as error:
        raise UsageError(f"--mount {text!r}: {error}") from None
    for other in request.tmpfs:
        if other.target == spec.target:
            if other.size != spec.size:
                raise UsageError(
                    f"--mount names {spec.target} twice, with different sizes: choose one"
                )
            return
    request.tmpfs.append(spec)


def _parse_mount(text: str) -> volumes.TmpfsSpec:
    kind, _, rest = text.partition(":")
    target, _, flags = rest.partition(":")
    if kind != "tmpfs":
        raise VolumeError(_other_kind(kind))
    size = None
    for flag in flags.split(":") if flags else []:
        name, separator, value = flag.partition("=")
        if name != "size" or not separator:
            raise VolumeError(f"unknown flag {flag!r}: known is size=…")
        if size is not None:
            raise VolumeError("flag 'size' is given twice")
        size = _size("size", value)
    return volumes.TmpfsSpec(_target(target), size)


def _parse_docker_mount(text: str) -> volumes.TmpfsSpec:
    """`type=tmpfs,destination=/path,tmpfs-size=64M`, as people know it from docker."""
    target, size = "", None
    for setting in text.split(","):
        name, _, value = setting.partition("=")
        if name == "type" and value != "tmpfs":
            raise VolumeError(_other_kind(value))
        if name in _DOCKER_TARGETS:
            target = value
        elif name in _DOCKER_SIZES:
            size = _size(name, value)
        elif name != "type":
            raise VolumeError(
                f"unknown setting {setting!r}: known are type, destination, tmpfs-size"
            )
    return volumes.TmpfsSpec(_target(target), size)


def _other_kind(kind: str) -> str:
    return (
        f"cannot mount {kind!r}, only tmpfs: {_MOUNT_FORM}; a directory is shown elsewhere with "
        "--volume=/from:/to"
    )


def _target(path: str) -> str:
    if not path:
        raise VolumeError(f"the target is missing: {_MOUNT_FORM}")
    path = volumes.clean_path(path, "the target")
    volumes.check_target(path)
    return path


def _size(what: str, text: str) -> int:
    size = volumes.parse_size(text)
    if not size:
        raise UsageError(f"{what} must be {_SIZE_FORM}, not {text!r}")
    return size


def _names(option: str, text: str, example: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UsageError(f"--{option} names nothing: give it {example}, or several with commas")
    for name in names:
        if "=" in name:
            raise UsageError(f"--{option} {name!r}: a name holds no '='")
    return names


def _require_sense(request: Request) -> None:
    if request.json and not (request.dry_run or request.timing):
        raise UsageError("--json shows nothing by itself: add --dry-run or --timing")
    targets = {volume.target for volume in request.volumes}
    for spec in request.tmpfs:
        if spec.target in targets:
            raise UsageError(f"{spec.target} is the target of --volume and of --mount: choose one")


def _no_such_mount(name: str, known: list[str]) -> str:
    from shifter_runtime.spelling import nearest_to

    nearest = nearest_to(name[:64], [*known, *(path.rpartition("/")[2] for path in known)])
    hint = f", did you mean {nearest!r}?" if nearest else ""
    listed = ", ".join(known)
    return f"--no-mount {name!r}: the site mounts nothing there{hint} (known are {listed})"
