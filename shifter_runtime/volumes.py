# SPDX-License-Identifier: BSD-3-Clause
"""Which directories a user or the site wants to see in the container: `from:to[:flag…][;…]`."""

from __future__ import annotations

from shifter_common.keyvalue import WHITE_SPACE
from shifter_runtime.errors import VolumeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_KIBI = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}
_LARGEST_FILE = 2**63 - 1  # off_t

# What lies at or below these in a container belongs to Shifter and to the kernel.
_RESERVED_TREES = ("/etc", "/var", "/proc", "/sys", "/dev", "/opt/udiImage")
_ALLOWED_WITHIN = ("/var/tmp",)
_RESERVED_EXACTLY = ("/", "/opt")
_SITE_RESERVED_EXACTLY = (
    *("/", "/opt", "/etc", "/var"),
    *("/etc/passwd", "/etc/group", "/etc/nsswitch.conf"),
)


class CacheSpec:
    """A filesystem of the container's own, in a file on the node; sizes in bytes."""

    __slots__ = ("block_size", "filesystem", "method", "size")

    def __init__(self, size: int, block_size: int = 1 << 20) -> None:
        self.size = size
        self.block_size = block_size  # accepted and shown, used by nothing
        self.method = "loop"
        self.filesystem = "xfs"

    def __str__(self) -> str:
        return (
            f"perNodeCache=size={self.size},bs={self.block_size},"
            f"method={self.method},fstype={self.filesystem}"
        )


class TmpfsSpec:
    """An empty filesystem in memory at `target`; `size` in bytes, None for the kernel's default."""

    __slots__ = ("size", "target")

    def __init__(self, target: str, size: int | None = None) -> None:
        self.target = target
        self.size = size


class Volume:
    """`source` of the node or the image, visible at `target` in the container.

    `propagation` is "slave", "private" or empty (the site's mountPropagationStyle). With a cache,
    the source is not used.
    """

    __slots__ = ("cache", "propagation", "read_only", "recursive", "source", "target")

    def __init__(
        self,
        source: str,
        target: str,
        *,
        read_only: bool = False,
        recursive: bool = False,
        propagation: str = "",
        cache: CacheSpec | None = None,
    ) -> None:
        self.source = source
        self.target = target
        self.read_only = read_only
        self.recursive = recursive
        self.propagation = propagation
        self.cache = cache

    def __str__(self) -> str:
        """The one text of this volume, by which two users' wishes are told to be the same."""
        flags = [
            "ro" if self.read_only else "",
            "rec" if self.recursive else "",
            str(self.cache) if self.cache else "",
            self.propagation,
        ]
        return ":".join([self.source, self.target, *filter(None, flags)])


def parse_user(text: str) -> list[Volume]:
    """Read what a user gave with `--volume`."""
    return [_parse_user_item(item) for item in _items(text)]


def parse_site(text: str) -> list[Volume]:
    """Read what the administrator gave with `siteFs`; the target may be left out."""
    return [_parse_site_item(item) for item in _items(text)]


def signature(volumes: Iterable[Volume]) -> str:
    """The canonical texts of all volumes, whatever their order was."""
    return ";".join(sorted(map(str, volumes), key=_bytewise))


def check_target(path: str, site_targets: Iterable[str] = ()) -> None:
    """Refuse a place where no user may mount; `path` is absolute, and clean of `//` and `..`.

    The plan asks again with the path that the container's links really lead to. Where
    `site_targets` are given, the mounts of the site may not be covered either.
    """
    reason = ""
    if path in _RESERVED_EXACTLY:
        reason = f"cannot mount over {path} (reserved by Shifter)"
    elif path not in _ALLOWED_WITHIN:
        for tree in _RESERVED_TREES:
            if is_within(path, tree):
                place = f"over {tree}" if path == tree else f"at {path}, below {tree}"
                reason = f"cannot mount {place} (reserved by Shifter)"
    for site_target in site_targets:
        if is_within(site_target, path):
            reason = f"cannot mount over {site_target} (mounted by the site)"
    if reason:
        raise VolumeError(f"{reason}: choose another target")


def parse_size(text: str) -> int | None:
    """Bytes of `512`, `512M` or `0.5g` (units of 1024); None where it is no such text."""
    unit = text[-1:].lower()
    number = text[:-1] if unit in _KIBI else text
    whole, _, fraction = number.partition(".")
    digits = whole + fraction
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 20:
        return None
    factor: int = 1024 ** _KIBI.get(unit, 0)
    size = int(digits) * factor // 10 ** len(fraction)
    return size if size <= _LARGEST_FILE else None


def _parse_user_item(item: str) -> Volume:
    source, target, flags = _split(item)
    try:
        source = clean_path(source, "the source")
        target = clean_path(target, "the target")
        check_target(target)
        return _with_flags(source, target, flags, by_user=True)
    except VolumeError as error:
        raise VolumeError(f"volume {item!r}: {error}") from None


def _parse_site_item(item: str) -> Volume:
    source, target, flags = _split(item)
    try:
        source = clean_path(source, "the source")
        target = clean_path(target, "the target") if ":" in item else source
        if target in _SITE_RESERVED_EXACTLY:
            raise VolumeError(f"cannot mount over {target} (reserved by Shifter)")
        return _with_flags(source, target, flags, by_user=False)
    except VolumeError as error:
        raise VolumeError(f"siteFs {item!r}: {error}") from None


def _items(text: str) -> list[str]:
    return [item for item in map(_bare, _bare(text).split(";")) if item]


def _split(item: str) -> tuple[str, str, list[str]]:
    source, _, rest = item.partition(":")
    target, _, flags = rest.partition(":")
    return _bare(source), _bare(target), [flag for flag in flags.split(":") if flag]


def _bare(text: str) -> str:
    """`text` without the white space, then the one pair of quotes around it.

    Batch systems pass on quotes that a shell would have taken: around all, an item or a path.
    """
    text = text.strip(WHITE_SPACE)
    for quote in "\"'":
        if text.startswith(quote) and text.endswith(quote) and text.count(quote) == 2:
            return text[1:-1]
    return text


def clean_path(path: str, what: str) -> str:
    """`path` without needless slashes and dots; every other character stays as it was typed."""
    if not path:
        raise VolumeError(f"{what} is missing: write it as /from:/to")
    if not path.startswith("/"):
        raise VolumeError(f"{what} {path!r} is not an absolute path: begin it with /")
    parts = path.split("/")
    if ".." in parts:
        raise VolumeError(f"{what} must not hold '..': write the path it leads to")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


def _with_flags(source: str, target: str, flags: list[str], *, by_user: bool) -> Volume:
    volume = Volume(source, target)
    seen: set[str] = set()
    for flag in flags:
        word, separator, value = flag.partition("=")
        name = word.lower()
        if name not in _FLAGS or bool(separator) != (name == "pernodecache"):
            raise VolumeError(f"unknown flag {flag!r}: known are {_known_flags(by_user=by_user)}")
        if by_user and name not in _USER_FLAGS:
            raise VolumeError(f"flag {name!r} is for the site only, in siteFs")
        if name in seen:
            raise VolumeError(f"flag {word!r} is given twice")
        seen.add(name)
        if name == "ro":
            volume.read_only = True
        elif name == "rec":
            volume.recursive = True
        elif name == "pernodecache":
            volume.cache = _parse_cache(value)
        elif volume.propagation:
            raise VolumeError("flags 'slave' and 'private' exclude each other")
        else:
            volume.propagation = name
    return volume


_USER_FLAGS = ("ro", "pernodecache")
_FLAGS = (*_USER_FLAGS, "rec", "slave", "private")


def _known_flags(*, by_user: bool) -> str:
    return "ro, perNodeCache=size=…" + ("" if by_user else ", rec, slave, private")


def _parse_cache(text: str) -> CacheSpec:
    """The settings of perNodeCache; names that nobody knows are ignored, as they always were."""
    cache = CacheSpec(0)
    for setting in filter(None, text.split(",")):
        name, _, value = setting.partition("=")
        name = name.lower()
        if name == "size":
            cache.size = _cache_size(name, value)
        elif name == "bs":
            cache.block_size = _cache_size(name, value)
        elif name == "method" and value.lower() != cache.method:
            raise VolumeError(f"perNodeCache knows only method=loop, not {value!r}")
        elif name in ("fs", "fstype") and value.lower() != cache.filesystem:
            raise VolumeError(f"perNodeCache knows only fs=xfs, not {value!r}")
    if not cache.size:
        raise VolumeError("perNodeCache needs a size: write perNodeCache=size=200G")
    return cache


def _cache_size(name: str, value: str) -> int:
    size = parse_size(value)
    if not size:
        raise VolumeError(
            f"perNodeCache {name} must be a number above 0 and at most one of the letters "
            f"b k m g t p e, as in {name}=200G, not {value!r}"
        )
    return size


def is_within(path: str, tree: str) -> bool:
    """Whether `path` is `tree` or below it, by whole components."""
    return path == tree or path.startswith(tree.rstrip("/") + "/")


def _bytewise(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
