// SPDX-License-Identifier: MIT
/*
 * A signal frame is the program's to change.  Whatever it holds, returning
 * through it harms nobody but the program.  Each case runs in a child; the
 * parent prints only what is the same in both rings (ring 0 does not take its
 * selectors from the frame).
 */
#include "guest.h"
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

static volatile int which;
static char *good_stack;

static void after(void)
{
	_exit(7);
}

enum { RIP_ODD, RIP_ODD_HIGH, RIP_NULL, RIP_HOLE, RSP_ODD, RSP_ODD_HIGH,
       RSP_NULL, RSP_HOLE, CS_ZERO, CS_KERNEL, CS_TSS, CS_COMPAT, SS_ZERO, SS_KERNEL,
       SS_LDT, SELECTORS_FULL, FLAGS_FULL, FPU_BAD, FPU_NULL, FPU_ODD,
       MASK_ALL, CASES };

static const char *const names[CASES] = {
	"rip not canonical", "rip not canonical, high", "rip null",
	"rip in a hole", "rsp not canonical", "rsp not canonical, high",
	"rsp null", "rsp in a hole", "cs zero", "cs kernel", "cs tss",
	"cs compat", "ss zero", "ss kernel", "ss ldt", "all selector bits",
	"all flags", "bad fpu state", "no fpu state", "fpu pointer odd",
	"all masked",
};

/* On its own stack, as the one at hand may be no good. */
static void on_segv(int signo, siginfo_t *info, void *context)
{
	(void)signo; (void)info; (void)context;
	_exit(9);
}

static void on_signal(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *regs = uc->uc_mcontext.gregs;
	unsigned short *selectors = (unsigned short *)&regs[REG_CSGSFS];

	(void)signo; (void)info;
	regs[REG_RIP] = (long)after;
	/* a function starts 8 off 16 */
	regs[REG_RSP] = (long)good_stack + 8;
	switch (which) {
	case RIP_ODD:		regs[REG_RIP] = 0x0000800000000000; break;
	case RIP_ODD_HIGH:	regs[REG_RIP] = 0xffff7fffffffffff; break;
	case RIP_NULL:		regs[REG_RIP] = 0; break;
	case RIP_HOLE:		regs[REG_RIP] = 0xfffffffffffff000; break;
	case RSP_ODD:		regs[REG_RSP] = 0x0000900000000000; break;
	case RSP_ODD_HIGH:	regs[REG_RSP] = 0xffff700000000000; break;
	case RSP_NULL:		regs[REG_RSP] = 8; break;
	case RSP_HOLE:		regs[REG_RSP] = 0xfffffffffffff100; break;
	case CS_ZERO:		selectors[0] = 0; break;
	case CS_KERNEL:		selectors[0] = 0x10; break;
	case CS_TSS:		selectors[0] = 0x43; break;
	case CS_COMPAT:		selectors[0] = 0x23; break;
	case SS_ZERO:		selectors[3] = 0; break;
	case SS_KERNEL:		selectors[3] = 0x18; break;
	case SS_LDT:		selectors[3] = 0xffff; break;
	case SELECTORS_FULL:	memset(selectors, 0xff, 8); break;
	case FLAGS_FULL:	regs[REG_EFL] = -1 & ~0x100; break;
	case FPU_BAD:
		memset(uc->uc_mcontext.fpregs, 0xff, 512);
		break;
	case FPU_NULL:		uc->uc_mcontext.fpregs = NULL; break;
	case FPU_ODD:
		uc->uc_mcontext.fpregs = (void *)0xffff700000000000;
		break;
	case MASK_ALL:		memset(&uc->uc_sigmask, 0xff, 8); break;
	}
}

/* Does something with the stack and the memory, then ends. */
static void run(int n, int caught)
{
	struct sigaction action = { .sa_sigaction = on_signal,
				    .sa_flags = SA_SIGINFO };
	struct sigaction segv = { .sa_sigaction = on_segv,
				  .sa_flags = SA_SIGINFO | SA_ONSTACK };
	stack_t alt = { .ss_size = 65536 };
	char *stack;

	which = n;
	stack = mmap(NULL, 131072, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(stack != MAP_FAILED);
	alt.ss_sp = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(alt.ss_sp != MAP_FAILED);
	good_stack = stack + 65536;
	check(!sigaltstack(&alt, NULL));
	if (caught) {
		check(!sigaction(SIGSEGV, &segv, NULL));
		check(!sigaction(SIGBUS, &segv, NULL));
	}
	check(!sigaction(SIGUSR1, &action, NULL));
	raise(SIGUSR1);
	_exit(8);
}

int main(void)
{
	int n, caught, status, round, bad = 0;
	pid_t child;
	bool died, fine;

	expect_ring();
	for (n = 0; n < CASES; n++) {
		for (caught = 0; caught < 2; caught++) {
			for (round = 0; round < 10; round++) {
				child = fork();
				check(child >= 0);
				if (child == 0)
					run(n, caught);
				check(waitpid(child, &status, 0) == child);
				died = WIFSIGNALED(status) &&
				       (WTERMSIG(status) == SIGSEGV ||
					WTERMSIG(status) == SIGBUS);
				died |= WIFEXITED(status) &&
					WEXITSTATUS(status) == 9;
				fine = WIFEXITED(status) &&
				       WEXITSTATUS(status) == 7;
				/* these have nothing to go on with */
				if (n <= RIP_HOLE)
					fine = false;
				/* and these nothing to die of */
				if (n == FLAGS_FULL || n == FPU_NULL ||
				    n == MASK_ALL)
					died = false;
				if (!died && !fine) {
					printf("%s: status %x\n", names[n],
					       status);
					bad++;
				}
			}
		}
		printf("%s\n", names[n]);
	}

	check(!bad);
	printf("ok\n");
	return 0;
}
