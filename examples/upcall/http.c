// SPDX-License-Identifier: MIT
/*
 * The server of examples/http as a handler: it reads requests where the network
 * card left them.  The same program polls and reads where that is not to be had.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <ukl-upcall.h>

static const char ANSWER[] =
	"HTTP/1.1 200 OK\r\n"
	"Content-Type: text/plain\r\n"
	"Content-Length: 13\r\n"
	"\r\n"
	"Hello, world\n";

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int listen_on(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, SOMAXCONN))
		die("listen");
	return fd;
}

/* Answers all requests that are complete; the rest is kept until more comes. */
static ssize_t serve(struct ukl_client *client, const char *bytes, size_t length)
{
	const char *at = bytes, *end;

	if (!bytes)
		return 0;
	while ((end = memmem(at, length - (at - bytes), "\r\n\r\n", 4)) != NULL) {
		ukl_reply(client, ANSWER, sizeof(ANSWER) - 1);
		at = end + 4;
	}
	return at - bytes;
}

int main(int argc, char **argv)
{
	ukl_serve(listen_on(argc > 1 ? atoi(argv[1]) : 80), serve);
	die("serve");
}
