// SPDX-License-Identifier: MIT
/*
 * x87, SSE and AVX registers and MXCSR are the thread's own, whatever comes in
 * between: signals whose handlers use them, preemption by threads and
 * processes that use them, page faults, system calls, fork.
 */
#include "guest.h"
#include <cpuid.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>

struct state {
	unsigned char ymm[16][32];
	unsigned char x87[8][16];	/* the tenth byte is the last used */
	uint32_t mxcsr;
	uint16_t cw;
};

static int avx;
static volatile sig_atomic_t hits;

/*
 * Loads all registers, does "how" while they are live, stores them again:
 * 0 spins, 1 system call getpid, 2 sched_yield, 3 touches memory, 4 fork.
 * Returns what the system call returned.
 */
long live(struct state *in, struct state *out, long how, long arg, int avx);
__asm__(
	".text\n"
	".type live, @function\n"
"live:	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"mov %rdi, %r12; mov %rsi, %r13; mov %rdx, %r14; mov %rcx, %r15\n"
	"mov %r8, %rbx\n"
	"fninit\n"
	"fldcw 644(%r12)\n"
	".set o, 512\n"
	".rept 8\n"
	"	fldt o(%r12)\n"
	"	.set o, o + 16\n"
	".endr\n"
	"ldmxcsr 640(%r12)\n"
	".macro each insn, op, base\n"
	"	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	.if \\op\n"
	"		\\insn %ymm\\n, 32*\\n(\\base)\n"
	"	.else\n"
	"		\\insn 32*\\n(\\base), %ymm\\n\n"
	"	.endif\n"
	"	.endr\n"
	".endm\n"
	".macro eachx insn, op, base\n"
	"	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	.if \\op\n"
	"		\\insn %xmm\\n, 32*\\n(\\base)\n"
	"	.else\n"
	"		\\insn 32*\\n(\\base), %xmm\\n\n"
	"	.endif\n"
	"	.endr\n"
	".endm\n"
	"test %ebx, %ebx\n"
	"jz 1f\n"
	"each vmovups, 0, %r12\n"
	"jmp 2f\n"
"1:	eachx movups, 0, %r12\n"
"2:	xor %eax, %eax\n"
	"cmp $0, %r14\n"
	"jne 3f\n"
"4:	dec %r15\n"
	"jnz 4b\n"
"3:	cmp $1, %r14\n"
	"jne 3f\n"
	"mov $39, %eax\n"
	"syscall\n"
"3:	cmp $2, %r14\n"
	"jne 3f\n"
	"mov $24, %eax\n"
	"syscall\n"
"3:	cmp $3, %r14\n"
	"jne 3f\n"
	"movb $1, (%r15)\n"
"3:	cmp $4, %r14\n"
	"jne 3f\n"
	"mov $57, %eax\n"
	"syscall\n"
"3:	test %ebx, %ebx\n"
	"jz 1f\n"
	"each vmovups, 1, %r13\n"
	"jmp 2f\n"
"1:	eachx movups, 1, %r13\n"
"2:	stmxcsr 640(%r13)\n"
	".set o, 512 + 7*16\n"
	".rept 8\n"
	"	fstpt o(%r13)\n"
	"	.set o, o - 16\n"
	".endr\n"
	"fnstcw 644(%r13)\n"
	"fninit\n"
	"pushq $0x1f80; ldmxcsr (%rsp); pop %rcx\n"
	"test %ebx, %ebx\n"
	"jz 1f\n"
	"vzeroupper\n"
"1:	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"ret\n"
	".size live, . - live\n");

static void fill(struct state *s, unsigned seed)
{
	unsigned i, j;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < 16; i++)
		for (j = 0; j < (avx ? 32 : 16); j++)
			s->ymm[i][j] = seed * 31 + i * 17 + j;
	for (i = 0; i < 8; i++) {
		for (j = 0; j < 7; j++)
			s->x87[i][j] = seed * 13 + i * 5 + j;
		s->x87[i][7] = 0x80 | i;	/* a normal number */
		s->x87[i][8] = seed + i;
		s->x87[i][9] = 0x3f;
	}
	/* rounding mode and flush to zero vary, exceptions stay masked */
	s->mxcsr = 0x1f80 | (seed % 4) << 13 | (seed & 4 ? 0x8000 : 0);
	s->cw = 0x037f | (seed % 4) << 10;
}

static long round_trip(unsigned seed, long how, long arg)
{
	struct state in, out;
	long ret;

	fill(&in, seed);
	memset(&out, 0, sizeof(out));
	ret = live(&in, &out, how, arg, avx);
	check(!memcmp(in.ymm, out.ymm, sizeof(in.ymm)));
	check(!memcmp(in.x87, out.x87, sizeof(in.x87)));
	check(in.mxcsr == out.mxcsr);
	check(in.cw == out.cw);
	return ret;
}

/* Starts with clean control words and may leave them as it likes. */
static void on_signal(int signo)
{
	uint32_t mxcsr;
	uint16_t cw;

	(void)signo;
	__asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(cw));
	if (cw != 0x37f)
		_exit(3);
	round_trip(hits, 0, 1);
	mxcsr = 0x1f80 | 3 << 13;
	__asm__ volatile("ldmxcsr %0; fld1; fld1; fldpi" : : "m"(mxcsr));
	hits++;
}

static volatile bool stop;

static void *sibling(void *arg)
{
	unsigned i = (long)arg;

	while (!stop) {
		round_trip(i += 7, 0, 2000);
		round_trip(i += 7, 2, 0);
	}
	return NULL;
}

int main(void)
{
	struct itimerval fast = { { 0, 400 }, { 0, 400 } };
	struct sigaction action = { .sa_handler = on_signal };
	unsigned a, b, c, d, i;
	pthread_t threads[3];
	pid_t child, pid;
	char *page;

	expect_ring();
	if (__get_cpuid(1, &a, &b, &c, &d) && (c & bit_AVX) && (c & bit_OSXSAVE)) {
		__asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
		avx = (a & 6) == 6;
	}
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(page != MAP_FAILED);
	check(!sigaction(SIGALRM, &action, NULL));

	for (i = 0; i < 1000; i++) {
		check(round_trip(i, 1, 0) == getpid());
		check(round_trip(i, 2, 0) == 0);
		madvise(page, 4096, MADV_DONTNEED);
		round_trip(i, 3, (long)page);
	}
	printf("calls and faults\n");

	for (i = 0; i < 50; i++) {
		child = round_trip(i, 4, 0);	/* checked in both */
		check(child >= 0);
		if (child == 0)
			_exit(0);
		join_child(child);
	}
	printf("fork\n");

	child = fork();
	check(child >= 0);
	if (child == 0) {
		pid = getppid();
		for (i = 0; getppid() == pid; i++)
			round_trip(i, 0, 1000);
		_exit(0);
	}
	for (i = 0; i < 3; i++)
		check(!pthread_create(&threads[i], NULL, sibling,
				      (void *)(long)(i * 1000)));
	check(!setitimer(ITIMER_REAL, &fast, NULL));
	for (i = 0; hits < 1500; i++)
		round_trip(i, i % 3, 5000);
	memset(&fast, 0, sizeof(fast));
	check(!setitimer(ITIMER_REAL, &fast, NULL));
	stop = true;
	for (i = 0; i < 3; i++)
		check(!pthread_join(threads[i], NULL));
	check(!kill(child, SIGKILL));
	check(waitpid(child, NULL, 0) == child);
	printf("signals and preemption\n");

	printf("ok\n");
	return 0;
}
