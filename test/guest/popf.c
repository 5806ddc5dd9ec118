// SPDX-License-Identifier: MIT
/*
 * POPF in ring 3 cannot turn interrupts off, and AC means nothing there.  Code
 * that pops nothing but the arithmetic flags (V8 does, after FPREM) must not
 * hang the machine in ring 0, nor lose its data.
 */
#include "guest.h"
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static volatile sig_atomic_t alarms;

static void on_alarm(int number)
{
	(void)number;
	alarms++;
}

/* Pops zeros, then does one thing; the flags that hold behind it. */
static unsigned long pop_and_store(volatile long *word)
{
	unsigned long flags;

	__asm__ volatile("lea -128(%%rsp), %%rsp; push $0; popf; movq $1, (%1); pushf; pop %0; lea 128(%%rsp), %%rsp"
			 : "=&r"(flags) : "r"(word) : "memory", "cc");
	return flags;
}

static unsigned long pop_and_call(void)
{
	unsigned long flags, number = SYS_getppid;

	__asm__ volatile("lea -128(%%rsp), %%rsp; push $0; popf; syscall; pushf; pop %0; lea 128(%%rsp), %%rsp"
			 : "=&r"(flags), "+a"(number) : : "rcx", "r11", "memory", "cc");
	return flags;
}

#define INTERRUPTS (1UL << 9)

int main(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } };
	volatile long word = 0;
	static volatile long fresh[4096];
	long i;

	expect_ring();
	check(pop_and_store(&word) & INTERRUPTS);
	check(word == 1);
	/* A page that is not there yet: two faults at once. */
	check(pop_and_store(&fresh[2048]) & INTERRUPTS);
	check(fresh[2048] == 1);
	check(pop_and_call() & INTERRUPTS);
	puts("flags");

	check(!sigaction(SIGALRM, &action, NULL) && !setitimer(ITIMER_REAL, &often, NULL));
	for (i = 0; alarms < 100; i++)
		check(i % 2 ? pop_and_store(&word) : pop_and_call());
	puts("interrupts");

	puts("ok");
	return 0;
}
