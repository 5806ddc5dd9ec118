// SPDX-License-Identifier: MIT
/* posix_spawn of itself, with file actions and attributes. */
#include "guest.h"
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>

static int child_main(void)
{
	char line[64] = "";
	sigset_t set;
	ssize_t n;

	expect_ring();
	n = read(0, line, sizeof(line) - 1);
	check(n > 0);
	check(fcntl(7, F_GETFD) == 0);			/* by dup2 */
	check(fcntl(8, F_GETFD) == -1);			/* closed */
	check(fcntl(9, F_GETFL) >= 0);			/* opened */
	check(read(9, &n, 1) == 0);
	check(getpgrp() == getpid());
	sigprocmask(SIG_BLOCK, NULL, &set);
	check(sigismember(&set, SIGUSR2) && !sigismember(&set, SIGUSR1));
	check(signal(SIGINT, SIG_DFL) == SIG_DFL);
	check(!strcmp(getenv("WORD"), "of the parent"));
	check(write(7, line, strlen(line)) == (ssize_t)strlen(line));
	return strlen(line);
}

int main(int argc, char **argv)
{
	char ring[16], *env[] = { ring, "WORD=of the parent", NULL };
	char *args[] = { argv[0], "child", NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int in[2], out[2], i, status, high;
	sigset_t mask, def;
	char line[64];
	pid_t child;

	if (argc == 2)
		return child_main();
	expect_ring();
	snprintf(ring, sizeof(ring), "UKL_RING=%d", cpl());
	signal(SIGINT, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	sigemptyset(&def);
	sigaddset(&def, SIGINT);
	for (i = 0; i < 100; i++) {
		check(!pipe(in) && !pipe(out));
		high = fcntl(out[1], F_DUPFD, 20);
		check(dup2(in[0], 8) == 8);
		check(!posix_spawn_file_actions_init(&actions));
		check(!posix_spawn_file_actions_adddup2(&actions, in[0], 0));
		check(!posix_spawn_file_actions_adddup2(&actions, high, 7));
		check(!posix_spawn_file_actions_addclose(&actions, 8));
		check(!posix_spawn_file_actions_addopen(&actions, 9,
							"/dev/null", O_RDONLY, 0));
		check(!posix_spawnattr_init(&attr));
		check(!posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP |
						POSIX_SPAWN_SETSIGMASK |
						POSIX_SPAWN_SETSIGDEF));
		check(!posix_spawnattr_setsigmask(&attr, &mask));
		check(!posix_spawnattr_setsigdefault(&attr, &def));
		check(write(in[1], "hello", 5) == 5);
		check(!posix_spawn(&child, "/proc/self/exe", &actions, &attr,
				   args, env));
		check(read(out[0], line, sizeof(line)) == 5);
		check(!memcmp(line, "hello", 5));
		check(waitpid(child, &status, 0) == child);
		check(WIFEXITED(status) && WEXITSTATUS(status) == 5);
		posix_spawn_file_actions_destroy(&actions);
		posix_spawnattr_destroy(&attr);
		close(high);
		close(8);
		close(in[0]); close(in[1]); close(out[0]); close(out[1]);
	}
	printf("spawned 100\n");

	check(posix_spawn(&child, "/nonexistent/program", NULL, NULL, args,
			  env) == ENOENT);
	check(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
	printf("failed\n");

	printf("ok\n");
	return 0;
}
