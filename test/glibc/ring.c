// SPDX-License-Identifier: MIT
/* Says in which ring it runs. */
#include <stdio.h>

int main(void)
{
	unsigned short cs;

	__asm__ ("mov %%cs, %0" : "=r" (cs));
	printf("%d\n", cs & 3);
	return 0;
}
