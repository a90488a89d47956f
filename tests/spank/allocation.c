/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory that runs out when a test says so.
 */
#define ALLOCATION_OF_THE_MOCK
#include "allocation.h"
#include "mock.h"

#include <errno.h>

static long until_failure; /* 0: never */

/* The allocation of that number is refused, and each one after it. */
void fail_allocations_from(long number)
{
	until_failure = number;
}

static int is_refused(void)
{
	if (!until_failure)
		return 0;
	if (until_failure > 1) {
		until_failure--;
		return 0;
	}
	record("refused", "", "");
	errno = ENOMEM;
	return 1;
}

void *mock_malloc(size_t size)
{
	return is_refused() ? NULL : malloc(size);
}

void *mock_calloc(size_t count, size_t size)
{
	return is_refused() ? NULL : calloc(count, size);
}

void *mock_realloc(void *old, size_t size)
{
	return is_refused() ? NULL : realloc(old, size);
}

void *mock_reallocarray(void *old, size_t count, size_t size)
{
	return is_refused() ? NULL : reallocarray(old, count, size);
}

char *mock_strdup(const char *text)
{
	return is_refused() ? NULL : strdup(text);
}

char *mock_strndup(const char *text, size_t size)
{
	return is_refused() ? NULL : strndup(text, size);
}

int mock_vasprintf(char **text, const char *format, va_list values)
{
	return is_refused() ? -1 : vasprintf(text, format, values);
}

int mock_asprintf(char **text, const char *format, ...)
{
	va_list values;
	va_start(values, format);
	int length = mock_vasprintf(text, format, values);
	va_end(values);
	return length;
}
