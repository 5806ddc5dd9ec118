// SPDX-License-Identifier: MIT
/* Hundreds of processes, nested, each with its own copy of the memory. */
#include "guest.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define PAGES 32

static unsigned char *memory;
static long *shared;

static void fill(int value)
{
	int i;

	for (i = 0; i < PAGES; i++)
		memset(memory + i * 4096, value + i, 4096);
}

static void verify(int value)
{
	int i, j;

	for (i = 0; i < PAGES; i++)
		for (j = 0; j < 4096; j += 61)
			check(memory[i * 4096 + j] == (unsigned char)(value + i));
}

/* A tree: every node has "width" children, "depth" levels down. */
static void tree(int depth, int width, int value)
{
	pid_t children[8];
	int i;

	__atomic_fetch_add(&shared[0], 1, __ATOMIC_SEQ_CST);
	if (depth == 0)
		return;
	for (i = 0; i < width; i++) {
		children[i] = fork();
		check(children[i] >= 0);
		if (children[i] == 0) {
			expect_ring();
			verify(value);
			fill(value + i + 1);
			tree(depth - 1, width, value + i + 1);
			verify(value + i + 1);
			_exit(0);
		}
	}
	verify(value);
	for (i = 0; i < width; i++)
		join_child(children[i]);
	verify(value);
}

int main(void)
{
	int i, status, n;
	pid_t child;

	expect_ring();
	memory = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(memory != MAP_FAILED && shared != MAP_FAILED);
	fill(7);
	tree(3, 5, 7);
	printf("tree %ld\n", shared[0]);

	/* one after the other */
	for (i = 0; i < 300; i++) {
		child = fork();
		check(child >= 0);
		if (child == 0) {
			verify(7);
			memory[i % PAGES * 4096] ^= 1;
			_exit(i % 251);
		}
		memory[5] ^= 0x80;	/* the parent writes as well */
		memory[5] ^= 0x80;
		check(waitpid(child, &status, 0) == child);
		check(WIFEXITED(status) && WEXITSTATUS(status) == i % 251);
	}
	verify(7);
	printf("sequence\n");

	/* all dead before the first is waited for */
	for (i = 0; i < 200; i++) {
		child = fork();
		check(child >= 0);
		if (child == 0)
			_exit(1);
	}
	for (n = 0; wait(&status) > 0; n++)
		check(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	check(errno == ECHILD);
	printf("zombies %d\n", n);

	/* orphans come to the reaper */
	check(!prctl(PR_SET_CHILD_SUBREAPER, 1));
	for (i = 0; i < 50; i++) {
		child = fork();
		check(child >= 0);
		if (child == 0) {
			if (fork() == 0) {
				while (getppid() != 0 && shared[1] == 0)
					usleep(100);
				_exit(2);
			}
			_exit(1);
		}
	}
	shared[1] = 1;
	for (n = 0; wait(&status) > 0; )
		n += WEXITSTATUS(status);
	printf("orphans %d\n", n);

	/* nobody to wait for when SIGCHLD is ignored */
	signal(SIGCHLD, SIG_IGN);
	for (i = 0; i < 50; i++) {
		child = fork();
		check(child >= 0);
		if (child == 0)
			_exit(0);
	}
	check(wait(NULL) == -1 && errno == ECHILD);
	printf("ignored\n");

	printf("ok\n");
	return 0;
}
