// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files to and from a tar archive, on standard output and input, for "ukl cp":
 * the ustar format of POSIX (pax(1)) with GNU's long names and large numbers, as
 * GNU tar writes and reads it (its manual, "Basic Tar Format").
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include "init.h"

#define BLOCK	512
#define SMALL	65536	/* a file of no more is read before its header is written */
#define WHOLE_MAX	(64 << 20)	/* of one that turns out to be more */

struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8];
	char type, link[100], magic[8], uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};

_Static_assert(sizeof(struct header) == BLOCK, "a header is a block");

static int complain(const char *path)
{
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	return 1;
}

/* Octal, or the bytes of the number behind a set bit where it is too large. */
static void put_number(char *field, size_t size, uint64_t number)
{
	bool octal = number < 1ull << 3 * (size - 1);
	size_t i = size;

	if (octal)
		field[--i] = 0;
	for (; i-- > 0; number >>= octal ? 3 : 8)
		field[i] = octal ? '0' + (number & 7) : number;
	if (!octal)
		field[0] |= 0x80;
}

static uint64_t get_number(const char *field, size_t size)
{
	uint64_t number = 0;
	char text[16] = "";
	size_t i;

	if (!(field[0] & 0x80)) {
		memcpy(text, field, size);
		return strtoull(text, NULL, 8);
	}
	for (i = 1; i < size; i++)
		number = number << 8 | (unsigned char)field[i];
	return number;
}

static unsigned int sum_of(const struct header *header)
{
	const unsigned char *bytes = (const unsigned char *)header;
	unsigned int sum = 0;
	size_t i;

	for (i = 0; i < BLOCK; i++)
		sum += i >= offsetof(struct header, sum) && i < offsetof(struct header, type) ? ' ' : bytes[i];
	return sum;
}

static void write_bytes(const char *data, size_t size)
{
	if (fwrite(data, 1, size, stdout) != size)
		exit(complain("standard output"));
}

static void write_padding(uint64_t size)
{
	static const char zeros[BLOCK];

	write_bytes(zeros, (BLOCK - size % BLOCK) % BLOCK);
}

static void write_header(const char *name, const char *link, char type, const struct stat *info, uint64_t size)
{
	struct header header = { .type = type, .magic = "ustar  " };

	memcpy(header.name, name, strnlen(name, sizeof(header.name)));
	memcpy(header.link, link, strnlen(link, sizeof(header.link)));
	put_number(header.mode, sizeof(header.mode), info->st_mode & 07777);
	put_number(header.uid, sizeof(header.uid), info->st_uid);
	put_number(header.gid, sizeof(header.gid), info->st_gid);
	put_number(header.size, sizeof(header.size), size);
	put_number(header.mtime, sizeof(header.mtime), info->st_mtime < 0 ? 0 : info->st_mtime);
	put_number(header.sum, sizeof(header.sum), sum_of(&header));
	write_bytes((const char *)&header, BLOCK);
}

/* A name that has no room in a header precedes it. */
static void write_long(char type, const char *name)
{
	static const struct stat nobody;
	size_t size = strlen(name) + 1;

	if (size <= sizeof(((struct header *)0)->name))
		return;
	write_header("././@LongLink", "", type, &nobody, size);
	write_bytes(name, size);
	write_padding(size);
}

/* A file's own bytes, as many as the header says, whatever becomes of the file meanwhile. */
static void write_content(int fd, uint64_t size)
{
	static char data[1 << 16];
	uint64_t left = size;
	long n;

	while (left > 0) {
		n = read(fd, data, left < sizeof(data) ? left : sizeof(data));
		if (n <= 0) {
			memset(data, 0, sizeof(data));
			n = left < sizeof(data) ? left : sizeof(data);
		}
		write_bytes(data, n);
		left -= n;
	}
	write_padding(size);
}

/*
 * What there is to read of a file, and how much that is; NULL, with errno, if that is
 * more than we hold.  Some of the kernel's have no end, and some wait for more.
 */
static char *read_whole(int fd, size_t *size)
{
	char *data = NULL, *larger;
	size_t room = 0, have = 0;
	long n = 1;

	while (n > 0) {
		if (have == room) {
			room = room ? 2 * room : SMALL;
			larger = room > WHOLE_MAX ? NULL : realloc(data, room);
			if (!larger) {
				free(data);
				errno = EFBIG;
				return NULL;
			}
			data = larger;
		}
		n = read(fd, data + have, room - have);
		have += n > 0 ? n : 0;
	}
	*size = have;
	return data;
}

/*
 * A header comes before its bytes and says how many they are.  What the kernel says
 * of its own files is wrong (proc(5): nothing; sysfs: a page): what is small is read first.
 */
static int write_file(const char *path, const char *name, const struct stat *info)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char *data = NULL;
	size_t size;

	if (fd < 0)
		return complain(path);
	if (info->st_size <= SMALL) {
		data = read_whole(fd, &size);
		if (!data) {
			close(fd);
			return complain(path);
		}
	}
	write_long('L', name);
	write_header(name, "", '0', info, data ? size : (uint64_t)info->st_size);
	if (data) {
		write_bytes(data, size);
		write_padding(size);
	} else {
		write_content(fd, info->st_size);
	}
	free(data);
	close(fd);
	return 0;
}

static int write_tree(const char *path, const char *name)
{
	char link[PATH_MAX] = "", *inner_path, *inner_name;
	struct dirent *entry;
	struct stat info;
	int failed = 0;
	DIR *directory;

	if (lstat(path, &info))
		return complain(path);
	if (S_ISREG(info.st_mode)) {
		return write_file(path, name, &info);
	} else if (S_ISLNK(info.st_mode)) {
		if (readlink(path, link, sizeof(link) - 1) < 0)
			return complain(path);
		write_long('K', link);
		write_long('L', name);
		write_header(name, link, '2', &info, 0);
	} else if (S_ISDIR(info.st_mode)) {
		directory = opendir(path);
		if (!directory)
			return complain(path);
		write_long('L', name);
		write_header(name, "", '5', &info, 0);
		while ((entry = readdir(directory))) {
			if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
				continue;
			if (asprintf(&inner_path, "%s/%s", path, entry->d_name) < 0 ||
			    asprintf(&inner_name, "%s/%s", name, entry->d_name) < 0)
				return complain(path);
			failed |= write_tree(inner_path, inner_name);
			free(inner_path);
			free(inner_name);
		}
		closedir(directory);
	}
	return failed;
}

/* A file or a tree, under the last part of its name. */
int write_archive(const char *path)
{
	static const char end[2 * BLOCK];
	const char *name = strrchr(path, '/');
	int failed;

	name = name && name[1] ? name + 1 : path;
	if (!strcmp(name, "/"))
		name = ".";
	failed = write_tree(path, name);
	write_bytes(end, sizeof(end));
	return fflush(stdout) || failed ? 1 : 0;
}

static void read_bytes(char *data, size_t size)
{
	if (fread(data, 1, size, stdin) != size) {
		fprintf(stderr, "the archive ends in the middle\n");
		exit(1);
	}
}

static void skip_padding(uint64_t size)
{
	char rest[BLOCK];

	read_bytes(rest, (BLOCK - size % BLOCK) % BLOCK);
}

static void read_long(char name[PATH_MAX], uint64_t size)
{
	if (size >= PATH_MAX) {
		fprintf(stderr, "the archive has a name that is too long\n");
		exit(1);
	}
	read_bytes(name, size);
	name[size] = 0;
	skip_padding(size);
}

static void skip_content(const struct header *header)
{
	uint64_t left = get_number(header->size, sizeof(header->size));
	char block[BLOCK];

	for (left = (left + BLOCK - 1) / BLOCK; left > 0; left--)
		read_bytes(block, BLOCK);
}

static int read_content(const char *path, uint64_t size, mode_t mode)
{
	static char data[1 << 16];
	int fd, failed = 0;
	uint64_t left;
	size_t n;

	/* In the place of what is there: a program that runs cannot be written to. */
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		failed = complain(path);
	for (left = size; left > 0; left -= n) {
		n = left < sizeof(data) ? left : sizeof(data);
		read_bytes(data, n);
		if (!failed && write(fd, data, n) != (ssize_t)n)
			failed = complain(path);
	}
	skip_padding(size);
	if (fd >= 0) {
		fchmod(fd, mode);
		close(fd);
	}
	return failed;
}

/* Nothing of the host's archives is hostile, but names may be wrong. */
static bool leads_out(const char *name)
{
	const char *part = name;

	for (; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL)
		if (!strncmp(part, "..", 2) && (part[2] == '/' || !part[2]))
			return true;
	return name[0] == '/';
}

static int read_entry(const struct header *header, const char *name, const char *link)
{
	uint64_t size = get_number(header->size, sizeof(header->size));
	mode_t mode = get_number(header->mode, sizeof(header->mode)) & 07777;
	int failed = 0;

	if (leads_out(name)) {
		fprintf(stderr, "%s: leads out of the directory\n", name);
		exit(1);
	}
	switch (header->type) {
	case '5':
		if (mkdir(name, mode) && errno != EEXIST)
			failed = complain(name);
		break;
	case '2':
		unlink(name);
		if (symlink(link, name))
			failed = complain(name);
		break;
	case '1':
		unlink(name);
		if (linkat(AT_FDCWD, link, AT_FDCWD, name, 0))
			failed = complain(name);
		break;
	default:
		return read_content(name, size, mode);
	}
	if (lchown(name, get_number(header->uid, sizeof(header->uid)), get_number(header->gid, sizeof(header->gid))))
		failed = complain(name);
	return failed;
}

/* The directories that a name is in. */
static void make_parents(const char *name)
{
	char part[PATH_MAX];
	size_t i;

	for (i = 1; i < sizeof(part) - 1 && name[i]; i++) {
		if (name[i] != '/')
			continue;
		memcpy(part, name, i);
		part[i] = 0;
		mkdir(part, 0755);
	}
}

/* Into a directory, which is there; `keep` leaves what is there as it is. */
int read_archive(const char *directory, bool keep)
{
	char name[PATH_MAX] = "", link[PATH_MAX] = "";
	struct header header;
	int failed = 0;

	if (chdir(directory))
		return complain(directory);
	for (;;) {
		read_bytes((char *)&header, BLOCK);
		if (!header.name[0])
			return failed;
		if (get_number(header.sum, sizeof(header.sum)) != sum_of(&header)) {
			fprintf(stderr, "this is no archive\n");
			return 1;
		}
		if (header.type == 'L') {
			read_long(name, get_number(header.size, sizeof(header.size)));
			continue;
		}
		if (header.type == 'K') {
			read_long(link, get_number(header.size, sizeof(header.size)));
			continue;
		}
		if (!name[0])
			snprintf(name, sizeof(name), "%.100s", header.name);
		if (!link[0])
			snprintf(link, sizeof(link), "%.100s", header.link);
		if (keep && faccessat(AT_FDCWD, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
			skip_content(&header);
		} else {
			make_parents(name);
			failed |= read_entry(&header, name, link);
		}
		name[0] = link[0] = 0;
	}
}
