// SPDX-License-Identifier: MIT
/*
 * Security; runs in ring 3, as root, with UKL_TARGET the path of a listed
 * program ("target").  Only that very file leads to ring 0, and only those who
 * have CAP_SYS_RAWIO and may gain privileges.
 */
#include "guest.h"
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static const char *target;
static char dir[] = "/tmp/sec-exec-XXXXXX";

enum { AS_ROOT, NO_RAWIO, AS_USER, NO_NEW_PRIVS, ROOT_NO_CAPS,
       BY_FD };

static void set_caps(unsigned long long clear)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	int i;

	check(!syscall(SYS_capget, &header, data));
	for (i = 0; i < 2; i++) {
		data[i].effective &= ~(clear >> 32 * i);
		data[i].permitted &= ~(clear >> 32 * i);
		data[i].inheritable &= ~(clear >> 32 * i);
	}
	check(!syscall(SYS_capset, &header, data));
}

static void limit(int how)
{
	switch (how) {
	case NO_RAWIO:
		/* root would regain it by exec: uid 0 is no magic here */
		check(!prctl(PR_CAPBSET_DROP, CAP_SYS_RAWIO, 0, 0, 0));
		set_caps(1ull << CAP_SYS_RAWIO);
		break;
	case AS_USER:
		check(!setgroups(0, NULL));
		check(!setgid(1000) && !setuid(1000));
		break;
	case NO_NEW_PRIVS:
		check(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
		break;
	case ROOT_NO_CAPS:
		/* exec would give them back, but who asks for it has none */
		set_caps(~0ull);
		break;
	}
}

/* Starts "path" and returns the ring it found itself in. */
static int ring_of(const char *path, int how)
{
	char out[32] = "";
	int fds[2], fd;
	ssize_t n, got = 0;
	pid_t child;

	check(!pipe(fds));
	child = fork();
	check(child >= 0);
	if (child == 0) {
		check(dup2(fds[1], 1) == 1);
		close(fds[0]);
		close(fds[1]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		limit(how);
		if (how == BY_FD)
			syscall(SYS_execveat, fd, "",
				(char *const[]){ "t", "--ring", NULL }, environ,
				AT_EMPTY_PATH);
		else
			execl(path, path, "--ring", NULL);
		_exit(errno);
	}
	close(fds[1]);
	while ((n = read(fds[0], out + got, sizeof(out) - 1 - got)) > 0)
		got += n;
	close(fds[0]);
	join_child(child);
	check(!strcmp(out, "ring 0\n") || !strcmp(out, "ring 3\n"));
	return out[5] - '0';
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

static char *name(const char *what)
{
	static char names[4][200];
	static int next;

	next = (next + 1) % 4;
	snprintf(names[next], sizeof(names[0]), "%s/%s", dir, what);
	return names[next];
}

int main(void)
{
	char link_name[200], saved[200];
	int fd;
	void *p;
	struct stat before, after;

	expect_ring();
	check(cpl() == 3 && getuid() == 0);
	target = getenv("UKL_TARGET");
	check(target);
	check(mkdtemp(dir));
	check(!chmod(dir, 0755));
	snprintf(link_name, sizeof(link_name), "%s.link", target);
	snprintf(saved, sizeof(saved), "%s.saved", target);

	check(ring_of(target, AS_ROOT) == 0);
	check(ring_of(target, BY_FD) == 0);
	printf("root: ring 0\n");

	check(ring_of(target, NO_RAWIO) == 3);
	check(ring_of(target, AS_USER) == 3);
	check(ring_of(target, NO_NEW_PRIVS) == 3);
	check(ring_of(target, ROOT_NO_CAPS) == 3);
	check(ring_of(target, AS_ROOT) == 0);
	printf("less than root: ring 3\n");

	copy(target, name("copy"));
	check(ring_of(name("copy"), AS_ROOT) == 3);
	check(!chmod(name("copy"), 04755));
	check(ring_of(name("copy"), AS_ROOT) == 3);
	check(!symlink(target, name("symlink")));
	check(ring_of(name("symlink"), AS_ROOT) == 0);
	check(!link(target, link_name));
	check(ring_of(link_name, AS_ROOT) == 0);
	check(ring_of(link_name, AS_USER) == 3);
	printf("copies and links\n");

	/* the file cannot be changed, by whatever name */
	check(!stat(target, &before));
	check(open(target, O_WRONLY) == -1 && errno == ETXTBSY);
	check(open(target, O_RDWR) == -1 && errno == ETXTBSY);
	check(open(target, O_WRONLY | O_TRUNC) == -1 && errno == ETXTBSY);
	check(open(link_name, O_RDWR) == -1 && errno == ETXTBSY);
	check(open(name("symlink"), O_RDWR) == -1 && errno == ETXTBSY);
	check(truncate(target, 0) == -1 && errno == ETXTBSY);
	fd = open(target, O_RDONLY);
	check(fd >= 0);
	check(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) ==
	      MAP_FAILED && errno == EACCES);
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	check(p != MAP_FAILED);
	check(mprotect(p, 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
	check(ftruncate(fd, 0) == -1);
	check(write(fd, "x", 1) == -1);
	{
		/* a tracer's way to write where it may only read */
		char self_fd[40], c = 'x';
		int mem = open("/proc/self/mem", O_RDWR), again;

		check(mem >= 0);
		check(pwrite(mem, &c, 1, (off_t)p) == -1);
		close(mem);
		snprintf(self_fd, sizeof(self_fd), "/proc/self/fd/%d", fd);
		again = open(self_fd, O_RDWR);
		check(again == -1 && errno == ETXTBSY);
	}
	/* a private mapping is written, the file is not */
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	check(p != MAP_FAILED);
	memset(p, 0, 4096);
	close(fd);
	check(!stat(target, &after) && before.st_size == after.st_size);
	check(ring_of(target, AS_ROOT) == 0);
	printf("sealed\n");

	/* another file at its path is another file */
	copy(target, saved);
	check(!rename(saved, target));
	check(ring_of(target, AS_ROOT) == 3);
	check(ring_of(link_name, AS_ROOT) == 0);
	check(!rename(link_name, target));
	check(ring_of(target, AS_ROOT) == 0);
	check(!mount(name("copy"), target, NULL, MS_BIND, NULL));
	check(ring_of(target, AS_ROOT) == 3);
	check(!umount(target));
	check(!mount(target, name("copy"), NULL, MS_BIND, NULL));
	check(ring_of(name("copy"), AS_ROOT) == 0);
	check(ring_of(name("copy"), AS_USER) == 3);
	check(open(name("copy"), O_RDWR) == -1 && errno == ETXTBSY);
	check(!umount(name("copy")));
	printf("replaced\n");

	check(unlink(name("copy")) == 0 && unlink(name("symlink")) == 0);
	check(!rmdir(dir));

	printf("ok\n");
	return 0;
}
