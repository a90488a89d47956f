# SPDX-License-Identifier: BSD-3-Clause
"""Requests made of the description, and their like that it does not allow, sent to a gateway.

What comes back must be what the description says: status, content type, headers, fields. None may
meet a defect of the gateway's, and none passes without a credential.
"""

from __future__ import annotations

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from shifter_common import munge
from shifter_imagegw.api.openapi import document
from tests.integration.conftest import SYSTEM, gateways

pytestmark = [pytest.mark.registry, pytest.mark.munge]

OPERATIONS = [(path, method) for path, methods in document()["paths"].items() for method in methods]
PROTECTED = [
    (path, method)
    for path, method in OPERATIONS
    if document()["paths"][path][method].get("security") != []
]

CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "allow_header_conformance",
)

few = hypothesis.settings(
    max_examples=12,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def gateway(registry, munged, tmp_path_factory):
    """One of these tests' own: what they ask for is pulled, in vain."""
    with gateways(registry, munged, tmp_path_factory) as make:
        yield make(Metrics=True, MaxQueuedPullsPerUser=1000)


@pytest.fixture(scope="module")
def description(gateway):
    load_all_checks()
    return schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")


@pytest.fixture(scope="module")
def validate(gateway):
    """Send a case, with a credential of its own, and hold the answer to the description."""
    checks = CHECKS.get_by_names(CHECKED)

    def send(case):
        credential = munge.encode(socket=str(gateway.munge_socket))
        response = case.call(headers={"authentication": credential}, timeout=20)
        if response.status_code == 503 and "503" in case.operation.definition.raw["responses"]:
            return  # a server that is away is no defect
        case.validate_response(response, checks=checks)

    return send


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_the_description_allows_is_answered_as_it_says(description, validate, path, method):
    operation = description[path][method]
    known = {"system": SYSTEM} if "{system}" in path else None

    @few
    @hypothesis.given(case=operation.as_strategy(path_parameters=known))
    def send(case):
        validate(case)

    send()


@pytest.mark.parametrize(("path", "method"), [route for route in OPERATIONS if "{" in route[0]])
def test_what_it_does_not_allow_is_refused_as_it_says(description, validate, path, method):
    operation = description[path][method]

    @few
    @hypothesis.given(case=operation.as_strategy(GenerationMode.NEGATIVE))
    def send(case):
        validate(case)

    send()


@pytest.mark.parametrize(("path", "method"), PROTECTED)
def test_no_operation_passes_without_a_credential(description, path, method):
    operation = description[path][method]
    known = {"system": SYSTEM, "type": "docker", "tag": "app:1", "repository": "app"}
    parameters = {name: value for name, value in known.items() if f"{{{name}}}" in path}
    case = operation.Case(path_parameters=parameters, method=method.upper())

    assert case.call(timeout=20).status_code == 401
