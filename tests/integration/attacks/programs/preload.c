/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A library that leaves a file TAKEN-<effective user id> behind wherever it is loaded.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

__attribute__((constructor)) static void take_over(void)
{
	char name[sizeof(TAKEN) + 32];

	snprintf(name, sizeof(name), "%s-%u", TAKEN, (unsigned)geteuid());
	close(open(name, O_WRONLY | O_CREAT, 0666));
}
