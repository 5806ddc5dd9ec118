// SPDX-License-Identifier: MIT
/*
 * Threads driven from CPU to CPU thousands of times keep their TLS, bases,
 * vector and general registers, and are where they are told to be.
 */
#include "guest.h"
#include <asm/prctl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>

#define THREADS	6
#define ROUNDS	700

static __thread unsigned long tls;
static int cpus[1024], ncpus, ring;
static volatile int running = THREADS;
static volatile bool go_on = true;
static pid_t tids[THREADS];

/* The move itself is made with all these registers live. */
static void move_to(int cpu, unsigned long seed)
{
	unsigned long in[4] = { seed, ~seed, seed * 3, seed * 5 }, out[4];
	unsigned long ret = SYS_sched_setaffinity, bad;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	__asm__ volatile(
		"movups (%[in]), %%xmm6; movups 16(%[in]), %%xmm15\n"
		"mov (%[in]), %%rbx; mov 8(%[in]), %%r12\n"
		"mov 16(%[in]), %%r13; mov 24(%[in]), %%r14\n"
		"syscall\n"
		"xor %[bad], %[bad]\n"
		"cmp (%[in]), %%rbx; setne %b[bad]\n"
		"cmp 8(%[in]), %%r12; je 1f; inc %[bad]; 1:\n"
		"cmp 16(%[in]), %%r13; je 1f; inc %[bad]; 1:\n"
		"cmp 24(%[in]), %%r14; je 1f; inc %[bad]; 1:\n"
		"movups %%xmm6, (%[out]); movups %%xmm15, 16(%[out])\n"
		: "+a"(ret), [bad] "=&r"(bad)
		: [in] "r"(in), [out] "r"(out), "D"(0), "S"(sizeof(set)),
		  "d"(&set)
		: "rcx", "r11", "rbx", "r12", "r13", "r14", "xmm6", "xmm15",
		  "memory", "cc");
	check(ret == 0 && bad == 0);
	check(!memcmp(in, out, sizeof(in)));
}

/* In ring 0, the GS base is the kernel's, and the same for all. */
static void set_gs(unsigned long *cell)
{
	if (ring != 0)
		check(!syscall(SYS_arch_prctl, ARCH_SET_GS, cell));
}

static void *work(void *arg)
{
	unsigned long me = (long)arg + 1, cell = me * 0x10001, gs, self, fs;
	unsigned cpu, node;
	int i;

	check(cpl() == ring);
	tls = me;
	__asm__("mov %%fs:0, %0" : "=r"(self));
	set_gs(&cell);
	for (i = 0; i < ROUNDS; i++) {
		move_to(cpus[(i * me + i / 3) % ncpus], me * 77777 + i);
		check(!syscall(SYS_getcpu, &cpu, &node, NULL));
		check((int)cpu == cpus[(i * me + i / 3) % ncpus]);
		check(sched_getcpu() == (int)cpu);
		check(tls == me);
		if (ring != 0) {
			__asm__ volatile("mov %%gs:0, %0" : "=r"(gs));
			check(gs == cell);
		}
		__asm__ volatile("mov %%fs:0, %0" : "=r"(fs));
		check(fs == self);
		check(cpl() == ring);
	}
	__atomic_fetch_sub(&running, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* Does not move by itself: another thread pushes it, whenever. */
static void *pushed(void *arg)
{
	unsigned long me = (long)arg + 100, cell = me * 0x10001, gs = cell;
	unsigned long xmm[2] = { me, ~me }, out[2];

	tls = me;
	set_gs(&cell);
	__atomic_store_n(&tids[(long)arg], syscall(SYS_gettid),
			 __ATOMIC_SEQ_CST);
	while (go_on) {
		__asm__ volatile("movups %2, %%xmm9\n"
				 "mov $2000, %%ecx\n"
				 "1: cmpl $0, %4\n"
				 "je 3f\n"
				 "mov %%gs:0, %0\n"
				 "3: cmp %0, %3\n"
				 "jne 2f\n"
				 "dec %%ecx\n"
				 "jnz 1b\n"
				 "2: movups %%xmm9, %1"
				 : "+&r"(gs), "=m"(out)
				 : "m"(xmm), "m"(cell), "m"(ring)
				 : "rcx", "xmm9", "cc");
		check(gs == cell && out[0] == xmm[0] && out[1] == xmm[1]);
		check(tls == me);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	cpu_set_t set;
	long i;

	expect_ring();
	ring = cpl();
	check(!sched_getaffinity(0, sizeof(set), &set));
	for (i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &set))
			cpus[ncpus++] = i;
	check(ncpus > 0);

	for (i = 0; i < THREADS; i++)
		check(!pthread_create(&threads[i], NULL, work, (void *)i));
	for (i = 0; i < THREADS; i++)
		check(!pthread_join(threads[i], NULL));
	check(running == 0);
	printf("moved %d\n", THREADS * ROUNDS);

	for (i = 0; i < 3; i++)
		check(!pthread_create(&threads[i], NULL, pushed, (void *)i));
	for (i = 0; i < 2000; i++) {
		while (!__atomic_load_n(&tids[i % 3], __ATOMIC_SEQ_CST))
			sched_yield();
		CPU_ZERO(&set);
		CPU_SET(cpus[i / 3 % ncpus], &set);
		check(!sched_setaffinity(tids[i % 3], sizeof(set), &set));
	}
	go_on = false;
	for (i = 0; i < 3; i++)
		check(!pthread_join(threads[i], NULL));
	printf("pushed 2000\n");

	printf("ok\n");
	return 0;
}
