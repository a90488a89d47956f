# SPDX-License-Identifier: BSD-3-Clause
"""What is imported, for whom, and within which bounds."""

from __future__ import annotations

import dataclasses

from shifter_imagegw.flatten import Limits
from shifter_imagegw.importers.identity import Importer
from shifter_imagegw.importers.spool import Spool
from shifter_imagegw.pulling.lease import Lease
from shifter_imagegw.registry import Platform


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportJob:
    path: str  # on the gateway's host, as the user gave it
    format: str  # what the user says that it is
    tag: str  # what the image is to be called
    who: Importer
    is_trusted: bool  # so that squashfs files are taken as they are
    platform: Platform
    limits: Limits
    spool: Spool
    lease: Lease

    @property
    def shown(self) -> str:
        """The path as errors say it."""
        return repr(self.path)
