// SPDX-License-Identifier: GPL-2.0-only
/*
 * /etc/hosts, from the spec, and /etc/resolv.conf, from all that know name servers: configuration, DHCP, DHCPv6, routers.
 * The C library reads the file again when it has changed, so names that come late are
 * written while the program runs; a file that is not ours stays as it is.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "network.h"

#define FILE_NAME	"/etc/resolv.conf"
#define NEW_NAME	"/etc/.resolv.conf.init"

/* "NAME:ADDRESS", whose address may have colons of its own. */
void write_aliases(const struct spec *spec)
{
	int fd, i;

	if (spec->naliases == 0)
		return;
	fd = open("/etc/hosts", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		fail("/etc/hosts");
	for (i = 0; i < spec->naliases; i++) {
		const char *name = spec->aliases[i], *colon = strchr(name, ':');

		dprintf(fd, "%s %.*s\n", colon + 1, (int)(colon - name), name);
	}
	close(fd);
}

static struct names *first;
static struct stat ours;		/* of the file as we left it */

/* One of the link alone needs the link's name. */
void add_name_server(struct names *names, const struct ip *ip, const char *interface)
{
	char *text = names->servers[names->nservers], address[INET6_ADDRSTRLEN];

	if (names->nservers == MAX_DNS || !ip_text(ip, address))
		return;
	if (ip->family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&ip->v6))
		snprintf(text, sizeof(names->servers[0]), "%s%%%s", address, interface);
	else
		strcpy(text, address);
	names->nservers++;
}

static bool has_domain(const char *search, const char *domain)
{
	size_t length = strlen(domain), its;

	for (; *search; search += its + (search[its] == ' ')) {
		its = strcspn(search, " ");
		if (its == length && !memcmp(search, domain, length))
			return true;
	}
	return false;
}

/* Whether there is none yet, or the one that we wrote. */
static bool may_write(void)
{
	struct stat now;

	if (lstat(FILE_NAME, &now))
		return errno == ENOENT && !ours.st_ino;
	return now.st_ino == ours.st_ino && now.st_dev == ours.st_dev &&
		now.st_mtim.tv_sec == ours.st_mtim.tv_sec && now.st_mtim.tv_nsec == ours.st_mtim.tv_nsec;
}

/* A router and DHCPv6 often say the same. */
static void write_file(int fd)
{
	const char *servers[MAX_DNS], *domain;
	char search[MAX_SEARCH] = "", copy[MAX_SEARCH], *rest;
	struct names *names;
	int count = 0, i, j;

	for (names = first; names; names = names->next) {
		for (i = 0; i < names->nservers && count < MAX_DNS; i++) {
			for (j = 0; j < count && strcmp(servers[j], names->servers[i]); j++)
				;
			if (j < count)
				continue;
			servers[count++] = names->servers[i];
			dprintf(fd, "nameserver %s\n", names->servers[i]);
		}
		strcpy(copy, names->search);
		for (rest = copy; (domain = strsep(&rest, " "));)
			if (*domain && !has_domain(search, domain))
				add_domain(search, domain);
	}
	if (search[0])
		dprintf(fd, "search %s\n", search);
}

/* The one of this number, as the file has them; NULL if there are not so many. */
const char *name_server(int number)
{
	struct names *names;

	for (names = first; names; number -= names->nservers, names = names->next)
		if (number < names->nservers)
			return names->servers[number];
	return NULL;
}

/* In the order in which sources came to know something. */
void publish_names(struct names *names)
{
	struct names **at = &first;
	bool any = false;
	int fd;

	if (!names->known) {
		while (*at)
			at = &(*at)->next;
		*at = names;
		names->known = true;
	}
	for (names = first; names; names = names->next)
		any |= names->nservers > 0 || names->search[0];
	if (!may_write() || (!any && !ours.st_ino))
		return;
	unlink(NEW_NAME);
	fd = open(NEW_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0) {
		if (!program)
			fail(FILE_NAME);
		return;
	}
	write_file(fd);
	close(fd);
	if (rename(NEW_NAME, FILE_NAME) == 0)
		lstat(FILE_NAME, &ours);
}
