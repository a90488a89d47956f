/* SPDX-License-Identifier: BSD-3-Clause
 *
 * In srun, sbatch and salloc, as the user: have the image looked up once and for all, and tell the job,
 * its prolog and the commands in it what was found.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shifter_slurm.h"

#define PROGRAM "libexec/shifter/submission"
#define MOST_ANSWER (256 * 1024)
#define LOCAL_ROOT "local:/"

/* Where the plugin is only optional in plugstack.conf, Slurm goes on although it failed, and heeds no
 * task that is refused either: with this, the job's own output says at least what became of it. */
#define REFUSED "SHIFTER_REFUSED"
/* A step whose image is not that of its job. */
#define OF_STEP "SLURM_SPANK_SHIFTER_STEP"

enum name { IMAGETYPE, IMAGEID, IMAGEREQUEST, VOLUMES, MODULES, CCM_ON, SSH_PUBKEY, PINNED, NAMES };

static const struct {
	const char *name;
	bool for_prolog_only;
	bool is_of_the_image; /* so that none may stay from another image */
} VARIABLES[NAMES] = {
	[IMAGETYPE] = {"SHIFTER_IMAGETYPE", false, true},
	[IMAGEID] = {"SHIFTER_IMAGE", false, true},
	[IMAGEREQUEST] = {"SHIFTER_IMAGEREQUEST", false, true},
	[VOLUMES] = {"SHIFTER_VOLUME", false, false},
	[MODULES] = {"SHIFTER_MODULE", false, false},
	[CCM_ON] = {"SHIFTER_CCM", false, true},
	[SSH_PUBKEY] = {"SHIFTER_SSH_PUBKEY", true, false},
	[PINNED] = {"SHIFTER_PINNED_REQUEST", true, false},
};

/* How many components of a heterogeneous job this command has submitted before. */
static int components;

static bool is_step_of_job(void)
{
	return spank_context() == S_CTX_LOCAL && getenv("SLURM_JOB_ID") != NULL;
}

static bool is_possible(const struct choice *choice)
{
	const char *const *values = choice->values;
	const char *image = values[IMAGE] != NULL ? values[IMAGE] : values[CONTAINER_IMAGE];

	if (values[CCM] != NULL && image != NULL && strcmp(image, LOCAL_ROOT) != 0) {
		slurm_error("shifter: --ccm runs the job in a container that is like the node itself, "
			    "so no image can be given with it");
		return false;
	}
	if (values[CCM] == NULL && image == NULL &&
	    (values[VOLUME] != NULL || values[CONTAINER_MOUNTS] != NULL)) {
		slurm_error("shifter: a volume is shown in a container, so an image must be given with it");
		return false;
	}
	return true;
}

static void add_arguments(struct words *words, const char *program, const struct choice *choice,
			  const struct settings *settings)
{
	words_add(words, "%s", program);
	if (settings->pull_at_submit)
		words_add(words, "--pull");
	if (settings->enable_sshd && !is_step_of_job())
		words_add(words, "--ssh-key");
	if (choice->values[CCM] != NULL)
		words_add(words, "--ccm");
	words_add_option(words, "image", choice->values[CCM] == NULL ? choice->values[IMAGE] : NULL);
	words_add_option(words, "volume", choice->values[VOLUME]);
	words_add_option(words, "module", choice->values[MODULE]);
	words_add_option(words, "container-image", choice->values[CONTAINER_IMAGE]);
	words_add_option(words, "container-mounts", choice->values[CONTAINER_MOUNTS]);
}

/* It has told the user itself what is wrong, if it ended with a status of its own. */
static bool ask(const struct choice *choice, const struct settings *settings, struct text *answer)
{
	char path[PATH_MAX], storage[SENTENCE_SIZE] = "";
	struct text problem = TEXT_IN(storage);
	struct words words = {0};
	struct run run = {.path = path, .environment = environ, .group = -1, .output = answer};
	struct ended ended = {RUN_NOT_STARTED, 0};

	if (!program_find(settings, PROGRAM, path, sizeof(path), &problem)) {
		slurm_error("shifter: %s", problem.bytes);
		return false;
	}
	add_arguments(&words, path, choice, settings);
	run.arguments = words.items;
	if (!words.failed)
		ended = run_program(&run);
	words_free(&words);
	if (ended.how == RUN_EXITED && ended.number == 0 && !answer->cut)
		return true;
	if (ended.how == RUN_EXITED && ended.number > 0 && ended.number < 126)
		return false;
	describe_ending(&ended, &problem);
	slurm_error("shifter: %s %s", path, answer->cut ? "said too much" : problem.bytes);
	return false;
}

static enum name name_of(const char *record)
{
	enum name name = 0;

	while (name < NAMES && (strncmp(record, VARIABLES[name].name, strlen(VARIABLES[name].name)) != 0 ||
				record[strlen(VARIABLES[name].name)] != '='))
		name++;
	return name;
}

/* Records of NAME=VALUE, each ended by a NUL. */
static bool read_answer(const struct text *answer, const char *values[NAMES])
{
	const char *record = answer->bytes, *end = answer->bytes + answer->length;

	if (answer->length > 0 && end[-1] != '\0')
		return false;
	for (; record < end; record += strlen(record) + 1) {
		enum name name = name_of(record);

		if (name == NAMES)
			return false;
		values[name] = strchr(record, '=') + 1;
	}
	return (values[IMAGEID] == NULL) == (values[IMAGETYPE] == NULL);
}

/* In the environment of what this command starts. srun passes on what begins with SLURM, whatever
 * --export says, and for tasks of its own job it sets none of those itself. */
static void set_around(const char *name, const char *value)
{
	char *full = NULL;

	if (components > 0)
		return; /* the environment is that of the first */
	if (value != NULL)
		setenv(name, value, 1);
	else
		unsetenv(name);
	if (spank_context() != S_CTX_LOCAL || asprintf(&full, "SLURM_SPANK_%s", name) < 0)
		return;
	if (value != NULL)
		setenv(full, value, 1);
	else
		unsetenv(full);
	free(full);
}

static void set_for_job(spank_t spank, const char *name, const char *value)
{
	if (value != NULL)
		spank_job_control_setenv(spank, name, value, 1);
	else
		spank_job_control_unsetenv(spank, name);
}

static void export_variables(spank_t spank, const char *const values[NAMES])
{
	for (enum name name = 0; name < NAMES; name++) {
		const char *value = values[name];
		bool is_stale = value == NULL && VARIABLES[name].is_of_the_image;

		set_for_job(spank, VARIABLES[name].name, value);
		if (!VARIABLES[name].for_prolog_only && (value != NULL || is_stale))
			set_around(VARIABLES[name].name, value);
	}
}

/* What commands in the job inherit is the outcome, so that nothing is looked up again. */
static void export_options(spank_t spank, const struct settings *settings, const char *const values[NAMES])
{
	char image[PATH_MAX + 16] = "", name[OPTION_VARIABLE_SIZE];
	const char *outcomes[OPTIONS] = {[VOLUME] = values[VOLUMES], [MODULE] = values[MODULES]};

	if (values[IMAGEID] != NULL &&
	    (size_t)snprintf(image, sizeof(image), "%s:%s", values[IMAGETYPE], values[IMAGEID]) <
		    sizeof(image))
		outcomes[IMAGE] = image;
	if (values[CCM_ON] != NULL)
		outcomes[CCM] = "";
	for (enum option option = 0; option < OPTIONS; option++) {
		if (!option_is_offered(option, settings))
			continue;
		option_variable(option, settings, name);
		set_for_job(spank, name, outcomes[option]);
		set_around(name, outcomes[option]);
	}
}

static void export_all(spank_t spank, const struct settings *settings, const char *const values[NAMES])
{
	export_variables(spank, values);
	export_options(spank, settings, values);
	set_for_job(spank, REFUSED, NULL);
	set_around(REFUSED, NULL);
	if (is_step_of_job())
		setenv(OF_STEP, "1", 1);
	else
		unsetenv(OF_STEP);
}

static bool look_up(spank_t spank, const struct choice *choice, const struct settings *settings)
{
	char *storage = malloc(MOST_ANSWER);
	struct text answer = {.bytes = storage, .size = MOST_ANSWER};
	const char *values[NAMES] = {0};
	bool done;

	if (storage == NULL) {
		slurm_error("shifter: out of memory");
		return false;
	}
	done = ask(choice, settings, &answer);
	if (done && !read_answer(&answer, values)) {
		slurm_error("shifter: %s gave an answer that is not understood: is it of the same "
			    "version as the plugin?", PROGRAM);
		done = false;
	}
	if (done)
		export_all(spank, settings, values);
	free(storage);
	return done;
}

int submit(spank_t spank, const struct settings *settings)
{
	struct choice choice;
	int result = 0;

	options_choose(&choice);
	if (choice.anything && (choice.anew || !is_step_of_job())) {
		if (choice.refused || !is_possible(&choice) ||
		    !look_up(spank, &choice, settings)) {
			set_for_job(spank, REFUSED, "1");
			set_around(REFUSED, "1");
			result = -1;
		}
	}
	options_forget_typed();
	components++;
	return result;
}
