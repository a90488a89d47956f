/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A plugin of a user's own: nobody has to take the site's slurm.conf, and what this one hands over
 * reaches the prolog as what the site's plugin hands over does. FORGED_X=value becomes SPANK_X.
 */
#include <slurm/spank.h>
#include <stdlib.h>
#include <string.h>

SPANK_PLUGIN(forger, 1)

extern char **environ;

static const char PREFIX[] = "FORGED_";

int slurm_spank_init_post_opt(spank_t spank, int count, char **arguments)
{
	(void)count, (void)arguments;
	for (char **variable = environ; *variable != NULL; variable++) {
		char *name, *value;

		if (strncmp(*variable, PREFIX, sizeof(PREFIX) - 1) != 0)
			continue;
		name = strdup(*variable + sizeof(PREFIX) - 1);
		if (name == NULL || (value = strchr(name, '=')) == NULL)
			return -1;
		*value++ = '\0';
		spank_job_control_setenv(spank, name, value, 1);
		free(name);
	}
	return 0;
}
