// SPDX-License-Identifier: MIT
/*
 * Echoes what comes by <ukl-upcall.h>, three bytes at least at a time; "bye" ends a
 * connection with a long answer. Says what clients left.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <ukl-upcall.h>

static char farewell[500000];

static ssize_t echo(struct ukl_client *client, const char *bytes, size_t length)
{
	if (!bytes) {
		puts("left");
		fflush(stdout);
		return 0;
	}
	if (length < 3)
		return 0;
	if (!memcmp(bytes, "bye", 3)) {
		memset(farewell, 'b', sizeof(farewell));
		ukl_reply(client, farewell, sizeof(farewell));
		return -1;
	}
	ukl_reply(client, bytes, length);
	return length;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 7) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), half = ukl_call("ukl_upcall_open");

	puts(half < 0 ? "without the kernel half" : "with the kernel half");
	fflush(stdout);
	close(half);

	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, SOMAXCONN)) {
		perror("listen");
		return 1;
	}
	ukl_serve(fd, echo);
	perror("serve");
	return 1;
}
