// SPDX-License-Identifier: MIT
/* A parent learns exactly how its children ended. */
#include "guest.h"
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static void *exit_group(void *arg)
{
	_exit((long)arg);
}

static void *end_thread(void *arg)
{
	usleep(2000);
	return arg;
}

static void end(int how)
{
	static char *volatile null;
	pthread_t thread;

	switch (how) {
	case 0: case 1: case 42: case 255:
		exit(how);
	case 256 + SIGKILL: case 256 + SIGTERM:
		kill(getpid(), how - 256);
		break;
	case 256 + SIGABRT:
		abort();
	case 256 + SIGSEGV:
		*null = 1;
		break;
	case 256 + SIGILL:
		__builtin_trap();
	case 256 + SIGTRAP:
		__asm__ volatile("int3");
		break;
	case 1000:	/* another thread ends all */
		pthread_create(&thread, NULL, exit_group, (void *)77);
		for (;;)
			__asm__ volatile("" : : : "memory");
	case 1001:	/* the last thread to go is not the leader */
		pthread_create(&thread, NULL, end_thread, NULL);
		syscall(SYS_exit, 78);
	}
	pause();
}

int main(void)
{
	static const int how[] = {
		0, 1, 42, 255, 256 + SIGKILL, 256 + SIGTERM, 256 + SIGABRT,
		256 + SIGSEGV, 256 + SIGILL, 256 + SIGTRAP, 1000, 1001,
	};
	struct rlimit none = { 0, 0 };
	int status, round;
	siginfo_t info;
	pid_t child;
	unsigned i;

	expect_ring();
	setrlimit(RLIMIT_CORE, &none);
	for (round = 0; round < 10; round++) {
		for (i = 0; i < sizeof(how) / sizeof(*how); i++) {
			child = fork();
			check(child >= 0);
			if (child == 0) {
				expect_ring();
				end(how[i]);
			}
			check(!waitid(P_PID, child, &info, WEXITED | WNOWAIT));
			check(waitpid(child, &status, 0) == child);
			check(info.si_pid == child);
			if (WIFEXITED(status)) {
				check(info.si_code == CLD_EXITED);
				check(info.si_status == WEXITSTATUS(status));
			} else {
				check(info.si_code == CLD_KILLED ||
				      info.si_code == CLD_DUMPED);
				check(info.si_status == WTERMSIG(status));
			}
			if (round)
				continue;
			if (WIFEXITED(status))
				printf("exit %d\n", WEXITSTATUS(status));
			else
				printf("signal %d\n", WTERMSIG(status));
		}
	}

	/* killed from outside, spinning or sleeping */
	for (i = 0; i < 40; i++) {
		child = fork();
		check(child >= 0);
		if (child == 0)
			for (;;)
				if (i % 2)
					pause();
		usleep(500);
		check(!kill(child, SIGKILL));
		check(waitpid(child, &status, 0) == child);
		check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	printf("ok\n");
	return 0;
}
