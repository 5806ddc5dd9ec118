// SPDX-License-Identifier: MIT
/*
 * Blocking system calls under a storm of signals from another process.  With
 * SA_RESTART they go on as if nothing had been; without it they say EINTR and
 * nanosleep tells what is left.
 */
#include "guest.h"
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

static volatile sig_atomic_t hits;
static pid_t storm;

static void on_signal(int signo)
{
	(void)signo;
	hits++;
}

/* Signals this process every now and then, till killed. */
static void start_storm(int flags)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = flags };
	pid_t me = getpid();

	check(!sigaction(SIGUSR1, &action, NULL));
	hits = 0;
	storm = fork();
	check(storm >= 0);
	if (storm == 0) {
		struct timespec pause = { 0, 20000 };

		/* should the parent end early, nobody else gets them */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (getppid() == me && kill(me, SIGUSR1) == 0)
			nanosleep(&pause, NULL);
		_exit(0);
	}
}

static void stop_storm(void)
{
	check(!kill(storm, SIGKILL));
	/* a last signal may still be on its way to us */
	while (waitpid(storm, NULL, 0) != storm)
		check(errno == EINTR);
}

static void wait_hits(int n)
{
	int start = hits;

	while (hits - start < n)
		sched_yield();
}

/* A child sends a sequence byte by byte, always after some signals. */
static void test_read(void)
{
	struct timespec pause = { 0, 200000 };
	unsigned char byte;
	int fds[2], i;
	pid_t child;

	check(!pipe(fds));
	child = fork();
	check(child >= 0);
	if (child == 0) {
		for (i = 0; i < 1000; i++) {
			byte = i * 7;
			nanosleep(&pause, NULL);
			check(write(fds[1], &byte, 1) == 1);
		}
		_exit(0);
	}
	close(fds[1]);
	for (i = 0; i < 1000; i++) {
		check(read(fds[0], &byte, 1) == 1);
		check(byte == (unsigned char)(i * 7));
	}
	check(read(fds[0], &byte, 1) == 0);
	close(fds[0]);
	join_child(child);
	printf("read\n");
}

static void test_waitpid(void)
{
	struct timespec pause = { 0, 3000000 };
	int i, status;
	pid_t child;

	for (i = 0; i < 50; i++) {
		child = fork();
		check(child >= 0);
		if (child == 0) {
			nanosleep(&pause, NULL);
			_exit(i);
		}
		check(waitpid(child, &status, 0) == child);
		check(WIFEXITED(status) && WEXITSTATUS(status) == i);
	}
	printf("waitpid\n");
}

static void test_futex(void)
{
	struct timespec pause = { 0, 2000000 };
	uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child;
	uint32_t i;

	check(word != MAP_FAILED);
	child = fork();
	check(child >= 0);
	if (child == 0) {
		for (i = 1; i <= 50; i++) {
			nanosleep(&pause, NULL);
			__atomic_store_n(word, i, __ATOMIC_SEQ_CST);
			syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
		}
		_exit(0);
	}
	for (i = 0; i < 50; ) {
		if (syscall(SYS_futex, word, FUTEX_WAIT, i, NULL, NULL, 0))
			check(errno == EAGAIN);
		i = __atomic_load_n(word, __ATOMIC_SEQ_CST);
	}
	join_child(child);
	printf("futex\n");
}

static void test_accept(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sa_family_t);
	struct timespec pause = { 0, 2000000 };
	int server, fd, i, n;
	pid_t child;

	server = socket(AF_UNIX, SOCK_STREAM, 0);
	check(server >= 0);
	check(!bind(server, (struct sockaddr *)&addr, len));	/* any name */
	len = sizeof(addr);
	check(!getsockname(server, (struct sockaddr *)&addr, &len));
	check(!listen(server, 8));
	child = fork();
	check(child >= 0);
	if (child == 0) {
		for (i = 0; i < 50; i++) {
			nanosleep(&pause, NULL);
			fd = socket(AF_UNIX, SOCK_STREAM, 0);
			check(!connect(fd, (struct sockaddr *)&addr, len));
			check(write(fd, &i, sizeof(i)) == sizeof(i));
			close(fd);
		}
		_exit(0);
	}
	for (i = 0; i < 50; i++) {
		fd = accept(server, NULL, NULL);
		check(fd >= 0);
		check(read(fd, &n, sizeof(n)) == sizeof(n) && n == i);
		close(fd);
	}
	join_child(child);
	printf("accept\n");
}

/* What is left must shrink with every interruption and come to an end. */
static void test_nanosleep(void)
{
	struct timespec left = { 0, 100000000 }, before, start, end;
	int interrupted = 0;
	long long nsec;

	check(!clock_gettime(CLOCK_MONOTONIC, &start));
	for (;;) {
		before = left;
		if (!nanosleep(&before, &left))
			break;
		check(errno == EINTR);
		/* never more than a clock's step above what was asked for */
		check(left.tv_sec == 0 &&
		      left.tv_nsec <= before.tv_nsec + 1000000);
		interrupted++;
	}
	check(!clock_gettime(CLOCK_MONOTONIC, &end));
	nsec = (end.tv_sec - start.tv_sec) * 1000000000ll +
	       end.tv_nsec - start.tv_nsec;
	check(nsec >= 100000000);
	check(interrupted > 0);
	printf("nanosleep\n");
}

/*
 * SIGSTOP and SIGCONT make nanosleep continue by restart_syscall(), without
 * EINTR: the only calls that go this way.
 */
static void test_restart_block(void)
{
	struct timespec sleep = { 0, 100000000 }, pause = { 0, 4000000 };
	struct pollfd none = { .fd = -1 };
	pid_t child;
	int i, status;

	child = fork();
	check(child >= 0);
	if (child == 0) {
		signal(SIGUSR1, SIG_IGN);
		check(!nanosleep(&sleep, NULL));
		check(poll(&none, 1, 100) == 0);
		_exit(0);
	}
	for (i = 0; i < 20; i++) {
		nanosleep(&pause, NULL);
		if (kill(child, SIGSTOP))
			break;
		check(waitpid(child, &status, WUNTRACED) == child);
		if (!WIFSTOPPED(status))
			break;
		check(!kill(child, SIGCONT));
	}
	if (i == 20)
		check(waitpid(child, &status, 0) == child);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	printf("stopped\n");
}

int main(void)
{
	int fds[2], interrupted = 0;
	char byte;

	expect_ring();

	start_storm(SA_RESTART);
	test_read();
	test_waitpid();
	test_futex();
	test_accept();
	wait_hits(500);
	check(hits > 500);
	stop_storm();

	start_storm(0);
	wait_hits(10);
	check(!pipe(fds));
	while (interrupted < 200) {
		check(read(fds[0], &byte, 1) == -1 && errno == EINTR);
		interrupted++;
	}
	printf("EINTR\n");
	test_nanosleep();
	stop_storm();

	test_restart_block();

	printf("ok\n");
	return 0;
}
