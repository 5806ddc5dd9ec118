// SPDX-License-Identifier: MIT
/*
 * The program which the security tests aim at; it is listed, so it is in ring
 * 0 when whoever starts it may do that.
 *	--ring			prints its ring ("ring 0") and ends
 *	--ring-to FILE		appends it to a file, for who is started without streams
 *	--sleep			prints it and waits to be killed
 *	--setuid-sleep UID	the same, as a user without privileges
 *	--exec PROGRAM		becomes a program that is not listed: in ring 3, UKL_ENTRY
 *				in its environment
 * A program that the kernel looks for modules with gets arguments of its own:
 *	-q ...			as --ring-to /tmp/modprobe
 */
#include "guest.h"
#include <fcntl.h>
#include <grp.h>
#include <sys/auxv.h>
#include <sys/prctl.h>

/* Not on the stack, so that a tracer knows where to write. */
volatile unsigned long target_word = 0x600d600d;

static int ring_to(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);

	return fd < 0 || dprintf(fd, "ring %d\n", cpl()) < 0;
}

int main(int argc, char **argv)
{
	char entry[32];

	if (argc == 3 && !strcmp(argv[1], "--exec")) {
		/* Where the kernel's entry is, for who tries whether it betrays itself. */
		snprintf(entry, sizeof(entry), "%lx", getauxval(AT_SYSINFO));
		setenv("UKL_ENTRY", entry, 1);
		execl(argv[2], argv[2], NULL);
		check(!"exec");
	} else if (argc == 3 && !strcmp(argv[1], "--ring-to")) {
		return ring_to(argv[2]);
	} else if (argc > 1 && !strcmp(argv[1], "-q")) {
		return ring_to("/tmp/modprobe");
	} else if (argc == 3 && !strcmp(argv[1], "--setuid-sleep")) {
		check(!setgroups(0, NULL));
		check(!setgid(atoi(argv[2])));
		check(!setuid(atoi(argv[2])));
		/* otherwise no other user could attach anyway */
		check(!prctl(PR_SET_DUMPABLE, 1));
	} else {
		check(argc == 2);
	}
	printf("ring %d\n", cpl());
	fflush(stdout);
	if (!strcmp(argv[1], "--ring"))
		return 0;
	prctl(PR_SET_PDEATHSIG, 9);
	for (;;)
		usleep(10000);
}
