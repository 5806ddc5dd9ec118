// SPDX-License-Identifier: GPL-2.0-only
/*
 * The machine's watchdog, if the image wants one: it restarts a machine that has hung.
 * We are told every third of its time by our own loop, so what is seen is a kernel
 * that runs nobody any more, not a program that is slow.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "init.h"

static int watchdog = -1;
static int interval_ms;

static void feed(struct service *service)
{
	ioctl(watchdog, WDIOC_KEEPALIVE, 0);
	service->due = now_ms() + interval_ms;
}

static struct service service = { .fd = -1, .step = feed };

void arm_watchdog(int seconds)
{
	int set = seconds, most = 0;

	if (!seconds)
		return;
	watchdog = open("/dev/watchdog", O_WRONLY | O_CLOEXEC);
	/* An image serves as well where there is none. */
	if (watchdog < 0) {
		say("init: /dev/watchdog: %s\n", strerror(errno));
		return;
	}
	/* It runs from now on, with its own time if it does not take ours. */
	if (ioctl(watchdog, WDIOC_SETTIMEOUT, &set) && !ioctl(watchdog, WDIOC_GETTIMEOUT, &most)) {
		say("init: the watchdog waits for %d seconds, not %d\n", most, seconds);
		set = most;
	}
	if (set < 3)
		set = 3;
	interval_ms = set * 1000 / 3;
	service.due = now_ms() + interval_ms;
	add_service(&service);
}

/* The last writes take as long as they take. */
void disarm_watchdog(void)
{
	if (watchdog < 0)
		return;
	/* The magic close: Documentation/watchdog/watchdog-api.rst. */
	if (write(watchdog, "V", 1) == 1)
		close(watchdog);
	watchdog = -1;
}
