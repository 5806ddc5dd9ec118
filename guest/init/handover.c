// SPDX-License-Identifier: GPL-2.0-only
/* From this kernel to another one, without the firmware: kexec_file_load(2). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "init.h"
#include "update.h"

#define KEXEC_FILE_NO_INITRAMFS	4	/* <linux/kexec.h> is not among the C library's headers */

/* Without an initramfs, the kernel mounts its root file system. */
bool load_kernel(const char *kernel, const char *initramfs, const char *cmdline)
{
	int k = open(kernel, O_RDONLY | O_CLOEXEC);
	int i = initramfs ? open(initramfs, O_RDONLY | O_CLOEXEC) : -1;
	long error = -1;

	if (k >= 0 && (i >= 0 || !initramfs))
		error = syscall(SYS_kexec_file_load, k, i, strlen(cmdline) + 1, cmdline,
				initramfs ? 0ul : KEXEC_FILE_NO_INITRAMFS);
	close(k);
	close(i);
	return error == 0;
}

/*
 * Nobody loads another kernel from here on: root in ring 3 may trace us.  What is
 * loaded stays, and can be started.  The sysctl can only be set.
 */
void forbid_kernels(void)
{
	int fd = open("/proc/sys/kernel/kexec_load_disabled", O_WRONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0 || write(fd, "1", 1) != 1)
		fail("kexec_load_disabled");
	close(fd);
}

bool hash_file(const char *path, unsigned char sum[HASH_BYTES])
{
	static unsigned char data[1 << 16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct sha256 hash;
	long n = -1;

	sha256_begin(&hash);
	while (fd >= 0 && (n = read(fd, data, sizeof(data))) > 0)
		sha256_add(&hash, data, n);
	close(fd);
	sha256_end(&hash, sum);
	return n == 0;
}
