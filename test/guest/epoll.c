// SPDX-License-Identifier: MIT
/* epoll, level and edge triggered and one shot, over every kind of fd. */
#include "guest.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define PAIRS	50
#define ROUNDS	40

static int ep;

static void add(int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	check(!epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
}

static int ready(void)
{
	struct epoll_event event;
	int n = epoll_wait(ep, &event, 1, 0);

	check(n >= 0);
	return n ? event.data.fd : -1;
}

static void *count_up(void *arg)
{
	uint64_t one = 1;
	int i;

	for (i = 0; i < 2000; i++)
		check(write(*(int *)arg, &one, 8) == 8);
	return NULL;
}

int main(void)
{
	int fds[2], fd, i, n, pairs[PAIRS][2], sums[PAIRS] = { 0 }, closed = 0;
	struct itimerspec spec = { { 0, 1000000 }, { 0, 1000000 } };
	struct epoll_event event, events[16];
	struct signalfd_siginfo info;
	uint64_t value, total;
	pthread_t thread;
	sigset_t mask;
	pid_t child;
	char c;

	expect_ring();
	ep = epoll_create1(EPOLL_CLOEXEC);
	check(ep >= 0);

	check(!pipe2(fds, O_NONBLOCK));
	add(fds[0], EPOLLIN);
	check(ready() == -1);
	check(write(fds[1], "ab", 2) == 2);
	check(ready() == fds[0] && ready() == fds[0]);
	check(read(fds[0], &c, 1) == 1 && ready() == fds[0]);
	check(read(fds[0], &c, 1) == 1 && ready() == -1);
	printf("level\n");

	event = (struct epoll_event){ EPOLLIN | EPOLLET, { .fd = fds[0] } };
	check(!epoll_ctl(ep, EPOLL_CTL_MOD, fds[0], &event));
	check(write(fds[1], "ab", 2) == 2);
	check(ready() == fds[0] && ready() == -1);
	check(read(fds[0], &c, 1) == 1 && ready() == -1);
	check(write(fds[1], "c", 1) == 1);
	check(ready() == fds[0] && ready() == -1);
	printf("edge\n");

	event.events = EPOLLIN | EPOLLONESHOT;
	check(!epoll_ctl(ep, EPOLL_CTL_MOD, fds[0], &event));
	check(ready() == fds[0] && ready() == -1);
	check(write(fds[1], "d", 1) == 1 && ready() == -1);
	check(!epoll_ctl(ep, EPOLL_CTL_MOD, fds[0], &event));
	check(ready() == fds[0] && ready() == -1);
	check(!epoll_ctl(ep, EPOLL_CTL_DEL, fds[0], NULL));
	printf("one shot\n");

	fd = eventfd(0, EFD_NONBLOCK);
	check(fd >= 0);
	add(fd, EPOLLIN);
	check(!pthread_create(&thread, NULL, count_up, &fd));
	for (total = 0; total < 2000; ) {
		check(epoll_wait(ep, &event, 1, -1) == 1 && event.data.fd == fd);
		check(read(fd, &value, 8) == 8);
		total += value;
	}
	check(!pthread_join(thread, NULL));
	check(read(fd, &value, 8) == -1 && errno == EAGAIN && ready() == -1);
	close(fd);
	printf("eventfd %d\n", (int)total);

	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGCHLD);
	check(!sigprocmask(SIG_BLOCK, &mask, NULL));
	fd = signalfd(-1, &mask, 0);
	check(fd >= 0);
	add(fd, EPOLLIN);
	for (i = 0; i < 100; i++) {
		child = fork();
		check(child >= 0);
		if (child == 0)
			_exit(i);
		check(epoll_wait(ep, &event, 1, -1) == 1);
		check(read(fd, &info, sizeof(info)) == sizeof(info));
		check(info.ssi_signo == SIGCHLD && info.ssi_pid == (uint32_t)child);
		check(info.ssi_status == i);
		check(waitpid(child, NULL, 0) == child);
		check(!kill(getpid(), SIGUSR1));
		check(ready() == fd);
		check(read(fd, &info, sizeof(info)) == sizeof(info));
		check(info.ssi_signo == SIGUSR1);
	}
	close(fd);
	check(!sigprocmask(SIG_UNBLOCK, &mask, NULL));
	printf("signalfd\n");

	fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	check(fd >= 0);
	add(fd, EPOLLIN | EPOLLET);
	check(!timerfd_settime(fd, 0, &spec, NULL));
	for (total = 0; total < 20; total += value) {
		check(epoll_wait(ep, &event, 1, -1) == 1);
		check(read(fd, &value, 8) == 8 && value > 0);
	}
	close(fd);
	check(epoll_wait(ep, &event, 1, 3) == 0);
	printf("timerfd\n");

	/* a child writes to many sockets, in an order of its own */
	for (i = 0; i < PAIRS; i++) {
		check(!socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]));
		event = (struct epoll_event){ EPOLLIN | EPOLLRDHUP,
					      { .u32 = i } };
		check(!epoll_ctl(ep, EPOLL_CTL_ADD, pairs[i][0], &event));
	}
	child = fork();
	check(child >= 0);
	if (child == 0) {
		for (n = 0; n < PAIRS * ROUNDS; n++) {
			c = n % 100;
			check(write(pairs[n * 7 % PAIRS][1], &c, 1) == 1);
		}
		_exit(0);
	}
	for (i = 0; i < PAIRS; i++)
		close(pairs[i][1]);
	while (closed < PAIRS) {
		n = epoll_wait(ep, events, 16, -1);
		check(n > 0);
		for (i = 0; i < n; i++) {
			int p = events[i].data.u32;

			if (read(pairs[p][0], &c, 1) == 1) {
				sums[p] += c + 1;
			} else {
				closed++;
				close(pairs[p][0]);
			}
		}
	}
	join_child(child);
	for (i = 0, total = 0; i < PAIRS; i++)
		total += sums[i];
	printf("sockets %d\n", (int)total);

	printf("ok\n");
	return 0;
}
