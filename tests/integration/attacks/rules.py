# SPDX-License-Identifier: BSD-3-Clause
"""The list of attacks that the runtime is held against, and tests of other folders that hold it.

Tests of this folder say by `pytest.mark.attack(number)` which rules they hold. `ELSEWHERE` names
those that stand beside what they are about: file below tests/ -> test -> rules.
"""

from __future__ import annotations

RULES = {
    1: "hostile variables have no effect on what runs as root",
    2: "argument lists that are empty, huge or odd overflow nothing",
    3: "descriptors that are closed or open at the start let nothing in or out",
    4: "limits, umask, timers and ignored signals leave nothing half done",
    5: "a launch that ends or stops at any step leaves the node as it was",
    6: "nobody traces, reads or dumps root's process",
    7: "root is refused, and of a user's ids and groups none is lost or added",
    8: "a copy, a hard link or a nosuid mount is no second door",
    9: "nothing of the node's can be overwritten through /proc/PID/exe",
    10: "what root reads or runs, only root can change",
    11: "nobody chooses which configuration root reads",
    12: "hooks run in clean surroundings and for a limited time",
    13: "only an id names an image to root, and no name reaches a shell",
    14: "paths are compared by whole names",
    15: "the file that was checked is the one that is mounted",
    16: "no filesystem that a user wrote is mounted",
    17: "a private image is nobody's who is not in its list",
    18: "no file, link or device in an image leads out of it",
    19: "device nodes are the node's own",
    20: "/proc is the kernel's",
    21: "set-id bits, capabilities, devices and attributes of images are inert",
    22: "restrictions hold for everything below what the site shares",
    23: "no user takes a mount away, lifts its restrictions, or sends it to the node",
    24: "volumes begin where their user can come and end where he may mount",
    25: "perNodeCache mounts nothing but what root made a moment ago",
    26: "no name or full name adds to passwd or group",
    27: "no library or configuration of an image's is used by root",
    28: "the working directory is inside",
    29: "the kernel's interfaces give no more inside than outside",
    30: "sshd lets in the job's user alone, and ends with the job",
    31: "whatever a job hands to root is words, and checked again",
    32: "a job's container ends with it, whatever is killed, and no node is drained",
    33: "no text and no lack of anything ends a process of Slurm's",
}

_RUNTIME = "integration/runtime"

ELSEWHERE: dict[str, dict[str, tuple[int, ...]]] = {
    f"{_RUNTIME}/test_entry.py": {
        "test_hostile_variables_have_no_effect_on_the_privileged_part": (1,),
        "test_no_argument_at_all_is_refused_cleanly": (2,),
        "test_a_hundred_thousand_options_are_handled": (2,),
        "test_a_directory_is_never_taken_for_the_batch_systems_descriptor": (3,),
        "test_the_runtime_can_be_neither_traced_nor_signalled_by_its_user": (6,),
        "test_a_launcher_that_lost_its_setuid_bit_says_so": (8,),
    },
    f"{_RUNTIME}/test_doctor.py": {
        "test_what_looks_is_the_user_with_no_privilege_left": (1, 3, 7),
        "test_what_looks_cannot_become_root_again": (7,),
        "test_root_is_refused": (7,),
    },
    f"{_RUNTIME}/test_node_state.py": {
        "test_a_launch_killed_at_any_moment_leaves_nothing": (5,),
        "test_a_launch_that_hangs_with_the_lock_keeps_nobody_from_his": (5,),
    },
    f"{_RUNTIME}/test_trust.py": {
        "test_a_configuration_that_others_can_write_is_refused": (10,),
        "test_a_configuration_of_somebody_elses_is_refused": (10,),
        "test_a_configuration_in_a_directory_that_others_can_write_is_refused": (10,),
        "test_a_configuration_that_is_a_pipe_keeps_nobody_waiting": (10,),
        "test_a_huge_configuration_is_refused": (10,),
        "test_only_a_sha256_is_an_image_id": (13,),
        "test_an_image_that_others_can_write_is_refused": (15,),
        "test_no_link_is_followed_to_an_image": (15,),
        "test_an_image_directory_that_everybody_can_write_is_refused": (15,),
        "test_a_file_that_is_no_filesystem_fails_in_words": (16,),
        "test_the_access_list_names_who_may_use_an_image": (17,),
        "test_only_a_line_end_ends_a_line_of_passwd": (26,),
    },
    f"{_RUNTIME}/test_modules.py": {
        "test_files_that_others_can_change_are_refused_however_deep": (10,),
        "test_a_link_of_somebody_else_in_a_module_is_refused": (10,),
    },
    f"{_RUNTIME}/test_hooks.py": {
        "test_a_script_of_root_starts_from_a_clean_state": (12,),
        "test_a_script_that_hangs_is_ended_with_everything_it_has_started": (12,),
        "test_a_script_ends_when_its_launch_is_killed": (5, 12),
        "test_the_script_that_was_checked_is_the_one_that_runs": (10,),
        "test_no_link_of_an_image_leads_a_script_of_root_outside": (18,),
    },
    f"{_RUNTIME}/test_lookup.py": {
        "test_an_entry_that_others_could_have_made_is_refused": (15,),
        "test_the_index_is_no_way_around_a_refusal": (17,),
        "test_the_index_tells_of_no_image_to_who_may_not_read_it": (17,),
    },
    f"{_RUNTIME}/test_joining.py": {
        "test_a_users_job_is_joined_by_nobody_else": (17,),
        "test_the_access_list_is_held_on_every_launch": (17,),
        "test_an_expired_images_access_list_still_holds": (17,),
        "test_a_joined_process_has_no_more_than_one_of_its_own": (7,),
    },
    f"{_RUNTIME}/test_hostile_image.py": {
        "test_files_of_etc_that_are_links_are_replaced_not_followed": (18,),
        "test_every_mount_is_nosuid_and_nodev_but_dev": (21,),
    },
    f"{_RUNTIME}/test_local_image.py": {
        "test_what_is_not_the_users_does_not_become_his_by_being_writable": (21,),
        "test_directories_of_others_stay_closed": (24,),
    },
    f"{_RUNTIME}/test_volumes.py": {
        "test_nothing_of_shifters_can_be_covered": (24,),
        "test_a_link_in_the_image_does_not_lead_a_volume_over_etc": (24,),
        "test_a_source_that_the_user_cannot_reach_is_refused": (24,),
        "test_volumes_that_double_the_mounts_are_stopped_early": (24,),
    },
    f"{_RUNTIME}/test_node_cache.py": {
        "test_bad_settings_are_one_sentence": (25,),
        "test_the_sites_limit_holds": (25,),
        "test_another_users_directory_is_no_place": (25,),
        "test_a_link_that_is_swapped_meanwhile_leads_nowhere_else": (25,),
        "test_no_process_of_the_users_can_reach_the_file": (25,),
        "test_launches_at_once_have_one_each": (25,),
        "test_mkfs_is_given_memory_of_roots_and_nothing_of_the_users": (25,),
        "test_a_launch_that_is_killed_while_it_builds_leaves_nothing": (5, 25),
    },
    f"{_RUNTIME}/test_node_cache_shared.py": {
        "test_its_owner_cannot_open_it_in_the_moment_that_it_has_a_name": (25,),
    },
    f"{_RUNTIME}/test_sshd.py": {
        "test_nobody_else_gets_in": (30,),
        "test_keys_of_the_users_home_let_nobody_in": (30,),
        "test_nobody_else_can_look_at_the_keys": (30,),
        "test_the_daemon_is_the_users_and_has_no_privilege": (30,),
        "test_all_of_it_ends_with_the_job": (30,),
    },
    "spank/test_config.py": {
        "test_root_takes_no_configuration_that_others_can_change": (10,),
        "test_root_runs_no_program_that_others_can_change": (10,),
        "test_root_follows_no_link_that_a_user_may_turn_elsewhere": (10,),
    },
    "spank/test_prolog.py": {
        "test_what_a_user_forges_is_words_after_the_rule_or_a_failure_of_the_job": (31,),
        "test_the_user_is_who_slurm_says_whatever_the_job_s_variables_say": (31,),
        "test_the_program_runs_as_root_with_nothing_of_the_job_s": (31,),
        "test_a_failure_is_kept_for_the_job_and_drains_no_node_when_setup_root": (32,),
        "test_a_prolog_that_is_killed_leaves_word_for_the_job_and_no_program": (32,),
        "test_a_program_that_hangs_is_ended_with_all_that_it_started": (32,),
        "test_a_job_without_image_has_nothing_of_an_earlier_one_of_its_number": (32,),
        "test_what_lies_in_the_way_of_the_job_s_file_is_not_followed": (31,),
    },
    "spank/test_tasks.py": {
        "test_with_ccm_nobody_enters_the_container_of_another": (17,),
        "test_options_of_others_in_the_job_s_environment_are_not_taken_for_orders": (31,),
        "test_nothing_in_a_report_steers_a_terminal_or_a_format": (31,),
    },
    "spank/test_fuzz.py": {
        "test_no_text_ends_the_process_that_reads_it": (33,),
    },
    "spank/test_leftovers.py": {
        "test_a_process_of_slurm_s_is_as_it_was_when_programs": (33,),
        "test_no_memory_at_any_point_ends_no_process_of_slurm_s": (33,),
        "test_a_host_without_descriptors_left_is_told_and_not_ended": (33,),
        "test_a_host_that_may_start_no_process_goes_on": (33,),
    },
    "spank/test_shared_object.py": {
        "test_the_process_that_loads_it_is_not_ended_nor_changed": (33,),
    },
    "integration/slurm/test_hostile.py": {
        "test_a_mistake_is_told_where_it_is_made": (31,),
        "test_variables_in_a_job_give_no_image_of_others": (17, 31),
        "test_what_a_forged_submission_hands_to_root_is_checked_again": (31,),
        "test_a_pinned_request_leads_to_no_image_of_others": (17, 31),
    },
    "integration/slurm/test_nodes.py": {
        "test_two_users_on_one_node_have_a_container_each": (32,),
        "test_nobody_joins_the_job_of_another_user": (17,),
        "test_a_job_is_killed_with_its_processes_inside": (32,),
        "test_a_process_that_left_its_job_does_not_keep_the_container": (32,),
        "test_a_node_that_is_rebooted_has_nothing_of_its_job": (32,),
        "test_an_epilog_finds_that_another_was_there_before": (32,),
        "test_an_epilog_runs_where_no_prolog_did": (32,),
        "test_a_job_that_starts_again_takes_down_what_an_epilog_has_left": (32,),
        "test_a_site_script_that_hangs_fails_the_job_in_time": (32,),
        "test_a_job_may_be_cancelled_while_its_container_is_prepared": (32,),
    },
    "integration/slurm/test_ssh.py": {
        "test_nobody_but_the_jobs_user_gets_in": (30,),
        "test_of_two_jobs_on_a_node_the_second_goes_on_without_ssh": (30,),
        "test_what_was_started_by_ssh_ends_with_the_job": (30,),
    },
    "integration/importers/test_hostile_content.py": {
        "test_a_superblock_that_cannot_be_true_is_refused": (16,),
        "test_tables_full_of_noise_are_refused": (16,),
        "test_a_squashfs_file_that_unpacks_to_more_is_refused": (16,),
        "test_the_file_of_anybody_else_is_packed_anew": (16,),
    },
    "integration/gateway_api/test_munge.py": {
        "test_a_fresh_credential_is_good_for_one_request": (17,),
        "test_a_credential_of_another_cluster_is_refused": (17,),
    },
    "unit/shifter_imagegw/rules/test_access.py": {
        "test_who_may_read": (17,),
        "test_who_may_change_the_lists": (17,),
    },
    "unit/shifter_imagegw/rules/test_acls.py": {
        "test_who_may_use_it_and_nothing_more_is_not_permitted": (17,),
        "test_an_image_for_others_does_not_exist": (17,),
        "test_what_is_private_in_its_registry_is_opened_to_nobody_who_is_not_named": (17,),
        "test_where_anybody_may_import_a_docker_name_stays_its_importers": (17,),
    },
    "unit/shifter_imagegw/pulling/test_acl.py": {
        "test_wherever_it_dies_nobody_gains_who_should_not_and_the_next_worker_ends_it": (17,),
        "test_lists_that_were_meant_for_another_image_of_that_content_are_not_set": (17,),
    },
    "unit/shifter_imagegw/rules/test_job_control.py": {
        "test_a_change_of_lists_is_not_repeated_on_an_image_that_is_anothers_by_now": (17,),
        "test_an_image_that_is_private_by_now_is_opened_to_nobody_by_repeating": (17,),
    },
    "unit/shifter_imagegw/rules/test_inspection.py": {
        "test_an_image_for_others_does_not_exist": (17,),
    },
    "unit/shifter_imagegw/api/test_exports.py": {
        "test_an_image_for_others_does_not_exist": (17,),
        "test_what_is_no_image_file_is_not_sent": (15,),
    },
    "unit/shifter_imagegw/delivery/test_local.py": {
        "test_delivered_files_are_only_for_the_gateways_account": (17,),
    },
}
