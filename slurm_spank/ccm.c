/* SPDX-License-Identifier: BSD-3-Clause
 *
 * With --ccm, a task is inside the job's container from its first instruction.
 *
 * Slurm makes the process the user's right after this. Until then, root reads nothing of what the
 * container holds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "shifter_slurm.h"

#define RECORD "record"
#define NAMESPACE "namespace"
#define RECORD_HEAD "shifter-udi " /* and a version */

static int open_kept(uint32_t job, const char *name)
{
	char path[sizeof(CONTAINERS_DIRECTORY) + 32];

	snprintf(path, sizeof(path), CONTAINERS_DIRECTORY "/%u/%s", job, name);
	return open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

/* Of the record, the second line begins with the number of the user whose container it is. */
static bool is_of_user(uint32_t job, uid_t uid)
{
	char text[64] = "", expected[32];
	int length = snprintf(expected, sizeof(expected), "\n%u ", uid);
	int fd = open_kept(job, RECORD);
	const char *second = NULL;

	if (fd < 0)
		return false;
	if (read(fd, text, sizeof(text) - 1) > 0 && strncmp(text, RECORD_HEAD, strlen(RECORD_HEAD)) == 0)
		second = strchr(text, '\n');
	close(fd);
	return second != NULL && strncmp(second, expected, (size_t)length) == 0;
}

static bool go_as(spank_t spank, const char *directory)
{
	gid_t *groups = NULL, gid;
	int count = 0;
	uid_t uid;

	return spank_get_item(spank, S_JOB_UID, &uid) == ESPANK_SUCCESS &&
	       spank_get_item(spank, S_JOB_GID, &gid) == ESPANK_SUCCESS &&
	       spank_get_item(spank, S_JOB_SUPPLEMENTARY_GIDS, &groups, &count) == ESPANK_SUCCESS &&
	       setgroups(count < 0 ? 0 : (size_t)count, groups) == 0 && setegid(gid) == 0 &&
	       seteuid(uid) == 0 && chdir(directory) == 0;
}

/* As the user, who may not be allowed everywhere that root is; on NFS, root may be the one who is not. */
static bool go_to(spank_t spank, const char *directory)
{
	int count = getgroups(0, NULL);
	gid_t gid = getegid(), *groups = calloc((size_t)count + 1, sizeof(*groups));
	uid_t uid = geteuid();
	bool there, back;

	if (groups == NULL || getgroups(count, groups) != count) {
		free(groups);
		return false;
	}
	there = go_as(spank, directory);
	back = seteuid(uid) == 0 && setegid(gid) == 0 && setgroups((size_t)count, groups) == 0;
	free(groups);
	return there && back;
}

static int refuse(uint32_t job, const char *what)
{
	slurm_error("shifter: the task cannot be started in the container of job %u: %s", job, what);
	return -1;
}

static bool enter(int namespace)
{
	/* A process that shares its directory with another, as threads do, may not. */
	return unshare(CLONE_FS) == 0 && setns(namespace, CLONE_NEWNS) == 0;
}

int enter_container(spank_t spank, uint32_t job)
{
	char *directory = getcwd(NULL, 0);
	int namespace, result;
	uid_t uid;

	if (spank_get_item(spank, S_JOB_UID, &uid) != ESPANK_SUCCESS || !is_of_user(job, uid)) {
		free(directory);
		return refuse(job, "this node has none that is the user's");
	}
	namespace = open_kept(job, NAMESPACE);
	result = namespace >= 0 && enter(namespace) ? 0 : refuse(job, strerror(errno));
	if (namespace >= 0)
		close(namespace);
	if (result == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		result = refuse(job, strerror(errno));
	if (result == 0 && (directory == NULL || !go_to(spank, directory)) && !go_to(spank, "/tmp"))
		result = refuse(job, "it has neither the working directory nor /tmp");
	free(directory);
	return result;
}
