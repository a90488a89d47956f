/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The door to Shifter's runtime, and the only setuid program of Shifter.
 *
 * It proves that it was started from where it was installed, closes what the caller left open,
 * puts the caller's environment aside as data, and executes the runtime with an environment of
 * its own. It opens no file that the caller names, parses no option and interprets no text but
 * the number in PMI_FD.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where things are is fixed when the launcher is built; nobody can choose it later. */
#if !defined(SHIFTER_LAUNCHER) || !defined(SHIFTER_PYTHON) || !defined(SHIFTER_RUNTIME) || \
	!defined(SHIFTER_CONFIG)
#error "build with make: it names the launcher, the interpreter, the runtime and udiRoot.conf"
#endif

static char *const SAFE_ENVIRONMENT[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};

extern char **environ;

static void require_setuid_root(void)
{
	if (geteuid() == 0)
		return;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		errx(EXIT_FAILURE, "cannot be started where programs may gain no privilege "
		     "(no_new_privs), as in a container of Shifter's: start it outside");
	errx(EXIT_FAILURE, "%s is not installed setuid root, or lies on a filesystem mounted nosuid: "
	     "ask the administrator to run Shifter's install again; or it is traced, as by strace: "
	     "start it without", SHIFTER_LAUNCHER);
}

/* A hard link or a copy in a place that a user controls must not be a second door. */
static void require_own_place(void)
{
	char place[sizeof(SHIFTER_LAUNCHER) + 1];
	ssize_t length = readlink("/proc/self/exe", place, sizeof(place));

	if (length != (ssize_t)strlen(SHIFTER_LAUNCHER) ||
	    memcmp(place, SHIFTER_LAUNCHER, (size_t)length) != 0)
		errx(EXIT_FAILURE, "started from elsewhere than %s: use that one", SHIFTER_LAUNCHER);
}

/* Otherwise the first file that root opens would become the user's standard output. */
static void open_missing_standard_files(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			_exit(EXIT_FAILURE);
}

static void write_all(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, text, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			err(EXIT_FAILURE, "cannot put the environment aside");
		text += written;
		length -= (size_t)written;
	}
}

/* The caller's variables travel as bytes in a sealed memory file, each ended by a NUL. */
static int put_environment_aside(void)
{
	int fd = (int)syscall(SYS_memfd_create, "environment", MFD_ALLOW_SEALING);

	if (fd < 0)
		err(EXIT_FAILURE, "cannot put the environment aside");
	for (char **variable = environ; *variable != NULL; variable++)
		write_all(fd, *variable, strlen(*variable) + 1);
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		err(EXIT_FAILURE, "cannot seal the environment");
	return fd;
}

/* The descriptor through which a batch system's MPI start-up speaks (PMI-1 and PMI-2, of Hydra,
 * Slurm and Flux), or none. PMIx needs none: its clients connect to a socket by name. Only what
 * carries bytes will do: a directory would be a way out of the container (CVE-2024-21626). */
static int batch_system_descriptor(void)
{
	const char *text = getenv("PMI_FD");
	struct stat found;
	int fd = 0;

	if (text == NULL || *text == '\0' || strlen(text) > 6)
		return -1;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return -1;
		fd = fd * 10 + (*text - '0');
	}
	if (fstat(fd, &found) < 0 || !(S_ISSOCK(found.st_mode) || S_ISFIFO(found.st_mode)))
		return -1;
	return fd;
}

static void close_range_or_die(unsigned int first, unsigned int last)
{
	if (first <= last && syscall(SYS_close_range, first, last, 0) < 0)
		err(EXIT_FAILURE, "cannot close what the caller left open (Linux 5.12 or newer is "
		    "needed)");
}

static void close_inherited_files(int kept, int other)
{
	int low = other < kept ? other : kept;
	int high = other < kept ? kept : other;

	if (low <= STDERR_FILENO)
		low = STDERR_FILENO;
	close_range_or_die(STDERR_FILENO + 1, (unsigned int)low - 1);
	if (low < high)
		close_range_or_die((unsigned int)low + 1, (unsigned int)high - 1);
	close_range_or_die((unsigned int)high + 1, ~0U);
}

/* The runtime hands these on as the caller had them: Python ignores SIGPIPE and SIGXFSZ, handles
 * SIGINT unless that is ignored, and could not wait for a child with SIGCHLD ignored. */
static const char *signals_that_caller_ignores(void)
{
	static const int numbers[] = {SIGCHLD, SIGINT, SIGPIPE, SIGXFSZ};
	static const char names[] = "cipx";
	static char letters[sizeof(names)];
	size_t length = 0;
	struct sigaction action;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler == SIG_IGN)
			letters[length++] = names[i];
	signal(SIGCHLD, SIG_DFL);
	return letters;
}

/* While it starts, Python would die of Ctrl-C with words that help nobody. The signal waits until
 * the runtime lets it through; it stays blocked where the caller had it so. */
static const char *make_interrupts_wait(void)
{
	sigset_t interrupt, callers;

	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	sigprocmask(SIG_BLOCK, &interrupt, &callers);
	return sigismember(&callers, SIGINT) == 1 ? "blocked" : "";
}

/* -I: no PYTHON* variables, no user site; -S: no site at all; -B: root writes no .pyc. */
static char **runtime_command(int environment, int argc, char **argv)
{
	static char number[16];
	char *const prefix[] = {SHIFTER_PYTHON, "-I", "-S", "-B", SHIFTER_RUNTIME, SHIFTER_CONFIG,
				number, (char *)signals_that_caller_ignores(),
				(char *)make_interrupts_wait()};
	const size_t own = sizeof(prefix) / sizeof(*prefix);
	char **command = calloc(own + (size_t)argc + 1, sizeof(*command));

	if (command == NULL)
		err(EXIT_FAILURE, "out of memory");
	snprintf(number, sizeof(number), "%d", environment);
	memcpy(command, prefix, sizeof(prefix));
	for (int i = 1; i < argc; i++)
		command[own + (size_t)i - 1] = argv[i];
	return command;
}

int main(int argc, char **argv)
{
	int environment;

	/* Written to a descriptor of the caller's, root's messages must not begin with his words:
	 * what the kernel reads from one of its own files there, it takes for root's wish. */
	program_invocation_short_name = (char[]){"shifter"};
	require_setuid_root();
	open_missing_standard_files();
	require_own_place();
	environment = put_environment_aside();
	close_inherited_files(environment, batch_system_descriptor());
	execve(SHIFTER_PYTHON, runtime_command(environment, argc, argv), SAFE_ENVIRONMENT);
	err(EXIT_FAILURE, "cannot run %s", SHIFTER_PYTHON);
}
