// SPDX-License-Identifier: MIT
/*
 * A server in ring 0 that has no judgement: its child in ring 3, the program
 * that the argument names, has it execute any program, or load any library.
 * Each packet on ASK_FD is "exec PATH", "exec PATH PRELOAD", "dlopen PATH" or
 * "protect PATH"; all that comes out is the answer.  With --ring, prints its ring and ends.
 */
#include "guest.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define ASK_FD	3

/* In a child in ring 0, whose output is the answer. */
static void do_as_asked(const char *what, const char *path, const char *preload)
{
	void *p;

	if (!strcmp(what, "dlopen")) {
		/* A constructor of it speaks for itself. */
		if (!dlopen(path, RTLD_NOW | RTLD_GLOBAL))
			printf("%s\n", dlerror());
		fflush(stdout);
		_exit(0);
	}
	if (!strcmp(what, "protect")) {
		/* First data, then code: the other way to map it. */
		p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, open(path, O_RDONLY), 0);
		check(p != MAP_FAILED);
		printf("code in ring %d\n", mprotect(p, 4096, PROT_READ | PROT_EXEC) ? 3 : cpl());
		fflush(stdout);
		_exit(0);
	}
	if (*preload)
		check(!setenv("LD_PRELOAD", preload, 1));
	execl(path, path, "--ring", NULL);
	_exit(errno);
}

static int serve(const char *program)
{
	char ask[600], answer[4096], what[9], path[256], preload[256];
	int sockets[2], fds[2], status;
	pid_t child, helper;
	ssize_t n, got;

	check(cpl() == 0);
	check(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets));
	child = fork();
	check(child >= 0);
	if (child == 0) {
		check(dup2(sockets[1], ASK_FD) == ASK_FD);
		check(!fcntl(ASK_FD, F_SETFD, 0));
		execl(program, program, NULL);
		check(!"exec");
	}
	close(sockets[1]);
	while ((n = recv(sockets[0], ask, sizeof(ask) - 1, 0)) > 0) {
		ask[n] = 0;
		*preload = 0;
		check(sscanf(ask, "%8s %255s %255s", what, path, preload) >= 2);
		check(!pipe2(fds, O_CLOEXEC));
		helper = fork();
		check(helper >= 0);
		if (helper == 0) {
			check(dup2(fds[1], 1) == 1 && dup2(fds[1], 2) == 2);
			do_as_asked(what, path, preload);
		}
		close(fds[1]);
		for (got = 0; (n = read(fds[0], answer + got, sizeof(answer) - got)) > 0;)
			got += n;
		close(fds[0]);
		check(waitpid(helper, &status, 0) == helper);
		if (!got)
			got = snprintf(answer, sizeof(answer), "status %x\n", status);
		check(send(sockets[0], answer, got, 0) == got);
	}
	check(waitpid(child, &status, 0) == child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
	check(argc == 2);
	if (!strcmp(argv[1], "--ring")) {
		printf("ring %d\n", cpl());
		return 0;
	}
	return serve(argv[1]);
}
