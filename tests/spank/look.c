/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a plugin has left behind in the process that loaded it.
 */
#include "mock.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void look_at_environment(const char *kind, char **environment)
{
	for (char **entry = environment; entry && *entry; entry++) {
		char *name = strdup(*entry), *value = strchr(name, '=');
		if (value)
			*value++ = '\0';
		record(kind, name, value ? value : "");
		free(name);
	}
}

static void look_at_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;
	while (directory && (entry = readdir(directory))) {
		char target[4096];
		ssize_t length = readlinkat(dirfd(directory), entry->d_name, target, sizeof(target) - 1);
		if (length < 0 || atoi(entry->d_name) == dirfd(directory))
			continue;
		target[length] = '\0';
		record("descriptor", entry->d_name, target);
	}
	if (directory)
		closedir(directory);
}

static void look_at_signals(void)
{
	sigset_t blocked;
	sigprocmask(SIG_SETMASK, NULL, &blocked);
	for (int number = 1; number < NSIG; number++) {
		struct sigaction action;
		char name[16];
		if (sigaction(number, NULL, &action))
			continue;
		snprintf(name, sizeof(name), "%d", number);
		record("signal", name,
		       sigismember(&blocked, number) == 1     ? "blocked"
		       : action.sa_handler == SIG_DFL	      ? "default"
		       : action.sa_handler == SIG_IGN	      ? "ignored"
							      : "handled");
	}
}

/* A child that nobody waited for, or one that still runs. */
static void look_at_children(void)
{
	siginfo_t child = {0};
	if (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT))
		record("children", errno == ECHILD ? "none" : strerror(errno), "");
	else
		record("children", child.si_pid ? "zombie" : "running", "");
}

static void look_at_place(void)
{
	char directory[4096], name[32];
	mode_t mask = umask(0);
	umask(mask);
	snprintf(name, sizeof(name), "%03o", mask);
	record("umask", name, "");
	ssize_t length = readlink("/proc/self/ns/mnt", directory, sizeof(directory) - 1);
	directory[length > 0 ? length : 0] = '\0';
	record("namespace", directory, "");
	record_number("privileges", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) ? "none gained" : "as usual", getegid());
	record("directory", getcwd(directory, sizeof(directory)) ? directory : strerror(errno), "");
	snprintf(name, sizeof(name), "%u:%u:%u:%u", getuid(), geteuid(), getgid(), getegid());
	record("ids", name, "");
}

void look(const char *what)
{
	extern char **environ;
	if (!strcmp(what, "environment")) {
		look_at_environment("environ", environ);
		look_at_environment("job", job_environment.words);
		look_at_environment("control", control_environment.words);
		return;
	}
	look_at_descriptors();
	look_at_signals();
	look_at_children();
	look_at_place();
}
