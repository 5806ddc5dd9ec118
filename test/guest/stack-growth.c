// SPDX-License-Identifier: MIT
/*
 * The stack grows by itself up to its limit; beyond it there is a SIGSEGV,
 * taken on another stack.  The kernel pushes nothing on a stack which is full.
 */
#include "guest.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

static sigjmp_buf back;
static char *volatile fault_address, *volatile handler_frame;
static volatile long depth;
static char *alternate;

static void on_segv(int signo, siginfo_t *info, void *context)
{
	char here;

	(void)signo; (void)context;
	fault_address = info->si_addr;
	handler_frame = &here;
	siglongjmp(back, 1);
}

/* 1 KiB a level, and something to be checked on the way back. */
__attribute__((noinline)) static long descend(long levels)
{
	volatile long frame[128];
	long i, sum = 0;

	for (i = 0; i < 128; i += 16)
		frame[i] = levels + i;
	depth = levels;
	if (levels > 0)
		sum = descend(levels - 1);
	for (i = 0; i < 128; i += 16)
		sum += frame[i] == levels + i;
	return sum;
}

static void overflow(void)
{
	struct rlimit limit;
	int i;

	check(!getrlimit(RLIMIT_STACK, &limit));
	for (i = 0; i < 20; i++) {
		fault_address = NULL;
		if (!sigsetjmp(back, 1)) {
			descend(1 << 20);
			check(!"overflow");
		}
		check(handler_frame > alternate &&
		      handler_frame < alternate + 65536);
		check(fault_address);
		check((char *)&limit - fault_address > 7 << 20);
		check((char *)&limit - fault_address < 9 << 20);
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = on_segv,
				    .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct rlimit limit = { 8 << 20, RLIM_INFINITY };
	stack_t alt = { .ss_size = 65536 };
	int status;
	pid_t child;

	expect_ring();
	/* the limit in force when the program starts places its mappings */
	if (argc == 1) {
		check(!getrlimit(RLIMIT_STACK, &limit));
		limit.rlim_cur = 8 << 20;
		check(!setrlimit(RLIMIT_STACK, &limit));
		execl("/proc/self/exe", argv[0], "again", NULL);
		check(!"exec");
	}
	alternate = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(alternate != MAP_FAILED);
	alt.ss_sp = alternate;

	/* each level takes 1 KiB and a little */
	check(descend(6400) == 6401 * 8);
	check(descend(6400) == 6401 * 8);
	printf("deep\n");

	check(!sigaltstack(&alt, NULL));
	check(!sigaction(SIGSEGV, &action, NULL));
	overflow();
	check(descend(6400) == 6401 * 8);
	printf("overflow\n");

	/* without another stack there is no way to tell: the end */
	child = fork();
	check(child >= 0);
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		alt.ss_flags = SS_DISABLE;
		check(!sigaltstack(&alt, NULL));
		descend(1 << 20);
		_exit(0);
	}
	check(waitpid(child, &status, 0) == child);
	check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	printf("killed\n");

	printf("ok\n");
	return 0;
}
