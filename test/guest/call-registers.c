// SPDX-License-Identifier: MIT
/*
 * A system call, made as a call, changes RAX, RCX and R11 and nothing else,
 * whatever it is and whatever happens meanwhile.  Neither behind it, nor in a
 * signal frame, nor in a core file, nor for a tracer is an address of the
 * kernel in any register.
 */
#include "guest.h"
#include <elf.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <time.h>
#include <ucontext.h>

enum { RAX, RDI, RSI, RDX, R10, R8, R9, RBX, RBP, R12, R13, R14, R15, RCX, R11,
       RSP, BELOW, MOVED, REGS };

/* What the red zone holds. */
#define MARK	0x5a5a

void stub(void);
void call_all(unsigned long *regs);
void call_and_die(unsigned long nr);
extern char call_begin[], call_after[], call_end[];
__attribute__((visibility("hidden"))) unsigned long entry;

asm(".text\n"
    "stub:	sub $2, %rcx; jmp *%rcx\n"
    "call_all:\n"
    "	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "	push %rdi; movq $0x5a5a, -8(%rsp)\n"
    "	mov %rsp, 136(%rdi)\n"
    "	mov (%rdi), %rax; mov 16(%rdi), %rsi; mov 24(%rdi), %rdx\n"
    "	mov 32(%rdi), %r10; mov 40(%rdi), %r8; mov 48(%rdi), %r9\n"
    "	mov 56(%rdi), %rbx; mov 64(%rdi), %rbp; mov 72(%rdi), %r12\n"
    "	mov 80(%rdi), %r13; mov 88(%rdi), %r14; mov 96(%rdi), %r15\n"
    "	mov 112(%rdi), %r11; mov 8(%rdi), %rdi\n"
    "call_begin:	lea call_after(%rip), %rcx\n"
    "	jmp *entry(%rip)\n"
    "	syscall\n"
    "call_after:	xchg %rdi, (%rsp)\n"
    "call_end:	mov %rax, (%rdi); mov %rsi, 16(%rdi); mov %rdx, 24(%rdi)\n"
    "	mov %r10, 32(%rdi); mov %r8, 40(%rdi); mov %r9, 48(%rdi)\n"
    "	mov %rbx, 56(%rdi); mov %rbp, 64(%rdi); mov %r12, 72(%rdi)\n"
    "	mov %r13, 80(%rdi); mov %r14, 88(%rdi); mov %r15, 96(%rdi)\n"
    "	mov %rcx, 104(%rdi); mov %r11, 112(%rdi); mov %rsp, 120(%rdi)\n"
    "	mov -8(%rsp), %rax; mov %rax, 128(%rdi)\n"
    "	pop %rax; mov %rax, 8(%rdi)\n"
    "	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "	ret\n"
    "call_and_die:\n"
    "	mov %rdi, %rax; lea 1f(%rip), %rcx; jmp *entry(%rip); syscall\n"
    "1:	ud2\n");

/* In the upper half and no error number. */
static bool of_kernel(unsigned long value)
{
	return value >> 47 && value < -4095ul;
}

static int leaks;
static volatile sig_atomic_t hits, frame_leaks;

static long call(long nr, long a, long b, long c, long d, long e, long f)
{
	unsigned long in[REGS], out[REGS];
	int i;

	for (i = 0; i < REGS; i++)
		in[i] = 0x111100001111 * (i % 5 + 1) + i;
	in[RAX] = nr;
	in[RDI] = a;
	in[RSI] = b;
	in[RDX] = c;
	in[R10] = d;
	in[R8] = e;
	in[R9] = f;
	memcpy(out, in, sizeof(in));
	call_all(out);
	for (i = RDI; i <= R15; i++) {
		if (out[i] != in[i])
			printf("call %ld: register %d was %lx, is %lx\n", nr, i,
			       in[i], out[i]);
		check(out[i] == in[i]);
	}
	check(out[RSP] == out[MOVED] && out[BELOW] == MARK);
	leaks += of_kernel(out[RCX]) + of_kernel(out[R11]);
	check(out[RCX] == (unsigned long)call_after || !of_kernel(out[RCX]));
	return out[RAX];
}

static void on_signal(int signo, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	int i;

	(void)signo; (void)info;
	hits++;
	/* Elsewhere, the C library may hold what it likes. */
	if (regs[REG_RIP] < (long)call_begin || regs[REG_RIP] >= (long)call_end)
		return;
	for (i = REG_R8; i <= REG_RIP; i++)
		frame_leaks += of_kernel(regs[i]);
}

static void set_timer(long microseconds)
{
	struct itimerval timer = { { 0, microseconds }, { 0, microseconds } };

	check(!setitimer(ITIMER_REAL, &timer, NULL));
}

static void on_signals(int signo, int flags)
{
	struct sigaction action = { .sa_sigaction = on_signal,
				    .sa_flags = SA_SIGINFO | flags };

	check(!sigaction(signo, &action, NULL));
}

/* One of each kind; signals may come. */
static void all_kinds(bool interrupted)
{
	struct timespec time, little = { 0, 200000 };
	static int word;
	char buf[512];
	int fds[2], status;
	long ret, page;
	struct stat st;
	pid_t child;

	check(call(SYS_getpid, 1, 2, 3, 4, 5, 6) == getpid());
	check(call(SYS_close, 1000, 2, 3, 4, 5, 6) == -EBADF);
	check(call(SYS_uname, (long)buf, 2, 3, 4, 5, 6) == 0);
	check(call(SYS_uname, 8, 2, 3, 4, 5, 6) == -EFAULT);
	check(call(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&time, 3, 4, 5, 6) == 0);
	check(call(SYS_stat, (long)"/", (long)&st, 3, 4, 5, 6) == 0);
	page = call(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(page > 0 && !(page & 4095));
	/* the kernel takes a page fault for it */
	check(call(SYS_uname, page, 2, 3, 4, 5, 6) == 0);
	check(call(SYS_munmap, page, 4096, 3, 4, 5, 6) == 0);
	/* numbers that are none */
	check(call(100000, 1, 2, 3, 4, 5, 6) == -ENOSYS);
	check(call(-1, 1, 2, 3, 4, 5, 6) == -ENOSYS);
	/* switches, sleeps and waits */
	check(call(SYS_sched_yield, 1, 2, 3, 4, 5, 6) == 0);
	ret = call(SYS_nanosleep, (long)&little, 0, 3, 4, 5, 6);
	check(ret == 0 || (interrupted && ret == -EINTR));
	ret = call(SYS_futex, (long)&word, FUTEX_WAIT_PRIVATE, 0, (long)&little, 5, 6);
	check(ret == -ETIMEDOUT || (interrupted && ret == -EINTR));
	ret = call(SYS_poll, 0, 0, 1, 4, 5, 6);
	check(ret == 0 || (interrupted && ret == -EINTR));
	check(!pipe(fds));
	/* calls that copy all registers; the child has its parent's */
	child = call(SYS_fork, 1, 2, 3, 4, 5, 6);
	check(child >= 0);
	if (child == 0) {
		usleep(500);
		while (write(fds[1], "w", 1) != 1)
			check(errno == EINTR);
		_exit(leaks ? 1 : 0);
	}
	do
		ret = call(SYS_read, fds[0], (long)buf, 1, 4, 5, 6);
	while (interrupted && ret == -EINTR);
	check(ret == 1 && buf[0] == 'w');
	do
		ret = call(SYS_wait4, child, (long)&status, 0, 0, 5, 6);
	while (interrupted && ret == -EINTR);
	check(ret == child && WIFEXITED(status));
	leaks += WEXITSTATUS(status);
	check(!call(SYS_close, fds[0], 2, 3, 4, 5, 6));
	check(!call(SYS_close, fds[1], 2, 3, 4, 5, 6));
}

/* Registers that PTRACE_GETREGS and NT_PRSTATUS have; orig_rax may be -1. */
static int leaks_of(const struct user_regs_struct *regs)
{
	return of_kernel(regs->r15) + of_kernel(regs->r14) + of_kernel(regs->r13) +
	       of_kernel(regs->r12) + of_kernel(regs->rbp) + of_kernel(regs->rbx) +
	       of_kernel(regs->r11) + of_kernel(regs->r10) + of_kernel(regs->r9) +
	       of_kernel(regs->r8) + of_kernel(regs->rax) + of_kernel(regs->rcx) +
	       of_kernel(regs->rdx) + of_kernel(regs->rsi) + of_kernel(regs->rdi) +
	       of_kernel(regs->rip) + of_kernel(regs->rsp) +
	       of_kernel(regs->fs_base) + of_kernel(regs->gs_base);
}

/* Of the core file in this directory, which is removed. */
static int core_leaks(pid_t child)
{
	int fd, i, found = -1;
	char name[32] = "core", *core;
	Elf64_Ehdr *ehdr;
	Elf64_Phdr *phdr;
	struct stat st;

	fd = open(name, O_RDONLY);
	if (fd < 0) {
		snprintf(name, sizeof(name), "core.%d", child);
		fd = open(name, O_RDONLY);
	}
	check(fd >= 0 && !fstat(fd, &st));
	core = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	check(core != MAP_FAILED && !close(fd));
	ehdr = (void *)core;
	phdr = (void *)(core + ehdr->e_phoff);
	for (i = 0; i < ehdr->e_phnum; i++) {
		char *at = core + phdr[i].p_offset;
		char *end = at + phdr[i].p_filesz;

		while (phdr[i].p_type == PT_NOTE && at < end) {
			Elf64_Nhdr *note = (void *)at;
			char *desc = at + sizeof(*note) + ((note->n_namesz + 3) & -4);

			if (note->n_type == NT_PRSTATUS) {
				struct elf_prstatus *status = (void *)desc;

				check(status->pr_pid == child);
				found = leaks_of((void *)status->pr_reg);
			}
			at = desc + ((note->n_descsz + 3) & -4);
		}
	}
	check(found >= 0);
	check(!munmap(core, st.st_size) && !unlink(name));
	return found;
}

/* Its call is about to block, or does. */
static void until_asleep(pid_t child)
{
	char path[32], state = 0;
	FILE *stat;

	snprintf(path, sizeof(path), "/proc/%d/stat", child);
	while (state != 'S') {
		stat = fopen(path, "r");
		check(stat && fscanf(stat, "%*d %*s %c", &state) == 1);
		check(!fclose(stat));
	}
}

/* Crashes right behind a call, or is killed while one waits. */
static int core_of(bool waits)
{
	int fds[2], status;
	pid_t child;
	char byte;

	check(!pipe(fds));
	child = fork();
	check(child >= 0);
	if (child == 0) {
		check(!close(fds[0]));
		if (!waits)
			call_and_die(SYS_getpid);
		check(write(fds[1], "r", 1) == 1);
		/* there is no signal that it handles */
		for (;;)
			call(SYS_poll, 0, 0, -1, 4, 5, 6);
	}
	check(!close(fds[1]));
	if (waits) {
		check(read(fds[0], &byte, 1) == 1);
		until_asleep(child);
		check(!kill(child, SIGQUIT));
	}
	check(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
	check(WTERMSIG(status) == (waits ? SIGQUIT : SIGILL));
	check(!close(fds[0]));
	if (getenv("UKL_HOST"))
		return 0;
	check(WCOREDUMP(status));
	return core_leaks(child);
}

/* What a tracer sees of a call that a signal has interrupted. */
static int tracer_leaks(void)
{
	struct user_regs_struct regs;
	int status, found = 0, n;
	pid_t child = fork();

	check(child >= 0);
	if (child == 0) {
		on_signals(SIGUSR1, 0);
		check(!ptrace(PTRACE_TRACEME, 0, 0, 0));
		raise(SIGSTOP);
		for (;;)
			call(SYS_poll, 0, 0, -1, 4, 5, 6);
	}
	check(waitpid(child, &status, 0) == child && WIFSTOPPED(status));
	for (n = 0; n < 20; n++) {
		check(!ptrace(PTRACE_CONT, child, 0, n ? SIGUSR1 : 0));
		until_asleep(child);
		check(!kill(child, SIGUSR1));
		check(waitpid(child, &status, 0) == child);
		check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGUSR1);
		check(!ptrace(PTRACE_GETREGS, child, 0, &regs));
		found += leaks_of(&regs);
	}
	check(!kill(child, SIGKILL));
	check(waitpid(child, &status, 0) == child);
	return found;
}

int main(void)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	char dir[] = "/tmp/registers-XXXXXX", byte;
	int i, fds[2];

	expect_ring();
	entry = getauxval(AT_SYSINFO);
	check(!entry == (cpl() == 3));
	if (!entry)
		entry = (unsigned long)stub;

	for (i = 0; i < 20; i++)
		all_kinds(false);
	printf("calls: %d kernel addresses\n", leaks);

	leaks = 0;
	on_signals(SIGALRM, SA_RESTART);
	set_timer(300);
	while (hits < 300)
		all_kinds(true);
	on_signals(SIGALRM, 0);
	check(!pipe(fds));
	for (i = 0; i < 200; i++)
		check(call(SYS_read, fds[0], (long)&byte, 1, 4, 5, 6) == -EINTR);
	set_timer(0);
	printf("interrupted: %d kernel addresses\n", leaks);
	printf("signal frames: %d kernel addresses\n", (int)frame_leaks);

	printf("tracer: %d kernel addresses\n", tracer_leaks());

	check(mkdtemp(dir) && !chdir(dir));
	if (getenv("UKL_HOST"))
		limit.rlim_cur = 0;
	check(!setrlimit(RLIMIT_CORE, &limit));
	printf("core of a crash: %d kernel addresses\n", core_of(false));
	printf("core of a call: %d kernel addresses\n", core_of(true));
	check(!chdir("/") && !rmdir(dir));
	printf("ok\n");
	return 0;
}
