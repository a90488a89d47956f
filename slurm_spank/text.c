/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sentences, put together in storage of a fixed size.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shifter_slurm.h"

static bool is_second_of_control(unsigned char before, unsigned char byte)
{
	return before == 0xc2 && byte >= 0x80 && byte < 0xa0;
}

void text_add(struct text *text, const char *format, ...)
{
	size_t room = text->size - text->length;
	va_list values;
	int length;

	va_start(values, format);
	length = vsnprintf(text->bytes + text->length, room, format, values);
	va_end(values);
	if (length < 0)
		return;
	text->cut |= (size_t)length >= room;
	text->length += (size_t)length < room ? (size_t)length : room - 1;
}

void text_append(struct text *text, const char *bytes, size_t length)
{
	size_t room = text->size - text->length - 1;

	text->cut |= length > room;
	if (length > room)
		length = room;
	memcpy(text->bytes + text->length, bytes, length);
	text->length += length;
	text->bytes[text->length] = '\0';
}

/* Some of it comes from users: no byte of it may steer a terminal, or end a line of a log. Control
 * characters are those of ASCII and the 32 that begin with 0xc2 in UTF-8. */
void text_make_printable(struct text *text)
{
	unsigned char before = 0;

	while (text->length > 0 && text->bytes[text->length - 1] == '\n')
		text->bytes[--text->length] = '\0';
	for (size_t i = 0; i < text->length; i++) {
		unsigned char byte = (unsigned char)text->bytes[i];

		if ((byte < ' ' && byte != '\n') || byte == 0x7f || is_second_of_control(before, byte))
			text->bytes[i] = '?';
		before = byte;
	}
}

/* To the user or the log, whichever Slurm has here; each line is one of Slurm's. */
void text_show(const struct text *text)
{
	const char *line = text->bytes;

	while (*line != '\0') {
		int length = (int)strcspn(line, "\n");

		slurm_error("%.*s", length, line);
		line += length;
		line += *line == '\n';
	}
}
