// SPDX-License-Identifier: MIT
/* A thousand system calls of one kind, for whoever counts them. */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	unsigned short cs;
	int i;

	asm("mov %%cs, %0" : "=r"(cs));
	printf("ring %d\n", cs & 3);
	for (i = 0; i < 1000; i++)
		getppid();
	return 0;
}
