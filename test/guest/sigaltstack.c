// SPDX-License-Identifier: MIT
/* Handlers run on the alternate stack when asked to, and only then. */
#include "guest.h"
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#define SIZE 65536

static __thread char *stack;
static __thread volatile int on, off, nested;

static bool here(void)
{
	char local, *volatile p = &local;

	return p >= stack && p < stack + SIZE;
}

static void on_usr1(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	stack_t now;

	(void)signo; (void)info;
	check(here());
	check(!sigaltstack(NULL, &now));
	check(now.ss_flags & SS_ONSTACK);
	check(uc->uc_stack.ss_sp == stack && uc->uc_stack.ss_size == SIZE);
	/* it cannot be taken away while in use */
	now.ss_flags = SS_DISABLE;
	check(sigaltstack(&now, NULL) == -1 && errno == EPERM);
	on++;
	if (nested < 3) {
		nested++;
		pthread_kill(pthread_self(), SIGUSR1);	/* SA_NODEFER */
		nested--;
	}
}

static void on_usr2(int signo)
{
	(void)signo;
	check(!here());
	off++;
}

static void *work(void *arg)
{
	stack_t alt = { .ss_size = SIZE }, old;
	int i;

	stack = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(stack != MAP_FAILED);
	alt.ss_sp = stack;
	check(!sigaltstack(&alt, &old));
	check(old.ss_flags == SS_DISABLE);
	for (i = 0; i < 1000; i++) {
		pthread_kill(pthread_self(), SIGUSR1);
		pthread_kill(pthread_self(), SIGUSR2);
		check(!here());
	}
	check(on == 4000 && off == 1000);
	alt.ss_size = 100;
	check(sigaltstack(&alt, NULL) == -1 && errno == ENOMEM);
	alt.ss_size = SIZE;
	alt.ss_flags = SS_DISABLE;
	check(!sigaltstack(&alt, NULL));
	return arg;
}

int main(void)
{
	struct sigaction usr1 = { .sa_sigaction = on_usr1, .sa_flags =
				  SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	struct sigaction usr2 = { .sa_handler = on_usr2 };
	pthread_t threads[3];
	int i, status;
	stack_t bad = { .ss_size = SIZE };
	pid_t child;

	expect_ring();
	check(!sigaction(SIGUSR1, &usr1, NULL));
	check(!sigaction(SIGUSR2, &usr2, NULL));
	for (i = 0; i < 3; i++)
		check(!pthread_create(&threads[i], NULL, work, NULL));
	work(NULL);
	for (i = 0; i < 3; i++)
		check(!pthread_join(threads[i], NULL));
	printf("handlers %d\n", on);

	/* a stack that cannot be written to kills, and nothing but the child */
	for (i = 0; i < 3; i++) {
		child = fork();
		check(child >= 0);
		if (child == 0) {
			bad.ss_sp = i == 0 ? (void *)4096 :
				    i == 1 ? (void *)0x00007ffffffe0000 :
				    mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE |
					 MAP_ANONYMOUS, -1, 0);
			check(!sigaltstack(&bad, NULL));
			raise(SIGUSR1);
			_exit(0);
		}
		check(waitpid(child, &status, 0) == child);
		check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	}
	printf("bad stacks\n");

	printf("ok\n");
	return 0;
}
