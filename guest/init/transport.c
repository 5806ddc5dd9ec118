// SPDX-License-Identifier: GPL-2.0-only
/*
 * The channels to the host: the control channel and the program's streams.  What
 * they go over is said by UKL_TRANSPORT in the environment, which the kernel
 * takes from its command line: "auto" is what there is a device for.  Without it,
 * the image was started by itself: the streams are the console's, and there is no
 * control channel.
 *
 * On what we read from, the host says one byte first.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "init.h"

/* How long to wait for the host before the console is told. */
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

/* Not its own yet, another's still, or one that is being removed: sessions' ports come and go. */
static bool may_come(int error)
{
	return error == ENXIO || error == EBUSY || error == ENODEV || error == ENOENT;
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
			if (!may_come(errno))
				fail(path);
			usleep(1000);
		} else if (!await_device(patience)) {
			/* A session's port that does not come was taken away again. */
			if (getpid() != 1)
				_exit(1);
			say("init: still waiting for port %d of the host\n", number);
			patience = -1;
		}
	}
}

/*
 * Until the driver knows that the host is there, a read ends like one from a
 * closed port; SIGIO, which is blocked, tells of the change.  For the host's
 * first byte a read then waits.
 */
int open_input_port(int number)
{
	sigset_t io;
	char greeting;
	int fd;
	long n;

	sigemptyset(&io);
	sigaddset(&io, SIGIO);
	for (;;) {
		fd = open_port(number);
		if (fcntl(fd, F_SETOWN, getpid()) || fcntl(fd, F_SETFL, O_ASYNC))
			fail("SIGIO");
		while ((n = read(fd, &greeting, 1)) == 0)
			sigwaitinfo(&io, NULL);
		fcntl(fd, F_SETFL, 0);
		if (n == 1)
			return fd;
		/* One of that number was removed while we waited for its greeting. */
		close(fd);
	}
}

/* Port 0 is kept for a console. */
static int open_output_channel(enum channel channel)
{
	return open_port(channel + 1);
}

static int open_input_channel(enum channel channel)
{
	return open_input_port(channel + 1);
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

/* Whether a port has the name that the tool gives its first one (src/vmms/qemu/args.ts). */
static bool have_our_port(void)
{
	DIR *ports = opendir("/sys/class/virtio-ports");
	struct dirent *entry;
	char path[320], name[32];
	bool found = false;
	int fd;
	long n;

	while (ports && !found && (entry = readdir(ports))) {
		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", entry->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? -1 : read(fd, name, sizeof(name) - 1);
		if (fd >= 0)
			close(fd);
		found = n > 0 && !strncmp(name, "ukl.control", 11);
	}
	if (ports)
		closedir(ports);
	return found;
}

/* A device for ports may be an agent's of the hypervisor's: only ours has our names. */
static bool have_tool(void)
{
	long end = now_ms() + PORTS_MS, left;
	bool found;

	watch_devices();
	while (!(found = have_our_port()) &&
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
