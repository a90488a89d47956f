/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the site configured: the plugin's arguments in plugstack.conf, and one key of udiRoot.conf.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shifter_slurm.h"

#ifndef SHIFTER_CONFIG
#error "build with make: it names udiRoot.conf"
#endif

#define DEFAULT_SETUP_TIMEOUT 60
#define LONGEST_SETUP_TIMEOUT 86400
#define MOST_LINES 100000 /* of udiRoot.conf; what is no configuration must come to an end, too */
#define WHITE_SPACE " \t\n\v\f\r"

enum kind { TEXT, SWITCH, SECONDS };

static const struct {
	const char *name;
	enum kind kind;
	size_t offset;
} ARGUMENTS[] = {
	{"shifter_config", TEXT, offsetof(struct settings, config)},
	{"extern_setup", TEXT, offsetof(struct settings, extern_setup)},
	{"memory_cgroup", TEXT, offsetof(struct settings, memory_cgroup)},
	{"setup_timeout", SECONDS, offsetof(struct settings, setup_timeout)},
	{"extern_cgroup", SWITCH, offsetof(struct settings, extern_cgroup)},
	{"enable_ccm", SWITCH, offsetof(struct settings, enable_ccm)},
	{"enable_sshd", SWITCH, offsetof(struct settings, enable_sshd)},
	{"enable_pyxis_names", SWITCH, offsetof(struct settings, enable_pyxis_names)},
	{"long_options", SWITCH, offsetof(struct settings, long_options)},
	{"pull_at_submit", SWITCH, offsetof(struct settings, pull_at_submit)},
};

static bool set_switch(const char *value, bool *field)
{
	/* Without a value, it is on: so is `long_options` written. */
	if (value == NULL || strcmp(value, "1") == 0)
		*field = true;
	else if (strcmp(value, "0") == 0)
		*field = false;
	else
		return false;
	return true;
}

static bool set_seconds(const char *value, int *field)
{
	char *end;
	long seconds;

	if (value == NULL || *value < '1' || *value > '9')
		return false;
	errno = 0;
	seconds = strtol(value, &end, 10);
	if (errno != 0 || *end != '\0' || seconds > LONGEST_SETUP_TIMEOUT)
		return false;
	*field = (int)seconds;
	return true;
}

static bool set_text(const char *value, const char **field)
{
	if (value == NULL || *value == '\0')
		return false;
	*field = value;
	return true;
}

/* What is wrong with one argument, or NULL. */
static const char *set_argument(struct settings *settings, const char *argument)
{
	size_t length = strcspn(argument, "=");
	const char *value = argument[length] == '=' ? argument + length + 1 : NULL;

	for (size_t i = 0; i < sizeof(ARGUMENTS) / sizeof(*ARGUMENTS); i++) {
		void *field = (char *)settings + ARGUMENTS[i].offset;

		if (strlen(ARGUMENTS[i].name) != length ||
		    strncmp(ARGUMENTS[i].name, argument, length) != 0)
			continue;
		if (ARGUMENTS[i].kind == SWITCH)
			return set_switch(value, field) ? NULL : "takes 0 or 1";
		if (ARGUMENTS[i].kind == SECONDS)
			return set_seconds(value, field) ? NULL : "takes seconds, from 1 to 86400";
		return set_text(value, field) ? NULL : "takes a value";
	}
	return "is not known";
}

void settings_read(struct settings *settings, int count, char **arguments)
{
	*settings = (struct settings){.config = SHIFTER_CONFIG, .setup_timeout = DEFAULT_SETUP_TIMEOUT};
	for (int i = 0; i < count; i++)
		set_argument(settings, arguments[i]);
}

/* A mistake of the site's changes nothing for jobs: it is only told. */
void settings_complain(int count, char **arguments)
{
	struct settings settings = {0};

	for (int i = 0; i < count; i++) {
		const char *problem = set_argument(&settings, arguments[i]);

		if (problem != NULL)
			slurm_error("shifter: %s in plugstack.conf %s: it is ignored", arguments[i],
				    problem);
	}
}

static char *strip(char *text)
{
	size_t length;

	text += strspn(text, WHITE_SPACE);
	length = strlen(text);
	while (length > 0 && strchr(WHITE_SPACE, text[length - 1]) != NULL)
		text[--length] = '\0';
	return text;
}

/* The value in one line, if it is the line of `key`. */
static char *value_of(char *line, const char *key)
{
	char *equals = strchr(line, '=');

	if (*line == '#' || equals == NULL)
		return NULL;
	*equals = '\0';
	return strcmp(strip(line), key) == 0 ? strip(equals + 1) : NULL;
}

/* The last one counts. A line that ends in a backslash goes on in the next, which therefore is not one
 * of a key; no path goes on so. */
static bool find_value(FILE *file, const char *key, char *found, size_t size)
{
	char *line = NULL, *value;
	size_t room = 0;
	bool goes_on = false, fits = false;

	for (int i = 0; i < MOST_LINES && getline(&line, &room, file) > 0; i++) {
		bool continued = goes_on;
		size_t length;

		if (*line == '#')
			continue;
		length = strlen(strip(line));
		goes_on = length > 0 && strip(line)[length - 1] == '\\';
		value = continued ? NULL : value_of(line, key);
		if (value != NULL)
			fits = (size_t)snprintf(found, size, "%s", value) < size && *value != '\0';
	}
	free(line);
	return fits;
}

/* Only a file: to be opened, a pipe would wait for somebody who writes. */
static FILE *open_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat found;
	FILE *file = NULL;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &found) == 0 && !S_ISREG(found.st_mode))
		errno = EINVAL;
	else
		file = fdopen(fd, "r");
	if (file == NULL)
		close(fd);
	return file;
}

bool program_find(const struct settings *settings, const char *name, char *path, size_t size,
		  struct text *problem)
{
	char root[PATH_MAX];
	FILE *file = open_file(settings->config);

	if (file == NULL) {
		text_add(problem, "cannot read Shifter's configuration %s: %s", settings->config,
			 strerror(errno));
		return false;
	}
	if (!find_value(file, "udiRootPath", root, sizeof(root))) {
		text_add(problem, "%s has no udiRootPath, so that Shifter's programs cannot be found",
			 settings->config);
		fclose(file);
		return false;
	}
	fclose(file);
	if ((size_t)snprintf(path, size, "%s/%s", root, name) >= size) {
		text_add(problem, "udiRootPath in %s is too long", settings->config);
		return false;
	}
	return true;
}

bool program_find_trusted(const struct settings *settings, const char *name, char *path, size_t size,
			  struct text *problem)
{
	return only_root_can_change(settings->config, problem) &&
	       program_find(settings, name, path, size, problem) && only_root_can_change(path, problem);
}
