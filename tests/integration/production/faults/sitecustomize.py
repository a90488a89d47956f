# SPDX-License-Identifier: BSD-3-Clause
"""Holds a real process of the gateway where it publishes: at the rename of an image or its .meta.

Python imports a module of this name at its start, from $PYTHONPATH. A gate is a file in the
directory that $SHIFTER_TEST_GATES names; see gates.py.
"""

import os
import time

_gates = os.environ.get("SHIFTER_TEST_GATES")
_rename = os.rename


def _gated_rename(source, target, **options):
    gate = os.path.join(_gates, f"rename.{os.path.basename(target)}")
    if os.path.exists(gate):
        with open(f"{gate}.reached", "w"):
            pass
        while os.path.exists(gate):
            time.sleep(0.02)
    _rename(source, target, **options)
    with open(os.path.join(_gates, "renames"), "a") as log:
        log.write(f"{os.path.basename(target)}\n")


if _gates:
    os.rename = _gated_rename
