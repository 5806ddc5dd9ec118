// SPDX-License-Identifier: MIT
/*
 * Run with --icount, where the TSC counts instructions: how many it took from
 * the start of the machine to main(), and how many a null system call takes, by
 * the SYSCALL instruction and as the C library makes it.
 */
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#define CALLS 10000

/* The C library's getppid(), end to end: a call, if it is linked with ours. */
static unsigned long loop_libc(int with_call)
{
	unsigned long start = __rdtsc();
	int i;

	for (i = 0; i < CALLS; i++) {
		if (with_call)
			getppid();
		else
			asm volatile("" ::: "memory");
	}
	return __rdtsc() - start;
}

/* The SYSCALL instruction. */
static unsigned long loop(int with_call)
{
	unsigned long start = __rdtsc();
	int i;

	for (i = 0; i < CALLS; i++) {
		unsigned long result = SYS_getppid;

		if (with_call)
			asm volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
		else
			asm volatile("" : "+a"(result) : : "rcx", "r11", "memory");
	}
	return __rdtsc() - start;
}

int main(void)
{
	unsigned long at_main = __rdtsc();
	unsigned short cs;

	asm("mov %%cs, %0" : "=r"(cs));
	loop(1); /* once for the emulator, which translates code at its first run */
	loop_libc(1);
	printf("ring %d\n", cs & 3);
	printf("start of the machine to main(): %.1f million instructions\n", at_main / 1e6);
	printf("null system call: %.0f instructions\n", (double)(loop(1) - loop(0)) / CALLS);
	printf("getppid() of the C library: %.0f instructions\n",
	       (double)(loop_libc(1) - loop_libc(0)) / CALLS);
	return 0;
}
