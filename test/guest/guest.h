// SPDX-License-Identifier: MIT
/*
 * What every test program of the guest begins with.  The ring the program is
 * meant to run in comes from the environment: UKL_RING is "0" or "3".
 */
#ifndef GUEST_H
#define GUEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define check(cond) \
	((cond) ? (void)0 : check_failed(__FILE__, __LINE__, #cond))

/* errno is printed as a hint; many checks have nothing to do with it. */
__attribute__((noreturn, unused, cold))
static void check_failed(const char *file, int line, const char *cond)
{
	int error = errno;

	printf("%s:%d: %s (errno %d)\n", file, line, cond, error);
	fflush(stdout);
	_exit(1);
}

/* The privilege level this code runs at, as the CPU has it. */
static inline int cpl(void)
{
	unsigned short cs;

	__asm__ volatile("mov %%cs, %0" : "=r"(cs));
	return cs & 3;
}

/* Lines go out at once: what is buffered would be printed twice by a fork. */
__attribute__((unused))
static void expect_ring(void)
{
	const char *ring = getenv("UKL_RING");

	setvbuf(stdout, NULL, _IOLBF, 0);
	check(cpl() == (ring ? atoi(ring) : 3));
}

/* Waits for one child, which must have exited with status 0. */
__attribute__((unused))
static void join_child(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		check(errno == EINTR);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#endif
