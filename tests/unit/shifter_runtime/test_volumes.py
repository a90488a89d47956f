# SPDX-License-Identifier: BSD-3-Clause
"""Volume specifications, against those that were given to the original."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shifter_runtime import volumes
from shifter_runtime.errors import VolumeError

GOLDEN = Path(__file__).parents[2] / "golden" / "volumes.tsv"


def recorded(rules: str) -> list[tuple[str, str, str]]:
    """Specification, result and canonical text of each recorded run."""
    lines = [line for line in GOLDEN.read_text().split("\n") if not line.startswith("#")]
    rows = [line.split("\t") for line in lines[1:] if line]
    return [
        (spec.replace("\\t", "\t").replace("\\\\", "\\"), result, canonical)
        for row_rules, spec, result, canonical, *_ in rows
        if row_rules == rules
    ]


# Where ours is better on purpose: what it understands, or the reason why it refuses.
BETTER: dict[str, str | VolumeError] = {
    # Paths are kept as they were typed; the original deleted characters that it did not like.
    '/data:/mnt"': '/data:/mnt"',
    '"/data:/mnt': VolumeError("is not an absolute path"),
    "/data:/m nt": "/data:/m nt",
    "/data:/m$nt": "/data:/m$nt",
    "/dat\ta:/mnt": "/dat\ta:/mnt",
    "/home/alice/a b:/mnt": "/home/alice/a b:/mnt",
    "/home/alice/a\\ b:/mnt": "/home/alice/a\\ b:/mnt",
    "/d@ta:/mnt": "/d@ta:/mnt",
    "/däta:/mnt": "/däta:/mnt",
    "/data:/mnt:ro ": "/data:/mnt:ro",
    # Only a whole component `..` leads upwards.
    "/da..ta:/mnt": "/da..ta:/mnt",
    "/data:/mnt..": "/data:/mnt..",
    # One spelling for one path, so that signatures compare.
    "//data:/mnt": "/data:/mnt",
    "/data://mnt": "/data:/mnt",
    "/data/:/mnt/": "/data:/mnt",
    "/data/.:/mnt": "/data:/mnt",
    "/data:/var/tmp/": "/data:/var/tmp",
    # What is reserved is compared by components, however it is spelled, and includes the kernel's.
    "/data:/etcetera": "/data:/etcetera",
    "/data:/variable": "/data:/variable",
    "/data:/opt/udiImage2": "/data:/opt/udiImage2",
    "/data:/opt/": VolumeError("cannot mount over /opt "),
    "/data:/": VolumeError("cannot mount over / "),
    "/data://": VolumeError("cannot mount over / "),
    "/data:/.": VolumeError("cannot mount over / "),
    "/data:/proc": VolumeError("cannot mount over /proc "),
    "/data:/proc/x": VolumeError("cannot mount at /proc/x, below /proc "),
    "/data:/dev": VolumeError("cannot mount over /dev "),
    "/data:/dev/shm": VolumeError("cannot mount at /dev/shm, below /dev "),
    "/data:/sys": VolumeError("cannot mount over /sys "),
    "/home:/": VolumeError("cannot mount over / "),
    # A size is a number and one letter; fstype is what the canonical text calls fs.
    "/x:/mnt:perNodeCache=size=512MB": VolumeError("size must be a number"),
    "/x:/mnt:perNodeCache=size=1e3": VolumeError("size must be a number"),
    "/x:/mnt:perNodeCache=size=1.5e3M": VolumeError("size must be a number"),
    "/x:/mnt:perNodeCache=size=512M,fstype=ext4": VolumeError("only fs=xfs, not 'ext4'"),
}


def understood(canonical: str) -> list[tuple[str, str, set[str]]]:
    """What the original said it had understood, where it mounted nothing that could be seen."""
    found = []
    for item in canonical.partition("  mounted:")[0].split(" ; "):
        source, _, rest = item.removeprefix("from=").partition(" to=")
        target, _, flags = rest.partition(" flags=")
        if flags.startswith("perNodeCache"):
            flags = flags.replace(", ", ",")
        found.append((source, target.rstrip("/") or "/", set(flags.split(", ")) - {"None"}))
    return found


def described(volume: volumes.Volume) -> tuple[str, str, set[str]]:
    flags = set()
    if volume.read_only:
        flags.add("read-only")
    if volume.recursive:
        flags.add("recursive")
    if volume.propagation:
        flags.add(volume.propagation)
    if volume.cache:
        size, block_size = volume.cache.size, volume.cache.block_size
        flags.add(f"perNodeCache (size={size},blocksize={block_size},method=loop,fstype=xfs)")
    return volume.source, volume.target, flags


def check(parse, spec: str, result: str, canonical: str) -> None:
    better = BETTER.get(spec)
    if isinstance(better, VolumeError):
        with pytest.raises(VolumeError, match=str(better)):
            parse(spec)
    elif better is not None:
        assert volumes.signature(parse(spec)) == better
    elif result == "refused":
        with pytest.raises(VolumeError):
            parse(spec)
    elif canonical.startswith("from="):
        assert [described(volume) for volume in parse(spec)] == understood(canonical)
    else:
        assert volumes.signature(parse(spec)) == canonical


@pytest.mark.parametrize(("spec", "result", "canonical"), recorded("user"))
def test_user_volumes_mean_what_they_meant_to_the_original(spec, result, canonical):
    check(volumes.parse_user, spec, result, canonical)


@pytest.mark.parametrize(("spec", "result", "canonical"), recorded("site"))
def test_site_volumes_mean_what_they_meant_to_the_original(spec, result, canonical):
    check(volumes.parse_site, spec, result, canonical)


def test_all_recorded_volumes_are_here():
    specs = [spec for rules in ("user", "site") for spec, *_ in recorded(rules)]

    assert (len(recorded("user")), len(recorded("site"))) == (169, 45)
    assert set(BETTER) <= set(specs)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "/a:/etc",
            "volume '/a:/etc': cannot mount over /etc (reserved by Shifter): choose another target",
        ),
        (
            "/a:/b;/a:/sys/fs/",
            "volume '/a:/sys/fs/': cannot mount at /sys/fs, below /sys (reserved by Shifter): "
            "choose another target",
        ),
        ("/data", "volume '/data': the target is missing: write it as /from:/to"),
        (
            "data:/mnt",
            "volume 'data:/mnt': the source 'data' is not an absolute path: begin it with /",
        ),
        (
            "/a/../b:/c",
            "volume '/a/../b:/c': the source must not hold '..': write the path it leads to",
        ),
        ("/a:/b:rec", "volume '/a:/b:rec': flag 'rec' is for the site only, in siteFs"),
        ("/a:/b:ro:RO", "volume '/a:/b:ro:RO': flag 'RO' is given twice"),
        ("/a:/b:zz", "volume '/a:/b:zz': unknown flag 'zz': known are ro, perNodeCache=size=…"),
        (
            "/a:/b:perNodeCache=bs=1K",
            "volume '/a:/b:perNodeCache=bs=1K': perNodeCache needs a size: write "
            "perNodeCache=size=200G",
        ),
    ],
)
def test_a_refusal_says_what_where_why_and_what_to_do(spec, message):
    with pytest.raises(VolumeError) as raised:
        volumes.parse_user(spec)

    assert str(raised.value) == message


def test_a_wrong_volume_of_the_site_names_its_key():
    with pytest.raises(VolumeError) as raised:
        volumes.parse_site("/home:/etc")

    assert str(raised.value) == "siteFs '/home:/etc': cannot mount over /etc (reserved by Shifter)"


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize(
    "form", ["{q}/a:/b;/c:/d:ro{q}", "{q}/a:/b{q};{q}/c:/d:ro{q}", "{q}/a{q}:{q}/b{q};/c:/d:ro"]
)
def test_quotes_that_no_shell_took_away_do_not_matter(quote, form):
    assert volumes.signature(volumes.parse_user(form.format(q=quote))) == "/a:/b;/c:/d:ro"


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/opt", "/etc", "/etc/passwd", "/var", "/var/tmp/x", "/var/run", "/proc/self"),
        *("/sys", "/dev/shm", "/opt/udiImage", "/opt/udiImage/bin"),
    ],
)
def test_reserved_targets_are_refused(path):
    with pytest.raises(VolumeError, match="reserved by Shifter"):
        volumes.check_target(path)


@pytest.mark.parametrize(
    "path",
    ["/etcetera", "/variables", "/var/tmp", "/opt/udiImage2", "/opt/x", "/tmp", "/devel", "/a/etc"],
)
def test_targets_that_only_look_reserved_are_allowed(path):
    volumes.check_target(path)


@pytest.mark.parametrize("path", ["/home", "/global"])
def test_mounts_of_the_site_are_not_covered(path):
    with pytest.raises(VolumeError, match="mounted by the site"):
        volumes.check_target(path, ["/home", "/global/scratch"])


@pytest.mark.parametrize("path", ["/home/alice", "/home2", "/glob"])
def test_targets_beside_and_below_mounts_of_the_site_are_allowed(path):
    volumes.check_target(path, ["/home", "/global/scratch"])


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512),
        ("1b", 1),
        ("1K", 1 << 10),
        ("0.5g", 1 << 29),
        (".5g", 1 << 29),
        ("7e", 7 << 60),
        (str(2**63 - 1), 2**63 - 1),
        ("8e", None),  # no file can be so large
        ("9999E", None),
        ("0", 0),
        ("-1", None),
        ("1_0", None),
        ("٣", None),
        ("", None),
        (".", None),
        ("k", None),
        ("512MB", None),
        ("1e3", None),
        ("inf", None),
        ("nan", None),
        ("9" * 5000, None),
    ],
)
def test_sizes_have_at_most_one_letter(text, size):
    assert volumes.parse_size(text) == size


def test_the_signature_does_not_depend_on_the_order():
    one = volumes.parse_user("/b:/x;/a:/y:ro;/é:/z")
    other = volumes.parse_user("/é:/z;/a:/y:ro;/b:/x")

    assert volumes.signature(one) == volumes.signature(other) == "/a:/y:ro;/b:/x;/é:/z"


def test_the_signature_is_sorted_by_bytes():
    # As characters, the escaped byte 0xe9 would come after U+AC00, whose first byte is 0xea.
    assert volumes.signature(volumes.parse_user("/\uac00:/x;/\udce9:/y")) == "/\udce9:/y;/\uac00:/x"


names = st.text(
    st.characters(exclude_characters="/:;\0", exclude_categories=["Cs"])
    | st.sampled_from(" .\"'\t\n\udcff"),
    min_size=1,
    max_size=8,
).filter(lambda name: name not in (".", ".."))


@given(st.lists(st.tuples(names, names, st.booleans()), min_size=1, max_size=3))
def test_any_file_name_can_be_a_volume_and_the_canonical_text_means_the_same(items):
    # A letter at the end, since white space around a path belongs to the writing, not to the name.
    spec = ";".join(f"/{a}a:/x{b}b{':ro' if ro else ''}" for a, b, ro in items)

    parsed = volumes.parse_user(spec)

    assert [(v.source, v.target, v.read_only) for v in parsed] == [
        (f"/{a}a", f"/x{b}b", ro) for a, b, ro in items
    ]
    assert volumes.parse_user(";".join(map(str, parsed))) != []
    assert list(map(str, volumes.parse_user(";".join(map(str, parsed))))) == list(map(str, parsed))


def test_a_cache_is_read_from_its_own_canonical_text():
    text = "/x:/mnt:ro:perNodeCache=size=536870912,bs=4096,method=loop,fstype=xfs"

    (volume,) = volumes.parse_user(text)

    assert str(volume) == text
