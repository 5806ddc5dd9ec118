// SPDX-License-Identifier: MIT
/*
 * A program executes itself over and over: pid, descriptors, environment and
 * ring stay, with and without other threads running at the time.  In between
 * it starts a copy of itself which nobody listed: that one is in ring 3.
 */
#include "guest.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define CHAIN	40

static char *const copy_argv[] = { "copy", "copy", NULL };

static void *spin(void *arg)
{
	for (;;)
		*(volatile long *)arg = *(volatile long *)arg + 1;
	return arg;
}

static void *block(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void self(long n, int fd, pid_t pid)
{
	char a[20], b[20], c[20];
	char *argv[] = { "exec-chain", a, b, c, NULL };

	snprintf(a, sizeof(a), "%ld", n);
	snprintf(b, sizeof(b), "%d", fd);
	snprintf(c, sizeof(c), "%d", pid);
	execv("/proc/self/exe", argv);
	check(!"exec");
}

static void *exec_from_thread(void *arg)
{
	long *args = arg;

	self(args[0], args[1], args[2]);
	return NULL;
}

/* A copy in memory has an inode of its own. */
static int copy(void)
{
	static char data[65536];
	int from, to;
	ssize_t n;

	from = open("/proc/self/exe", O_RDONLY);
	to = memfd_create("copy", MFD_CLOEXEC);
	check(from >= 0 && to >= 0);
	while ((n = read(from, data, sizeof(data))) > 0)
		check(write(to, data, n) == n);
	check(n == 0);
	close(from);
	return to;
}

/* Ring 3 code that makes use of what differs: faults, text, threads. */
static int in_copy(void)
{
	volatile long spun = 0;
	pthread_t thread;
	pid_t child;
	char *text;
	int i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	check(cpl() == 3);
	check(!pthread_create(&thread, NULL, spin, (void *)&spun));
	while (spun < 1000)
		;
	for (i = 0; i < 5; i++) {
		child = fork();
		check(child >= 0);
		if (child == 0)
			_exit(cpl() == 3 ? 0 : 1);
		join_child(child);
	}
	text = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(text != MAP_FAILED);
	memcpy(text, "\xb8\x2a\0\0\0\xc3", 6);
	check(!mprotect(text, 4096, PROT_READ | PROT_EXEC));
	check(((int (*)(void))text)() == 42);
	return 0;
}

int main(int argc, char **argv)
{
	static volatile long spun;
	static long args[3];
	pthread_t thread;
	volatile int i, fd;
	int fds[2];
	pid_t child;
	long n;
	char c;

	if (argc == 2 && !strcmp(argv[1], "copy"))
		return in_copy();
	expect_ring();
	if (argc == 1) {
		check(!pipe(fds));
		check(write(fds[1], "x", 1) == 1);
		signal(SIGUSR1, SIG_IGN);
		/* it is inherited by the last one, so it must not be read */
		self(0, fds[0], getpid());
	}
	check(argc == 4);
	n = atol(argv[1]);
	fd = atoi(argv[2]);
	check(getpid() == atoi(argv[3]));
	check(syscall(SYS_gettid) == getpid());
	check(signal(SIGUSR1, SIG_IGN) == SIG_IGN);

	if (n < CHAIN) {
		if (n % 4 == 1 || n % 4 == 2)
			for (i = 0; i < 3; i++)
				check(!pthread_create(&thread, NULL,
						      i == 2 ? block : spin,
						      (void *)&spun));
		if (n % 4 == 2 || n % 4 == 3) {
			/* not the leader: it takes the leader's pid over */
			args[0] = n + 1;
			args[1] = fd;
			args[2] = getpid();
			check(!pthread_create(&thread, NULL, exec_from_thread,
					      args));
			for (;;)
				pause();
		}
		self(n + 1, fd, getpid());
	}
	check(read(fd, &c, 1) == 1 && c == 'x');
	printf("chain %ld\n", n);

	for (i = 0; i < 5; i++) {
		fd = copy();
		child = fork();
		check(child >= 0);
		if (child == 0) {
			expect_ring();
			syscall(SYS_execveat, fd, "", copy_argv, environ,
				AT_EMPTY_PATH);
			_exit(1);
		}
		join_child(child);
		child = vfork();
		check(child >= 0);
		if (child == 0) {
			syscall(SYS_execveat, fd, "", copy_argv, environ,
				AT_EMPTY_PATH);
			_exit(1);
		}
		join_child(child);
		close(fd);
	}
	expect_ring();
	printf("copy in ring 3\n");

	/* what cannot be executed leaves the task as it was */
	fd = memfd_create("nothing", 0);
	check(fd >= 0 && write(fd, "nothing", 7) == 7);
	check(!fchmod(fd, 0755));
	check(syscall(SYS_execveat, fd, "", copy_argv, environ,
		      AT_EMPTY_PATH) == -1 && errno == ENOEXEC);
	check(execv("/nonexistent/program", argv) == -1 && errno == ENOENT);
	expect_ring();
	printf("failed exec\n");

	printf("ok\n");
	return 0;
}
