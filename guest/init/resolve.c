// SPDX-License-Identifier: GPL-2.0-only
/*
 * The address of a name, for init itself: a question to a name server (RFC 1035, 4.1) and
 * what it answers.  The C library's way would need its libraries, and would keep us waiting.
 */
#include <string.h>
#include "network.h"

enum { TYPE_A = 1, TYPE_AAAA = 28, CLASS_IN = 1 };

#define HEADER		12

static uint16_t get16(const uint8_t *at)
{
	return at[0] << 8 | at[1];
}

/* The packet's length; 0 if that is no name. */
size_t make_question(uint8_t packet[DNS_PACKET], uint16_t id, const char *name, int family)
{
	size_t length = strlen(name), label;
	uint8_t *at = packet + HEADER;

	if (!is_domain(name, length))
		return 0;
	memset(packet, 0, HEADER);
	packet[0] = id >> 8;
	packet[1] = id;
	packet[2] = 1;		/* recursion is desired */
	packet[5] = 1;		/* one question */
	for (; *name; name += label + (name[label] == '.')) {
		label = strcspn(name, ".");
		if (label == 0 || label > 63)
			return 0;
		*at++ = label;
		memcpy(at, name, label);
		at += label;
	}
	memcpy(at, (uint8_t[]) { 0, 0, family == AF_INET6 ? TYPE_AAAA : TYPE_A, 0, CLASS_IN }, 5);
	return at + 5 - packet;
}

/* What follows a name, which may end with a pointer; 0 if it does not end. */
static size_t skip_name(const uint8_t *packet, size_t size, size_t at)
{
	while (at < size) {
		if (packet[at] == 0)
			return at + 1;
		if ((packet[at] & 0xc0) == 0xc0)
			return at + 2;
		at += 1 + packet[at];
	}
	return 0;
}

/*
 * Takes the first address of the family that `ip` has.  What does not answer this very
 * question is somebody else's, or a guess.
 */
enum answer read_answer(const uint8_t *packet, size_t size, const uint8_t *question, size_t length, struct ip *ip)
{
	size_t at = length, data;
	int answers, type = ip->family == AF_INET6 ? TYPE_AAAA : TYPE_A;

	if (size < length || memcmp(packet, question, 2) || !(packet[2] & 0x80) || get16(packet + 4) != 1 ||
	    memcmp(packet + HEADER, question + HEADER, length - HEADER))
		return ANSWER_TO_OTHERS;
	/* With an error, there are none. */
	for (answers = get16(packet + 6); answers > 0; answers--) {
		at = skip_name(packet, size, at);
		if (!at || at > size || size - at < 10)
			break;
		data = get16(packet + at + 8);
		if (data > size - at - 10)
			break;
		if (get16(packet + at) == type && get16(packet + at + 2) == CLASS_IN && data == ip_bytes(ip)) {
			memcpy(ip->bytes, packet + at + 10, data);
			return ANSWER_FOUND;
		}
		at += 10 + data;
	}
	return ANSWER_NONE;
}
