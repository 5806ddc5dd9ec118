// SPDX-License-Identifier: MIT
/*
 * What the kernel's services cost: guest instructions each, as the time-stamp
 * counter counts them under -icount. One line each: name and count.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/futex.h>
#include <x86intrin.h>

#define PAGE 4096

static char buffer[1 << 16];
static int files[2], pipes[2], sockets[2], epoll_fd;
static volatile long sink;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* The median of a few rounds; the first is for the emulator, which translates code at its first run. */
#define ROUNDS 7

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void measure(const char *name, int times, void (*operation)(void))
{
	double counts[ROUNDS];
	unsigned long start;
	int round, i;

	operation();
	for (round = 0; round < ROUNDS; round++) {
		start = __rdtsc();
		for (i = 0; i < times; i++)
			operation();
		counts[round] = (double)(__rdtsc() - start) / times;
	}
	qsort(counts + 1, ROUNDS - 1, sizeof(counts[0]), compare);
	printf("%s %.0f\n", name, counts[1 + (ROUNDS - 1) / 2]);
	fflush(stdout);
}

static void null_call(void) { sink = getppid(); }
static void read_1(void) { if (pread(files[0], buffer, 1, 0) != 1) die("read"); }
static void read_64k(void) { if (pread(files[0], buffer, sizeof(buffer), 0) < 0) die("read"); }
static void write_1(void) { if (pwrite(files[1], buffer, 1, 0) != 1) die("write"); }
static void write_64k(void) { if (pwrite(files[1], buffer, sizeof(buffer), 0) < 0) die("write"); }

static void send_recv(void)
{
	if (send(sockets[0], buffer, 64, 0) != 64 || recv(sockets[1], buffer, 64, 0) != 64)
		die("send");
}

static void select_1(void)
{
	struct timeval now = { 0, 0 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(pipes[0], &set);
	if (select(pipes[0] + 1, &set, NULL, NULL, &now) < 0)
		die("select");
}

static void poll_10(void)
{
	struct pollfd fds[10];
	int i;

	for (i = 0; i < 10; i++)
		fds[i] = (struct pollfd){ .fd = pipes[0], .events = POLLIN };
	if (poll(fds, 10, 0) < 0)
		die("poll");
}

static void epoll(void)
{
	struct epoll_event events[10];

	if (epoll_wait(epoll_fd, events, 10, 0) != 1)
		die("epoll_wait");
}

static void map_unmap(void)
{
	char *map = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED || munmap(map, 16 * PAGE))
		die("mmap");
}

#define FAULTS 64

/* FAULTS pages; mapping and unmapping, or the thread, are in it, on all sides alike. */
static void heap_faults(void)
{
	char *map = mmap(NULL, FAULTS * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i;

	for (i = 0; i < FAULTS; i++)
		map[i * PAGE] = 1;
	munmap(map, FAULTS * PAGE);
}

static void *deep(void *unused)
{
	volatile char frames[FAULTS * PAGE];
	int i;

	for (i = FAULTS - 1; i >= 0; i--)
		frames[i * PAGE] = 1;
	sink = frames[0];
	return unused;
}

static void start_thread(void *(*function)(void *))
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, function, NULL) || pthread_join(thread, NULL))
		die("pthread_create");
}

static void *nothing(void *unused) { return unused; }
static void thread(void) { start_thread(nothing); }
static void stack_faults(void) { start_thread(deep); }

static void fork_wait(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	if (child < 0 || waitpid(child, NULL, 0) != child)
		die("fork");
}

static void signal_self(void) { raise(SIGUSR1); }
static void handle(int number) { sink = number; }

static void futex_wake(void)
{
	static int word;

	syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	sink = time.tv_nsec;
}

/* Two processes and a byte that goes to and fro: two switches. */
static int there[2], back[2];

static void switch_twice(void)
{
	if (write(there[1], buffer, 1) != 1 || read(back[0], buffer, 1) != 1)
		die("pipe");
}

static void start_partner(void)
{
	char byte;

	if (pipe(there) || pipe(back))
		die("pipe");
	if (fork() == 0) {
		close(there[1]);
		while (read(there[0], &byte, 1) == 1)
			if (write(back[1], &byte, 1) != 1)
				_exit(1);
		_exit(0);
	}
}

static void connect_sockets(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (bind(listener, (void *)&address, length) || listen(listener, 1) ||
	    getsockname(listener, (void *)&address, &length))
		die("listen");
	sockets[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(sockets[0], (void *)&address, length))
		die("connect");
	sockets[1] = accept(listener, NULL, NULL);
	setsockopt(sockets[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	close(listener);
}

/* Timer interrupts of the processor that this runs on, the only one. */
static long ticks(void)
{
	char line[256];
	long count = 0;
	FILE *file = fopen("/proc/interrupts", "r");

	while (file && fgets(line, sizeof(line), file))
		sscanf(line, " LOC: %ld", &count);
	fclose(file);
	return count;
}

static unsigned long spin(long times)
{
	unsigned long start = __rdtsc();

	while (times--)
		asm volatile("" : "+r"(times));
	return __rdtsc() - start;
}

/* What a tick takes from a program that makes no call: from the first instruction missed to the next made. */
static void measure_interrupt(void)
{
	const long few = 100000, many = 100000000;
	unsigned long best = ~0UL, spent;
	long before, after;
	int i;

	for (i = 0; i < 20; i++) {
		spent = spin(few);
		if (spent < best)
			best = spent;
	}
	before = ticks();
	spent = spin(many);
	after = ticks();
	printf("tick %.0f\n", (spent - (double)best / few * many) / (after - before));
}

int main(void)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct sigaction action = { .sa_handler = handle };

	files[0] = files[1] = open("/tmp/file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (files[0] < 0 || write(files[0], buffer, sizeof(buffer)) != sizeof(buffer) || pipe(pipes))
		die("open");
	if (write(pipes[1], "x", 1) != 1)
		die("pipe");
	epoll_fd = epoll_create1(0);
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pipes[0], &event);
	connect_sockets();
	sigaction(SIGUSR1, &action, NULL);

	measure("null", 2000, null_call);
	measure("clock", 2000, now);
	measure("read-1", 1000, read_1);
	measure("read-64k", 200, read_64k);
	measure("write-1", 1000, write_1);
	measure("write-64k", 200, write_64k);
	measure("send-recv", 500, send_recv);
	measure("select", 500, select_1);
	measure("poll-10", 500, poll_10);
	measure("epoll", 500, epoll);
	measure("mmap-munmap", 500, map_unmap);
	measure("faults-heap-64", 50, heap_faults);
	measure("faults-stack-64", 50, stack_faults);
	measure("thread", 100, thread);
	measure("fork", 50, fork_wait);
	measure("signal", 500, signal_self);
	measure("futex-wake", 1000, futex_wake);
	start_partner();
	measure("switch-2", 500, switch_twice);
	measure_interrupt();
	return 0;
}
