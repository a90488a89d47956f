/* SPDX-License-Identifier: BSD-3-Clause
 *
 * swap A B...: exchange the names of A and each B in turn, without a pause, until killed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	for (;;)
		for (int i = 2; i < argc; i++)
			if (renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[i], RENAME_EXCHANGE) != 0) {
				perror(argv[i]);
				return 1;
			}
}
