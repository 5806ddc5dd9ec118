// SPDX-License-Identifier: MIT
/*
 * SYSCALL keeps every register but rax, rcx and r11; rcx is where it came back
 * to, r11 the flags.  The old int $0x80 keeps all but rax, where it exists.
 */
#include "guest.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>

static sigjmp_buf back;
static volatile int hits;

/* in and out: rax rbx rcx rdx rsi rdi rbp r8-r15, after, flags before/after, rsp kept */
struct regs {
	unsigned long r[15], after, flags[2], moved;
};

void do_syscall(struct regs *regs);
void do_int80(struct regs *regs);
#define BODY(name, insn)						\
__asm__(".text\n"							\
	#name ":	push %rbx; push %rbp; push %r12; push %r13\n"	\
	"push %r14; push %r15; push %rdi\n"				\
	"mov %rdi, saved(%rip); mov %rsp, saved+8(%rip)\n"		\
	"mov %rdi, %rax\n"						\
	"mov 8(%rax), %rbx; mov 16(%rax), %rcx; mov 24(%rax), %rdx\n"	\
	"mov 32(%rax), %rsi; mov 40(%rax), %rdi; mov 48(%rax), %rbp\n"	\
	"mov 56(%rax), %r8; mov 64(%rax), %r9; mov 72(%rax), %r10\n"	\
	"mov 80(%rax), %r11; mov 88(%rax), %r12; mov 96(%rax), %r13\n"	\
	"mov 104(%rax), %r14; mov 112(%rax), %r15\n"			\
	"pushfq; pop 128(%rax)\n"					\
	"mov (%rax), %rax\n"						\
	insn "\n"							\
	#name "_after: mov %rax, saved+16(%rip)\n"			\
	"mov saved(%rip), %rax\n"					\
	"pushfq; pop 136(%rax)\n"					\
	"mov %rbx, 8(%rax); mov %rcx, 16(%rax); mov %rdx, 24(%rax)\n"	\
	"mov %rsi, 32(%rax); mov %rdi, 40(%rax); mov %rbp, 48(%rax)\n"	\
	"mov %r8, 56(%rax); mov %r9, 64(%rax); mov %r10, 72(%rax)\n"	\
	"mov %r11, 80(%rax); mov %r12, 88(%rax); mov %r13, 96(%rax)\n"	\
	"mov %r14, 104(%rax); mov %r15, 112(%rax)\n"			\
	"mov saved+16(%rip), %rbx; mov %rbx, (%rax)\n"			\
	"lea " #name "_after(%rip), %rbx; mov %rbx, 120(%rax)\n"	\
	"mov %rsp, %rbx; sub saved+8(%rip), %rbx; mov %rbx, 144(%rax)\n" \
	"pop %rdi; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp\n"	\
	"pop %rbx; ret\n")
__asm__(".lcomm saved, 24\n");
BODY(do_syscall, "syscall");
BODY(do_int80, "int $0x80");

enum { RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8, R9, R10, R11 };

static void on_signal(int signo)
{
	(void)signo;
	hits++;
}

static void on_segv(int signo)
{
	(void)signo;
	siglongjmp(back, 1);
}

/* Calls nr with the given arguments (or patterns) and returns its result. */
static long run(void (*f)(struct regs *), long nr, unsigned long a,
		unsigned long b, bool old)
{
	struct regs in, out;
	int i;

	for (i = 0; i < 15; i++)
		in.r[i] = 0x1000100010001000 * (i % 7 + 1) + i * 0x123;
	in.r[RAX] = nr;
	in.r[old ? RBX : RDI] = a;
	in.r[old ? RCX : RSI] = b;
	out = in;
	f(&out);
	for (i = 1; i < 15; i++)
		if (old || (i != RCX && i != R11))
			check(out.r[i] == in.r[i]);
	if (!old) {
		check(out.r[RCX] == out.after);
		check(out.r[R11] == out.flags[0]);
	}
	check(out.flags[0] == out.flags[1]);
	check(out.moved == 0);
	return out.r[RAX];
}

int main(void)
{
	struct itimerval fast = { { 0, 300 }, { 0, 300 } };
	long pid = getpid();
	volatile int i;
	bool old = true;

	expect_ring();
	signal(SIGALRM, on_signal);
	signal(SIGSEGV, on_segv);
	for (i = 0; i < 2; i++) {
		int n;

		for (n = 0; n < 3000; n++) {
			check(run(do_syscall, SYS_getpid, n, 7, false) == pid);
			check(run(do_syscall, SYS_sched_yield, n, 7, false) == 0);
			check(run(do_syscall, SYS_close, 9999, n, false) == -EBADF);
			check(run(do_syscall, 100000 + n, 1, 2, false) == -ENOSYS);
			check(run(do_syscall, -1 - n, 1, 2, false) == -ENOSYS);
			/* only the lower half of rax counts */
			check(run(do_syscall, 0x7700000000 | SYS_getpid, 1, 2,
				  false) == pid);
		}
		/* the second time with signals in between */
		check(!setitimer(ITIMER_REAL, &fast, NULL));
	}
	while (hits < 300)
		check(run(do_syscall, SYS_getppid, 1, 2, false) == getppid());
	memset(&fast, 0, sizeof(fast));
	check(!setitimer(ITIMER_REAL, &fast, NULL));
	printf("syscall\n");

	/* 20 is getpid there, 6 close */
	if (sigsetjmp(back, 1))
		old = false;
	else
		old = run(do_int80, 20, 1, 2, true) == pid;
	for (i = 0; old && i < 3000; i++) {
		check(run(do_int80, 20, i, 2, true) == pid);
		check(run(do_int80, 6, 9999, i, true) == -EBADF);
		check(run(do_int80, 100000, i, 3, true) == -ENOSYS);
	}
	printf("int80\n");
	expect_ring();

	printf("ok\n");
	return 0;
}
