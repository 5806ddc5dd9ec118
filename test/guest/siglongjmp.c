// SPDX-License-Identifier: MIT
/*
 * Thousands of jumps out of signal handlers: the kernel keeps no count of
 * signals which never returned.
 */
#include "guest.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>

static sigjmp_buf back;
static volatile long segvs, alarms, jumps;
static volatile bool armed;
static char *volatile null;

static void on_segv(int signo)
{
	(void)signo;
	segvs++;
	siglongjmp(back, 1);
}

static void on_alarm(int signo)
{
	(void)signo;
	alarms++;
	if (armed) {
		armed = false;
		siglongjmp(back, 2);
	}
}

int main(void)
{
	struct itimerval fast = { { 0, 500 }, { 0, 500 } }, stop = { 0 };
	volatile long keep = 0x1234;
	volatile int i;
	sigset_t set;
	char *alt;
	stack_t ss = { .ss_size = 65536 };
	struct sigaction action = { .sa_handler = on_segv };

	expect_ring();
	check(!sigaction(SIGSEGV, &action, NULL));
	for (i = 0; i < 5000; i++) {
		if (!sigsetjmp(back, 1)) {
			*null = 1;
			check(!"fault");
		}
	}
	check(segvs == 5000);
	printf("faults %ld\n", segvs);

	/* out of the alternate stack, which counts as left by that */
	alt = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(alt != MAP_FAILED);
	ss.ss_sp = alt;
	check(!sigaltstack(&ss, NULL));
	action.sa_flags = SA_ONSTACK;
	check(!sigaction(SIGSEGV, &action, NULL));
	for (i = 0; i < 5000; i++) {
		if (!sigsetjmp(back, 1)) {
			*null = 1;
			check(!"fault");
		}
		check(!sigaltstack(NULL, &ss) && ss.ss_flags == 0);
	}
	printf("faults %ld\n", segvs);

	/* asynchronously: out of user code, system calls, page faults */
	signal(SIGALRM, on_alarm);
	check(!setitimer(ITIMER_REAL, &fast, NULL));
	while (jumps < 1000) {
		int how = sigsetjmp(back, 1);

		if (how == 0) {
			armed = true;
			for (;;) {
				getppid();
				keep = keep * 1;
				madvise(alt, 65536, MADV_DONTNEED);
				alt[4096] = 1;
			}
		}
		check(how == 2);
		jumps++;
		check(keep == 0x1234);
		sigprocmask(SIG_BLOCK, NULL, &set);
		check(!sigismember(&set, SIGALRM));
	}
	check(!setitimer(ITIMER_REAL, &stop, NULL));
	printf("alarms %ld\n", jumps);

	printf("ok\n");
	return 0;
}
