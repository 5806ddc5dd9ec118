// SPDX-License-Identifier: MIT
/*
 * Security; runs in ring 3, as root.  A signal frame with kernel selectors
 * does not lead into the kernel's ring, nor do registers set by a tracer.
 */
#include "guest.h"
#include <signal.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <ucontext.h>

static volatile unsigned short new_cs, new_ss;
static volatile unsigned long new_flags;

static void on_signal(int signo, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	unsigned short *selectors = (unsigned short *)&regs[REG_CSGSFS];

	(void)signo; (void)info;
	selectors[0] = new_cs;
	selectors[3] = new_ss;
	regs[REG_EFL] |= new_flags;
}

int main(void)
{
	static const unsigned short cs[] = { 0x10, 0x13, 0x08, 0x0b, 0x33, 0x18,
					     0x40, 0x43, 0x7b, 0 };
	static const unsigned short ss[] = { 0x18, 0x1b, 0x10, 0x2b, 0x28, 0 };
	struct sigaction action = { .sa_sigaction = on_signal,
				    .sa_flags = SA_SIGINFO };
	struct user_regs_struct regs;
	unsigned i, j, k, segv = 0, ring3 = 0;
	unsigned long flags;
	int status;
	pid_t child;

	expect_ring();
	check(cpl() == 3);
	for (i = 0; i < sizeof(cs) / 2; i++) {
		for (j = 0; j < sizeof(ss) / 2; j++) {
			for (k = 0; k < 2; k++) {
				child = fork();
				check(child >= 0);
				if (child == 0) {
					new_cs = cs[i];
					new_ss = ss[j];
					/* IOPL, AC and what else sounds good */
					new_flags = k ? 0x1a7000 : 0;
					check(!sigaction(SIGUSR1, &action, NULL));
					raise(SIGUSR1);
					if (cpl() != 3)
						_exit(1);
					__asm__("pushfq; pop %0" : "=r"(flags));
					_exit(flags & 0x3000 ? 2 : 0);
				}
				check(waitpid(child, &status, 0) == child);
				if (WIFEXITED(status)) {
					check(WEXITSTATUS(status) == 0);
					ring3++;
				} else {
					check(WTERMSIG(status) == SIGSEGV ||
					      WTERMSIG(status) == SIGBUS);
					segv++;
				}
			}
		}
	}
	check(segv > 0 && ring3 > 0);
	printf("frames\n");

	for (i = 0; i < sizeof(cs) / 2; i++) {
		child = fork();
		check(child >= 0);
		if (child == 0) {
			check(!ptrace(PTRACE_TRACEME, 0, 0, 0));
			raise(SIGSTOP);
			_exit(cpl() == 3 ? 0 : 1);
		}
		check(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
		check(!ptrace(PTRACE_GETREGS, child, 0, &regs));
		regs.cs = cs[i];
		if (ptrace(PTRACE_SETREGS, child, 0, &regs))
			check(errno == EIO);
		else
			check((cs[i] & 3) == 3);
		check(!ptrace(PTRACE_CONT, child, 0, 0));
		check(waitpid(child, &status, 0) == child);
		if (WIFSTOPPED(status)) {	/* by the fault it deserves */
			check(WSTOPSIG(status) == SIGSEGV ||
			      WSTOPSIG(status) == SIGBUS ||
			      WSTOPSIG(status) == SIGILL);
			check(!kill(child, SIGKILL));
			check(waitpid(child, &status, 0) == child);
		} else {
			check(!WIFEXITED(status) || WEXITSTATUS(status) == 0);
		}
	}
	printf("traced\n");

	printf("ok\n");
	return 0;
}
