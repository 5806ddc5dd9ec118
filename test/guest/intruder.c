// SPDX-License-Identifier: MIT
/* A shared object that somebody smuggles in: it tells where its code runs. */
#include "guest.h"

__attribute__((constructor))
static void tell(void)
{
	printf("intruder in ring %d\n", cpl());
	fflush(stdout);
}
