# SPDX-License-Identifier: BSD-3-Clause
"""The plugin in two builds, as installed and with sanitizers, and a site to try it on."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.spank import mock


@pytest.fixture(scope="session")
def trusted_directory() -> Iterator[Path]:
    """A place in which, and above which, nobody but root can write: pytest's are below /tmp."""
    directory = Path("/opt") / f"shifter-spank-{secrets.token_hex(4)}"
    directory.mkdir(mode=0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def mock_program(trusted_directory: Path) -> Path:
    return mock.build_mock(trusted_directory / "mock")


@pytest.fixture(scope="session")
def installed_plugin(trusted_directory: Path) -> Path:
    """The plugin as ./install makes it."""
    return mock.build_plugin(trusted_directory / "installed", trusted_directory / "udiRoot.conf")


@pytest.fixture(scope="session")
def sanitized_plugin(trusted_directory: Path) -> Path:
    """The plugin that stops at its first step outside of an object, and can be refused memory."""
    allocation = f"-include {mock.HERE / 'allocation.h'}"
    directory, config = trusted_directory / "sanitized", trusted_directory / "udiRoot.conf"
    return mock.build_plugin(directory, config, *mock.SANITIZERS, allocation)


@pytest.fixture
def make_site(trusted_directory: Path, mock_program: Path) -> Iterator[Callable[[Path], mock.Site]]:
    """`make_site(plugin)`: where Shifter is said to be installed, gone after the test."""
    directory = trusted_directory / "site"
    config = trusted_directory / "udiRoot.conf"
    yield lambda plugin: mock.Site(directory, mock_program, plugin, config)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def site(make_site: Callable[[Path], mock.Site], sanitized_plugin: Path) -> mock.Site:
    return make_site(sanitized_plugin)


@pytest.fixture
def node(site: mock.Site) -> mock.Site:
    """A site whose programs succeed, and note how they were called."""
    site.setup_root(site.log_call())
    site.unsetup_root(site.log_call())
    return site
