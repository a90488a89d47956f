# SPDX-License-Identifier: BSD-3-Clause
"""The words that imagemanager.json chooses among."""

from __future__ import annotations

import enum


class Authentication(enum.StrEnum):
    """How callers prove who they are; `mock` believes everybody and is for tests only."""

    MUNGE = "munge"
    MOCK = "mock"


class AuthMethod(enum.StrEnum):
    """How a registry wants credentials."""

    TOKEN = "token"
    BASIC = "basic"


class AccessType(enum.StrEnum):
    """How the gateway reaches a system's image directory: mounted here, or by ssh."""

    LOCAL = "local"
    REMOTE = "remote"


class GroupSource(enum.StrEnum):
    """Which groups a caller is in: those that the gateway's host knows, or the credential's one."""

    GATEWAY = "gateway"
    CREDENTIAL = "credential"


class LogLevel(enum.StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class LogFormat(enum.StrEnum):
    """One line an event: for people, or a JSON object."""

    TEXT = "text"
    JSON = "json"
