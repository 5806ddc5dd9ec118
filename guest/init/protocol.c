// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host and init say to each other on the control channel.  The host's
 * half is src/guest/protocol.ts, and src/guest/spec.ts for the spec.
 *
 * The host begins with a byte of greeting (see transport.c), and the spec with
 * its length: "LENGTH\n" and as many bytes.  A length of 0 leaves the image with
 * its own, /.ukl/spec.
 *
 * The spec is a sequence of NUL-terminated words, a key and its value:
 *	exec (file), arg, env, cwd, host (name), alias (NAME:ADDRESS), clock (1), terminal (rows * 65536 + columns), watchdog (seconds), user (uid:gid:other groups, with
 *	commas), ring0 (1, if that user's program is to be there), disk (serial:path),
 *	volume (tag:path), data (source:path:type to make, or nothing), remote
 *	(type:path:source, with options behind it), fixed (how many
 *	of the first args stay whatever metadata say), and for the network dns (each), ntp
 *	(each), and of each card interface (name, if not eth0), mac, dhcp (1), ipv6 (1),
 *	address (ADDRESS/BITS, each), gateway (each).  interface begins a card.
 *
 * A guest that was saved goes on with such words too, after "resume": host,
 * arg and env; seed (hex) and time (nanoseconds since 1970).
 *
 * After that, lines.  To the host:
 *	start			the program is about to be exec'ed, or goes on
 *	exit N | signal N	the program ended; the last word
 *	fail WHAT: TEXT (errno N)	something could not be done; the last word
 *	kmsg TEXT		a record of the kernel log
 *	clock			what time is it?  Answered by "time"
 *	timed			the clock has the time that was said without being asked for
 *	line TEXT		a line of the file that was asked for
 *	end			that file has no more lines
 *	ready			the program wants to be saved now; answered by "save" or "go"
 *	held			no program runs: save the machine
 * From the host:
 *	signal N		for the program
 *	kmsg			send the kernel's log
 *	proc NAME		send the program's file of that name in /proc
 *	time N			nanoseconds since 1970; to a machine that stood still, answered by "timed"
 *	save			have no program run; answered by "held"
 *	go			the program that is ready goes on
 *	resume LENGTH		and as many bytes: what the guest is from now on
 *	exec PORT		a program beside the image's, see session.c
 *	window N		rows * 65536 + columns of the program's terminal
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "init.h"

int control = -1;

static bool refuse(int error)
{
	errno = error;
	return false;
}

/* Digits alone, and what fits. */
static bool parse_number(const char *text, long *number)
{
	size_t length = strspn(text, "0123456789");

	if (length == 0 || text[length])
		return false;
	errno = 0;
	*number = strtol(text, NULL, 10);
	return errno == 0;
}

/* A byte at a time: what follows the line is not ours yet. */
static bool read_number(long *number)
{
	char line[20];
	size_t length = 0;

	while (read(control, line + length, 1) == 1) {
		if (line[length] == '\n') {
			line[length] = 0;
			return parse_number(line, number);
		}
		if (++length == sizeof(line))
			break;
	}
	return false;
}

/* Up to `size` bytes; false, with errno, if the host has something else to say. */
bool receive_spec(char *words, size_t size, size_t *length)
{
	size_t have = 0;
	long said, n;

	if (!read_number(&said))
		return refuse(EPROTO);
	if ((size_t)said > size)
		return refuse(E2BIG);
	while (have < (size_t)said) {
		n = read(control, words + have, said - have);
		if (n <= 0)
			return refuse(n ? errno : EPROTO);
		have += n;
	}
	*length = have;
	return true;
}

/* Linux' ids have 32 bits, and the last one means none. */
static bool parse_id(const char *text, long *id)
{
	return parse_number(text, id) && *id < 0xffffffffL;
}

static bool parse_user(char *value, struct user *user)
{
	char *gid = strchr(value, ':'), *groups, *group;

	groups = gid ? strchr(gid + 1, ':') : NULL;
	if (!groups)
		return false;
	*gid++ = 0;
	*groups++ = 0;
	if (!parse_id(value, &user->uid) || !parse_id(gid, &user->gid))
		return false;
	user->ngroups = 0;
	while (groups && *groups) {
		group = strsep(&groups, ",");
		if (user->ngroups == MAX_GROUPS || !parse_id(group, &user->groups[user->ngroups++]))
			return false;
	}
	return true;
}

static bool parse_mount(struct mount_point *mount, enum mount_kind kind, char *value)
{
	char *path = strchr(value, ':'), *make = "";

	if (!path)
		return false;
	*path++ = 0;
	if (kind == MOUNT_DATA) {
		make = strrchr(path, ':');
		if (!make)
			return false;
		*make++ = 0;
	}
	*mount = (struct mount_point) { .kind = kind, .source = value, .path = path, .make = make };
	return true;
}

/* The source last: NFS has a colon in its own. */
static bool parse_remote(struct mount_point *mount, char *value)
{
	*mount = (struct mount_point) { .kind = MOUNT_REMOTE, .make = "", .options = "" };
	mount->type = strsep(&value, ":");
	mount->path = strsep(&value, ":");
	mount->source = value;
	return value;
}

/* The card that the network's words are about; NULL if it is one too many. */
static struct card_config *card_for(struct network *network, bool next)
{
	if (next || network->ncards == 0) {
		if (network->ncards == MAX_CARDS)
			return NULL;
		network->cards[network->ncards++].name = "eth0";
	}
	return &network->cards[network->ncards - 1];
}

/* False, with errno, if there is no room for it. */
static bool parse_card(struct network *network, const char *key, const char *value)
{
	struct card_config *card = card_for(network, !strcmp(key, "interface"));

	if (!card)
		return refuse(E2BIG);
	if (!strcmp(key, "interface"))
		card->name = value;
	else if (!strcmp(key, "mac"))
		card->mac = value;
	else if (!strcmp(key, "dhcp"))
		card->dhcp = true;
	else if (!strcmp(key, "ipv6"))
		card->ipv6 = true;
	else if (!strcmp(key, "address") && card->naddresses < MAX_ADDRESSES)
		card->addresses[card->naddresses++] = value;
	else if (!strcmp(key, "gateway") && card->nroutes < MAX_ROUTES)
		card->routes[card->nroutes++].via = value;
	else
		return refuse(E2BIG);
	return true;
}

static bool is_card_key(const char *key)
{
	static const char * const keys[] = { "interface", "mac", "dhcp", "ipv6", "address", "gateway" };
	size_t i;

	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!strcmp(key, keys[i]))
			return true;
	return false;
}

/* False, with errno, if it is none or has more than we take.  The spec's words stay where they are. */
bool parse_spec(char *words, size_t length, struct spec *spec)
{
	char *key, *value, *end = words + length;
	struct network *network = &spec->network;
	long number;

	*spec = (struct spec) { .file = "", .cwd = "/" };
	if (length && end[-1])
		return refuse(EINVAL);
	for (key = words; key < end; key = value + strlen(value) + 1) {
		value = key + strlen(key) + 1;
		if (value == end)
			return refuse(EINVAL);
		if (!strcmp(key, "exec")) {
			spec->file = value;
		} else if (!strcmp(key, "arg")) {
			if (spec->nargs == MAX_WORDS - 1)
				return refuse(E2BIG);
			spec->args[spec->nargs++] = value;
		} else if (!strcmp(key, "env")) {
			if (spec->nenvs == MAX_WORDS - 1)
				return refuse(E2BIG);
			spec->envs[spec->nenvs++] = value;
		} else if (!strcmp(key, "cwd")) {
			spec->cwd = value;
		} else if (!strcmp(key, "alias")) {
			if (spec->naliases == MAX_ALIASES || !strchr(value, ':'))
				return refuse(EINVAL);
			spec->aliases[spec->naliases++] = value;
		} else if (!strcmp(key, "host")) {
			spec->hostname = value;
		} else if (!strcmp(key, "clock")) {
			spec->clock = true;
		} else if (!strcmp(key, "terminal")) {
			if (!parse_number(value, &spec->terminal))
				return refuse(EINVAL);
		} else if (!strcmp(key, "watchdog")) {
			if (!parse_number(value, &spec->watchdog) || spec->watchdog > 3600)
				return refuse(EINVAL);
		} else if (!strcmp(key, "user")) {
			char *last = value + strlen(value);

			if (!parse_user(value, &spec->user))
				return refuse(EINVAL);
			spec->has_user = true;
			value = last;
		} else if (!strcmp(key, "ring0")) {
			spec->ring0 = true;
		} else if (!strcmp(key, "fixed")) {
			if (!parse_number(value, &number) || number > MAX_WORDS)
				return refuse(EINVAL);
			spec->nfixed = number;
		} else if (is_card_key(key)) {
			if (!parse_card(network, key, value))
				return false;
		} else if (!strcmp(key, "seed")) {
			spec->seed = value;
		} else if (!strcmp(key, "time")) {
			if (!parse_number(value, &spec->time))
				return refuse(EINVAL);
		} else if (!strcmp(key, "dns")) {
			if (network->ndns < MAX_DNS)
				network->dns[network->ndns++] = value;
		} else if (!strcmp(key, "ntp")) {
			if (network->nntp < MAX_NTP)
				network->ntp[network->nntp++] = value;
		} else if (!strcmp(key, "disk") || !strcmp(key, "volume") || !strcmp(key, "data")) {
			struct mount_point *mount = &spec->mounts[spec->nmounts];
			enum mount_kind kind = !strcmp(key, "disk") ? MOUNT_DISK :
				!strcmp(key, "volume") ? MOUNT_VOLUME : MOUNT_DATA;

			if (spec->nmounts == MAX_MOUNTS)
				return refuse(E2BIG);
			if (!parse_mount(mount, kind, value))
				return refuse(EINVAL);
			spec->nmounts++;
			value = kind == MOUNT_DATA ? mount->make : mount->path;
		} else if (!strcmp(key, "remote")) {
			struct mount_point *mount = &spec->mounts[spec->nmounts];

			if (spec->nmounts == MAX_MOUNTS)
				return refuse(E2BIG);
			if (!parse_remote(mount, value))
				return refuse(EINVAL);
			spec->nmounts++;
			value = mount->source;
		} else if (!strcmp(key, "options")) {
			if (!spec->nmounts)
				return refuse(EINVAL);
			spec->mounts[spec->nmounts - 1].options = value;
		}
	}
	return true;
}

/* In the place of a variable of that name: the first counts. */
void set_variable(struct spec *spec, char *text)
{
	size_t name = strcspn(text, "=") + 1;
	int i;

	for (i = 0; i < spec->nenvs && strncmp(spec->envs[i], text, name); i++)
		;
	if (i == MAX_WORDS - 1)
		return;
	spec->envs[i] = text;
	if (i == spec->nenvs)
		spec->nenvs++;
}

static void decode_line(const char *line, struct message *message)
{
	*message = (struct message) { .type = MESSAGE_UNKNOWN };
	if (!strcmp(line, "kmsg")) {
		message->type = MESSAGE_KMSG;
	} else if (!strcmp(line, "save")) {
		message->type = MESSAGE_SAVE;
	} else if (!strcmp(line, "go")) {
		message->type = MESSAGE_GO;
	} else if (!strncmp(line, "resume ", 7)) {
		if (parse_number(line + 7, &message->number))
			message->type = MESSAGE_RESUME;
	} else if (!strncmp(line, "proc ", 5)) {
		message->type = MESSAGE_PROC;
		message->name = line + 5;
	} else if (!strncmp(line, "signal ", 7)) {
		if (parse_number(line + 7, &message->number))
			message->type = MESSAGE_SIGNAL;
	} else if (!strncmp(line, "time ", 5)) {
		if (parse_number(line + 5, &message->number))
			message->type = MESSAGE_TIME;
	} else if (!strncmp(line, "exec ", 5)) {
		if (parse_number(line + 5, &message->number))
			message->type = MESSAGE_EXEC;
	} else if (!strncmp(line, "window ", 7)) {
		if (parse_number(line + 7, &message->number))
			message->type = MESSAGE_WINDOW;
	}
}

/* Takes what the host says character by character; true at the end of a message. */
bool decode(char c, struct message *message)
{
	static char line[MAX_LINE];
	static size_t length;

	if (c != '\n') {
		if (length < sizeof(line))
			line[length++] = c;
		return false;
	}
	/* Too long for us: none that we know. */
	if (length == sizeof(line))
		length = 0;
	line[length] = 0;
	length = 0;
	decode_line(line, message);
	return true;
}

static void __attribute__((format(printf, 1, 2))) tell(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vdprintf(control, format, list);
	va_end(list);
}

void tell_start(void)
{
	tell("start\n");
}

void tell_exit(int status)
{
	tell("exit %d\n", status);
}

void tell_signal(int number)
{
	tell("signal %d\n", number);
}

void tell_failure(const char *what, int error)
{
	tell("fail %s: %s (errno %d)\n", what, strerror(error), error);
}

void tell_kmsg(const char *text)
{
	tell("kmsg %s\n", text);
}

void tell_clock(void)
{
	tell("clock\n");
}

void tell_timed(void)
{
	tell("timed\n");
}

void tell_line(const char *text)
{
	tell("line %s\n", text);
}

void tell_end(void)
{
	tell("end\n");
}

void tell_ready(void)
{
	tell("ready\n");
}

void tell_held(void)
{
	tell("held\n");
}
