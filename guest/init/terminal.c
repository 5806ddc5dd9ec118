// SPDX-License-Identifier: GPL-2.0-only
/* Pseudo-terminals, for programs whose user sits at one. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "init.h"

/* Our end, and the program's.  False, with errno, if there is none to be had. */
bool open_terminal(int *ours, int *theirs)
{
	unsigned int number;
	int unlocked = 0;
	char path[32];

	*ours = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*ours < 0 || ioctl(*ours, TIOCSPTLCK, &unlocked) || ioctl(*ours, TIOCGPTN, &number))
		return false;
	snprintf(path, sizeof(path), "/dev/pts/%u", number);
	*theirs = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return *theirs >= 0;
}

/* The program is told by SIGWINCH. */
void set_window(int terminal, int rows, int columns)
{
	struct winsize window = { .ws_row = rows, .ws_col = columns };

	ioctl(terminal, TIOCSWINSZ, &window);
}
