// SPDX-License-Identifier: MIT
/* Sends a pattern to an echo server and compares what comes back: ADDRESS PORT BYTES. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned char at(unsigned long place)
{
	return (place * 2654435761u) >> 13;
}

static void send_all(int fd, unsigned long bytes)
{
	unsigned char block[8192];
	unsigned long sent, i, n;

	for (sent = 0; sent < bytes; sent += n) {
		n = bytes - sent < sizeof(block) ? bytes - sent : sizeof(block);
		for (i = 0; i < n; i++)
			block[i] = at(sent + i);
		if (write(fd, block, n) != (ssize_t)n)
			exit(1);
	}
	shutdown(fd, SHUT_WR);
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0), status;
	unsigned char block[65536];
	unsigned long bytes, got = 0, i;
	ssize_t n;

	if (argc < 4 || !inet_aton(argv[1], &to.sin_addr))
		return 2;
	to.sin_port = htons(atoi(argv[2]));
	bytes = strtoul(argv[3], NULL, 10);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		perror("connect");
		return 1;
	}
	if (!fork()) {
		send_all(fd, bytes);
		_exit(0);
	}
	while ((n = read(fd, block, sizeof(block))) > 0) {
		for (i = 0; i < (unsigned long)n; i++, got++) {
			if (block[i] != at(got)) {
				printf("byte %lu is wrong\n", got);
				return 1;
			}
		}
	}
	wait(&status);
	printf("%lu bytes came back\n", got);
	return n < 0 || status || got != bytes;
}
