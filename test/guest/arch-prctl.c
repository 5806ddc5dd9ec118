// SPDX-License-Identifier: MIT
/*
 * FS and GS bases belong to the thread: they stay across system calls, page
 * faults, signals, preemption and fork, set by arch_prctl or by WRGSBASE.  In
 * ring 0, the GS base is the kernel's: the program is told so.
 */
#include "guest.h"
#include <asm/prctl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>

static bool fsgsbase;
static volatile sig_atomic_t hits;

static long prctl_(int code, unsigned long addr)
{
	return syscall(SYS_arch_prctl, code, addr);
}

static unsigned long gs_load(void)
{
	unsigned long value;

	__asm__ volatile("mov %%gs:0, %0" : "=r"(value));
	return value;
}

static unsigned long gs_base(void)
{
	unsigned long base;

	check(!prctl_(ARCH_GET_GS, (unsigned long)&base));
	if (fsgsbase) {
		unsigned long read;

		__asm__ volatile("rdgsbase %0" : "=r"(read));
		check(read == base);
	}
	return base;
}

static void set_gs(void *base, int how)
{
	if (how && fsgsbase)
		__asm__ volatile("wrgsbase %0" : : "r"(base));
	else
		check(!prctl_(ARCH_SET_GS, (unsigned long)base));
}

static void on_signal(int signo)
{
	(void)signo;
	gs_load();
	hits++;
}

/* Two threads or more per CPU, each with a GS base of its own. */
static void *work(void *arg)
{
	unsigned long cell = (unsigned long)arg * 0x1111, fs, self;
	int i, j;
	char *page;

	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(page != MAP_FAILED);
	__asm__("mov %%fs:0, %0" : "=r"(self));
	for (i = 0; i < 300; i++) {
		set_gs(&cell, i & 1);
		for (j = 0; j < 3000; j++)
			check(gs_load() == cell);
		check(gs_base() == (unsigned long)&cell);
		sched_yield();
		check(gs_load() == cell);
		madvise(page, 4096, MADV_DONTNEED);
		page[5] = 1;
		check(gs_load() == cell);
		check(!prctl_(ARCH_GET_FS, (unsigned long)&fs));
		check(fs == self);
	}
	return NULL;
}

/* The base of FS moves as well: a copy of what TLS needs is not made. */
static void move_fs(void)
{
	unsigned long fs;
	int i;

	check(!prctl_(ARCH_GET_FS, (unsigned long)&fs));
	for (i = 0; i < 1000; i++) {
		static unsigned long tcb[64] = { [0] = 42, [5] = 7 };
		unsigned long got, nr = SYS_arch_prctl, ret = nr;
		unsigned long *base = tcb;

		/* SYSCALL itself, as the C library would use TLS */
		__asm__ volatile("syscall\n"
				 "mov %%fs:40, %1\n"
				 "mov %3, %%rsi\n"
				 "mov %4, %%rax\n"
				 "syscall"
				 : "+a"(ret), "=&r"(got), "+S"(base)
				 : "r"(fs), "r"(nr), "D"(ARCH_SET_FS)
				 : "rcx", "r11", "memory");
		check(ret == 0 && got == 7);
	}
}

/* What stays of all that in ring 0: the refusals, and nothing that was set. */
static int kernel_gs(void)
{
	unsigned long cell = 0xabcdef, base = 1;

	check(prctl_(ARCH_SET_GS, (unsigned long)&cell) == -1 && errno == EPERM);
	check(prctl_(ARCH_SET_GS, 0xffff888000000000) == -1 && errno == EPERM);
	check(prctl_(ARCH_SET_FS, 0xffffffff81000000) == -1 && errno == EPERM);
	check(!prctl_(ARCH_GET_GS, (unsigned long)&base) && base == 0);
	printf("set\nfork\n");
	move_fs();
	printf("fs\nkept\nselector\nok\n");
	return 0;
}

int main(void)
{
	unsigned long cell = 0xabcdef, other = 0x123456;
	struct itimerval fast = { { 0, 300 }, { 0, 300 } }, never = { 0 };
	pthread_t threads[6];
	pid_t child;
	long i;

	expect_ring();
	if (cpl() == 0)
		return kernel_gs();
	fsgsbase = getauxval(AT_HWCAP2) & 2;
	signal(SIGALRM, on_signal);

	check(gs_base() == 0);
	set_gs(&cell, 0);
	check(gs_base() == (unsigned long)&cell && gs_load() == 0xabcdef);
	set_gs(&other, 1);
	check(gs_base() == (unsigned long)&other && gs_load() == 0x123456);

	/* kernel addresses are no base for a user */
	check(prctl_(ARCH_SET_GS, 0xffff888000000000) == -1 && errno == EPERM);
	check(prctl_(ARCH_SET_GS, 0x0000800000000000) == -1 && errno == EPERM);
	check(prctl_(ARCH_SET_FS, 0xffffffff81000000) == -1 && errno == EPERM);
	check(gs_load() == 0x123456);
	printf("set\n");

	child = fork();
	check(child >= 0);
	if (child == 0) {
		expect_ring();
		check(gs_base() == (unsigned long)&other);
		check(gs_load() == 0x123456);
		set_gs(&cell, 0);
		check(gs_load() == 0xabcdef);
		_exit(0);
	}
	join_child(child);
	check(gs_load() == 0x123456);
	printf("fork\n");

	move_fs();
	printf("fs\n");

	check(!setitimer(ITIMER_REAL, &fast, NULL));
	while (hits < 1000) {
		check(gs_load() == 0x123456);
		if (hits % 16 == 0)
			check(gs_base() == (unsigned long)&other);
	}
	for (i = 0; i < 6; i++)
		check(!pthread_create(&threads[i], NULL, work, (void *)(i + 1)));
	for (i = 0; i < 6; i++)
		check(!pthread_join(threads[i], NULL));
	check(gs_load() == 0x123456);
	printf("kept\n");

	/*
	 * The selector: loading a null one clears or keeps the base, no more.
	 * The handler, which reads through the base, must not run any longer.
	 */
	check(!setitimer(ITIMER_REAL, &never, NULL));
	__asm__ volatile("mov %0, %%gs" : : "r"(0));
	check(gs_base() == 0 || gs_base() == (unsigned long)&other);
	set_gs(&cell, 1);
	check(gs_load() == 0xabcdef);
	printf("selector\n");

	printf("ok\n");
	return 0;
}
