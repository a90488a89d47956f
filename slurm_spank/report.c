/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is kept of a job on this node, for processes that come later: whether its container could be
 * prepared, and notes. Only root can read or change it, and it ends with the node's next start.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shifter_slurm.h"

#define NOTES_MODE 0600

static const char *const KINDS[] = {[REPORT_WARNING] = "warning\n", [REPORT_FAILED] = "failed\n"};

/* The report of a job has its number for a name, a note also an ending. */
static void place_of(uint32_t job, const char *what, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, JOBS_DIRECTORY "/%u%s%s", job, *what == '\0' ? "" : ".", what);
}

static bool make_directories(void)
{
	if (mkdir(RUN_DIRECTORY, 0755) < 0 && errno != EEXIST)
		return false;
	return mkdir(JOBS_DIRECTORY, 0700) == 0 || errno == EEXIST;
}

static bool write_all(const char *path, const char *bytes, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, NOTES_MODE);
	ssize_t written;

	if (fd < 0)
		return false;
	written = write(fd, bytes, length);
	return (close(fd) == 0) && written == (ssize_t)length;
}

/* Whoever waits for it sees all of it, or nothing. */
bool note_write(uint32_t job, const char *what, const char *bytes, size_t length)
{
	char path[PATH_MAX], other[PATH_MAX + sizeof(".new")];

	place_of(job, what, path);
	snprintf(other, sizeof(other), "%s.new", path);
	if (make_directories() && write_all(other, bytes, length) && rename(other, path) == 0)
		return true;
	slurm_error("shifter: cannot write %s: %s", path, strerror(errno));
	unlink(other);
	return false;
}

bool note_read(uint32_t job, const char *what, struct text *text)
{
	char path[PATH_MAX], bytes[SENTENCE_SIZE] = "";
	ssize_t length;
	int fd;

	place_of(job, what, path);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return false;
	while ((length = read(fd, bytes, sizeof(bytes))) > 0)
		text_append(text, bytes, (size_t)length);
	close(fd);
	return length == 0;
}

void report_write(uint32_t job, enum report kind, const struct text *text)
{
	char storage[SENTENCE_SIZE + 16] = "";
	struct text report = TEXT_IN(storage);

	text_add(&report, "%s%s\n", KINDS[kind], text->bytes);
	note_write(job, "", report.bytes, report.length);
}

/* The text, without the line that says of which kind it is. */
enum report report_read(uint32_t job, struct text *text)
{
	char storage[SENTENCE_SIZE + 16] = "";
	struct text report = TEXT_IN(storage);

	if (!note_read(job, "", &report))
		return REPORT_NONE;
	for (enum report kind = REPORT_WARNING; kind <= REPORT_FAILED; kind++) {
		size_t length = strlen(KINDS[kind]);

		if (strncmp(report.bytes, KINDS[kind], length) == 0) {
			text_add(text, "%s", report.bytes + length);
			text_make_printable(text);
			return kind;
		}
	}
	return REPORT_NONE;
}

/* Of several who take it, one is told that it was there. */
bool report_take(uint32_t job)
{
	char path[PATH_MAX];

	place_of(job, "", path);
	return unlink(path) == 0;
}

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static bool appears(int watch, const char *path, int64_t deadline)
{
	struct pollfd waited = {.fd = watch, .events = POLLIN};
	char events[4096];

	while (access(path, F_OK) < 0) {
		int64_t left = deadline - now();

		if (left <= 0)
			return false;
		/* Events are not looked at, only taken: what counts is whether the file is there. */
		if (poll(&waited, 1, (int)left) > 0 && read(watch, events, sizeof(events)) < 0 &&
		    errno != EAGAIN)
			return false;
	}
	return true;
}

/* Wait for a note of another process. */
bool note_wait(uint32_t job, const char *what, int seconds)
{
	char path[PATH_MAX];
	bool there;
	int watch;

	place_of(job, what, path);
	if (access(path, F_OK) == 0)
		return true;
	watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch < 0)
		return false;
	there = make_directories() &&
		inotify_add_watch(watch, JOBS_DIRECTORY, IN_MOVED_TO | IN_CREATE) >= 0 &&
		appears(watch, path, now() + (int64_t)seconds * 1000);
	close(watch);
	return there;
}

/* A descriptor by which others see that a prolog is at work, for as long as this process has it. Unless
 * `patient`, it is only had where nobody else has it. */
int prolog_begin(uint32_t job, bool patient)
{
	struct stat found = {0};
	char path[PATH_MAX];
	int fd = -1;

	place_of(job, "prolog", path);
	if (!make_directories())
		return -1;
	/* Again, where the one that was waited for has taken the file along. */
	while (found.st_nlink == 0) {
		if (fd >= 0)
			close(fd);
		fd = open(path, O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, NOTES_MODE);
		if (fd >= 0 && flock(fd, patient ? LOCK_EX : LOCK_EX | LOCK_NB) == 0 && fstat(fd, &found) == 0)
			continue;
		if (patient || errno != EWOULDBLOCK)
			slurm_error("shifter: cannot lock %s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

void prolog_end(uint32_t job, int fd)
{
	char path[PATH_MAX];

	place_of(job, "prolog", path);
	unlink(path);
	if (fd >= 0)
		close(fd);
}

/* Slurm starts tasks when the prolog has ended; but of a job that it requeued a moment ago, it may
 * start the batch script beside it. */
void prolog_wait(uint32_t job, int seconds)
{
	static const struct timespec moment = {.tv_nsec = 20 * 1000 * 1000};
	int64_t deadline = now() + (int64_t)seconds * 1000;
	char path[PATH_MAX];
	int fd;

	place_of(job, "prolog", path);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	while (flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK && now() < deadline)
		nanosleep(&moment, NULL);
	close(fd);
}

static const char *const NOTES[] = {"", "new", "left", "left.new", "extern", "extern.new",
				   "component", "component.new"};

/* A container may be there without a report, and after a killed prolog a report without a container. */
bool anything_is_kept(uint32_t job)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), CONTAINERS_DIRECTORY "/%u", job);
	if (access(path, F_OK) == 0)
		return true;
	for (size_t i = 0; i < sizeof(NOTES) / sizeof(*NOTES); i++) {
		place_of(job, NOTES[i], path);
		if (access(path, F_OK) == 0)
			return true;
	}
	place_of(job, "prolog", path);
	return access(path, F_OK) == 0;
}

/* All but that a prolog is at work. */
void forget_notes(uint32_t job)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(NOTES) / sizeof(*NOTES); i++) {
		place_of(job, NOTES[i], path);
		unlink(path);
	}
}

/* Those that an epilog could not take down, and how many they are. */
size_t jobs_left(uint32_t *jobs, size_t most)
{
	DIR *listing = opendir(JOBS_DIRECTORY);
	struct dirent *entry;
	size_t count = 0;
	int end;

	while (listing != NULL && count < most && (entry = readdir(listing)) != NULL) {
		end = 0;
		if (sscanf(entry->d_name, "%10" SCNu32 ".left%n", &jobs[count], &end) == 1 && end > 0 &&
		    entry->d_name[end] == '\0')
			count++;
	}
	if (listing != NULL)
		closedir(listing);
	return count;
}

bool is_left(uint32_t job)
{
	char path[PATH_MAX];

	place_of(job, "left", path);
	return access(path, F_OK) == 0;
}
