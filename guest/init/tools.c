// SPDX-License-Identifier: GPL-2.0-only
/*
 * /.ukl/init as a program in a session: what the tool wants of a guest whose image
 * has no programs for it.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "init.h"

/* "Name:\tvalue" of /proc/PID/status; the first word of the value. */
static void print_field(FILE *status, const char *name, char end)
{
	char line[256], value[64] = "0";

	rewind(status);
	while (fgets(line, sizeof(line), status))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			sscanf(line + strlen(name) + 1, "%63s", value);
	printf("%s%c", value, end);
}

/* The fields of proc(5) behind the name's parenthesis: utime and stime are the 14th and 15th. */
static void print_time(const char *pid)
{
	unsigned long user = 0, system = 0;
	char path[280], line[1024] = "", *rest;
	FILE *stat;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	stat = fopen(path, "re");
	if (stat && fgets(line, sizeof(line), stat) && (rest = strrchr(line, ')')))
		sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
	if (stat)
		fclose(stat);
	printf("%.2f\t", (double)(user + system) / sysconf(_SC_CLK_TCK));
}

/* The words, or the name in brackets: of a kernel's thread. */
static void print_command(const char *pid, FILE *status)
{
	char path[280], words[512];
	size_t length = 0, i;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%s/cmdline", pid);
	file = fopen(path, "re");
	if (file) {
		length = fread(words, 1, sizeof(words) - 1, file);
		fclose(file);
	}
	for (i = 0; i + 1 < length; i++)
		if (!isprint((unsigned char)words[i]))
			words[i] = ' ';
	words[length] = 0;
	if (length > 0) {
		printf("%s\n", words);
		return;
	}
	printf("[");
	print_field(status, "Name", ']');
	printf("\n");
}

/* A line for each process, its fields behind tabs. */
static int list_processes(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char path[280];
	FILE *status;

	while (proc && (entry = readdir(proc))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/status", entry->d_name);
		status = fopen(path, "re");
		if (!status)
			continue;
		print_field(status, "Pid", '\t');
		print_field(status, "PPid", '\t');
		print_field(status, "Uid", '\t');
		print_field(status, "State", '\t');
		print_field(status, "VmRSS", '\t');
		print_time(entry->d_name);
		print_command(entry->d_name, status);
		fclose(status);
	}
	return 0;
}

/* Of what is there by the names of programs, or by paths, one a line. */
static int find_programs(char **names)
{
	char path[PATH_MAX];
	const char *list, *end;

	for (; *names; names++) {
		if (strchr(*names, '/')) {
			if (access(*names, X_OK) == 0)
				puts(*names);
			continue;
		}
		for (list = getenv("PATH"); list && *list; list = *end ? end + 1 : end) {
			end = strchrnul(list, ':');
			snprintf(path, sizeof(path), "%.*s/%s", (int)(end - list), list, *names);
			if (access(path, X_OK) == 0) {
				puts(*names);
				break;
			}
		}
	}
	return 0;
}

static int print_kind(const char *path)
{
	struct stat info;

	puts(stat(path, &info) ? "none" : S_ISDIR(info.st_mode) ? "directory" : "file");
	return 0;
}

int run_tool(int argc, char **argv)
{
	const char *name = argc ? strrchr(argv[0], '/') : NULL;

	if (name && !strcmp(name, "/update"))
		return update_command(argc, argv);
	if (argc == 2 && !strcmp(argv[1], "ps"))
		return list_processes();
	if (argc == 3 && !strcmp(argv[1], "get"))
		return write_archive(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "put"))
		return read_archive(argv[2], false);
	if (argc == 3 && !strcmp(argv[1], "add"))
		return read_archive(argv[2], true);
	if (argc == 3 && !strcmp(argv[1], "kind"))
		return print_kind(argv[2]);
	if (argc >= 2 && !strcmp(argv[1], "which"))
		return find_programs(argv + 2);
	fprintf(stderr, "init: PID 1 of a guest; as a program: ps, which NAME..., kind PATH, get PATH, put or add DIRECTORY\n");
	return 2;
}
