# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import socket
import time
from datetime import timedelta

import pytest

from shifter_imagegw.errors import ConfigError
from shifter_imagegw.workers import tasks
from shifter_imagegw.workers.tasks import Nudges
from tests.unit.shifter_imagegw.conftest import Clock, make_config

PASSWORD = "broker-secret"


@pytest.fixture
def refusing():
    """The URL of a broker that is not there."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"redis://:{PASSWORD}@127.0.0.1:{unused.getsockname()[1]}/0"


@pytest.fixture
def hanging():
    """The URL of a broker that takes connections and says nothing, and how many it has taken."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield f"redis://:{PASSWORD}@127.0.0.1:{listener.getsockname()[1]}/0", listener


def taken(listener):
    """How many connections wait to be accepted."""
    listener.setblocking(False)
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_a_broker_that_is_away_raises_nothing(refusing):
    nudges = Nudges(refusing)

    nudges("cori")

    assert nudges.count("cori") is None


def test_a_broker_that_hangs_costs_half_a_second_once(hanging):
    url, listener = hanging
    nudges = Nudges(url)
    started = time.monotonic()

    for _ in range(10):
        nudges("cori")

    assert time.monotonic() - started < 3  # not ten times half a second
    assert taken(listener) == 1


def test_a_broker_that_was_away_is_asked_again_after_some_seconds(hanging):
    url, listener = hanging
    clock = Clock()
    nudges = Nudges(url, clock)

    nudges("cori")
    clock.advance(6)
    nudges("cori")

    assert taken(listener) == 2


def test_the_password_of_the_broker_is_not_logged(refusing, caplog):
    Nudges(refusing)("cori")

    assert "broker away" in caplog.text
    assert PASSWORD not in caplog.text


def test_a_worker_without_a_broker_is_told_what_to_start_instead(tmp_path):
    with pytest.raises(ConfigError, match="Broker is missing.*start 'shifter-gateway serve'"):
        tasks.worker_app(make_config(tmp_path))


def test_a_gateway_without_a_broker_nudges_nobody(tmp_path):
    assert tasks.nudges_of(make_config(tmp_path)) is None


def test_no_message_is_given_to_another_worker_while_a_pull_may_still_run(tmp_path, refusing):
    config = make_config(tmp_path, Broker=refusing, PullTimeout=7200, WorkerThreads=5)

    app = tasks.worker_app(config)

    transport = app.conf.broker_transport_options
    assert timedelta(seconds=transport["visibility_timeout"]) > config.limits.pull
    assert transport["unacked_restore_interval"] == 5
    assert transport["unacked_restore_throttle"] == 1


def test_a_worker_takes_one_message_for_each_child_and_keeps_it_until_the_end(tmp_path, refusing):
    app = tasks.worker_app(make_config(tmp_path, Broker=refusing, WorkerThreads=5))

    assert app.conf.worker_concurrency == 5
    assert app.conf.worker_prefetch_multiplier == 1
    assert app.conf.task_acks_late
    assert app.conf.task_reject_on_worker_lost
    assert app.conf.accept_content == ["json"]


def test_a_worker_has_a_queue_for_each_system_and_knows_no_other(tmp_path, refusing):
    app = tasks.worker_app(make_config(tmp_path, Broker=refusing))

    assert list(app.amqp.queues) == ["mycluster"]
    assert not app.conf.task_create_missing_queues
