// SPDX-License-Identifier: MIT
/* Sends back what comes, to many clients at once: a thread for each, blocking calls of every kind. */
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Each client is served by calls of one kind. */
static ssize_t take(int kind, int fd, char *to, size_t size)
{
	struct iovec halves[] = { { to, size / 2 }, { to + size / 2, size / 2 } };

	switch (kind) {
	case 0:
		return read(fd, to, size);
	case 1:
		return recv(fd, to, size, 0);
	default:
		return readv(fd, halves, 2);
	}
}

static ssize_t give(int kind, int fd, char *from, size_t size)
{
	struct iovec halves[] = { { from, size / 2 }, { from + size / 2, size - size / 2 } };
	struct msghdr message = { .msg_iov = halves, .msg_iovlen = 2 };

	switch (kind) {
	case 0:
		return write(fd, from, size);
	case 1:
		return send(fd, from, size, MSG_NOSIGNAL);
	case 2:
		return writev(fd, halves, 2);
	default:
		return sendmsg(fd, &message, MSG_NOSIGNAL);
	}
}

static void *serve(void *argument)
{
	int kind = (long)argument % 4, fd = (long)argument / 4;
	char *buffer = malloc(65536);
	ssize_t n, sent, done;

	while (buffer && (n = take(kind, fd, buffer, 65536)) > 0) {
		for (done = 0; done < n; done += sent) {
			sent = give(kind, fd, buffer + done, n - done);
			if (sent <= 0)
				goto out;
		}
	}
out:
	free(buffer);
	close(fd);
	return NULL;
}

int main(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(7) };
	int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1, fd;
	pthread_attr_t detached;
	pthread_t thread;
	long count = 0;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&detached, 65536);
	if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, SOMAXCONN)) {
		perror("echo");
		return 1;
	}
	for (;;) {
		fd = accept(listener, NULL, NULL);
		if (fd < 0)
			continue;
		while (pthread_create(&thread, &detached, serve, (void *)(fd * 4L + count % 4)))
			usleep(1000);
		count++;
	}
}
