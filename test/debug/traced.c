// SPDX-License-Identifier: MIT
/*
 * Says what the kernel has traced so far, as a test of the test:
 *
 *	tracer NAME
 *	entries N		in the buffers, or no longer
 *	probe NAME HITS MISSED	for each
 *	jump YES-OR-NO		a call that ring 0 made by the jump is among them
 */
#include "../guest/guest.h"
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define DIR "/tracing/"

static FILE *open_file(const char *path)
{
	FILE *file = fopen(path, "re");

	check(file);
	return file;
}

int main(void)
{
	char line[1024], name[128];
	long hits, missed, value, entries = 0;
	bool jump = false;
	FILE *file;
	int fd, cpu, cpus = sysconf(_SC_NPROCESSORS_ONLN);

	expect_ring();
	check(!mkdir("/tracing", 0700));
	check(!mount("tracefs", "/tracing", "tracefs", 0, NULL));
	fd = open(DIR "tracing_on", O_WRONLY);
	check(fd >= 0 && write(fd, "0", 1) == 1);
	close(fd);

	file = open_file(DIR "current_tracer");
	check(fgets(line, sizeof(line), file));
	printf("tracer %s", line);
	fclose(file);

	for (cpu = 0; cpu < cpus; cpu++) {
		snprintf(line, sizeof(line), DIR "per_cpu/cpu%d/stats", cpu);
		file = open_file(line);
		while (fgets(line, sizeof(line), file))
			if (sscanf(line, "entries: %ld", &value) == 1 ||
			    sscanf(line, "overrun: %ld", &value) == 1)
				entries += value;
		fclose(file);
	}
	printf("entries %ld\n", entries);

	file = open_file(DIR "kprobe_profile");
	while (fgets(line, sizeof(line), file)) {
		check(sscanf(line, "%127s %ld %ld", name, &hits, &missed) == 3);
		printf("probe %s %ld %ld\n", name, hits, missed);
	}
	fclose(file);

	/* The jump's code called a function, or a probed function returns there. */
	file = open_file(DIR "trace");
	while (!jump && fgets(line, sizeof(line), file))
		jump = strstr(line, "<-ukl_syscall") || strstr(line, "(ukl_syscall");
	fclose(file);
	printf("jump %s\n", jump ? "yes" : "no");
	return 0;
}
