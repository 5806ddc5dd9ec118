// SPDX-License-Identifier: MIT
/*
 * Security; runs in ring 3, as root, with ASK_FD leading to a dynamic program in
 * ring 0 that does what it is asked for (server.c), UKL_TARGET being its path.
 * Whatever root does to files, code that was not in the image's does not run
 * in ring 0: neither in the place of a library, nor as a further one.
 *
 * /intruder is a shared object but for its first byte: who looks for ELF files
 * in the image does not find it.
 */
#include "guest.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define ASK_FD		3
#define LIBRARIES	"/usr/lib/x86_64-linux-gnu"
#define LIBC		LIBRARIES "/libc.so.6"
#define LOADER		LIBRARIES "/ld-linux-x86-64.so.2"
#define UNWINDER	LIBRARIES "/libgcc_s.so.1"

static const char *target;

static const char *ask(const char *what, const char *path, const char *preload)
{
	static char answer[4097];
	char text[600];
	ssize_t n;

	n = snprintf(text, sizeof(text), "%s %s %s", what, path, preload);
	check(send(ASK_FD, text, n, 0) == n);
	n = recv(ASK_FD, answer, sizeof(answer) - 1, 0);
	check(n > 0);
	answer[n] = 0;
	return answer;
}

static void expect_ring_0(void)
{
	check(!strcmp(ask("exec", target, ""), "ring 0\n"));
}

/* In ring 3, or not at all. */
static void expect_out(const char *answer)
{
	if (strstr(answer, "ring 0"))
		printf("%s", answer);
	check(!strstr(answer, "ring 0"));
}

static void copy(const char *from, const char *to)
{
	static char data[65536];
	int in = open(from, O_RDONLY), out;
	ssize_t n;

	out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	check(in >= 0 && out >= 0);
	while ((n = read(in, data, sizeof(data))) > 0)
		check(write(out, data, n) == n);
	check(n == 0 && !fchmod(out, 0755));
	close(in);
	close(out);
}

static void expect_sealed(const char *path)
{
	char by_fd[40];
	int fd = open(path, O_RDONLY);
	void *p;

	check(fd >= 0);
	check(open(path, O_WRONLY) == -1 && errno == ETXTBSY);
	check(open(path, O_RDWR) == -1 && errno == ETXTBSY);
	check(open(path, O_WRONLY | O_TRUNC) == -1 && errno == ETXTBSY);
	check(truncate(path, 0) == -1 && errno == ETXTBSY);
	snprintf(by_fd, sizeof(by_fd), "/proc/self/fd/%d", fd);
	check(open(by_fd, O_RDWR) == -1 && errno == ETXTBSY);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(p == MAP_FAILED && errno == EACCES);
	close(fd);
}

/* Something that is the same, but may be written, in the place of a library. */
static void replace(const char *path)
{
	char saved[300];
	int fd;

	/* Next to it: a rename does not leave a file system. */
	snprintf(saved, sizeof(saved), "%s.saved", path);
	copy(path, "/tmp/copy");
	fd = open("/tmp/copy", O_RDWR);
	check(fd >= 0);
	close(fd);

	check(!mount("/tmp/copy", path, NULL, MS_BIND, NULL));
	expect_out(ask("exec", target, ""));
	check(!umount(path));
	expect_ring_0();

	check(!rename(path, saved) && !rename("/tmp/copy", path));
	expect_out(ask("exec", target, ""));
	check(!unlink(path) && !symlink("/tmp/copy", path));
	copy(saved, "/tmp/copy");
	expect_out(ask("exec", target, ""));
	check(!rename(saved, path) && !unlink("/tmp/copy"));
	expect_ring_0();
}

/* The whole directory, on a file system of the attacker's. */
static void replace_all(void)
{
	static const char * const names[] = { "libc.so.6", "ld-linux-x86-64.so.2" };
	char from[300], to[300];
	unsigned i;

	check(!mkdir("/tmp/other", 0755) && !mount("other", "/tmp/other", "tmpfs", 0, NULL));
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(from, sizeof(from), LIBRARIES "/%s", names[i]);
		snprintf(to, sizeof(to), "/tmp/other/%s", names[i]);
		copy(from, to);
	}
	check(!mount("/tmp/other", LIBRARIES, NULL, MS_BIND, NULL));
	expect_out(ask("exec", target, ""));
	check(!umount(LIBRARIES) && !umount("/tmp/other") && !rmdir("/tmp/other"));
	expect_ring_0();
}

static void preload(const char *path)
{
	int fd = open("/etc/ld.so.preload", O_WRONLY | O_CREAT, 0644);
	const char *answer;

	check(fd >= 0 && dprintf(fd, "%s\n", path) > 0);
	close(fd);
	answer = ask("exec", target, "");
	check(!strstr(answer, "intruder in ring 0"));
	check(!unlink("/etc/ld.so.preload"));

	answer = ask("exec", target, path);
	check(!strstr(answer, "intruder in ring 0"));
	expect_ring_0();
}

int main(int argc, char **argv)
{
	char path[64];
	int fd;

	if (argc == 2 && !strcmp(argv[1], "--ring")) {
		printf("ring %d\n", cpl());
		return 0;
	}
	expect_ring();
	check(cpl() == 3 && getuid() == 0);
	target = getenv("UKL_TARGET");
	check(target);
	expect_ring_0();

	expect_sealed(target);
	expect_sealed(LIBC);
	expect_sealed(LOADER);
	expect_sealed("/lib64/ld-linux-x86-64.so.2");
	expect_sealed(UNWINDER);
	expect_sealed("/proc/self/exe");
	expect_ring_0();
	printf("sealed\n");

	replace(LIBC);
	replace(LOADER);
	replace_all();
	printf("replaced: kept out\n");

	copy("/intruder", "/tmp/intruder.so");
	fd = open("/tmp/intruder.so", O_WRONLY);
	check(fd >= 0 && write(fd, "\177", 1) == 1);
	close(fd);
	preload("/tmp/intruder.so");
	printf("preloaded: kept out\n");

	expect_out(ask("dlopen", "/tmp/intruder.so", ""));
	expect_out(ask("protect", "/tmp/intruder.so", ""));
	copy("/tmp/intruder.so", "/dev/shm/intruder.so");
	expect_out(ask("dlopen", "/dev/shm/intruder.so", ""));
	fd = memfd_create("intruder", 0);
	check(fd >= 0);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), fd);
	copy("/tmp/intruder.so", path);
	expect_out(ask("dlopen", path, ""));
	check(!mount("/tmp/intruder.so", UNWINDER, NULL, MS_BIND, NULL));
	expect_out(ask("dlopen", UNWINDER, ""));
	check(!umount(UNWINDER));
	/* what the image has is there still */
	check(strstr(ask("dlopen", UNWINDER, ""), "status 0"));
	printf("loaded: kept out\n");

	/* an exec of what nobody listed leaves ring 0 */
	copy(target, "/tmp/copy");
	check(!strcmp(ask("exec", "/attacker", ""), "ring 3\n"));
	check(!strcmp(ask("exec", "/tmp/copy", ""), "ring 3\n"));
	check(!strcmp(ask("exec", target, ""), "ring 0\n"));
	printf("executed: ring 3\n");

	printf("ok\n");
	return 0;
}
