/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The options, and what the user wrote after them.
 *
 * Slurm calls back for each that is on the command line or in a script, and for each that a job hands
 * on to the commands in it, by a variable. The first are typed, the others inherited, and what is typed
 * goes before. In a heterogeneous job, options come once for each component.
 */
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shifter_slurm.h"

#define MOST_TEXT 65536 /* of all options together; Linux takes 128 KiB in a word */
#define INHERITED_PREFIX "SLURM_SPANK_"

static int keep(int option, const char *value, int remote);

static struct spank_option SHORT_NAMES[OPTIONS] = {
	{"image", "[TYPE:]IMAGE", "image to run the job in, such as docker:ubuntu:24.04", 1, IMAGE, keep},
	{"volume", "FROM:TO[:ro]", "directory to show in the container; may be repeated", 1, VOLUME, keep},
	{"module", "NAMES", "Shifter's modules to activate, with commas between", 1, MODULE, keep},
	{"container-image", "IMAGE", "the same as --image, as pyxis calls it", 1, CONTAINER_IMAGE, keep},
	{"container-mounts", "FROM:TO,...", "the same as --volume, as pyxis calls it", 1,
	 CONTAINER_MOUNTS, keep},
	{"ccm", NULL, "run the whole job in a container that is like the node itself", 0, CCM, keep},
};

/* How they are called where another plugin has the short names. */
static char *const LONG_NAMES[] = {"shifter.image", "shifter.volume", "shifter.module"};

static const struct settings *offered;
static struct settings kept_settings;
static char *typed[OPTIONS], *inherited[OPTIONS];
static bool inherits_no_more, has_refused;

static struct spank_option option_as_offered(enum option option, const struct settings *settings)
{
	struct spank_option found = SHORT_NAMES[option];

	if (settings->long_options && option <= MODULE)
		found.name = LONG_NAMES[option];
	return found;
}

bool option_is_offered(enum option option, const struct settings *settings)
{
	if (option == CCM)
		return settings->enable_ccm;
	if (option == CONTAINER_IMAGE || option == CONTAINER_MOUNTS)
		return settings->enable_pyxis_names;
	return true;
}

int options_register(spank_t spank, const struct settings *settings)
{
	kept_settings = *settings;
	offered = &kept_settings;
	for (enum option option = 0; option < OPTIONS; option++) {
		struct spank_option found = option_as_offered(option, settings);

		if (option_is_offered(option, settings) &&
		    spank_option_register(spank, &found) != ESPANK_SUCCESS)
			slurm_error("shifter: Slurm does not take the option --%s", found.name);
	}
	return 0;
}

/* The variable by which Slurm hands an option on. */
void option_variable(enum option option, const struct settings *settings,
		     char name[OPTION_VARIABLE_SIZE])
{
	snprintf(name, OPTION_VARIABLE_SIZE, "_SLURM_SPANK_OPTION_shifter_%s",
		 option_as_offered(option, settings).name);
	for (char *letter = name; *letter != '\0'; letter++)
		if (!isalnum((unsigned char)*letter))
			*letter = '_';
}

/* Slurm gives the very text of the variable, not a copy. */
static bool is_inherited(enum option option, const char *value)
{
	char name[sizeof(INHERITED_PREFIX) + OPTION_VARIABLE_SIZE] = INHERITED_PREFIX;

	option_variable(option, offered, name + strlen(name));
	return value != NULL && value == getenv(name);
}

static size_t room_left(void)
{
	size_t used = 0;

	for (int i = 0; i < OPTIONS; i++)
		used += typed[i] == NULL ? 0 : strlen(typed[i]) + 1;
	return used < MOST_TEXT ? MOST_TEXT - used : 0;
}

static bool replace(char **kept, const char *value)
{
	char *copy = strdup(value);

	if (copy == NULL)
		return false;
	free(*kept);
	*kept = copy;
	return true;
}

static bool join(char **kept, const char *value, char separator)
{
	size_t length = strlen(*kept), more = strlen(value);
	char *joined = realloc(*kept, length + more + 2);

	if (joined == NULL)
		return false;
	joined[length] = separator;
	memcpy(joined + length + 1, value, more + 1);
	*kept = joined;
	return true;
}

static bool keep_typed(enum option option, const char *value, bool remote)
{
	/* A compute node is told each option twice, and needs only to know what came last. */
	if (typed[option] == NULL || remote || (option != VOLUME && option != CONTAINER_MOUNTS))
		return replace(&typed[option], value);
	return join(&typed[option], value, option == VOLUME ? ';' : ',');
}

static int refuse(enum option option, const char *problem)
{
	slurm_error("shifter: --%s %s", option_as_offered(option, offered).name, problem);
	return -1;
}

static int keep_in_client(enum option option, const char *value)
{
	if (SHORT_NAMES[option].has_arg && *value == '\0')
		return refuse(option, "needs a value; shifter --help has examples");
	if (strlen(value) < room_left() && keep_typed(option, value, false))
		return 0;
	/* Slurm would repeat the value of an option that is refused here, which is no help with such a one. */
	if (!has_refused)
		refuse(option, "is too long: all options together have room for 64 KiB");
	has_refused = true;
	return 0;
}

/* On a compute node, nobody would read a complaint: there, what makes no sense is left out. */
static int keep(int number, const char *value, int remote)
{
	enum option option = (enum option)number;

	if (number < 0 || number >= OPTIONS || offered == NULL)
		return 0;
	if (remote) {
		if (strlen(value == NULL ? "" : value) < room_left())
			keep_typed(option, value == NULL ? "" : value, true);
		return 0;
	}
	if (!is_inherited(option, value))
		return keep_in_client(option, value == NULL ? "" : value);
	/* What is found after the first component was put there by it. */
	if (!inherits_no_more && strlen(value) < MOST_TEXT && (*value != '\0' || option == CCM))
		replace(&inherited[option], value);
	return 0;
}

static void choose_all(struct choice *choice)
{
	for (int i = 0; i < OPTIONS; i++) {
		choice->values[i] = typed[i] != NULL ? typed[i] : inherited[i];
		choice->anything |= choice->values[i] != NULL;
		choice->anew |= typed[i] != NULL;
	}
}

/* What is typed goes before what is inherited under its other name. */
static void prefer(struct choice *choice, enum option option, enum option rival)
{
	if (choice->values[option] == NULL || choice->values[rival] == NULL)
		return;
	if (typed[option] != NULL && typed[rival] == NULL)
		choice->values[rival] = NULL;
	else if (typed[option] == NULL && typed[rival] == NULL && rival != CCM)
		choice->values[rival] = NULL;
}

void options_choose(struct choice *choice)
{
	*choice = (struct choice){.anything = has_refused, .anew = has_refused, .refused = has_refused};
	choose_all(choice);
	prefer(choice, IMAGE, CONTAINER_IMAGE);
	prefer(choice, CONTAINER_IMAGE, IMAGE);
	prefer(choice, VOLUME, CONTAINER_MOUNTS);
	prefer(choice, CONTAINER_MOUNTS, VOLUME);
	prefer(choice, IMAGE, CCM);
	prefer(choice, CONTAINER_IMAGE, CCM);
	prefer(choice, CCM, IMAGE);
	prefer(choice, CCM, CONTAINER_IMAGE);
}

/* The next component of a heterogeneous job begins. */
void options_forget_typed(void)
{
	inherits_no_more = true;
	has_refused = false;
	for (int i = 0; i < OPTIONS; i++) {
		free(typed[i]);
		typed[i] = NULL;
	}
}
