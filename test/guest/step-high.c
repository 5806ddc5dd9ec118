// SPDX-License-Identifier: MIT
/*
 * Single steps while the stack pointer is in the kernel's half, outside of the
 * jump and at it.  #DB, which goes by RIP and RSP, takes the kernel for what is
 * stepped; it must neither complain nor stop the steps that follow.
 */
#include "guest.h"
#include <signal.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#define HIGH "$0xffffffff80000000"

static volatile int steps;

static void on_step(int signo)
{
	steps += signo == SIGTRAP;
}

/* From the first POPF to the second, each instruction is stepped. */
#define STEPPED(insns, operands...)					\
	__asm__ volatile("lea -128(%%rsp), %%rsp\n"			\
			 "pushf\n"					\
			 "orl $0x100, (%%rsp)\n"			\
			 "popf\n"					\
			 insns "\n"					\
			 "pushf\n"					\
			 "andl $~0x100, (%%rsp)\n"			\
			 "popf\n"					\
			 "lea 128(%%rsp), %%rsp"			\
			 : operands)

int main(void)
{
	static char stack[65536];
	stack_t alternative = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction action = { .sa_handler = on_step, .sa_flags = SA_ONSTACK };
	unsigned long jump = getauxval(AT_SYSINFO), kept;	/* none in ring 3 */
	long pid = SYS_getpid;
	int before;

	expect_ring();
	check(!sigaltstack(&alternative, NULL) && !sigaction(SIGTRAP, &action, NULL));

	STEPPED("mov %%rsp, %0; mov " HIGH ", %%rsp; nop; nop; nop; mov %0, %%rsp",
		"=&b"(kept) : : "memory", "cc");
	check(steps > 0);
	before = steps;
	STEPPED("nop; nop; nop", : : "memory", "cc");
	printf("outside: %s\n", steps - before >= 4 ? "stepped" : "not stepped");

	before = steps;
	STEPPED("mov %%rsp, %0; mov " HIGH ", %%rsp\n"
		"lea 2f(%%rip), %%rcx; test %2, %2; jz 1f; jmp *%2\n"
		"1: syscall\n"
		"2: mov %0, %%rsp; nop; nop; nop",
		"=&b"(kept), "+a"(pid) : "r"(jump) : "memory", "cc", "rcx", "r11");
	check(steps - before >= 4);
	printf("at the jump: %s\n", pid == getpid() ? "stepped" : "wrong");
	return 0;
}
