/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The extern step is Slurm's own, one on each node of a job, for processes that come in by other ways
 * than its own, such as ssh. Here the job's sshd becomes one of it, and the site's program is run.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shifter_slurm.h"

#define EXTERN_STEP 0xfffffffcu
#define SSHD "sshd"

bool waits_for_extern_step(const struct settings *settings)
{
	return settings->extern_cgroup || settings->extern_setup != NULL;
}

/* When a process began, in the kernel's ticks; 0 where there is none. */
static unsigned long long beginning_of(pid_t process)
{
	char path[64], line[1024], *rest;
	unsigned long long began = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", process);
	file = fopen(path, "re");
	if (file == NULL)
		return 0;
	/* The name, in parentheses, may hold anything; the 22nd field is the 20th after it. */
	if (fgets(line, sizeof(line), file) != NULL && (rest = strrchr(line, ')')) != NULL)
		for (int i = 0; i < 20 && rest != NULL; i++)
			rest = strchr(rest + 1, ' ');
	else
		rest = NULL;
	if (rest != NULL)
		began = strtoull(rest, NULL, 10);
	fclose(file);
	return began;
}

/* The sshd that setupRoot wrote down: its number, and when it began. */
static pid_t sshd_of(uint32_t job)
{
	char path[sizeof(CONTAINERS_DIRECTORY) + 32];
	unsigned long long began = 0;
	pid_t process = 0;
	FILE *file;

	snprintf(path, sizeof(path), CONTAINERS_DIRECTORY "/%u/" SSHD, job);
	file = fopen(path, "re");
	if (file == NULL)
		return 0;
	if (fscanf(file, "%d %llu", &process, &began) != 2 || process <= 1 || began == 0 ||
	    beginning_of(process) != began)
		process = 0;
	fclose(file);
	return process;
}

/* The process that stands for the step: slurmstepd's only child, or slurmstepd itself. */
static pid_t process_of_step(void)
{
	char path[64];
	pid_t child = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	file = fopen(path, "re");
	if (file != NULL) {
		if (fscanf(file, "%d", &child) != 1)
			child = 0;
		fclose(file);
	}
	return child > 0 ? child : getpid();
}

static void run_site_program(const struct settings *settings, uint32_t job)
{
	char number[32], namespace[sizeof(CONTAINERS_DIRECTORY) + 64], storage[SENTENCE_SIZE] = "";
	struct text errors = TEXT_IN(storage);
	char *arguments[] = {(char *)settings->extern_setup, NULL};
	char *environment[] = {number, namespace, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	struct run run = {
		.path = settings->extern_setup,
		.arguments = arguments,
		.environment = environment,
		.as_service = true,
		.seconds = settings->setup_timeout,
		.group = -1,
		.output = &errors,
		.errors = &errors,
	};
	struct ended ended;

	if (!only_root_can_change(settings->extern_setup, &errors)) {
		slurm_error("shifter: extern_setup is not run: %s", errors.bytes);
		return;
	}
	snprintf(number, sizeof(number), "SLURM_JOB_ID=%u", job);
	snprintf(namespace, sizeof(namespace), "SHIFTER_NAMESPACE=" CONTAINERS_DIRECTORY "/%u/namespace",
		 job);
	ended = run_program(&run);
	text_make_printable(&errors);
	text_show(&errors);
	if (ended.how == RUN_EXITED && ended.number == 0)
		return;
	errors.length = 0;
	describe_ending(&ended, &errors);
	slurm_error("shifter: extern_setup %s %s", settings->extern_setup, errors.bytes);
}

void set_up_extern_step(spank_t spank, const struct settings *settings)
{
	char path[sizeof(CONTAINERS_DIRECTORY) + 32];
	uint32_t job, step;
	pid_t sshd;

	if (!waits_for_extern_step(settings) ||
	    spank_get_item(spank, S_JOB_STEPID, &step) != ESPANK_SUCCESS || step != EXTERN_STEP ||
	    spank_get_item(spank, S_JOB_ID, &job) != ESPANK_SUCCESS)
		return;
	snprintf(path, sizeof(path), CONTAINERS_DIRECTORY "/%u", job);
	if (access(path, F_OK) < 0)
		return;
	sshd = settings->extern_cgroup ? sshd_of(job) : 0;
	if (sshd > 0)
		groups_take(sshd, process_of_step(), job);
	if (settings->extern_setup != NULL)
		run_site_program(settings, job);
	note_write(job, "extern", "", 0);
}
