/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Stands for the interpreter: says what it was started with, each item as LENGTH:BYTES. Arguments,
 * a blank line, variables, a blank line, the content of the descriptor that the seventh argument
 * names, a blank line, the descriptors that are open.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(const char *bytes, size_t length)
{
	printf("%zu:", length);
	fwrite(bytes, 1, length, stdout);
}

static void say_list(char **list)
{
	for (; *list != NULL; list++)
		say(*list, strlen(*list));
	say("", 0);
	fputs("\n", stdout);
}

int main(int argc, char **argv)
{
	extern char **environ;
	int fd;
	off_t size;
	char *content;

	if (argc < 9)
		return 2;
	fd = atoi(argv[6]);
	size = lseek(fd, 0, SEEK_END);
	content = malloc((size_t)size + 1);
	if (size < 0 || content == NULL || pread(fd, content, (size_t)size, 0) != size)
		return 3;
	say_list(argv);
	say_list(environ);
	say(content, (size_t)size);
	fputs("\n", stdout);
	for (int open = 0; open < 4096; open++)
		if (fcntl(open, F_GETFD) >= 0)
			printf("%d ", open);
	return 0;
}
