// SPDX-License-Identifier: GPL-2.0-only
/*
 * File systems of the machine's own disks, found by label, UUID or device: made on
 * first use if that was asked for, checked on the way up, grown to their disk.
 *
 * Drivers find disks in their own time, so a disk is waited for.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include "init.h"

/* How long a disk may take to come; and after how long without another one a blank one is taken for it. */
#define PATIENCE_MS	30000
#define QUIET_MS	10000

/* fs/ext4/ext4.h, fs/xfs/libxfs/xfs_fs.h: neither is among the headers for programs. */
#define EXT4_IOC_RESIZE_FS	_IOW('f', 16, uint64_t)
struct xfs_growfs_data {
	uint64_t newblocks;
	uint32_t imaxpct;
};
/* The first 112 bytes of what later versions have. */
struct xfs_geometry {
	uint32_t blocksize, rtextsize, agblocks, agcount, logblocks, sectsize, inodesize, imaxpct;
	uint64_t datablocks, rtblocks, rtextents, logstart;
	unsigned char uuid[16];
	uint32_t sunit, swidth;
	int32_t version;
	uint32_t flags, logsectsize, rtsectsize, dirblocksize;
};
#define XFS_IOC_FSGEOMETRY_V1	_IOR('X', 100, struct xfs_geometry)
#define XFS_IOC_FSGROWFSDATA	_IOW('X', 110, struct xfs_growfs_data)

struct file_system {
	const char *type;
	long magic_at;
	const char *magic;
	size_t magic_length;
	long uuid_at, label_at;
	size_t label_length;
	char * const *check;
};

static char * const check_ext4[] = { "/sbin/e2fsck", "-p", NULL };

/* Where each has its superblock's magic number, UUID and label. */
static const struct file_system known[] = {
	{ "ext4", 1080, "\x53\xef", 2, 1128, 1144, 16, check_ext4 },
	{ "xfs", 0, "XFSB", 4, 32, 108, 12, NULL },
	{ "btrfs", 65600, "_BHRfS_M", 8, 65568, 65835, 256, NULL },
};

#define NKNOWN	(sizeof(known) / sizeof(known[0]))

struct found {
	char device[64];
	const struct file_system *fs;
};

/* The UUID as people write it. */
static void format_uuid(const unsigned char *from, char text[37])
{
	int i, n = 0;

	for (i = 0; i < 16; i++)
		n += sprintf(text + n, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
			     from[i]);
}

/* What a device has; NULL, and all zeros or not, if nothing that we know. */
static const struct file_system *identify(const char *device, char uuid[37], char label[257],
					  bool *blank)
{
	static unsigned char head[69632];
	const struct file_system *fs;
	int fd = open(device, O_RDONLY | O_CLOEXEC);
	long n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0), i;

	if (fd >= 0)
		close(fd);
	*blank = false;
	if (n != sizeof(head))
		return NULL;
	for (fs = known; fs < known + NKNOWN; fs++) {
		if (memcmp(head + fs->magic_at, fs->magic, fs->magic_length))
			continue;
		format_uuid(head + fs->uuid_at, uuid);
		snprintf(label, 257, "%.*s", (int)fs->label_length, head + fs->label_at);
		return fs;
	}
	for (i = 0; i < n && !head[i]; i++)
		;
	*blank = i == n;
	return NULL;
}

static bool is_wanted(const char *source, const char *device, const char *uuid, const char *label)
{
	if (!strncmp(source, "LABEL=", 6))
		return !strcmp(source + 6, label);
	if (!strncmp(source, "UUID=", 5))
		return !strcasecmp(source + 5, uuid);
	return !strcmp(source, device);
}

static bool read_number(const char *format, const char *name, long *number)
{
	char path[320];
	FILE *file;
	bool ok;

	snprintf(path, sizeof(path), format, name);
	file = fopen(path, "re");
	if (!file)
		return false;
	ok = fscanf(file, "%ld", number) == 1;
	fclose(file);
	return ok;
}

/* A disk that could take a new file system: it is one, can be written, and has no partitions. */
static bool is_free_disk(const char *name, bool blank)
{
	long partition, read_only, removable;

	return blank && !read_number("/sys/class/block/%s/partition", name, &partition) &&
		read_number("/sys/class/block/%s/ro", name, &read_only) && !read_only &&
		read_number("/sys/class/block/%s/removable", name, &removable) && !removable;
}

/*
 * Looks at all block devices.  A free disk is the first that is named; a label may be on
 * a disk that is still to come, so one is taken for it only when that is not expected
 * any more.
 */
static bool find(const char *source, bool make, bool take_blank, struct found *found)
{
	DIR *all = opendir("/sys/class/block");
	struct found unused = { "", NULL }, *use = NULL;
	char uuid[37], label[257];
	struct dirent *entry;
	bool blank;

	while (all && !use && (entry = readdir(all))) {
		const struct file_system *fs;
		char device[64];

		if (entry->d_name[0] == '.' || strlen(entry->d_name) > 32 ||
		    !strncmp(entry->d_name, "loop", 4) || !strncmp(entry->d_name, "ram", 3))
			continue;
		snprintf(device, sizeof(device), "/dev/%s", entry->d_name);
		fs = identify(device, uuid, label, &blank);
		if (fs && is_wanted(source, device, uuid, label)) {
			*found = (struct found) { .fs = fs };
			strcpy(found->device, device);
			use = found;
		} else if (make && is_free_disk(entry->d_name, blank) &&
			   (source[0] == '/' ? !strcmp(source, device) : take_blank) &&
			   (!unused.device[0] || strcmp(device, unused.device) < 0)) {
			strcpy(unused.device, device);
		}
	}
	if (all)
		closedir(all);
	if (!use && unused.device[0]) {
		*found = unused;
		use = found;
	}
	return use;
}

/* The program's status, or -1 if it is not there. */
static int run(char * const argv[])
{
	pid_t child = fork();
	int status;

	if (child < 0)
		fail(argv[0]);
	if (child == 0) {
		int console = open("/dev/console", O_RDWR), nothing = open("/dev/null", O_RDONLY);

		/* Nobody answers questions. */
		dup2(nothing, 0);
		dup2(console, 1);
		dup2(console, 2);
		execv(argv[0], argv);
		_exit(127);
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) != 127 ? WEXITSTATUS(status) : -1;
}

static void make_file_system(const char *source, const char *type, struct found *found)
{
	const char *label = !strncmp(source, "LABEL=", 6) ? source + 6 : "";
	char program[32], uuid[37], real[257];
	char *argv[] = { program, "-q", "-L", (char *)label, found->device, NULL };
	bool blank;

	snprintf(program, sizeof(program), "/sbin/mkfs.%s", type);
	if (run(argv)) {
		errno = EIO;
		fail(program);
	}
	found->fs = identify(found->device, uuid, real, &blank);
	if (!found->fs) {
		errno = EINVAL;
		fail(found->device);
	}
}

/* e2fsck(8): 0 and 1 are well, 2 wants a restart, which no mounted file system needs here. */
static void check(const struct found *found)
{
	char *argv[4] = { NULL };
	int i, status;

	if (!found->fs->check)
		return;
	for (i = 0; found->fs->check[i]; i++)
		argv[i] = found->fs->check[i];
	argv[i] = (char *)found->device;
	status = run(argv);
	if (status > 2) {
		errno = EUCLEAN;
		fail(found->device);
	}
}

/* A disk may have been made larger; who cannot grow stays as it is. */
static void grow(const struct found *found, const char *path)
{
	int disk = open(found->device, O_RDONLY | O_CLOEXEC);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t bytes = 0, blocks;
	struct statfs stat;

	if (disk < 0 || fd < 0 || ioctl(disk, BLKGETSIZE64, &bytes) || fstatfs(fd, &stat))
		goto close;
	blocks = bytes / stat.f_bsize;
	if (!strcmp(found->fs->type, "ext4")) {
		ioctl(fd, EXT4_IOC_RESIZE_FS, &blocks);
	} else if (!strcmp(found->fs->type, "xfs")) {
		struct xfs_geometry geometry;
		struct xfs_growfs_data data = { .newblocks = blocks };

		/* The share of inodes is set along with the size. */
		if (ioctl(fd, XFS_IOC_FSGEOMETRY_V1, &geometry) == 0) {
			data.imaxpct = geometry.imaxpct;
			ioctl(fd, XFS_IOC_FSGROWFSDATA, &data);
		}
	} else if (!strcmp(found->fs->type, "btrfs")) {
		struct btrfs_ioctl_vol_args args = { .name = "max" };

		ioctl(fd, BTRFS_IOC_RESIZE, &args);
	}
close:
	close(disk);
	close(fd);
}

/* Mounts the file system that the source names; make is the type of a new one, or nothing. */
void mount_data(const char *source, const char *path, const char *make)
{
	struct found found;
	/* The tool has given the machine all that it will have. */
	bool take_blank = have_host();

	watch_devices();
	while (!find(source, make[0], take_blank, &found)) {
		bool wait_for_all = make[0] && !take_blank;
		bool quiet = !await_device(wait_for_all ? QUIET_MS : PATIENCE_MS);

		if (quiet && !wait_for_all) {
			errno = ENODEV;
			fail(source);
		}
		/* Disks come one after the other: nothing new for a while is the end of them. */
		take_blank |= quiet;
	}
	if (!found.fs)
		make_file_system(source, make, &found);
	else
		check(&found);
	mount_on(found.fs->type, found.device, path, NULL);
	grow(&found, path);
}

/* ECMA-119: the volume identifier.  FAT32 and FAT16 have theirs in the boot sector. */
static bool is_seed(const char *device)
{
	static unsigned char head[34816];
	int fd = open(device, O_RDONLY | O_CLOEXEC);
	long n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);

	if (fd >= 0)
		close(fd);
	if (n < 512)
		return false;
	if (n == sizeof(head) && !memcmp(head + 32769, "CD001", 5))
		return !strncasecmp((char *)head + 32808, "cidata", 6);
	return !strncasecmp((char *)head + 71, "cidata", 6) || !strncasecmp((char *)head + 43, "cidata", 6);
}

/* A disk of cloud-init's, that is there by now. */
bool find_seed(char *device, size_t size)
{
	DIR *all = opendir("/sys/class/block");
	struct dirent *entry;
	bool found = false;

	while (all && !found && (entry = readdir(all))) {
		if (entry->d_name[0] == '.' || strlen(entry->d_name) > 32)
			continue;
		snprintf(device, size, "/dev/%s", entry->d_name);
		found = is_seed(device);
	}
	if (all)
		closedir(all);
	return found;
}
