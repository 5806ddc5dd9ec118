// SPDX-License-Identifier: MIT
/*
 * Bad accesses end in SIGSEGV with the right address and code, and the program
 * can go on from there.  Mapped kernel memory is left out: ring 0 may use it.
 */
#include "guest.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <ucontext.h>

#define HOLE		((char *)0xfffffffffffff000)	/* nobody maps it */
#define ODD		((char *)0x00008000deadbeef)	/* not canonical */
#define ODD_HIGH	((char *)0xffff7fffdeadbeef)

static sigjmp_buf back;
static volatile int signo, code;
static char *volatile address;
static volatile unsigned long error_code;

static void on_signal(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	signo = number;
	code = info->si_code;
	address = info->si_addr;
	error_code = uc->uc_mcontext.gregs[REG_ERR];
	siglongjmp(back, 1);
}

static void load(char *p) { (void)*(volatile char *)p; }
static void store(char *p) { *(volatile char *)p = 1; }
static void call(char *p) { ((void (*)(void))p)(); }
/* Leaves no return address behind, and a stack pointer that is still good. */
static void jump(char *p) { __asm__ volatile("jmp *%0" : : "r"(p)); }
static void ret(char *p) { __asm__ volatile("push %0; ret" : : "r"(p)); }
static void locked(char *p)
{
	__asm__ volatile("lock incq %0" : "+m"(*(long *)p));
}
static void sse(char *p) { __asm__ volatile("movups (%0), %%xmm0" : : "r"(p) : "xmm0"); }
static void string(char *p)
{
	static char from[64];
	char *s = from;
	long n = 64;

	__asm__ volatile("rep movsb" : "+S"(s), "+D"(p), "+c"(n) : : "memory");
}

static void bad(const char *what, void (*f)(char *), char *p, int want_code,
		char *want_address)
{
	volatile int i;

	/* More than once: the first fault may leave something behind. */
	for (i = 0; i < 50; i++) {
		signo = 0;
		if (!sigsetjmp(back, 1)) {
			f(p);
			printf("%s: no fault\n", what);
			exit(1);
		}
		if (signo != SIGSEGV || code != want_code || address != want_address) {
			printf("%s: signal %d code %d address %p\n", what, signo,
			       code, address);
			exit(1);
		}
		/* A page fault in user code says so (bit 2). */
		if (want_code != SI_KERNEL && !(error_code & 4)) {
			printf("%s: error code %lx\n", what, error_code);
			exit(1);
		}
	}
	printf("%s\n", what);
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_signal,
				    .sa_flags = SA_SIGINFO };
	char *page, *pages;
	struct iovec iov;
	int fds[2];

	expect_ring();
	check(!sigaction(SIGSEGV, &action, NULL));
	check(!sigaction(SIGBUS, &action, NULL));
	pages = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(pages != MAP_FAILED);
	memset(pages, 0xc3, 4 * 4096);
	check(!munmap(pages + 4096, 4096));
	check(!mprotect(pages + 2 * 4096, 4096, PROT_NONE));
	check(!mprotect(pages + 3 * 4096, 4096, PROT_READ));

	bad("load null", load, NULL, SEGV_MAPERR, NULL);
	bad("store null", store, (char *)8, SEGV_MAPERR, (char *)8);
	bad("call null", call, NULL, SEGV_MAPERR, NULL);
	page = pages + 4096;
	bad("load unmapped", load, page + 5, SEGV_MAPERR, page + 5);
	bad("store unmapped", store, page + 6, SEGV_MAPERR, page + 6);
	bad("call unmapped", call, page + 7, SEGV_MAPERR, page + 7);
	bad("copy into unmapped", string, page - 10, SEGV_MAPERR, page);
	page = pages + 2 * 4096;
	bad("load none", load, page + 5, SEGV_ACCERR, page + 5);
	bad("store none", store, page + 6, SEGV_ACCERR, page + 6);
	bad("call none", call, page + 7, SEGV_ACCERR, page + 7);
	page = pages + 3 * 4096;
	bad("store read-only", store, page + 6, SEGV_ACCERR, page + 6);
	bad("locked read-only", locked, page + 8, SEGV_ACCERR, page + 8);
	bad("call data", call, page, SEGV_ACCERR, page);
	bad("jump data", jump, pages, SEGV_ACCERR, pages);
	bad("jump stack", jump, (char *)&iov, SEGV_ACCERR, (char *)&iov);
	bad("store text", store, (char *)main, SEGV_ACCERR, (char *)main);

	bad("load not canonical", load, ODD, SI_KERNEL, NULL);
	bad("store not canonical", store, ODD_HIGH, SI_KERNEL, NULL);
	bad("sse not canonical", sse, ODD_HIGH, SI_KERNEL, NULL);
	bad("jump not canonical", jump, ODD, SI_KERNEL, NULL);
	bad("jump not canonical high", jump, ODD_HIGH, SI_KERNEL, NULL);
	bad("ret not canonical", ret, ODD_HIGH, SI_KERNEL, NULL);
	bad("load hole", load, HOLE, SEGV_MAPERR, HOLE);
	bad("store hole", store, HOLE + 9, SEGV_MAPERR, HOLE + 9);
	bad("jump hole", jump, HOLE, SEGV_MAPERR, HOLE);
	bad("call hole", call, HOLE + 1, SEGV_MAPERR, HOLE + 1);

	/* The kernel itself must still refuse such pointers. */
	check(!pipe(fds));
	check(write(fds[1], "abcdefgh", 8) == 8);
	check(read(fds[0], main, 1) == -1 && errno == EFAULT);
	check(read(fds[0], pages + 4096, 1) == -1 && errno == EFAULT);
	check(read(fds[0], pages + 3 * 4096, 1) == -1 && errno == EFAULT);
	check(read(fds[0], HOLE, 1) == -1 && errno == EFAULT);
	check(read(fds[0], ODD, 1) == -1 && errno == EFAULT);
	check(read(fds[0], (char *)0xffffffff81000000, 1) == -1 &&
	      errno == EFAULT);
	check(read(fds[0], (char *)0xffff888000000000, 1) == -1 &&
	      errno == EFAULT);
	iov.iov_base = (char *)0xffff888000000000;
	iov.iov_len = 1;
	check(readv(fds[0], &iov, 1) == -1 && errno == EFAULT);
	check(write(fds[1], (char *)0xffffffff81000000, 1) == -1 &&
	      errno == EFAULT);
	check(open((char *)0xffffffff81000000, O_RDONLY) == -1 &&
	      errno == EFAULT);
	check(write(fds[1], main, 8) == 8);
	printf("EFAULT\n");

	printf("ok\n");
	return 0;
}
