// SPDX-License-Identifier: MIT
/*
 * The kernel runs with its own flags, whatever a system call is made with, by
 * the instruction or as a call: it copies upwards (DF), may return by IRET
 * (NT), and another task that it switches to inherits nothing.
 */
#include "guest.h"
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/utsname.h>

#define DF	(1ul << 10)
#define IOPL	(3ul << 12)
#define NT	(1ul << 14)
#define AC	(1ul << 18)

void stub(void);
asm(".text\nstub: sub $2, %rcx; jmp *%rcx\n");

static unsigned long entry;
static volatile sig_atomic_t alarms;

/*
 * A call with these flags set as well, none of which are left behind it.  The
 * instruction keeps them, a call need not.
 */
static long with(unsigned long flags, bool jump, long nr, long a, long b, long c)
{
	unsigned long kept;
	long ret = nr;

	if (jump)
		__asm__ volatile("lea -128(%%rsp), %%rsp; pushf; pushf\n"
				 "or %2, (%%rsp); popf\n"
				 "lea 1f(%%rip), %%rcx; jmp *%3; syscall\n"
				 "1: popf; lea 128(%%rsp), %%rsp\n"
				 "mov %2, %1"
				 : "+a"(ret), "=&b"(kept)
				 : "r"(flags), "m"(entry), "D"(a), "S"(b), "d"(c)
				 : "rcx", "r11", "memory", "cc");
	else
		__asm__ volatile("lea -128(%%rsp), %%rsp; pushf; pushf\n"
				 "or %2, (%%rsp); popf\n"
				 "syscall\n"
				 "pushf; pop %1; popf; lea 128(%%rsp), %%rsp"
				 : "+a"(ret), "=&b"(kept)
				 : "r"(flags), "m"(entry), "D"(a), "S"(b), "d"(c)
				 : "rcx", "r11", "memory", "cc");
	/* ring 3 cannot have the IOPL */
	check((kept & flags & ~IOPL) == (flags & ~IOPL));
	return ret;
}

static void on_alarm(int signo)
{
	(void)signo;
	alarms++;
}

static void set_timer(long microseconds)
{
	struct itimerval timer = { { 0, microseconds }, { 0, microseconds } };

	check(!setitimer(ITIMER_REAL, &timer, NULL));
}

static bool uname_right(unsigned long flags, bool jump)
{
	struct {
		char below[512];
		struct utsname name;
		char above[512];
	} buf __attribute__((aligned(16)));
	struct utsname want;
	unsigned int i;

	check(!uname(&want));
	memset(&buf, 'x', sizeof(buf));
	if (with(flags, jump, SYS_uname, (long)&buf.name, 0, 0))
		return false;
	for (i = 0; i < sizeof(buf.below); i++)
		if (buf.below[i] != 'x' || buf.above[i] != 'x')
			return false;
	return !memcmp(&buf.name, &want, sizeof(want));
}

/* A page full through a pipe, over a page boundary: copied in and out. */
static bool pipe_right(unsigned long flags, bool jump)
{
	static char in[4096], out[3 * 4096] __attribute__((aligned(4096)));
	int fds[2];
	bool right;
	int i;

	check(!pipe(fds));
	for (i = 0; i < 4096; i++)
		in[i] = i * 7;
	memset(out, 'x', sizeof(out));
	right = with(flags, jump, SYS_write, fds[1], (long)in, 4096) == 4096 &&
		with(flags, jump, SYS_read, fds[0], (long)out + 2000, 4096) == 4096 &&
		!memcmp(out + 2000, in, 4096) &&
		out[1999] == 'x' && out[2000 + 4096] == 'x';
	check(!close(fds[0]) && !close(fds[1]));
	return right;
}

/* Blocks in the kernel, with another task that does the same. */
static void ping_pong(unsigned long flags, bool jump)
{
	int there[2], back[2], i;
	char byte = 'p';
	pid_t child;

	check(!pipe(there) && !pipe(back));
	child = fork();
	check(child >= 0);
	if (child == 0) {
		for (i = 0; i < 300; i++) {
			if (read(there[0], &byte, 1) != 1)
				_exit(1);
			if (write(back[1], &byte, 1) != 1)
				_exit(2);
		}
		_exit(0);
	}
	for (i = 0; i < 300; i++) {
		check(with(flags, jump, SYS_write, there[1], (long)&byte, 1) == 1);
		check(with(flags, jump, SYS_read, back[0], (long)&byte, 1) == 1);
		check(with(flags, jump, SYS_sched_yield, 0, 0, 0) == 0);
	}
	join_child(child);
	check(!close(there[0]) && !close(there[1]));
	check(!close(back[0]) && !close(back[1]));
}

static void under_alarms(unsigned long flags, bool jump)
{
	long parent = getppid();

	alarms = 0;
	set_timer(300);
	while (alarms < 100)
		check(with(flags, jump, SYS_getppid, 0, 0, 0) == parent);
	set_timer(0);
}

int main(void)
{
	static const struct {
		const char *name;
		unsigned long flags;
	} cases[] = {
		{ "no flags", 0 }, { "DF", DF }, { "AC", AC }, { "IOPL", IOPL },
		{ "NT", NT }, { "all", DF | AC | IOPL | NT },
	};
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	unsigned int i, n, jump, wrong;
	cpu_set_t one;
	long ret;

	expect_ring();
	entry = getauxval(AT_SYSINFO);
	check(!entry == (cpl() == 3));
	if (!entry)
		entry = (unsigned long)stub;
	check(!sigaction(SIGALRM, &action, NULL));
	/* so that tasks are switched to and from */
	check(!sched_getaffinity(0, sizeof(one), &one));
	for (n = 0; !CPU_ISSET(n, &one); n++)
		;
	CPU_ZERO(&one);
	CPU_SET(n, &one);
	check(!sched_setaffinity(0, sizeof(one), &one));
	ret = syscall(SYS_membarrier,
		      MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
	check(!ret);

	for (i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		for (jump = 0; jump < 2; jump++) {
			printf("%s, %s:", cases[i].name, jump ? "call" : "instruction");
			for (wrong = n = 0; n < 50; n++)
				wrong += !uname_right(cases[i].flags, jump);
			printf(" uname %u wrong,", wrong);
			for (wrong = n = 0; n < 50; n++)
				wrong += !pipe_right(cases[i].flags, jump);
			printf(" pipe %u wrong", wrong);
			fflush(stdout);
			under_alarms(cases[i].flags, jump);
			printf(", signals");
			fflush(stdout);
			ping_pong(cases[i].flags, jump);
			printf(", switches");
			fflush(stdout);
			for (n = 0; n < 50; n++)
				check(!with(cases[i].flags, jump, SYS_membarrier,
					    MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE,
					    0, 0));
			printf(", membarrier\n");
		}
	}
	printf("ok\n");
	return 0;
}
