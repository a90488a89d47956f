# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import pytest

from shifter_imagegw.details import LayerProgress
from shifter_imagegw.records import ImageRecord, PullState
from shifter_imagegw.rules.auth import Caller
from shifter_imagegw.rules.visits import Visit
from shifter_imagegw.web.jobs import job_of

ALICE = Caller(uid=1001, gid=100, known_name="alice")


def shown(caller=ALICE, **fields):
    known = {
        "key": "5",
        "system": "mycluster",
        "image_type": "docker",
        "pull_tag": "lib/app:1",
        "state": PullState.PENDING,
        "puller": 1001,
    }
    return job_of(ImageRecord(**(known | fields)), Visit(system=None, caller=caller))


@pytest.mark.parametrize(
    ("state", "step"),
    [
        (PullState.INIT, "Waiting"),
        (PullState.PENDING, "Waiting"),
        (PullState.HASHING, "Pulling"),
        (PullState.CONVERSION, "Converting"),
        (PullState.EXAMINATION, "Examining"),
        (PullState.TRANSFER, "Delivering"),
    ],
)
def test_each_state_is_a_step_on_the_way(state, step):
    steps = dict(shown(state=state).steps)

    assert steps[step] == "now"
    assert list(steps.values()) == sorted(steps.values(), key=["done", "now", "next"].index)


def test_a_failure_is_its_reason():
    job = shown(state=PullState.FAILURE, status_message="no such image", bytes_total=5)

    assert (job.reason, job.steps, job.total, job.note) == ("no such image", (), None, None)


def test_a_failure_of_an_older_gateway_has_no_reason():
    assert shown(state=PullState.FAILURE).reason == "no reason was given"


def test_a_state_is_not_said_twice():
    assert shown(status_message="PENDING").note == ""


def test_a_removal_has_no_steps():
    job = shown(state=PullState.EXPIRING, image_id="a" * 64, tags=("new:1", "old:1"))

    assert (job.kind, job.name, job.steps, job.note) == ("removal", "new:1", (), "Being removed")


def test_it_is_ours_or_not():
    assert shown().is_mine
    assert not shown(puller=7).is_mine
    assert not shown(caller=None).is_mine


@pytest.mark.parametrize(
    ("done", "total", "percent"), [(None, None, 0), (1, 3, 33), (9, 3, 100), (0, 0, 0)]
)
def test_progress_is_in_percent_for_who_hears_it(done, total, percent):
    assert shown(bytes_done=done, bytes_total=total).percent == percent


def test_layers_that_are_here_are_counted():
    layers = (LayerProgress("sha256:a", 5, 5), LayerProgress("sha256:b", 5, 4))

    assert shown(layers=layers, state=PullState.PULLING).layers_done == 1


def test_a_change_of_lists_has_no_steps():
    job = shown(acl_image="a" * 64)

    assert (job.kind, job.note) == ("access", "Who may use it is being changed")
