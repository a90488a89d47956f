# SPDX-License-Identifier: BSD-3-Clause
"""Options that few launches have: what they mean, and what they refuse."""

from __future__ import annotations

import pytest

from shifter_common.errors import ShifterError
from shifter_runtime import config as configs
from shifter_runtime import rare_options
from shifter_runtime import request as requests
from shifter_runtime.errors import SetupError, UsageError

CONFIG = """\
udiMount=/u
loopMount=/l
imagePath=/i
udiRootPath=/r
populateEtcDynamically=1
siteFs=/global/home:/home;/scratch/
siteFs=/node/tmp:/tmp
"""
GIBI = 1 << 30


def parse(*words: str) -> requests.Request:
    return requests.parse(["--image=x", *words], {})


def targets(*names: str) -> list[str]:
    return rare_options.targets_of(list(names), configs.parse(CONFIG, "udiRoot.conf"))


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ([], None),
        (["--writable"], 0),
        (["--writable=2G"], 2 * GIBI),
        (["--writable=0.5g"], GIBI // 2),
        (["--writable=1048576"], 1 << 20),
        (["--writ=1G", "--writable=1g"], GIBI),
    ],
)
def test_writable_says_how_much_may_be_written(words, size):
    request = parse(*words)

    assert request.writable == size
    assert request.is_ordinary is (size is None)


@pytest.mark.parametrize(
    ("text", "target", "size"),
    [
        ("tmpfs:/scratch", "/scratch", None),
        ("tmpfs:/scratch/:size=1g", "/scratch", GIBI),
        ("tmpfs://a//b:size=512", "/a/b", 512),
        ("tmpfs:/tmp", "/tmp", None),
        ("type=tmpfs,destination=/a,tmpfs-size=1G", "/a", GIBI),
        ("type=tmpfs,dst=/a", "/a", None),
        ("type=tmpfs,target=/a,size=1", "/a", 1),
    ],
)
def test_mount_names_a_place_and_a_size(text, target, size):
    (spec,) = parse("--mount", text).tmpfs

    assert (spec.target, spec.size) == (target, size)


def test_mounts_are_repeatable_and_keep_their_order():
    request = parse("--mount=tmpfs:/b", "--mount=tmpfs:/a:size=1", "--mount=tmpfs:/b/")

    assert [spec.target for spec in request.tmpfs] == ["/b", "/a"]
    assert not request.is_ordinary


def test_names_of_variables_are_repeatable_and_joined_by_commas():
    assert parse("--unsetenv=A,B", "--unsetenv", "C").unset == ["A", "B", "C"]


def test_a_container_with_fewer_variables_is_still_an_ordinary_one():
    assert parse("--unsetenv=A", "--timing").is_ordinary


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["/home"], ["/home"]),
        (["home"], ["/home"]),
        (["scratch", "/home/"], ["/scratch", "/home"]),
        (["tmp"], ["/tmp", "/var/tmp"]),
        (["/var/tmp"], ["/var/tmp"]),
        (["home", "/home"], ["/home"]),
    ],
)
def test_mounts_of_the_site_are_named_by_path_or_last_part(names, found):
    assert targets(*names) == found


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hom", "did you mean 'home'?"),
        ("/global/home", ""),
        ("/", ""),
        ("/proc", ""),
        ("ho/me", ""),
    ],
)
def test_an_unknown_mount_is_refused_with_the_known_ones(name, hint):
    with pytest.raises(SetupError) as raised:
        targets(name)

    assert f"--no-mount {name!r}: the site mounts nothing there" in str(raised.value)
    assert "(known are /home, /scratch, /tmp, /var/tmp)" in str(raised.value)
    assert hint in str(raised.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--writable="], "--writable must be a number above 0"),
        (["--writable=2"], "--writable=2: 2 bytes are too few, at least 1048576 (1m) are needed"),
        (["--writable=1023k"], "--writable=1023k: 1047552 bytes are too few"),
        (["--writable=0"], "--writable must be a number above 0"),
        (["--writable=-1"], "--writable must be a number above 0"),
        (["--writable=1e3"], "not '1e3'"),
        (["--writable=9999E"], "not '9999E'"),
        (["--writable", "--writable=1G"], "--writable is given twice, with different sizes"),
        (["--mount"], "option '--mount' requires an argument"),
        (["--mount="], "--mount names nothing: write --mount=tmpfs:/path"),
        (["--mount=/a"], "cannot mount '/a', only tmpfs"),
        (["--mount=tmpfs"], "the target is missing"),
        (["--mount=tmpfs:"], "the target is missing"),
        (["--mount=tmpfs:a"], "'a' is not an absolute path"),
        (["--mount=tmpfs:/a/../b"], "must not hold '..'"),
        (["--mount=tmpfs:/etc/x"], "cannot mount at /etc/x, below /etc"),
        (["--mount=tmpfs:/"], "cannot mount over /"),
        (["--mount=tmpfs:/a:size"], "unknown flag 'size': known is size=…"),
        (["--mount=tmpfs:/a:ro"], "unknown flag 'ro'"),
        (["--mount=tmpfs:/a:size="], "size must be a number above 0"),
        (["--mount=tmpfs:/a:size=1:size=1"], "flag 'size' is given twice"),
        (["--mount=tmpfs:/a", "--mount=tmpfs:/a:size=1"], "names /a twice, with different sizes"),
        (["--mount=type=bind,source=/a,target=/b"], "write --mount=tmpfs:/path"),
        (["--mount=type=tmpfs"], "the target is missing"),
        (["--mount=type=tmpfs,target=/a,mode=1"], "unknown setting 'mode=1'"),
        (["--mount=tmpfs:/b", "--volume=/a:/b"], "/b is the target of --volume and of --mount"),
        (["--no-mount="], "--no-mount names nothing"),
        (["--no-mount=a,,b"], "--no-mount names nothing"),
        (["--unsetenv="], "--unsetenv names nothing"),
        (["--unsetenv=A=1"], "a name holds no '='"),
        (["--json"], "--json shows nothing by itself: add --dry-run or --timing"),
        (["--timing=1"], "option '--timing' takes no value"),
        (["--mount=" + "x" * 70_000], "the value of --mount is too long: at most 65536"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(words, message):
    with pytest.raises(ShifterError) as raised:
        parse(*words)

    assert isinstance(raised.value, UsageError)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300
