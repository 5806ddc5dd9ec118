// SPDX-License-Identifier: GPL-2.0-only
/*
 * What init could not do, what the kernel logged, the time, and the end of the machine.
 *
 * What fails before there is a control channel, or where there is none, is said
 * on the console, with "init:" in front.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include "init.h"

#define KMSG_RECORDS	60

/* On the console, at once: a reset does not wait for what is still to be sent. */
void say(const char *format, ...)
{
	int console = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	va_list list;

	va_start(list, format);
	vdprintf(console, format, list);
	va_end(list);
	tcdrain(console);
	close(console);
}

/* Since the machine's start. */
long now_ms(void)
{
	struct timespec now;

	/* A lease goes on while the machine sleeps. */
	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint32_t random_number(void)
{
	uint32_t number = 0;

	getrandom(&number, sizeof(number), GRND_INSECURE);
	return number;
}

void report(const char *what)
{
	int error = errno;

	if (control >= 0)
		tell_failure(what, error);
	else
		say("init: %s: %s (errno %d)\n", what, strerror(error), error);
}

void finish(void)
{
	disarm_watchdog();
	if (unmount_remotes())
		sync();
	else
		say("init: a server does not answer: what it has not confirmed is lost\n");
	unmount_all();
	restart();
	for (;;)
		pause();
}

void fail(const char *what)
{
	/* A session that fails is no reason to end the machine. */
	if (getpid() != 1)
		_exit(1);
	report(what);
	finish();
}

/* The last records: what the kernel said about the program's end. */
void tell_kernel_log(void)
{
	static char records[KMSG_RECORDS][512];
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	int count = 0, i;
	char *text, *end;
	long n;

	for (;;) {
		char *record = records[count % KMSG_RECORDS];

		n = read(fd, record, sizeof(records[0]) - 1);
		if (n < 0 && errno == EPIPE)	/* overwritten meanwhile */
			continue;
		if (n < 0 && errno == EINVAL)	/* too long for us */
			continue;
		if (n <= 0)
			break;
		record[n] = 0;
		count++;
	}
	close(fd);
	for (i = count > KMSG_RECORDS ? count - KMSG_RECORDS : 0; i < count; i++) {
		text = strchr(records[i % KMSG_RECORDS], ';');
		if (!text)
			continue;
		end = strchr(text, '\n');
		if (end)
			*end = 0;
		tell_kmsg(text + 1);
	}
}
