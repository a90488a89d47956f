# SPDX-License-Identifier: BSD-3-Clause
"""What a user takes of the node counts as his, and nothing of what others need is used up."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import pytest

from shifter_runtime import id_mapping, identity, namespace, syscalls
from shifter_runtime.errors import SetupError
from tests.integration.attacks.conftest import in_own_mounts
from tests.integration.runtime.node import ALICE

pytestmark = [pytest.mark.root, pytest.mark.attack(29)]

ALICE_AS_ROOT_SEES_HER = identity.Identity(
    uid=ALICE, gid=ALICE, groups=[ALICE], name="alice", gecos="", home="/", shell="/bin/sh",
    group_names=[("alice", ALICE)],
)  # fmt: skip


def test_namespaces_that_a_user_holds_are_not_roots():
    """Held by descriptors alone, they would soon leave root, and so the node, without any."""

    def hold_all() -> tuple[int, str]:
        # In a user namespace, whose limit is nobody else's.
        same_ids = id_mapping.open_namespace((0, 0), (0, 0))
        assert ctypes.CDLL(None).setns(same_ids, syscalls.CLONE_NEWUSER) == 0
        Path("/proc/sys/user/max_mnt_namespaces").write_text("3")
        held: list[int] = []
        said = ""
        while not said:
            try:
                with identity.CountedAs(ALICE_AS_ROOT_SEES_HER):
                    namespace.take_own()
            except SetupError as error:
                said = str(error)
            else:
                held.append(os.open("/proc/self/ns/mnt", os.O_RDONLY))
        syscalls.unshare_mounts()  # as root, who has all of his left
        return len(held), said

    held, said = in_own_mounts(hold_all)

    assert held == 3
    assert said.startswith("cannot take a mount namespace: you hold as many already")


def test_the_namespace_of_a_launch_counts_as_its_users(monkeypatch):
    counted = []
    monkeypatch.setattr(namespace, "take_own", lambda: counted.append(os.geteuid()))
    monkeypatch.setattr(namespace, "build", lambda plan: None)
    monkeypatch.setattr(namespace, "change_root", lambda udi: None)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))

    namespace.enter(None, ALICE_AS_ROOT_SEES_HER)

    assert (counted, os.geteuid()) == ([ALICE], 0)


def test_who_acts_as_the_user_after_that_has_no_right_of_roots():
    def rights() -> tuple[str, str]:
        with identity.CountedAs(ALICE_AS_ROOT_SEES_HER):
            counted = _effective_capabilities()
        with identity.AsUser(ALICE_AS_ROOT_SEES_HER):
            return counted, _effective_capabilities()

    counted, as_user = in_own_mounts(rights)

    assert (int(counted, 16) > 0, int(as_user, 16)) == (True, 0)


def _effective_capabilities() -> str:
    return Path("/proc/self/status").read_text().partition("CapEff:\t")[2].partition("\n")[0]
