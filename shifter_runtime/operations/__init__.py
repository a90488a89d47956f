# SPDX-License-Identifier: BSD-3-Clause
"""Everything that root can do to build a container: the whole vocabulary, one class each.

A plan is a list of these. `str()` says what one does, for `--dry-run` and for errors; `execute`
does it, in the mount namespace that the container is built in, on the UDI that `MountRoot` made.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from shifter_runtime.udi import Udi

    class Operation(Protocol):
        """One change to the container's tree."""

        def execute(self, udi: Udi) -> None: ...
