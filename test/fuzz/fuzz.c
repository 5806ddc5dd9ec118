// SPDX-License-Identifier: MIT
/*
 * A fuzzer of system calls that can make them by a jump, as a ring 0 program.
 * Children of a supervisor call with random numbers, arguments, preserved
 * registers, flags and stack pointers; after each call, what a call preserves
 * is compared.  A child's calls follow from the seed and its number alone: it can
 * be repeated.
 *
 *	fuzz SECONDS SEED FEATURES		fuzz
 *	fuzz SECONDS SEED FEATURES CHILD trace	one child, each call written first
 *
 * FEATURES are words with commas between: the flags DF, NT, AC, IOPL, TF, ID,
 * IF; "wild" and "high" for stack pointers to nowhere and to the kernel's half;
 * "root" for children that stay root.
 *
 * In ring 0 a program can do all that the kernel can, on purpose.  So whatever
 * would make the program itself run code that it does not have is left out:
 * handlers and frames of signals from random memory, another's registers.
 *
 * Lines on standard output:
 *	@start CHILD			about to run
 *	@progress CALLS CHILDREN KILLED	so far
 *	@call ...			the last calls of all children, when something is wrong
 *	@failed TEXT			what is wrong; the last line
 *	@done CALLS CHILDREN KILLED	nothing is; the last line
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <grp.h>

#define SLOTS		4	/* children at a time */
#define CALLS		400	/* of a child */
#define RECORDS		32	/* of its last calls that are kept */
#define CHILD_MS	4000
#define STUCK_MS	60000
#define NOBODY		65534
#define MAGIC		0x756b6c2066757a7aULL

/* Fixed, so that a child's calls are the same each time; far from the program. */
#define ARENA		0x1000000000UL
#define ARENA_SIZE	0x10000UL
#define SANE		0x1100000000UL	/* read-only: strings, good structures */
#define SANE_SIZE	0x1000UL
#define CLOSED		0x1200000000UL	/* PROT_NONE */
#define STACK		0x1300000000UL
#define STACK_SIZE	0x10000UL
#define ALTSTACK	0x1400000000UL
#define ALTSTACK_SIZE	0x10000UL

#define EF_CF		0x1UL
#define EF_ARITH	0x8d5UL
#define EF_TF		0x100UL
#define EF_IF		0x200UL
#define EF_DF		0x400UL
#define EF_IOPL		0x3000UL
#define EF_NT		0x4000UL
#define EF_AC		0x40000UL
#define EF_ID		0x200000UL

enum { RAX, RDI, RSI, RDX, R10, R8, R9, RBX, RBP, R12, R13, R14, R15, RSP, FLAGS, NREGS };
static const char * const names[NREGS] = {
	"rax", "rdi", "rsi", "rdx", "r10", "r8", "r9", "rbx", "rbp", "r12",
	"r13", "r14", "r15", "rsp", "flags",
};

/* How a call is made. */
enum { BY_SYSCALL, BY_JUMP };

struct frame {
	uint64_t in[NREGS];
	uint64_t out[NREGS];
	uint64_t entry, saved_rsp;
	uint64_t start;		/* where the flags are, right below the stack pointer */
	uint64_t magic;
} __attribute__((aligned(4096)));

/* A page of its own: a call may discard it, and then the magic is gone as well. */
struct frame frame;

struct record {
	uint64_t in[NREGS], result;
	uint32_t number;
	uint8_t how, returned;
};

struct slot {
	uint64_t child;
	uint64_t calls;
	struct record records[RECORDS];
	char failure[256];
	bool ready;		/* any status is a call's from here on */
};

static struct slot *slots;
static struct {
	pid_t pid;
	long deadline;
	bool killed, reported;
} running[SLOTS];

static uint64_t seed, jump_entry, features, base_flags;
static bool tracing;
static volatile uint64_t total_calls, total_children, total_killed;

enum {
	F_DF, F_NT, F_AC, F_IOPL, F_TF, F_ID, F_IF, F_WILD, F_HIGH, F_ROOT,
	NFEATURES
};
static const char * const feature_names[NFEATURES] = {
	"DF", "NT", "AC", "IOPL", "TF", "ID", "IF", "wild", "high", "root",
};

static bool has(int feature)
{
	return features >> feature & 1;
}

/*
 * Each loads all registers, makes the call and stores them.  The flags are
 * popped from the new stack, so that the call gets them as they are: with AC
 * cleared, ring 0 must not touch memory in between.  The _lost ones are for a
 * stack that is none.  The child of a clone may share all memory with us, so
 * the _clone ones let it exit without touching any.
 */
asm(
"	.macro	enter\n"
"	pushq	%rbx\n"
"	pushq	%rbp\n"
"	pushq	%r12\n"
"	pushq	%r13\n"
"	pushq	%r14\n"
"	pushq	%r15\n"
"	pushfq\n"
"	movq	%rsp, frame+248(%rip)\n"
"	movq	frame(%rip), %rax\n"
"	movq	frame+8(%rip), %rdi\n"
"	movq	frame+16(%rip), %rsi\n"
"	movq	frame+24(%rip), %rdx\n"
"	movq	frame+32(%rip), %r10\n"
"	movq	frame+40(%rip), %r8\n"
"	movq	frame+48(%rip), %r9\n"
"	movq	frame+56(%rip), %rbx\n"
"	movq	frame+64(%rip), %rbp\n"
"	movq	frame+72(%rip), %r12\n"
"	movq	frame+80(%rip), %r13\n"
"	movq	frame+88(%rip), %r14\n"
"	movq	frame+96(%rip), %r15\n"
"	movq	frame+240(%rip), %r11\n"
"	.endm\n"
"	.macro	flags_there\n"
"	movq	frame+256(%rip), %rsp\n"
"	popfq\n"
"	.endm\n"
"	.macro	flags_here\n"
"	pushq	frame+112(%rip)\n"
"	popfq\n"
"	movq	frame+104(%rip), %rsp\n"
"	.endm\n"
"	.macro	jump_or_trap jump\n"
"	.if \\jump\n"
"	leaq	1f(%rip), %rcx\n"
"	jmp	*%r11\n"
"	.endif\n"
"	syscall\n"
"1:\n"
"	.endm\n"
"	.macro	child_exits\n"
"	testq	%rax, %rax\n"
"	jnz	2f\n"
"	movl	$60, %eax\n"
"	xorl	%edi, %edi\n"
"	syscall\n"
"	ud2\n"
"2:\n"
"	.endm\n"
"	.macro	call_by name, jump, where, clone\n"
"	.globl	\\name\n"
"	.type	\\name, @function\n"
"\\name:\n"
"	enter\n"
"	\\where\n"
"	jump_or_trap \\jump\n"
"	.if \\clone\n"
"	child_exits\n"
"	.endif\n"
"	jmp	leave\n"
"	.endm\n"
"	.text\n"
"leave:\n"
"	movq	%rsp, frame+224(%rip)\n"
"	movq	frame+248(%rip), %rsp\n"
"	movq	%rax, frame+120(%rip)\n"
"	movq	%rdi, frame+128(%rip)\n"
"	movq	%rsi, frame+136(%rip)\n"
"	movq	%rdx, frame+144(%rip)\n"
"	movq	%r10, frame+152(%rip)\n"
"	movq	%r8, frame+160(%rip)\n"
"	movq	%r9, frame+168(%rip)\n"
"	movq	%rbx, frame+176(%rip)\n"
"	movq	%rbp, frame+184(%rip)\n"
"	movq	%r12, frame+192(%rip)\n"
"	movq	%r13, frame+200(%rip)\n"
"	movq	%r14, frame+208(%rip)\n"
"	movq	%r15, frame+216(%rip)\n"
"	pushfq\n"
"	popq	frame+232(%rip)\n"
"	popfq\n"
"	popq	%r15\n"
"	popq	%r14\n"
"	popq	%r13\n"
"	popq	%r12\n"
"	popq	%rbp\n"
"	popq	%rbx\n"
"	ret\n"
"	call_by	trap, 0, flags_there, 0\n"
"	call_by	trap_lost, 0, flags_here, 0\n"
"	call_by	trap_clone, 0, flags_there, 1\n"
"	call_by	jump, 1, flags_there, 0\n"
"	call_by	jump_lost, 1, flags_here, 0\n"
"	call_by	jump_clone, 1, flags_there, 1\n"
);

void trap(void);
void trap_lost(void);
void trap_clone(void);
void jump(void);
void jump_lost(void);
void jump_clone(void);

_Static_assert(offsetof(struct frame, out) == 120 && offsetof(struct frame, entry) == 240 &&
	       offsetof(struct frame, saved_rsp) == 248 && offsetof(struct frame, start) == 256,
	       "the assembler knows where things are");

/* Of one child; the supervisor has its own. */
static uint64_t state;

static uint64_t next(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static uint64_t below(uint64_t limit)
{
	return next() % limit;
}

static bool one_in(uint64_t n)
{
	return below(n) == 0;
}

/*
 * What the arguments of a call are: (f)ile descriptor, (p)ointer, (s)tring,
 * (n)umber of bytes or things, (b)its, process (i)d, si(g)nal, (a)nything.
 * Calls that are not here get anything, and so do these at times.
 */
static const char * const hints[512] = {
	[SYS_read] = "fpn", [SYS_write] = "fpn", [SYS_open] = "sbb", [SYS_close] = "f",
	[SYS_stat] = "sp", [SYS_fstat] = "fp", [SYS_lstat] = "sp", [SYS_poll] = "pnn",
	[SYS_lseek] = "fnn", [SYS_mmap] = "pnbbfn", [SYS_mprotect] = "pnb",
	[SYS_munmap] = "pn", [SYS_brk] = "p", [SYS_rt_sigprocmask] = "npp8",
	[SYS_ioctl] = "fap", [SYS_pread64] = "fpnn", [SYS_pwrite64] = "fpnn",
	[SYS_readv] = "fpn", [SYS_writev] = "fpn", [SYS_access] = "sb",
	[SYS_pipe] = "p", [SYS_select] = "npppp", [SYS_mremap] = "pnnbp",
	[SYS_msync] = "pnb", [SYS_mincore] = "pnp", [SYS_madvise] = "pnn",
	[SYS_shmget] = "anb", [SYS_shmat] = "npb", [SYS_shmctl] = "nnp",
	[SYS_dup] = "f", [SYS_dup2] = "ff", [SYS_nanosleep] = "pp",
	[SYS_getitimer] = "np", [SYS_setitimer] = "npp", [SYS_sendfile] = "ffpn",
	[SYS_socket] = "nnn", [SYS_connect] = "fpn", [SYS_accept] = "fpp",
	[SYS_sendto] = "fpnbpn", [SYS_recvfrom] = "fpnbpp", [SYS_sendmsg] = "fpb",
	[SYS_recvmsg] = "fpb", [SYS_shutdown] = "fn", [SYS_bind] = "fpn",
	[SYS_listen] = "fn", [SYS_getsockname] = "fpp", [SYS_socketpair] = "nnnp",
	[SYS_setsockopt] = "fnnpn", [SYS_getsockopt] = "fnnpp",
	[SYS_clone] = "bpppp", [SYS_execve] = "spp", [SYS_wait4] = "ipbp",
	[SYS_kill] = "ig", [SYS_uname] = "p", [SYS_semget] = "anb", [SYS_semop] = "npn",
	[SYS_semctl] = "nnnp", [SYS_shmdt] = "p", [SYS_msgget] = "ab",
	[SYS_msgsnd] = "npnb", [SYS_msgrcv] = "npnnb", [SYS_msgctl] = "nnp",
	[SYS_fcntl] = "fna", [SYS_flock] = "fn", [SYS_ftruncate] = "fn",
	[SYS_getdents] = "fpn", [SYS_getcwd] = "pn", [SYS_chdir] = "s",
	[SYS_rename] = "ss", [SYS_mkdir] = "sb", [SYS_rmdir] = "s", [SYS_creat] = "sb",
	[SYS_link] = "ss", [SYS_unlink] = "s", [SYS_symlink] = "ss",
	[SYS_readlink] = "spn", [SYS_chmod] = "sb", [SYS_fchmod] = "fb",
	[SYS_chown] = "snn", [SYS_getrlimit] = "np", [SYS_getrusage] = "np",
	[SYS_sysinfo] = "p", [SYS_times] = "p", [SYS_ptrace] = "nipp",
	[SYS_getgroups] = "np", [SYS_capget] = "pp", [SYS_capset] = "pp",
	[SYS_rt_sigpending] = "p8", [SYS_rt_sigtimedwait] = "ppp8",
	[SYS_rt_sigqueueinfo] = "igp", [SYS_rt_sigsuspend] = "p8",
	[SYS_sigaltstack] = "pp", [SYS_personality] = "b", [SYS_statfs] = "sp",
	[SYS_sched_setparam] = "ip", [SYS_sched_setaffinity] = "inp",
	[SYS_sched_getaffinity] = "inp", [SYS_mlock] = "pn", [SYS_munlock] = "pn",
	[SYS_modify_ldt] = "npn", [SYS_prctl] = "napaa", [SYS_arch_prctl] = "ap",
	[SYS_setrlimit] = "np", [SYS_setxattr] = "sspnb", [SYS_getxattr] = "sspn",
	[SYS_listxattr] = "spn", [SYS_tkill] = "ig", [SYS_futex] = "pnnppn",
	[SYS_io_setup] = "np", [SYS_io_submit] = "anp", [SYS_epoll_create] = "n",
	[SYS_set_tid_address] = "p", [SYS_semtimedop] = "npnp",
	[SYS_fadvise64] = "fnnn", [SYS_timer_create] = "npp",
	[SYS_timer_settime] = "nbpp", [SYS_clock_gettime] = "np",
	[SYS_clock_nanosleep] = "nbpp", [SYS_epoll_wait] = "fpnn",
	[SYS_epoll_ctl] = "fnfp", [SYS_tgkill] = "iig", [SYS_mq_open] = "sbbp",
	[SYS_waitid] = "nipbp", [SYS_inotify_add_watch] = "fsb",
	[SYS_openat] = "fsbb", [SYS_mkdirat] = "fsb", [SYS_unlinkat] = "fsb",
	[SYS_renameat] = "fsfs", [SYS_pselect6] = "npppppp", [SYS_ppoll] = "pnpp8",
	[SYS_unshare] = "b", [SYS_set_robust_list] = "pn", [SYS_splice] = "fpfpnb",
	[SYS_tee] = "ffnb", [SYS_vmsplice] = "fpnb", [SYS_move_pages] = "inpppb",
	[SYS_utimensat] = "fspb", [SYS_epoll_pwait] = "fpnnp8", [SYS_signalfd] = "fpn",
	[SYS_timerfd_create] = "nb", [SYS_fallocate] = "fbnn",
	[SYS_timerfd_settime] = "fbpp", [SYS_accept4] = "fppb", [SYS_eventfd2] = "nb",
	[SYS_epoll_create1] = "b", [SYS_dup3] = "ffb", [SYS_pipe2] = "pb",
	[SYS_preadv] = "fpnnn", [SYS_pwritev] = "fpnnn", [SYS_perf_event_open] = "piifb",
	[SYS_recvmmsg] = "fpnbp", [SYS_prlimit64] = "inpp",
	[SYS_sendmmsg] = "fpnb", [SYS_getcpu] = "ppp", [SYS_process_vm_readv] = "ipnpnb",
	[SYS_process_vm_writev] = "ipnpnb", [SYS_kcmp] = "iinff",
	[SYS_sched_setattr] = "ipb", [SYS_renameat2] = "fsfsb", [SYS_seccomp] = "nbp",
	[SYS_getrandom] = "pnb", [SYS_memfd_create] = "sb", [SYS_execveat] = "fsppb",
	[SYS_userfaultfd] = "b", [SYS_membarrier] = "nbn", [SYS_mlock2] = "pnb",
	[SYS_copy_file_range] = "fpfpnb", [SYS_preadv2] = "fpnnnb",
	[SYS_pkey_mprotect] = "pnbn", [SYS_pkey_alloc] = "bb", [SYS_pkey_free] = "n",
	[SYS_statx] = "fsbbp", [SYS_io_pgetevents] = "annppp", [SYS_rseq] = "pnba",
	[424] = "fgpb" /* pidfd_send_signal */, [425] = "np" /* io_uring_setup */,
	[426] = "fnnbpn" /* io_uring_enter */, [427] = "fnpn" /* io_uring_register */,
	[434] = "ib" /* pidfd_open */, [435] = "pn" /* clone3 */,
	[436] = "nnb" /* close_range */, [437] = "fspn" /* openat2 */,
	[440] = "fpnnb" /* process_madvise */, [441] = "fpnnpn" /* epoll_pwait2 */,
	[449] = "pnbpn" /* futex_waitv */, [454] = "pabn" /* futex_wake */,
};

/* They end the machine or its clock, or take the supervisor with them. */
static bool never(unsigned int nr)
{
	switch (nr) {
	case SYS_rt_sigreturn:		/* any RIP, even the kernel's */
	case SYS_reboot:
	case SYS_kexec_load:
	case SYS_kexec_file_load:
	case SYS_init_module:
	case SYS_finit_module:
	case SYS_delete_module:
	case SYS_iopl:			/* ports of the machine */
	case SYS_ioperm:
		return true;
	}
	return false;
}

/* What root could do to the machine and need not ask for. */
static bool not_for_root(unsigned int nr)
{
	switch (nr) {
	case SYS_kill: case SYS_tkill: case SYS_tgkill: case SYS_rt_sigqueueinfo:
	case SYS_rt_tgsigqueueinfo: case 424:
	case SYS_ptrace: case SYS_process_vm_writev: case SYS_process_madvise:
	case SYS_prlimit64: case SYS_setrlimit: case SYS_capset:
	case SYS_sched_setscheduler: case SYS_sched_setparam: case SYS_sched_setattr:
	case SYS_setpriority: case SYS_ioprio_set:
	case SYS_mount: case SYS_umount2: case SYS_pivot_root: case SYS_chroot:
	case SYS_fsopen: case SYS_fsconfig: case SYS_fsmount: case SYS_fspick:
	case SYS_open_tree: case SYS_move_mount: case SYS_mount_setattr:
	case SYS_swapon: case SYS_swapoff: case SYS_acct: case SYS_quotactl: case 443:
	case SYS_settimeofday: case SYS_clock_settime: case SYS_adjtimex:
	case SYS_clock_adjtime: case SYS_sethostname: case SYS_setdomainname:
	case SYS_syslog: case SYS_mknod: case SYS_mknodat: case SYS_vhangup:
	case SYS_setns: case SYS_unshare: case SYS_bpf: case SYS_perf_event_open:
	case SYS_open_by_handle_at: case SYS_fanotify_init: case SYS_fanotify_mark:
	/* F_SETOWN and F_SETSIG are a kill. */
	case SYS_fcntl: case SYS_chdir: case SYS_fchdir: case SYS_shmctl: case SYS_msgctl:
	case SYS_personality: case SYS_lookup_dcookie:
		return true;
	}
	return false;
}

static const char * const paths[] = {
	"a", "b", "c", "d/a", "d", ".", "", "a/b/c/d/e/f/g/h", "link",
	/* Not for root. */
	"..", "/", "/dev/null", "/dev/zero", "/proc/self/status", "/proc/self/maps",
	"/proc/self", "/tmp",
};
#define ROOT_PATHS	9
#define NPATHS		(sizeof(paths) / sizeof(paths[0]))

static bool am_root;
static uint64_t path_at[NPATHS], action_at[8];
static unsigned int nactions;

static uint64_t number(void)
{
	switch (below(6)) {
	case 0:
		return below(8);
	case 1:
		return below(256);
	case 2:
		return 1UL << below(64);
	case 3:
		return (1UL << below(64)) - 1;
	case 4:
		return -below(256);
	}
	return below(ARENA_SIZE);
}

static uint64_t pointer(void)
{
	switch (below(16)) {
	case 0:
		return 0;
	case 1:
		return SANE + below(SANE_SIZE);
	case 2:
		return CLOSED + below(0x1000);
	case 3:		/* ends within */
		return ARENA + ARENA_SIZE - below(64);
	case 4:		/* the end of the lower half */
		return 0x7ffffffff000UL + below(0x2000) - 0x1000;
	case 5:		/* of five-level tables */
		return 0xfffffffffff000UL + below(0x2000) - 0x1000;
	case 6:		/* not canonical */
		return 0x8000000000000000UL >> below(8);
	case 7:		/* the kernel's */
		return 0xffffffff81000000UL + below(0x1000000);
	case 8:
		return 0xffff888000000000UL + below(0x40000000);
	case 9:		/* nothing there */
		return 0x2000000000UL + below(0x100000);
	case 10:
		return ARENA + (below(ARENA_SIZE) & ~0xfffUL);
	}
	return ARENA + (below(ARENA_SIZE - 0x1000) & ~7UL);
}

static uint64_t path(void)
{
	if (one_in(8))
		return pointer();
	return path_at[below(am_root ? ROOT_PATHS : NPATHS)];
}

static uint64_t anything(void)
{
	switch (below(5)) {
	case 0:
		return next();
	case 1:
		return pointer();
	case 2:
		return (uint32_t)next();
	}
	return number();
}

static uint64_t argument(char kind)
{
	switch (kind) {
	case 'f':
		return one_in(16) ? anything() : below(24);
	case 'p':
		return pointer();
	case 's':
		return path();
	case 'n':
		return one_in(8) ? anything() : number();
	case 'b':
		return one_in(4) ? next() : 1UL << below(32) | (one_in(2) ? 1UL << below(32) : 0);
	case 'i':
		return one_in(4) ? 0 : below(4096);
	case 'g':
		return below(70);
	case '8':
		return one_in(8) ? anything() : 8;
	}
	return anything();
}

/* Leaves out what would make the program run code that it does not have. */
static void tame(unsigned int nr, uint64_t *in)
{
	static const unsigned char requests[] = {
		PTRACE_TRACEME, PTRACE_PEEKTEXT, PTRACE_PEEKUSER, PTRACE_CONT,
		PTRACE_SINGLESTEP, PTRACE_GETREGS, PTRACE_GETFPREGS, PTRACE_ATTACH,
		PTRACE_DETACH, PTRACE_SYSCALL,
	};

	switch (nr) {
	case SYS_rt_sigaction:
		if (in[RSI] && nactions)
			in[RSI] = action_at[below(nactions)];
		break;
	case SYS_ptrace:
		/* Everything from SETOPTIONS on but SETREGSET (0x4205). */
		in[RDI] = one_in(2) ? requests[below(sizeof(requests))] : 0x4200 + below(16);
		if (in[RDI] == 0x4205)
			in[RDI] = 0x420e;
		break;
	case SYS_kill:
		/* All but us: that is no test. */
		if ((int)in[RDI] < 0)
			in[RDI] = below(4096);
		break;
	}
}

static bool cloning(unsigned int nr)
{
	return nr == SYS_clone || nr == SYS_fork || nr == SYS_vfork || nr == 435;
}

/* Chooses a call. Returns the number that counts. */
static unsigned int choose(uint64_t *in, int *how, bool *lost)
{
	static const unsigned char order[] = { RDI, RSI, RDX, R10, R8, R9 };
	static const struct {
		unsigned int feature, one_in;
		uint64_t flags;
	} odd[] = {
		{ F_DF, 8, EF_DF }, { F_NT, 8, EF_NT }, { F_AC, 8, EF_AC },
		{ F_IOPL, 8, EF_IOPL }, { F_ID, 8, EF_ID }, { F_TF, 64, EF_TF },
		{ F_IF, 8, EF_IF },
	};
	uint64_t lower, upper;
	const char *hint;
	unsigned int nr, i;

	do {
		in[RAX] = one_in(32) ? (one_in(2) ? next() : number()) : below(463);
		/* The instruction looks at 32 bits; bit 30 says x32. */
		nr = (uint32_t)in[RAX] & ~0x40000000U;
		if ((nr == SYS_exit || nr == SYS_exit_group || nr == SYS_pause) && !one_in(16))
			continue;
	} while (never(nr) || (am_root && not_for_root(nr)));

	hint = nr < 512 && !one_in(8) ? hints[nr] : NULL;
	for (i = 0; i < 6; i++) {
		in[order[i]] = argument(hint && *hint ? *hint : 'a');
		if (hint && *hint)
			hint++;
	}
	tame(nr, in);
	in[RBX] = next();
	in[RBP] = one_in(4) ? pointer() : next();
	for (i = R12; i <= R15; i++)
		in[i] = next();

	/* As many draws on each machine, whatever it has: the next calls are the same. */
	*how = below(10) < 7 && jump_entry ? BY_JUMP : BY_SYSCALL;
	*lost = false;
	in[RSP] = STACK + 0x1000 + below(STACK_SIZE - 0x2000);
	if (one_in(2))
		in[RSP] &= ~7UL;
	lower = one_in(2) ? 0x3000000000UL + below(0x1000000) : below(0x10000);
	upper = one_in(2) ? 0xffff888000000000UL + below(0x40000000) : next();
	if (one_in(16) & has(F_WILD)) {
		*lost = true;
		in[RSP] = lower;
	}
	if (one_in(64) & has(F_HIGH)) {
		*lost = true;
		in[RSP] = upper;
	}

	in[FLAGS] = base_flags | (next() & EF_ARITH);
	for (i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		if (one_in(odd[i].one_in) & has(odd[i].feature))
			in[FLAGS] ^= odd[i].flags;
	return nr;
}

/* No C library from here on: a call may have taken from it what it stands on. */
static long raw(long nr, long a, long b, long c)
{
	long result;

	asm volatile("syscall" : "=a" (result) : "a" (nr), "D" (a), "S" (b), "d" (c)
		     : "rcx", "r11", "memory");
	return result;
}

static void describe(char *text, size_t size, uint64_t child, const struct record *record)
{
	const uint64_t *in = record->in;

	snprintf(text, size,
		 "child %lu call %u: %s %ld(%lx, %lx, %lx, %lx, %lx, %lx) flags %lx rsp %lx rbx %lx rbp %lx r12 %lx %lx %lx %lx%s%lx",
		 child, record->number, record->how == BY_JUMP ? "jump" : "syscall",
		 (long)in[RAX], in[RDI], in[RSI], in[RDX], in[R10], in[R8], in[R9],
		 in[FLAGS], in[RSP], in[RBX], in[RBP], in[R12], in[R13], in[R14],
		 in[R15], record->returned ? " = " : " did not return, ",
		 record->result);
}

/* What a call keeps, and did not. */
static void check(struct slot *slot, const struct record *record, bool clone)
{
	/* SYSCALL keeps the flags as well; a call by a jump need not. */
	uint64_t kept = EF_ARITH | EF_DF | EF_NT | EF_ID;
	int i;

	for (i = RDI; i <= RSP; i++)
		if (frame.in[i] != frame.out[i])
			break;
	/* Nor does what lets the child of a clone exit. */
	if (i == FLAGS && (record->how == BY_JUMP || clone || !((frame.in[i] ^ frame.out[i]) & kept)))
		return;
	/* The page was taken away, with all that was to be compared. */
	if (frame.magic != MAGIC)
		raw(SYS_exit_group, 0, 0, 0);
	snprintf(slot->failure, sizeof(slot->failure), "%s was %lx and is %lx",
		 names[i], frame.in[i], frame.out[i]);
	raw(SYS_exit_group, 99, 0, 0);
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)info;
	(void)context;
}

/* Structures that the kernel takes code addresses from. */
static void fill_sane(void)
{
	struct action {
		uint64_t handler, flags, restorer, mask;
	} *action;
	struct sigaction mine;
	char *at = (char *)SANE;
	unsigned int i;

	for (i = 0; i < NPATHS; i++) {
		path_at[i] = (uint64_t)at;
		strcpy(at, paths[i]);
		at += strlen(at) + 1;
	}
	/* The restorer is the C library's: as sigaction() has set it. */
	syscall(SYS_rt_sigaction, SIGALRM, NULL, (void *)ARENA, 8);
	action = (struct action *)ARENA;
	memset(&mine, 0, sizeof(mine));
	at = (char *)(SANE + 0x800);
	for (i = 0; i < 8; i++) {
		struct action one = *action;

		if (i < 2)
			one.handler = i;	/* SIG_DFL, SIG_IGN */
		if (i >= 4)
			one.flags ^= SA_RESTART;
		if (i >= 6)
			one.flags ^= SA_ONSTACK;
		memcpy(at, &one, sizeof(one));
		action_at[i] = (uint64_t)at;
		at += sizeof(one);
	}
	nactions = 8;
}

static void *map_at(uint64_t address, uint64_t size, int protection)
{
	void *at = mmap((void *)address, size, protection,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (at != (void *)address)
		_exit(98);
	return at;
}

static void limit(int what, uint64_t value)
{
	struct rlimit rlimit = { value, value };

	setrlimit(what, &rlimit);
}

static void catch(int signal)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigaction(signal, &action, NULL);
}

/* 3 and up; what they are matters less than that they are of many kinds. */
static void open_files(void)
{
	int pair[2];
	int i;

	for (i = 0; i < 3; i++)
		close(i);
	open("/dev/null", O_RDWR);
	dup(0);
	dup(0);
	pipe2(pair, O_NONBLOCK);			/* 3, 4 */
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair);	/* 5, 6 */
	memfd_create("fuzz", 0);			/* 7 */
	eventfd(1, EFD_NONBLOCK);			/* 8 */
	epoll_create1(0);				/* 9 */
	timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);	/* 10 */
	open("a", O_RDWR | O_CREAT, 0666);		/* 11 */
	socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);/* 12 */
	socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);	/* 13 */
	open(".", O_RDONLY | O_DIRECTORY);		/* 14 */
	open("/dev/zero", O_RDWR);			/* 15 */
	open("/proc/self/status", O_RDONLY);		/* 16 */
	ftruncate(7, 0x4000);
}

static void prepare(bool keep_root)
{
	struct itimerval timer = { { 0, 3000 }, { 0, 3000 } };
	stack_t altstack = { .ss_sp = (void *)ALTSTACK, .ss_size = ALTSTACK_SIZE };
	uint64_t *word;
	char text[64];
	int fd;

	map_at(ARENA, ARENA_SIZE, PROT_READ | PROT_WRITE);
	map_at(SANE, SANE_SIZE, PROT_READ | PROT_WRITE);
	map_at(CLOSED, 0x1000, PROT_NONE);
	map_at(STACK, STACK_SIZE, PROT_READ | PROT_WRITE);
	map_at(ALTSTACK, ALTSTACK_SIZE, PROT_READ | PROT_WRITE);
	frame.magic = MAGIC;
	frame.entry = jump_entry;

	catch(SIGALRM);
	catch(SIGTRAP);
	catch(SIGUSR1);
	catch(SIGUSR2);
	catch(SIGIO);
	catch(SIGCHLD);
	catch(SIGPIPE);
	catch(SIGTERM);
	sigaltstack(&altstack, NULL);
	fill_sane();
	mprotect((void *)SANE, SANE_SIZE, PROT_READ);

	fd = open("/proc/self/oom_score_adj", O_WRONLY);
	if (fd >= 0) {
		write(fd, "1000", 4);
		close(fd);
	}
	snprintf(text, sizeof(text), "/tmp/fuzz-%s", keep_root ? "root" : "user");
	mkdir(text, 0777);
	chmod(text, 01777);
	chdir(text);
	mkdir("d", 0777);
	open_files();
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_AS, 96 << 20);
	limit(RLIMIT_FSIZE, 1 << 20);
	limit(RLIMIT_MEMLOCK, 1 << 20);
	limit(RLIMIT_MSGQUEUE, 1 << 16);
	limit(RLIMIT_SIGPENDING, 64);
	limit(RLIMIT_CPU, 10);
	limit(RLIMIT_NOFILE, 64);
	if (!keep_root) {
		limit(RLIMIT_NPROC, 64);
		limit(RLIMIT_RTPRIO, 0);
		setgroups(0, NULL);
		if (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
			_exit(98);
		/* Or nobody could look into it, the next child's oom_score_adj included. */
		prctl(PR_SET_DUMPABLE, 1);
	}
	am_root = keep_root;
	for (word = (uint64_t *)ARENA; word < (uint64_t *)(ARENA + ARENA_SIZE); word++)
		*word = one_in(8) ? next() : one_in(3) ? pointer() : one_in(2) ? number() : 0;
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void make_call(struct slot *slot, uint64_t child, uint32_t n, int out)
{
	struct record *record = &slot->records[n % RECORDS];
	bool lost, clone;
	char text[512];
	unsigned int nr;
	int how;

	nr = choose(frame.in, &how, &lost);
	clone = cloning(nr);
	/* A clone whose stack is lost is a clone like another. */
	if (clone && lost) {
		lost = false;
		frame.in[RSP] = STACK + STACK_SIZE / 2;
	}
	memcpy(record->in, frame.in, sizeof(record->in));
	record->number = n;
	record->how = how;
	record->returned = 0;
	record->result = 0;
	slot->calls = n + 1;
	if (tracing) {
		describe(text, sizeof(text), child, record);
		strcat(text, "\n");
		raw(SYS_write, out, (long)text, strlen(text));
	}
	if (!lost) {
		frame.start = frame.in[RSP] - 8;
		memcpy((void *)frame.start, &frame.in[FLAGS], 8);
	}
	if (how == BY_JUMP)
		(lost ? jump_lost : clone ? jump_clone : jump)();
	else
		(lost ? trap_lost : clone ? trap_clone : trap)();
	record->result = frame.out[RAX];
	record->returned = 1;
	check(slot, record, clone);
}

static void run_child(struct slot *slot, uint64_t child)
{
	bool keep_root;
	sigset_t none;
	uint32_t n;
	int out = 1;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	state = seed * 0xd1342543de82ef95ULL + child * 0x2545f4914f6cdd1dULL;
	keep_root = has(F_ROOT) && one_in(8);
	if (tracing)
		out = fcntl(1, F_DUPFD, 900);
	/* /dev/kmsg is the supervisor's, which must not be made to wait for it (F_SETFL). */
	close_range(3, 899, 0);
	prepare(keep_root);
	slot->ready = true;
	for (n = 0; n < CALLS; n++)
		make_call(slot, child, n, out);
	_exit(0);
}

/* The supervisor. */

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void say(const char *format, ...)
{
	char text[1024];
	va_list list;
	int length;

	va_start(list, format);
	length = vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	if (write(1, text, length) != length)
		_exit(97);
}

static void dump_calls(void)
{
	char text[512];
	uint64_t n;
	int i;

	for (i = 0; i < SLOTS; i++) {
		n = slots[i].calls > RECORDS ? slots[i].calls - RECORDS : 0;
		for (; n < slots[i].calls; n++) {
			describe(text, sizeof(text), slots[i].child, &slots[i].records[n % RECORDS]);
			say("@call %s\n", text);
		}
	}
}

static void failed(const char *format, ...)
{
	char text[512];
	va_list list;
	int i;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	for (i = 0; i < SLOTS; i++)
		total_calls += running[i].pid ? slots[i].calls : 0;
	say("@progress %lu %lu %lu\n", total_calls, total_children, total_killed);
	dump_calls();
	say("@failed %s\n", text);
	/* The rest of an oops has to get to the console. */
	sleep(3);
	_exit(1);
}

/* The kernel's own words: what it says about itself, not about a program. */
static void look_at_log(int log)
{
	static const char * const bad[] = {
		"WARNING: ", "BUG: ", "kernel BUG at", "Oops", "general protection fault",
		"INFO: task", "rcu: INFO", "INFO: rcu", "soft lockup", "Unable to handle",
		"Bad pagetable", "scheduling while", "sleeping function",
		"corruption", "double fault", "stack guard", "refcount_t",
	};
	char record[8192], *text;
	unsigned int i;
	ssize_t n;

	while ((n = read(log, record, sizeof(record) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		if (n < 0)
			continue;
		record[n] = 0;
		text = strchr(record, ';');
		if (!text || !strncmp(text + 1, "traps: ", 7))
			continue;
		for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
			if (strstr(text, bad[i]))
				failed("kernel: %.300s", text + 1);
	}
}

static void set_sysctl(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	if (fd >= 0) {
		write(fd, value, strlen(value));
		close(fd);
	}
}

/* What children leave: stopped, traced, or just slow to die. */
static void kill_orphans(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char path[300], stat[512], *end;
	FILE *file;
	int ppid, i;
	pid_t pid;

	while ((entry = readdir(proc))) {
		pid = atoi(entry->d_name);
		if (pid <= 0)
			continue;
		for (i = 0; i < SLOTS && running[i].pid != pid; i++)
			;
		if (i < SLOTS)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		file = fopen(path, "r");
		if (!file)
			continue;
		end = fgets(stat, sizeof(stat), file) ? strrchr(stat, ')') : NULL;
		fclose(file);
		if (end && sscanf(end, ") %*c %d", &ppid) == 1 && ppid == getpid())
			kill(pid, SIGKILL);
	}
	closedir(proc);
}

static void reap(void)
{
	int status, i;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
		for (i = 0; i < SLOTS && running[i].pid != pid; i++)
			;
		if (WIFSTOPPED(status)) {
			/* It has made us its tracer. */
			kill(pid, SIGKILL);
			ptrace(PTRACE_CONT, pid, NULL, SIGKILL);
			continue;
		}
		if (i == SLOTS)
			continue;
		total_calls += slots[i].calls;
		total_killed += WIFSIGNALED(status) != 0;
		running[i].pid = 0;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 99 && slots[i].failure[0])
			failed("child %lu, call %lu: %s", slots[i].child, slots[i].calls - 1, slots[i].failure);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 98 && !slots[i].ready)
			failed("child %lu could not be set up", slots[i].child);
	}
}

static void watch(int i)
{
	long now = now_ms();

	if (now < running[i].deadline)
		return;
	if (running[i].killed && now > running[i].deadline + STUCK_MS)
		failed("child %lu survives SIGKILL", slots[i].child);
	kill(running[i].pid, SIGKILL);
	running[i].killed = true;
}

static void start_child(int i, uint64_t child)
{
	memset(&slots[i], 0, sizeof(slots[i]));
	slots[i].child = child;
	say("@start %lu\n", child);
	running[i].deadline = now_ms() + CHILD_MS;
	running[i].killed = false;
	running[i].pid = fork();
	if (!running[i].pid)
		run_child(&slots[i], child);
	if (running[i].pid < 0)
		failed("fork: %s", strerror(errno));
	total_children++;
}

static void supervise(long seconds, bool one, uint64_t child)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	long end = now_ms() + seconds * 1000, progress = 0;
	bool going = true;
	sigset_t all;
	int i, alive;

	lseek(log, 0, SEEK_END);
	/* A dead child tells more than a dead machine. */
	set_sysctl("/proc/sys/kernel/panic_on_oops", "0");
	/* Children fault all the time: the console has better things to say. */
	set_sysctl("/proc/sys/debug/exception-trace", "0");
	set_sysctl("/proc/sys/kernel/hung_task_timeout_secs", "120");
	set_sysctl("/proc/sys/kernel/shmmni", "32");
	set_sysctl("/proc/sys/kernel/shmmax", "1048576");
	set_sysctl("/proc/sys/kernel/msgmni", "32");
	set_sysctl("/proc/sys/kernel/sem", "32 256 32 16");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	/* A clone may have any signal for its end, and us for a parent. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	umask(0);
	do {
		alive = 0;
		for (i = 0; i < SLOTS; i++) {
			if (running[i].pid)
				watch(i);
			else if (going && !(one && i))
				start_child(i, child++);
			alive += running[i].pid != 0;
		}
		reap();
		look_at_log(log);
		if (now_ms() > progress) {
			kill_orphans();
			say("@progress %lu %lu %lu\n", total_calls, total_children, total_killed);
			progress = now_ms() + 2000;
		}
		going = going && now_ms() < end && !one;
		usleep(2000);
	} while (alive);
	look_at_log(log);
	say("@done %lu %lu %lu\n", total_calls, total_children, total_killed);
}

int main(int argc, char **argv)
{
	unsigned short cs;
	bool in_ring0;
	char *word;
	int i;

	if (argc < 4)
		return 2;
	asm("mov %%cs, %0" : "=r" (cs));
	in_ring0 = !(cs & 3);
	jump_entry = getauxval(AT_SYSINFO);
	base_flags = EF_IF | 2 | (in_ring0 ? EF_AC : 0);
	seed = strtoull(argv[2], NULL, 0);
	for (word = strtok(argv[3], ","); word; word = strtok(NULL, ","))
		for (i = 0; i < NFEATURES; i++)
			if (!strcmp(word, feature_names[i]))
				features |= 1UL << i;
	if (!in_ring0)
		features &= ~(1UL << F_IF | 1UL << F_IOPL);
	slots = mmap(NULL, SLOTS * sizeof(*slots), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	tracing = argc > 5 && !strcmp(argv[5], "trace");
	say("@ring %d %s\n", cs & 3, jump_entry ? "jump" : "syscall only");
	supervise(atol(argv[1]), argc > 5, argc > 4 ? strtoull(argv[4], NULL, 0) : 0);
	return 0;
}
