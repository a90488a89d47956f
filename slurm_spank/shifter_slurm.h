/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the files of the plugin share. All rules about images, volumes and users are in programs that
 * it runs; what is here is when they run, as whom, and what becomes of their answer.
 */
#ifndef SHIFTER_SLURM_H
#define SHIFTER_SLURM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* All else is hidden from the programs that load the plugin. */
#pragma GCC visibility push(default)
#include <slurm/spank.h>
#pragma GCC visibility pop

/* text.c: text in storage of a fixed size; what does not fit is left out. */
struct text {
	char *bytes; /* always ended by a NUL */
	size_t size, length;
	bool cut;
};
#define TEXT_IN(storage) {.bytes = (storage), .size = sizeof(storage)}
#define SENTENCE_SIZE 4096

void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_append(struct text *text, const char *bytes, size_t length);
void text_make_printable(struct text *text);
void text_show(const struct text *text);

/* words.c: the arguments of a program; they are freed together. */
struct words {
	char **items;
	size_t count;
	bool failed; /* memory ran out at some word, so that none may be used */
};

void words_add(struct words *words, const char *format, ...) __attribute__((format(printf, 2, 3)));
void words_add_option(struct words *words, const char *option, const char *value);
void words_free(struct words *words);

/* config.c: the arguments in plugstack.conf, and of udiRoot.conf where Shifter's programs are. */
struct settings {
	const char *config;
	const char *extern_setup;
	const char *memory_cgroup;
	int setup_timeout; /* seconds */
	bool extern_cgroup, enable_ccm, enable_sshd, enable_pyxis_names, long_options, pull_at_submit;
};

void settings_read(struct settings *settings, int count, char **arguments);
void settings_complain(int count, char **arguments);
bool program_find(const struct settings *settings, const char *name, char *path, size_t size,
		  struct text *problem);
bool program_find_trusted(const struct settings *settings, const char *name, char *path, size_t size,
			  struct text *problem);

/* trust.c */
bool only_root_can_change(const char *path, struct text *problem);

/* run.c: one program, without a shell. */
struct run {
	const char *path;
	char *const *arguments;
	char *const *environment;
	bool as_service; /* from /, in a process group of its own, with nothing of the caller's */
	int seconds;     /* until it is killed; 0: as long as it takes */
	int group;       /* a descriptor of the control group to start it in, or -1 */
	struct text *output, *errors; /* NULL: where the caller's go */
};

enum ending { RUN_EXITED, RUN_KILLED, RUN_TOO_LONG, RUN_NOT_STARTED };
struct ended {
	enum ending how;
	int number; /* exit status, signal, seconds or errno */
};

struct ended run_program(const struct run *run);
void describe_ending(const struct ended *ended, struct text *text);

/* options.c: what the user asked for. */
enum option { IMAGE, VOLUME, MODULE, CONTAINER_IMAGE, CONTAINER_MOUNTS, CCM, OPTIONS };
#define OPTION_VARIABLE_SIZE 128

struct choice {
	const char *values[OPTIONS]; /* NULL: not given */
	bool anything;               /* something is asked for, here or around */
	bool anew;                   /* something is asked for here */
	bool refused;                /* something was said that could not be kept */
};

int options_register(spank_t spank, const struct settings *settings);
bool option_is_offered(enum option option, const struct settings *settings);
void option_variable(enum option option, const struct settings *settings,
		     char name[OPTION_VARIABLE_SIZE]);
void options_choose(struct choice *choice);
void options_forget_typed(void);

/* submit.c: in srun, sbatch and salloc, as the user. */
int submit(spank_t spank, const struct settings *settings);

/* report.c: what later processes of a job on this node must know, below a directory of root's. */
#define RUN_DIRECTORY "/run/shifter"
#define JOBS_DIRECTORY RUN_DIRECTORY "/jobs"
#define CONTAINERS_DIRECTORY RUN_DIRECTORY "/udi"

enum report { REPORT_NONE, REPORT_WARNING, REPORT_FAILED };

void report_write(uint32_t job, enum report kind, const struct text *text);
enum report report_read(uint32_t job, struct text *text);
bool report_take(uint32_t job);
bool note_write(uint32_t job, const char *what, const char *bytes, size_t length);
bool note_read(uint32_t job, const char *what, struct text *text);
bool note_wait(uint32_t job, const char *what, int seconds);
int prolog_begin(uint32_t job, bool patient);
void prolog_end(uint32_t job, int fd);
void prolog_wait(uint32_t job, int seconds);
bool anything_is_kept(uint32_t job);
void forget_notes(uint32_t job);
size_t jobs_left(uint32_t *jobs, size_t most);
bool is_left(uint32_t job);

/* node.c: on a compute node, as root, before and after a job. */
void prepare_node(spank_t spank, const struct settings *settings);
void clear_node(spank_t spank, const struct settings *settings);

/* cgroup.c */
int memory_group_make(const struct settings *settings, uid_t uid, uint32_t job);
void memory_group_end(const struct settings *settings, uid_t uid, uint32_t job);
void groups_take(pid_t process, pid_t member, uint32_t job);

/* task.c: on a compute node, in slurmstepd. */
void name_job(spank_t spank);
void take_component(spank_t spank);
int admit_task(spank_t spank, const struct settings *settings);

/* ccm.c */
int enter_container(spank_t spank, uint32_t job);

/* extern.c: the step that Slurm keeps for what comes by ways of its own, such as ssh. */
void set_up_extern_step(spank_t spank, const struct settings *settings);
bool waits_for_extern_step(const struct settings *settings);

#endif
