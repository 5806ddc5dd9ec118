// SPDX-License-Identifier: MIT
/* clone, clone3 and unshare without the C library in between. */
#include "guest.h"
#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static volatile int ring;
static volatile long counter;
static volatile int done[8];
static int ended[8];
static unsigned long tcb[8][16];

/* A thread has nothing but its stack: no system library call, no errno. */
__attribute__((noinline)) static void body(long n)
{
	unsigned long self, cell;
	long i;

	__asm__ volatile("mov %%fs:0, %0; mov %%fs:16, %1"
			 : "=r"(self), "=r"(cell));
	done[n] = self == (unsigned long)tcb[n] && cell == 0x100ul + n &&
		  cpl() == ring;
	for (i = 0; i < 1000; i++)
		__atomic_fetch_add(&counter, 1, __ATOMIC_SEQ_CST);
}

static void thread(long n, int with_clone3)
{
	char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES |
			      CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
			      CLONE_SETTLS | CLONE_CHILD_CLEARTID |
			      CLONE_CHILD_SETTID;
	struct clone_args args = {
		.flags = flags, .stack = (unsigned long)stack,
		.stack_size = 65536, .tls = (unsigned long)tcb[n],
		.child_tid = (unsigned long)&ended[n],
	};
	long ret;

	check(stack != MAP_FAILED);
	tcb[n][0] = (unsigned long)tcb[n];
	tcb[n][2] = 0x100 + n;
	ended[n] = -1;
	{
		/* what clone3 does not take is not looked at by it */
		register long r8 __asm__("r8") = (long)tcb[n];
		register long r10 __asm__("r10") = (long)&ended[n];
		register long r12 __asm__("r12") = n;
		register void *r13 __asm__("r13") = body;

		__asm__ volatile(
			"syscall\n"
			"test %%rax, %%rax\n"
			"jnz 1f\n"
			"mov %%r12, %%rdi\n"
			"call *%%r13\n"
			"mov %[exit], %%eax; xor %%edi, %%edi; syscall; ud2\n"
			"1:"
			: "=a"(ret)
			: "0"(with_clone3 ? SYS_clone3 : SYS_clone),
			  "D"(with_clone3 ? (unsigned long)&args : flags),
			  "S"(with_clone3 ? sizeof(args) :
			      (unsigned long)stack + 65536),
			  "d"(&ended[n]), "r"(r8), "r"(r10), "r"(r12),
			  "r"(r13), [exit] "i"(SYS_exit)
			: "rcx", "r11", "memory");
	}
	check(ret > 0);
}

static void join(long n)
{
	int tid;

	while ((tid = __atomic_load_n(&ended[n], __ATOMIC_SEQ_CST)) != 0)
		syscall(SYS_futex, &ended[n], FUTEX_WAIT, tid, NULL, NULL, 0);
	check(done[n] == 1);
}

static volatile int shared;

static int borrow(void *arg)
{
	shared = (long)arg;
	return cpl() == ring ? 0 : 1;
}

int main(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	struct clone_args args = { .exit_signal = SIGCHLD };
	int status, i, pidfd;
	siginfo_t info;
	long n;
	pid_t pid;

	expect_ring();
	ring = cpl();
	for (i = 0; i < 20; i++) {
		for (n = 0; n < 8; n++)
			thread(n, (n & 1));
		for (n = 0; n < 8; n++)
			join(n);
	}
	printf("threads %ld\n", counter);

	/* as fork, with a pidfd */
	for (i = 0; i < 50; i++) {
		args.flags = CLONE_PIDFD;
		args.pidfd = (unsigned long)&pidfd;
		pid = syscall(SYS_clone3, &args, sizeof(args));
		check(pid >= 0);
		if (pid == 0)
			_exit(cpl() == ring ? 9 : 1);
		check(!waitid(P_PIDFD, pidfd, &info, WEXITED));
		check(info.si_pid == pid && info.si_status == 9);
		close(pidfd);
	}
	printf("pidfd\n");

	/* as vfork: in the same memory, the parent waits */
	for (i = 0; i < 200; i++) {
		pid = clone(borrow, stack + sizeof(stack),
			    CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)(long)i);
		check(pid > 0 && shared == i);
		check(waitpid(pid, &status, 0) == pid && status == 0);
	}
	printf("vfork\n");

	/* kernel addresses are no TLS */
	args = (struct clone_args){ .flags = CLONE_SETTLS,
		.exit_signal = SIGCHLD, .tls = 0xffff888000000000 };
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		for (;;)
			syscall(SYS_exit_group, 0);
	check(pid == -1 && errno == EPERM);
	check(syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0) == -1 &&
	      errno == EINVAL);
	printf("refused\n");

	/* a table of descriptors of one's own */
	pid = syscall(SYS_clone, CLONE_FILES | CLONE_FS | SIGCHLD, 0, 0, 0, 0);
	check(pid >= 0);
	if (pid == 0) {
		check(!unshare(CLONE_FILES | CLONE_FS));
		close(0);
		check(!chdir("/proc"));
		_exit(0);
	}
	join_child(pid);
	check(dup2(0, 0) == 0);
	printf("unshare\n");

	printf("ok\n");
	return 0;
}
