// SPDX-License-Identifier: MIT
/*
 * Security; runs in ring 3, as root.  The kernel takes modules, those of the
 * image's shortcuts: none after init has loaded them, and none that is looked
 * for by the kernel.  Nobody can change that.
 */
#include "guest.h"
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static void write_to(const char *path, const char *text, int error)
{
	int fd = open(path, O_WRONLY);

	check(fd >= 0);
	check(write(fd, text, strlen(text)) == -1 && errno == error);
	close(fd);
}

static char read_from(const char *path)
{
	int fd = open(path, O_RDONLY);
	char c = 0;

	check(fd >= 0 && read(fd, &c, 1) >= 0);
	close(fd);
	return c;
}

int main(void)
{
	/* would be ENOEXEC, as it is none, if modules could be loaded */
	char module[64] = "\177ELF";
	int fd;

	expect_ring();
	check(cpl() == 3 && getuid() == 0);
	check(syscall(SYS_init_module, module, sizeof(module), "") == -1 && errno == EPERM);
	fd = open("/proc/self/exe", O_RDONLY);
	check(fd >= 0);
	check(syscall(SYS_finit_module, fd, "", 0) == -1 && errno == EPERM);
	check(syscall(SYS_delete_module, "ukl_names", 0) == -1 &&
	      (errno == EPERM || errno == ENOSYS));
	printf("refused\n");

	check(read_from("/proc/sys/kernel/modules_disabled") == '1');
	write_to("/proc/sys/kernel/modules_disabled", "0", EINVAL);
	check(read_from("/proc/sys/kernel/modules_disabled") == '1');
	printf("for good\n");

	/* an unknown protocol makes the kernel look for a module, with a helper */
	check(read_from("/proc/sys/kernel/modprobe") == '\n');
	check(socket(AF_DECnet, SOCK_STREAM, 0) == -1 && errno == EAFNOSUPPORT);
	printf("ok\n");
	return 0;
}
