// SPDX-License-Identifier: MIT
/*
 * Every exception user code can raise arrives as its signal, with the right
 * code and address, and the handler resumes the program by moving RIP.
 */
#include "guest.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

static volatile int signo, code, hits, steps, wrong_steps;
static volatile unsigned long address, rip, resume;

/* x87 control word: all exceptions masked but division by zero */
__asm__(".data\nopen_cw: .short 0x037b\n.text\n");

static void on_signal(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	signo = number;
	code = info->si_code;
	address = (unsigned long)info->si_addr;
	rip = uc->uc_mcontext.gregs[REG_RIP];
	uc->uc_mcontext.gregs[REG_RIP] = resume;
	/* The handler's own return would raise a pending x87 exception again. */
	if (uc->uc_mcontext.fpregs)
		uc->uc_mcontext.fpregs->swd &= 0x7f00;
	hits++;
}

static void on_step(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	steps++;
	if (number != SIGTRAP || info->si_code != TRAP_TRACE ||
	    (unsigned long)info->si_addr !=
	    (unsigned long)uc->uc_mcontext.gregs[REG_RIP])
		wrong_steps++;
}

/*
 * Runs "insn", which raises an exception at local label 1 and is over at 2.
 * A trap is reported at the instruction after, a fault at the one itself.
 */
#define RAISE(name, insn, want_signo, want_code, trap, with_address)	\
	for (int n = 0; n < 100; n++) {					\
		unsigned long at, after;				\
									\
		hits = 0;						\
		__asm__ volatile("lea 1f(%%rip), %0\n"			\
				 "lea 2f(%%rip), %1\n"			\
				 "mov %1, %2\n"				\
				 insn "\n"				\
				 "2:"					\
				 : "=&r"(at), "=&r"(after), "=m"(resume) \
				 : "m"(zero), "m"(one)			\
				 : "rax", "rcx", "rdx", "memory", "cc",	\
				   "xmm0", "xmm1");			\
		if (hits != 1 || signo != (want_signo) ||		\
		    code != (want_code) ||				\
		    rip != ((trap) ? after : at) ||			\
		    address != ((with_address) ? at : 0)) {		\
			printf(name ": %d hits, signal %d, code %d, rip at%+ld, address at%+ld\n", \
			       hits, signo, code, (long)(rip - at),	\
			       (long)(address - at));			\
			return 1;					\
		}							\
		if (n == 99)						\
			printf(name "\n");				\
	}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_signal,
				    .sa_flags = SA_SIGINFO };
	struct sigaction step = { .sa_sigaction = on_step,
				  .sa_flags = SA_SIGINFO };
	static const int signals[] = { SIGTRAP, SIGILL, SIGFPE, SIGSEGV, SIGBUS };

	volatile unsigned long zero = 0, one = 1;
	unsigned long flags, pid, loops;
	unsigned int mxcsr, open_mxcsr;

	char *page;
	unsigned i;
	int fd;

	expect_ring();
	for (i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		check(!sigaction(signals[i], &action, NULL));

	RAISE("int3", "1: int3", SIGTRAP, SI_KERNEL, 1, 0);
	RAISE("int 3", "1: .byte 0xcd, 3", SIGTRAP, SI_KERNEL, 1, 0);
	RAISE("ud2", "1: ud2", SIGILL, ILL_ILLOPN, 0, 1);
	RAISE("undefined", "1: .byte 0x06", SIGILL, ILL_ILLOPN, 0, 1);
	RAISE("divide by zero",
	      "mov $1, %%eax; xor %%edx, %%edx; 1: divq %3",
	      SIGFPE, FPE_INTDIV, 0, 1);
	RAISE("divide overflow",
	      "mov $1, %%rax; mov $7, %%rdx; 1: divq %4",
	      SIGFPE, FPE_INTDIV, 0, 1);
	RAISE("signed divide overflow",
	      "mov $1, %%rax; shl $63, %%rax; cqto; mov $-1, %%rcx; 1: idiv %%rcx",
	      SIGFPE, FPE_INTDIV, 0, 1);

	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	open_mxcsr = mxcsr & ~(1u << 9);
	__asm__ volatile("ldmxcsr %0" : : "m"(open_mxcsr));
	/* Some emulators never raise it: see first whether there is one. */
	hits = 0;
	__asm__ volatile("lea 2f(%%rip), %%rax; mov %%rax, %0\n"
			 "cvtsi2sdq %1, %%xmm0; xorps %%xmm1, %%xmm1\n"
			 "divsd %%xmm1, %%xmm0\n2:"
			 : "=m"(resume) : "m"(one) : "rax", "xmm0", "xmm1");
	if (hits == 0)
		printf("sse divide\n");
	else
		RAISE("sse divide",
		      "cvtsi2sdq %4, %%xmm0; xorps %%xmm1, %%xmm1\n"
		      "1: divsd %%xmm1, %%xmm0", SIGFPE, FPE_FLTDIV, 0, 1);
	__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));

	RAISE("x87 divide", "fninit; fldcw open_cw(%%rip)\n fld1; fldz; fdivrp\n 1: fwait",
	      SIGFPE, FPE_FLTDIV, 0, 1);
	__asm__ volatile("fnclex; fninit");

	/* The page is there, but nothing of the file is. */
	fd = memfd_create("short", 0);
	check(fd >= 0);
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(page != MAP_FAILED);
	for (i = 0; i < 100; i++) {
		hits = 0;
		__asm__ volatile("lea 2f(%%rip), %%rax; mov %%rax, %0\n"
				 "movb $1, (%1)\n2:"
				 : "=m"(resume) : "r"(page + 77)
				 : "rax", "memory");
		check(hits == 1 && signo == SIGBUS && code == BUS_ADRERR);
		check(address == (unsigned long)page + 77);
	}
	printf("beyond the file\n");

	/*
	 * A program steps itself by EFLAGS.TF, through system calls and page
	 * faults: one trap for every instruction, none in the kernel.
	 */
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(page != MAP_FAILED);
	check(!sigaction(SIGTRAP, &step, NULL));
	steps = 0;
	loops = 200;
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq\n"
			 "1: mov %3, %%eax\n"
			 "syscall\n"
			 "movb $1, (%4)\n"
			 "dec %1\n"
			 "jnz 1b\n"
			 "pushfq; andq $~0x100, (%%rsp); popfq\n"
			 : "=&a"(pid), "+&r"(loops)
			 : "m"(zero), "i"(SYS_getpid), "r"(page)
			 : "rcx", "r11", "memory", "cc");
	check(pid == (unsigned long)getpid());
	check(wrong_steps == 0);
	printf("own steps %d\n", steps);

	/*
	 * DF and ID survive page faults, NT too; the kernel runs with none of
	 * them set.  (AC is set in ring 0, which is the one difference.)
	 */
	for (i = 0; i < 200; i++) {
		check(!madvise(page, 4096, MADV_DONTNEED));
		__asm__ volatile("pushfq; orq $0x204cd5, (%%rsp); popfq\n"
				 "movb $1, (%1)\n"
				 "pushfq; pop %0\n"
				 "pushfq; andq $~0x204400, (%%rsp); popfq\n"
				 : "=&r"(flags) : "r"(page)
				 : "memory", "cc");
		check((flags & 0x204dd5) == 0x204cd5);
	}
	/* NT and DF across SYSCALL as well. */
	for (i = 0; i < 200; i++) {
		__asm__ volatile("pushfq; orq $0x4cd5, (%%rsp); popfq\n"
				 "syscall\n"
				 "pushfq; pop %0\n"
				 "pushfq; andq $~0x4400, (%%rsp); popfq\n"
				 : "=&r"(flags), "=&a"(pid)
				 : "1"(SYS_getpid)
				 : "rcx", "r11", "memory", "cc");
		check((flags & 0x4cd5) == 0x4cd5);
		check(pid == (unsigned long)getpid());
	}
	printf("flags\n");

	printf("ok\n");
	return 0;
}
