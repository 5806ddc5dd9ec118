// SPDX-License-Identifier: GPL-2.0-only
/*
 * A root file system that is read-only, on the disk: what is written goes to memory, by
 * an overlay above each directory at the top.  Those with ring 0 code have none: the
 * kernel knows the files below, which it has sealed, and not what an overlay makes of them.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "init.h"

#define OURS	".ukl"
#define MEMORY	"/" OURS "/memory"

static char words[4096];

/* Whether the kernel's ukl= has files of this directory. */
static bool has_ring0_code(const char *name)
{
	const char *path = strstr(words, " ukl=");
	size_t length = strlen(name);

	for (path = path ? path + strlen(" ukl=") : ""; *path && *path != ' '; path++) {
		if (path[0] == '/' && !strncmp(path + 1, name, length) && path[1 + length] == '/')
			return true;
		path += strcspn(path, ", ");
		if (*path != ',')
			break;
	}
	return false;
}

static void make_like(const char *path, const struct stat *like)
{
	if (mkdir(path, like->st_mode & 07777) || chown(path, like->st_uid, like->st_gid) ||
	    chmod(path, like->st_mode & 07777))
		fail(path);
}

static void put_memory_above(const char *name, const struct stat *like)
{
	char path[300], upper[320], work[320], options[1024];

	snprintf(path, sizeof(path), MEMORY "/%s", name);
	make_like(path, like);
	snprintf(upper, sizeof(upper), "%s/upper", path);
	make_like(upper, like);
	snprintf(work, sizeof(work), "%s/work", path);
	make_like(work, like);
	snprintf(options, sizeof(options), "lowerdir=/%s,upperdir=%s,workdir=%s", name, upper, work);
	snprintf(path, sizeof(path), "/%s", name);
	mount_on("overlay", "overlay", path, options);
}

static bool is_plain_directory(const char *name, struct stat *stat)
{
	static const char * const others[] = { ".", "..", OURS, "dev", "proc", "sys" };
	unsigned int i;

	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (!strcmp(name, others[i]))
			return false;
	return fstatat(AT_FDCWD, name, stat, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(stat->st_mode);
}

/* Nothing is mounted below them yet. */
void make_root_writable(void)
{
	struct dirent *entry;
	struct statfs fs;
	struct stat own;
	DIR *root;
	int fd;
	long n;

	if (statfs("/", &fs) || fs.f_type != SQUASHFS_MAGIC)
		return;
	mount_kernel_files();
	/* A word of its own, wherever it stands. */
	words[0] = ' ';
	fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	n = read(fd, words + 1, sizeof(words) - 2);
	close(fd);
	if (n < 0)
		fail("/proc/cmdline");
	words[1 + n] = 0;
	words[strcspn(words, "\n")] = 0;
	mount_on("tmpfs", "memory", MEMORY, "mode=0700");
	root = opendir("/");
	while (root && (entry = readdir(root)))
		if (is_plain_directory(entry->d_name, &own) && !has_ring0_code(entry->d_name))
			put_memory_above(entry->d_name, &own);
	if (root)
		closedir(root);
	/* The last: it hides where the others have their memory. */
	if (stat("/" OURS, &own))
		fail(OURS);
	put_memory_above(OURS, &own);
}
