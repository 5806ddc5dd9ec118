// SPDX-License-Identifier: MIT
/*
 * A process that takes all memory is killed, alone; the machine goes on.  On
 * the host (UKL_HOST) it is limited and kills itself.
 */
#include "guest.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define STEP	(4 << 20)

static void eat(bool host)
{
	struct rlimit limit = { 256 << 20, 256 << 20 };
	size_t i;
	char *p;
	int fd;

	if (host) {
		check(!setrlimit(RLIMIT_AS, &limit));
	} else {
		fd = open("/proc/self/oom_score_adj", O_WRONLY);
		check(fd >= 0 && write(fd, "1000", 4) == 4);
		close(fd);
	}
	for (;;) {
		p = mmap(NULL, STEP, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED) {
			kill(getpid(), SIGKILL);
			_exit(1);
		}
		for (i = 0; i < STEP; i += 4096)
			p[i] = 1;
	}
}

int main(void)
{
	bool host = getenv("UKL_HOST");
	unsigned char *mine;
	int status, i, j;
	pid_t child;

	expect_ring();
	mine = malloc(1 << 20);
	check(mine);
	for (j = 0; j < 1 << 20; j++)
		mine[j] = j * 7;
	for (i = 0; i < 2; i++) {
		child = fork();
		check(child >= 0);
		if (child == 0)
			eat(host);
		check(waitpid(child, &status, 0) == child);
		check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		for (j = 0; j < 1 << 20; j++)
			check(mine[j] == (unsigned char)(j * 7));
		printf("killed\n");
	}
	/* and there is memory again */
	free(mine);
	mine = malloc(16 << 20);
	check(mine);
	memset(mine, 1, 16 << 20);
	check(mine[12345678] == 1);

	printf("ok\n");
	return 0;
}
