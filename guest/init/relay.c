// SPDX-License-Identifier: GPL-2.0-only
/*
 * The program's standard streams.  They pass through pipes, not straight to the
 * channels: a virtio port opens only once, and programs reopen /dev/stdout.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#include "init.h"

struct relay {
	int from, to;
	long at, end;		/* what was read and not yet written */
	char data[1 << 16];
};

static struct relay relays[NRELAYS];

void start_relay(int number, int from, int to)
{
	relays[number].from = from;
	relays[number].to = to;
	fcntl(from, F_SETFL, O_NONBLOCK);
	fcntl(to, F_SETFL, O_NONBLOCK);
}

void end_relay(int number)
{
	struct relay *relay = &relays[number];

	close(relay->from);
	close(relay->to);
	relay->from = relay->to = -1;
}

bool relaying(int number)
{
	return relays[number].from >= 0;
}

/* One read or one write, whichever is due. */
static void step_relay(int number)
{
	struct relay *relay = &relays[number];
	long n;

	if (relay->at == relay->end) {
		n = read(relay->from, relay->data, sizeof(relay->data));
		if (n > 0) {
			relay->at = 0;
			relay->end = n;
		}
	} else {
		n = write(relay->to, relay->data + relay->at,
			  relay->end - relay->at);
		if (n > 0)
			relay->at += n;
	}
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		end_relay(number);
}

void fill_relay_polls(struct pollfd fds[NRELAYS])
{
	int i;

	for (i = 0; i < NRELAYS; i++) {
		struct relay *relay = &relays[i];
		bool reading = relay->at == relay->end;

		fds[i].fd = reading ? relay->from : relay->to;
		fds[i].events = reading ? POLLIN : POLLOUT;
		fds[i].revents = 0;
	}
}

void step_relays(const struct pollfd fds[NRELAYS])
{
	int i;

	for (i = 0; i < NRELAYS; i++)
		if (fds[i].revents)
			step_relay(i);
}
