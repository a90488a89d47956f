/* SPDX-License-Identifier: BSD-3-Clause
 *
 * May root rely on this file? Only if nobody but root can change it, or what leads to it.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shifter_slurm.h"

/* In a sticky directory, such as /tmp, nobody can replace what is root's. */
static bool is_safe(const struct stat *found)
{
	if (found->st_uid != 0)
		return false;
	if (S_ISLNK(found->st_mode) || (found->st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return true;
	return S_ISDIR(found->st_mode) && (found->st_mode & S_ISVTX) != 0;
}

static bool is_safe_part(const char *part, struct text *problem)
{
	struct stat found;

	if (lstat(part, &found) < 0) {
		text_add(problem, "cannot use %s: %s", part, strerror(errno));
		return false;
	}
	if (!is_safe(&found)) {
		text_add(problem, "%s must belong to root and be writable by nobody else", part);
		return false;
	}
	return true;
}

/* The path and everything above it, links included. */
static bool is_safe_path(const char *path, struct text *problem)
{
	char part[PATH_MAX];
	size_t length = strlen(path);

	if (length >= sizeof(part))
		return false;
	memcpy(part, path, length + 1);
	for (size_t i = 1; i < length; i++) {
		if (path[i] != '/')
			continue;
		part[i] = '\0';
		if (!is_safe_part(part, problem))
			return false;
		part[i] = '/';
	}
	return is_safe_part(part, problem);
}

/* Once it is true, only root can make it false: so the file may be opened after this. */
bool only_root_can_change(const char *path, struct text *problem)
{
	char real[PATH_MAX];

	if (path[0] != '/') {
		text_add(problem, "%s is not an absolute path", path);
		return false;
	}
	if (realpath(path, real) == NULL) {
		text_add(problem, "cannot use %s: %s", path, strerror(errno));
		return false;
	}
	return is_safe_path(path, problem) && is_safe_path(real, problem);
}
