// SPDX-License-Identifier: MIT
/*
 * Unix sockets of all types with descriptors passed along, TCP and UDP over
 * loopback, megabytes checked byte by byte.
 */
#include "guest.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#define TOTAL	(2 << 20)

static uint32_t next(uint32_t *state)
{
	return *state = *state * 1664525 + 1013904223;
}

static void produce(int fd, uint32_t seed)
{
	static unsigned char data[40000];
	uint32_t state = seed, sizes = 5;
	size_t left = TOTAL, n, i, done;
	ssize_t ret;

	while (left) {
		n = 1 + next(&sizes) % sizeof(data);
		if (n > left)
			n = left;
		for (i = 0; i < n; i++)
			data[i] = next(&state) >> 16;
		for (done = 0; done < n; done += ret) {
			ret = send(fd, data + done, n - done, 0);
			check(ret > 0);
		}
		left -= n;
	}
}

static void consume(int fd, uint32_t seed)
{
	static unsigned char data[30000];
	uint32_t state = seed;
	size_t got = 0;
	ssize_t n, i;

	while (got < TOTAL) {
		n = recv(fd, data, sizeof(data), 0);
		check(n > 0);
		for (i = 0; i < n; i++)
			check(data[i] == (unsigned char)(next(&state) >> 16));
		got += n;
	}
	check(got == TOTAL);
}

/* Both ways at once: two processes at each end. */
static void both_ways(const char *name, int a, int b)
{
	pid_t children[3];
	int i;

	for (i = 0; i < 3; i++) {
		children[i] = fork();
		check(children[i] >= 0);
		if (children[i] == 0) {
			if (i == 0)
				produce(a, 1);
			else if (i == 1)
				produce(b, 2);
			else
				consume(a, 2);
			_exit(0);
		}
	}
	consume(b, 1);
	for (i = 0; i < 3; i++)
		join_child(children[i]);
	close(a);
	close(b);
	printf("%s\n", name);
}

static void send_fd(int sock, int fd, char word)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &word, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	check(sendmsg(sock, &msg, 0) == 1);
}

static int receive_fd(int sock, char want)
{
	char control[CMSG_SPACE(sizeof(int))], word;
	struct iovec iov = { &word, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	int fd;

	check(recvmsg(sock, &msg, 0) == 1 && word == want);
	check(CMSG_FIRSTHDR(&msg));
	check(CMSG_FIRSTHDR(&msg)->cmsg_type == SCM_RIGHTS);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return fd;
}

static void test_rights(int type)
{
	int pair[2], fds[2], i;
	pid_t child;
	char byte;

	check(!socketpair(AF_UNIX, type, 0, pair));
	child = fork();
	check(child >= 0);
	if (child == 0) {
		for (i = 0; i < 200; i++) {
			int fd = receive_fd(pair[1], i);

			byte = i ^ 0x55;
			check(write(fd, &byte, 1) == 1);
			close(fd);
		}
		_exit(0);
	}
	for (i = 0; i < 200; i++) {
		check(!pipe(fds));
		send_fd(pair[0], fds[1], i);
		close(fds[1]);
		check(read(fds[0], &byte, 1) == 1);
		check(byte == (char)(i ^ 0x55));
		check(read(fds[0], &byte, 1) == 0);
		close(fds[0]);
	}
	join_child(child);
	close(pair[0]);
	close(pair[1]);
}

/* Messages stay apart, in order. */
static void test_messages(int type)
{
	static char data[5000];
	int pair[2], i, n;
	pid_t child;

	check(!socketpair(AF_UNIX, type, 0, pair));
	child = fork();
	check(child >= 0);
	if (child == 0) {
		for (i = 0; i < 1000; i++) {
			memset(data, i, sizeof(data));
			check(send(pair[1], data, 1 + i * 4, 0) == 1 + i * 4);
		}
		_exit(0);
	}
	for (i = 0; i < 1000; i++) {
		n = recv(pair[0], data, sizeof(data), 0);
		check(n == 1 + i * 4 && data[0] == (char)i && data[n - 1] == (char)i);
	}
	join_child(child);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	struct sockaddr_in addr = { .sin_family = AF_INET }, from;
	socklen_t len = sizeof(addr), from_len;
	int pair[2], server, fd, i, one = 1, client;
	struct pollfd pfd;
	char data[1400];
	pid_t child;
	uint32_t state;
	ssize_t n;
	off_t offset;

	expect_ring();
	check(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	both_ways("unix stream", pair[0], pair[1]);
	test_messages(SOCK_DGRAM);
	test_messages(SOCK_SEQPACKET);
	printf("unix messages\n");
	test_rights(SOCK_STREAM);
	test_rights(SOCK_DGRAM);
	test_rights(SOCK_SEQPACKET);
	printf("rights\n");

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server = socket(AF_INET, SOCK_STREAM, 0);
	check(server >= 0);
	check(!bind(server, (struct sockaddr *)&addr, len));
	check(!getsockname(server, (struct sockaddr *)&addr, &len));
	check(!listen(server, 64));
	client = socket(AF_INET, SOCK_STREAM, 0);
	check(!connect(client, (struct sockaddr *)&addr, len));
	fd = accept(server, NULL, NULL);
	check(fd >= 0);
	both_ways("tcp", client, fd);

	child = fork();
	check(child >= 0);
	if (child == 0) {
		for (i = 0; i < 200; i++) {
			client = socket(AF_INET, SOCK_STREAM, 0);
			check(!connect(client, (struct sockaddr *)&addr, len));
			check(!setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one,
					  sizeof(one)));
			check(write(client, &i, sizeof(i)) == sizeof(i));
			check(read(client, &n, sizeof(n)) == sizeof(n));
			check(n == i * 3);
			close(client);
		}
		_exit(0);
	}
	for (i = 0; i < 200; i++) {
		int got;

		fd = accept(server, NULL, NULL);
		check(fd >= 0);
		check(read(fd, &got, sizeof(got)) == sizeof(got) && got == i);
		n = got * 3;
		check(write(fd, &n, sizeof(n)) == sizeof(n));
		check(read(fd, &got, 1) == 0);
		close(fd);
	}
	join_child(child);
	printf("connections\n");

	/* sendfile of the program's own text */
	client = socket(AF_INET, SOCK_STREAM, 0);
	check(!connect(client, (struct sockaddr *)&addr, len));
	fd = accept(server, NULL, NULL);
	server = open("/proc/self/exe", O_RDONLY);
	offset = 4096;
	check(sendfile(client, server, &offset, 1000) == 1000);
	check(recv(fd, data, 1000, MSG_WAITALL) == 1000);
	check(pread(server, data + 1000, 400, 4096) == 400);
	check(!memcmp(data, data + 1000, 400));
	printf("sendfile\n");

	/* UDP: answered one by one, so that none is lost */
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	addr.sin_port = 0;
	check(!bind(fd, (struct sockaddr *)&addr, len));
	check(!getsockname(fd, (struct sockaddr *)&addr, &len));
	child = fork();
	check(child >= 0);
	if (child == 0) {
		client = socket(AF_INET, SOCK_DGRAM, 0);
		state = 9;
		for (i = 0; i < 1000; i++) {
			for (n = 0; n < (ssize_t)sizeof(data); n++)
				data[n] = next(&state) >> 16;
			check(sendto(client, data, sizeof(data), 0,
				     (struct sockaddr *)&addr, len) ==
			      sizeof(data));
			pfd = (struct pollfd){ client, POLLIN, 0 };
			check(poll(&pfd, 1, -1) == 1);
			check(recv(client, &n, sizeof(n), 0) == sizeof(n));
			check(n == i);
		}
		_exit(0);
	}
	state = 9;
	for (i = 0; i < 1000; i++) {
		from_len = sizeof(from);
		check(recvfrom(fd, data, sizeof(data), 0,
			       (struct sockaddr *)&from, &from_len) ==
		      sizeof(data));
		for (n = 0; n < (ssize_t)sizeof(data); n++)
			check(data[n] == (char)(next(&state) >> 16));
		n = i;
		check(sendto(fd, &n, sizeof(n), 0, (struct sockaddr *)&from,
			     from_len) == sizeof(n));
	}
	join_child(child);
	printf("udp\n");

	printf("ok\n");
	return 0;
}
