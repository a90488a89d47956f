# SPDX-License-Identifier: BSD-3-Clause
"""What the site wrote, rightly or wrongly: plugstack.conf's arguments and udiRoot.conf."""

from __future__ import annotations

import os

import pytest

from tests.spank.jobs import ENVIRONMENT, IMAGE_ID, JOB, prolog, submit
from tests.spank.mock import Script

pytestmark = pytest.mark.root

IMAGE = ("image", "docker:x:1")
ANSWER = f"printf 'SHIFTER_IMAGETYPE=id\\0SHIFTER_IMAGE={IMAGE_ID}\\0'"

GOOD = {
    "plain": "udiRootPath = {}\n",
    "tight": "udiRootPath={}\n",
    "blanks": "  \tudiRootPath \t =  {} \t\n",
    "no end of line": "udiRootPath = {}",
    "carriage returns": "system = x\r\nudiRootPath = {}\r\n",
    "comments": "# udiRootPath = /nonexistent\n\nudiRootPath = {}\n#udiRootPath = /nonexistent",
    "last one counts": "udiRootPath = /nonexistent\nudiRootPath = {}\n",
    "others that begin alike": "udiRootPath = {}\nudiRootPathOld = /nonexistent\n",
    "continued before": "siteEnv = A=1 \\\n  B=udiRootPath\nudiRootPath = {}\n",
    "a value that looks like it": "siteEnv = A=1 \\\nudiRootPath = /no\nudiRootPath = {}\n",
    "bytes of no encoding": "system = \udcff\udcfe\nudiRootPath = {}\n",
    "long lines": "siteEnv = " + "x" * 1_000_000 + "\nudiRootPath = {}\n",
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_the_programs_are_where_the_configuration_says(site, text):
    site.configure(os.fsencode(text.replace("{}", str(site.directory))))
    site.submission(ANSWER)
    site.setup_root(site.log_call())

    submitted = site.run(submit(IMAGE)).require_sound()
    prepared = site.run(prolog(), environment=ENVIRONMENT).require_sound()

    assert submitted.returned("init_post_opt") == 0
    assert prepared.returned("job_prolog") == 0
    assert len(site.calls()) == 1


BAD = {
    "nothing": b"",
    "no such key": b"system = x\n",
    "empty value": b"udiRootPath =\n",
    "NUL": b"udiRootPath = /opt\0/x\n",
    "only NULs": b"\0" * 100_000,
    "relative": b"udiRootPath = opt/shifter\n",
    "long value": b"udiRootPath = /" + b"x" * 100_000 + b"\n",
    "elsewhere": b"udiRootPath = /nonexistent\n",
    "no line ever ends": b"x" * 10_000_000,
    "many lines": b"a=b\n" * 2_000_000,
}


def require_told_of_failure(site):
    """Submission is refused, and a prolog goes on and leaves word."""
    site.submission(ANSWER)
    site.setup_root(site.log_call())

    submitted = site.run(submit(IMAGE), seconds=10).require_sound()
    prepared = site.run(prolog(), environment=ENVIRONMENT, seconds=10).require_sound()

    assert submitted.returned("init_post_opt") == -1
    assert 0 < len(submitted.said()) < 10_000
    assert prepared.returned("job_prolog") == 0
    assert (site.jobs / JOB).read_text().startswith("failed\n")
    assert site.calls() == []


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_a_configuration_without_the_programs_place_is_said(site, content):
    site.configure(content)

    require_told_of_failure(site)


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "device", "loop"])
def test_what_is_no_file_is_no_configuration_and_is_not_waited_for(site, kind):
    site.config.unlink()
    if kind == "directory":
        site.config.mkdir()
    elif kind == "fifo":
        os.mkfifo(site.config, 0o644)
    elif kind in ("device", "loop"):
        site.config.symlink_to("/dev/zero" if kind == "device" else site.config)
    try:
        require_told_of_failure(site)
    finally:
        if kind == "directory":
            site.config.rmdir()


def test_root_takes_no_configuration_that_others_can_change(site):
    site.setup_root(site.log_call())
    site.config.chmod(0o666)

    seen = site.run(prolog(), environment=ENVIRONMENT).require_sound()

    assert seen.returned("job_prolog") == 0
    assert site.calls() == []
    assert str(site.config) in (site.jobs / JOB).read_text()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda site: (site.directory / "sbin/setupRoot").chmod(0o777),
        lambda site: os.chown(site.directory / "sbin/setupRoot", 65534, 65534),
        lambda site: (site.directory / "sbin").chmod(0o777),
        lambda site: os.chown(site.directory, 65534, 65534),
        lambda site: os.chown(site.config, 65534, 65534),
    ],
    ids=["writable", "owned", "directory writable", "directory owned", "configuration owned"],
)
def test_root_runs_no_program_that_others_can_change(site, spoil):
    site.setup_root(site.log_call())
    spoil(site)

    seen = site.run(prolog(), environment=ENVIRONMENT).require_sound()

    assert seen.returned("job_prolog") == 0
    assert site.calls() == []
    assert (site.jobs / JOB).read_text().startswith("failed\n")


@pytest.fixture
def of_a_user(site):
    """A directory below the site's that a user owns."""
    directory = site.directory / "of-a-user"
    directory.mkdir()
    os.chown(directory, 65534, 65534)
    return directory


def require_refused_by_root(site, config):
    site.setup_root(site.log_call())

    seen = site.run(prolog(f"shifter_config={config}"), environment=ENVIRONMENT).require_sound()

    assert seen.returned("job_prolog") == 0
    assert site.calls() == []
    assert str(site.directory) in (site.jobs / JOB).read_text()


def test_root_follows_no_link_that_a_user_may_turn_elsewhere(site, of_a_user):
    (of_a_user / "udiRoot.conf").symlink_to(site.config)

    require_refused_by_root(site, of_a_user / "udiRoot.conf")


def test_root_follows_no_link_of_root_s_to_where_a_user_may_write(site, of_a_user):
    target = of_a_user / "udiRoot.conf"
    target.write_text(f"udiRootPath = {site.directory}\n")
    (site.directory / "link").symlink_to(target)

    require_refused_by_root(site, site.directory / "link")


def test_another_configuration_can_be_named(site):
    other = site.directory / "other.conf"
    other.write_text(f"udiRootPath = {site.directory}\n")
    site.configure("")
    site.submission(ANSWER)

    seen = site.run(submit(IMAGE, plugstack=(f"shifter_config={other}",))).require_sound()

    assert seen.returned("init_post_opt") == 0


WRONG_ARGUMENTS = [
    *("frobnicate=1", "enable_ccm=yes", "setup_timeout=-1", "setup_timeout=9999999999999999999"),
    *("setup_timeout=1x", "setup_timeout=", "shifter_config=", "=", "", "%n%s", "enable_ccm="),
    *("x" * 100_000, "memory_cgroup"),
]


@pytest.mark.parametrize("argument", WRONG_ARGUMENTS, ids=lambda text: repr(text[:30]))
def test_a_wrong_argument_is_told_by_slurmd_and_changes_nothing(site, argument):
    site.submission(ANSWER)
    site.setup_root(site.log_call())

    started = site.run(Script("slurmd").add("plugstack", argument).add("hook", "init"))
    submitted = site.run(submit(IMAGE, plugstack=(argument,))).require_sound()
    prepared = site.run(prolog(argument), environment=ENVIRONMENT).require_sound()

    assert started.require_sound().returned("init") == 0
    assert argument.partition("=")[0] in started.said()
    assert submitted.returned("init_post_opt") == 0
    assert submitted.said() == ""
    assert prepared.returned("job_prolog") == 0
    assert len(site.calls()) == 1


@pytest.mark.parametrize(
    "argument", ["enable_ccm=1", "enable_ccm=0", "long_options", "extern_cgroup=1"]
)
def test_a_right_argument_is_taken_silently(site, argument):
    started = site.run(Script("slurmd").add("plugstack", argument).add("hook", "init"))
    submitted = site.run(submit(plugstack=(argument,)))

    assert started.require_sound().of("log") == submitted.require_sound().of("log") == []
