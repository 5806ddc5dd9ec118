// SPDX-License-Identifier: MIT
/*
 * vfork: the child borrows the memory, the parent waits till it ends or
 * executes something.
 */
#include "guest.h"
#include <signal.h>

static volatile int word, hits;

static void on_signal(int signo)
{
	(void)signo;
	hits++;
}

int main(int argc, char **argv)
{
	char *again[] = { argv[0], "again", NULL };
	volatile int i;
	int status;
	pid_t child;

	expect_ring();
	if (argc == 2)
		return 21;
	for (i = 0; i < 300; i++) {
		child = vfork();
		check(child >= 0);
		if (child == 0) {
			word = i;
			_exit(cpl() == (getenv("UKL_RING") ?
					atoi(getenv("UKL_RING")) : 3) ?
			      i % 100 : 200);
		}
		check(word == i);
		check(waitpid(child, &status, 0) == child);
		check(WIFEXITED(status) && WEXITSTATUS(status) == i % 100);
	}
	printf("exit\n");

	for (i = 0; i < 60; i++) {
		child = vfork();
		check(child >= 0);
		if (child == 0) {
			word = -i;
			execv("/proc/self/exe", again);
			_exit(1);
		}
		check(word == -i);
		check(waitpid(child, &status, 0) == child);
		check(WIFEXITED(status) && WEXITSTATUS(status) == 21);
	}
	printf("exec\n");

	/* the child dies by a signal; the parent gets one only afterwards */
	signal(SIGUSR1, on_signal);
	for (i = 0; i < 100; i++) {
		child = vfork();
		check(child >= 0);
		if (child == 0) {
			kill(getppid(), SIGUSR1);
			word = hits;
			kill(getpid(), SIGKILL);
			_exit(1);
		}
		check(word == i && hits == i + 1);
		check(waitpid(child, &status, 0) == child);
		check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	printf("signal\n");

	printf("ok\n");
	return 0;
}
