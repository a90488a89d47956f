# SPDX-License-Identifier: BSD-3-Clause
"""The processes that answer HTTP: gunicorn on a socket that is open already."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.http.errors import ParseException

from shifter_imagegw.api.gunicorn_worker import ApiWorker
from shifter_imagegw.errors import BadRequestError
from shifter_imagegw.operation.logs import GunicornLog
from shifter_imagegw.workers.supervisor import die_with_parent

if TYPE_CHECKING:
    from flask import Flask
    from gunicorn.workers.base import Worker

_BROKEN = BadRequestError("the request's body is not as HTTP has it")
_THREADS = 8  # of each process; a request waits for munge and the catalog, not for the processor


class Api(BaseApplication):  # type: ignore[misc]
    """gunicorn with our settings only: no configuration file, no command line.

    The application is made in each process after fork(), because a catalog's connection must not
    be carried over.
    """

    def __init__(
        self, listener: socket.socket, make_app: Callable[[], Flask], *, processes: int
    ) -> None:
        self._make_app = make_app
        self._settings: dict[str, Any] = {
            "bind": f"fd://{listener.detach()}",  # gunicorn closes it
            "workers": processes,
            "worker_class": ApiWorker,
            "threads": _THREADS,
            "worker_connections": 1000,
            "timeout": 30,
            "graceful_timeout": 5,
            "keepalive": 5,
            "limit_request_line": 8190,
            "limit_request_field_size": 65536,  # a munge credential carries the user's logins
            "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,
            "loglevel": "warning",
            "logger_class": GunicornLog,
            "post_fork": _after_fork,
            # gunicorn ≥ 24 would open a control socket in the user's home.
            "control_socket_disable": True,
        }
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:
        app = self._make_app()
        app.register_error_handler(ParseException, lambda _: app.handle_user_exception(_BROKEN))
        return app


def _after_fork(_arbiter: object, process: Worker) -> None:
    die_with_parent(process.ppid)
