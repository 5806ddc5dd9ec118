// SPDX-License-Identifier: GPL-2.0-only
/*
 * The channels to the host: the control channel and the program's streams.  What
 * they go over is said by UKL_TRANSPORT in the environment, which the kernel
 * takes from its command line: "auto" is what there is a device for.  Without it,
 * the image was started by itself: the streams are the console's, and there is no
 * control channel.
 *
 * On what we read from, the host says one byte first, and stays until we are there.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "init.h"

/* How long to wait for the host before the console is told, or a session gives up. */
#define PATIENCE_MS	10000

struct transport {
	const char *name;
	int (*open_output)(enum channel channel);
	int (*open_input)(enum channel channel);	/* written to as well, for CONTROL */
};

/* The device's number in /dev/vportDpN depends on its neighbours. */
static int find_port(int number, char *path, size_t size)
{
	DIR *dev = opendir("/dev");
	struct dirent *entry;
	int device, port, found = 0;

	while (!found && (entry = readdir(dev)))
		found = sscanf(entry->d_name, "vport%dp%d", &device, &port) == 2 &&
			port == number;
	if (found)
		snprintf(path, size, "/dev/vport%dp%d", device, port);
	closedir(dev);
	return found;
}

/* Whose name, which the host gave it, is in sysfs. */
static bool find_named_port(const char *wanted, char *path, size_t size)
{
	DIR *ports = opendir("/sys/class/virtio-ports");
	struct dirent *entry;
	char file[320], name[64];
	bool found = false;
	int fd;
	long n;

	while (ports && !found && (entry = readdir(ports))) {
		snprintf(file, sizeof(file), "/sys/class/virtio-ports/%s/name", entry->d_name);
		fd = open(file, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? -1 : read(fd, name, sizeof(name) - 1);
		if (fd >= 0)
			close(fd);
		name[n > 0 ? n : 0] = 0;
		name[strcspn(name, "\n")] = 0;
		found = !strcmp(name, wanted);
		if (found)
			snprintf(path, size, "/dev/%s", entry->d_name);
	}
	if (ports)
		closedir(ports);
	return found;
}

/*
 * The driver learns of the ports from the host, maybe long after we have
 * started.  However slow the two are, one comes: whether the run takes too
 * long is for the host to say.
 */
static int open_port(int number)
{
	char path[64];
	int fd, patience = PATIENCE_MS;

	watch_devices();
	for (;;) {
		if (find_port(number, path, sizeof(path))) {
			fd = open(path, O_RDWR | O_CLOEXEC);
			if (fd >= 0)
				return fd;
			if (errno != ENXIO)	/* not its own yet */
				fail(path);
			usleep(1000);
		} else if (!await_device(patience)) {
			say("init: still waiting for port %d of the host\n", number);
			patience = -1;
		}
	}
}

/*
 * Data comes by another way than the news that the host is there, and may be first:
 * the next read would then end like one from a closed port.  A port without a host
 * can be read and hangs up, one that was removed only hangs up (port_fops_poll() of
 * drivers/char/virtio_console.c).
 */
static bool is_connected(int fd)
{
	struct pollfd port = { .fd = fd, .events = POLLIN };

	poll(&port, 1, 0);
	return port.revents != (POLLIN | POLLHUP);
}

/*
 * Until the driver knows that the host is there, a read ends like one from a
 * closed port; SIGIO, which is blocked, tells of the change.  For the host's
 * first byte a read then waits.  False if the port was removed.
 */
static bool await_host(int fd)
{
	/* The driver sends SIGIO a moment before it notes that a port was removed. */
	static const struct timespec moment = { .tv_sec = 1 };
	sigset_t io;
	char greeting;
	long n;

	sigemptyset(&io);
	sigaddset(&io, SIGIO);
	if (fcntl(fd, F_SETOWN, getpid()) || fcntl(fd, F_SETFL, O_ASYNC))
		fail("SIGIO");
	while ((n = read(fd, &greeting, 1)) == 0)
		sigtimedwait(&io, NULL, &moment);
	while (n == 1 && !is_connected(fd))
		sigtimedwait(&io, NULL, &moment);
	fcntl(fd, F_SETFL, 0);
	return n == 1;
}

static int open_input_port(int number)
{
	int fd = open_port(number);

	if (!await_host(fd))
		fail("a port of the host's");
	return fd;
}

/* By name: the number may still be that of another, which is on its way out. */
static int try_session_port(long id, int flags)
{
	char name[32], path[272];

	snprintf(name, sizeof(name), "ukl.session%ld", id);
	return find_named_port(name, path, sizeof(path)) ? open(path, O_RDWR | O_CLOEXEC | flags) : -1;
}

/*
 * -1 if it does not come: who asked for it has gone already.  It has its name a
 * moment after its node, and sysfs tells nobody: we look again.
 */
static int find_session_port(long id, int flags)
{
	long end = now_ms() + PATIENCE_MS;
	int fd;

	while ((fd = try_session_port(id, flags)) < 0 && now_ms() < end)
		usleep(1000);
	return fd;
}

int open_session_port(long id)
{
	int fd = find_session_port(id, 0);

	if (fd < 0 || await_host(fd))
		return fd;
	close(fd);
	return -1;
}

/* To who waits for its end, in the name of a session that cannot say it; a slow reader is not waited for. */
void tell_lost_session(long id, bool opened)
{
	static const char frame[] = { 'x', 4, 0, 0, 0, 'l', 'o', 's', 't' };
	int fd = opened ? try_session_port(id, O_NONBLOCK) : find_session_port(id, O_NONBLOCK);

	if (fd < 0)
		return;
	if (write(fd, frame, sizeof(frame)) < 0)
		say("init: session %ld is lost, and nobody listens\n", id);
	close(fd);
}

/* Port 0 is kept for a console. */
static int open_output_channel(enum channel channel)
{
	return open_port(channel + 1);
}

/* The host does not end the program's input before it hears that we know of it. */
static int open_input_channel(enum channel channel)
{
	int fd = open_input_port(channel + 1);

	if (channel == STDIN && write(fd, "\n", 1) != 1)
		fail("the host's end of standard input");
	return fd;
}

static int open_console(enum channel channel)
{
	int fd;

	if (channel == CONTROL)
		return -1;
	fd = open("/dev/console", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail("/dev/console");
	return fd;
}

static const struct transport transports[] = {
	{ "virtio-serial", open_output_channel, open_input_channel },
};

static const struct transport without_host = { NULL, open_console, open_console };

static const struct transport *transport = &without_host;

/* How long a device may take to say which ports it has. */
#define PORTS_MS	3000

static bool in_directory(const char *path, const char *prefix)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	bool found = false;

	while (directory && !found && (entry = readdir(directory)))
		found = !strncmp(entry->d_name, prefix, strlen(prefix));
	if (directory)
		closedir(directory);
	return found;
}

/* A device for ports may be an agent's of the hypervisor's: only ours has our names. */
static bool have_tool(void)
{
	long end = now_ms() + PORTS_MS, left;
	char path[272];
	bool found;

	watch_devices();
	while (!(found = find_named_port("ukl.control", path, sizeof(path))) &&
	       in_directory("/sys/bus/virtio/drivers/virtio_console", "virtio") &&
	       (left = end - now_ms()) > 0)
		await_device(left);
	return found;
}

void choose_transport(void)
{
	const char *name = getenv("UKL_TRANSPORT");
	char what[128];
	size_t i;

	/* A medium says the same wherever it is started. */
	if (name && !strcmp(name, "auto")) {
		mount_kernel_files();
		name = have_tool() ? "virtio-serial" : NULL;
	}
	if (!name)
		return;
	for (i = 0; i < sizeof(transports) / sizeof(transports[0]); i++) {
		if (!strcmp(name, transports[i].name)) {
			transport = &transports[i];
			return;
		}
	}
	snprintf(what, sizeof(what), "UKL_TRANSPORT=%s", name);
	errno = EPROTONOSUPPORT;
	fail(what);
}

bool have_host(void)
{
	return transport != &without_host;
}

int open_output(enum channel channel)
{
	return transport->open_output(channel);
}

int open_input(enum channel channel)
{
	return transport->open_input(channel);
}
