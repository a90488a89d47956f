/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a plugin may call, as Slurm 22.05 answers it in each of its contexts.
 */
#include "mock.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

struct option {
	struct spank_option described;
	char *value;
	bool used;
	struct option *next;
};

struct spank_handle handle = {"", ""};
struct words plugstack, job_environment, control_environment;

static spank_context_t context = S_CTX_ERROR;
static struct option *options;
bool is_over;

static const char *const context_names[] = {"error", "local", "remote", "allocator", "slurmd", "job_script"};

/* What the tests may set, by the name of the item without S_. */
static struct {
	spank_item_t item;
	const char *name;
	char *value;
} items[] = {
	{S_JOB_UID, "JOB_UID", NULL},
	{S_JOB_GID, "JOB_GID", NULL},
	{S_JOB_ID, "JOB_ID", NULL},
	{S_JOB_SUPPLEMENTARY_GIDS, "JOB_SUPPLEMENTARY_GIDS", NULL},
	{S_JOB_STEPID, "JOB_STEPID", NULL},
	{S_JOB_NNODES, "JOB_NNODES", NULL},
	{S_JOB_NODEID, "JOB_NODEID", NULL},
	{S_JOB_LOCAL_TASK_COUNT, "JOB_LOCAL_TASK_COUNT", NULL},
	{S_JOB_TOTAL_TASK_COUNT, "JOB_TOTAL_TASK_COUNT", NULL},
	{S_TASK_ID, "TASK_ID", NULL},
	{S_TASK_GLOBAL_ID, "TASK_GLOBAL_ID", NULL},
	{S_TASK_PID, "TASK_PID", NULL},
};

#define ITEMS (sizeof(items) / sizeof(items[0]))

void append(struct words *list, const char *word)
{
	list->words = realloc(list->words, sizeof(char *) * (size_t)(list->count + 2));
	list->words[list->count++] = strdup(word);
	list->words[list->count] = NULL;
}

static void forget(struct words *list)
{
	for (int i = 0; i < list->count; i++)
		free(list->words[i]);
	free(list->words);
	*list = (struct words){NULL, 0};
}

void forget_everything(void)
{
	forget(&plugstack);
	forget(&job_environment);
	forget(&control_environment);
	for (size_t i = 0; i < ITEMS; i++)
		free(items[i].value);
	while (options) {
		struct option *next = options->next;
		free(options->value);
		free(options);
		options = next;
	}
}

void choose_context(const char *name)
{
	for (unsigned i = 0; i < sizeof(context_names) / sizeof(context_names[0]); i++)
		if (!strcmp(name, context_names[i])) {
			context = (spank_context_t)i;
			return;
		}
	give_up("no context", name);
}

void set_item(const char *name, const char *value)
{
	for (size_t i = 0; i < ITEMS; i++)
		if (!strcmp(name, items[i].name)) {
			free(items[i].value);
			items[i].value = strdup(value);
			return;
		}
	give_up("no item", name);
}

static char **find_variable(struct words *environment, const char *name)
{
	size_t length = strlen(name);
	for (int i = 0; i < environment->count; i++)
		if (!strncmp(environment->words[i], name, length) && environment->words[i][length] == '=')
			return &environment->words[i];
	return NULL;
}

int set_variable(struct words *environment, const char *name, const char *value, int overwrite)
{
	char **there = find_variable(environment, name);
	if (there && !overwrite)
		return ESPANK_ENV_EXISTS;
	char *text = malloc(strlen(name) + strlen(value) + 2);
	sprintf(text, "%s=%s", name, value);
	if (there) {
		free(*there);
		*there = text;
	} else {
		append(environment, text);
		free(text);
	}
	return ESPANK_SUCCESS;
}

static int unset_variable(struct words *environment, const char *name)
{
	char **there = find_variable(environment, name);
	if (!there)
		return ESPANK_ENV_NOEXIST;
	free(*there);
	*there = environment->words[--environment->count];
	environment->words[environment->count] = NULL;
	return ESPANK_SUCCESS;
}

static int copy_variable(struct words *environment, const char *name, char *buffer, int size)
{
	char **there = find_variable(environment, name);
	if (size <= 0 || !buffer)
		return ESPANK_BAD_ARG;
	if (!there)
		return ESPANK_ENV_NOEXIST;
	const char *value = *there + strlen(name) + 1;
	return snprintf(buffer, (size_t)size, "%s", value) >= size ? ESPANK_NOSPACE : ESPANK_SUCCESS;
}

/* A user's use of an option: at once told to the plugin, by as many calls as Slurm makes. */
void use_option(const char *name, const char *value)
{
	struct option *option = options;
	while (option && strcmp(option->described.name, name))
		option = option->next;
	if (!option) {
		record("unknown-option", name, value);
		return;
	}
	free(option->value);
	option->value = option->described.has_arg ? strdup(value) : NULL;
	option->used = true;
	/* slurmstepd takes options from the job's record, and then from the job's environment. */
	int remote = context == S_CTX_REMOTE;
	handle.phase = "option";
	for (int call = 0; option->described.cb && call < 1 + remote && !is_over; call++) {
		int result = option->described.cb(option->described.val, option->value, remote);
		record_number("callback", name, result);
		is_over = result && !remote; /* the command ends, without a further hook */
	}
	handle.phase = "";
}

spank_err_t spank_option_register(spank_t spank, struct spank_option *described)
{
	if (spank != &handle || strcmp(handle.phase, "init") || !described || !described->name ||
	    strlen(described->name) > SPANK_OPTION_MAXLEN || !described->usage)
		return ESPANK_BAD_ARG;
	if (described->has_arg && !described->arginfo)
		return ESPANK_BAD_ARG;
	struct option *option = calloc(1, sizeof(*option));
	option->described = *described;
	option->next = options;
	options = option;
	record("register", described->name, described->arginfo ? described->arginfo : "");
	return ESPANK_SUCCESS;
}

/* In a prolog there are no callbacks: what was asked for is in the environment, whoever put it there. In a command that
 * runs in a job, Slurm calls back for what is there, and hands over the text of the variable itself. */
static char *option_from_environment(const char *prefix, const char *name)
{
	char variable[200];
	snprintf(variable, sizeof(variable), "%s_SLURM_SPANK_OPTION_%s_%s", prefix, handle.plugin_name, name);
	for (char *at = variable; *at; at++)
		if (!isalnum((unsigned char)*at))
			*at = '_';
	return getenv(variable);
}

void inherit_options(void)
{
	handle.phase = "option";
	for (struct option *option = options; option; option = option->next) {
		char *value = option_from_environment("SLURM_SPANK_", option->described.name);
		if (value && option->described.cb)
			record_number("inherited", option->described.name,
				      option->described.cb(option->described.val, value, 0));
	}
	handle.phase = "";
}

spank_err_t spank_option_getopt(spank_t spank, struct spank_option *described, char **value)
{
	if (spank != &handle || !described || !described->name || (described->has_arg && !value))
		return ESPANK_BAD_ARG;
	if (!strcmp(handle.phase, "init") || !strcmp(handle.phase, "option"))
		return ESPANK_NOT_AVAIL;
	for (struct option *option = options; option; option = option->next)
		if (option->used && !strcmp(option->described.name, described->name)) {
			if (value)
				*value = option->value;
			return ESPANK_SUCCESS;
		}
	char *found = context == S_CTX_JOB_SCRIPT ? option_from_environment("SPANK_", described->name) : NULL;
	if (value)
		*value = found;
	return found ? ESPANK_SUCCESS : ESPANK_ERROR;
}

int spank_remote(spank_t spank)
{
	return spank == &handle ? context == S_CTX_REMOTE : -1;
}

spank_context_t spank_context(void)
{
	return context;
}

/* Where each item may be asked for; elsewhere Slurm answers with an error, but in a prolog it is ended by a signal. */
static spank_err_t availability(spank_item_t item, const char *name)
{
	bool of_task = item == S_TASK_ID || item == S_TASK_GLOBAL_ID || item == S_TASK_PID;
	switch (context) {
	case S_CTX_REMOTE:
		return of_task && strncmp(handle.phase, "task_", 5) ? ESPANK_NOT_TASK : ESPANK_SUCCESS;
	case S_CTX_LOCAL:
		return strcmp(handle.phase, "local_user_init") ? ESPANK_NOT_REMOTE
		       : of_task				 ? ESPANK_NOT_REMOTE
								 : ESPANK_SUCCESS;
	case S_CTX_JOB_SCRIPT:
		if (item == S_JOB_ID || item == S_JOB_UID)
			return ESPANK_SUCCESS;
		record("crash", "spank_get_item", name);
		_exit(98);
	default:
		return ESPANK_NOT_AVAIL;
	}
}

/* Of all groups that a job's user may be in, the mock has room for one; it is Slurm's, not the plugin's to free. */
static int one_group(const char *value, gid_t **groups)
{
	static gid_t group;
	group = (gid_t)strtoul(value, NULL, 10);
	*groups = &group;
	return 1;
}

spank_err_t spank_get_item(spank_t spank, spank_item_t item, ...)
{
	const char *name = "an item that the mock lacks", *value = NULL;
	for (size_t i = 0; i < ITEMS; i++)
		if (items[i].item == item) {
			name = items[i].name;
			value = items[i].value;
		}
	if (spank != &handle)
		return ESPANK_BAD_ARG;
	spank_err_t error = availability(item, name);
	if (error != ESPANK_SUCCESS)
		return error;
	if (item != S_JOB_ENV && !value)
		give_up("the test gives no value for", name);
	va_list arguments;
	va_start(arguments, item);
	void *target = va_arg(arguments, void *);
	int *count = item == S_JOB_SUPPLEMENTARY_GIDS ? va_arg(arguments, int *) : NULL;
	va_end(arguments);
	if (item == S_JOB_ENV)
		*(char ***)target = job_environment.words;
	else if (count)
		*count = one_group(value, target);
	else
		*(uint32_t *)target = (uint32_t)strtoul(value, NULL, 10); /* ids are of this size, too */
	return ESPANK_SUCCESS;
}

static spank_err_t job_environment_access(spank_t spank)
{
	return spank != &handle ? ESPANK_BAD_ARG : context != S_CTX_REMOTE ? ESPANK_NOT_REMOTE : ESPANK_SUCCESS;
}

static spank_err_t control_access(spank_t spank)
{
	bool local = context == S_CTX_LOCAL || context == S_CTX_ALLOCATOR;
	return spank != &handle ? ESPANK_BAD_ARG : !local ? ESPANK_NOT_LOCAL : ESPANK_SUCCESS;
}

spank_err_t spank_getenv(spank_t spank, const char *name, char *buffer, int size)
{
	spank_err_t error = job_environment_access(spank);
	return error ? error : (spank_err_t)copy_variable(&job_environment, name, buffer, size);
}

spank_err_t spank_setenv(spank_t spank, const char *name, const char *value, int overwrite)
{
	spank_err_t error = job_environment_access(spank);
	if (error || !name || !value)
		return error ? error : ESPANK_BAD_ARG;
	record("setenv", name, value);
	return (spank_err_t)set_variable(&job_environment, name, value, overwrite);
}

spank_err_t spank_unsetenv(spank_t spank, const char *name)
{
	spank_err_t error = job_environment_access(spank);
	if (error || !name)
		return error ? error : ESPANK_BAD_ARG;
	record("unsetenv", name, "");
	unset_variable(&job_environment, name);
	return ESPANK_SUCCESS;
}

spank_err_t spank_job_control_setenv(spank_t spank, const char *name, const char *value, int overwrite)
{
	spank_err_t error = control_access(spank);
	if (error || !name || !value)
		return error ? error : ESPANK_BAD_ARG;
	return (spank_err_t)set_variable(&control_environment, name, value, overwrite);
}

spank_err_t spank_job_control_getenv(spank_t spank, const char *name, char *buffer, int size)
{
	spank_err_t error = control_access(spank);
	return error ? error : (spank_err_t)copy_variable(&control_environment, name, buffer, size);
}

spank_err_t spank_job_control_unsetenv(spank_t spank, const char *name)
{
	spank_err_t error = control_access(spank);
	return error ? error : (spank_err_t)unset_variable(&control_environment, name);
}

const char *spank_strerror(spank_err_t error)
{
	return error == ESPANK_SUCCESS ? "Success" : "Generic error";
}

int spank_symbol_supported(const char *symbol)
{
	return symbol ? !strncmp(symbol, "slurm_spank_", 12) : -1;
}

/* Everything that a plugin says, with the level that it chose. */
#define LOGGER(function, level)                                                                                        \
	void function(const char *format, ...)                                                                         \
	{                                                                                                              \
		char *text;                                                                                            \
		va_list arguments;                                                                                     \
		va_start(arguments, format);                                                                           \
		if (vasprintf(&text, format, arguments) < 0)                                                           \
			give_up("vasprintf", format);                                                                  \
		va_end(arguments);                                                                                     \
		record("log", level, text);                                                                            \
		free(text);                                                                                            \
	}

LOGGER(slurm_error, "error")
LOGGER(slurm_spank_log, "spank")
LOGGER(slurm_info, "info")
LOGGER(slurm_verbose, "verbose")
LOGGER(slurm_debug, "debug")
LOGGER(slurm_debug2, "debug2")
LOGGER(slurm_debug3, "debug3")
