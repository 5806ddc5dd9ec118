// SPDX-License-Identifier: GPL-2.0-only
/* The machine as the program finds it, but for its network and its disks. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "init.h"

/* A mount point may hang below directories that nobody made. */
static void make_path(const char *path)
{
	char part[256];
	size_t i;

	for (i = 1; i < sizeof(part) - 1 && path[i - 1]; i++) {
		if (path[i] && path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		mkdir(part, 0755);
	}
}

/* False, with errno, if it cannot be mounted. */
bool try_mount(const char *type, const char *source, const char *path, const char *options)
{
	make_path(path);
	return mount(source, path, type, 0, options) == 0;
}

void mount_on(const char *type, const char *source, const char *path, const char *options)
{
	if (!try_mount(type, source, path, options))
		fail(path);
}

void mount_devices(void)
{
	mount_on("devtmpfs", "dev", "/dev", NULL);
}

/* Never closed: that would wait for grace periods of SRCU, ticks of 4 ms each. */
static struct pollfd devices = { .fd = -1, .events = POLLIN };

/* From here on, devices that come are noticed: who looks for one looks after this. */
void watch_devices(void)
{
	static pid_t watcher;

	/* A child's would take events from its parent's. */
	if (watcher == getpid())
		return;
	watcher = getpid();
	devices.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (inotify_add_watch(devices.fd, "/dev", IN_CREATE) < 0)
		fail("/dev");
}

/* Whether one has come, within so many milliseconds; -1 waits for ever. */
bool await_device(int ms)
{
	char events[4096];

	if (poll(&devices, 1, ms) == 0)
		return false;
	while (read(devices.fd, events, sizeof(events)) > 0)
		;
	return true;
}

void mount_kernel_files(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	mount_on("proc", "proc", "/proc", NULL);
	mount_on("sysfs", "sys", "/sys", NULL);
	mount_on("devpts", "pts", "/dev/pts", "ptmxmode=0666");
	mount_on("tmpfs", "shm", "/dev/shm", "mode=1777");
	symlink("/proc/self/fd", "/dev/fd");
	symlink("fd/0", "/dev/stdin");
	symlink("fd/1", "/dev/stdout");
	symlink("fd/2", "/dev/stderr");
}

/* By nanoseconds since 1970; 0 is no time. */
void take_time(long time)
{
	struct timespec now = { time / 1000000000, time % 1000000000 };

	if (time > 0)
		clock_settime(CLOCK_REALTIME, &now);
}

/* The clock chip counts whole seconds: ask the host. */
void set_clock(void)
{
	struct message message;
	char c;

	tell_clock();
	do {
		if (read(control, &c, 1) != 1)
			return;
	} while (!decode(c, &message) || message.type != MESSAGE_TIME);
	take_time(message.number);
}

/*
 * Kernel modules in /.ukl/modules are loaded in the order of their names, 0, 1,
 * ...: the image's shortcuts.  Before anyone else runs, and after that nobody
 * can load another one.  The sysctl can only be set; a kernel without modules
 * lacks it.
 */
void load_modules(void)
{
	char path[32];
	int fd, i;

	for (i = 0;; i++) {
		snprintf(path, sizeof(path), "/.ukl/modules/%d", i);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			break;
		if (syscall(SYS_finit_module, fd, "", 0))
			fail(path);
		close(fd);
	}
	fd = open("/proc/sys/kernel/modules_disabled", O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0 || write(fd, "1", 1) != 1)
		fail("modules_disabled");
	close(fd);
}

/*
 * An idle guest is to stay idle.  Whoever wants large pages has memory compacted
 * then, rather than a thread twice a second ahead of that; counters that only
 * /proc/vmstat shows are added up each minute, rather than each second.
 */
void keep_quiet(void)
{
	static const char * const settings[][2] = {
		{ "/proc/sys/vm/compaction_proactiveness", "0" },
		{ "/proc/sys/vm/stat_interval", "60" },
	};
	unsigned int i;
	int fd;

	for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		fd = open(settings[i][0], O_WRONLY | O_CLOEXEC);
		/* A kernel without it does not do it. */
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0 || write(fd, settings[i][1], strlen(settings[i][1])) < 0)
			fail(settings[i][0]);
		close(fd);
	}
}

/*
 * Root in ring 3 chooses the programs that the kernel starts by itself, with
 * all of its capabilities: /proc/sys/kernel/core_pattern, kernel.modprobe and
 * their like.  They start without this one, and what is named there is then
 * an ordinary program.  The kernel takes from these sets what it is not given,
 * and never adds to them.
 */
void confine_helpers(void)
{
	static const char * const sets[] = {
		"/proc/sys/kernel/usermodehelper/bset",
		"/proc/sys/kernel/usermodehelper/inheritable",
	};
	unsigned int i;
	int fd;

	for (i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		fd = open(sets[i], O_WRONLY | O_CLOEXEC);
		if (fd < 0 || dprintf(fd, "%u %u\n", ~CAP_TO_MASK(CAP_SYS_RAWIO), ~0u) < 0)
			fail(sets[i]);
		close(fd);
	}
}
