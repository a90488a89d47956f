# SPDX-License-Identifier: BSD-3-Clause
"""Every row of docs/exit-codes.md is held by a test, and no row is missing that one holds."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs/exit-codes.md").read_text()

_CALLER = "unit/shifter_runtime/job/test_caller.py"
_ENDS_OF_ROOT = f"{_CALLER}::test_each_end_has_a_status_of_its_own"
_BATCH = f"{_CALLER}::test_batch_systems_see_what_the_site_wants_them_to"
_PROGRAM = "unit/shifter_cli/test_program.py"
_ENDS = f"{_PROGRAM}::test_each_end_has_a_status_of_its_own"
_GATEWAY = "unit/shifter_imagegw/test_command.py::test_each_end_has_a_status_of_its_own"
_ADMIN = "unit/shifter_cli/test_admin.py"
_LAUNCH = "integration/runtime/test_launch.py"
_CLI = "integration/cli/test_shifterimg.py"

# Program and status -> a test that it ends so.
HELD = {
    ("shifter", "0 to 255"): f"{_LAUNCH}::test_the_exit_code_is_the_programs",
    ("shifter", "127"): f"{_LAUNCH}::test_a_missing_program_ends_with_127",
    ("shifter", "1"): f"{_LAUNCH}::test_an_unknown_option_shows_the_usage_and_fails",
    ("shifter", "70"): (
        f"{_CALLER}::test_a_defect_of_a_launch_is_told_without_a_trace_unless_that_is_asked_for"
    ),
    ("shifterimg", "0"): f"{_CLI}::test_image_is_pulled_listed_and_found",
    ("shifterimg", "1"): f"{_CLI}::test_lookup_of_a_missing_image_prints_nothing_for_scripts",
    ("shifterimg", "75"): "unit/shifter_cli/test_shifterimg.py"
    "::test_lookup_without_a_gateway_that_answers_can_be_told_from_a_refusal",
    ("shifterimg", "130"): f"{_CLI}::test_interrupted_pull_says_that_it_goes_on",
    ("shifterimg", "70"): _ENDS,
    ("shifter-admin", "0"): f"{_ADMIN}::test_a_good_file_is_explained_key_by_key",
    ("shifter-admin", "1"): f"{_ADMIN}::test_what_is_wrong_with_a_file_is_told_with_its_line",
    ("shifter-admin", "2"): "unit/shifter_cli/administration/test_check.py"
    "::test_what_a_gateway_s_program_finds_is_shown_as_its_own",
    ("shifter-admin", "3"): f"{_ADMIN}::test_names_that_nobody_knows_have_a_status_of_their_own",
    ("shifter-admin", "130"): _ENDS,
    ("shifter-admin", "70"): _ENDS,
    ("shifter-gateway", "0"): "integration/gateway/test_serve.py"
    "::test_a_gateway_that_is_stopped_ends_well_and_leaves_no_process",
    ("shifter-gateway", "1"): _GATEWAY,
    ("shifter-gateway", "2"): _GATEWAY,
    ("shifter-gateway", "70"): _GATEWAY,
    ("setupRoot and unsetupRoot", "0"): _ENDS_OF_ROOT,
    ("setupRoot and unsetupRoot", "1"): _ENDS_OF_ROOT,
    ("setupRoot and unsetupRoot", "2"): _ENDS_OF_ROOT,
    ("setupRoot and unsetupRoot", "3"): _ENDS_OF_ROOT,
    ("setupRoot and unsetupRoot", "130"): _ENDS_OF_ROOT,
    ("setupRoot and unsetupRoot", "70"): f"{_CALLER}::test_a_defect_is_one_sentence_and_status_70",
    ("shifter-prologue and shifter-epilogue", "0"): _BATCH,
    ("shifter-prologue and shifter-epilogue", "`--fail-status`"): _BATCH,
}


@cache
def names_in(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def rows() -> set[tuple[str, str]]:
    found = set()
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        program = part.partition("\n")[0]
        for status in re.findall(r"^\| ([^|]+) \|", part, re.MULTILINE):
            if status not in ("status", "---"):
                found.add((program, status))
    return found


def test_every_row_of_the_page_is_held_by_a_test():
    assert rows() == set(HELD)


@pytest.mark.parametrize("test", sorted(set(HELD.values())))
def test_a_test_that_holds_a_status_is_there(test):
    file, _, name = test.partition("::")

    assert name in names_in(file)
