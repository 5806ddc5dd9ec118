// SPDX-License-Identifier: GPL-2.0-only
/* Disks, and directories that the host shares. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>
#include "init.h"

static const char *mounted[MAX_MOUNTS];
static int nmounted;

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

void mount_all(const struct spec *spec)
{
	int i;

	for (i = 0; i < spec->nmounts; i++) {
		const struct mount_point *mount = &spec->mounts[i];

		switch (mount->kind) {
		case MOUNT_DISK:
			mount_disk(mount->source, mount->path);
			break;
		case MOUNT_VOLUME:
			mount_volume(mount->source, mount->path);
			break;
		case MOUNT_DATA:
			mount_data(mount->source, mount->path, mount->make);
			break;
		}
		mounted[nmounted++] = mount->path;
	}
}

void unmount_all(void)
{
	while (nmounted > 0)
		umount2(mounted[--nmounted], 0);
}
