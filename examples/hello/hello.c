// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <sys/utsname.h>

/* The two low bits of CS are the privilege level that this code runs at. */
static int ring(void)
{
	unsigned short cs;

	asm("mov %%cs, %0" : "=r"(cs));
	return cs & 3;
}

int main(void)
{
	struct utsname name;

	uname(&name);
	printf("Hello from ring %d of %s %s\n", ring(), name.sysname, name.release);
	return 0;
}
