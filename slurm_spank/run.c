/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Run one program from within a process of Slurm's, which has threads, handlers and children of its
 * own: nothing of them is changed, and between fork and exec only what signal handlers may call is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shifter_slurm.h"

#define NOT_EXECUTED 127
#define GRACE 5000 /* milliseconds for what was killed to end; in the kernel, it may hang for ever */

enum stream { OUTPUT, ERRORS, STREAMS };
enum end { READ, WRITE };

/* What is listened to while it runs. */
struct child {
	pid_t number;
	int process;
	int streams[STREAMS];
};

static void reset_signals(bool all)
{
	sigset_t none;

	/* One that the user's shell ignores, as nohup does, a program of the user's goes on ignoring. */
	for (int number = 1; number < NSIG; number++)
		if (all || (number != SIGHUP && number != SIGINT && number != SIGQUIT))
			signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool leave_service(const struct run *run)
{
	setpgid(0, 0);
	umask(022);
	if (chdir("/") < 0)
		return false;
	return run->group < 0 || write(run->group, "0", 1) == 1;
}

/* Slurm's processes may have no standard files: what was opened there must get out of the way first. */
static bool set_standard_files(const struct run *run, int pipes[STREAMS][2])
{
	int nothing = open("/dev/null", O_RDWR);
	int input = fcntl(nothing, F_DUPFD, STDERR_FILENO + 1);
	int output = fcntl(pipes[OUTPUT][WRITE], F_DUPFD, STDERR_FILENO + 1);
	int errors = fcntl(pipes[ERRORS][WRITE], F_DUPFD, STDERR_FILENO + 1);

	return dup2(input, STDIN_FILENO) == STDIN_FILENO &&
	       (run->output == NULL || dup2(output, STDOUT_FILENO) == STDOUT_FILENO) &&
	       (run->errors == NULL || dup2(errors, STDERR_FILENO) == STDERR_FILENO);
}

static _Noreturn void become(const struct run *run, int pipes[STREAMS][2], pid_t parent)
{
	/* Whoever waits for it may be killed: nobody would then tell it that it is too late. */
	prctl(PR_SET_PDEATHSIG, run->as_service ? SIGKILL : SIGTERM);
	reset_signals(run->as_service);
	if (getppid() == parent && (!run->as_service || leave_service(run)) &&
	    set_standard_files(run, pipes) &&
	    syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0) == 0)
		execve(run->path, run->arguments, run->environment);
	_exit(NOT_EXECUTED);
}

static bool open_pipes(const struct run *run, int pipes[STREAMS][2])
{
	for (int i = 0; i < STREAMS; i++)
		pipes[i][READ] = pipes[i][WRITE] = -1;
	if (run->output != NULL && pipe2(pipes[OUTPUT], O_CLOEXEC) < 0)
		return false;
	return run->errors == NULL || pipe2(pipes[ERRORS], O_CLOEXEC) == 0;
}

static void close_end(int pipes[STREAMS][2], enum end end)
{
	for (int i = 0; i < STREAMS; i++)
		if (pipes[i][end] >= 0)
			close(pipes[i][end]);
}

/* No handler of Slurm's may run in the child, where threads that it counts on are missing. */
static pid_t fork_quietly(const struct run *run, int pipes[STREAMS][2])
{
	sigset_t all, before;
	pid_t parent = getpid(), number;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	number = fork();
	if (number == 0)
		become(run, pipes, parent);
	if (number > 0 && run->as_service)
		setpgid(number, number);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return number;
}

static bool start(const struct run *run, struct child *child)
{
	int pipes[STREAMS][2];
	int error;

	if (!open_pipes(run, pipes)) {
		error = errno;
		close_end(pipes, READ);
		close_end(pipes, WRITE);
		errno = error;
		return false;
	}
	child->number = fork_quietly(run, pipes);
	error = errno;
	close_end(pipes, WRITE);
	if (child->number < 0) {
		close_end(pipes, READ);
		errno = error;
		return false;
	}
	child->process = (int)syscall(SYS_pidfd_open, child->number, 0);
	for (int i = 0; i < STREAMS; i++) {
		child->streams[i] = pipes[i][READ];
		if (child->streams[i] >= 0)
			fcntl(child->streams[i], F_SETFL, O_NONBLOCK);
	}
	return true;
}

/* Take what is there. What does not fit is read, too: the program shall not wait for it. */
static void drain(int *stream, struct text *text)
{
	char bytes[4096];
	ssize_t length;

	while (*stream >= 0) {
		length = read(*stream, bytes, sizeof(bytes));
		if (length > 0) {
			text_append(text, bytes, (size_t)length);
		} else if (length == 0 || (errno != EAGAIN && errno != EINTR)) {
			close(*stream);
			*stream = -1;
		} else if (errno == EAGAIN) {
			return;
		}
	}
}

static void drain_all(const struct run *run, struct child *child)
{
	drain(&child->streams[OUTPUT], run->output);
	drain(&child->streams[ERRORS], run->errors);
}

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Whether it ended within so many milliseconds; -1 is for ever. What it started may live on. */
static bool listen_until_end(const struct run *run, struct child *child, int64_t patience)
{
	int64_t deadline = now() + patience;

	for (;;) {
		struct pollfd waited[] = {{.fd = child->process, .events = POLLIN},
					  {.fd = child->streams[OUTPUT], .events = POLLIN},
					  {.fd = child->streams[ERRORS], .events = POLLIN}};
		int64_t left = patience < 0 ? -1 : deadline - now();

		if (patience >= 0 && left <= 0)
			return false;
		if (poll(waited, 3, (int)left) < 0 && errno != EINTR)
			return false;
		drain_all(run, child);
		if (waited[0].revents != 0)
			return true;
	}
}

static void kill_child(const struct run *run, const struct child *child)
{
	kill(run->as_service ? -child->number : child->number, SIGKILL);
}

static struct ended collect(const struct child *child)
{
	int status;
	pid_t number;

	do
		number = waitpid(child->number, &status, WNOHANG);
	while (number < 0 && errno == EINTR);
	if (number < 0)
		return (struct ended){RUN_NOT_STARTED, errno};
	if (number > 0 && WIFEXITED(status))
		return (struct ended){RUN_EXITED, WEXITSTATUS(status)};
	return (struct ended){RUN_KILLED, number > 0 ? WTERMSIG(status) : SIGKILL};
}

static struct ended wait_for(const struct run *run, struct child *child)
{
	int64_t patience = run->seconds > 0 ? (int64_t)run->seconds * 1000 : -1;
	struct ended ended;

	if (child->process >= 0 && listen_until_end(run, child, patience)) {
		drain_all(run, child);
		return collect(child);
	}
	kill_child(run, child);
	if (child->process >= 0)
		listen_until_end(run, child, GRACE);
	ended = collect(child);
	if (child->process < 0)
		return (struct ended){RUN_NOT_STARTED, ENOSYS};
	return ended.how == RUN_NOT_STARTED ? ended : (struct ended){RUN_TOO_LONG, run->seconds};
}

static void close_child(const struct child *child)
{
	if (child->process >= 0)
		close(child->process);
	for (int i = 0; i < STREAMS; i++)
		if (child->streams[i] >= 0)
			close(child->streams[i]);
}

/* Where SIGCHLD is ignored, the kernel keeps no child's status; so it is not, meanwhile. */
static bool keep_children(struct sigaction *before)
{
	struct sigaction keeping = {.sa_handler = SIG_DFL};

	if (sigaction(SIGCHLD, NULL, before) < 0)
		return false;
	if (before->sa_handler != SIG_IGN && (before->sa_flags & SA_NOCLDWAIT) == 0)
		return false;
	return sigaction(SIGCHLD, &keeping, NULL) == 0;
}

struct ended run_program(const struct run *run)
{
	struct sigaction before;
	bool changed = keep_children(&before);
	struct child child;
	struct ended ended = {RUN_NOT_STARTED, 0};

	if (start(run, &child)) {
		ended = wait_for(run, &child);
		close_child(&child);
	} else {
		ended.number = errno;
	}
	if (changed)
		sigaction(SIGCHLD, &before, NULL);
	return ended;
}

void describe_ending(const struct ended *ended, struct text *text)
{
	if (ended->how == RUN_NOT_STARTED)
		text_add(text, "could not be started: %s", strerror(ended->number));
	else if (ended->how == RUN_TOO_LONG)
		text_add(text, "was not done within %d seconds", ended->number);
	else if (ended->how == RUN_KILLED)
		text_add(text, "was ended by signal %d", ended->number);
	else if (ended->number == NOT_EXECUTED)
		text_add(text, "cannot be executed");
	else
		text_add(text, "ended with status %d", ended->number);
}
