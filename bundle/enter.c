// SPDX-License-Identifier: GPL-2.0-only
/*
 * Starts a command where a container engine wants a container's process:
 *
 *	enter [-n PATH | -N] [-t SOCKET] COMMAND [ARGUMENT...]
 *
 * -n PATH	in the network name space that this file is
 * -N		in a new one
 * -t SOCKET	at a terminal of its own, whose other end goes to this socket
 *		(runc's docs/terminals.md)
 *
 * Whoever starts us has made us the leader of a session.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

static void __attribute__((noreturn)) fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(125);
}

static void enter_network(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		fail(path);
	close(fd);
}

/*
 * A sysfs shows the devices of the network name space that it was mounted in.
 * Mounts of the host's still come to us, and none of ours goes there.
 */
static void show_devices(void)
{
	if (unshare(CLONE_NEWNS) || mount("", "/", "none", MS_SLAVE | MS_REC, NULL) ||
	    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		fail("/sys");
}

/* The receiver knows a terminal by the name that comes with it. */
static void send_file(const char *path, int file, const char *name)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct iovec text = { .iov_base = (char *)name, .iov_len = strlen(name) };
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .bytes = { 0 } };
	struct msghdr message = {
		.msg_iov = &text, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(to.sun_path)) {
		errno = ENAMETOOLONG;
		fail(path);
	}
	strcpy(to.sun_path, path);
	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.head), &file, sizeof(int));
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) || sendmsg(fd, &message, 0) < 0)
		fail(path);
	close(fd);
}

static void sit_at_terminal(const char *socket)
{
	int ours = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), theirs, i;
	struct termios mode;
	const char *name;

	if (ours < 0 || grantpt(ours) || unlockpt(ours) || !(name = ptsname(ours)))
		fail("/dev/ptmx");
	theirs = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (theirs < 0 || ioctl(theirs, TIOCSCTTY, 0) || tcgetattr(theirs, &mode))
		fail(name);
	/* The guest's own terminal edits lines and knows Ctrl-C: all goes through this one as it is. */
	cfmakeraw(&mode);
	if (tcsetattr(theirs, TCSANOW, &mode))
		fail(name);
	send_file(socket, ours, name);
	close(ours);
	for (i = 0; i < 3; i++)
		if (dup2(theirs, i) < 0)
			fail(name);
}

int main(int argc, char **argv)
{
	const char *network = NULL, *terminal = NULL;
	int option, fresh = 0;

	while ((option = getopt(argc, argv, "+n:Nt:")) != -1) {
		switch (option) {
		case 'n':
			network = optarg;
			break;
		case 'N':
			fresh = 1;
			break;
		case 't':
			terminal = optarg;
			break;
		default:
			return 125;
		}
	}
	if (optind == argc)
		return 125;
	if (network)
		enter_network(network);
	if (fresh && unshare(CLONE_NEWNET))
		fail("network");
	if (network || fresh)
		show_devices();
	/* Last: what failed before is told where somebody listens. */
	if (terminal)
		sit_at_terminal(terminal);
	execvp(argv[optind], argv + optind);
	fail(argv[optind]);
}
