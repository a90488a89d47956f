# SPDX-License-Identifier: BSD-3-Clause
"""The words after shifter-prologue and shifter-epilogue."""

from __future__ import annotations

import pytest

from shifter_runtime.errors import UsageError
from shifter_runtime.job.batch import options


def parsed(*words, **more):
    chosen = options.Options()
    options.parse(list(words), chosen, **more)
    return chosen


def test_values_are_attached_or_follow():
    chosen = parsed("--job=1", "--user", "alice", "--volume=/a:/b", "--volume", "/c:/d")

    assert (chosen.text("job"), chosen.text("user")) == ("1", "alice")
    assert chosen.volumes == ["/a:/b", "/c:/d"]


def test_what_follows_the_options_is_the_batch_systems():
    chosen = parsed("--scheduler=torque", "--", "7.server", "--job=9")

    assert chosen.arguments == ["7.server", "--job=9"]
    assert chosen.text("job") == ""


def test_variables_may_hold_anything():
    chosen = parsed("--variable=SHIFTER_VOLUME=/a:/b=c\n;--job=3")

    assert chosen.variables == {"SHIFTER_VOLUME": "/a:/b=c\n;--job=3"}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["12"], "'12' is no option"),
        (["-x"], "'-x' is no option"),
        (["--jobs=1"], "'--jobs=1' is no option"),
        (["--job"], "requires a value"),
        (["--sshd=1"], "takes no value"),
        (["--scheduler=slurm"], "known are gridengine, lsf, torque"),
        (["--variable=LD_PRELOAD=/x"], "NAME one of SHIFTER"),
        (["--variable=SHIFTER"], "not of the form NAME=VALUE"),
        (["--timeout=0"], "--timeout must be a number from 1"),
        (["--timeout=1e3"], "--timeout must be a number"),
        (["--fail-status=256"], "from 0 to 255"),
    ],
)
def test_wrong_usage_says_what_is_wrong(words, problem):
    with pytest.raises(UsageError, match=problem):
        parsed(*words)


def test_an_epilogue_takes_less():
    with pytest.raises(UsageError, match="'--image=x' is no option"):
        parsed("--image=x", epilogue=True)


def test_what_was_understood_before_a_mistake_holds():
    chosen = options.Options()
    with pytest.raises(UsageError):
        options.parse(["--fail-status=100", "--mistake"], chosen)

    assert chosen.fail_status == 100


@pytest.mark.parametrize(
    ("usage", "names"),
    [
        (options.PROLOGUE_USAGE, options.PROLOGUE_NAMES),
        (options.EPILOGUE_USAGE, options.EPILOGUE_NAMES),
    ],
)
def test_the_usage_text_has_every_option(usage, names):
    words = usage.replace(",", " ").replace("|", " ").replace("[", " ").split()

    shown = {word[2:].partition("=")[0] for word in words if word.startswith("--") and word != "--"}

    assert shown == set(names)
