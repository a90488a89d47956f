# SPDX-License-Identifier: BSD-3-Clause
"""The description says what the application does: no route, method or field more or less."""

from __future__ import annotations

import re

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from shifter_imagegw.api.openapi import document
from shifter_imagegw.records import ImageRecord, Lookup

# Not for programs: pages for people, and the greeting of the original.
NOT_DESCRIBED = re.compile(r"/(web(/.*)?)?\Z")
CONVERTED = {"image_type": "type", "path:repository": "repository"}


def described():
    return {
        (path, method.upper())
        for path, operations in document()["paths"].items()
        for method in operations
    }


def routed(app):
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: f"{{{name_of(match[1])}}}", rule.rule)
        if not NOT_DESCRIBED.match(rule.rule):
            yield from ((path, method) for method in rule.methods - {"HEAD", "OPTIONS"})


def name_of(converted):
    return CONVERTED.get(converted, converted)


def properties(name):
    return document()["components"]["schemas"][name]["properties"].keys()


def operations():
    for path in document()["paths"].values():
        yield from path.values()


def test_it_is_valid():
    OpenAPIV31SpecValidator(document()).validate()


def test_every_route_is_described_and_no_other(gateway):
    assert described() == set(routed(gateway.app))


def test_it_is_served_to_anybody(gateway):
    answer = gateway.client.get("/openapi.json")

    assert answer.status_code == 200
    assert answer.json == document()


def test_each_operation_has_a_name_of_its_own():
    names = [operation["operationId"] for operation in operations()]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize("field", ["summary", "tags", "responses"])
def test_each_operation_says_what_it_is(field):
    assert all(operation[field] for operation in operations())


def test_an_image_has_the_fields_that_are_sent():
    record = ImageRecord(key="1", system="s", image_type="docker", pull_tag="a:1")

    assert properties("Image") == record.to_wire().keys()


def test_a_lookup_has_the_fields_that_are_sent():
    row = Lookup(user="a", uid=1, system="s", image_type="docker", tag="a:1", image_id="", time=1)

    assert properties("Lookup") == row.to_wire().keys()


def test_a_job_has_the_fields_that_are_sent(gateway):
    gateway.request("POST", "/api/pull/mycluster/docker/app:1/")

    (job,) = gateway.request("GET", "/api/queue/mycluster/").json["list"]

    assert properties("Job") == job.keys()


def test_what_is_told_of_a_pull_in_flight_has_the_fields_that_are_sent(gateway):
    started = gateway.request("POST", "/api/pull/mycluster/docker/app:1/").json

    assert properties("Progress") == started.keys()


def test_what_is_told_of_one_image_has_the_fields_that_are_sent(gateway):
    gateway.request("POST", "/api/pull/mycluster/docker/app:1/")
    gateway.work()

    inspection = gateway.request("GET", "/api/inspect/mycluster/docker/app:1/").json

    assert properties("Inspection") == inspection.keys()
