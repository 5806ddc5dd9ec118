// SPDX-License-Identifier: GPL-2.0-only
/* Disks, directories that the host shares, and file systems of other machines. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "init.h"

/* How long a server may take to answer, and how long to wait before it is asked again. */
#define PATIENCE_MS	30000
#define RETRY_MS	500

/* What is remote is mounted last. */
static const char *mounted[MAX_MOUNTS];
static int nmounted, nlocal;

static void mount_disk(const char *serial, const char *path)
{
	char name[] = "/sys/block/vda/serial", device[] = "/dev/vda", found[32];
	char letter;
	long n;
	int fd;

	for (letter = 'a'; letter <= 'z'; letter++) {
		name[13] = letter;
		device[7] = letter;
		fd = open(name, O_RDONLY);
		if (fd < 0)
			break;
		n = read(fd, found, sizeof(found) - 1);
		close(fd);
		found[n > 0 ? n : 0] = 0;
		if (strcmp(found, serial) == 0) {
			mount_on("ext4", device, path, NULL);
			return;
		}
	}
	errno = ENODEV;
	fail(path);
}

/*
 * QEMU's 9p server.  The host may change files meanwhile: what is cached is
 * checked again when a file is opened, and written back when it is closed.
 * Without a cache there would be no shared mappings.
 */
static void mount_volume(const char *tag, const char *path)
{
	mount_on("9p", tag, path,
		 "trans=virtio,version=9p2000.L,cache=mmap,msize=512000");
}

static bool is_blank(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	bool blank = dir;

	while (blank && (entry = readdir(dir)))
		blank = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
			!strcmp(entry->d_name, "lost+found");
	if (dir)
		closedir(dir);
	return blank;
}

/*
 * A file system that has nothing yet takes the owner and the mode of the directory
 * that it covers: a program that is not root's is to write there.
 */
static void mount_one(const struct mount_point *mount)
{
	struct stat place;
	bool owned = !stat(mount->path, &place) && (place.st_uid || place.st_gid);

	switch (mount->kind) {
	case MOUNT_DISK:
		mount_disk(mount->source, mount->path);
		break;
	case MOUNT_VOLUME:
		mount_volume(mount->source, mount->path);
		return;
	case MOUNT_REMOTE:	/* mount_remotes() */
		return;
	case MOUNT_DATA:
		mount_data(mount->source, mount->path, mount->make);
		break;
	}
	if (owned && is_blank(mount->path) &&
	    (chown(mount->path, place.st_uid, place.st_gid) || chmod(mount->path, place.st_mode & 07777)))
		fail(mount->path);
}

void mount_all(const struct spec *spec)
{
	int i;

	for (i = 0; i < spec->nmounts; i++) {
		if (spec->mounts[i].kind == MOUNT_REMOTE)
			continue;
		mount_one(&spec->mounts[i]);
		mounted[nmounted++] = spec->mounts[i].path;
	}
	nlocal = nmounted;
}

/* Nobody is there yet: who may still be starting. */
static bool may_come(int error)
{
	return error == ECONNREFUSED || error == ETIMEDOUT || error == EHOSTUNREACH ||
		error == EHOSTDOWN || error == ENETUNREACH || error == EAGAIN;
}

static void mount_remote(const struct mount_point *mount)
{
	long end = now_ms() + PATIENCE_MS;

	while (!try_mount(mount->type, mount->source, mount->path, mount->options)) {
		if (!may_come(errno) || now_ms() > end)
			fail(mount->source);
		usleep(RETRY_MS * 1000);
	}
}

/* Once there is a network. */
void mount_remotes(const struct spec *spec)
{
	int i;

	for (i = 0; i < spec->nmounts; i++) {
		if (spec->mounts[i].kind != MOUNT_REMOTE)
			continue;
		mount_remote(&spec->mounts[i]);
		mounted[nmounted++] = spec->mounts[i].path;
	}
}

static bool await_end(pid_t child, int ms)
{
	long left, end = now_ms() + ms;
	struct timespec time;
	sigset_t ended;

	sigemptyset(&ended);
	sigaddset(&ended, SIGCHLD);
	while (waitpid(child, NULL, WNOHANG) == 0) {
		left = end - now_ms();
		if (left <= 0)
			return false;
		time = (struct timespec) { left / 1000, left % 1000 * 1000000 };
		sigtimedwait(&ended, NULL, &time);
	}
	return true;
}

/* Whether what was written has arrived: a server that is gone would be waited for for ever. */
bool unmount_remotes(void)
{
	pid_t child;

	if (nmounted == nlocal)
		return true;
	child = fork();
	if (child == 0) {
		while (nmounted > nlocal)
			umount2(mounted[--nmounted], 0);
		_exit(0);
	}
	nmounted = nlocal;
	return await_end(child, PATIENCE_MS);
}

void unmount_all(void)
{
	while (nmounted > 0)
		umount2(mounted[--nmounted], 0);
}
