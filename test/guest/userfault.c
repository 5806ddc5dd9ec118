// SPDX-License-Identifier: MIT
/*
 * Demand paging by the program: a SIGSEGV handler which makes pages
 * accessible, and userfaultfd, where the kernel has it.
 */
#include "guest.h"
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

#define PAGES 1000

static char *area;
static volatile int served, writes;

static void on_segv(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	char *page = (char *)((unsigned long)info->si_addr & -4096ul);
	unsigned long error = uc->uc_mcontext.gregs[REG_ERR];

	(void)signo;
	check(page >= area && page < area + PAGES * 4096);
	check(info->si_code == SEGV_ACCERR);
	if (error & 2)
		writes++;
	/* first readable, then writable */
	check(!mprotect(page, 4096, error & 2 ? PROT_READ | PROT_WRITE :
			PROT_READ));
	served++;
}

static void *pager(void *arg)
{
	int fd = (long)arg, n;
	static char data[4096];
	struct uffdio_copy copy;
	struct uffd_msg msg;

	for (n = 0; n < PAGES; n++) {
		check(read(fd, &msg, sizeof(msg)) == sizeof(msg));
		check(msg.event == UFFD_EVENT_PAGEFAULT);
		memset(data, n, sizeof(data));
		*(unsigned long *)data = msg.arg.pagefault.address & -4096ul;
		copy = (struct uffdio_copy){
			.dst = msg.arg.pagefault.address & -4096ul,
			.src = (unsigned long)data, .len = 4096 };
		check(!ioctl(fd, UFFDIO_COPY, &copy));
	}
	return arg;
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_segv,
				    .sa_flags = SA_SIGINFO };
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg;
	unsigned long sum;
	pthread_t thread;
	int i, fds[2];
	long fd;

	expect_ring();
	check(!sigaction(SIGSEGV, &action, NULL));
	area = mmap(NULL, PAGES * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	check(area != MAP_FAILED);
	for (i = 0; i < PAGES; i++) {
		volatile long *word = (long *)(area + i * 4096 + i * 8 % 4096);

		check(*word == 0);
		*word = i;
		check(*word == i);
	}
	check(served == 2 * PAGES && writes == PAGES);
	/* read-modify-write, string and vector instructions resume as well */
	check(!mprotect(area, PAGES * 4096, PROT_NONE));
	for (i = 0; i < PAGES / 2; i++) {
		char *from = area + i * 4096 + 2000, *to = from + PAGES / 2 * 4096;
		long n = 64;

		__asm__ volatile("lock incq (%0)" : : "r"(from) : "memory");
		__asm__ volatile("movups 8(%0), %%xmm0; movups %%xmm0, 8(%1)"
				 : : "r"(from), "r"(to) : "xmm0", "memory");
		__asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(n)
				 : : "memory");
		check(n == 0);
	}
	/* an emulator may read first what it is about to change */
	check(served >= 3 * PAGES);
	printf("served, writes %d\n", writes);

	/* the kernel does not call the handler, it refuses */
	check(!mprotect(area, 4096, PROT_NONE));
	check(!pipe(fds));
	check(write(fds[1], area, 1) == -1 && errno == EFAULT);

	fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (fd >= 0 && !ioctl(fd, UFFDIO_API, &api)) {
		area = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		reg = (struct uffdio_register){
			.range = { (unsigned long)area, PAGES * 4096 },
			.mode = UFFDIO_REGISTER_MODE_MISSING };
		check(!ioctl(fd, UFFDIO_REGISTER, &reg));
		check(!pthread_create(&thread, NULL, pager, (void *)fd));
		for (i = 0; i < PAGES; i++) {
			char *page = area + i * 4096;

			/* every other one is asked for by the kernel */
			if (i % 2)
				check(write(fds[1], page, 8) == 8 &&
				      read(fds[0], &sum, 8) == 8);
			else
				sum = *(unsigned long *)page;
			check(sum == (unsigned long)page);
			check(page[4095] == (char)i);
		}
		check(!pthread_join(thread, NULL));
	}
	printf("userfaultfd\n");

	printf("ok\n");
	return 0;
}
