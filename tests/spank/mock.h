/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the parts of the mock share: mock.c drives, spank.c is what a plugin calls, look.c sees what it left behind.
 */
#ifndef MOCK_H
#define MOCK_H

#include <slurm/spank.h>
#include <stdbool.h>

struct spank_handle {
	const char *phase; /* the hook that is running, without slurm_spank_ */
	const char *plugin_name;
};

/* A list that ends with NULL, as argv and environ do; it owns its words. */
struct words {
	char **words;
	int count;
};

extern struct spank_handle handle;
extern bool is_over;
extern struct words plugstack, job_environment, control_environment;

void record(const char *kind, const char *name, const char *value);
void record_number(const char *kind, const char *name, long value);
void give_up(const char *why, const char *what) __attribute__((noreturn));

void append(struct words *list, const char *word);
void choose_context(const char *name);
void set_item(const char *name, const char *value);
int set_variable(struct words *environment, const char *name, const char *value, int overwrite);
void use_option(const char *name, const char *value);
void inherit_options(void);
void forget_everything(void);

void look(const char *what);
void fail_allocations_from(long number);

#endif
