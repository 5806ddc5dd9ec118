// SPDX-License-Identifier: GPL-2.0-only
/*
 * What init waits for besides the program and the host: leases, routers, the time, the
 * watchdog.  Each is a descriptor, a time, or both; the loop in main.c attends to them all,
 * and so does the start as long as it waits for one.
 */
#include <limits.h>
#include <stdlib.h>
#include "init.h"

static struct service *first;

/* At the end: who polls counts on the order. */
void add_service(struct service *service)
{
	struct service **at = &first;
	int count = 0;

	for (; *at; at = &(*at)->next)
		count++;
	if (count >= MAX_SERVICES)
		abort();
	service->next = NULL;
	*at = service;
}

/* How many there are. */
int fill_service_polls(struct pollfd fds[MAX_SERVICES])
{
	struct service *service;
	int count = 0;

	for (service = first; service; service = service->next)
		fds[count++] = (struct pollfd) { .fd = service->fd, .events = POLLIN };
	return count;
}

/* How long poll() may wait for them: -1 for ever. */
int service_wait_ms(void)
{
	long due = NEVER, left;
	struct service *service;

	for (service = first; service; service = service->next)
		if (service->due < due)
			due = service->due;
	if (due == NEVER)
		return -1;
	left = due - now_ms();
	return left < 0 ? 0 : left > INT_MAX ? INT_MAX : left;
}

/* One that a step adds has its turn the next time. */
void step_services(const struct pollfd *fds, int count)
{
	struct service *service = first;
	long now = now_ms();
	int i;

	for (i = 0; i < count; i++, service = service->next)
		if (fds[i].revents || now >= service->due)
			service->step(service);
}

/* Before the program starts: until something happens, or the time has come. */
void await_services(long until)
{
	struct pollfd fds[MAX_SERVICES];
	int count = fill_service_polls(fds), wait = service_wait_ms();
	long left = until - now_ms();

	if (left < 0)
		left = 0;
	if (wait < 0 || wait > left)
		wait = left > INT_MAX ? INT_MAX : left;
	if (poll(fds, count, wait) >= 0)
		step_services(fds, count);
}
