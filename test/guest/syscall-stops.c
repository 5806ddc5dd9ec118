// SPDX-License-Identifier: MIT
/*
 * A tracer sees the entry and the exit of each system call that is made as a
 * call, in turn, though the tracee has other work to do on its way out: signals
 * that another process sends all the time, or a state that its thread flags
 * keep (RDTSC is disabled for it).
 */
#include "guest.h"
#include <signal.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <linux/ptrace.h>

#define ENTRIES	1500

void stub(void);
asm(".text\nstub: sub $2, %rcx; jmp *%rcx\n");

static unsigned long entry;

static long call(long nr, long a)
{
	long ret = nr;

	__asm__ volatile("lea 1f(%%rip), %%rcx; jmp *%1; syscall; 1:"
			 : "+a"(ret) : "m"(entry), "D"(a) : "rcx", "r11", "memory", "cc");
	return ret;
}

static void on_signal(int signo)
{
	(void)signo;
}

static __attribute__((noreturn)) void tracee(bool keep_flag)
{
	long parent = getppid();

	signal(SIGUSR1, on_signal);
	/* nothing below reads the time */
	if (keep_flag)
		check(!prctl(PR_SET_TSC, PR_TSC_SIGSEGV));
	check(!ptrace(PTRACE_TRACEME, 0, 0, 0));
	raise(SIGSTOP);
	for (;;)
		if (call(SYS_getppid, 0) != parent || call(SYS_close, -1) != -EBADF)
			_exit(1);
}

/* Signals without pause, while others get a turn. */
static __attribute__((noreturn)) void storm(pid_t target)
{
	volatile int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!kill(target, SIGUSR1))
		for (i = 0; i < 2000; i++)
			;
	_exit(0);
}

static void trace(const char *name, bool signals, bool keep_flag)
{
	long entries = 0, twice = 0, without = 0, other = 0, wrong = 0, passed = 0;
	struct __ptrace_syscall_info info;
	pid_t child, sender = 0;
	long number = -1, last = -1;
	int status, signo = 0;

	child = fork();
	check(child >= 0);
	if (child == 0)
		tracee(keep_flag);
	check(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
	check(!ptrace(PTRACE_SETOPTIONS, child, 0,
		      PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
	if (signals) {
		sender = fork();
		check(sender >= 0);
		if (sender == 0)
			storm(child);
	}
	/* number: of the call that it is in, or -1 */
	while (entries < ENTRIES || (signals && passed <= 10)) {
		check(!ptrace(PTRACE_SYSCALL, child, 0, signo));
		signo = 0;
		check(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
		if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			signo = WSTOPSIG(status);
			check(signo == SIGUSR1);
			passed++;
			continue;
		}
		check(ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(info), &info) > 0);
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
			entries++;
			twice += number != -1;
			number = info.entry.nr;
			/* a handler's return, or one in turn with the other */
			if (number == SYS_rt_sigreturn)
				continue;
			wrong += number != SYS_getppid && number != SYS_close;
			wrong += number == last;
			last = number;
		} else if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
			without += number == -1;
			if (number == SYS_getppid)
				wrong += info.exit.rval != getpid();
			else if (number == SYS_close)
				wrong += info.exit.rval != -EBADF;
			number = -1;
		} else {
			other++;
		}
	}
	check(!kill(child, SIGKILL));
	check(waitpid(child, &status, 0) == child);
	if (signals) {
		kill(sender, SIGKILL);
		check(waitpid(sender, &status, 0) == sender);
	}
	printf("%s: %ld exits without entry, %ld entries without exit, %ld others, %ld wrong\n",
	       name, without, twice, other, wrong);
}

int main(void)
{
	expect_ring();
	entry = getauxval(AT_SYSINFO);
	check(!entry == (cpl() == 3));
	if (!entry)
		entry = (unsigned long)stub;
	trace("alone", false, false);
	trace("signals", true, false);
	trace("flag", false, true);
	trace("flag and signals", true, true);
	printf("ok\n");
	return 0;
}
