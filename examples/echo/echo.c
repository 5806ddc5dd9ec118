// SPDX-License-Identifier: MIT
/* Sends back what it receives, to one client: argv[1], which has the other end as its standard input. */
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A connection over TCP: what is written to one end is read from the other. */
static int connect_ends(int ends[2])
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	ends[1] = socket(AF_INET, SOCK_STREAM, 0);
	if (listen(listener, 1) || getsockname(listener, (struct sockaddr *)&at, &len) ||
	    connect(ends[1], (struct sockaddr *)&at, len))
		return -1;
	ends[0] = accept(listener, NULL, NULL);
	close(listener);
	return ends[0] < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	char buffer[4096];
	int ends[2], status;
	ssize_t n;

	if (argc != 2 || connect_ends(ends)) {
		perror("echo");
		return 1;
	}
	if (fork() == 0) {
		dup2(ends[1], 0);
		close(ends[0]);
		close(ends[1]);
		execl(argv[1], "client", NULL);
		_exit(127);
	}
	close(ends[1]);

	while ((n = read(ends[0], buffer, sizeof(buffer))) > 0)
		if (write(ends[0], buffer, n) != n)
			return 1;

	return n < 0 || wait(&status) < 0 || status != 0;
}
