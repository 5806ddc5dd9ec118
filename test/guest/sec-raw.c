// SPDX-License-Identifier: MIT
/*
 * Security; runs in ring 3.  The kernel has none of the doors through which
 * root reaches the machine, past the kernel: not because they are closed to
 * this process, but because they were not built.
 */
#include "guest.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

static const char *const files[] = {
	"/dev/mem", "/dev/kmem", "/dev/port", "/dev/cpu/0/msr", "/proc/kcore",
	"/proc/sys/fs/binfmt_misc/register", "/sys/kernel/debug/x86", "/sys/power/disk",
	"/sys/kernel/uevent_helper", "/sys/firmware/efi",
};

static void no_call(long number)
{
	check(syscall(number, 0, 0, 0, 0, 0) == -1 && errno == ENOSYS);
}

int main(void)
{
	/* of memory devices: mem, kmem, port; and the MSRs of processor 0 */
	dev_t devices[] = { makedev(1, 1), makedev(1, 2), makedev(1, 4), makedev(202, 0) };
	size_t j;
	int status;
	pid_t pid;

	expect_ring();
	check(cpl() == 3);

	for (j = 0; j < sizeof(files) / sizeof(files[0]); j++)
		check(open(files[j], O_RDONLY) == -1 && (errno == ENOENT || errno == ENOTDIR));
	for (j = 0; j < sizeof(devices) / sizeof(devices[0]); j++) {
		if (mknod("/raw", S_IFCHR | 0600, devices[j])) {
			check(errno == EPERM);
			continue;
		}
		check(open("/raw", O_RDWR) == -1 && errno == ENXIO);
		check(unlink("/raw") == 0);
	}
	printf("no files\n");

	no_call(SYS_ioperm);
	no_call(SYS_iopl);
	no_call(SYS_kexec_load);
	no_call(SYS_kexec_file_load);
	no_call(SYS_bpf);
	no_call(SYS_swapon);
	printf("no calls\n");

	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		/* the port where QEMU's fw_cfg takes the address of its answer */
		__asm__ volatile("outl %%eax, %%dx" : : "a"(0), "d"(0x514));
		_exit(0);
	}
	check(waitpid(pid, &status, 0) == pid);
	check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	printf("no ports\n");
	return 0;
}
