// SPDX-License-Identifier: GPL-2.0-only
/*
 * A server that says its VERSION to who connects, and takes updates: "update\n" and the
 * update's bytes.  As BEHAVIOUR says, it ends, panics or hangs the machine instead, or
 * says that it is good.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void behave(const char *how, unsigned short cs)
{
	int fd;

	if (!strcmp(how, "exits")) {
		exit(3);
	} else if (!strcmp(how, "panics")) {
		fd = open("/proc/sysrq-trigger", O_WRONLY);
		if (write(fd, "c", 1) != 1)
			exit(4);
	} else if (!strcmp(how, "hangs")) {
		if (cs & 3)
			exit(5);
		/* Ring 0 may: no interrupt ever comes again. */
		for (;;)
			asm volatile("cli");
	} else if (!strcmp(how, "says")) {
		mkdir("/run/ukl", 0755);
		close(open("/run/ukl/good", O_WRONLY | O_CREAT, 0644));
	}
}

static void update(int client)
{
	if (fork())
		return;
	dup2(client, 0);
	dup2(client, 1);
	dup2(client, 2);
	execl("/.ukl/update", "/.ukl/update", "-", NULL);
	_exit(127);
}

int main(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(8080) };
	const char *version = getenv("VERSION");
	int on = 1, client, server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unsigned short cs;
	char word[7];

	asm("mov %%cs, %0" : "=r"(cs));
	setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(server, (struct sockaddr *)&any, sizeof(any)) || listen(server, 8))
		return 1;
	/* Root may not load a kernel, in whichever ring. */
	syscall(SYS_kexec_file_load, open("/.ukl/init", O_RDONLY | O_CLOEXEC), -1, 1ul, "", 4ul);
	printf("version %s in ring %d: %s\n", version, cs & 3, strerror(errno));
	fflush(stdout);
	signal(SIGCHLD, SIG_IGN);
	behave(getenv("BEHAVIOUR"), cs);
	while ((client = accept4(server, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		dprintf(client, "%s\n", version);
		if (recv(client, word, sizeof(word), MSG_WAITALL) == sizeof(word) &&
		    !memcmp(word, "update\n", sizeof(word)))
			update(client);
		close(client);
	}
	return 1;
}
