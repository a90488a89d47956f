/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Shifter's plugin for Slurm: what Slurm calls, and when. In every process but the user's commands, the
 * prolog, the epilog and the steps of jobs, it does nothing.
 *
 * It ends no process and lets no call fail but where that only tells a user: a call that fails
 * elsewhere would drain the node.
 */
#include "shifter_slurm.h"

#pragma GCC visibility push(default)
SPANK_PLUGIN(shifter, 1)
#pragma GCC visibility pop

static bool is_client(void)
{
	spank_context_t context = spank_context();

	return context == S_CTX_LOCAL || context == S_CTX_ALLOCATOR;
}

int slurm_spank_init(spank_t spank, int count, char **arguments)
{
	struct settings settings;

	if (spank_context() == S_CTX_SLURMD)
		settings_complain(count, arguments);
	if (!is_client() && spank_context() != S_CTX_REMOTE)
		return 0;
	settings_read(&settings, count, arguments);
	options_register(spank, &settings);
	return 0;
}

int slurm_spank_init_post_opt(spank_t spank, int count, char **arguments)
{
	struct settings settings;

	settings_read(&settings, count, arguments);
	if (is_client())
		return submit(spank, &settings);
	if (spank_context() == S_CTX_REMOTE)
		take_component(spank);
	return 0;
}

int slurm_spank_job_prolog(spank_t spank, int count, char **arguments)
{
	struct settings settings;

	settings_read(&settings, count, arguments);
	prepare_node(spank, &settings);
	return 0;
}

int slurm_spank_user_init(spank_t spank, int count, char **arguments)
{
	(void)count, (void)arguments;
	name_job(spank);
	return 0;
}

int slurm_spank_task_init_privileged(spank_t spank, int count, char **arguments)
{
	struct settings settings;

	settings_read(&settings, count, arguments);
	return admit_task(spank, &settings);
}

int slurm_spank_task_post_fork(spank_t spank, int count, char **arguments)
{
	struct settings settings;

	settings_read(&settings, count, arguments);
	set_up_extern_step(spank, &settings);
	return 0;
}

int slurm_spank_job_epilog(spank_t spank, int count, char **arguments)
{
	struct settings settings;

	settings_read(&settings, count, arguments);
	clear_node(spank, &settings);
	return 0;
}
