// SPDX-License-Identifier: MIT
/* Pipes: bulk data, SIGPIPE, splice, tee and vmsplice. */
#include "guest.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define TOTAL	(6 << 20)

static volatile sig_atomic_t broken;

static void on_pipe(int signo)
{
	(void)signo;
	broken++;
}

static uint32_t next(uint32_t *state)
{
	return *state = *state * 1664525 + 1013904223;
}

/* Writes the sequence in pieces of odd sizes. */
static void produce(int fd)
{
	static unsigned char data[70000];
	uint32_t state = 1, sizes = 2;
	size_t left = TOTAL, n, i, done;
	ssize_t ret;

	while (left) {
		n = 1 + next(&sizes) % (sizeof(data) - 1);
		if (n > left)
			n = left;
		for (i = 0; i < n; i++)
			data[i] = next(&state) >> 16;
		for (done = 0; done < n; done += ret) {
			ret = write(fd, data + done, n - done);
			check(ret > 0);
		}
		left -= n;
	}
}

static void consume(int fd)
{
	static unsigned char data[50000];
	uint32_t state = 1, sizes = 3;
	size_t got = 0;
	ssize_t n, i;

	while ((n = read(fd, data, 1 + next(&sizes) % sizeof(data))) > 0) {
		for (i = 0; i < n; i++)
			check(data[i] == (unsigned char)(next(&state) >> 16));
		got += n;
	}
	check(n == 0 && got == TOTAL);
}

int main(void)
{
	int in[2], out[2], copy[2], fd, i, status;
	static char page[8192] __attribute__((aligned(4096)));
	struct iovec iov;
	char *code, buffer[8192];
	pid_t child, mover;
	ssize_t n;

	expect_ring();
	check(!pipe(in));
	child = fork();
	check(child >= 0);
	if (child == 0) {
		close(in[0]);
		produce(in[1]);
		_exit(0);
	}
	close(in[1]);
	consume(in[0]);
	close(in[0]);
	join_child(child);
	printf("bulk\n");

	/* a third process moves the data from pipe to pipe unseen */
	check(!pipe(in) && !pipe(out));
	child = fork();
	check(child >= 0);
	if (child == 0) {
		close(in[0]); close(out[0]); close(out[1]);
		produce(in[1]);
		_exit(0);
	}
	mover = fork();
	check(mover >= 0);
	if (mover == 0) {
		close(in[1]); close(out[0]);
		while ((n = splice(in[0], NULL, out[1], NULL, 100000,
				   SPLICE_F_MOVE)) > 0)
			;
		_exit(n == 0 ? 0 : 1);
	}
	close(in[0]); close(in[1]); close(out[1]);
	consume(out[0]);
	close(out[0]);
	join_child(child);
	join_child(mover);
	printf("splice\n");

	check(!pipe(in) && !pipe(copy));
	for (i = 0; i < 500; i++) {
		memset(page, i, sizeof(page));
		iov = (struct iovec){ page, 4096 + i };
		check(vmsplice(in[1], &iov, 1, 0) == 4096 + i);
		check(tee(in[0], copy[1], 8192, 0) == 4096 + i);
		for (n = 0; n < 4096 + i; )
			n += read(copy[0], buffer + n, 4096 + i - n);
		check(!memcmp(buffer, page, 4096 + i));
		memset(buffer, 0, sizeof(buffer));
		for (n = 0; n < 4096 + i; )
			n += read(in[0], buffer + n, 4096 + i - n);
		check(!memcmp(buffer, page, 4096 + i));
	}
	/* program text as well: its pages are mapped in another way */
	code = (char *)((unsigned long)produce & -4096ul);
	iov = (struct iovec){ code, 4096 };
	check(vmsplice(in[1], &iov, 1, 0) == 4096);
	check(read(in[0], buffer, 4096) == 4096);
	check(!memcmp(buffer, code, 4096));
	printf("vmsplice and tee\n");

	/* from a file and back to one */
	fd = memfd_create("file", 0);
	check(fd >= 0);
	for (i = 0; i < 16; i++) {
		memset(page, 'a' + i, 4096);
		check(write(fd, page, 4096) == 4096);
	}
	for (i = 15; i >= 0; i--) {
		loff_t offset = i * 4096;

		check(splice(fd, &offset, in[1], NULL, 4096, 0) == 4096);
		check(read(in[0], buffer, 4096) == 4096);
		memset(page, 'a' + i, 4096);
		check(!memcmp(buffer, page, 4096));
		check(write(in[1], buffer, 4096) == 4096);
		offset = (20 + i) * 4096;
		check(splice(in[0], NULL, fd, &offset, 4096, 0) == 4096);
		check(pread(fd, buffer, 4096, (20 + i) * 4096) == 4096);
		check(!memcmp(buffer, page, 4096));
	}
	printf("file\n");

	signal(SIGPIPE, on_pipe);
	for (i = 0; i < 1000; i++) {
		check(!pipe(out));
		close(out[0]);
		check(write(out[1], "x", 1) == -1 && errno == EPIPE);
		close(out[1]);
	}
	check(broken == 1000);
	child = fork();
	check(child >= 0);
	if (child == 0) {
		signal(SIGPIPE, SIG_DFL);
		check(!pipe(out));
		close(out[0]);
		write(out[1], "x", 1) == 1 ? _exit(1) : _exit(2);
	}
	check(waitpid(child, &status, 0) == child);
	check(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
	printf("broken\n");

	printf("ok\n");
	return 0;
}
