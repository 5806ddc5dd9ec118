// SPDX-License-Identifier: MIT
/*
 * The program which the security tests aim at; it is listed, so it is in ring
 * 0 when whoever starts it may do that.
 *	--ring			prints its ring ("ring 0") and ends
 *	--sleep			prints it and waits to be killed
 *	--setuid-sleep UID	the same, as a user without privileges
 *	--exec PROGRAM		becomes a program that is not listed: in ring 3
 */
#include "guest.h"
#include <grp.h>
#include <sys/prctl.h>

/* Not on the stack, so that a tracer knows where to write. */
volatile unsigned long target_word = 0x600d600d;

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--exec")) {
		execl(argv[2], argv[2], NULL);
		check(!"exec");
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
