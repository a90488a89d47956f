/* SPDX-License-Identifier: BSD-3-Clause
 *
 * On a compute node, in slurmstepd: what a task is told of its job's container, and whether it may
 * start without.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shifter_slurm.h"

#define EXTERN_PATIENCE 10 /* seconds */
#define PROLOG_PATIENCE 10 /* more than a prolog takes at most */
#define MOST_VARIABLES (256 * 1024)

/* In a heterogeneous job, SLURM_JOB_ID names the first component in all others, too. */
void name_job(spank_t spank)
{
	char number[16];
	uint32_t job;

	if (spank_get_item(spank, S_JOB_ID, &job) != ESPANK_SUCCESS)
		return;
	snprintf(number, sizeof(number), "%u", job);
	spank_setenv(spank, "SHIFTER_JOB_ID", number, 1);
}

static bool is_in_environment(spank_t spank, const char *name)
{
	char value[2];

	return spank_getenv(spank, name, value, sizeof(value)) != ESPANK_ENV_NOEXIST;
}

static bool is_of_other_component(spank_t spank, uint32_t job)
{
	char leader[16], own[16];

	snprintf(own, sizeof(own), "%u", job);
	return spank_getenv(spank, "SLURM_JOB_ID", leader, sizeof(leader)) == ESPANK_SUCCESS &&
	       strcmp(leader, own) != 0;
}

/* A step over several components has one environment, that of the first; each has its own container. */
void take_component(spank_t spank)
{
	char *storage = malloc(MOST_VARIABLES);
	struct text note = {.bytes = storage, .size = MOST_VARIABLES};
	uint32_t job;

	if (storage != NULL && spank_get_item(spank, S_JOB_ID, &job) == ESPANK_SUCCESS &&
	    is_of_other_component(spank, job) && !is_in_environment(spank, "SLURM_SPANK_SHIFTER_STEP") &&
	    note_read(job, "component", &note) && !note.cut) {
		for (char *name = note.bytes; name < note.bytes + note.length; name += strlen(name) + 1) {
			char *value = strchr(name, '=');

			if (value == NULL)
				break;
			*value++ = '\0';
			spank_setenv(spank, name, value, 1);
			name = value;
		}
	}
	free(storage);
}

static bool is_first_of_node(spank_t spank)
{
	int task;

	return spank_get_item(spank, S_TASK_ID, &task) == ESPANK_SUCCESS && task == 0;
}

/* Only a job that has a container has an extern step to wait for. */
static void wait_for_extern_step(uint32_t job)
{
	static const char late[] = "late";
	char path[64];

	snprintf(path, sizeof(path), CONTAINERS_DIRECTORY "/%u", job);
	if (access(path, F_OK) < 0 || note_wait(job, "extern", EXTERN_PATIENCE))
		return;
	slurm_error("shifter: the extern step has not set up this node within %d seconds, so the task "
		    "starts without; has slurm.conf PrologFlags=Contain?", EXTERN_PATIENCE);
	note_write(job, "extern", late, sizeof(late) - 1); /* no other task waits again */
}

static bool is_whole_job_inside(const struct settings *settings)
{
	struct choice choice;

	options_choose(&choice);
	if (!settings->enable_ccm || choice.values[CCM] == NULL)
		return false;
	return choice.values[IMAGE] == NULL || strcmp(choice.values[IMAGE], "local:/") == 0;
}

/* Whether the task may start: the one place where a failure ends the job, and nothing more. */
int admit_task(spank_t spank, const struct settings *settings)
{
	char storage[SENTENCE_SIZE] = "";
	struct text text = TEXT_IN(storage);
	enum report report;
	uint32_t job;

	if (spank_get_item(spank, S_JOB_ID, &job) != ESPANK_SUCCESS)
		return 0;
	if (is_in_environment(spank, "SHIFTER_REFUSED")) {
		slurm_error("shifter: the step was started although its image, volumes or modules were "
			    "refused");
		return -1;
	}
	prolog_wait(job, settings->setup_timeout + PROLOG_PATIENCE);
	report = report_read(job, &text);
	if (report == REPORT_FAILED) {
		text_show(&text);
		return -1;
	}
	if (report == REPORT_WARNING && is_first_of_node(spank) && report_take(job))
		text_show(&text);
	if (waits_for_extern_step(settings))
		wait_for_extern_step(job);
	return is_whole_job_inside(settings) ? enter_container(spank, job) : 0;
}
