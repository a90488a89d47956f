/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A stand-in for the processes that load SPANK plugins: srun, sbatch, slurmd and slurmstepd.
 *
 * mock PLUGIN REPORT <SCRIPT: a script is commands of three words, a report is records of three words, each word ended
 * by a NUL. It behaves as Slurm 22.05 does where a plugin can tell, which is what <slurm/spank.h> says, and what was
 * measured where that is silent; it decides nothing, and looks at nothing that a plugin does but by `look`.
 */
#include "mock.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static FILE *report_file;
static char *script;

static const char *follow_in_child(void *plugin, char *word, const char *end);
static void finish(void);

void record(const char *kind, const char *name, const char *value)
{
	const char *words[] = {kind, name, value};
	for (int i = 0; i < 3; i++)
		fwrite(words[i], strlen(words[i]) + 1, 1, report_file);
	fflush(report_file);
}

void record_number(const char *kind, const char *name, long value)
{
	char text[32];
	snprintf(text, sizeof(text), "%ld", value);
	record(kind, name, text);
}

/* A mistake of the test's, not of the plugin's. */
void give_up(const char *why, const char *what)
{
	fprintf(stderr, "mock: %s: %s\n", why, what);
	fflush(NULL);
	_exit(99);
}

static char *read_script(size_t *length)
{
	size_t size = 1 << 16;
	ssize_t got;
	char *text = malloc(size);
	for (*length = 0; text && (got = read(STDIN_FILENO, text + *length, size - *length)) > 0;) {
		*length += (size_t)got;
		if (*length == size)
			text = realloc(text, size *= 2);
	}
	if (!text)
		give_up("out of memory", "script");
	return text;
}

static void call_hook(void *plugin, const char *name)
{
	if (is_over)
		return;
	char symbol[80];
	snprintf(symbol, sizeof(symbol), "slurm_spank_%s", name);
	int (*hook)(spank_t, int, char **) = NULL;
	*(void **)&hook = dlsym(plugin, symbol);
	if (!hook) {
		record("absent", name, "");
		return;
	}
	handle.phase = name;
	record_number("return", name, hook(&handle, plugstack.count, plugstack.words));
	handle.phase = "";
}

/* As slurmd's children have it: a /run of their own, with `directory` for /run/shifter. */
static void make_own_run(const char *directory)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("run", "/run", "tmpfs", 0, "mode=755") || mkdir("/run/shifter", 0755) ||
	    mount(directory, "/run/shifter", NULL, MS_BIND, NULL))
		give_up("no /run of its own", strerror(errno));
}

/* A filesystem of its own, which is gone with it; `kind` is its type, and behind a colon its options. */
static void mount_own(const char *path, char *kind)
{
	char *options = strchr(kind, ':');
	if (options)
		*options++ = '\0';
	if (mount("none", path, kind, 0, options))
		give_up(path, strerror(errno));
}

/* Keep the mount namespace of a child by `file`, as setupRoot keeps that of a container; `directory` is empty in it. */
static int keep_namespace(const char *file, const char *directory)
{
	char namespace[64], byte;
	int ready[2], end[2];
	if (pipe2(ready, O_CLOEXEC) || pipe2(end, O_CLOEXEC))
		give_up("pipe2", strerror(errno));
	pid_t child = fork();
	if (child == 0) {
		close(end[1]);
		if (unshare(CLONE_NEWNS) || mount("none", directory, "tmpfs", 0, NULL) || write(ready[1], "", 1) != 1)
			_exit(1);
		_exit(read(end[0], &byte, 1) != 0);
	}
	close(ready[1]);
	snprintf(namespace, sizeof(namespace), "/proc/%d/ns/mnt", child);
	int kept = read(ready[0], &byte, 1) == 1 && !mount(namespace, file, NULL, MS_BIND, NULL);
	close(ready[0]);
	close(end[0]);
	close(end[1]);
	waitpid(child, NULL, 0);
	return kept;
}

/* The kernel keeps none with a smaller number than our own, and each processor has numbers of its own to give. */
static void make_container(const char *file, const char *directory)
{
	cpu_set_t all, one;
	sched_getaffinity(0, sizeof(all), &all);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		int kept = keep_namespace(file, directory);
		sched_setaffinity(0, sizeof(all), &all);
		if (kept)
			return;
	}
	give_up("no container", strerror(errno));
}

static const struct {
	const char *name;
	int resource;
} LIMITS[] = {{"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC}, {"fsize", RLIMIT_FSIZE}};

#define LIMITS_COUNT (sizeof(LIMITS) / sizeof(LIMITS[0]))

static void set_limit(const char *name, const char *value)
{
	struct rlimit limit;
	for (size_t i = 0; i < LIMITS_COUNT; i++) {
		if (strcmp(name, LIMITS[i].name))
			continue;
		getrlimit(LIMITS[i].resource, &limit);
		limit.rlim_cur = strtoul(value, NULL, 10);
		if (!setrlimit(LIMITS[i].resource, &limit))
			return;
	}
	give_up("no limit", name);
}

/* The search for leaks needs descriptors and a process, too. */
static void lift_limits(void)
{
	struct rlimit limit;
	for (size_t i = 0; i < LIMITS_COUNT; i++) {
		getrlimit(LIMITS[i].resource, &limit);
		limit.rlim_cur = limit.rlim_max;
		setrlimit(LIMITS[i].resource, &limit);
	}
}

static void set_ids(const char *real, const char *effective)
{
	uid_t uid = (uid_t)strtoul(real, NULL, 10);
	if (setresuid(uid, (uid_t)strtoul(effective, NULL, 10), uid))
		give_up("setresuid", strerror(errno));
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* for the search for leaks */
}

/* Of any bytes, which words of a script cannot have: they come as hexadecimal digits. */
static void write_file(const char *path, const char *digits)
{
	FILE *file = fopen(path, "we");
	if (!file)
		give_up(path, strerror(errno));
	for (; digits[0] && digits[1]; digits += 2) {
		char pair[] = {digits[0], digits[1], '\0'};
		fputc((int)strtol(pair, NULL, 16), file);
	}
	fclose(file);
}

static void execute(void *plugin, const char *command, char *name, char *value)
{
	if (!strcmp(command, "context"))
		choose_context(name);
	else if (!strcmp(command, "plugstack"))
		append(&plugstack, name);
	else if (!strcmp(command, "item"))
		set_item(name, value);
	else if (!strcmp(command, "jobenv"))
		set_variable(&job_environment, name, value, 1);
	else if (!strcmp(command, "environ"))
		setenv(name, value, 1);
	else if (!strcmp(command, "option"))
		use_option(name, value);
	else if (!strcmp(command, "inherit"))
		inherit_options();
	else if (!strcmp(command, "hook"))
		call_hook(plugin, name);
	else if (!strcmp(command, "run"))
		make_own_run(name);
	else if (!strcmp(command, "mount"))
		mount_own(name, value);
	else if (!strcmp(command, "directory"))
		mkdir(name, 0755);
	else if (!strcmp(command, "container"))
		make_container(name, value);
	else if (!strcmp(command, "close"))
		close(atoi(name));
	else if (!strcmp(command, "limit"))
		set_limit(name, value);
	else if (!strcmp(command, "file"))
		write_file(name, value);
	else if (!strcmp(command, "ids"))
		set_ids(name, value);
	else if (!strcmp(command, "ignore"))
		signal(atoi(name), SIG_IGN);
	else if (!strcmp(command, "fail-allocation"))
		fail_allocations_from(strtol(name, NULL, 10));
	else if (!strcmp(command, "look"))
		look(name);
	else
		give_up("unknown command", command);
}

/* Follow a script until its end, or until `parent`; what is between `child` and that is for a process of its own, as
 * each task is. */
static const char *follow(void *plugin, char *word, const char *end)
{
	while (word < end) {
		char *first = word, *second = first + strlen(first) + 1, *third = second + strlen(second) + 1;
		word = third + strlen(third) + 1;
		if (!strcmp(first, "parent"))
			break;
		if (strcmp(first, "child"))
			execute(plugin, first, second, third);
		else
			word = (char *)follow_in_child(plugin, word, end);
	}
	return word;
}

static const char *follow_in_child(void *plugin, char *word, const char *end)
{
	int status;
	pid_t child = fork();
	if (child == 0) {
		follow(plugin, word, end);
		finish();
		exit(0);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	record_number("child", WIFSIGNALED(status) ? "signal" : "exit",
		      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	while (word < end && strcmp(word, "parent"))
		word += strlen(word) + 1;
	return word + sizeof("parent") + 2;
}

static void finish(void)
{
	lift_limits();
	forget_everything();
	free(script);
	script = NULL;
}

int main(int argc, char **argv)
{
	size_t length;
	if (argc != 3 || !(report_file = fopen(argv[2], "we")))
		give_up("usage", "mock PLUGIN REPORT <SCRIPT");
	script = read_script(&length);
	/* Slurm resolves what a plugin calls when it is called. */
	void *plugin = dlopen(argv[1], RTLD_LAZY);
	if (!plugin)
		give_up("not loaded", dlerror());
	const char *name = dlsym(plugin, "plugin_name");
	if (!name || strcmp(dlsym(plugin, "plugin_type"), "spank"))
		give_up("no SPANK plugin", argv[1]);
	handle.plugin_name = name;
	follow(plugin, script, script + length);
	record("end", "", "");
	finish();
	return 0;
}
