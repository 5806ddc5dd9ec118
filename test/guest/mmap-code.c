// SPDX-License-Identifier: MIT
/*
 * Code made at run time, in every kind of mapping, executes when it may and
 * faults when it may not.  (Ring 0 maps executable pages differently.)
 */
#include "guest.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/uio.h>
#include <ucontext.h>

#define RW	(PROT_READ | PROT_WRITE)
#define RX	(PROT_READ | PROT_EXEC)
#define RWX	(RW | PROT_EXEC)
#define PAGE	4096

static sigjmp_buf back;
static char *volatile fault_address;
static volatile int fault_code;

static void on_segv(int signo, siginfo_t *info, void *context)
{
	(void)signo; (void)context;
	fault_address = info->si_addr;
	fault_code = info->si_code;
	siglongjmp(back, 1);
}

/* mov $value, %eax; ret */
static void emit(volatile char *p, int value)
{
	char code[6] = { 0xb8, 0, 0, 0, 0, 0xc3 };

	memcpy(code + 1, &value, 4);
	memcpy((char *)p, code, 6);
}

static int run(char *p)
{
	return ((int (*)(void))p)();
}

static bool faults(void (*f)(char *), char *p)
{
	fault_address = NULL;
	if (!sigsetjmp(back, 1)) {
		f(p);
		return false;
	}
	check(fault_address == p && fault_code == SEGV_ACCERR);
	return true;
}

static void call(char *p) { run(p); }
static void store(char *p) { *(volatile char *)p = 0x90; }
static void load(char *p) { (void)*(volatile char *)p; }

static char *map(size_t size, int prot, int flags, int fd)
{
	char *p = mmap(NULL, size, prot, flags, fd, 0);

	check(p != MAP_FAILED);
	return p;
}

static void on_stack(void)
{
	/* aligned to its size: on one page, as the next may be beyond the stack */
	char code[16] __attribute__((aligned(16)));
	char *page = (char *)((unsigned long)code & -PAGE);
	int i;

	check(!mprotect(page, PAGE, RWX));
	for (i = 0; i < 100; i++) {
		emit(code, i);
		check(run(code) == i);
	}
	check(!mprotect(page, PAGE, RW));
	check(faults(call, code));
}

/* File mapped twice: written here, executed there. */
static void dual(void)
{
	pid_t child;
	char *p, *q;
	int fd, i;

	fd = memfd_create("code", 0);
	check(fd >= 0 && !ftruncate(fd, 16 * PAGE));
	p = map(16 * PAGE, RW, MAP_SHARED, fd);
	q = map(16 * PAGE, RX, MAP_SHARED, fd);
	for (i = 0; i < 16 * 20; i++) {
		emit(p + i % 16 * PAGE, i);
		check(run(q + i % 16 * PAGE) == i);
		if (i < 16) {
			check(faults(call, p + i * PAGE));
			check(faults(store, q + i * PAGE));
		}
	}
	child = fork();
	check(child >= 0);
	if (child == 0) {
		emit(p, 4321);
		_exit(0);
	}
	join_child(child);
	check(run(q) == 4321);
	check(!munmap(p, 16 * PAGE) && !munmap(q, 16 * PAGE));
	close(fd);
}

/* Shared and private mappings of a file, made executable later. */
static void file(void)
{
	char path[] = "/tmp/mmap-code-XXXXXX", buffer[8];
	char *p, *q;
	int fd;

	fd = mkstemp(path);
	check(fd >= 0 && !unlink(path) && !ftruncate(fd, 4 * PAGE));
	p = map(4 * PAGE, RW, MAP_SHARED, fd);
	emit(p, 1);
	emit(p + PAGE, 2);
	check(!mprotect(p, 4 * PAGE, RX));
	check(run(p) == 1 && run(p + PAGE) == 2);
	q = map(4 * PAGE, RWX, MAP_PRIVATE, fd);
	check(run(q) == 1);
	emit(q, 11);
	check(run(q) == 11 && run(p) == 1 && run(q + PAGE) == 2);
	emit(buffer, 3);
	check(pwrite(fd, buffer, 6, PAGE) == 6);
	check(run(p + PAGE) == 3 && run(q + PAGE) == 3);
	check(!mprotect(p, 4 * PAGE, PROT_READ));
	check(faults(call, p));
	check(!mprotect(p, 4 * PAGE, PROT_NONE));
	check(faults(call, p) && faults(load, p) && faults(store, p));
	check(!mprotect(p, 4 * PAGE, RX));
	check(run(p + PAGE) == 3);
	close(fd);
}

static void sysv(void)
{
	char *p, *q;
	int id;

	id = shmget(IPC_PRIVATE, 2 * PAGE, IPC_CREAT | 0700);
	check(id >= 0);
	p = shmat(id, NULL, 0);
	q = shmat(id, NULL, SHM_EXEC | SHM_RDONLY);
	check(p != (char *)-1 && q != (char *)-1);
	check(!shmctl(id, IPC_RMID, NULL));
	emit(p + PAGE, 99);
	check(run(q + PAGE) == 99);
	check(faults(call, p + PAGE));
	check(faults(store, q + PAGE));
}

/*
 * In ring 0, what is executed comes from the image or from memory without a file:
 * as on a file system that is mounted noexec, now and by mprotect().
 */
static void refused(void)
{
	int fd = memfd_create("code", 0), id;
	char *p;

	check(fd >= 0 && !ftruncate(fd, PAGE));
	check(mmap(NULL, PAGE, RX, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
	check(mmap(NULL, PAGE, RX, MAP_PRIVATE, fd, 0) == MAP_FAILED && errno == EPERM);
	p = map(PAGE, RW, MAP_SHARED, fd);
	check(mprotect(p, PAGE, RX) == -1 && errno == EACCES);
	id = shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0700);
	check(id >= 0);
	check(shmat(id, NULL, SHM_EXEC | SHM_RDONLY) == (void *)-1 && errno == EPERM);
	check(!shmctl(id, IPC_RMID, NULL));
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_segv,
				    .sa_flags = SA_SIGINFO };
	char *p, *q, buffer[8];
	struct iovec local, remote;
	int fd, i, fds[2];
	pid_t child;

	expect_ring();
	check(!sigaction(SIGSEGV, &action, NULL));

	p = map(PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	for (i = 0; i < 300; i++) {
		emit(p, i);
		check(faults(call, p));
		check(!mprotect(p, PAGE, RX));
		check(run(p) == i);
		check(faults(store, p));
		check(run(p) == i);
		check(!mprotect(p, PAGE, RW));
	}
	check(!munmap(p, PAGE));
	printf("rw to rx\n");

	p = map(64 * PAGE, RWX, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	for (i = 0; i < 64 * 20; i++) {
		emit(p + i % 64 * PAGE, i);
		check(run(p + i % 64 * PAGE) == i);
	}
	/* a child's copy is its own */
	child = fork();
	check(child >= 0);
	if (child == 0) {
		for (i = 0; i < 64; i++) {
			check(run(p + i * PAGE) == 64 * 19 + i);
			emit(p + i * PAGE, i);
			check(run(p + i * PAGE) == i);
		}
		_exit(0);
	}
	join_child(child);
	for (i = 0; i < 64; i++)
		check(run(p + i * PAGE) == 64 * 19 + i);
	printf("rwx\n");

	/* the kernel reads and writes such pages too */
	check(!pipe(fds));
	emit(buffer, 77);
	check(write(fds[1], buffer, 6) == 6);
	check(read(fds[0], p, 6) == 6);
	check(run(p) == 77);
	local = (struct iovec){ p, 6 };
	check(vmsplice(fds[1], &local, 1, 0) == 6);
	check(read(fds[0], buffer, 6) == 6 && !memcmp(buffer, p, 6));
	emit(buffer, 78);
	local = (struct iovec){ buffer, 6 };
	remote = (struct iovec){ p, 6 };
	check(process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == 6);
	check(run(p) == 78);
	fd = open("/proc/self/mem", O_RDWR);
	check(fd >= 0);
	emit(buffer, 79);
	check(pwrite(fd, buffer, 6, (off_t)p) == 6);
	check(run(p) == 79);
	check(pread(fd, buffer, 6, (off_t)main) == 6);
	check(!memcmp(buffer, main, 6));
	check(!close(fd));
	printf("seen by the kernel\n");

	check(!madvise(p, PAGE, MADV_DONTNEED));
	check(p[0] == 0);
	emit(p, 5);
	check(run(p) == 5);
	q = map(128 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	p = mremap(p, 64 * PAGE, 64 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q);
	check(p == q);
	for (i = 1; i < 64; i++)
		check(run(p + i * PAGE) == 64 * 19 + i);
	check(mremap(p, 64 * PAGE, 32 * PAGE, 0) == p);
	check(mremap(p, 32 * PAGE, 96 * PAGE, MREMAP_MAYMOVE) != MAP_FAILED);
	printf("mremap\n");

	if (cpl() == 0) {
		refused();
	} else {
		dual();
		file();
	}
	printf("dual\nfile\n");

	on_stack();
	printf("stack\n");

	/* what may be a huge page */
	p = map(8 << 20, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	q = (char *)(((unsigned long)p + (2 << 20)) & -(2ul << 20));
	madvise(q, 4 << 20, MADV_HUGEPAGE);
	for (i = 0; i < 1024; i += 64)
		emit(q + i * PAGE, i);
	check(!mprotect(q, 4 << 20, RX));
	for (i = 0; i < 1024; i += 64)
		check(run(q + i * PAGE) == i);
	check(!mprotect(q + PAGE, PAGE, RW));
	check(faults(call, q + PAGE));
	for (i = 0; i < 1024; i += 64)
		check(run(q + i * PAGE) == i);
	check(!mprotect(q, 4 << 20, RWX));
	for (i = 0; i < 1024; i += 64) {
		emit(q + i * PAGE, ~i);
		check(run(q + i * PAGE) == ~i);
	}
	printf("large\n");

	if (cpl() != 0)
		sysv();
	printf("sysv\n");

	printf("ok\n");
	return 0;
}
