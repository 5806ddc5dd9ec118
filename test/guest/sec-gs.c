// SPDX-License-Identifier: MIT
/*
 * Security; runs in ring 3, as root.  A GS base of the program's choice never
 * becomes the kernel's: it is set to anything the CPU takes, then the kernel
 * is entered in every way there is.
 */
#include "guest.h"
#include <asm/prctl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>

static volatile sig_atomic_t hits;
static volatile int faults;
static sigjmp_buf back;
static char *volatile null;
static bool fsgsbase;
static unsigned char fake[8192] __attribute__((aligned(4096)));

static const unsigned long bases[] = {
	0, 1, 0x1000, 0x7ffffffff000, 0xffff800000000000, 0xffff888000000000,
	0xfffffe0000000000, 0xffffffff81000000, 0xfffffffffffff000,
	0xffffffffffffffff, 0xffffffff82000000,
};

static void on_alarm(int signo)
{
	(void)signo;
	check(cpl() == 3);
	hits++;
}

static void on_fault(int signo)
{
	(void)signo;
	check(cpl() == 3);
	faults++;
	siglongjmp(back, 1);
}

static void set(unsigned long base)
{
	if (fsgsbase)
		__asm__ volatile("wrgsbase %0" : : "r"(base));
	else
		syscall(SYS_arch_prctl, ARCH_SET_GS, base);
}

static unsigned long get(void)
{
	unsigned long base = 0;

	check(!syscall(SYS_arch_prctl, ARCH_GET_GS, &base));
	return base;
}

static void enter(unsigned long base, char *page)
{
	volatile int i;
	long ret;

	for (i = 0; i < 40; i++) {
		set(base);
		__asm__ volatile("syscall" : "=a"(ret) : "0"(SYS_getpid)
				 : "rcx", "r11", "memory");
		check(ret == getpid());
		check(!madvise(page, 4096, MADV_DONTNEED));
		set(base);
		page[3] = 1;
		if (!sigsetjmp(back, 1))
			*(volatile char *)null = 1;
		set(base);
		if (!sigsetjmp(back, 1))
			__asm__ volatile("ud2");
		set(base);
		if (!sigsetjmp(back, 1))
			__asm__ volatile("int3");
		set(base);
		if (!sigsetjmp(back, 1))
			*(volatile char *)0x0000800000000000 = 1;
		set(base);
		if (!sigsetjmp(back, 1))
			__asm__ volatile(".byte 0xf1");
		/* one step by TF, right over a system call */
		set(base);
		if (!sigsetjmp(back, 1))
			__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq\n"
					 "syscall; nop; nop"
					 : "=a"(ret) : "0"(SYS_getpid)
					 : "rcx", "r11", "memory", "cc");
		/* the old entry, which may not be there */
		set(base);
		if (!sigsetjmp(back, 1))
			__asm__ volatile("int $0x80" : "=a"(ret) : "0"(20)
					 : "r8", "r9", "r10", "r11", "memory");
		/* privileged, so never to be had here */
		if (!sigsetjmp(back, 1)) {
			__asm__ volatile("swapgs");
			check(!"swapgs");
		}
		if (!sigsetjmp(back, 1)) {
			__asm__ volatile("cli");
			check(!"cli");
		}
		/* the kernel must still take what GS holds for a user's */
		set(base);
		if (!sigsetjmp(back, 1))
			__asm__ volatile("movb %%gs:0, %%al" : : : "rax");
		check(cpl() == 3);
	}
}

/* Spins with a hostile base, for interrupts to arrive. */
static void *spin(void *arg)
{
	unsigned long i;
	int round;

	for (round = 0; round < 30; round++) {
		set(bases[((long)arg + round) % (sizeof(bases) / 8)]);
		for (i = 0; i < 200000; i++)
			__asm__ volatile("" : : : "memory");
	}
	check(cpl() == 3);
	return NULL;
}

int main(void)
{
	struct itimerval fast = { { 0, 500 }, { 0, 500 } };
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP };
	pthread_t threads[4];
	unsigned i;
	char *page;
	sigset_t only_main;

	expect_ring();
	check(cpl() == 3);
	fsgsbase = getauxval(AT_HWCAP2) & 2;
	for (i = 0; i < 4; i++)
		signal(signals[i], on_fault);
	signal(SIGALRM, on_alarm);
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(page != MAP_FAILED);

	for (i = 0; i < sizeof(bases) / 8; i++) {
		long ret = syscall(SYS_arch_prctl, ARCH_SET_GS, bases[i]);

		check(bases[i] >= 0x7ffffffff000 ? ret == -1 && errno == EPERM : ret == 0);
	}
	syscall(SYS_arch_prctl, ARCH_SET_GS, fake);
	check(get() == (unsigned long)fake);
	printf("refused\n");

	check(!setitimer(ITIMER_REAL, &fast, NULL));
	for (i = 0; i < sizeof(bases) / 8; i++)
		enter(bases[i], page);
	memset(fake, 0xff, sizeof(fake));
	enter((unsigned long)fake, page);
	enter((unsigned long)main, page);
	check(faults > 1000);
	printf("entered\n");

	sigemptyset(&only_main);
	sigaddset(&only_main, SIGALRM);
	for (i = 0; i < 4; i++) {
		pthread_sigmask(SIG_BLOCK, &only_main, NULL);
		check(!pthread_create(&threads[i], NULL, spin,
				      (void *)(long)(i * 3)));
		pthread_sigmask(SIG_UNBLOCK, &only_main, NULL);
	}
	set(0xffff888000000000);
	while (hits < 300)
		__asm__ volatile("" : : : "memory");
	for (i = 0; i < 4; i++)
		check(!pthread_join(threads[i], NULL));
	set(0);
	check(cpl() == 3);
	printf("interrupted\n");

	printf("ok\n");
	return 0;
}
