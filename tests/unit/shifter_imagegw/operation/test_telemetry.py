# SPDX-License-Identifier: BSD-3-Clause
from __future__ import annotations

import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from shifter_imagegw.errors import CatalogError, DeliveryError, LeaseLostError, PullError
from shifter_imagegw.operation import metrics, telemetry
from shifter_imagegw.records import ImageRecord, PullState
from shifter_imagegw.registry import RegistryError
from shifter_imagegw.workers.worker import Stopped

COUNT_IN_A_PROCESS = """
import sys
from pathlib import Path
from shifter_imagegw.operation import telemetry
telemetry.configure(Path(sys.argv[1]))
telemetry.count("x_total", {"system": "a"}, 5)
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def cache(tmp_path):
    telemetry.configure(tmp_path)
    yield tmp_path
    telemetry.stop()


def counters_of(cache):
    return telemetry.collect(cache)


def record_of(**changes):
    return ImageRecord(key="1", system="cori", image_type="docker", pull_tag="a", **changes)


def test_counts_add_up_by_their_labels(cache):
    telemetry.count("x_total", {"system": "a"})
    telemetry.count("x_total", {"system": "b"}, 2.5)
    telemetry.count("x_total", {"system": "a"})

    assert counters_of(cache) == {'x_total{system="a"}': 2, 'x_total{system="b"}': 2.5}


def test_nothing_is_counted_before_there_is_a_place_for_it(tmp_path):
    telemetry.count("x_total", {})

    assert telemetry.collect(tmp_path) == {}


def test_counts_of_threads_are_all_kept(cache):
    threads = [
        threading.Thread(target=lambda: [telemetry.count("x_total", {}) for _ in range(500)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counters_of(cache) == {"x_total": 4000}


def test_a_fork_counts_in_a_file_of_its_own(cache):
    telemetry.count("x_total", {})
    child = os.fork()
    if child == 0:
        telemetry.count("x_total", {}, 10)
        os._exit(0)
    os.waitpid(child, 0)
    telemetry.count("x_total", {})

    assert counters_of(cache) == {"x_total": 12}


def test_counts_of_killed_processes_stay_and_their_files_go(cache):
    telemetry.count("x_total", {"system": "a"})
    for _ in range(3):
        command = [sys.executable, "-c", COUNT_IN_A_PROCESS, cache]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            living = counters_of(cache)
            process.kill()

    ended = counters_of(cache)

    assert living == ended == {'x_total{system="a"}': 16}
    assert counters_of(cache) == ended
    own_file = sorted(path.name for path in (cache / "telemetry").iterdir())
    assert len(own_file) == 3  # our own, the retired, and the lock


def test_half_a_line_and_strange_lines_are_left_out(cache):
    telemetry.count("x_total", {})
    (own,) = (cache / "telemetry").glob("*.counters")
    with own.open("a") as file:
        file.write("no number\n00001.0 half_a_li")

    assert counters_of(cache) == {"x_total": 1}


def test_a_disk_that_is_full_fails_no_request(cache, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shifter_imagegw.operation.telemetry.os.pwrite", full)

    telemetry.count("x_total", {})
    telemetry.count("x_total", {})

    assert [record.getMessage() for record in caplog.records] == [
        "counters not kept reason=No space left on device"
    ]


def test_a_label_cannot_end_its_own_quotes():
    assert telemetry.series("x", {"system": 'a"\\\n'}) == 'x{system="a\\"\\\\\\n"}'


def test_stages_of_a_job_are_measured_each_once(cache, monkeypatch):
    clock = iter([0.0, 4.0, 4.3])
    # The module's own clock: whoever else looks at the process's would take a moment of it.
    monkeypatch.setattr(telemetry, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    meter = telemetry.JobMeter(record_of())

    for state in (PullState.PULLING, PullState.PULLING, PullState.TRANSFER):
        meter.enter(state)
    meter.end(None, 700)

    found = counters_of(cache)
    pulling, transfer = (
        {key: value for key, value in found.items() if f'stage="{stage}"' in key}
        for stage in ("pulling", "transfer")
    )
    prefix = 'shifter_stage_seconds_bucket{system="cori",stage="pulling",le='
    assert found['shifter_stage_seconds_sum{system="cori",stage="pulling"}'] == 4
    assert f'{prefix}"2.5"}}' not in pulling
    assert pulling[f'{prefix}"5"}}'] == pulling[f'{prefix}"+Inf"}}'] == 1
    assert transfer['shifter_stage_seconds_count{system="cori",stage="transfer"}'] == 1
    assert found['shifter_jobs_total{system="cori",job="pull",result="done"}'] == 1
    assert found['shifter_fetched_bytes_total{system="cori"}'] == 700


def caused_by(cause):
    error = PullError("in more words")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "result", "kind"),
    [
        (None, "done", None),
        (PullError("no"), "failed", "PullError"),
        (caused_by(RegistryError("no")), "failed", "RegistryError"),
        (caused_by(OSError("no")), "failed", "PullError"),
        (DeliveryError("full"), "failed", "DeliveryError"),
        (LeaseLostError("gone"), "lost", None),
        (CatalogError("away"), "interrupted", None),
        (Stopped(), "stopped", None),
    ],
)
@pytest.mark.parametrize(
    ("record", "job"),
    [
        (record_of(), "pull"),
        (record_of(source_path="/x"), "import"),
        (record_of(state=PullState.EXPIRING), "expire"),
    ],
)
def test_a_job_ends_in_one_of_five_ways(cache, error, result, kind, record, job):
    telemetry.JobMeter(record).end(error, 0)

    labels = f'{{system="cori",job="{job}"'
    expected = {f'shifter_jobs_total{labels},result="{result}"}}': 1.0}
    if kind is not None:
        expected[f'shifter_job_failures_total{labels},kind="{kind}"}}'] = 1.0
    assert counters_of(cache) == expected


def test_each_series_of_the_page_belongs_to_a_family_that_is_explained(cache):
    series = ['shifter_stage_seconds_bucket{stage="x",le="0.5"}', "shifter_jobs_total{}"]

    assert {metrics._family_of(name) for name in series} <= metrics.FAMILIES.keys()
