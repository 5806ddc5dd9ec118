/* SPDX-License-Identifier: MIT */
/*
 * Shortcuts: calls into the kernel that do just what a program needs.
 *
 * A shortcut has two halves.  Its kernel half is C that is compiled as a module
 * of the image's kernel, with the kernel's headers, and calls by name what the
 * kernel exports.  Its other half, in the program, calls it by name with
 * ukl_call().  Both include this file.  docs/shortcuts.md has more.
 */
#ifndef _UKL_H
#define _UKL_H

/* Behind all numbers of SYSCALL: gives the number of the shortcut of a name. */
#define UKL_FIND 0x10000

#ifdef __KERNEL__

#include <linux/module.h>
#include <linux/syscalls.h>

struct ukl_shortcut {
	const char *name;
	long (*call)(const struct pt_regs *regs);
};

int ukl_add_shortcuts(const struct ukl_shortcut *shortcuts, unsigned int count);

/* What SYSCALL_DEFINE1(name, ...) to SYSCALL_DEFINE5(name, ...) defined. */
#define UKL_SHORTCUT(name) { #name, __x64_sys_##name }

/* UKL_SHORTCUTS(UKL_SHORTCUT(this), UKL_SHORTCUT(that)); once in a module. */
#define UKL_SHORTCUTS(...)						\
static const struct ukl_shortcut ukl_shortcuts_[] = { __VA_ARGS__ };	\
static int __init ukl_init_(void)					\
{									\
	return ukl_add_shortcuts(ukl_shortcuts_,			\
				 ARRAY_SIZE(ukl_shortcuts_));		\
}									\
module_init(ukl_init_)

#else /* the program */

#include <errno.h>
#include <sys/cdefs.h>
#include <sys/socket.h>
#include <sys/types.h>

__BEGIN_DECLS

/* As in <unistd.h>, which has it for _DEFAULT_SOURCE only. */
extern long syscall(long number, ...) __THROW;

/* Asks once: in ring 3, and on other kernels, there is nobody to ask. */
__attribute__((noinline, unused))
static int ukl_find_(int *number, const char *name)
{
	int found = (int)syscall(UKL_FIND, name);

	__atomic_store_n(number, found, __ATOMIC_RELAXED);
	return found;
}

/*
 * Calls a shortcut by its name, a literal, with up to 5 integers or pointers.
 * The result is that of a system call: -1 and errno if it failed.  ENOSYS says
 * that the ordinary calls are to be made instead: there is no such shortcut
 * here, or not this time (it was to be restarted, or the task is traced).
 */
#define ukl_call(name, ...) __extension__ ({				\
	static int number_;						\
	int found_ = __atomic_load_n(&number_, __ATOMIC_RELAXED);	\
									\
	if (!found_)							\
		found_ = ukl_find_(&number_, name);			\
	found_ > 0 ? syscall(found_, ##__VA_ARGS__) : (errno = ENOSYS, -1L); \
})

/*
 * The ready-made shortcuts 'tcp': recv(2) and send(2) on a connected TCP
 * socket, on other sockets the calls themselves.  Not cancellation points.
 */
__attribute__((unused))
static inline ssize_t ukl_recv(int fd, void *buf, size_t len, int flags)
{
	ssize_t n = ukl_call("ukl_recv", fd, buf, len, flags);

	return n < 0 && errno == ENOSYS ? recv(fd, buf, len, flags) : n;
}

__attribute__((unused))
static inline ssize_t ukl_send(int fd, const void *buf, size_t len, int flags)
{
	ssize_t n = ukl_call("ukl_send", fd, buf, len, flags);

	return n < 0 && errno == ENOSYS ? send(fd, buf, len, flags) : n;
}

__END_DECLS

#endif /* __KERNEL__ */
#endif /* _UKL_H */
