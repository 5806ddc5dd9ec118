// SPDX-License-Identifier: MIT
/*
 * Security; runs in ring 3, as root, with UKL_TARGET the path of a listed
 * program ("target").  Whoever may not run code in ring 0 may not get at the
 * memory or the registers of those who do, even with the same user id.
 */
#include "guest.h"
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>

static const char *target;

/* Starts the target and waits for its word; returns its ring. */
static int start(const char *option, const char *uid, pid_t *child)
{
	char out[8] = "";
	int fds[2], got = 0, n;

	check(!pipe(fds));
	*child = fork();
	check(*child >= 0);
	if (*child == 0) {
		check(dup2(fds[1], 1) == 1);
		close(fds[0]);
		close(fds[1]);
		execl(target, target, option, uid, NULL);
		_exit(1);
	}
	close(fds[1]);
	while (got < 7 && (n = read(fds[0], out + got, 7 - got)) > 0)
		got += n;
	close(fds[0]);
	check(!strncmp(out, "ring ", 5));
	return out[5] - '0';
}

static void stop(pid_t child)
{
	check(!kill(child, SIGKILL));
	check(waitpid(child, NULL, 0) == child);
}

static void refused(long ret)
{
	check(ret == -1 && (errno == EPERM || errno == EACCES));
}

/* An address of the target that is surely mapped and writable: its stack. */
static unsigned long stack_of(pid_t pid)
{
	unsigned long start = 0;
	char path[40], line[300];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "r");
	check(f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "[stack]"))
			start = strtoul(line, NULL, 16);
	fclose(f);
	check(start);
	return start;
}

static void attack(pid_t victim, unsigned long at)
{
	struct iovec local, remote;
	char path[40], byte = 0;
	long pidfd;
	int i;

	for (i = 0; i < 20; i++) {
		refused(ptrace(PTRACE_ATTACH, victim, 0, 0));
		refused(ptrace(PTRACE_SEIZE, victim, 0, 0));
		snprintf(path, sizeof(path), "/proc/%d/mem", victim);
		refused(open(path, O_RDWR));
		refused(open(path, O_WRONLY));
		local = (struct iovec){ &byte, 1 };
		remote = (struct iovec){ (void *)at, 1 };
		refused(process_vm_writev(victim, &local, 1, &remote, 1, 0));
		refused(process_vm_readv(victim, &local, 1, &remote, 1, 0));
		pidfd = syscall(SYS_pidfd_open, victim, 0);
		check(pidfd >= 0);
		refused(syscall(SYS_pidfd_getfd, pidfd, 0, 0));
		close(pidfd);
		check(ptrace(PTRACE_POKEDATA, victim, at, 0) == -1 &&
		      errno == ESRCH);
	}
}

static void drop(int cap)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	check(!syscall(SYS_capget, &header, data));
	data[cap / 32].effective &= ~(1u << cap % 32);
	data[cap / 32].permitted &= ~(1u << cap % 32);
	check(!syscall(SYS_capset, &header, data));
}

int main(void)
{
	struct user_regs_struct regs;
	struct iovec local, remote;
	int status, fds[2], ready[2];
	unsigned long at, word = 1;
	char path[40], out[8];
	pid_t victim, attacker, tracee;
	long pidfd, fd;

	expect_ring();
	check(cpl() == 3 && getuid() == 0);
	target = getenv("UKL_TARGET");
	check(target);

	/* the same user, who may do this to ordinary processes: */
	victim = fork();
	check(victim >= 0);
	if (victim == 0) {
		check(!setgroups(0, NULL) && !setgid(1000) && !setuid(1000));
		check(!prctl(PR_SET_DUMPABLE, 1));
		for (;;)
			pause();
	}
	usleep(100000);
	attacker = fork();
	check(attacker >= 0);
	if (attacker == 0) {
		check(!setgroups(0, NULL) && !setgid(1000) && !setuid(1000));
		check(!ptrace(PTRACE_ATTACH, victim, 0, 0));
		_exit(0);
	}
	join_child(attacker);
	stop(victim);
	printf("ring 3 can be traced\n");

	check(start("--setuid-sleep", "1000", &victim) == 0);
	at = stack_of(victim);
	attacker = fork();
	check(attacker >= 0);
	if (attacker == 0) {
		check(!setgroups(0, NULL) && !setgid(1000) && !setuid(1000));
		check(!prctl(PR_SET_DUMPABLE, 1));
		attack(victim, at);
		_exit(0);
	}
	join_child(attacker);
	printf("ring 0 cannot, by the same user\n");

	attacker = fork();
	check(attacker >= 0);
	if (attacker == 0) {
		drop(CAP_SYS_RAWIO);
		attack(victim, at);
		/* To look, it takes what it takes to see the kernel's addresses. */
		check(stack_of(victim) == at);
		drop(CAP_SYSLOG);
		snprintf(path, sizeof(path), "/proc/%d/auxv", victim);
		refused(open(path, O_RDONLY));
		_exit(0);
	}
	join_child(attacker);
	printf("nor by root without the capability\n");

	/* root itself */
	check(!ptrace(PTRACE_ATTACH, victim, 0, 0));
	check(waitpid(victim, &status, 0) == victim && WIFSTOPPED(status));
	check(!ptrace(PTRACE_GETREGS, victim, 0, &regs));
	check(regs.cs == 0x33);
	check(!ptrace(PTRACE_POKEDATA, victim, at, 42));
	errno = 0;
	check(ptrace(PTRACE_PEEKDATA, victim, at, 0) == 42);
	check(!ptrace(PTRACE_DETACH, victim, 0, 0));
	local = (struct iovec){ &word, 8 };
	remote = (struct iovec){ (void *)at, 8 };
	check(process_vm_readv(victim, &local, 1, &remote, 1, 0) == 8);
	check(word == 42);
	check(process_vm_writev(victim, &local, 1, &remote, 1, 0) == 8);
	snprintf(path, sizeof(path), "/proc/%d/mem", victim);
	fd = open(path, O_RDWR);
	check(fd >= 0 && pwrite(fd, &word, 8, at) == 8);
	close(fd);
	pidfd = syscall(SYS_pidfd_open, victim, 0);
	check(pidfd >= 0);
	fd = syscall(SYS_pidfd_getfd, pidfd, 0, 0);
	check(fd >= 0);
	close(fd);
	close(pidfd);
	stop(victim);
	printf("root can\n");

	/*
	 * The other way round: tracer first, then exec.  The tracee has the
	 * capability, the tracer has lost it, but still CAP_SYS_PTRACE.
	 */
	check(!pipe(fds) && !pipe(ready));
	attacker = fork();
	check(attacker >= 0);
	if (attacker == 0) {
		tracee = fork();
		check(tracee >= 0);
		if (tracee == 0) {
			check(read(ready[0], out, 1) == 1);
			check(!ptrace(PTRACE_TRACEME, 0, 0, 0));
			check(dup2(fds[1], 1) == 1);
			close(fds[0]);
			close(fds[1]);
			execl(target, target, "--ring", NULL);
			_exit(1);
		}
		drop(CAP_SYS_RAWIO);
		check(write(ready[1], "x", 1) == 1);
		for (;;) {
			check(waitpid(tracee, &status, 0) == tracee);
			if (!WIFSTOPPED(status))
				break;
			check(!ptrace(PTRACE_CONT, tracee, 0, 0));
		}
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	close(fds[1]);
	memset(out, 0, sizeof(out));
	check(read(fds[0], out, 7) == 7);
	join_child(attacker);
	printf("exec under such a tracer: %s", out);

	printf("ok\n");
	return 0;
}
