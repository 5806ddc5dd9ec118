// SPDX-License-Identifier: MIT
/*
 * The 128 bytes below the stack pointer belong to the running function.  No
 * interrupt, exception or signal may write there, nor change a register.
 */
#include "guest.h"
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>

/*
 * long leaf(seed, spins, page, how): fills the red zone and the registers with
 * values made of seed, spins, and counts the words which are not as they were.
 * On the way it provokes what "how" says: 0 nothing, 1 a page fault which the
 * kernel resolves, 2 int3, 3 ud2 (two bytes: the handler skips them).
 */
long leaf(unsigned long seed, long spins, volatile char *page, long how);
__asm__(
	".text\n"
	".globl leaf\n"
	".type leaf, @function\n"
"leaf:	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	".set o, 8\n"
	".rept 16\n"
	"	lea	o(%rdi), %rax\n"
	"	mov	%rax, -o(%rsp)\n"
	"	.set o, o + 8\n"
	".endr\n"
	"lea 0x201(%rdi), %rbx; lea 0x202(%rdi), %rbp; lea 0x203(%rdi), %r8\n"
	"lea 0x204(%rdi), %r9;  lea 0x205(%rdi), %r10; lea 0x206(%rdi), %r11\n"
	"lea 0x207(%rdi), %r12; lea 0x208(%rdi), %r13; lea 0x209(%rdi), %r14\n"
	"lea 0x20a(%rdi), %r15\n"
"1:	dec	%rsi\n"
	"jnz	1b\n"
	"cmp	$1, %rcx\n"
	"jne	2f\n"
	"movb	$1, (%rdx)\n"
"2:	cmp	$2, %rcx\n"
	"jne	3f\n"
	"int3\n"
"3:	cmp	$3, %rcx\n"
	"jne	4f\n"
	"ud2\n"
"4:	xor	%eax, %eax\n"
	".macro same reg, n\n"
	"	lea	\\n(%rdi), %rsi\n"
	"	cmp	\\reg, %rsi\n"
	"	je	5f\n"
	"	inc	%rax\n"
"5:\n"
	".endm\n"
	"same %rbx, 0x201; same %rbp, 0x202; same %r8, 0x203; same %r9, 0x204\n"
	"same %r10, 0x205; same %r11, 0x206; same %r12, 0x207\n"
	"same %r13, 0x208; same %r14, 0x209; same %r15, 0x20a\n"
	".set o, 8\n"
	".rept 16\n"
	"	same	-o(%rsp), o\n"
	"	.set o, o + 8\n"
	".endr\n"
	"pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"ret\n"
	".size leaf, . - leaf\n");

static volatile sig_atomic_t alarms, traps;

/* Uses a good deal of stack, so that a frame put too high does harm. */
static void on_alarm(int signo)
{
	volatile char dirt[512];

	(void)signo;
	memset((char *)dirt, 0xee, sizeof(dirt));
	alarms++;
}

static void on_trap(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)info;
	if (signo == SIGILL)
		uc->uc_mcontext.gregs[REG_RIP] += 2;
	traps++;
}

int main(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL,
				  .sigev_signo = SIGUSR1 };
	struct itimerspec fast = { { 0, 200000 }, { 0, 200000 } };
	struct itimerval val = { { 0, 300 }, { 0, 300 } };
	struct sigaction alarm_action = { .sa_handler = on_alarm };
	struct sigaction trap_action = { .sa_sigaction = on_trap,
					 .sa_flags = SA_SIGINFO };
	unsigned long seed = 0x1122334455660000;
	volatile char *page;
	timer_t timer;
	pid_t child, me = getpid();
	int i;

	expect_ring();
	check(!sigaction(SIGUSR1, &alarm_action, NULL));
	check(!sigaction(SIGALRM, &alarm_action, NULL));
	check(!sigaction(SIGUSR2, &alarm_action, NULL));
	check(!sigaction(SIGTRAP, &trap_action, NULL));
	check(!sigaction(SIGILL, &trap_action, NULL));
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(page != MAP_FAILED);

	for (i = 0; i < 500; i++) {
		check(!madvise((void *)page, 4096, MADV_DONTNEED));
		check(leaf(seed += 4096, 1, page, 1) == 0);
		check(leaf(seed += 4096, 1, page, 2) == 0);
		check(leaf(seed += 4096, 1, page, 3) == 0);
	}
	check(traps == 1000);
	printf("exceptions\n");

	/* Another process sends signals as well: interrupts from elsewhere. */
	child = fork();
	check(child >= 0);
	if (child == 0) {
		/* should the parent end early, nobody else gets them */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (getppid() == me && kill(me, SIGUSR2) == 0)
			sched_yield();
		_exit(0);
	}
	check(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	check(!timer_settime(timer, 0, &fast, NULL));
	check(!setitimer(ITIMER_REAL, &val, NULL));
	while (alarms < 4000)
		check(leaf(seed += 4096, 5000, page, 0) == 0);
	val = (struct itimerval){ 0 };
	check(!setitimer(ITIMER_REAL, &val, NULL));
	check(!timer_delete(timer));
	check(!kill(child, SIGKILL));
	/* a last signal may still be on its way to us */
	while (waitpid(child, NULL, 0) != child)
		check(errno == EINTR);
	printf("signals\n");

	printf("ok\n");
	return 0;
}
