# SPDX-License-Identifier: BSD-3-Clause
"""What the gateway must do better than the original, and which tests hold it to that.

The numbers are those of the list of requirements; each test is named as `path::name`, the path
being below tests/.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]

UNIT = "unit/shifter_imagegw"
GATEWAY = "integration/gateway"
API = "integration/gateway_api"

HELD_BY = {
    2: (
        "every route but health wants a valid credential",
        f"{UNIT}/api/test_views.py::test_every_route_wants_a_credential",
        f"{UNIT}/api/test_views.py::test_every_route_of_the_api_is_known_to_these_tests",
        f"{UNIT}/api/test_views.py::test_anonymous_callers_may_only_look_where_the_site_says_so",
        f"{UNIT}/api/test_views.py::test_health_needs_no_credential",
        f"{API}/test_bad_requests.py::test_a_request_without_credential_is_refused",
        f"{API}/test_munge.py::test_each_system_believes_its_own_munge_alone",
    ),
    8: (
        "admins and ImportUsers given as one string mean that one name",
        f"{UNIT}/test_config.py::test_admins_given_as_one_string_are_that_one_name",
        f"{UNIT}/rules/test_access.py::test_admins_are_named_in_full",
        f"{UNIT}/rules/test_imports.py::test_who_may_import",
    ),
    9: (
        "a private image is for its puller, and lists are kept as asked, of imports too",
        f"{UNIT}/rules/test_access.py::test_who_may_read",
        f"{UNIT}/rules/test_access.py::test_who_may_read_after_a_pull",
        f"{UNIT}/rules/test_service.py::test_lists_are_kept_as_asked_and_the_caller_is_on_them",
        f"{UNIT}/test_golden_http.py::test_lists_on_a_public_image_are_kept",
        f"{UNIT}/rules/test_imports.py::test_an_import_waits_for_a_worker_with_all_that_it_needs",
        f"{API}/test_routes.py::test_an_import_is_asked_for_followed_found_counted_and_removed",
        f"{GATEWAY}/test_pull.py::test_access_lists_are_kept_as_asked_in_metadata_and_record",
        f"{GATEWAY}/test_pull.py::test_a_private_image_is_for_who_can_log_in_and_only_for_them",
    ),
    13: (
        "credentials reach no log, no argument, no file that stays, no text of an error",
        f"{UNIT}/rules/test_auth.py::test_registry_credentials_ride_in_the_payload_and_are_never_shown",
        f"{UNIT}/rules/test_service.py::test_registry_credentials_wait_sealed",
        f"{UNIT}/rules/test_service.py::test_only_the_logins_that_a_pull_can_use_wait_with_it",
        f"{API}/test_bad_requests.py::test_a_broken_header_is_not_quoted_in_the_log",
        f"{GATEWAY}/test_pull.py::test_passwords_are_in_no_log_and_no_file",
    ),
    15: (
        "every error is JSON with the right status",
        f"{UNIT}/test_golden_http.py::test_the_answer_is_better_than_the_originals",
        f"{UNIT}/api/test_views.py::test_unknown_routes_and_methods_are_errors_in_json",
        f"{UNIT}/api/test_views.py::test_a_defect_is_confessed_in_json_and_logged_without_credentials",
        f"{UNIT}/rules/test_imports.py::test_another_import_under_the_same_name_is_a_conflict",
        f"{API}/test_bad_requests.py::test_what_is_no_http_is_refused_in_json",
    ),
    16: (
        "PullUpdateTimeout works on its own, and by its old name",
        f"{UNIT}/test_config.py::test_pull_update_timeout_works_on_its_own_and_by_its_old_name",
        f"{UNIT}/rules/test_service.py::test_the_sites_update_timeout_counts",
    ),
    17: (
        "a failure tells its cause, and may be retried at once",
        f"{UNIT}/rules/test_service.py"
        "::test_a_failure_is_told_once_with_its_reason_and_then_the_pull_starts_anew",
        f"{UNIT}/rules/test_imports.py::test_a_failure_is_told_once_with_its_reason",
        f"{GATEWAY}/test_pull.py::test_a_failed_pull_can_be_repeated_at_once",
        "unit/shifter_cli/test_shifterimg.py"
        "::test_failed_pull_gives_stage_and_reason_on_stderr_and_exit_code_1",
    ),
    20: (
        "a tool that fails fails the pull, and what is READY is whole",
        f"{GATEWAY}/test_pull.py::test_a_converter_that_fails_is_quoted",
        f"{GATEWAY}/test_pull.py::test_a_full_disk_is_named_and_nothing_is_left",
        f"{GATEWAY}/test_serve.py"
        "::test_whatever_process_is_killed_every_pull_ends_and_nothing_is_half_published",
    ),
    29: (
        "pull, import and lookup arm the expiration, and autoexpire touches no running pull",
        f"{API}/test_routes.py::test_a_pull_arms_the_expiration_and_shows_it",
        f"{API}/test_routes.py::test_an_import_is_asked_for_followed_found_counted_and_removed",
        f"{API}/test_routes.py::test_what_nobody_uses_any_more_is_removed",
        f"{UNIT}/rules/test_service.py::test_a_lookup_keeps_an_image_from_expiring",
        f"{UNIT}/rules/test_service.py"
        "::test_pulls_on_their_way_are_not_touched_however_long_they_take",
    ),
    30: (
        "metrics are of one system, and a pull asked for by many is one conversion",
        "integration/catalog/test_contract.py"
        "::test_the_last_lookups_of_a_system_are_told_oldest_first",
        "integration/catalog/test_processes.py::test_each_job_is_claimed_by_one_of_many_processes",
        f"{UNIT}/catalog/test_sqlite_file.py::test_looking_up_an_image_uses_an_index",
        f"{GATEWAY}/test_pull.py::test_fifty_clients_of_one_image_make_one_conversion",
    ),
    31: (
        "a restart of API or worker loses no pull",
        f"{UNIT}/rules/test_service.py::test_a_restart_forgets_nothing",
        f"{GATEWAY}/test_serve.py"
        "::test_a_pull_that_is_interrupted_by_a_stop_is_done_by_the_next_start",
        "integration/production/test_faults.py::test_a_worker_that_is_killed",
        "integration/production/test_faults.py::test_an_api_that_is_killed",
    ),
}  # fmt: skip

BY_TEST = [
    pytest.param(name, id=f"{number} {name.partition('::')[2]}")
    for number, (_, *names) in HELD_BY.items()
    for name in names
]


@pytest.mark.parametrize("name", BY_TEST)
def test_a_requirement_is_held_by_a_test(name):
    path, _, function = name.partition("::")

    tree = ast.parse((TESTS / path).read_text())

    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
