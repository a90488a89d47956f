/* SPDX-License-Identifier: BSD-3-Clause
 *
 * On a compute node, as root: have the container of a job made before it starts, and taken down after
 * it ended. Whatever goes wrong is told to the job; a node is never blamed for it.
 *
 * The environment holds variables of slurmd's and, all with SPANK_ in front, of the user's. Those of the
 * user are handed on, one word each, to a program that trusts none of them.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shifter_slurm.h"

#define SETUP "sbin/setupRoot"
#define UNSETUP "sbin/unsetupRoot"
#define INTERRUPTED "shifter: making the container of this job was interrupted on this node"
#define ALREADY_THERE 3 /* how setupRoot ends where a container of that name is */
#define MOST_LEFT 64 /* in one epilog */
#define MOST_WISHES (256 * 1024)
#define USERS(name) ("SPANK_SHIFTER_" name)

static char *const NO_ENVIRONMENT[] = {NULL};

struct job {
	uint32_t number;
	uid_t uid;
	time_t deadline;
};

static bool identify(spank_t spank, const struct settings *settings, struct job *job)
{
	if (spank_get_item(spank, S_JOB_ID, &job->number) != ESPANK_SUCCESS ||
	    spank_get_item(spank, S_JOB_UID, &job->uid) != ESPANK_SUCCESS) {
		slurm_error("shifter: Slurm does not tell which job this is, so nothing is done for it");
		return false;
	}
	job->deadline = time(NULL) + settings->setup_timeout;
	return true;
}

static int seconds_left(const struct job *job)
{
	time_t left = job->deadline - time(NULL);

	return left > 1 ? (int)left : 1;
}

/* What it prints goes to slurmd's log as far as it is not an error, else to `errors`. */
static struct ended run_as_root(const struct job *job, const struct words *words, int group,
				struct text *errors)
{
	char storage[SENTENCE_SIZE] = "";
	struct text output = TEXT_IN(storage);
	struct run run = {
		.path = words->failed ? "" : words->items[0],
		.arguments = words->items,
		.environment = NO_ENVIRONMENT,
		.as_service = true,
		.seconds = seconds_left(job),
		.group = group,
		.output = &output,
		.errors = errors,
	};
	struct ended ended = {RUN_NOT_STARTED, 0};

	if (!words->failed)
		ended = run_program(&run);
	text_make_printable(&output);
	text_make_printable(errors);
	if (output.length > 0)
		slurm_debug("shifter: %s", output.bytes);
	return ended;
}

static bool has_succeeded(const struct ended *ended)
{
	return ended->how == RUN_EXITED && ended->number == 0;
}

static void add_owner(struct words *words, const struct job *job)
{
	words_add(words, "--job=%u", job->number);
	words_add(words, "--uid=%u", job->uid);
	words_add_option(words, "gid", getenv("SLURM_JOB_GID"));
	words_add_option(words, "user", getenv("SLURM_JOB_USER"));
	words_add_option(words, "nodelist", getenv("SLURM_NODELIST"));
	if (getenv("SLURM_NODELIST") != NULL)
		words_add_option(words, "tasks-per-node", getenv("SLURM_JOB_CPUS_PER_NODE"));
}

static void add_wishes(struct words *words, const struct settings *settings)
{
	words_add(words, "--show");
	words_add_option(words, "volume", getenv(USERS("VOLUME")));
	words_add_option(words, "module", getenv(USERS("MODULE")));
	words_add_option(words, "request", getenv(USERS("PINNED_REQUEST")));
	if (settings->enable_sshd)
		words_add_option(words, "ssh-key", getenv(USERS("SSH_PUBKEY")));
	words_add(words, "--");
	words_add(words, "%s", getenv(USERS("IMAGETYPE")));
	words_add(words, "%s", getenv(USERS("IMAGE")));
}

static struct ended set_up(const struct job *job, const struct settings *settings, const char *program,
			   struct text *errors)
{
	struct words words = {0};
	int group = memory_group_make(settings, job->uid, job->number);
	struct ended ended;

	words_add(&words, "%s", program);
	add_owner(&words, job);
	add_wishes(&words, settings);
	ended = run_as_root(job, &words, group, errors);
	words_free(&words);
	if (group >= 0)
		close(group);
	return ended;
}

static bool take_down(const struct job *job, const struct settings *settings, struct text *problem)
{
	char path[PATH_MAX];
	struct words words = {0};
	struct ended ended;

	if (!program_find_trusted(settings, UNSETUP, path, sizeof(path), problem))
		return false;
	words_add(&words, "%s", path);
	words_add(&words, "--job=%u", job->number);
	ended = run_as_root(job, &words, -1, problem);
	words_free(&words);
	if (!has_succeeded(&ended) && problem->length == 0) {
		text_add(problem, "%s ", path);
		describe_ending(&ended, problem);
	}
	return has_succeeded(&ended);
}

/* Whether there is a container now. What setupRoot says while it succeeds is in `errors`, too. */
static bool make_container(const struct job *job, const struct settings *settings, struct text *errors)
{
	char path[PATH_MAX];
	struct ended ended;

	if (getenv(USERS("REFUSED")) != NULL) {
		text_add(errors, "it was submitted although its image, volumes or modules were refused");
		return false;
	}
	if (getenv(USERS("IMAGETYPE")) == NULL) {
		text_add(errors, "the type of its image is not known: submit it with --image");
		return false;
	}
	if (!program_find_trusted(settings, SETUP, path, sizeof(path), errors))
		return false;
	ended = set_up(job, settings, path, errors);
	if (ended.how == RUN_EXITED && ended.number == ALREADY_THERE) {
		/* The job was requeued, and its epilog never ran: the node was down, for instance. */
		errors->length = 0;
		errors->bytes[0] = '\0';
		if (!take_down(job, settings, errors))
			return false;
		ended = set_up(job, settings, path, errors);
	}
	if (!has_succeeded(&ended) && (errors->length == 0 || ended.how != RUN_EXITED)) {
		text_add(errors, "%s%s ", errors->length > 0 ? "\n" : "", path);
		describe_ending(&ended, errors);
	}
	return has_succeeded(&ended);
}

static void report(const struct job *job, enum report kind, const char *happened, const struct text *text)
{
	char storage[SENTENCE_SIZE] = "", node[HOST_NAME_MAX + 1] = "";
	struct text sentence = TEXT_IN(storage);

	gethostname(node, sizeof(node) - 1);
	text_add(&sentence, "shifter: %s on node %s: %s", happened, node, text->bytes);
	text_make_printable(&sentence);
	text_show(&sentence);
	report_write(job->number, kind, &sentence);
}

/* For steps of another component than that whose environment they get. */
static void note_component(const struct job *job)
{
	static const char *const names[] = {"IMAGETYPE", "IMAGE", "IMAGEREQUEST", "VOLUME", "MODULE"};
	char *storage = malloc(MOST_WISHES);
	struct text note = {.bytes = storage, .size = MOST_WISHES};

	for (size_t i = 0; storage != NULL && i < sizeof(names) / sizeof(*names); i++) {
		char variable[64];
		struct text name = TEXT_IN(variable);

		text_add(&name, USERS("%s"), names[i]);
		if (getenv(variable) == NULL)
			continue;
		text_add(&note, "SHIFTER_%s=%s", names[i], getenv(variable));
		text_append(&note, "", 1);
	}
	if (storage != NULL && !note.cut)
		note_write(job->number, "component", note.bytes, note.length);
	free(storage);
}

static void clear_job(const struct job *job, const struct settings *settings)
{
	char storage[SENTENCE_SIZE] = "";
	struct text problem = TEXT_IN(storage);
	/* Where slurmd was killed, its prolog may still be at work, and make what is to be taken down. */
	int at_work = prolog_begin(job->number, true);
	bool done;

	memory_group_end(settings, job->uid, job->number);
	done = take_down(job, settings, &problem);
	forget_notes(job->number);
	if (!done) {
		slurm_error("shifter: something is left of the container of job %u, until another job ends "
			    "on this node:", job->number);
		text_show(&problem);
		note_write(job->number, "left", "", 0);
	}
	prolog_end(job->number, at_work);
}

void prepare_node(spank_t spank, const struct settings *settings)
{
	char storage[SENTENCE_SIZE] = "", begun[] = INTERRUPTED;
	struct text errors = TEXT_IN(storage), interrupted = TEXT_IN(begun);
	struct job job;
	int at_work;

	if (!identify(spank, settings, &job))
		return;
	if (getenv(USERS("IMAGE")) == NULL && getenv(USERS("REFUSED")) == NULL) {
		/* Of an earlier job of that number, whose epilog never ran: this one is not to hear of it. */
		if (anything_is_kept(job.number))
			clear_job(&job, settings);
		return;
	}
	at_work = prolog_begin(job.number, true);
	forget_notes(job.number);
	/* Should this process be killed, the job shall not run outside of its container. */
	report_write(job.number, REPORT_FAILED, &interrupted);
	if (!make_container(&job, settings, &errors))
		report(&job, REPORT_FAILED, "the container of this job could not be prepared", &errors);
	else if (errors.length > 0)
		report(&job, REPORT_WARNING, "the container of this job was prepared, but", &errors);
	else
		report_take(job.number);
	if (getenv("SLURM_HET_JOB_ID") != NULL)
		note_component(&job);
	prolog_end(job.number, at_work);
}

/* What epilogs before could not take down, for instance while udiRoot.conf was being changed. */
static void clear_left(const struct job *own, const struct settings *settings)
{
	uint32_t left[MOST_LEFT];
	size_t count = jobs_left(left, MOST_LEFT);

	for (size_t i = 0; i < count && time(NULL) < own->deadline; i++) {
		struct job job = {.number = left[i], .deadline = own->deadline};
		char storage[SENTENCE_SIZE] = "";
		struct text problem = TEXT_IN(storage);
		int at_work = job.number == own->number ? -1 : prolog_begin(job.number, false);

		if (at_work < 0)
			continue;
		/* Asked again: it may have been requeued, and run here now. */
		if (is_left(job.number) && take_down(&job, settings, &problem))
			forget_notes(job.number);
		prolog_end(job.number, at_work);
	}
}

void clear_node(spank_t spank, const struct settings *settings)
{
	struct job job;

	if (!identify(spank, settings, &job))
		return;
	if (getenv(USERS("IMAGE")) != NULL || anything_is_kept(job.number))
		clear_job(&job, settings);
	clear_left(&job, settings);
}
