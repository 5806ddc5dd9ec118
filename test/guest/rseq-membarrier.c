// SPDX-License-Identifier: MIT
/*
 * Restartable sequences, as registered by the C library: cpu_id follows the
 * thread, and whoever is interrupted in a sequence finds itself at its abort
 * handler.  And membarrier, which interrupts other CPUs.
 */
#include "guest.h"
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/time.h>

static volatile int hits;

static struct rseq *area(void)
{
	return (struct rseq *)((char *)__builtin_thread_pointer() +
			       __rseq_offset);
}

static void on_alarm(int signo)
{
	(void)signo;
	hits++;
}

/* Spins in a sequence for a while: 0 if undisturbed, 1 if aborted. */
static int sequence(long spins)
{
	int aborted = 0;

	__asm__ volatile goto(
		".pushsection .data.rseq, \"aw\"\n"
		".balign 32\n"
		"3: .long 0, 0\n"
		".quad 1f, 2f - 1f, 4f\n"
		".popsection\n"
		"lea 3b(%%rip), %%rax\n"
		"mov %%rax, 8(%0)\n"
		"1: mov %1, %%rcx\n"
		"5: dec %%rcx\n"
		"jnz 5b\n"
		"2:\n"
		".pushsection .text.abort, \"ax\"\n"
		".byte 0x0f, 0xb9, 0x3d\n"
		".long 0x53053053\n"
		"4: jmp %l[abort]\n"
		".popsection\n"
		: : "r"(area()), "r"(spins) : "rax", "rcx", "memory", "cc"
		: abort);
	goto out;
abort:
	aborted = 1;
out:
	area()->rseq_cs = 0;
	return aborted;
}

static volatile long ping, pong;
static volatile bool stop;

static void *spin(void *arg)
{
	while (!stop) {
		long seen = ping;

		__asm__ volatile("" : : : "memory");
		if (pong > seen)
			pong = seen;
		sched_yield();
	}
	return arg;
}

int main(void)
{
	struct itimerval fast = { { 0, 500 }, { 0, 500 } }, off = { 0 };
	int i, aborts = 0, undisturbed = 0;
	cpu_set_t all, one;
	pthread_t threads[3];
	unsigned cpu;
	long ret;

	expect_ring();
	check(__rseq_size > 0);
	check(!sched_getaffinity(0, sizeof(all), &all));
	for (i = 0; i < 2000; i++) {
		int want = i % CPU_SETSIZE;

		if (!CPU_ISSET(want % CPU_COUNT(&all), &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(want % CPU_COUNT(&all), &one);
		check(!sched_setaffinity(0, sizeof(one), &one));
		check(!syscall(SYS_getcpu, &cpu, NULL, NULL));
		check(area()->cpu_id == cpu && area()->cpu_id_start == cpu);
	}
	check(!sched_setaffinity(0, sizeof(all), &all));
	printf("cpu_id\n");

	signal(SIGALRM, on_alarm);
	for (i = 0; i < 100; i++)
		undisturbed += !sequence(10);
	check(undisturbed > 0);
	check(!setitimer(ITIMER_REAL, &fast, NULL));
	while (aborts < 200)
		aborts += sequence(1000000);
	check(hits > 0);
	check(!setitimer(ITIMER_REAL, &off, NULL));
	printf("aborts %d\n", aborts);

	ret = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
	check(ret >= 0);
	check(ret & MEMBARRIER_CMD_PRIVATE_EXPEDITED);
	check(!syscall(SYS_membarrier,
		       MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0));
	if (ret & MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE)
		check(!syscall(SYS_membarrier,
			MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE,
			0, 0));
	for (i = 0; i < 3; i++)
		check(!pthread_create(&threads[i], NULL, spin, NULL));
	for (i = 0; i < 500; i++) {
		ping++;
		check(!syscall(SYS_membarrier,
			       MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
		if (ret & MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE)
			check(!syscall(SYS_membarrier,
				MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE,
				0, 0));
	}
	stop = true;
	for (i = 0; i < 3; i++)
		check(!pthread_join(threads[i], NULL));
	printf("membarrier\n");

	printf("ok\n");
	return 0;
}
