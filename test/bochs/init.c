// SPDX-License-Identifier: MIT
/*
 * PID 1 on a machine with two serial ports and no more.  The first port is the
 * kernel's console.  The second gets what the programs of /guests, a path a
 * line, print in turn, with a line before and behind each:
 *
 *	== PATH
 *	== exit STATUS		or signal NUMBER
 *
 * The console has each path as well, before what the kernel says meanwhile.
 *
 * It keeps CAP_SYS_RAWIO, which a program needs that is to enter ring 0, and
 * turns the machine off at the end.
 */
#include "../guest/guest.h"
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>

static void mount_on(const char *type, const char *path, const char *options)
{
	check(!mkdir(path, 0755) || errno == EEXIST);
	check(!mount(type, path, type, 0, options));
}

static void set_up_loopback(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	check(fd >= 0 && !ioctl(fd, SIOCSIFFLAGS, &lo));
	close(fd);
}

/* What ring 0 is tried with must be there. */
static void expect_features(void)
{
	static const char * const features[] = { " fsgsbase ", " smep ", " smap " };
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[8192];
	unsigned int i;

	check(file);
	do
		check(fgets(line, sizeof(line), file));
	while (strncmp(line, "flags", 5));
	for (i = 0; i < sizeof(features) / sizeof(features[0]); i++)
		check(strstr(line, features[i]));
	fclose(file);
}

/* The line ends that a program prints reach the file as they are. */
static void print_to(const char *port)
{
	int fd = open(port, O_RDWR | O_NOCTTY);
	struct termios raw;

	check(fd >= 0 && !tcgetattr(fd, &raw));
	cfmakeraw(&raw);
	cfsetspeed(&raw, B115200);
	raw.c_cflag |= CLOCAL;
	check(!tcsetattr(fd, TCSANOW, &raw));
	check(dup2(fd, 1) == 1);
	close(fd);
	setvbuf(stdout, NULL, _IOLBF, 0);
}

static void run(const char *path)
{
	int status, log = open("/dev/kmsg", O_WRONLY);
	char mark[256];
	pid_t child;

	/* One write is one line there. */
	snprintf(mark, sizeof(mark), "<4>== %s\n", path);
	check(write(log, mark, strlen(mark)) == (ssize_t)strlen(mark));
	close(log);
	printf("== %s\n", path);
	child = fork();
	check(child >= 0);
	if (child == 0) {
		int null = open("/dev/null", O_RDONLY);

		setsid();
		dup2(null, 0);
		close(null);
		execl(path, path, NULL);
		check(!"exec");
	}
	/* Orphans are ours. */
	while (wait(&status) != child)
		;
	kill(-1, SIGKILL);
	while (wait(NULL) > 0)
		;
	/* The last line may lack its end. */
	if (WIFSIGNALED(status))
		printf("\n== signal %d\n", WTERMSIG(status));
	else
		printf("\n== exit %d\n", WEXITSTATUS(status));
	tcdrain(1);
}

int main(void)
{
	char path[128];
	FILE *list;

	mount_on("devtmpfs", "/dev", NULL);
	mount_on("proc", "/proc", NULL);
	mount_on("sysfs", "/sys", NULL);
	mount_on("devpts", "/dev/pts", "ptmxmode=0666");
	mount_on("tmpfs", "/dev/shm", "mode=1777");
	symlink("/proc/self/fd", "/dev/fd");
	print_to("/dev/ttyS1");
	expect_features();
	set_up_loopback();
	setenv("UKL_RING", "0", 1);
	list = fopen("/guests", "re");
	check(list);
	while (fgets(path, sizeof(path), list)) {
		path[strcspn(path, "\n")] = 0;
		run(path);
	}
	printf("== done\n");
	tcdrain(1);
	reboot(RB_POWER_OFF);
	check(!"power off");
}
