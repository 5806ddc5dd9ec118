// SPDX-License-Identifier: MIT
/*
 * Security; runs in ring 3, as root, as a child of a program in ring 0, with
 * UKL_TARGET the path of a listed program.  CAP_SYS_RAWIO opens ring 0.  The
 * attacker does not have it, and finds nobody who does: not PID 1, nor a
 * program that the kernel starts, nor one that it traces itself.
 *
 * Started by the kernel, as what writes core files or looks for modules:
 *	--helper FILE, -q	tells of itself in a file
 */
#include "guest.h"
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/io.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/user.h>

#define RAWIO	(1ull << CAP_SYS_RAWIO)
/* How long to wait for what nobody waits for: tries of 10 ms each. */
#define PATIENCE	1000

static const char *target;

/* One of a process' sets of capabilities: "CapBnd" and its like. */
static unsigned long long caps(const char *pid, const char *set)
{
	char path[64], line[300];
	unsigned long long value = ~0ull;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/status", pid);
	f = fopen(path, "r");
	check(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, set, strlen(set)))
			value = strtoull(line + strlen(set) + 1, NULL, 16);
	fclose(f);
	check(value != ~0ull);
	return value;
}

static bool has_rawio(const char *pid)
{
	static const char * const sets[] = { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" };
	unsigned i;

	for (i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		if (caps(pid, sets[i]) & RAWIO)
			return true;
	return false;
}

static int tell_of_myself(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);

	return fd < 0 || dprintf(fd, "ring %d%s\n", cpl(), has_rawio("self") ? " with RAWIO" : "") < 0;
}

/* What somebody else writes into a file, a line, once it is there. */
static void expect_file(const char *path, const char *text)
{
	char line[100] = "";
	int fd, i;

	for (i = 0; i < PATIENCE && !strchr(line, '\n'); i++) {
		usleep(10000);
		fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		memset(line, 0, sizeof(line));
		check(read(fd, line, sizeof(line) - 1) >= 0);
		close(fd);
	}
	if (strcmp(line, text))
		printf("%s: %s", path, line);
	check(!strcmp(line, text));
	check(!unlink(path));
}

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	check(fd >= 0);
	check(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/*
 * PID 1 is in ring 3, and root may trace it: its code is the attacker's.  It
 * cannot do more than the attacker; nor can a child of it, which is not traced.
 */
static void use_init(void)
{
	/* iopl(3); int3; fork(), and in the child execve(rsi, rdx, r10); int3 */
	static const unsigned char code[] __attribute__((aligned(8))) = {
		0xb8, 172, 0, 0, 0, 0x0f, 0x05,		/* mov $iopl, %eax; syscall */
		0xcc,					/* int3 */
		0xb8, 57, 0, 0, 0, 0x0f, 0x05,		/* mov $fork, %eax; syscall */
		0x85, 0xc0,				/* test %eax, %eax */
		0x74, 0x01,				/* je 1f */
		0xcc,					/* int3 */
		0x48, 0x89, 0xf7,			/* 1: mov %rsi, %rdi */
		0x48, 0x89, 0xd6,			/* mov %rdx, %rsi */
		0x31, 0xd2,				/* xor %edx, %edx */
		0xb8, 59, 0, 0, 0, 0x0f, 0x05,		/* mov $execve, %eax; syscall */
		0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc,
	};
	static struct { unsigned long argv[4]; char path[256], option[16], file[16]; } data;
	struct user_regs_struct saved, regs;
	unsigned long text[sizeof(code) / 8], at, i;
	int status;

	check(!ptrace(PTRACE_ATTACH, 1, 0, 0));
	check(waitpid(1, &status, __WALL) == 1 && WIFSTOPPED(status));
	check(!ptrace(PTRACE_GETREGS, 1, 0, &saved));
	check(saved.cs == 0x33);

	/* Well below its stack, of which the kernel writes nothing meanwhile. */
	at = (saved.rsp - 65536) & ~15ul;
	strcpy(data.path, target);
	strcpy(data.option, "--ring-to");
	strcpy(data.file, "/tmp/init");
	data.argv[0] = at + offsetof(typeof(data), path);
	data.argv[1] = at + offsetof(typeof(data), option);
	data.argv[2] = at + offsetof(typeof(data), file);
	for (i = 0; i < sizeof(data); i += 8)
		check(!ptrace(PTRACE_POKEDATA, 1, at + i, *(unsigned long *)((char *)&data + i)));
	for (i = 0; i < sizeof(code) / 8; i++) {
		text[i] = ptrace(PTRACE_PEEKTEXT, 1, saved.rip + 8 * i, 0);
		check(!ptrace(PTRACE_POKETEXT, 1, saved.rip + 8 * i, ((unsigned long *)code)[i]));
	}
	regs = saved;
	regs.orig_rax = -1;
	regs.rdi = 3;
	regs.rsi = data.argv[0];
	regs.rdx = at + offsetof(typeof(data), argv);
	check(!ptrace(PTRACE_SETREGS, 1, 0, &regs));
	check(!ptrace(PTRACE_CONT, 1, 0, 0));
	check(waitpid(1, &status, __WALL) == 1);
	check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	check(!ptrace(PTRACE_GETREGS, 1, 0, &regs));
	check((long)regs.rax == -EPERM || (long)regs.rax == -ENOSYS);

	check(!ptrace(PTRACE_CONT, 1, 0, 0));
	check(waitpid(1, &status, __WALL) == 1);
	check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	check(!ptrace(PTRACE_GETREGS, 1, 0, &regs));
	check((long)regs.rax > 1);

	for (i = 0; i < sizeof(code) / 8; i++)
		check(!ptrace(PTRACE_POKETEXT, 1, saved.rip + 8 * i, text[i]));
	check(!ptrace(PTRACE_SETREGS, 1, 0, &saved));
	check(!ptrace(PTRACE_DETACH, 1, 0, 0));
	expect_file("/tmp/init", "ring 3\n");
}

static void expect_helper_set(const char *path)
{
	unsigned low = 0;
	FILE *f = fopen(path, "r");

	check(f && fscanf(f, "%u", &low) == 1);
	fclose(f);
	check(low && !(low & RAWIO));
	/* Nobody can add to it. */
	write_to(path, "4294967295 4294967295\n");
	f = fopen(path, "r");
	check(f && fscanf(f, "%u", &low) == 1);
	fclose(f);
	check(!(low & RAWIO));
}

static void dump_core(void)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	int status;
	pid_t child = fork();

	check(child >= 0);
	if (child == 0) {
		check(!setrlimit(RLIMIT_CORE, &unlimited));
		abort();
	}
	check(waitpid(child, &status, 0) == child && WCOREDUMP(status));
}

static void use_helpers(void)
{
	char text[200], old[200] = "";
	int fd;

	expect_helper_set("/proc/sys/kernel/usermodehelper/bset");
	expect_helper_set("/proc/sys/kernel/usermodehelper/inheritable");

	/* Wait for those who take core files. */
	write_to("/proc/sys/kernel/core_pipe_limit", "4");
	write_to("/proc/sys/kernel/core_pattern", "|/attacker --helper /tmp/core-helper");
	dump_core();
	expect_file("/tmp/core-helper", "ring 3\n");
	snprintf(text, sizeof(text), "|%s --ring-to /tmp/core-target", target);
	check(strlen(text) < 128);
	write_to("/proc/sys/kernel/core_pattern", text);
	dump_core();
	expect_file("/tmp/core-target", "ring 3\n");
	write_to("/proc/sys/kernel/core_pattern", "core");

	/* An unknown protocol makes the kernel look for a module. */
	fd = open("/proc/sys/kernel/modprobe", O_RDONLY);
	check(fd >= 0 && read(fd, old, sizeof(old) - 1) >= 0);
	close(fd);
	write_to("/proc/sys/kernel/modprobe", "/attacker");
	check(socket(AF_DECnet, SOCK_STREAM, 0) == -1 && errno == EAFNOSUPPORT);
	expect_file("/tmp/modprobe", "ring 3\n");
	write_to("/proc/sys/kernel/modprobe", target);
	check(socket(AF_DECnet, SOCK_STREAM, 0) == -1 && errno == EAFNOSUPPORT);
	expect_file("/tmp/modprobe", "ring 3\n");
	write_to("/proc/sys/kernel/modprobe", old);
}

static void expect_no_device(const char *path, unsigned major, unsigned minor)
{
	/* By any name: root makes nodes. */
	check(open(path, O_RDWR) == -1 && (errno == EPERM || errno == ENOENT));
	check(open(path, O_RDONLY) == -1 && (errno == EPERM || errno == ENOENT));
	check(!mknod("/tmp/node", S_IFCHR | 0600, makedev(major, minor)));
	check(open("/tmp/node", O_RDWR) == -1 && (errno == EPERM || errno == ENXIO));
	check(open("/tmp/node", O_RDONLY) == -1 && (errno == EPERM || errno == ENXIO));
	check(!unlink("/tmp/node"));
}

/* What is not in this kernel is refused as well. */
static void expect_refused(long ret)
{
	check(ret == -1 && (errno == EPERM || errno == ENOSYS));
}

static void ask_for_the_machine(void)
{
	/* would be ENOEXEC, as it is none, if modules could be loaded */
	char module[64] = "\177ELF", attr[128] = "";
	int fd;

	expect_refused(iopl(3));
	expect_refused(ioperm(0x80, 1, 1));
	expect_no_device("/dev/cpu/0/msr", 202, 0);
	expect_no_device("/dev/mem", 1, 1);
	expect_no_device("/dev/kmem", 1, 2);
	expect_no_device("/dev/port", 1, 4);
	check(open("/proc/kcore", O_RDONLY) == -1 && (errno == EPERM || errno == ENOENT));
	expect_refused(syscall(SYS_init_module, module, sizeof(module), ""));
	fd = open("/proc/self/exe", O_RDONLY);
	check(fd >= 0);
	expect_refused(syscall(SYS_finit_module, fd, "", 0));
	expect_refused(syscall(SYS_kexec_load, 0, 0, NULL, 0));
	expect_refused(syscall(SYS_kexec_file_load, fd, fd, 0, NULL, 0));
	close(fd);
	expect_refused(syscall(SYS_bpf, 0, attr, sizeof(attr)));
	expect_refused(syscall(SYS_swapon, "/attacker", 0));
	/* The kernel's own threads have it; they are not to be had. */
	check(ptrace(PTRACE_ATTACH, 2, 0, 0) == -1 && errno == EPERM);
}

/* The published attack: who is traced from before its exec is at the tracer's mercy. */
static void trace_from_the_start(void)
{
	/* mov %cs, %edi; mov $exit_group, %eax; syscall */
	static const unsigned char code[16] __attribute__((aligned(8))) = {
		0x8c, 0xcf, 0xb8, 231, 0, 0, 0, 0x0f, 0x05 };
	struct user_regs_struct regs;
	int status, i;
	pid_t child = fork();

	check(child >= 0);
	if (child == 0) {
		check(!ptrace(PTRACE_TRACEME, 0, 0, 0));
		execl(target, target, "--ring", NULL);
		_exit(99);
	}
	check(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
	check(!ptrace(PTRACE_GETREGS, child, 0, &regs));
	for (i = 0; i < 2; i++)
		check(!ptrace(PTRACE_POKETEXT, child, regs.rip + 8 * i, ((long *)code)[i]));
	check(!ptrace(PTRACE_CONT, child, 0, 0));
	check(waitpid(child, &status, 0) == child && WIFEXITED(status));
	check(WEXITSTATUS(status) == 0x33);
}

static void expect_ring_3(const char *path)
{
	int fds[2];
	char out[8] = "";
	pid_t child;

	check(!pipe(fds));
	child = fork();
	check(child >= 0);
	if (child == 0) {
		check(dup2(fds[1], 1) == 1);
		execl(path, path, "--ring", NULL);
		_exit(1);
	}
	close(fds[1]);
	check(read(fds[0], out, 7) == 7 && !strcmp(out, "ring 3\n"));
	close(fds[0]);
	join_child(child);
}

/* In a user namespace one has every capability, over what is in it. */
static void use_namespace(void)
{
	pid_t child = fork();

	check(child >= 0);
	if (child == 0) {
		if (unshare(CLONE_NEWUSER)) {
			check(errno == EINVAL || errno == ENOSYS);
			_exit(0);
		}
		expect_refused(iopl(3));
		check(open("/dev/cpu/0/msr", O_RDONLY) == -1);
		expect_ring_3(target);
		trace_from_the_start();
		_exit(0);
	}
	join_child(child);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--helper"))
		return tell_of_myself(argv[2]);
	if (argc > 1 && !strcmp(argv[1], "-q"))
		return tell_of_myself("/tmp/modprobe");

	expect_ring();
	check(cpl() == 3 && getuid() == 0);
	target = getenv("UKL_TARGET");
	check(target && strlen(target) < 256);

	check(!has_rawio("1"));
	use_init();
	printf("PID 1 has nothing to give\n");

	use_helpers();
	printf("nor have programs that the kernel starts\n");

	check(!has_rawio("self"));
	check(prctl(PR_CAPBSET_READ, CAP_SYS_RAWIO) == 0);
	check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_RAWIO, 0, 0) == -1);
	/* set-uid root gives what the bounding set has, no more */
	expect_ring_3(target);
	check(!chmod(target, 04755));
	expect_ring_3(target);
	check(!chmod(target, 0755));
	printf("nor has the attacker\n");

	trace_from_the_start();
	printf("traced: ring 3\n");

	ask_for_the_machine();
	printf("the machine is out of reach\n");

	use_namespace();
	printf("in a namespace too\n");

	printf("ok\n");
	return 0;
}
