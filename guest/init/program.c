// SPDX-License-Identifier: GPL-2.0-only
/*
 * The program, from its fork on.
 *
 * CAP_SYS_RAWIO opens ring 0, and root may trace us.  So we have it up to the
 * program's first instruction, and no longer.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "init.h"

pid_t program;
static int program_maps;
static int terminal = -1;	/* our end of the program's, if it has one */

static void drop_rawio(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	struct __user_cap_data_struct *word = &data[CAP_TO_INDEX(CAP_SYS_RAWIO)];
	unsigned int mask = CAP_TO_MASK(CAP_SYS_RAWIO);

	if (prctl(PR_CAPBSET_DROP, CAP_SYS_RAWIO, 0, 0, 0) ||
	    syscall(SYS_capget, &header, data))
		fail("CAP_SYS_RAWIO");
	word->effective &= ~mask;
	word->permitted &= ~mask;
	word->inheritable &= ~mask;
	if (syscall(SYS_capset, &header, data))
		fail("CAP_SYS_RAWIO");
}

/*
 * The program needs the capability for its exec, which a ring 0 program loses
 * it by; nobody may run who could get at ours.  So the program stops between
 * its exec and its first instruction, where a traced one does.
 *
 * What it has mapped is open to us only until then, see ukl_may_attach() in the
 * kernel.  Whoever profiles it asks for that.
 */
static void let_program_go(void)
{
	siginfo_t info;
	char path[32];

	/* A failed exec is left for reap(). */
	if (waitid(P_PID, program, &info, WEXITED | WSTOPPED | WNOWAIT))
		fail("waitid");
	snprintf(path, sizeof(path), "/proc/%d/maps", program);
	program_maps = open(path, O_RDONLY | O_CLOEXEC);
	drop_rawio();
	if (info.si_code == CLD_TRAPPED && ptrace(PTRACE_DETACH, program, 0, 0))
		fail("ptrace");
}

/*
 * An exec by who is not root keeps no capability but the ambient ones, and ring 0
 * is entered with CAP_SYS_RAWIO only.  The kernel takes it away as it enters; a
 * program for ring 3 is not given it.
 */
static bool keep_rawio(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };
	struct __user_cap_data_struct *word = &data[CAP_TO_INDEX(CAP_SYS_RAWIO)];
	unsigned int mask = CAP_TO_MASK(CAP_SYS_RAWIO);

	word->effective = word->permitted = word->inheritable = mask;
	return !syscall(SYS_capset, &header, data) &&
	       !prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_RAWIO, 0, 0);
}

bool become_user(const struct user *user, bool ring0)
{
	/* The kernel's 4096 are for root, who may raise them. */
	static const struct rlimit files = { .rlim_cur = 1024, .rlim_max = 524288 };
	gid_t groups[MAX_GROUPS];
	int i;

	for (i = 0; i < user->ngroups; i++)
		groups[i] = user->groups[i];
	/* Programs open /dev/stdout by name, which is a pipe of ours. */
	for (i = 0; i < NRELAYS; i++)
		if (fchown(i, user->uid, user->gid))
			return false;
	if (setgroups(user->ngroups, groups) || setgid(user->gid))
		return false;
	if (user->uid == 0)
		return true;
	if (setrlimit(RLIMIT_NOFILE, &files))
		return false;
	if (ring0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
		return false;
	return !setuid(user->uid) && (!ring0 || keep_rawio());
}

/* The program's ends of its streams, and ours. */
static void open_streams(long window, int theirs[NRELAYS], int ours[NRELAYS])
{
	int ends[2], i;

	for (i = 0; i < NRELAYS; i++) {
		if (pipe2(ends, O_CLOEXEC))
			fail("pipe");
		theirs[i] = ends[i != RELAY_STDIN];
		ours[i] = ends[i == RELAY_STDIN];
	}
	if (!window)
		return;
	/* One file for all three; of errors there is only the end. */
	for (i = 0; i < NRELAYS; i++) {
		close(theirs[i]);
		if (i != RELAY_STDERR)
			close(ours[i]);
	}
	if (!open_terminal(&terminal, &theirs[0]))
		fail("terminal");
	set_window(terminal, ROWS(window), COLUMNS(window));
	theirs[1] = fcntl(theirs[0], F_DUPFD_CLOEXEC, 0);
	theirs[2] = fcntl(theirs[0], F_DUPFD_CLOEXEC, 0);
	/* Relays close their ends; ours is for its size. */
	ours[RELAY_STDIN] = fcntl(terminal, F_DUPFD_CLOEXEC, 0);
	ours[RELAY_STDOUT] = fcntl(terminal, F_DUPFD_CLOEXEC, 0);
}

void start_program(const struct spec *spec)
{
	int theirs[NRELAYS], ours[NRELAYS], i;
	sigset_t none;

	open_streams(spec->terminal, theirs, ours);
	tell_start();
	program = fork();
	if (program < 0)
		fail("fork");
	if (program == 0) {
		setsid();
		if (spec->terminal)
			ioctl(theirs[0], TIOCSCTTY, 0);
		for (i = 0; i < NRELAYS; i++)
			dup2(theirs[i], i);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		if (spec->has_user && !become_user(&spec->user, spec->ring0)) {
			report("user");
			_exit(127);
		}
		if (chdir(spec->cwd) == 0 && ptrace(PTRACE_TRACEME, 0, 0, 0) == 0)
			execve(spec->file, spec->args, spec->envs);
		report("exec");
		_exit(127);
	}

	let_program_go();
	start_relay(RELAY_STDIN, open_input(STDIN), ours[RELAY_STDIN]);
	start_relay(RELAY_STDOUT, ours[RELAY_STDOUT], open_output(STDOUT));
	start_relay(RELAY_STDERR, ours[RELAY_STDERR], open_output(STDERR));
	for (i = 0; i < NRELAYS; i++)
		close(theirs[i]);
}

void resize_program(long window)
{
	if (terminal >= 0)
		set_window(terminal, ROWS(window), COLUMNS(window));
}

/* From a keyboard, an interrupt goes to the whole group. */
void signal_program(int number)
{
	kill(number == SIGINT ? -program : program, number);
}

/* As long as a program that was asked to end may take. */
#define GRACE_MS	30000

static void end_at_once(struct service *service)
{
	service->due = NEVER;
	signal_program(SIGKILL);
}

void end_program(void)
{
	static struct service grace = { .fd = -1, .step = end_at_once };

	if (grace.due)
		return;
	grace.due = now_ms() + GRACE_MS;
	add_service(&grace);
	signal_program(SIGTERM);
}

/* A file of /proc/PID. */
void tell_about_program(const char *name)
{
	char path[MAX_LINE + 32], line[4096];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/%s", program, name);
	file = fopen(path, "re");
	if (!file && !strcmp(name, "maps")) {
		lseek(program_maps, 0, SEEK_SET);
		file = fdopen(dup(program_maps), "r");
	}
	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = 0;
		tell_line(line);
	}
	if (file)
		fclose(file);
	tell_end();
}
