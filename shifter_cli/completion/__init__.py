# SPDX-License-Identifier: BSD-3-Clause
"""Completion in bash, zsh and fish: what a shell asks, and what may stand where the cursor is.

`scripts` are what shells load; they start the program anew with `_SHIFTER_COMPLETE` set, and
`answers` prints what it can be.
"""

from __future__ import annotations

QUESTION = (
    "_SHIFTER_COMPLETE"  # the variable: a shell's name, and a program's, with a colon between
)
