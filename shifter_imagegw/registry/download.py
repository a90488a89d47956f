# SPDX-License-Identifier: BSD-3-Clause
"""One blob on its way into one file: hashed while it comes, resumed where it broke."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from collections.abc import Callable

from shifter_imagegw.registry.client import RegistryClient
from shifter_imagegw.registry.errors import (
    DigestMismatchError,
    ManifestNotFoundError,
    RegistryError,
    RegistryNotPermittedError,
)
from shifter_imagegw.registry.manifest import Descriptor
from shifter_imagegw.registry.retry import require_wanted
from shifter_imagegw.registry.transport import Answer

_CHUNK = 1 << 20  # bytes
_SOMEWHERE = 1 << 20  # bytes after which a broken connection is no lost try
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19}|\*)")


class Download:
    """Fills `file`, a descriptor that the caller has locked; what it holds already is a prefix."""

    def __init__(
        self,
        client: RegistryClient,
        repository: str,
        blob: Descriptor,
        file: int,
        report: Callable[[int], None],
        stop: threading.Event,
    ) -> None:
        self._client = client
        self._repository = repository
        self._blob = blob
        self._file = file
        self._report = report
        self._stop = stop
        self._attempts = client.attempts(stop)
        self._hash = hashlib.sha256()
        self._done = 0  # bytes of the file that are hashed
        self._has_restarted = False
        self._furthest = 0  # bytes; the best that any try reached

    def run(self) -> None:
        """Return when the file is complete and its digest is right.

        Otherwise what is of use next time stays in the file, and nothing else does.
        """
        self._hash_prefix()
        try:
            self._attempts.run(self._try)
        except OSError:
            # The disk failed, most likely it is full: our bytes are better gone.
            self._restart()
            raise

    def _try(self) -> None:
        resumed = self._done > 0
        if self._done < self._blob.size or self._blob.size == 0:
            with contextlib.ExitStack() as stack:
                self._receive(self._open(stack))
        if f"sha256:{self._hash.hexdigest()}" != self._blob.digest:
            # After a resumption the beginning may be at fault, which a crash can spoil.
            retriable = resumed and not self._has_restarted
            found = self._hash.hexdigest()
            self._restart()
            raise DigestMismatchError(
                f"{self._what()} is refused: what came has the digest sha256:{found}",
                retriable=retriable,
            )

    def _open(self, stack: contextlib.ExitStack) -> Answer:
        blob = self._client.open_blob(self._repository, self._blob.digest, start=self._done)
        try:
            answer = stack.enter_context(blob)
        except (RegistryNotPermittedError, ManifestNotFoundError):
            raise
        except RegistryError as error:
            if error.retriable or not self._done or self._has_restarted:
                raise
            self._restart()  # some servers know no ranges, and say so with an error
            raise RegistryError(str(error), retriable=True) from error
        if answer.status == 200 and self._done:
            self._restart()
        self._require_range(answer)
        return answer

    def _receive(self, answer: Answer) -> None:
        while (missing := self._blob.size - self._done) > 0:
            require_wanted(self._stop)
            chunk = answer.read_some(min(_CHUNK, missing + 1))
            if not chunk:
                raise RegistryError(
                    f"{self._what()} broke off: {self._done} of {self._blob.size} bytes came",
                    retriable=True,
                )
            if len(chunk) > missing:
                raise self._too_long()
            self._write(chunk)
            # Bytes that a try before has had, too, are no progress: a server that knows no ranges
            # and breaks off each time would be asked for ever.
            if self._done - self._furthest > _SOMEWHERE:
                self._furthest = self._done
                self._attempts.got_somewhere()
        if answer.length() is None and answer.read_some(1):
            raise self._too_long()

    def _write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        self._hash.update(chunk)
        self._done += len(chunk)
        self._report(len(chunk))

    def _hash_prefix(self) -> None:
        """Take up what an earlier download left in the file."""
        os.lseek(self._file, 0, os.SEEK_SET)
        while chunk := os.read(self._file, _CHUNK):
            require_wanted(self._stop)
            self._hash.update(chunk)
            self._done += len(chunk)
            self._report(len(chunk))

    def _restart(self) -> None:
        os.ftruncate(self._file, 0)
        os.lseek(self._file, 0, os.SEEK_SET)
        self._report(-self._done)
        self._hash, self._done, self._has_restarted = hashlib.sha256(), 0, True

    def _require_range(self, answer: Answer) -> None:
        """Refuse an answer that is not exactly the rest of the blob, before its first byte."""
        matched = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if answer.status == 206 and (
            matched is None
            or int(matched[1]) != self._done
            or matched[2] not in ("*", str(self._blob.size))
        ):
            raise RegistryError(f"{self._what()} cannot be had: other bytes came than asked for")
        length = answer.length()
        if length is not None and length != self._blob.size - self._done:
            raise DigestMismatchError(
                f"{self._what()} is refused: its manifest says {self._blob.size} bytes, "
                f"the registry {self._done + length}"
            )

    def _too_long(self) -> RegistryError:
        self._restart()
        return DigestMismatchError(
            f"{self._what()} is refused: more came than the {self._blob.size} bytes that its "
            "manifest says"
        )

    def _what(self) -> str:
        return f"blob {self._blob.digest} of {self._client.endpoint.label}/{self._repository}"
