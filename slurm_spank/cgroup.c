/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Control groups, of version 1 and 2: one for what runs for a job outside of its steps, and those that
 * Slurm made for a step.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shifter_slurm.h"

#define MEMBERS "cgroup.procs" /* in version 1, too, where `tasks` lists threads */
#define THREADS "tasks"
#define LEVELS 3
#define ATTEMPTS 100
#define PAUSE 20 /* milliseconds */
#define LONGEST_LINE 4096

/* <memory_cgroup>/shifter/uid_<uid>/job_<job>, as the original has it; `levels` of it. */
static bool place_of(const struct settings *settings, uid_t uid, uint32_t job, int levels, char *path)
{
	int length = snprintf(path, PATH_MAX, "%s/shifter", settings->memory_cgroup);

	if (levels > 1 && length < PATH_MAX)
		length += snprintf(path + length, PATH_MAX - (size_t)length, "/uid_%u", uid);
	if (levels > 2 && length < PATH_MAX)
		length += snprintf(path + length, PATH_MAX - (size_t)length, "/job_%u", job);
	return length < PATH_MAX;
}

static int open_file(const char *directory, const char *name, int flags)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, name) >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(path, flags | O_CLOEXEC);
}

static bool write_text(const char *directory, const char *name, const char *text)
{
	int fd = open_file(directory, name, O_WRONLY);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return written;
}

static int open_members(const char *directory, int flags)
{
	int fd = open_file(directory, THREADS, flags);

	return fd >= 0 || errno != ENOENT ? fd : open_file(directory, MEMBERS, flags);
}

static bool make_levels(const struct settings *settings, uid_t uid, uint32_t job, char path[PATH_MAX])
{
	for (int levels = 1; levels <= LEVELS; levels++) {
		if (!place_of(settings, uid, job, levels, path) ||
		    (mkdir(path, 0755) < 0 && errno != EEXIST))
			return false;
		if (levels < LEVELS)
			write_text(path, "cgroup.subtree_control", "+memory");
	}
	return true;
}

/* A descriptor through which a process goes into the group of the job; -1 where there is none. */
int memory_group_make(const struct settings *settings, uid_t uid, uint32_t job)
{
	char path[PATH_MAX];
	int group = -1;

	if (settings->memory_cgroup == NULL)
		return -1;
	/* In version 2, a group can limit memory only if that above lets it; in version 1, this fails. */
	write_text(settings->memory_cgroup, "cgroup.subtree_control", "+memory");
	/* Again, where the epilog of the user's last job here has just removed his group. */
	for (int i = 0; group < 0 && i < ATTEMPTS; i++)
		if (make_levels(settings, uid, job, path))
			group = open_members(path, O_WRONLY);
		else if (errno != ENOENT || access(settings->memory_cgroup, F_OK) < 0)
			break;
	if (group < 0)
		slurm_error("shifter: cannot make the control group of job %u below %s, so it has none: %s",
			    job, settings->memory_cgroup, strerror(errno));
	return group;
}

static bool is_member(const char *directory, pid_t process)
{
	int fd = open_members(directory, O_RDONLY);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	bool found = false;
	int number;

	if (file == NULL) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (!found && fscanf(file, "%d", &number) == 1)
		found = process == 0 || number == process; /* 0: any */
	fclose(file);
	return found;
}

static void kill_member(const char *directory, pid_t process)
{
	int fd = (int)syscall(SYS_pidfd_open, process, 0);

	if (fd < 0)
		return;
	/* Asked again: by now, the number might have been somebody else's. */
	if (is_member(directory, process))
		syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
	close(fd);
}

static void kill_members(const char *directory)
{
	int fd, number;
	FILE *file;

	if (write_text(directory, "cgroup.kill", "1"))
		return;
	fd = open_members(directory, O_RDONLY);
	file = fd < 0 ? NULL : fdopen(fd, "r");
	while (file != NULL && fscanf(file, "%d", &number) == 1)
		kill_member(directory, number);
	if (file != NULL)
		fclose(file);
	else if (fd >= 0)
		close(fd);
}

/* In version 2, the job's sshd is in a group of its own, below. */
static void end_below(const char *directory)
{
	DIR *listing = opendir(directory);
	struct dirent *entry;
	char path[PATH_MAX];

	while (listing != NULL && (entry = readdir(listing)) != NULL) {
		if (entry->d_type != DT_DIR || *entry->d_name == '.' ||
		    (size_t)snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name) >= sizeof(path))
			continue;
		kill_members(path);
		rmdir(path);
	}
	if (listing != NULL)
		closedir(listing);
}

/* A group says in no way that its last member has gone which both versions have. */
void memory_group_end(const struct settings *settings, uid_t uid, uint32_t job)
{
	char path[PATH_MAX];

	if (settings->memory_cgroup == NULL || !place_of(settings, uid, job, LEVELS, path))
		return;
	for (int i = 0; i < ATTEMPTS && rmdir(path) < 0; i++) {
		if (errno == ENOENT)
			break;
		if (is_member(path, 0))
			kill_members(path);
		end_below(path);
		poll(NULL, 0, PAUSE);
	}
	if (access(path, F_OK) == 0)
		slurm_error("shifter: cannot remove the control group %s: some processes in it do not end",
			    path);
	/* Those above stay while another job is there. */
	for (int levels = LEVELS - 1; levels > 0; levels--)
		if (place_of(settings, uid, job, levels, path))
			rmdir(path);
}

/* The mount of a hierarchy: `controllers` as in /proc/PID/cgroup, empty for version 2. */
static bool find_mount(const char *controllers, char *path, size_t size)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char line[LONGEST_LINE], root[PATH_MAX], place[PATH_MAX];
	char type[32], options[LONGEST_LINE], first[64];
	bool found = false;

	snprintf(first, sizeof(first), "%.*s", (int)strcspn(controllers, ","), controllers);
	while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL) {
		const char *rest = strstr(line, " - ");

		/* Of a part that is mounted alone, as in containers, the paths begin elsewhere. */
		if (rest == NULL || sscanf(line, "%*s %*s %*s %4095s %4095s", root, place) != 2 ||
		    strcmp(root, "/") != 0 || sscanf(rest, " - %31s %*s %4095s", type, options) != 2)
			continue;
		if (*first == '\0')
			found = strcmp(type, "cgroup2") == 0;
		else if (strcmp(type, "cgroup") == 0)
			for (char *save, *word = strtok_r(options, ",", &save); word != NULL;
			     word = strtok_r(NULL, ",", &save))
				found |= strcmp(word, first) == 0;
	}
	if (file != NULL)
		fclose(file);
	return found && (size_t)snprintf(path, size, "%s", place) < size;
}

static void take_into(char *line, const char *process, uint32_t job)
{
	char *controllers = strchr(line, ':'), *place, path[PATH_MAX], part[32];
	size_t length;

	if (controllers == NULL || (place = strchr(controllers + 1, ':')) == NULL)
		return;
	*controllers++ = '\0';
	*place++ = '\0';
	place[strcspn(place, "\n")] = '\0';
	/* In hierarchies that Slurm does not use, the step is where slurmd is. */
	snprintf(part, sizeof(part), "/job_%u/", job);
	if (strstr(place, part) == NULL || !find_mount(controllers, path, sizeof(path)))
		return;
	length = strlen(path);
	if ((size_t)snprintf(path + length, sizeof(path) - length, "%s", place) < sizeof(path) - length &&
	    !write_text(path, MEMBERS, process))
		slurm_error("shifter: cannot put process %s into %s: %s", process, path, strerror(errno));
}

/* Put `process` into all groups of the job that `member` is in. */
void groups_take(pid_t process, pid_t member, uint32_t job)
{
	char path[64], line[LONGEST_LINE], number[16];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", member);
	snprintf(number, sizeof(number), "%d", process);
	file = fopen(path, "re");
	if (file == NULL) {
		slurm_error("shifter: cannot read %s: %s", path, strerror(errno));
		return;
	}
	while (fgets(line, sizeof(line), file) != NULL)
		take_into(line, number, job);
	fclose(file);
}
