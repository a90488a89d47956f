# SPDX-License-Identifier: BSD-3-Clause
"""Images on a filesystem that other hosts mount: made here, copied there by scp.

The order is that of `local`, and so are the names: image first, `.meta` last, each written under
a hidden name there, checked by size and digest, synced and renamed. One host that answers does
the work, or with `everyHost` all of them do.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses
import hashlib
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from shifter_common import tag_index as places
from shifter_imagegw import formats
from shifter_imagegw.config import SshConfig
from shifter_imagegw.delivery import (
    IndexEntry,
    Partial,
    StoredImage,
    names,
    remote_scripts,
    tag_index,
)
from shifter_imagegw.delivery.remote_file import RemoteFile
from shifter_imagegw.delivery.remote_host import SCRIPT_SECONDS, HostLostError, RemoteHost
from shifter_imagegw.delivery.staging import Staging
from shifter_imagegw.errors import ConfigError, DeliveryError

log = logging.getLogger(__name__)

T = TypeVar("T")
Hosts = Sequence[RemoteHost]

# Both scp and ssh may hand a path to the remote account's shell.
_PATH = re.compile(r"/[A-Za-z0-9._/+@=,:-]*")
_SLOWEST = 1 << 20  # bytes a second: a copy, or the reading of a file, that is slower has failed
_NEXT_TO_NOTHING_KIB = 1024
_LISTED = re.compile(r"[-d]\S*\s+\d+\s+\d+\s+\d+\s+(?P<size>\d+)\s+(?P<time>\d+)\s(?P<name>.+)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemotePartial(Partial):
    """A partial file on a host of the system."""

    host: RemoteHost


class SshDelivery:
    """The image directory (`ssh.imageDir`) of one system, on its hosts."""

    def __init__(
        self,
        system: str,
        directory: Path,
        ssh: SshConfig,
        *,
        staging_directory: Path,
        stripe_count: int = 0,
    ) -> None:
        self._system = system
        self._directory = os.fspath(directory)
        self._hosts = [RemoteHost(system=system, address=host, ssh=ssh) for host in ssh.hosts]
        self._every_host = ssh.every_host
        self._staging = Staging(staging_directory, "where images are made (ExpandDirectory)")
        self._stripe_count = stripe_count
        if not _PATH.fullmatch(self._directory) or ".." in directory.parts:
            raise ConfigError(
                f"Platforms.{system}.ssh.imageDir {self._directory!r} must be an absolute path of "
                "letters, digits and ._/+@=,:-"
            )

    def require_usable(self) -> None:
        self._make_staging_directory()
        self._run_on_hosts("use", remote_scripts.REQUIRE_USABLE)

    def staging(
        self, image_id: str, format: str, worker: str
    ) -> contextlib.AbstractContextManager[Path]:
        if format in formats.DIRECTORY_FORMATS:
            raise DeliveryError(
                f"cannot deliver images of format {format} to system {self._system!r} by ssh: "
                "use a format that is one file"
            )
        self._make_staging_directory()
        return self._staging.staging(image_id, format, worker)

    def deliver(
        self,
        staged: Path,
        image_id: str,
        format: str,
        worker: str,
        metadata: str,
        confirm: Callable[[], None],
    ) -> int:
        with self._staging.explained("read"), staged.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = os.fstat(file.fileno()).st_size
        moves = [
            names.partial(image_id, format, worker), names.final(image_id, format),
            names.partial(image_id, "meta", worker), names.final(image_id, "meta"),
        ]  # fmt: skip
        partial, _, description, _ = moves

        def deliver_to(hosts: Hosts) -> None:
            with (
                self._connected(hosts) as connected,
                self._discarded_on_failure(partial, description) as begun,
            ):
                for host in connected:
                    self._prepare(host, partial, size)
                    begun.append(host)
                    self._copy(host, staged, partial, size, digest)
                    self._run(host, "write to", remote_scripts.WRITE_TEXT, description, metadata)
                confirm()
                for host in connected:
                    self._run(host, "write to", remote_scripts.PUBLISH, *moves)

        self._with_hosts(deliver_to)
        return size

    def deliver_metadata(
        self, image_id: str, worker: str, metadata: str, confirm: Callable[[], None]
    ) -> None:
        partial, final = names.partial(image_id, "meta", worker), names.final(image_id, "meta")

        def deliver_to(hosts: Hosts) -> None:
            with self._discarded_on_failure(partial) as begun:
                for host in hosts:
                    begun.append(host)
                    self._run(host, "write to", remote_scripts.WRITE_TEXT, partial, metadata)
                confirm()
                for host in hosts:
                    self._run(host, "write to", remote_scripts.PUBLISH, partial, final)

        self._with_hosts(deliver_to)

    def read_metadata(self, image_id: str) -> str:
        name = names.final(image_id, "meta")
        lines = self._run_on_hosts("read", remote_scripts.READ, name)[0]
        try:
            content = base64.b64decode("".join(lines), validate=True)
        except binascii.Error:
            raise DeliveryError(f"cannot read {name!r} of system {self._system!r}") from None
        return content.decode("utf-8", "surrogateescape")

    def shut_out_others(self, image_id: str, worker: str) -> None:
        what = "remove what another worker has begun in"
        self._run_on_hosts(what, remote_scripts.SHUT_OUT_OTHERS, image_id, worker)

    def is_delivered(self, image_id: str, format: str) -> bool:
        files = names.final(image_id, "meta"), names.final(image_id, format)
        answers = self._run_on_hosts("read", remote_scripts.INSPECT, *files)
        return all(_is_whole(format, lines) for lines in answers)

    def size(self, image_id: str, format: str) -> int:
        name = names.final(image_id, format)
        return int(self._run_on_hosts("read", remote_scripts.MEASURE_SIZE, name)[0][-1])

    def open_image(self, image_id: str, format: str) -> RemoteFile:
        name = names.final(image_id, format)

        def open_on(hosts: Hosts) -> RemoteFile:
            (host,) = hosts
            with self._explained(host, "read an image in"):
                script = remote_scripts.ENTER + remote_scripts.SEND
                return host.open_file(script, self._directory, name)

        return self._with_hosts(open_on, every_host=False)

    def remove(self, image_id: str, format: str, worker: str, confirm: Callable[[], None]) -> None:
        # As `local` does it.
        asides = [names.partial(image_id, suffix, worker) for suffix in ("meta", format)]
        files = [names.final(image_id, suffix) for suffix in ("meta", format)]
        moves = [files[0], asides[0], files[1], asides[1]]
        what = "remove an image from"
        try:
            self._run_on_hosts(what, remote_scripts.PUT_ASIDE, *moves)
            confirm()
        except BaseException:
            with contextlib.suppress(DeliveryError):
                self._run_on_hosts(what, remote_scripts.PUT_BACK, *moves[2:], *moves[:2])
            raise
        self._run_on_hosts(what, remote_scripts.DISCARD, *asides)

    def index(self, image_type: str, tag: str, image_id: str) -> None:
        self._change_index(remote_scripts.INDEX, image_type, tag, image_id)

    def unindex(self, image_type: str, tag: str, image_id: str) -> None:
        if tag_index.is_possible(image_type, tag):
            self._change_index(remote_scripts.UNINDEX, image_type, tag, image_id)

    def indexed(self) -> list[IndexEntry]:
        answers = self._run_on_hosts("read", remote_scripts.LIST_INDEX, places.DIRECTORY)
        found = (tag_index.entry_of(*line.split(" ", 1)) for line in _in_any(answers) if line)
        return [entry for entry in found if entry is not None]

    def images(self) -> list[StoredImage]:
        found: dict[tuple[str, str], StoredImage] = {}
        for lines in self._run_on_hosts("read", remote_scripts.LIST):
            for image in _images_in(lines):
                found.setdefault((image.image_id, image.format), image)
        return list(found.values())

    def partials(self) -> list[Partial]:
        """Those on this host, and those on the system's."""
        local = self._staging.partials() if self._staging.directory.is_dir() else []

        def look(hosts: Hosts) -> list[Partial]:
            return [
                partial
                for host in hosts
                for partial in self._partials_in(host, self._run(host, "read", remote_scripts.LIST))
            ]

        return local + self._with_hosts(look)

    def discard(self, partial: Partial) -> None:
        if isinstance(partial, RemotePartial):
            what, name = "remove what a dead worker left in", partial.path.name
            self._run(partial.host, what, remote_scripts.DISCARD, name)
        else:
            self._staging.discard(partial)

    # One host

    def _prepare(self, host: RemoteHost, partial: str, size: int) -> None:
        kib, stripes = str(-(-size // 1024)), str(self._stripe_count)
        noise = self._run(host, "write to", remote_scripts.PREPARE, partial, kib, stripes)
        if any(noise):
            log.warning("image file not striped host=%s reason=%s", host.address, " ".join(noise))

    def _copy(self, host: RemoteHost, staged: Path, partial: str, size: int, digest: str) -> None:
        """Have the image on disk there, under its hidden name, and the same as here."""
        timeout = SCRIPT_SECONDS + size / _SLOWEST
        try:
            host.copy(staged, f"{self._directory}/{partial}", timeout)
        except HostLostError:
            raise
        except DeliveryError as error:
            raise self._copy_failed(host, partial, error) from error
        there = self._run(host, "write to", remote_scripts.MEASURE, partial, timeout=timeout)
        if [word for line in there for word in line.split()][:2] != [str(size), digest]:
            raise self._sentence(host, "copy an image to", "what arrived is not what was sent")

    def _copy_failed(self, host: RemoteHost, partial: str, error: DeliveryError) -> DeliveryError:
        """Why: scp's server says no more than "Failure" when a filesystem is full."""
        (free, *_) = self._run(host, "write to", remote_scripts.ABANDON, partial) or [""]
        if free.isdecimal() and int(free) < _NEXT_TO_NOTHING_KIB:
            return self._sentence(host, "write to", "it is full: free some space, or expire images")
        return self._sentence(host, "write to", str(error))

    def _partials_in(self, host: RemoteHost, lines: Sequence[str]) -> Iterator[Partial]:
        for name, _, age in _files_in(lines):
            worker = names.worker_of(name)
            if worker is not None:
                path = Path(self._directory, name)
                yield RemotePartial(path=path, worker=worker, age=age, host=host)

    def _run(
        self,
        host: RemoteHost,
        what: str,
        script: str,
        *arguments: str,
        timeout: float = SCRIPT_SECONDS,
    ) -> list[str]:
        with self._explained(host, what):
            script = remote_scripts.ENTER + script
            return host.run(script, self._directory, *arguments, timeout=timeout)

    @contextlib.contextmanager
    def _explained(self, host: RemoteHost, what: str) -> Iterator[None]:
        try:
            yield
        except HostLostError:
            raise
        except DeliveryError as error:
            raise self._sentence(host, what, str(error)) from error

    def _sentence(self, host: RemoteHost, what: str, reason: str) -> DeliveryError:
        return DeliveryError(
            f"cannot {what} {self._directory!r}, the image directory of system {self._system!r} "
            f"on host {host.address!r}: {reason}"
        )

    # One host or all of them

    def _run_on_hosts(self, what: str, script: str, *arguments: str) -> list[list[str]]:
        return self._with_hosts(
            lambda hosts: [self._run(host, what, script, *arguments) for host in hosts]
        )

    def _with_hosts(self, act: Callable[[Hosts], T], *, every_host: bool | None = None) -> T:
        """Act on every host, or on the first with which it works."""
        every_host = self._every_host if every_host is None else every_host
        choices = [tuple(self._hosts)] if every_host else [(host,) for host in self._hosts]
        problems = []
        for hosts in choices:
            try:
                result = act(hosts)
            except HostLostError as error:
                log.warning("host not usable reason=%s", error)
                problems.append(str(error))
                continue
            if not every_host:  # the next time it need not be looked for
                self._hosts = sorted(self._hosts, key=lambda host: host != hosts[0])
            return result
        raise DeliveryError("; ".join(problems))

    @contextlib.contextmanager
    def _connected(self, hosts: Hosts) -> Iterator[Hosts]:
        with contextlib.ExitStack() as stack:
            directory = self._staging.directory
            yield [stack.enter_context(host.connected(directory)) for host in hosts]

    @contextlib.contextmanager
    def _discarded_on_failure(self, *partials: str) -> Iterator[list[RemoteHost]]:
        """Gives a list of hosts, to be filled with those on which the files are begun."""
        begun: list[RemoteHost] = []
        try:
            yield begun
        except BaseException:
            for host in begun:
                with contextlib.suppress(DeliveryError):
                    self._run(host, "write to", remote_scripts.DISCARD, *partials)
            raise

    def _change_index(self, script: str, image_type: str, tag: str, image_id: str) -> None:
        entry = tag_index.place_of(image_type, tag, image_id)
        parent = str(PurePosixPath(entry).parent)
        hidden = f"{places.DIRECTORY}/.{secrets.token_hex(8)}.partial"
        what = "write the tag index in"
        self._run_on_hosts(what, script, parent, entry, hidden, image_id)

    def _make_staging_directory(self) -> None:
        with self._staging.explained("create"):
            self._staging.directory.mkdir(parents=True, exist_ok=True)


def _is_whole(format: str, lines: Sequence[str]) -> bool:
    """Whether an image is as long as its first bytes say; `lines` are what INSPECT prints."""
    if not lines:
        return False
    size, *dump = lines
    descriptor = os.memfd_create("image")  # with a hole where the rest of the image would be
    try:
        os.pwrite(descriptor, bytes.fromhex("".join(dump)), 0)
        os.ftruncate(descriptor, int(size))
        return not formats.is_cut_short(format, Path(f"/proc/self/fd/{descriptor}"))
    finally:
        os.close(descriptor)


def _files_in(lines: Sequence[str]) -> Iterator[tuple[str, int, float]]:
    """Name, bytes and age of what LIST prints."""
    now, *listed = lines
    for line in listed:
        match = _LISTED.fullmatch(line)
        if match is not None:
            yield match["name"], int(match["size"]), float(now) - float(match["time"])


def _images_in(lines: Sequence[str]) -> Iterator[StoredImage]:
    found = [(names.image_of(name), size, age) for name, size, age in _files_in(lines)]
    described = {known[0] for known, _, _ in found if known and known[1] == "meta"}
    for known, size, age in found:
        if known is not None and known[1] != "meta":
            yield StoredImage(
                image_id=known[0],
                format=known[1],
                size=size,
                age=age,
                has_metadata=known[0] in described,
            )


def _in_any(answers: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(line for lines in answers for line in lines))
