# SPDX-License-Identifier: BSD-3-Clause
"""What is read out of a file server's log."""

from __future__ import annotations

import pytest

from benchmarks.scale_shared import (
    CONFIGURATION,
    IMAGE,
    IMAGE_PATH,
    LOOKUPS,
    METADATA,
    OPENS,
    READS,
    ROOT,
    read_trace,
)

IMAGE_ID, META_ID = "1edd89ae-86c2-4530-9d43-16832e12fffd", "2edd89ae-86c2-4530-9d43-16832e12fffd"
NOBODY = "00000000-0000-0000-0000-000000000000"


def logged(place, rest):
    return f"[2026-11-20 19:26:10.636871 +0000] I [trace.c:{place}] 0-trace: 5: {rest}\n"


OPENED = [
    logged("1894:trace_lookup", f"gfid={NOBODY} path=/images/aa.squashfs"),
    logged("701:trace_lookup_cbk", f"gfid={IMAGE_ID} (op_ret=0 *buf {{gfid={IMAGE_ID} ino=1, }}"),
    logged("2452:trace_open", f"gfid={IMAGE_ID} path=/images/aa.squashfs flags=0 fd=0x7ff"),
    logged("157:trace_open_cbk", f"gfid={IMAGE_ID} op_ret=0, op_errno=0, *fd=0x7ff"),
    logged("2452:trace_open", f"gfid={META_ID} path=/images/aa.meta flags=0 fd=0x8ff"),
]
READ = [
    logged("2514:trace_readv", f"gfid={IMAGE_ID} fd=0x7ff, size=131072offset=0 flags=08000)"),
    logged("239:trace_readv_cbk", f"gfid={IMAGE_ID} op_ret=37856 buf=gfid={IMAGE_ID} ino=1"),
    logged("2606:trace_flush", f"gfid={IMAGE_ID} fd=0x7ff"),
]


def test_operations_are_counted_by_file_and_answers_are_none():
    traffic = read_trace(OPENED, {})

    assert traffic.operations == {
        (IMAGE, LOOKUPS): 1,
        (IMAGE, OPENS): 1,
        (METADATA, OPENS): 1,
    }
    assert traffic.count(OPENS) == 2
    assert traffic.count(OPENS, of=[IMAGE]) == 1


def test_what_is_read_is_what_was_answered_not_what_was_asked_for():
    names = {}
    read_trace(OPENED, names)

    traffic = read_trace(READ, names)  # long after the file was opened

    assert traffic.operations == {(IMAGE, READS): 1}
    assert traffic.bytes == {IMAGE: 37856}


def test_a_file_that_was_looked_for_and_is_not_there_is_no_file_later():
    names = {}

    read_trace([logged("1894:trace_lookup", f"gfid={NOBODY} path=/images/bb.meta")], names)

    assert names == {}


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("/images/aa.squashfs", IMAGE),
        ("/images/aa.meta", METADATA),
        ("/images", IMAGE_PATH),
        ("/etc", CONFIGURATION),
        ("/etc/udiRoot.conf", CONFIGURATION),
        ("/", ROOT),
    ],
)
def test_a_directory_goes_with_what_is_in_it(path, file):
    line = logged("2452:trace_opendir", f"gfid={IMAGE_ID} path={path} fd=0x7ff")

    assert read_trace([line], {}).operations == {(file, OPENS): 1}
