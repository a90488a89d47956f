# SPDX-License-Identifier: BSD-3-Clause
"""What watches over a production gateway sees, and what its log never holds."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import json
import re
import subprocess

import pytest
import requests

from tests.integration.conftest import wait_until
from tests.integration.production.site import PROGRAMS, SYSTEMS
from tests.web_links import look, press

pytestmark = [pytest.mark.registry, pytest.mark.munge, pytest.mark.mongodb, pytest.mark.redis]

SYSTEM = SYSTEMS[0]
PASSWORD = "al1ce pass/word"
LOGIN = json.dumps({"authorized_locations": {"default": f"alice:{PASSWORD}"}}).encode()
SECRETS = (
    "redis-secret",
    PASSWORD,
    "al1ce%20pass",
    base64.b64encode(f"alice:{PASSWORD}".encode()).decode(),
)


@pytest.fixture(scope="module")
def site(make_site, munged):
    """API and a worker that write down all that they can."""
    made = make_site(munge_socket=munged, LogLevel="debug", CacheSize=120_000)
    key = command(made, "key").stdout
    made.config_path.with_name("key").write_text(key)
    made.config_path.with_name("key").chmod(0o600)
    config = json.loads(made.config_path.read_text())
    config["KeyFile"] = str(made.config_path.with_name("key"))
    made.config_path.write_text(json.dumps(config))
    made.start_api()
    made.start_worker("worker", children=2)
    return made


def command(site, *arguments):
    return subprocess.run(
        [PROGRAMS / "shifter-gateway", *arguments],
        env={"GWCONFIG": str(site.config_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def readiness(site):
    return requests.get(f"{site.url}/readyz", timeout=30)


def missing_parts(site):
    return set(readiness(site).json().get("missing", {}))


def sample(site, series):
    page = requests.get(f"{site.url}/metrics", timeout=30).text
    found = re.findall(rf"(?m)^{re.escape(series)} (\S+)$", page)
    return float(found[0]) if found else 0.0


def events(site):
    """What the gateway's processes logged, as JSON; other lines are not ours."""
    for line in site.logs().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            yield json.loads(line)


def test_counts_are_the_same_whichever_process_is_asked(site, push_new):
    done = f'shifter_jobs_total{{system="{SYSTEM}",job="pull",result="done"}}'
    lookups = f'shifter_lookups_total{{system="{SYSTEM}",found="yes"}}'
    images = [push_new("counted", size=50_000) for _ in range(3)]
    before = sample(site, done), sample(site, lookups)

    for image in images:
        site.pull(image)
    for image in images:
        site.wait(image)
    wait_until(lambda: sample(site, done) == before[0] + 3, what="the count of pulls")
    found = {sample(site, lookups) for _ in range(20)}

    assert found == {before[1] + 3}
    assert sample(site, f'shifter_fetched_bytes_total{{system="{SYSTEM}"}}') > 150_000
    assert sample(site, f'shifter_stage_seconds_count{{system="{SYSTEM}",stage="pulling"}}') >= 3
    ready = f'shifter_records{{system="{SYSTEM}",state="ready"}}'
    wait_until(lambda: sample(site, ready) >= 3, what="the count of images")


def test_workers_keep_the_cache_within_its_bound(site, push_new):
    images = [push_new("cached", size=50_000) for _ in range(4)]

    for image in images:
        site.pull(image)
    for image in images:
        site.assert_pulled_once(image)

    wait_until(
        lambda: 50_000 < sample(site, "shifter_cache_bytes") < 120_000, what="a trimmed cache"
    )
    trimmed = [one for one in events(site) if one["event"] == "cache trimmed"]
    assert trimmed
    assert all(one["left"] <= 120_000 for one in trimmed)


def test_a_failure_is_counted_by_its_kind(site):
    kind = "ManifestNotFoundError"
    series = f'shifter_job_failures_total{{system="{SYSTEM}",job="pull",kind="{kind}"}}'

    site.request("POST", f"/api/pull/{SYSTEM}/docker/lib/none:1/")

    wait_until(lambda: sample(site, series) == 1, what="the count of failures")


def test_a_broker_that_is_away_is_named_until_it_is_back(site, redis_server):
    redis_server.kill()
    try:
        wait_until(lambda: missing_parts(site) == {"broker"}, what="the missing broker")
        status = command(site, "status")
    finally:
        redis_server.start()

    assert status.returncode == 1
    assert status.stdout.startswith("missing: broker: ")
    wait_until(lambda: readiness(site).status_code == 200, what="readiness")


def test_a_database_that_is_away_is_named_until_it_is_back(site, mongo_server):
    mongo_server.kill()
    try:
        wait_until(lambda: missing_parts(site) == {"catalog"}, seconds=40, what="the catalog")
        is_alive = requests.get(f"{site.url}/healthz", timeout=5).status_code == 200
    finally:
        mongo_server.start()

    assert is_alive
    wait_until(lambda: readiness(site).status_code == 200, seconds=40, what="readiness")


def test_no_secret_reaches_a_log_and_each_line_is_an_event(site, push_new):
    image = push_new("private")

    site.pull(image, payload=LOGIN)
    site.wait(image)
    site.request("POST", f"/api/pull/{SYSTEM}/docker/lib/none:2%0A{{}}/", payload=LOGIN)
    requests.get(
        f"{site.url}/api/list/{SYSTEM}/", headers={"authentication": "MUNGE:AwQ:"}, timeout=9
    )

    text = site.logs()
    assert not [secret for secret in SECRETS if secret in text]
    assert not re.search("MUNGE:(?!\\*)", text)
    finished = [one for one in events(site) if one["event"] == "pull finished"]
    (own,) = [one for one in finished if one["image"] == image.reference]
    assert own["system"] == SYSTEM
    assert own["user"] == "root"
    assert isinstance(own["seconds"], float)
    assert {one["process"] for one in events(site)} == {"api", "worker"}


def test_a_link_to_the_page_works_once_whichever_process_it_is_shown_to(site):
    link = site.request("POST", f"/api/web/{SYSTEM}/").json()["url"]
    ticket = link.partition("ticket=")[2]

    browsers = [requests.Session() for _ in range(8)]
    forms = [look(browser, link) for browser in browsers]

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(press, browsers, [link] * 8, forms))

    (entered,) = [answer for answer in answers if answer.status_code == 303]
    assert {answer.status_code for answer in answers} == {303, 403}
    for _ in range(4):  # both processes know the session of one of them
        assert "Shown is what root may use" in page_for(site, entered.cookies)
    assert ticket not in site.logs()
    assert entered.cookies["shifter_session"] not in site.logs()


def test_logging_out_ends_a_session_for_all_processes(site):
    link = site.request("POST", f"/api/web/{SYSTEM}/").json()["url"]
    browser = requests.Session()
    copied = press(browser, link, look(browser, link)).cookies
    (word,) = re.findall('name="word" value="(.*?)"', page_for(site, copied))

    browser.post(f"{site.url}/web/{SYSTEM}/leave", data={"word": word}, timeout=30)

    for _ in range(4):
        assert "Shown is what root may use" not in page_for(site, copied)


def page_for(site, cookies):
    return requests.get(f"{site.url}/web/{SYSTEM}/", cookies=cookies, timeout=30).text


def test_counters_outlive_the_processes_that_counted(site):
    done = f'shifter_jobs_total{{system="{SYSTEM}",job="pull",result="done"}}'
    before = sample(site, done)

    site.kill("worker")
    after = sample(site, done)
    site.start_worker("worker", children=2)

    assert before == after > 0
    assert sample(site, done) == before
