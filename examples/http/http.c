// SPDX-License-Identifier: MIT
/*
 * A small HTTP server: one process, poll(), connections that are kept, one
 * answer for all. What ukl bench measures requests with.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CLIENTS	1024
#define MAX_REQUEST	4096

static const char ANSWER[] =
	"HTTP/1.1 200 OK\r\n"
	"Content-Type: text/plain\r\n"
	"Content-Length: 13\r\n"
	"\r\n"
	"Hello, world\n";

/* What came of a request that is not complete yet. */
struct client {
	size_t length;
	char request[MAX_REQUEST + 1];
};

static struct pollfd polled[1 + MAX_CLIENTS];
static struct client *clients[1 + MAX_CLIENTS];
static nfds_t count = 1;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int listen_on(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, SOMAXCONN))
		die("listen");
	return fd;
}

/* New clients wait in the backlog while there is no room for them. */
static void greet(void)
{
	int on = 1, fd = accept4(polled[0].fd, NULL, NULL, SOCK_NONBLOCK);

	if (fd < 0)
		return;
	clients[count] = calloc(1, sizeof(struct client));
	if (!clients[count] || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))) {
		free(clients[count]);
		close(fd);
		return;
	}
	polled[count++] = (struct pollfd){ fd, POLLIN, 0 };
	polled[0].events = count <= MAX_CLIENTS ? POLLIN : 0;
}

static void drop(nfds_t i)
{
	close(polled[i].fd);
	free(clients[i]);
	polled[i] = polled[--count];
	clients[i] = clients[count];
	polled[0].events = POLLIN;
}

/*
 * Answers all requests that are complete: several may come in one piece, or one
 * in several. A client that does not read its answers is dropped.
 */
static int serve(int fd, struct client *client)
{
	ssize_t n = read(fd, client->request + client->length, MAX_REQUEST - client->length);
	char *at = client->request, *end;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (n == 0)
		return -1;
	client->length += n;
	client->request[client->length] = '\0';
	while ((end = strstr(at, "\r\n\r\n")) != NULL) {
		if (write(fd, ANSWER, sizeof(ANSWER) - 1) != sizeof(ANSWER) - 1)
			return -1;
		at = end + 4;
	}
	client->length -= at - client->request;
	memmove(client->request, at, client->length);
	return client->length == MAX_REQUEST ? -1 : 0;
}

int main(int argc, char **argv)
{
	nfds_t i;

	signal(SIGPIPE, SIG_IGN);
	polled[0] = (struct pollfd){ listen_on(argc > 1 ? atoi(argv[1]) : 80), POLLIN, 0 };
	for (;;) {
		if (poll(polled, count, -1) < 0 && errno != EINTR)
			die("poll");
		/* From the last: what drop() puts in a place was looked at. */
		for (i = count; --i > 0;)
			if (polled[i].revents && serve(polled[i].fd, clients[i]))
				drop(i);
		if (polled[0].revents)
			greet();
	}
}
