/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Given to every file of the plugin in tests (-include): its allocations are the mock's, which can refuse them.
 */
#ifndef ALLOCATION_H
#define ALLOCATION_H

/* What these declare must be declared before its name means something else. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *mock_malloc(size_t size);
void *mock_calloc(size_t count, size_t size);
void *mock_realloc(void *old, size_t size);
void *mock_reallocarray(void *old, size_t count, size_t size);
char *mock_strdup(const char *text);
char *mock_strndup(const char *text, size_t size);
int mock_asprintf(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));
int mock_vasprintf(char **text, const char *format, va_list values) __attribute__((format(printf, 2, 0)));

#ifndef ALLOCATION_OF_THE_MOCK
#define malloc(size) mock_malloc(size)
#define calloc(count, size) mock_calloc(count, size)
#define realloc(old, size) mock_realloc(old, size)
#define reallocarray(old, count, size) mock_reallocarray(old, count, size)
#undef strdup
#define strdup(text) mock_strdup(text)
#undef strndup
#define strndup(text, size) mock_strndup(text, size)
#define asprintf(...) mock_asprintf(__VA_ARGS__)
#define vasprintf(text, format, values) mock_vasprintf(text, format, values)
#endif

#endif
