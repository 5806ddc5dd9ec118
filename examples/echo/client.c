// SPDX-License-Identifier: MIT
/*
 * Asks the echo server on its standard input, and tells what an answer takes by
 * the TSC: with --icount, that is how many instructions the guest executes for
 * it, in the client, in the server, and in the kernel for both.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <x86intrin.h>

enum { ANSWERS = 2000, BYTES = 64 };

/* Once round: a stream may hand the answer over in parts. */
static int ask(int i)
{
	char question[BYTES], answer[BYTES];
	ssize_t have = 0, n;

	memset(question, i, sizeof(question));
	if (send(0, question, sizeof(question), 0) != sizeof(question))
		return 0;
	while (have < BYTES && (n = recv(0, answer + have, sizeof(answer) - have, 0)) > 0)
		have += n;
	return have == BYTES && memcmp(question, answer, sizeof(answer)) == 0;
}

int main(void)
{
	unsigned long start;
	int i, right = 0;

	for (i = 0; i < ANSWERS; i++) /* the emulator translates, the connection gets into its stride */
		right += ask(i);
	start = __rdtsc();
	for (i = 0; i < ANSWERS; i++)
		right += ask(i);
	start = __rdtsc() - start;
	printf("%d of %d answers are right\n%.0f for each\n", right, 2 * ANSWERS, (double)start / ANSWERS);
	return right != 2 * ANSWERS;
}
