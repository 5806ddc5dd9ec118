// SPDX-License-Identifier: MIT
/*
 * The contract of the kernel's entry for system calls that are calls, which
 * ring 0 gets as AT_SYSINFO: that of the SYSCALL instruction, but for the
 * flags.  Elsewhere a stub executes the instruction, as in our C library.
 */
#include "guest.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>

struct regs {
	unsigned long rax, rdi, rsi, rdx, r10, r8, r9;
	unsigned long rbx, rbp, r12, r13, r14, r15, rsp_kept, below;
};

void stub(void);
void call_entry(struct regs *regs);
__attribute__((visibility("hidden"))) unsigned long entry;

/*
 * Loads the registers, calls and stores them.  The struct's address waits at
 * the top of the stack, a value in the red zone must survive.
 */
asm(".text\n"
    "stub:\n"
    "	sub $2, %rcx\n"
    "	jmp *%rcx\n"
    ".globl call_entry\n"
    "call_entry:\n"
    "	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "	push %rdi\n"
    "	movq $0x5a5a, -8(%rsp)\n"
    "	mov 0(%rdi), %rax\n"
    "	mov 16(%rdi), %rsi; mov 24(%rdi), %rdx; mov 32(%rdi), %r10\n"
    "	mov 40(%rdi), %r8; mov 48(%rdi), %r9; mov 56(%rdi), %rbx\n"
    "	mov 64(%rdi), %rbp; mov 72(%rdi), %r12; mov 80(%rdi), %r13\n"
    "	mov 88(%rdi), %r14; mov 96(%rdi), %r15; mov 8(%rdi), %rdi\n"
    "	lea 1f(%rip), %rcx\n"
    "	jmp *entry(%rip)\n"
    "	syscall\n"
    "1:	mov (%rsp), %rcx\n"
    "	mov %rax, 0(%rcx); mov %rdi, 8(%rcx); mov %rsi, 16(%rcx)\n"
    "	mov %rdx, 24(%rcx); mov %r10, 32(%rcx); mov %r8, 40(%rcx)\n"
    "	mov %r9, 48(%rcx); mov %rbx, 56(%rcx); mov %rbp, 64(%rcx)\n"
    "	mov %r12, 72(%rcx); mov %r13, 80(%rcx); mov %r14, 88(%rcx)\n"
    "	mov %r15, 96(%rcx); mov %rsp, 104(%rcx)\n"
    "	mov -8(%rsp), %rdi; mov %rdi, 112(%rcx)\n"
    "	pop %rdi\n"
    "	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "	ret\n");

static long call(unsigned long nr, unsigned long a, unsigned long b,
		 unsigned long c, unsigned long d, unsigned long e,
		 unsigned long f)
{
	struct regs regs = { nr, a, b, c, d, e, f, 1, 2, 3, 4, 5, 6, 0, 0 };

	call_entry(&regs);
	check(regs.rdi == a && regs.rsi == b && regs.rdx == c);
	check(regs.r10 == d && regs.r8 == e && regs.r9 == f);
	check(regs.rbx == 1 && regs.rbp == 2 && regs.r12 == 3);
	check(regs.r13 == 4 && regs.r14 == 5 && regs.r15 == 6);
	check(regs.below == 0x5a5a);
	return regs.rax;
}

static volatile sig_atomic_t ticks;

static void on_tick(int signo)
{
	(void)signo;
	ticks++;
	/* the handler's own calls, inside the one that was interrupted */
	check(call(SYS_getpid, 0, 0, 0, 0, 0, 0) == getpid());
}

int main(void)
{
	struct sigaction action = { .sa_handler = on_tick };
	struct itimerval timer = { { 0, 200 }, { 0, 200 } };
	long pid = getpid(), addr, calls = 0;
	int fds[2];
	char byte;

	expect_ring();
	entry = getauxval(AT_SYSINFO);
	check(!entry == (cpl() == 3));
	if (!entry)
		entry = (unsigned long)stub;

	check(call(SYS_getpid, 7, 8, 9, 10, 11, 12) == pid);
	addr = call(SYS_mmap, 0, 8192, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1ul, 0);
	check(addr > 0 && !(addr & 4095));
	*(volatile char *)addr = 1;
	check(call(SYS_munmap, addr, 8192, 0, 0, 0, 0) == 0);
	check(call(SYS_close, -1ul, 0, 0, 0, 0, 0) == -EBADF);
	printf("calls\n");

	/* numbers that are none, the last ones addresses without code */
	check(call(SYS_restart_syscall, 0, 0, 0, 0, 0, 0) == -EINTR);
	check(call(1000, 1, 2, 3, 4, 5, 6) == -ENOSYS);
	check(call(0xffffffff, 1, 2, 3, 4, 5, 6) == -ENOSYS);
	check(call(-1ul, 1, 2, 3, 4, 5, 6) == -ENOSYS);
	check(call((unsigned long)main, 1, 2, 3, 4, 5, 6) == -ENOSYS ||
	      cpl() == 3);
	/* an int counts: this one is read() */
	check(call(0xffff888000000000, -1ul, 0, 0, 0, 0, 0) == -EBADF);
	printf("numbers\n");

	/* calls that need all registers */
	if (call(SYS_fork, 0, 0, 0, 0, 0, 0) == 0)
		call(SYS_exit_group, 3, 0, 0, 0, 0, 0);
	check(wait(&fds[0]) > 0 && WIFEXITED(fds[0]) && WEXITSTATUS(fds[0]) == 3);
	printf("fork\n");

	/* under a timer: each signal at whatever instruction it hits */
	check(!sigaction(SIGALRM, &action, NULL));
	check(!setitimer(ITIMER_REAL, &timer, NULL));
	while (ticks < 2000) {
		check(call(SYS_getpid, 7, 8, 9, 10, 11, 12) == pid);
		calls++;
	}
	check(calls > 0);
	/* and while it blocks: restarted if asked for, interrupted if not */
	check(!pipe(fds));
	while (ticks < 3000)
		check(call(SYS_read, fds[0], (unsigned long)&byte, 1, 0, 0, 0) ==
		      -EINTR);
	timer.it_value.tv_usec = timer.it_interval.tv_usec = 0;
	check(!setitimer(ITIMER_REAL, &timer, NULL));
	printf("signals\nok\n");
	return 0;
}
