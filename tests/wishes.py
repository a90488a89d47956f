# SPDX-License-Identifier: BSD-3-Clause
"""What users of container tools on clusters wish for or complain of, and what holds it here.

`HELD` names tests by file below tests/; a test that is written for a wish says so itself, by
`pytest.mark.wish(number)`. `TOLD` names the headings of docs/faq.md that say where we stand, for
what no test can hold or what is not done. `tests/unit/test_wishes.py` keeps the three complete.
"""

from __future__ import annotations

WISHES = {
    1: "a pull that fails says why, and ends with a status other than 0",
    2: "an image that was found when the job was submitted is there when the job runs",
    3: "an image can be pulled by its digest",
    4: "a login with a wrong password is refused when it is typed",
    5: "users can remove images of their own",
    6: "a long pull shows that it gets on",
    7: "a list of thousands of images can be narrowed to one's own",
    8: "a volume may go to any place, made or not, with or without a slash at its end",
    9: "a volume may go to /var/tmp",
    10: "a volume whose source the container does not see is refused with what sources are",
    11: "an image can be changed while a program runs",
    12: "what the site mounts can be left out",
    13: "variables of the caller can be kept out, all or one by one",
    14: "PATH and variables of the image decide which program is found",
    15: "the entry point and command of an image are run when asked for",
    16: "loop devices do not run out, and if they do, that is said with how many are in use",
    17: "ranks of an MPI program find each other, with the site's libraries brought by themselves",
    18: "Ctrl-C and signals reach the program",
    19: "files with names in any alphabet survive a pull",
    20: "registries that ask for logins in unusual ways are understood",
    21: "the Slurm plugin is built for the Slurm that is there, and is tested",
    22: "an installation to try it takes one command and no other server",
    23: "images that are there start while no gateway answers",
    24: "programs read results without taking text apart, and old ways of doing so work",
    25: "an image of any size may take as long to pull as it takes",
    26: "a library of the site's that is too new for an image is told before a job fails of it",
    27: "a conversion that is cut short leaves nothing that could be taken for an image",
    28: "a tag that means another image now gets in nobody's way",
    29: "what one user has pulled is there for all, on all nodes",
    30: "files of an image belong, inside, to whom they should",
    31: "PMIx and Open MPI work",
    32: "files of an image are read at the speed of the kernel",
    33: "nothing stays mounted after a program was killed",
    34: "no lock that somebody holds stops everybody else",
    35: "proxies, registries without TLS, and other processors are provided for",
    36: "a mistake is told once, in a sentence, where it was made",
    37: "a full disk is named, and does not spoil what is there",
    38: "nodes and jobs share one image and unpack nothing",
    39: "it is clear how long a container lives, and for whom",
    40: "no failure of ours takes a node out of service",
    41: "what batch systems need inside a container is there",
    42: "all ranks of a job on a node share one container and its page cache",
    43: "drivers of GPUs come with no library that breaks the image's",
    44: "pulls need no space of the user's, and a bounded part of the gateway's memory and disk",
    45: "own Python packages, limits of Docker Hub, missing compressors, long names: each is told",
}

_RUNTIME = "integration/runtime"
_CLI = "integration/cli"
_SLURM = "integration/slurm"
_GATEWAY = "integration/gateway"
_REGISTRY = "unit/shifter_imagegw/registry"

HELD: dict[int, tuple[str, ...]] = {
    1: (
        f"{_GATEWAY}/test_pull.py::test_an_unknown_tag_of_a_known_image_fails_with_its_reason",
        f"{_CLI}/test_shifterimg.py::test_pull_of_what_the_registry_does_not_have_says_so",
    ),
    2: (
        f"{_SLURM}/test_forms_batch.py::test_a_job_keeps_the_image_that_it_was_submitted_with",
        f"{_RUNTIME}/test_pinned_image.py::test_a_job_goes_on_by_name_when_its_image_has_expired",
    ),
    3: (f"{_GATEWAY}/test_pull.py::test_a_pull_by_digest_gives_the_image_of_its_tag",),
    4: (
        "integration/gateway_api/test_registries.py"
        "::test_a_wrong_login_is_refused_with_the_registrys_reason",
    ),
    5: (f"{_CLI}/test_modes.py::test_removal_is_asked_about_and_names_what_goes_along",),
    6: (
        f"{_CLI}/test_modes.py::test_layers_are_seen_to_come_one_by_one",
        "unit/shifter_cli/progress/test_terminal.py"
        "::test_bytes_share_rate_and_remaining_time_are_shown",
    ),
    7: (f"{_CLI}/test_modes.py::test_images_are_filtered_sorted_and_described",),
    8: (f"{_RUNTIME}/test_volumes.py::test_a_volume_appears_anywhere",),
    9: (
        f"{_RUNTIME}/test_volumes.py::test_var_tmp_may_be_covered",
        f"{_RUNTIME}/test_look.py"
        "::test_an_image_with_var_as_a_link_still_gives_var_tmp_to_a_volume",
    ),
    10: (
        f"{_RUNTIME}/test_volumes.py::test_a_source_is_what_the_container_sees",
        "unit/shifter_cli/submission/test_volumes.py"
        "::test_source_that_the_site_does_not_have_is_a_warning",
    ),
    11: (f"{_RUNTIME}/test_writable.py::test_all_of_the_image_is_the_users_to_change",),
    12: (f"{_RUNTIME}/test_writable.py::test_the_sites_mounts_can_be_left_out",),
    13: (
        f"{_RUNTIME}/test_launch.py::test_clearenv_keeps_the_callers_variables_out",
        f"{_RUNTIME}/test_options.py::test_unsetenv_leaves_what_the_site_sets",
    ),
    14: (f"{_RUNTIME}/test_launch.py::test_the_program_is_found_by_the_path_of_the_image",),
    15: (f"{_RUNTIME}/test_launch.py::test_entrypoint_runs_what_the_image_says",),
    16: (f"{_RUNTIME}/test_node_state.py::test_a_hundred_launches_at_once_share_one_loop_device",),
    17: (
        f"{_SLURM}/test_mpi.py::test_ranks_in_the_jobs_containers_form_one_world",
        "integration/mpi/test_mpi.py::test_the_nodes_mpich_takes_the_place_of_the_images",
    ),
    18: (
        f"{_RUNTIME}/test_process.py::test_ctrl_c_on_a_terminal_ends_a_program_that_is_no_shell",
        f"{_RUNTIME}/test_process.py::test_a_signal_to_the_launcher_reaches_the_program",
    ),
    19: ("unit/shifter_imagegw/flatten/test_merge.py::test_odd_names_survive",),
    20: (
        f"{_REGISTRY}/test_auth.py::test_challenges_are_read_as_servers_write_them",
        f"{_REGISTRY}/test_auth.py::test_a_registry_that_offers_only_basic_gets_the_credentials",
    ),
    21: (
        "integration/install/test_install.py"
        "::test_the_plugin_is_for_the_slurm_whose_headers_it_was_built_with",
        "spank/test_shared_object.py::test_the_process_that_loads_it_is_not_ended_nor_changed",
    ),
    22: (
        "integration/install/test_quickstart.py"
        "::test_quickstart_goes_the_whole_path_and_leaves_nothing",
    ),
    23: (
        f"{_RUNTIME}/test_lookup.py::test_an_image_is_found_by_name_when_no_gateway_answers",
        f"{_SLURM}/test_hostile.py::test_a_job_starts_and_runs_without_the_gateway",
    ),
    24: (
        f"{_CLI}/test_shifterimg.py::test_pipeline_of_a_workflow_engine_reads_the_state",
        f"{_SLURM}/test_forms_images.py::test_nextflow_sees_a_pull_fail",
        f"{_CLI}/test_modes.py::test_one_field_is_printed_for_scripts",
    ),
    25: (
        "unit/shifter_imagegw/pulling/test_lease.py::test_a_lease_is_renewed_while_its_body_runs",
        "unit/shifter_imagegw/pulling/test_lease.py"
        "::test_a_pull_that_takes_longer_than_the_site_allows_is_told_so",
    ),
    26: (
        "integration/mpi/test_module_check.py"
        "::test_an_image_with_an_old_glibc_is_told_with_library_and_version",
        f"{_RUNTIME}/test_doctor.py::test_a_module_that_needs_a_newer_glibc_is_told",
    ),
    27: (
        f"{_GATEWAY}/test_serve.py"
        "::test_whatever_process_is_killed_every_pull_ends_and_nothing_is_half_published",
    ),
    28: (
        "integration/catalog/test_contract.py"
        "::test_a_tag_moves_to_new_content_and_the_old_image_stays_without",
        "integration/catalog/test_contract.py"
        "::test_the_same_content_under_another_tag_is_one_image",
    ),
    29: (
        f"{_GATEWAY}/test_pull.py::test_fifty_clients_of_one_image_make_one_conversion",
        f"{_GATEWAY}/test_pull.py::test_two_tags_of_one_image_make_one_conversion",
    ),
    30: (f"{_RUNTIME}/test_writable.py::test_files_of_the_image_are_shown_as_the_users_own",),
    31: (
        f"{_SLURM}/test_mpi.py::test_ranks_in_private_containers_form_one_world",
        "unit/shifter_cli/modules/test_gathering.py"
        "::test_open_mpi_comes_with_components_parameters_and_pmix",
    ),
    33: (
        f"{_RUNTIME}/test_node_state.py::test_a_launch_killed_at_any_moment_leaves_nothing",
        f"{_RUNTIME}/test_setup_root.py::test_a_signal_at_any_moment_leaves_all_or_nothing",
    ),
    34: (
        f"{_RUNTIME}/test_node_state.py"
        "::test_a_launch_that_hangs_with_the_lock_keeps_nobody_from_his",
    ),
    35: (
        f"{_REGISTRY}/test_proxies.py::test_requests_go_through_the_proxy_of_the_environment",
        "integration/registry/test_real_registry.py"
        "::test_a_platform_that_is_missing_is_named_with_those_there_are",
    ),
    36: (
        f"{_SLURM}/test_hostile.py::test_a_mistake_is_told_where_it_is_made",
        f"{_RUNTIME}/test_options.py::test_a_refused_option_costs_one_sentence_and_nothing_else",
    ),
    37: (
        f"{_GATEWAY}/test_pull.py::test_a_full_disk_is_named_and_nothing_is_left",
        f"{_GATEWAY}/test_pull.py::test_after_a_full_disk_has_been_cleared_the_pull_works",
    ),
    38: (
        f"{_SLURM}/test_forms_batch.py"
        "::test_a_job_looks_its_image_up_once_and_makes_one_container_on_each_node",
    ),
    39: (
        f"{_SLURM}/test_nodes.py::test_jobs_on_one_node_end_each_for_itself",
        f"{_SLURM}/test_nodes.py::test_nobody_joins_the_job_of_another_user",
    ),
    40: (
        "spank/test_prolog.py::test_an_epilog_never_drains_the_node",
        f"{_SLURM}/test_nodes.py::test_a_node_without_the_image_says_so_in_its_task_only",
    ),
    41: (f"{_SLURM}/test_forms_batch.py::test_a_step_within_a_step_inherits_the_image",),
    42: (f"{_RUNTIME}/test_joining.py::test_launches_of_a_job_share_one_namespace",),
    43: (
        "integration/mpi/test_module_check.py"
        "::test_programs_and_libraries_of_a_gpu_driver_work_in_an_image",
    ),
    44: (
        "unit/shifter_imagegw/test_run_drain.py"
        "::test_a_program_gets_no_more_memory_than_it_may_have",
        f"{_REGISTRY}/test_trimming.py"
        "::test_what_was_used_least_recently_goes_first_and_no_more_than_needed",
    ),
    45: (
        f"{_RUNTIME}/test_doctor.py::test_python_packages_of_the_user_are_told",
        f"{_REGISTRY}/test_auth.py::test_without_credentials_everybodys_limit_is_waited_for",
        f"{_RUNTIME}/test_formats.py::test_a_compressor_that_the_kernel_lacks_is_named",
        f"{_SLURM}/test_forms_images.py::test_an_image_is_pulled_by_every_name",
    ),
}

TOLD = {
    32: "Is an image slow to read, or unpacked on each node?",
    41: "Can a program in a container submit jobs, or ask munge?",
}
