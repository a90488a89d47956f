# SPDX-License-Identifier: BSD-3-Clause
"""A fake of the module that OpenPBS gives its hooks: as much of it as ours uses.

What the event is stands in the file that FAKE_PBS_EVENT names; what the hook says goes to stdout.
"""

import json
import os
import sys
import types

EXECJOB_BEGIN, EXECJOB_END = 0x40, 0x200

with open(os.environ["FAKE_PBS_EVENT"], encoding="utf-8") as _file:
    _told = json.load(_file)


class _Event:
    type = {"execjob_begin": EXECJOB_BEGIN, "execjob_end": EXECJOB_END}[_told["type"]]
    job = types.SimpleNamespace(**_told["job"])

    def reject(self, message):
        print(f"rejected: {message}")
        sys.exit(0)


_event = _Event()


def event():
    return _event


def logjobmsg(job, message):
    print(f"{job}: {message}")
