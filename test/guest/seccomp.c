// SPDX-License-Identifier: MIT
/* Filters which refuse, trap and kill. */
#include "guest.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

static volatile int traps;

static void on_sys(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)signo;
	check(info->si_code == 1 && info->si_syscall == SYS_getppid);
	check(info->si_arch == AUDIT_ARCH_X86_64);
	check((long)info->si_call_addr == uc->uc_mcontext.gregs[REG_RIP]);
	check(uc->uc_mcontext.gregs[REG_RAX] == SYS_getppid);
	uc->uc_mcontext.gregs[REG_RAX] = 4242;
	traps++;
}

static void filter(unsigned int nr, unsigned int action, unsigned long flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(*code), code };

	check(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	check(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog));
}

static void *call(void *arg)
{
	return (void *)syscall((long)arg);
}

static void run(int how)
{
	struct sigaction action = { .sa_sigaction = on_sys,
				    .sa_flags = SA_SIGINFO };
	pthread_t thread;
	void *ret;
	int i;

	expect_ring();
	switch (how) {
	case 0:
		filter(SYS_getppid, SECCOMP_RET_ERRNO | 77, 0);
		for (i = 0; i < 1000; i++) {
			check(syscall(SYS_getppid) == -1 && errno == 77);
			check(syscall(SYS_getpid) == getpid());
		}
		_exit(0);
	case 1:
		check(!sigaction(SIGSYS, &action, NULL));
		filter(SYS_getppid, SECCOMP_RET_TRAP, 0);
		for (i = 0; i < 1000; i++)
			check(syscall(SYS_getppid) == 4242);
		check(traps == 1000);
		_exit(0);
	case 2:
		filter(SYS_getppid, SECCOMP_RET_KILL_PROCESS, 0);
		syscall(SYS_getppid);
		_exit(1);
	case 3:		/* the thread alone: the process goes on */
		check(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
		filter(SYS_getppid, SECCOMP_RET_ERRNO | 55,
		       SECCOMP_FILTER_FLAG_TSYNC);
		check(!pthread_create(&thread, NULL, call,
				      (void *)SYS_getppid));
		check(!pthread_join(thread, &ret));
		check(ret == (void *)-1);
		_exit(0);
	case 4:		/* read, write, exit and sigreturn only */
		check(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
		write(1, "strict\n", 7);
		syscall(SYS_getpid);
		_exit(1);
	case 5:		/* a child inherits the filter, exec does as well */
		filter(SYS_getppid, SECCOMP_RET_ERRNO | 66, 0);
		if (fork() == 0)
			_exit(syscall(SYS_getppid) == -1 && errno == 66 ? 0 : 1);
		check(wait(&i) > 0);
		_exit(WEXITSTATUS(i));
	}
}

int main(void)
{
	int how, status;
	pid_t child;

	expect_ring();
	for (how = 0; how < 6; how++) {
		child = fork();
		check(child >= 0);
		if (child == 0)
			run(how);
		check(waitpid(child, &status, 0) == child);
		if (WIFEXITED(status))
			printf("%d: exit %d\n", how, WEXITSTATUS(status));
		else
			printf("%d: signal %d\n", how, WTERMSIG(status));
	}
	printf("ok\n");
	return 0;
}
