// SPDX-License-Identifier: MIT
/*
 * A parent traces its child: steps, system calls, breakpoints, watchpoints,
 * memory and registers.  The tracer sees CS 0x33 whatever the ring.
 */
#include "guest.h"
#include <elf.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>

#define LOOPS	150

static volatile long word = 1, watched, redirected;

/* Five instructions a round, one of them a system call. */
void loop(long n);
extern char loop_start[], loop_call[], loop_end[], target_insn[];
__asm__(".text\n"
	"loop:\n"
	"loop_start:	mov $39, %eax\n"
	"loop_call:	syscall\n"
	"		nop\n"
	"		dec %rdi\n"
	"		jnz loop_start\n"
	"loop_end:	ret\n");

/* Returns what the tracer may have changed on the way. */
long target(long a);
__asm__(".text\n"
	"target:	mov %rdi, %rax\n"
	"target_insn:	add $1, %rax\n"
	"		add $1, %rax\n"
	"		ret\n");

static void redirect(void)
{
	redirected = 1;
	_exit(cpl() == (getenv("UKL_RING") ? atoi(getenv("UKL_RING")) : 3) ?
	      33 : 34);
}

static void wait_stop(pid_t child, int signo)
{
	int status;

	check(waitpid(child, &status, 0) == child);
	check(WIFSTOPPED(status));
	check(WSTOPSIG(status) == signo);
}

static struct user_regs_struct get_regs(pid_t child)
{
	struct user_regs_struct regs;

	check(!ptrace(PTRACE_GETREGS, child, 0, &regs));
	check(regs.cs == 0x33 && regs.ss == 0x2b);
	return regs;
}

static pid_t start(void (*f)(void))
{
	pid_t child = fork();

	check(child >= 0);
	if (child == 0) {
		expect_ring();
		check(!ptrace(PTRACE_TRACEME, 0, 0, 0));
		raise(SIGSTOP);
		f();
		_exit(0);
	}
	wait_stop(child, SIGSTOP);
	return child;
}

static void finish(pid_t child, int want)
{
	int status;

	check(!ptrace(PTRACE_CONT, child, 0, 0));
	check(waitpid(child, &status, 0) == child);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != want)
		printf("status %x\n", status);
	check(WIFEXITED(status) && WEXITSTATUS(status) == want);
}

/* A breakpoint takes the place of a byte; returns the word that was there. */
static long put_int3(pid_t child, char *at)
{
	long old;

	errno = 0;
	old = ptrace(PTRACE_PEEKTEXT, child, at, 0);
	check(!errno);
	check(!ptrace(PTRACE_POKETEXT, child, at, (old & ~0xffl) | 0xcc));
	return old;
}

static void run_to(pid_t child, char *at)
{
	struct user_regs_struct regs;
	long old = put_int3(child, at);

	check(!ptrace(PTRACE_CONT, child, 0, 0));
	wait_stop(child, SIGTRAP);
	regs = get_regs(child);
	check(regs.rip == (unsigned long)at + 1);
	regs.rip--;
	check(!ptrace(PTRACE_SETREGS, child, 0, &regs));
	check(!ptrace(PTRACE_POKETEXT, child, at, old));
}

static void do_loop(void)
{
	loop(LOOPS);
}

static void test_steps(void)
{
	long steps = 0, calls = 0, in_loop = 0;
	struct user_regs_struct regs;
	pid_t child = start(do_loop);

	run_to(child, loop_start);
	for (;;) {
		regs = get_regs(child);
		if (regs.rip == (unsigned long)loop_end)
			break;
		check(regs.rip >= (unsigned long)loop_start &&
		      regs.rip < (unsigned long)loop_end);
		in_loop++;
		if (regs.rip == (unsigned long)loop_call + 2) {
			calls++;
			check(regs.rax == (unsigned long)child);
			check(regs.rcx == (unsigned long)loop_call + 2);
		}
		check(!ptrace(PTRACE_SINGLESTEP, child, 0, 0));
		wait_stop(child, SIGTRAP);
		steps++;
	}
	check(steps == in_loop);
	printf("steps %ld, calls %ld\n", steps, calls);
	finish(child, 0);
}

static void test_syscalls(void)
{
	struct __ptrace_syscall_info info;
	long entries = 0, exits = 0;
	pid_t child = start(do_loop);
	int status;

	check(!ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESYSGOOD));
	run_to(child, loop_start);
	for (;;) {
		check(!ptrace(PTRACE_SYSCALL, child, 0, 0));
		check(waitpid(child, &status, 0) == child);
		check(WIFSTOPPED(status));
		check(WSTOPSIG(status) == (SIGTRAP | 0x80));
		check(ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(info),
			     &info) > 0);
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
			if (info.entry.nr != SYS_getpid)
				break;
			check(info.instruction_pointer ==
			      (unsigned long)loop_call + 2);
			get_regs(child);
			entries++;
		} else {
			check(info.op == PTRACE_SYSCALL_INFO_EXIT);
			check(info.exit.rval == child);
			exits++;
		}
	}
	printf("entries %ld, exits %ld\n", entries, exits);
	finish(child, 0);
}

static void do_target(void)
{
	long i, sum = 0;

	for (i = 0; i < 5; i++)
		sum += target(i * 10);
	_exit(sum);
}

/* Each time rax gets 3 more; the signal is not passed on. */
static void test_breakpoints(void)
{
	pid_t child = start(do_target);
	struct user_regs_struct regs;
	long old = 0;
	int i;

	for (i = 0; i < 5; i++) {
		old = put_int3(child, target_insn);
		check(!ptrace(PTRACE_CONT, child, 0, 0));
		wait_stop(child, SIGTRAP);
		regs = get_regs(child);
		check(regs.rip == (unsigned long)target_insn + 1);
		check(regs.rdi == (unsigned long)i * 10);
		check(regs.rax == (unsigned long)i * 10);
		regs.rip--;
		regs.rax += 3;
		check(!ptrace(PTRACE_SETREGS, child, 0, &regs));
		check(!ptrace(PTRACE_POKETEXT, child, target_insn, old));
		check(!ptrace(PTRACE_SINGLESTEP, child, 0, 0));
		wait_stop(child, SIGTRAP);
		check(get_regs(child).rip == (unsigned long)target_insn + 4);
	}
	finish(child, 100 + 5 * 2 + 5 * 3);
	printf("breakpoints\n");
}

static void do_watch(void)
{
	int i;

	for (i = 0; i < 20; i++) {
		word += 2;
		watched = i;
		loop(1);
	}
	_exit(watched);
}

static void set_debug(pid_t child, int n, unsigned long value)
{
	check(!ptrace(PTRACE_POKEUSER, child,
		      offsetof(struct user, u_debugreg[n]), value));
}

static unsigned long debug(pid_t child, int n)
{
	return ptrace(PTRACE_PEEKUSER, child,
		      offsetof(struct user, u_debugreg[n]), 0);
}

/* Writes of eight bytes by register 0, execution by register 1. */
static void test_watchpoints(void)
{
	pid_t child = start(do_watch);
	int i;

	set_debug(child, 0, (unsigned long)&watched);
	set_debug(child, 1, (unsigned long)loop_call);
	set_debug(child, 7, 1 | 4 | 9 << 16);
	for (i = 0; i < 20; i++) {
		check(!ptrace(PTRACE_CONT, child, 0, 0));
		wait_stop(child, SIGTRAP);
		check((debug(child, 6) & 15) == 1);
		get_regs(child);
		check(ptrace(PTRACE_PEEKDATA, child, &watched, 0) == i);
		check(ptrace(PTRACE_PEEKDATA, child, &word, 0) == 3 + 2 * i);
		set_debug(child, 6, 0);
		check(!ptrace(PTRACE_CONT, child, 0, 0));
		wait_stop(child, SIGTRAP);
		check((debug(child, 6) & 15) == 2);
		check(get_regs(child).rip == (unsigned long)loop_call);
		set_debug(child, 6, 0);
	}
	set_debug(child, 7, 0);
	finish(child, 19);
	/* kernel addresses are none of the tracer's business */
	child = start(do_watch);
	check(ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[0]),
		     0xffffffff81000000) == -1 ||
	      ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[7]),
		     1 | 13 << 16) == -1);
	finish(child, 19);
	printf("watchpoints\n");
}

static void do_word(void)
{
	long i;

	for (i = 0; word != -1; i++)
		check(i < 1000000000);
	_exit(5);
}

static void test_memory(void)
{
	struct user_fpregs_struct fp;
	struct user_regs_struct regs;
	struct iovec local, remote;
	pid_t child = start(do_word);
	long value = 17;

	errno = 0;
	check(ptrace(PTRACE_PEEKDATA, child, &word, 0) == 1 && !errno);
	check(!ptrace(PTRACE_POKEDATA, child, &word, 1234567));
	local = (struct iovec){ &value, 8 };
	remote = (struct iovec){ (void *)&word, 8 };
	check(process_vm_readv(child, &local, 1, &remote, 1, 0) == 8);
	check(value == 1234567);
	check(word == 1);
	value = -1;
	check(process_vm_writev(child, &local, 1, &remote, 1, 0) == 8);
	check(ptrace(PTRACE_PEEKDATA, child, (void *)0xffffffff81000000, 0)
	      == -1 && errno == EIO);
	check(!ptrace(PTRACE_GETFPREGS, child, 0, &fp));
	fp.xmm_space[60] = 0x12345678;
	check(!ptrace(PTRACE_SETFPREGS, child, 0, &fp));
	fp.xmm_space[60] = 0;
	check(!ptrace(PTRACE_GETFPREGS, child, 0, &fp));
	check(fp.xmm_space[60] == 0x12345678);

	/* kernel selectors, kernel bases and privileged flags are refused */
	regs = get_regs(child);
	regs.cs = 0x10;
	check(ptrace(PTRACE_SETREGS, child, 0, &regs) == -1);
	regs = get_regs(child);
	regs.gs_base = 0xffff888000000000;
	check(ptrace(PTRACE_SETREGS, child, 0, &regs) == -1);
	regs = get_regs(child);
	regs.eflags |= 0x3000;
	regs.eflags &= ~0x200ul;
	check(!ptrace(PTRACE_SETREGS, child, 0, &regs));
	regs = get_regs(child);
	check((regs.eflags & 0x3200) == 0x200);
	finish(child, 5);
	printf("memory\n");
}

static void do_spin(void)
{
	for (;;)
		word++;
}

static void test_redirect(void)
{
	struct user_regs_struct regs;
	pid_t child;
	int i;

	for (i = 0; i < 20; i++) {
		child = start(do_spin);
		check(!ptrace(PTRACE_CONT, child, 0, 0));
		usleep(1000);
		check(!kill(child, SIGUSR1));
		wait_stop(child, SIGUSR1);
		regs = get_regs(child);
		regs.rip = (unsigned long)redirect;
		regs.rsp = (regs.rsp & -16ul) - 1024 - 8;
		check(!ptrace(PTRACE_SETREGS, child, 0, &regs));
		finish(child, 33);
	}
	printf("redirect\n");
}

int main(void)
{
	expect_ring();
	test_steps();
	test_syscalls();
	test_breakpoints();
	test_watchpoints();
	test_memory();
	test_redirect();
	printf("ok\n");
	return 0;
}
