// SPDX-License-Identifier: MIT
/*
 * Security; runs in ring 3, unprivileged.  The kernel's entry code has paths for
 * user code in ring 0.  Neither an IRET that fails on the espfix stack, which is
 * read-only, nor a jump to a guessed address of the entry leads ring 3 there or
 * says that the guess was right.
 */
#include "guest.h"
#include <asm/ldt.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#define UC_STRICT_RESTORE_SS 4
#define LDT(entry) ((entry) << 3 | 7)

#define MARK 0x1234ul
#define ENTRY_SIZE 1024

static sigjmp_buf back;
static volatile unsigned long stopped_at;
static volatile unsigned short bad_cs;

/* The frame to return to: a stack segment of 16 bits, and no code segment. */
static void spoil(int signo, siginfo_t *info, void *context)
{
	ucontext_t *frame = context;
	unsigned short *selectors = (unsigned short *)&frame->uc_mcontext.gregs[REG_CSGSFS];

	(void)signo; (void)info;
	frame->uc_flags |= UC_STRICT_RESTORE_SS;
	selectors[0] = bad_cs;
	selectors[3] = LDT(0);
	frame->uc_mcontext.gregs[REG_RIP] = 0;
}

static void on_fault(int signo, siginfo_t *info, void *context)
{
	(void)signo; (void)info;
	stopped_at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	siglongjmp(back, 1);
}

static void set_entry(unsigned int number, bool code)
{
	struct user_desc entry = {
		.entry_number = number, .limit = 0xfffff, .limit_in_pages = 1,
		.seg_32bit = code, .contents = code ? MODIFY_LDT_CONTENTS_CODE : 0,
		.seg_not_present = code,
	};

	check(!syscall(SYS_modify_ldt, 1, &entry, sizeof(entry)));
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = spoil, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	stack_t stack = { .ss_size = 1 << 16 };
	/* What the ring 0 program was told: an attacker would have to guess it. */
	static unsigned long entry, to;
	static int i;

	expect_ring();
	stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	check(stack.ss_sp != MAP_FAILED && !sigaltstack(&stack, NULL));
	set_entry(0, false);
	set_entry(1, true);
	check(!sigaction(SIGUSR1, &action, NULL));
	action.sa_sigaction = on_fault;
	action.sa_flags |= SA_NODEFER;
	check(!sigaction(SIGSEGV, &action, NULL));
	check(!sigaction(SIGBUS, &action, NULL));
	check(!setuid(1000));

	/* a segment that is not present, one that is not there, and a null one */
	for (i = 0; i < 300; i++) {
		static const unsigned short selectors[] = { LDT(1), LDT(7), 3 };

		bad_cs = selectors[i % 3];
		if (!sigsetjmp(back, 1))
			raise(SIGUSR1);
	}
	printf("espfix\n");

	entry = strtoul(getenv("UKL_ENTRY"), NULL, 16);
	check(entry >> 63);
	for (to = entry; to < entry + ENTRY_SIZE; to++) {
		if (!sigsetjmp(back, 1))
			__asm__ volatile("jmp *%0" : : "r"(to), "c"(MARK));
		check(stopped_at == to);
	}
	printf("addresses\n");
	printf("ok\n");
	return 0;
}
