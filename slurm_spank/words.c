/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The arguments of a program. A value is one word with its option, whatever it holds.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "shifter_slurm.h"

static void take(struct words *words, char *word)
{
	char **items = reallocarray(words->items, words->count + 2, sizeof(*items));

	if (items == NULL || word == NULL) {
		words->failed = true;
		free(word);
	}
	if (items == NULL)
		return;
	words->items = items;
	if (word != NULL)
		items[words->count++] = word;
	items[words->count] = NULL;
}

void words_add(struct words *words, const char *format, ...)
{
	va_list values;
	char *word;
	int length;

	va_start(values, format);
	length = vasprintf(&word, format, values);
	va_end(values);
	take(words, length < 0 ? NULL : word);
}

/* --OPTION=VALUE, or nothing where there is no value. */
void words_add_option(struct words *words, const char *option, const char *value)
{
	if (value != NULL && *value != '\0')
		words_add(words, "--%s=%s", option, value);
}

void words_free(struct words *words)
{
	for (size_t i = 0; i < words->count; i++)
		free(words->items[i]);
	free(words->items);
}
