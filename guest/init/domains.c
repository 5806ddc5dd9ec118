// SPDX-License-Identifier: GPL-2.0-only
/* Domains as packets have them: RFC 1035, 3.1 and 4.1.4; RFC 3397; RFC 8106; RFC 8415, 10. */
#include <string.h>
#include "network.h"

#define MAX_DOMAIN	254	/* as text, with its end */

/* Only what a name may consist of: programs put it into commands and files. */
bool is_domain(const char *text, size_t length)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
	size_t i;

	for (i = 0; i < length; i++)
		if (!text[i] || !strchr(allowed, text[i]))
			return false;
	return length > 0 && length < MAX_DOMAIN && text[0] != '-' && text[0] != '.';
}

/* One that finds no room is left. */
void add_domain(char search[MAX_SEARCH], const char *text)
{
	size_t have = strlen(search), more = strlen(text);

	if (have + more + 2 > MAX_SEARCH)
		return;
	if (have)
		search[have++] = ' ';
	memcpy(search + have, text, more + 1);
}

/*
 * One name; false if it is none.  A pointer leads back to an earlier place, and each
 * further one before that, so that there is an end.  `next` is what follows the name.
 */
static bool read_domain(const uint8_t *data, size_t length, size_t at, char text[MAX_DOMAIN], size_t *next)
{
	size_t limit = length, used = 0, start = at, label;
	bool jumped = false;

	for (;;) {
		if (at >= limit)
			return false;
		label = data[at++];
		if (label == 0)
			break;
		if ((label & 0xc0) == 0xc0) {
			if (at >= limit)
				return false;
			label = (label & 0x3f) << 8 | data[at++];
			if (!jumped)
				*next = at;
			jumped = true;
			if (label >= start)
				return false;
			limit = start;
			at = start = label;
			continue;
		}
		if (label > 63 || label > limit - at || used + label + 1 >= MAX_DOMAIN)
			return false;
		if (used)
			text[used++] = '.';
		memcpy(text + used, data + at, label);
		used += label;
		at += label;
	}
	text[used] = 0;
	if (!jumped)
		*next = at;
	return is_domain(text, used);
}

/* All names, up to what is none: padding, for one. */
void read_domains(const uint8_t *data, size_t length, char search[MAX_SEARCH])
{
	char text[MAX_DOMAIN];
	size_t at = 0;

	while (at < length && read_domain(data, length, at, text, &at))
		add_domain(search, text);
}
