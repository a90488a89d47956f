# SPDX-License-Identifier: BSD-3-Clause
"""A prolog that is killed takes its setupRoot along, whatever that is doing."""

from __future__ import annotations

import pytest

from tests.integration.runtime.node import wait_until

pytestmark = pytest.mark.root

PROLOG = 'setpriv --pdeathsig KILL "$@" & echo $!; wait'


def test_setup_root_ends_with_the_process_that_wanted_that(batch, tmp_path):
    """It has been the user meanwhile, which makes the kernel forget it."""
    hook, begun = batch.node.prefix / "etc/hang", batch.node.prefix / "begun"
    hook.write_text(f": >{begun}; sleep 300\n")
    hook.chmod(0o700)
    batch.node.configure(sitePreMountHook=hook, allowLocalChroot=1)
    setup = [batch.node.prefix / "sbin/setupRoot", "--job=12", "-u", "alice", "local", "/"]
    prolog = batch.start("sh", "-c", PROLOG, "sh", *setup)
    number = prolog.stdout.readline().strip()
    wait_until(begun.exists)

    prolog.kill()
    prolog.communicate(timeout=20)  # when all that it started has ended

    wait_until(lambda: batch.run("kill", "-0", number).returncode != 0)
    assert batch.unsetup("--job=12").returncode == 0
    assert batch.is_clean()
